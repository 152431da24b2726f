"""The material: what changes, what was right before, and a sample that keeps the kinds."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.evaluation.compare.conftest import question
from workshop_utils.corpus import load_questions
from workshop_utils.corpus.questions import KINDS, NO_ANSWER
from workshop_utils.corpus.updates import load_updates
from workshop_utils.evaluation.compare.material import Material, company, stratified


@pytest.fixture(scope="module")
def dev() -> Material:
    return company("dev", load_questions("dev"))


def test_nothing_restricted_is_among_the_documents(dev: Material) -> None:
    restricted = {source for q in dev.questions if q.kind == "restricted" for source in q.sources}
    assert dev.later is not None
    for documents in (dev.documents, dev.later.documents):
        assert documents
        assert not restricted & {document.id for document in documents}
        assert all("everyone" in document.metadata["acl"] for document in documents)


def test_worked_examples_are_of_other_families_and_not_restricted(dev: Material) -> None:
    assert dev.examples
    assert not {q.family for q in dev.examples} & {q.family for q in dev.questions}
    assert all(q.kind != "restricted" for q in dev.examples)


def test_changed_questions_have_the_last_answer_and_know_the_former_ones(dev: Material) -> None:
    first = {q.id: q for q in dev.questions}
    last = {q.id: q for update in load_updates() for q in update.questions}
    later = dev.later
    assert later is not None
    assert {q.id for q in later.questions} == {
        key for key, q in first.items() if key in last and last[key].answer != q.answer
    }
    assert len(later.questions) > 20
    for now in later.questions:
        assert now == last[now.id]
        assert NO_ANSWER not in later.former[now.id]
        if first[now.id].answerable:
            assert first[now.id].answer in later.former[now.id]
    assert later.seconds is not None
    assert later.seconds > 0


def test_the_documents_are_those_after_all_updates(dev: Material) -> None:
    assert dev.later is not None
    first = {document.id: document.page_content for document in dev.documents}
    last = {document.id: document.page_content for document in dev.later.documents}
    gone = {key for update in load_updates() for key in update.deleted}
    assert not gone & set(last)
    assert sum(first.get(key) != text for key, text in last.items()) > 20


def test_a_sample_has_of_each_kind_its_share_in_order_and_always_the_same() -> None:
    questions = load_questions("dev")
    chosen = stratified(questions, 60)
    assert abs(len(chosen) - 60) <= len(KINDS)
    assert [q for q in questions if q in chosen] == list(chosen)
    every, some = (Counter(q.kind for q in part) for part in (questions, chosen))
    for kind, count in every.items():
        assert abs(some[kind] - 60 * count / len(questions)) <= 1
    assert stratified(questions, 60) == chosen
    assert stratified(questions, 60, seed=1) != chosen
    assert stratified(questions[:50], 60) == tuple(questions[:50])


def test_a_rare_kind_is_not_lost() -> None:
    many = [*(question(n) for n in range(300)), question(300, "restricted")]
    assert Counter(q.kind for q in stratified(many, 60))["restricted"] == 1


def test_a_samples_changed_questions_are_among_those_asked(dev: Material) -> None:
    part = dev.sample()
    assert part.later is not None
    assert dev.later is not None
    ids = {q.id for q in part.questions}
    assert part.later.questions == tuple(q for q in dev.later.questions if q.id in ids)
    assert part.later.questions
