"""The facts that lesson 07 teaches: three wordings that differ, answers that the documents of their time support."""

from __future__ import annotations

import json
from itertools import combinations

from langchain_core.documents import Document

from workshop_utils.corpus import Question, data_dir
from workshop_utils.corpus.documents import EVERYONE
from workshop_utils.corpus.facts import AnyFact, load_facts, load_private_facts, load_unseen_facts
from workshop_utils.corpus.questions import Split
from workshop_utils.corpus.updates import documents_after, load_updates
from workshop_utils.evaluation import contains_answer, normalise

NEAR_DUPLICATE = 0.8


def wordings(fact: AnyFact) -> list[str]:
    return [fact.question, fact.alternative, fact.paraphrase]


def all_taught() -> list[AnyFact]:
    return [*load_facts(), *load_private_facts()]


def overlap(first: str, second: str) -> float:
    one, other = (set(normalise(text).split()) for text in (first, second))
    return len(one & other) / len(one | other)


def test_sixty_are_taught_twenty_of_them_change_and_thirty_are_not() -> None:
    taught = load_facts()
    assert len(taught) == 60
    assert sum(fact.later is not None for fact in taught) == 20
    assert sum(fact.later is not None for fact in taught[:24]) == 8
    assert len(load_unseen_facts()) == 30
    assert len(load_private_facts()) == 12


def test_no_fact_is_there_twice() -> None:
    ids = [fact.id for fact in (*load_facts(), *load_unseen_facts())]
    assert len(set(ids)) == len(ids)


def test_lines_hold_only_what_the_questions_do_not() -> None:
    for name, names in (("facts", ["id", "taught", "alternative", "paraphrase"]), ("private", None)):
        for line in (data_dir() / "lessons" / f"{name}.jsonl").read_text("utf-8").splitlines():
            assert list(json.loads(line)) == (names or ["id", "alternative", "paraphrase"])


def test_every_wording_is_another_one_and_asks_for_one_fact_only() -> None:
    every = [text for fact in all_taught() for text in wordings(fact)]
    every += [fact.question for fact in load_unseen_facts()]
    faults = [f"{a} | {b}" for a, b in combinations(every, 2) if overlap(a, b) >= NEAR_DUPLICATE]
    assert not faults


def test_no_wording_gives_the_answer_away_or_names_a_document(documents: dict[str, Document]) -> None:
    faults = []
    for fact in all_taught():
        for text in wordings(fact)[1:]:
            if contains_answer(text, fact.accepted) or any(key in text for key in documents):
                faults.append(f"{fact.id}: {text}")
    assert not faults


def test_what_is_not_taught_stands_in_documents_of_what_is() -> None:
    assert {fact.source for fact in load_unseen_facts()} <= {fact.source for fact in load_facts()}


def test_what_is_taught_is_public_and_of_no_family_that_is_held_out(
    documents: dict[str, Document], splits: dict[Split, list[Question]]
) -> None:
    held_out = {question.family for question in splits["test"]}
    closed = {
        str(document.id)
        for update in load_updates()
        for document in update.documents
        if EVERYONE not in document.metadata["acl"]
    }
    for fact in (*load_facts(), *load_unseen_facts()):
        assert EVERYONE in documents[fact.source].metadata["acl"]
        assert fact.source not in closed
        assert fact.family not in held_out
    for private in load_private_facts():
        assert private.family not in held_out


def test_answers_stand_in_the_documents_of_their_time(documents: dict[str, Document]) -> None:
    after = {str(d.id): d for d in documents_after(documents.values(), load_updates())}
    faults = []
    for fact in (*load_facts(), *load_unseen_facts()):
        if not contains_answer(documents[fact.source].page_content, [fact.answer]):
            faults.append(fact.id)
        if not contains_answer(after[fact.source].page_content, [fact.later.answer if fact.later else fact.answer]):
            faults.append(f"{fact.id}, later")
        if fact.choices[fact.choice] != fact.answer:
            faults.append(f"{fact.id}, choice")
    for private in load_private_facts():
        if not contains_answer(documents[private.source].page_content, [private.answer]):
            faults.append(private.id)
    assert not faults


def test_the_old_and_the_new_answer_are_not_taken_for_each_other() -> None:
    for fact in load_facts():
        if fact.later:
            assert not contains_answer(fact.later.answer, fact.accepted), fact.id
            assert not contains_answer(fact.answer, fact.later.accepted), fact.id


def test_a_private_fact_may_be_told_to_some_roles_only(documents: dict[str, Document]) -> None:
    for fact in load_private_facts():
        assert EVERYONE not in fact.groups
        assert fact.groups == tuple(sorted(documents[fact.source].metadata["acl"]))
