"""The update stream applies in order, leaves alone what other questions rest on, and ends where it says."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document

from workshop_utils.corpus import Question
from workshop_utils.corpus.documents import EVERYONE
from workshop_utils.corpus.updates import Update, documents_after, load_updates, questions_after
from workshop_utils.evaluation import contains_answer, normalise

Documents = dict[str, Document]


@pytest.fixture(scope="module")
def updates() -> list[Update]:
    return load_updates()


@pytest.fixture(scope="module")
def changed(questions: list[Question]) -> dict[str, Question]:
    return {question.id: question for question in questions if question.kind == "changed"}


def public(documents: list[Document]) -> Documents:
    """What an ordinary employee may read: answers to changed questions are right for one."""
    return {str(d.id): d for d in documents if EVERYONE in d.metadata["acl"]}


def test_five_batches_or_more_that_change_add_and_delete(updates: list[Update], documents: Documents) -> None:
    assert len(updates) >= 5
    assert [update.date for update in updates] == sorted({update.date for update in updates})
    assert updates[0].date > max(document.metadata["date"] for document in documents.values())
    known = set(documents)
    new, changes, deleted = 0, 0, 0
    for update in updates:
        ids = {str(document.id) for document in update.documents}
        assert not ids & set(update.deleted)
        new += len(ids - known)
        changes += len(ids & known)
        deleted += len(update.deleted)
        known = (known | ids) - set(update.deleted)
    assert new >= 5
    assert changes >= 20
    assert deleted >= 3


def test_a_changed_document_has_the_next_version_and_a_date_since_the_last_batch(
    updates: list[Update], documents: Documents
) -> None:
    faults = []
    current, since = list(documents.values()), "2025-11-30"
    for update in updates:
        before = {str(document.id): document.metadata for document in current}
        for document in update.documents:
            new, old = document.metadata, before.get(str(document.id))
            if not since < new["date"] <= update.date:
                faults.append(f"{update.date}, {document.id}: date {new['date']}")
            if int(new["version"]) != (int(old["version"]) + 1 if old else 1):
                faults.append(f"{update.date}, {document.id}: version {new['version']}")
            if old and (new["family"], new["collection"]) != (old["family"], old["collection"]):
                faults.append(f"{update.date}, {document.id}: another family or collection")
        current, since = documents_after(current, [update]), update.date
    assert not faults


def test_evidence_stands_in_the_documents_of_its_time(
    updates: list[Update], documents: Documents, questions: list[Question]
) -> None:
    """After each batch every question is answered by what its readers may then read, or by nothing."""
    faults = []
    for count in range(len(updates) + 1):
        now = documents_after(documents.values(), updates[:count])
        readable, every = public(now), {str(document.id): document for document in now}
        for question in questions_after(questions, updates[:count]):
            shelf = every if question.kind == "restricted" else readable
            for evidence in question.evidence:
                lines = shelf[evidence.source].page_content.split("\n") if evidence.source in shelf else []
                if not any(evidence.span in line for line in lines):
                    faults.append(f"after {count} batches, {question.id}: {evidence.span}")
    assert not faults


def test_an_answer_that_is_no_longer_right_is_no_longer_there(
    updates: list[Update], documents: Documents, questions: list[Question]
) -> None:
    faults = []
    for count, update in enumerate(updates):
        before = {question.id: question for question in questions_after(questions, updates[:count])}
        after = public(documents_after(documents.values(), updates[: count + 1]))
        for question in update.questions:
            for evidence in before[question.id].evidence:
                document = after.get(evidence.source)
                if document is not None and evidence.span in document.page_content:
                    faults.append(f"{update.date}, {question.id}: still in {evidence.source}: {evidence.span}")
    assert not faults


def test_a_batch_changes_the_right_answer_and_nothing_else_of_a_question(
    updates: list[Update], questions: list[Question], changed: dict[str, Question]
) -> None:
    faults = []
    for count, update in enumerate(updates):
        before = {question.id: question for question in questions_after(questions, updates[:count])}
        for question in update.questions:
            old = before.get(question.id)
            if old is None or question.id not in changed:
                faults.append(f"{update.date}: {question.id} is no changed question")
                continue
            if (question.question, question.kind, question.family) != (old.question, old.kind, old.family):
                faults.append(f"{update.date}, {question.id}: another wording, kind or family")
            if normalise(question.answer) == normalise(old.answer):
                faults.append(f"{update.date}, {question.id}: the answer is still {question.answer!r}")
            if contains_answer(question.answer, old.accepted) or contains_answer(old.answer, question.accepted):
                faults.append(f"{update.date}, {question.id}: {old.answer!r} and {question.answer!r} are marked alike")
            if question.answerable and old.answerable and question.choices != old.choices:
                faults.append(f"{update.date}, {question.id}: other choices")
    assert not faults


def test_every_changed_question_changes(updates: list[Update], changed: dict[str, Question]) -> None:
    assert set(changed) == {question.id for update in updates for question in update.questions}


def test_later_forms_keep_the_rules_of_questions(updates: list[Update]) -> None:
    faults = []
    for question in (question for update in updates for question in update.questions if question.answerable):
        if len({normalise(choice) for choice in question.choices}) != 4:
            faults.append(f"{question.id}: {question.choices}")
        elif question.choice is None or question.choices[question.choice] != question.answer:
            faults.append(f"{question.id}: choice {question.choice} is not {question.answer!r}")
        elif sum(contains_answer(choice, question.accepted) for choice in question.choices) != 1:
            faults.append(f"{question.id}: more than one choice would be marked right")
        if question.answer.lower() not in question.evidence[0].span.lower():
            faults.append(f"{question.id}: {question.answer} is not in the span")
    assert not faults


def test_every_split_has_changed_questions(splits: dict[str, list[Question]]) -> None:
    for split, part in splits.items():
        assert sum(question.kind == "changed" for question in part) >= 15, split
