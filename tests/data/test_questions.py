"""Every question keeps the rules of data/DATASHEET.md and has its one answer in the documents."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import fields
from itertools import combinations

from langchain_core.documents import Document

from workshop_utils.corpus import Question, data_dir, load_training_questions, split_documents
from workshop_utils.corpus.documents import EVERYONE
from workshop_utils.corpus.families import question_document, question_families
from workshop_utils.corpus.questions import KINDS, NO_ANSWER, Split
from workshop_utils.corpus.updates import load_updates
from workshop_utils.evaluation import abstains, contains_answer, normalise

Documents = dict[str, Document]
Splits = dict[Split, list[Question]]

# two questions whose sets of words overlap by this share are one question asked twice
NEAR_DUPLICATE = 0.8
PASSAGE_TOKENS = 60
LONGEST_ANSWER = 7


def answerable(questions: list[Question]) -> list[Question]:
    return [question for question in questions if question.answerable]


def test_enough_questions(splits: Splits) -> None:
    assert len(splits["train"]) >= 600
    assert sum(question.kind == "single" for question in splits["dev"]) >= 100
    assert len(splits["test"]) >= 250
    for split, part in splits.items():
        assert {question.kind for question in part} == set(KINDS), split


def test_lines_have_exactly_the_fields_in_order(splits: Splits) -> None:
    names = [field.name for field in fields(Question)]
    faults = []
    for split in splits:
        for number, line in enumerate((data_dir() / "questions" / f"{split}.jsonl").read_text("utf-8").splitlines(), 1):
            if list(json.loads(line)) != names:
                faults.append(f"{split}.jsonl, line {number}")
    assert not faults


def test_ids_are_unique_and_name_a_document(questions: list[Question], ever_documents: Documents) -> None:
    assert not [key for key, count in Counter(question.id for question in questions).items() if count > 1]
    faults = [
        question.id
        for question in questions
        if not re.fullmatch(r".+-q[1-9]\d*[b-z]?", question.id) or question_document(question.id) not in ever_documents
    ]
    assert not faults


def test_other_wordings_are_in_train_only_and_ask_for_the_same_fact(splits: Splits) -> None:
    faults = []
    for split, part in splits.items():
        first = {question.id: question for question in part}
        for question in part:
            if question.id == question.fact:
                continue
            same = first.get(question.fact)
            if split != "train" or same is None or (same.answer, same.evidence) != (question.answer, question.evidence):
                faults.append(question.id)
    assert not faults


def test_questions_do_not_name_a_document(questions: list[Question], documents: Documents) -> None:
    faults = [
        f"{question.id}: {key}"
        for question in questions
        for key in documents
        if re.search(rf"\b{re.escape(key)}\b", question.question, re.I)
    ]
    assert not faults


def test_evidence_is_verbatim_and_on_one_line(questions: list[Question], documents: Documents) -> None:
    faults = []
    for question in questions:
        for evidence in question.evidence:
            lines = documents[evidence.source].page_content.split("\n") if evidence.source in documents else []
            if not any(evidence.span in line for line in lines):
                faults.append(f"{question.id}: not in {evidence.source}: {evidence.span}")
            if not 25 <= len(evidence.span) <= 300:
                faults.append(f"{question.id}: a span of {len(evidence.span)} characters")
    assert not faults


def test_sources_are_those_of_the_evidence(questions: list[Question]) -> None:
    pieces = {"single": {1}, "restricted": {1}, "changed": {0, 1}, "multi": {2}, "unanswerable": {0}}
    faults = []
    for question in questions:
        if tuple(dict.fromkeys(evidence.source for evidence in question.evidence)) != question.sources:
            faults.append(f"{question.id}: sources {question.sources}")
        if len(question.evidence) not in pieces[question.kind]:
            faults.append(f"{question.id}: {len(question.evidence)} pieces of evidence for kind {question.kind}")
    assert not faults


def test_answers_are_short_and_stand_in_their_evidence(questions: list[Question]) -> None:
    faults = []
    for question in answerable(questions):
        if len(question.answer.split()) > LONGEST_ANSWER:
            faults.append(f"{question.id}: {question.answer} is too long to mark")
        if question.kind != "multi" and question.answer.lower() not in question.evidence[0].span.lower():
            faults.append(f"{question.id}: {question.answer}")
    assert not faults


def test_accepted_forms_can_be_matched(questions: list[Question]) -> None:
    faults = [
        f"{question.id}: {form!r}"
        for question in answerable(questions)
        for form in question.accepted
        # a bare digit stands in almost any wrong answer
        if not normalise(form) or re.fullmatch(r"\d", normalise(form)) or abstains(form)
    ]
    assert not faults


def test_four_distinct_choices_with_the_answer_among_them(questions: list[Question]) -> None:
    faults = []
    for question in answerable(questions):
        if len(question.choices) != 4 or len({normalise(choice) for choice in question.choices}) != 4:
            faults.append(f"{question.id}: {question.choices}")
        elif question.answer not in question.choices or question.choices.index(question.answer) != question.choice:
            faults.append(f"{question.id}: choice {question.choice} is not {question.answer!r}")
    assert not faults


def test_exactly_one_choice_is_marked_right(questions: list[Question]) -> None:
    faults = [
        f"{question.id}: {choice!r} would be marked right"
        for question in answerable(questions)
        for index, choice in enumerate(question.choices)
        if index != question.choice and contains_answer(choice, question.accepted)
    ]
    assert not faults


def test_unanswerable_questions_have_nothing_to_find(questions: list[Question]) -> None:
    faults = [
        question.id
        for question in questions
        if (question.kind == "unanswerable" or not question.answerable)
        and (question.answer, question.accept, question.sources, question.evidence, question.choices, question.choice)
        != (NO_ANSWER, (), (), (), (), None)
    ]
    assert not faults
    assert abstains(NO_ANSWER)


def test_restricted_questions_are_those_on_restricted_documents(
    questions: list[Question], documents: Documents
) -> None:
    faults = [
        question.id
        for question in questions
        if (question.kind == "restricted")
        != any(EVERYONE not in documents[source].metadata["acl"] for source in question.sources)
    ]
    assert not faults


def test_nothing_restricted_is_trained_on(documents: Documents) -> None:
    """Neither a document that is restricted on the first day nor one that an update closes."""
    closed = {key for key, document in documents.items() if EVERYONE not in document.metadata["acl"]}
    closed |= {
        str(document.id)
        for update in load_updates()
        for document in update.documents
        if EVERYONE not in document.metadata["acl"]
    }
    assert len(closed) >= 6
    chosen = load_training_questions()
    assert len(chosen) >= 600
    assert not [q.id for q in chosen if closed & {question_document(q.id), *q.sources}]


def test_questions_on_a_superseded_version_name_its_time(questions: list[Question], documents: Documents) -> None:
    faults = [
        f"{question.id}: {question.question}"
        for question in questions
        if any(documents[source].metadata["status"] == "superseded" for source in question.sources)
        and not re.search(r"\b20\d\d\b", question.question)
    ]
    assert not faults


def test_stored_family_is_the_computed_one(questions: list[Question], ever_documents: Documents) -> None:
    computed = question_families(ever_documents.values(), questions)
    faults = [
        f"{question.id}: stored {question.family}, computed {computed[question.id]}"
        for question in questions
        if question.family != computed[question.id]
    ]
    assert not faults


def test_a_family_is_in_one_split(splits: Splits) -> None:
    where = defaultdict(set)
    for split, part in splits.items():
        for question in part:
            where[question.family].add(split)
    assert not {family: found for family, found in where.items() if len(found) > 1}


def test_no_question_is_asked_twice(questions: list[Question]) -> None:
    words = {question.id: frozenset(normalise(question.question).split()) for question in questions}
    faults = [
        f"{first} and {second}"
        for first, second in combinations(words, 2)
        if len(words[first] & words[second]) >= NEAR_DUPLICATE * len(words[first] | words[second])
    ]
    assert not faults


def test_no_fact_is_asked_twice(questions: list[Question]) -> None:
    facts = defaultdict(list)
    for question in questions:
        if question.kind in ("single", "restricted", "changed") and question.answerable:
            facts[question.evidence[0], normalise(question.answer)].append(question.fact)
    assert not [ids for ids in facts.values() if len(set(ids)) > 1]


def test_evidence_survives_splitting(questions: list[Question], documents: Documents) -> None:
    """A passage that holds half of the fact cannot answer the question, however good retrieval is."""
    passages = defaultdict(list)
    for passage in split_documents(documents.values(), max_tokens=PASSAGE_TOKENS):
        passages[passage.metadata["source"]].append(passage.page_content)
    faults = [
        f"{question.id}: {evidence.span}"
        for question in questions
        for evidence in question.evidence
        if not any(evidence.span in passage for passage in passages[evidence.source])
    ]
    assert not faults
