"""The update stream: what changed at the source after the first day, batch by batch, and what is right from then on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from langchain_core.documents import Document

from workshop_utils.corpus.documents import CorpusError, data_dir, read_document
from workshop_utils.corpus.questions import Question, parse_question
from workshop_utils.corpus.records import read_records

KEYS = ("date", "title", "deleted")


@dataclass(frozen=True)
class Update:
    """One dated batch of changes.

    Attributes:
        documents: new and changed documents, in full.
        deleted: ids of the documents that are gone.
        questions: the ``changed`` questions whose right answer is another one from this date on, with that answer.
    """

    date: str
    title: str
    documents: tuple[Document, ...]
    deleted: tuple[str, ...]
    questions: tuple[Question, ...]


def load_updates(folder: Path | None = None) -> list[Update]:
    """Every batch, oldest first.

    Raises:
        CorpusError: a file breaks the schema.
    """
    root = folder or data_dir() / "updates"
    return [_read(path) for path in sorted(root.iterdir()) if path.is_dir()]


def documents_after(documents: Iterable[Document], updates: Iterable[Update]) -> list[Document]:
    """The documents as they stand once these batches have arrived in turn, sorted by id.

    Raises:
        CorpusError: a batch deletes a document that is not there.
    """
    current = {str(document.id): document for document in documents}
    for update in updates:
        missing = [key for key in update.deleted if key not in current]
        if missing:
            raise CorpusError(f"The update of {update.date} deletes {', '.join(missing)}, which is not there.")
        current = {key: document for key, document in current.items() if key not in update.deleted}
        current |= {str(document.id): document for document in update.documents}
    return [current[key] for key in sorted(current)]


def questions_after(questions: Iterable[Question], updates: Iterable[Update]) -> list[Question]:
    """The same questions with the answers that are right once these batches have arrived in turn."""
    latest = {question.id: question for update in updates for question in update.questions}
    return [latest.get(question.id, question) for question in questions]


def _read(path: Path) -> Update:
    try:
        header = yaml.safe_load((path / "update.yaml").read_text("utf-8"))
        if not isinstance(header, dict) or tuple(header) != KEYS:
            raise ValueError(f"it must have exactly the keys {', '.join(KEYS)}, in this order")
        if not isinstance(header["date"], dt.date) or header["date"].isoformat() != path.name:
            raise ValueError("the date must be that of the folder's name")
        if not isinstance(header["deleted"], list):
            raise TypeError("deleted must be a list of document ids")
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise CorpusError(f"updates/{path.name}/update.yaml: {error}") from error
    return Update(
        date=path.name,
        title=str(header["title"]),
        documents=tuple(read_document(file) for file in sorted((path / "documents").glob("*/*.md"))),
        deleted=tuple(header["deleted"]),
        questions=tuple(read_records(path / "questions.jsonl", parse_question)),
    )
