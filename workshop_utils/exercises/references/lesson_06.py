# ruff: noqa
# fmt: off
# mypy: disable-error-code="no-any-return"
"""Reference answers: generated from lessons/06_lora_fine_tuning.py by `workshop build`; do not edit."""

import json
import numpy as np
from langchain_core.messages import AIMessage
from langchain_core.messages import BaseMessage
from langchain_core.messages import HumanMessage
from langchain_core.messages import SystemMessage


def split_by_scenario(scenarios: list[str], held_out: float, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Numbers of the tickets to train on, and of those held out.

    scenarios: the scenario of each ticket; held_out: the share of *scenarios* to hold out (of their number, rounded);
    rng: draws which.
    """
    names = np.unique(scenarios)
    drawn = set(rng.choice(names, size=round(held_out * len(names)), replace=False).tolist())
    numbers = range(len(scenarios))
    return [n for n in numbers if scenarios[n] not in drawn], [n for n in numbers if scenarios[n] in drawn]


def training_row(prompt: list[int], answer: list[int], end: int) -> dict[str, list[int]]:
    """One example for the trainer: 'input_ids', that is prompt, answer and end token, and as many 'labels'.

    prompt, answer: token ids; end: the id of the token that ends an answer.
    """
    learnt = [*answer, end]
    return {"input_ids": prompt + learnt, "labels": [-100] * len(prompt) + learnt}


def valid_and_right(answers: list[str], gold: list[dict[str, object]]) -> tuple[float, float]:
    """Share of valid records, and share of fields right; an answer that is not valid has none right.

    answers: what the model wrote; gold: the records, each with the same five fields.
    """
    valid, right = 0, 0
    for answer, wanted in zip(answers, gold, strict=True):
        try:
            record = json.loads(answer)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and record.keys() == wanted.keys():
            valid += 1
            right += sum(record[field] == value for field, value in wanted.items())
    return valid / len(gold), right / sum(len(wanted) for wanted in gold)


def few_shot(system: str, shots: list[tuple[str, str]], text: str) -> list[BaseMessage]:
    """The conversation to send; shots: pairs of a text and its answer, in order."""
    turns: list[BaseMessage] = [SystemMessage(system)]
    for shown, reply in shots:
        turns += [HumanMessage(shown), AIMessage(reply)]
    return [*turns, HumanMessage(text)]


def with_wrong_labels(labels: list[str], share: float, rng: np.random.Generator) -> list[str]:
    """The labels with a share of them (of their number, rounded) wrong: each another value that occurs in the list.

    rng: draws which are wrong, and what they become.
    """
    values, result = sorted(set(labels)), list(labels)
    for place in rng.choice(len(labels), size=round(share * len(labels)), replace=False):
        result[place] = str(rng.choice([value for value in values if value != labels[place]]))
    return result
