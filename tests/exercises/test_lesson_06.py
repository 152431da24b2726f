"""The exercises of lesson 06: blank, reference, and wrong answers with their messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from workshop_utils.authoring.proving import prove

Rng = np.random.Generator
Split = tuple[list[int], list[int]]
Record = dict[str, Any]
IGNORED = -100


def parts(scenarios: list[str], held: set[str]) -> Split:
    numbers = range(len(scenarios))
    return [n for n in numbers if scenarios[n] not in held], [n for n in numbers if scenarios[n] in held]


def drawn(scenarios: list[str], share: float, rng: Rng) -> set[str]:
    names = sorted(set(scenarios))
    return set(rng.choice(names, size=round(share * len(names)), replace=False).tolist())


def test_split_by_scenario() -> None:
    def by_ticket(scenarios: list[str], share: float, rng: Rng) -> Split:
        order = rng.permutation(len(scenarios)).tolist()
        cut = round(share * len(scenarios))
        return order[cut:], order[:cut]

    def last_ones(scenarios: list[str], share: float, _rng: Rng) -> Split:
        names = sorted(set(scenarios))
        return parts(scenarios, set(names[-round(share * len(names)) :]))

    def as_it_comes(scenarios: list[str], share: float, _rng: Rng) -> Split:
        return parts(scenarios, drawn(scenarios, share, np.random.default_rng()))

    def one_each(scenarios: list[str], share: float, rng: Rng) -> Split:
        held = drawn(scenarios, share, rng)
        train, _ = parts(scenarios, held)
        return train, [scenarios.index(name) for name in sorted(held)]

    def coins(scenarios: list[str], share: float, rng: Rng) -> Split:
        return parts(scenarios, {name for name in sorted(set(scenarios)) if rng.random() < share})

    def named(scenarios: list[str], share: float, rng: Rng) -> Any:
        held = drawn(scenarios, share, rng)
        return sorted(set(scenarios) - held), sorted(held)

    prove(
        "split_by_scenario",
        wrong={
            "two_lists": [lambda s, h, r: parts(s, drawn(s, h, r))[0]],
            "no_indices": [named],
            "twice": [lambda s, h, r: (list(range(len(s))), parts(s, drawn(s, h, r))[1])],
            "leak": [by_ticket],
            "lost": [one_each],
            "swapped": [lambda s, h, r: parts(s, drawn(s, h, r))[::-1]],
            "number": [coins, lambda s, h, r: parts(s, drawn(s, h / 2, r))],
            "not_seeded": [as_it_comes],
            "not_random": [last_ones],
            "returned_nothing": [lambda _s, _h, _r: None],
        },
    )


def test_training_row() -> None:
    def row(input_ids: Sequence[int], labels: Sequence[int]) -> dict[str, list[int]]:
        return {"input_ids": list(input_ids), "labels": list(labels)}

    def masked(prompt: list[int]) -> list[int]:
        return [IGNORED] * len(prompt)

    prove(
        "training_row",
        wrong={
            "type": [lambda p, a, e: (p + a + [e], masked(p) + a + [e])],
            "keys": [lambda p, a, e: {"input_ids": p + a + [e], "label": masked(p) + a + [e]}],
            "no_end": [lambda p, a, _e: row(p + a, masked(p) + a)],
            "end_of_prompt": [lambda p, a, e: row([*p, e, *a, e], [IGNORED, *masked(p), *a, e])],
            "input_ids": [lambda _p, a, e: row([*a, e], [*a, e])],
            "lengths": [lambda p, a, e: row([*p, *a, e], [*a, e]), lambda p, a, e: row([*p, *a, e], masked(p) + a)],
            "prompt_learnt": [lambda p, a, e: row([*p, *a, e], [*p, *a, e])],
            "end_not_learnt": [lambda p, a, e: row([*p, *a, e], [*masked(p), *a, IGNORED])],
            "other_mask": [
                lambda p, a, e: row([*p, *a, e], [0] * len(p) + [*a, e]),
                lambda p, a, e: row([*p, *a, e], [-1] * len(p) + [*a, e]),
                lambda p, a, e: row([*p, *a, e], [IGNORED, *p[1:], *a, e]),
            ],
            "answer_masked": [lambda p, a, e: row([*p, *a, e], p + [IGNORED] * (len(a) + 1))],
            "shifted": [
                lambda p, a, e: row([*p, *a, e], [*masked(p)[1:], *a, e, IGNORED]),
                lambda p, a, e: row([*p, *a, e], [IGNORED, *masked(p), *a]),
            ],
            "labels": [lambda p, a, e: row([*p, *a, e], [*masked(p), *a[::-1], 7])],
        },
    )


def read(answer: str) -> Any:
    try:
        return json.loads(answer)
    except json.JSONDecodeError:
        return None


def valid(answers: list[str], gold: list[Record]) -> list[tuple[Record, Record]]:
    pairs = [(read(answer), wanted) for answer, wanted in zip(answers, gold, strict=True)]
    return [(r, w) for r, w in pairs if isinstance(r, dict) and r.keys() == w.keys()]


def hits(pairs: list[tuple[Record, Record]]) -> int:
    return sum(record[key] == wanted[key] for record, wanted in pairs for key in wanted)


def test_valid_and_right() -> None:
    def dropped(answers: list[str], gold: list[Record]) -> tuple[float, float]:
        there = valid(answers, gold)
        return len(there) / len(gold), hits(there) / (5 * len(there)) if there else 0.0

    def divided(answers: list[str], gold: list[Record]) -> tuple[float, float]:
        there = valid(answers, gold)
        return len(there) / len(gold), hits(there) / (5 * len(there))

    def any_json(answers: list[str], gold: list[Record]) -> tuple[float, float]:
        there = [(read(a), w) for a, w in zip(answers, gold, strict=True) if isinstance(read(a), dict)]
        right = sum(record.get(key) == wanted[key] for record, wanted in there for key in wanted)
        return len(there) / len(gold), right / (5 * len(gold))

    def whole(answers: list[str], gold: list[Record]) -> tuple[float, float]:
        there = valid(answers, gold)
        return len(there) / len(gold), sum(record == wanted for record, wanted in there) / len(gold)

    def as_text(answers: list[str], gold: list[Record]) -> tuple[float, float]:
        there = valid(answers, gold)
        right = sum(str(record[key]) == str(wanted[key]) for record, wanted in there for key in wanted)
        return len(there) / len(gold), right / (5 * len(gold))

    def trusting(answers: list[str], gold: list[Record]) -> tuple[float, float]:
        pairs = [(json.loads(answer), wanted) for answer, wanted in zip(answers, gold, strict=True)]
        return 1.0, hits(pairs) / (5 * len(gold))

    def right_ones(answers: list[str], gold: list[Record]) -> tuple[float, float]:
        there = valid(answers, gold)
        exact = sum(record == wanted for record, wanted in there)
        return exact / len(gold), hits(there) / (5 * len(gold))

    def extraction(answers: list[str], gold: list[Record]) -> tuple[float, float]:
        there = valid(answers, gold)
        right = sum(record[key] == wanted[key] for record, wanted in there for key in ("device", "error_code"))
        return len(there) / len(gold), right / (2 * len(gold))

    prove(
        "valid_and_right",
        wrong={
            "division": [divided],
            "not_json": [trusting],
            "two_numbers": [lambda a, g: hits(valid(a, g)) / (5 * len(g))],
            "swapped": [lambda a, g: (hits(valid(a, g)) / (5 * len(g)), len(valid(a, g)) / len(g))],
            "any_json": [any_json],
            "valid": [right_ones],
            "dropped": [dropped],
            "whole_records": [whole],
            "as_text": [as_text],
            "values": [extraction],
        },
    )


Shots = list[tuple[str, str]]


def turns(shots: Shots) -> list[BaseMessage]:
    return [message for text, answer in shots for message in (HumanMessage(text), AIMessage(answer))]


def test_few_shot() -> None:
    def in_one(system: str, shots: Shots, text: str) -> list[BaseMessage]:
        shown = "\n".join(f"{question}\n{answer}" for question, answer in shots)
        return [SystemMessage(system), HumanMessage(f"{shown}\n{text}" if shots else text)]

    def sorted_by_role(system: str, shots: Shots, text: str) -> list[BaseMessage]:
        asked = [HumanMessage(question) for question, _ in shots]
        return [SystemMessage(system), *[AIMessage(answer) for _, answer in shots], *asked, HumanMessage(text)]

    def swapped_roles(system: str, shots: Shots, text: str) -> list[BaseMessage]:
        swapped = [part for shown, answer in shots for part in (AIMessage(shown), HumanMessage(answer))]
        return [SystemMessage(system), *swapped, HumanMessage(text)]

    prove(
        "few_shot",
        wrong={
            "no_messages": [lambda s, _shots, t: [("system", s), ("human", t)]],
            "no_system": [lambda _s, shots, t: [*turns(shots), HumanMessage(t)]],
            "in_one": [in_one],
            "text_not_last": [lambda s, shots, t: [SystemMessage(s), HumanMessage(t), *turns(shots)]],
            "roles": [swapped_roles],
            "order": [sorted_by_role],
            "values": [lambda s, shots, t: [SystemMessage(s), *turns(shots[:1]), HumanMessage(t)]],
            "type": [lambda s, _shots, t: f"{s}\n{t}"],
        },
    )


def places(labels: list[str], share: float, rng: Rng) -> list[int]:
    chosen: list[int] = rng.choice(len(labels), size=round(share * len(labels)), replace=False).tolist()
    return chosen


def others(labels: list[str], label: str) -> list[str]:
    return [value for value in sorted(set(labels)) if value != label]


def test_with_wrong_labels() -> None:
    def redrawn(labels: list[str], share: float, rng: Rng) -> list[str]:
        result = list(labels)
        for place in places(labels, share, rng):
            result[place] = str(rng.choice(labels))
        return result

    def first_ones(labels: list[str], share: float, rng: Rng) -> list[str]:
        cut = round(share * len(labels))
        return [str(rng.choice(others(labels, label))) for label in labels[:cut]] + labels[cut:]

    def next_one(labels: list[str], share: float, rng: Rng) -> list[str]:
        result = list(labels)
        for place in places(labels, share, rng):
            result[place] = others(labels, labels[place])[0]
        return result

    def unknown(labels: list[str], share: float, rng: Rng) -> list[str]:
        chosen = places(labels, share, rng)
        return ["wrong" if n in chosen else label for n, label in enumerate(labels)]

    def coins(labels: list[str], share: float, rng: Rng) -> list[str]:
        return [str(rng.choice(others(labels, label))) if rng.random() < share + 0.1 else label for label in labels]

    def kept(labels: list[str], share: float, rng: Rng) -> list[str]:
        chosen = places(labels, share, rng)
        return [label if n in chosen else str(rng.choice(others(labels, label))) for n, label in enumerate(labels)]

    prove(
        "with_wrong_labels",
        wrong={
            "length": [lambda labels, share, rng: [labels[n] for n in places(labels, share, rng)]],
            "foreign": [unknown],
            "kept_and_changed": [kept],
            "too_few": [redrawn],
            "number": [coins, lambda labels, _share, _rng: list(labels)],
            "not_random": [first_ones],
            "one_value": [next_one],
            "type": [lambda labels, share, rng: np.array(redrawn(labels, share, rng))],
        },
    )
