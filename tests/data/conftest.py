"""The corpus as it is stored, read once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.documents import Document

from workshop_utils.corpus import Question, data_dir, load_documents, load_questions
from workshop_utils.corpus.questions import Split
from workshop_utils.corpus.updates import load_updates

SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@pytest.fixture(scope="session")
def document_paths() -> list[Path]:
    return sorted((data_dir() / "documents").rglob("*.md"))


@pytest.fixture(scope="session")
def documents() -> dict[str, Document]:
    """Every document by id, restricted and superseded ones too."""
    return {str(document.id): document for document in load_documents(groups=None)}


@pytest.fixture(scope="session")
def ever_documents(documents: dict[str, Document]) -> dict[str, Document]:
    """The first day's documents, and each one that an update brings, as it first is."""
    new = [document for update in reversed(load_updates()) for document in update.documents]
    return {str(document.id): document for document in new} | documents


@pytest.fixture(scope="session")
def splits() -> dict[Split, list[Question]]:
    """The questions of each split that is stored."""
    folder = data_dir() / "questions"
    return {split: load_questions(split) for split in SPLITS if (folder / f"{split}.jsonl").exists()}


@pytest.fixture(scope="session")
def questions(splits: dict[Split, list[Question]]) -> list[Question]:
    return [question for part in splits.values() for question in part]
