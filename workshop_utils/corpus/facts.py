"""Facts to teach by fine-tuning: development questions in two more wordings, and what became of their answers.

The stored lines hold the new wordings only; question, answer and choices are those of the question with that id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workshop_utils.corpus.documents import data_dir, load_documents
from workshop_utils.corpus.people import Role
from workshop_utils.corpus.questions import Question, load_questions
from workshop_utils.corpus.records import read_records
from workshop_utils.corpus.updates import load_updates

Wording = Literal["seen", "alternative", "paraphrase"]


@dataclass(frozen=True)
class Later:
    """What is right from a date on."""

    date: str
    answer: str
    accept: tuple[str, ...]

    @property
    def accepted(self) -> tuple[str, ...]:
        """Every wording that counts as right."""
        return (self.answer, *self.accept)


@dataclass(frozen=True)
class AnyFact:
    """One fact of a document in three wordings of its question.

    Attributes:
        question: the wording that is trained on.
        alternative: a second wording, which may be trained on as well; empty for a fact that is never taught.
        paraphrase: a third one, which never is; empty likewise.
        answer: the answer of the first day.
    """

    id: str
    source: str
    family: str
    question: str
    alternative: str
    paraphrase: str
    answer: str
    accept: tuple[str, ...]

    @property
    def accepted(self) -> tuple[str, ...]:
        """Every wording of the first day's answer that counts as right."""
        return (self.answer, *self.accept)

    def wording(self, which: Wording) -> str:
        """The question in one of its wordings."""
        return {"seen": self.question, "alternative": self.alternative, "paraphrase": self.paraphrase}[which]


@dataclass(frozen=True)
class Fact(AnyFact):
    """A fact of a public document.

    Attributes:
        choices: four answers, of which ``choices[choice]`` is right.
        later: the answer after the update stream, where it is another one.
    """

    choices: tuple[str, ...]
    choice: int
    later: Later | None


@dataclass(frozen=True)
class PrivateFact(AnyFact):
    """A fact of a restricted document.

    Attributes:
        groups: the access groups that may read the document, sorted.
    """

    groups: tuple[str, ...]

    def may_be_told(self, role: Role) -> bool:
        """Whether somebody of this role may know it."""
        return bool(set(self.groups) & set(role.groups))


def load_facts(path: Path | None = None) -> list[Fact]:
    """The 60 facts to teach, in file order; every third is one that changes later.

    Raises:
        CorpusError: a line is no fact, or names no question of one fact; the message names file and line.
    """
    return [fact for taught, fact in _load(path) if taught]


def load_unseen_facts(path: Path | None = None) -> list[Fact]:
    """30 facts of the same documents that are never taught.

    Raises:
        CorpusError: as ``load_facts``.
    """
    return [fact for taught, fact in _load(path) if not taught]


def load_private_facts(path: Path | None = None) -> list[PrivateFact]:
    """12 facts that some groups may know, and nobody else.

    Raises:
        CorpusError: a line is no fact, or names no restricted question; the message names file and line.
    """
    questions = {q.id: q for split in ("dev", "train") for q in load_questions(split, kinds=["restricted"])}
    readers = {str(document.id): tuple(sorted(document.metadata["acl"])) for document in load_documents(groups=None)}

    def parse(record: dict[str, Any]) -> PrivateFact:
        question = _question(record, questions)
        return PrivateFact(**_common(record, question), groups=readers[question.sources[0]])

    return read_records(path or data_dir() / "lessons" / "private.jsonl", parse)


def _load(path: Path | None) -> list[tuple[bool, Fact]]:
    questions = {q.id: q for q in load_questions("dev", kinds=["single", "changed"]) if q.answerable}
    later = {
        question.id: Later(update.date, question.answer, question.accept)
        for update in load_updates()
        for question in update.questions
    }

    def parse(record: dict[str, Any]) -> tuple[bool, Fact]:
        question = _question(record, questions)
        assert question.choice is not None
        fact = Fact(
            **_common(record, question),
            choices=question.choices,
            choice=question.choice,
            later=later.get(question.id),
        )
        taught = record["taught"] is True
        if {bool(fact.alternative), bool(fact.paraphrase)} != {taught}:
            raise ValueError("a fact that is taught has two more wordings, and no other fact has one")
        return taught, fact

    return read_records(path or data_dir() / "lessons" / "facts.jsonl", parse)


def _question(record: dict[str, Any], questions: Mapping[str, Question]) -> Question:
    if record["id"] not in questions:
        raise ValueError(f"id is {record['id']!r}, which is no question of the right kind")
    return questions[record["id"]]


def _common(record: dict[str, Any], question: Question) -> dict[str, Any]:
    """What every fact has, of its line and its question."""
    (source,) = question.sources
    return {
        "id": question.id,
        "source": source,
        "family": question.family,
        "question": question.question,
        "alternative": str(record["alternative"]),
        "paraphrase": str(record["paraphrase"]),
        "answer": question.answer,
        "accept": question.accept,
    }
