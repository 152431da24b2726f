"""Updates are read, applied in order, and refused where they are malformed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from langchain_core.documents import Document

from workshop_utils.corpus import CorpusError, Question
from workshop_utils.corpus.updates import Update, documents_after, load_updates, questions_after

HEADER = "date: 2025-12-03\ntitle: A change\ndeleted: [IT-02]\n"
DOCUMENT = """---
id: IT-01
title: Pass
collection: it-faq
version: "2"
date: 2025-12-01
status: current
superseded_by: null
owner: IT Service Desk
acl: [everyone]
family: pass
---
# Pass

Now 9 days.
"""
RECORD = {
    "id": "IT-01-q1",
    "question": "How long?",
    "answer": "9 days",
    "accept": [],
    "kind": "changed",
    "sources": ["IT-01"],
    "evidence": [{"source": "IT-01", "span": "Now 9 days."}],
    "choices": ["7 days", "9 days", "3 days", "5 days"],
    "choice": 1,
    "family": "IT-01",
}


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    folder = tmp_path / "2025-12-03"
    (folder / "documents" / "it-faq").mkdir(parents=True)
    (folder / "update.yaml").write_text(HEADER, "utf-8")
    (folder / "documents" / "it-faq" / "IT-01.md").write_text(DOCUMENT, "utf-8")
    (folder / "questions.jsonl").write_text(json.dumps(RECORD) + "\n", "utf-8")
    return tmp_path


def document(key: str, text: str = "Now 7 days.") -> Document:
    return Document(id=key, page_content=text)


def question(key: str, answer: str) -> Question:
    return Question(key, "How long?", answer, (), "changed", ("IT-01",), (), (), None, "IT-01")


def test_a_batch_is_read(stream: Path) -> None:
    (update,) = load_updates(stream)
    assert (update.date, update.title, update.deleted) == ("2025-12-03", "A change", ("IT-02",))
    assert [d.id for d in update.documents] == ["IT-01"]
    assert [q.answer for q in update.questions] == ["9 days"]


def test_documents_are_replaced_added_and_deleted(stream: Path) -> None:
    old = [document("IT-02"), document("IT-01"), document("HR-01")]
    after = documents_after(old, load_updates(stream))
    assert [(d.id, "9 days" in d.page_content) for d in after] == [("HR-01", False), ("IT-01", True)]
    assert documents_after(old, []) == sorted(old, key=lambda d: str(d.id))


def test_the_latest_answer_counts() -> None:
    first = Update("2025-12-03", "", (), (), (question("IT-01-q1", "9 days"),))
    second = Update("2026-01-03", "", (), (), (question("IT-01-q1", "4 days"),))
    questions = [question("IT-01-q1", "7 days"), question("IT-01-q2", "2 days")]
    assert [q.answer for q in questions_after(questions, [first])] == ["9 days", "2 days"]
    assert [q.answer for q in questions_after(questions, [first, second])] == ["4 days", "2 days"]
    assert questions_after(questions, []) == questions


def test_deleting_what_is_not_there_is_an_error(stream: Path) -> None:
    with pytest.raises(CorpusError, match=r"2025-12-03 deletes IT-02"):
        documents_after([document("IT-01")], load_updates(stream))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("date: 2025-12-03\ntitle: A change\n", "exactly the keys date, title, deleted"),
        ("date: 2025-12-04\ntitle: A change\ndeleted: []\n", "that of the folder's name"),
        ("date: soon\ntitle: A change\ndeleted: []\n", "that of the folder's name"),
        ("date: 2025-12-03\ntitle: A change\ndeleted: IT-02\n", "a list of document ids"),
        ("date: [", "update.yaml"),
    ],
)
def test_a_malformed_header_is_named(stream: Path, header: str, message: str) -> None:
    (stream / "2025-12-03" / "update.yaml").write_text(header, "utf-8")
    with pytest.raises(CorpusError, match=message):
        load_updates(stream)


def test_a_batch_without_questions_file_is_named(stream: Path) -> None:
    (stream / "2025-12-03" / "questions.jsonl").unlink()
    with pytest.raises(CorpusError, match=r"questions\.jsonl is not there"):
        load_updates(stream)
