"""Questions with gold answers, their evidence and their split."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from langchain_core.documents import Document

from workshop_utils.corpus.documents import data_dir
from workshop_utils.corpus.records import read_records

Split = Literal["train", "dev", "test"]
Kind = Literal["single", "multi", "unanswerable", "changed", "restricted"]
KINDS: tuple[Kind, ...] = ("single", "multi", "unanswerable", "changed", "restricted")
NO_ANSWER = "not in the documents"


@dataclass(frozen=True)
class Evidence:
    """The passage that supports an answer: a verbatim part of the document ``source``."""

    source: str
    span: str


@dataclass(frozen=True)
class Question:
    """A question as somebody would ask it, and all that is needed to mark an answer.

    Attributes:
        answer: the gold answer; for kind ``single`` a verbatim part of the evidence.
        accept: other wordings that count as the same answer.
        kind: see data/DATASHEET.md. A ``changed`` question's answer is another one after an update.
        family: questions whose documents share a fact, a version or a question; a family is in one split only.
        choices: four answers of which ``choices[choice]`` is right; empty for unanswerable questions.
    """

    id: str
    question: str
    answer: str
    accept: tuple[str, ...]
    kind: Kind
    sources: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    choices: tuple[str, ...]
    choice: int | None
    family: str

    @property
    def accepted(self) -> tuple[str, ...]:
        """Every wording that counts as right."""
        return (self.answer, *self.accept)

    @property
    def answerable(self) -> bool:
        """Whether the documents hold an answer."""
        return self.answer != NO_ANSWER

    @property
    def fact(self) -> str:
        """Id of the fact that it asks for: several wordings of one question, ``HR-04-q3`` and ``-q3b``, share it."""
        return self.id.rstrip(string.ascii_lowercase)

    @property
    def collection_prefix(self) -> str:
        """The letters that start its id: HR, IT, PM, KB, RA or CB."""
        return self.id.split("-")[0]


def load_questions(split: Split, *, kinds: Iterable[Kind] | None = None, folder: Path | None = None) -> list[Question]:
    """The questions of one split, in file order, with the answers that were right before the first update.

    Raises:
        CorpusError: a line is not a question; the message names file and line.
    """
    wanted = set(KINDS if kinds is None else kinds)
    questions = read_records((folder or data_dir() / "questions") / f"{split}.jsonl", parse_question)
    return [question for question in questions if question.kind in wanted]


def load_training_questions(folder: Path | None = None) -> list[Question]:
    """The questions that an adapter may be trained on: those of ``train``, none of them on a restricted document.

    What is in the weights can be got out of them by whoever may ask the model; no access list applies there.

    Raises:
        CorpusError: a line is not a question; the message names file and line.
    """
    return load_questions("train", kinds=[kind for kind in KINDS if kind != "restricted"], folder=folder)


def golden_passages(question: Question, passages: Sequence[Document]) -> set[str]:
    """Ids of the passages that hold one of the question's evidence spans, whatever the white space in them."""
    spans = [(part.source, " ".join(part.span.split())) for part in question.evidence]
    sources = {source for source, _ in spans}
    golden = set()
    for passage in passages:
        if passage.metadata["source"] in sources:
            text = " ".join(passage.page_content.split())
            if any(passage.metadata["source"] == source and span in text for source, span in spans):
                golden.add(str(passage.id))
    return golden


def parse_question(record: dict[str, Any]) -> Question:
    """A question from its JSON form.

    Raises:
        ValueError, KeyError, TypeError: a field is missing, unknown or of the wrong kind.
    """
    fields = dict(record)
    for name in ("accept", "sources", "choices"):
        # a lone text would become a list of its letters
        if not isinstance(fields[name], list) or not all(isinstance(entry, str) for entry in fields[name]):
            raise TypeError(f"{name} must be a list of texts")
        fields[name] = tuple(fields[name])
    fields["evidence"] = tuple(Evidence(**entry) for entry in fields["evidence"])
    question = Question(**fields)
    if question.kind not in KINDS:
        raise ValueError(f"kind is {question.kind!r}; it must be one of {', '.join(KINDS)}")
    if not question.question.strip() or not question.answer.strip():
        raise ValueError("question and answer must not be empty")
    return question
