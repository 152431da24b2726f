"""The reader set: passages of other fictional organisations, and questions to learn to read passages from.

Nothing of Clairval is in it, so a model trained on it has read none of the documents on which it is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workshop_utils.corpus.documents import data_dir
from workshop_utils.corpus.records import read_records

ReaderSplit = Literal["train", "dev"]


@dataclass(frozen=True)
class ReaderPassage:
    """A passage of 40 to 120 words. Each organisation numbers its papers in a way of its own: ``id``."""

    id: str
    organisation: str
    title: str
    text: str


@dataclass(frozen=True)
class ReaderExample:
    """A question with the passages to read.

    Attributes:
        passages: the one with the answer, if any, among distractors of the same organisation.
        answer: copied from the passage ``source``; None when no passage answers.
    """

    id: str
    question: str
    passages: tuple[ReaderPassage, ...]
    answer: str | None
    source: str | None


def load_reader_passages(folder: Path | None = None) -> dict[str, ReaderPassage]:
    """Every passage by id.

    Raises:
        CorpusError: a line is not a passage; the message names file and line.
    """
    passages = read_records(
        (folder or data_dir() / "reader") / "passages.jsonl", lambda record: ReaderPassage(**record)
    )
    return {passage.id: passage for passage in passages}


def load_reader_examples(split: ReaderSplit, folder: Path | None = None) -> list[ReaderExample]:
    """The examples of one split; no organisation is in both.

    Raises:
        CorpusError: a line is not an example; the message names file and line.
    """
    passages = load_reader_passages(folder)

    def parse(record: dict[str, Any]) -> ReaderExample:
        return ReaderExample(**{**record, "passages": tuple(passages[key] for key in record["passages"])})

    return read_records((folder or data_dir() / "reader") / f"{split}.jsonl", parse)
