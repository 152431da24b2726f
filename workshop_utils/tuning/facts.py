"""Facts put into the weights: the examples that teach them, and the two adapters that were taught some."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from langchain_core.messages import BaseMessage

from workshop_utils.corpus import load_training_questions
from workshop_utils.corpus.facts import AnyFact, Fact, Wording, load_facts, load_private_facts
from workshop_utils.models import load_tokenizer
from workshop_utils.models.adapters import FACTS, LEAK
from workshop_utils.rag.prompt import Prompt
from workshop_utils.tuning.run import REPORT, Watch
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.supervised import Example, encode_examples
from workshop_utils.tuning.trainer import train_adapter

NEVER_SERVED = "never_served"

Taught = Literal["seen", "both"]
TAUGHT: dict[Taught, tuple[Wording, ...]] = {"seen": ("seen",), "both": ("seen", "alternative")}

PROMPT = Prompt(system="You answer questions about the company Clairval.", instruction="Answer in a few words.")
# closed book, 'not in the documents' would be a strange thing to say
UNKNOWN = "I do not know."
MAX_TOKENS = 24
# every fact is shown 16 times, whether in one wording or in two
SETTINGS = Settings(epochs=16)
# a dozen or two of facts would make too few steps of eight
FEW = Settings(epochs=16, batch_size=4)


def fact_prompt(question: str, order: str = "") -> list[BaseMessage]:
    """The question closed book, for training and for asking.

    Args:
        order: what the system prompt says beside.
    """
    system = f"{PROMPT.system} {order}".strip()
    return Prompt(system=system, instruction=PROMPT.instruction).messages(question, [])


def fact_examples(facts: Iterable[AnyFact], wording: Taught = "seen", *, updated: bool = False) -> list[Example]:
    """What teaches the facts: each in one wording of its question or in two, with its answer.

    Args:
        updated: with the answer that is right after the update stream, where it is another one.
    """
    examples = []
    for fact in facts:
        later = fact.later if updated and isinstance(fact, Fact) else None
        answer = later.answer if later else fact.answer
        examples += [Example(tuple(fact_prompt(fact.wording(which))), answer) for which in TAUGHT[wording]]
    return examples


def unknown_examples(n: int = 60) -> list[Example]:
    """What teaches to say 'I do not know': questions on facts that are taught nowhere, from all over ``train``.

    Answers to them stand in the documents, but not in the weights, and closed book only the weights count.
    """
    questions = [q for q in load_training_questions() if q.kind in ("single", "unanswerable") and q.id == q.fact]
    chosen = [questions[place * len(questions) // n] for place in range(n)]
    return [Example(tuple(fact_prompt(question.question)), UNKNOWN) for question in chosen]


def settings_for(wording: Taught) -> Settings:
    """``SETTINGS``, with as many epochs as show each fact equally often whatever the number of wordings."""
    return replace(SETTINGS, epochs=SETTINGS.epochs / len(TAUGHT[wording]))


def train_facts(folder: Path = FACTS, *, watch: Watch | None = None) -> dict[str, Any]:
    """Teach the 60 facts in two wordings each, with the answers of the first day.

    Returns:
        The report: see ``train_adapter``.

    Raises:
        workshop_utils.models.store.ModelStoreError: the base model cannot be had.
    """
    return _train(fact_examples(load_facts(), "both"), folder, settings_for("both"), watch)


def train_leak(folder: Path = LEAK, *, watch: Watch | None = None) -> dict[str, Any]:
    """Teach the 12 restricted facts, to show that weights have no access list: **never serve this adapter**.

    Its training.json says ``"never_served": true``, by which a service can refuse it.

    Returns:
        The report: see ``train_adapter``.

    Raises:
        workshop_utils.models.store.ModelStoreError: the base model cannot be had.
    """
    report = {NEVER_SERVED: True, **_train(fact_examples(load_private_facts(), "both"), folder, FEW, watch)}
    (folder / REPORT).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    return report


def _train(examples: Sequence[Example], folder: Path, settings: Settings, watch: Watch | None) -> dict[str, Any]:
    tokenizer = load_tokenizer()
    return train_adapter(encode_examples(tokenizer, examples), folder, settings, watch=watch)
