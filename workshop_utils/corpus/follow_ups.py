"""Follow-up questions: what somebody asks next, in words that lean on the question before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workshop_utils.corpus.documents import data_dir
from workshop_utils.corpus.questions import Question, load_questions
from workshop_utils.corpus.records import read_records


@dataclass(frozen=True)
class FollowUp:
    """A question that was answered, and the one that follows.

    Attributes:
        after: the development question that was asked and answered before.
        asks: the development question whose answer the follow-up wants: its evidence is what must be found.
        follow_up: what is typed, such as 'And from abroad?'.
        standalone: the same, written by hand so that it needs no conversation.
    """

    id: str
    after: Question
    asks: Question
    follow_up: str
    standalone: str


def load_follow_ups(path: Path | None = None) -> list[FollowUp]:
    """The follow-ups of lesson 02, in file order.

    Raises:
        CorpusError: a line is not a follow-up, or names no development question; the message names file and line.
    """
    questions = {question.id: question for question in load_questions("dev")}

    def parse(record: dict[str, Any]) -> FollowUp:
        for name in ("after", "asks"):
            if record[name] not in questions:
                raise ValueError(f"{name} is {record[name]!r}, which is no development question")
        return FollowUp(**{**record, "after": questions[record["after"]], "asks": questions[record["asks"]]})

    return read_records(path or data_dir() / "lessons" / "follow_ups.jsonl", parse)
