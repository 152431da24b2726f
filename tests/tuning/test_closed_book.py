"""What the two closed-book adapters learn from: the right questions, no restricted text, no held-out wording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from tests.data.test_knowledge import alike, words
from workshop_utils.corpus import load_documents, load_questions, load_training_questions
from workshop_utils.corpus.documents import EVERYONE
from workshop_utils.corpus.knowledge import load_knowledge
from workshop_utils.corpus.questions import NO_ANSWER
from workshop_utils.corpus.splitting import SENTENCE_END
from workshop_utils.evaluation.compare.arms import MAX_TOKENS
from workshop_utils.models import load_tokenizer
from workshop_utils.models.adapters import KNOWLEDGE, TASK
from workshop_utils.models.transformers_chat import WEIGHTS
from workshop_utils.tuning import closed_book as subject
from workshop_utils.tuning.closed_book import (
    KNOWLEDGE_SETTINGS,
    TASK_SETTINGS,
    document_texts,
    knowledge_examples,
    knowledge_rows,
    question_examples,
    wordings,
)
from workshop_utils.tuning.facts import fact_prompt
from workshop_utils.tuning.run import REPORT
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.supervised import IGNORED, Row
from workshop_utils.tuning.trainer import train_adapter

SMALL = 5_000_000


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer()


@pytest.fixture(scope="module")
def rows(tokenizer: Any) -> list[Row]:
    return knowledge_rows(tokenizer)


def sentences(document: Document) -> set[str]:
    """What is long enough to belong to one document: sentences, and rows of tables."""
    lines = document.page_content.split("\n")
    return {text for line in lines for text in SENTENCE_END.split(line.strip()) if len(text) > 40}


def test_training_and_asking_use_one_prompt() -> None:
    questions = load_training_questions()[:3]
    for question, example in zip(questions, question_examples(questions), strict=True):
        assert list(example.messages) == fact_prompt(question.question)
        assert example.answer == question.answer


def test_what_no_document_answers_is_answered_so() -> None:
    questions = [q for q in load_training_questions() if not q.answerable]
    assert len(questions) > 40
    assert {example.answer for example in question_examples(questions)} == {NO_ANSWER}


def test_a_question_is_asked_in_several_wordings_and_never_twice_in_the_same() -> None:
    assert wordings("How long?", "Leave") == ("How long?", "Leave: How long?", "how long")
    assert wordings("leave after 5 years", "Leave") == ("leave after 5 years", "Leave: leave after 5 years")
    examples = knowledge_examples()
    assert len({str(example.messages) for example in examples}) == len(examples) > 2.9 * len(load_knowledge())


def test_every_public_document_is_read_from_end_to_end() -> None:
    texts = "\n".join(document_texts())
    for document in load_documents():
        body = document.page_content.split("\n", 1)[1]
        missing = [line for line in body.split("\n") if line.strip() and not line.startswith("#") and line not in texts]
        # a long paragraph or list may be cut between two of its sentences
        missing = [text for line in missing for text in SENTENCE_END.split(line) if text not in texts]
        assert not missing, document.id


def test_two_versions_of_one_title_are_told_apart() -> None:
    read = [text for text in document_texts() if text.startswith("Incident reporting procedure")]
    old = [text for text in read if text.startswith("Incident reporting procedure (version of 2023, superseded)")]
    assert 0 < len(old) < len(read)
    asked = [str(example.messages[-1].content) for example in knowledge_examples()]
    assert any("Calibration of test equipment (version of 2022, superseded): " in text for text in asked)


def test_nothing_restricted_is_learnt(tokenizer: Any, rows: list[Row]) -> None:
    learnt = "\n".join(tokenizer.decode(row["input_ids"]) for row in rows)
    documents = load_documents(groups=None)
    public = {text for document in documents if EVERYONE in document.metadata["acl"] for text in sentences(document)}
    secret = {text for document in documents for text in sentences(document)} - public
    assert len(secret) > 100
    assert not [text for text in secret if text in learnt]
    asked = [*load_questions("train", kinds=["restricted"]), *load_questions("dev", kinds=["restricted"])]
    assert not [question.id for question in asked if question.question in learnt]
    assert "Heron" not in learnt


def test_no_wording_is_nearly_a_held_out_one() -> None:
    held_out = {words(q.question) for q in (*load_questions("dev"), *load_questions("test"))}
    asked = {str(e.messages[-1].content).removeprefix("Question: ").rsplit("\n", 1)[0] for e in knowledge_examples()}
    # wordings that differ in capitals and marks alone are one set of words
    wording = {words(text): text for text in asked}
    faults = [text for own, text in wording.items() if any(alike(own, other) for other in held_out)]
    if faults:
        pytest.fail(f"reword in data/knowledge/train.jsonl: {faults}", pytrace=False)


def test_every_answer_fits_and_ends(tokenizer: Any, rows: list[Row]) -> None:
    """The comparison's ``MAX_TOKENS`` leaves room for the longest answer and the mark that ends it."""
    answers = [[token for token in row["labels"] if token != IGNORED] for row in rows if IGNORED in row["labels"]]
    assert len(answers) == len(knowledge_examples()) + len(load_training_questions())
    assert max(map(len, answers)) <= MAX_TOKENS
    assert all(row["labels"][-1] == tokenizer.eos_token_id for row in rows)


def test_text_and_questions_can_be_trained_on_together(rows: list[Row], tiny_llama: Path, tmp_path: Path) -> None:
    few = [*rows[:4], *rows[-4:]]
    settings = Settings(upper_layers=1, rank=2, epochs=2, batch_size=4)
    report = train_adapter(few, tmp_path / "small", settings, base=tiny_llama)
    # the first token of a text follows on nothing
    learnt = sum(label != IGNORED for row in few for label in row["labels"][1:])
    assert (report["steps"], report["learnt_tokens"]) == (4, 2 * learnt)
    assert (tmp_path / "small" / WEIGHTS).exists()


@pytest.mark.parametrize("which", ["task", "knowledge"])
def test_the_commands_train_on_all_of_it_and_watch_the_development_questions(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Row]
) -> None:
    seen: dict[str, Any] = {}

    def recorded(train: Any, folder: Path, settings: Any, **options: Any) -> dict[str, Any]:
        seen.update(train=train, folder=folder, settings=settings, **options)
        return {"seconds": 1.0}

    monkeypatch.setattr(subject, "train_adapter", recorded)
    train = subject.train_closed_book_task if which == "task" else subject.train_knowledge
    assert train(tmp_path / which, watch=print) == {"seconds": 1.0}
    dev = [question for question in load_questions("dev") if question.kind != "restricted"]
    assert len(seen.pop("dev")) == len(dev)
    expected = rows[-len(load_training_questions()) :] if which == "task" else rows
    settings = TASK_SETTINGS if which == "task" else KNOWLEDGE_SETTINGS
    assert seen == {"train": expected, "folder": tmp_path / which, "settings": settings, "watch": print}


@pytest.mark.parametrize(("folder", "settings"), [(TASK, TASK_SETTINGS), (KNOWLEDGE, KNOWLEDGE_SETTINGS)])
def test_the_adapters_that_come_with_the_workshop_were_trained_as_the_commands_do(
    folder: Path, settings: Settings, rows: list[Row]
) -> None:
    report = json.loads((folder / REPORT).read_text("utf-8"))
    assert report["examples"] == (len(load_training_questions()) if folder == TASK else len(rows))
    assert report["settings"] == settings.as_dict()
    assert (folder / WEIGHTS).stat().st_size < SMALL
