"""The questions that teach the documents: every public one is covered, none that is restricted, no held-out wording."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import fields
from itertools import combinations

import pytest
from langchain_core.documents import Document

from tests.data.test_questions import LONGEST_ANSWER, NEAR_DUPLICATE
from workshop_utils.corpus import Question, data_dir
from workshop_utils.corpus.documents import EVERYONE
from workshop_utils.corpus.knowledge import TaughtQuestion, load_knowledge
from workshop_utils.corpus.questions import Split
from workshop_utils.evaluation import abstains, contains_answer, normalise

AT_LEAST = 8


@pytest.fixture(scope="module")
def taught() -> list[TaughtQuestion]:
    return load_knowledge()


def words(question: str) -> frozenset[str]:
    return frozenset(normalise(question).split())


def alike(first: frozenset[str], second: frozenset[str]) -> bool:
    fewer, more = sorted((len(first), len(second)))
    # the overlap is at most the ratio of their sizes, and most pairs fail that already
    if fewer < NEAR_DUPLICATE * more:
        return False
    common = len(first & second)
    return common >= NEAR_DUPLICATE * (fewer + more - common)


def test_lines_have_exactly_the_fields_in_order() -> None:
    names = [field.name for field in fields(TaughtQuestion)]
    lines = (data_dir() / "knowledge" / "train.jsonl").read_text("utf-8").splitlines()
    assert not [number for number, line in enumerate(lines, 1) if list(json.loads(line)) != names]


def test_ids_are_unique_and_name_the_document(taught: list[TaughtQuestion]) -> None:
    assert not [key for key, number in Counter(one.id for one in taught).items() if number > 1]
    assert not [one.id for one in taught if not re.fullmatch(rf"KN-{one.document}-[1-9]\d*", one.id)]


def test_every_public_document_is_covered_and_no_other(
    taught: list[TaughtQuestion], documents: dict[str, Document]
) -> None:
    public = {key for key, document in documents.items() if EVERYONE in document.metadata["acl"]}
    covered = Counter(one.document for one in taught)
    assert set(covered) == public
    assert not {key: number for key, number in covered.items() if number < AT_LEAST}


def test_spans_are_verbatim_and_on_one_line(taught: list[TaughtQuestion], documents: dict[str, Document]) -> None:
    faults = [
        one.id
        for one in taught
        if not any(one.span in line for line in documents[one.document].page_content.split("\n"))
    ]
    assert not faults


def test_answers_are_short_whole_words_of_their_span(taught: list[TaughtQuestion]) -> None:
    faults = [
        f"{one.id}: {one.answer}"
        for one in taught
        if len(one.answer.split()) > LONGEST_ANSWER
        or abstains(one.answer)
        or not contains_answer(one.span, [one.answer])
    ]
    assert not faults


def test_no_question_gives_its_answer_away_or_names_a_document(
    taught: list[TaughtQuestion], documents: dict[str, Document]
) -> None:
    named = re.compile(rf"\b(?:{'|'.join(map(re.escape, documents))})\b", re.I)
    faults = [
        f"{one.id}: {one.question}"
        for one in taught
        if contains_answer(one.question, [one.answer]) or named.search(one.question)
    ]
    assert not faults


def test_questions_on_a_superseded_version_name_its_time(
    taught: list[TaughtQuestion], documents: dict[str, Document]
) -> None:
    faults = [
        f"{one.id}: {one.question}"
        for one in taught
        if documents[one.document].metadata["status"] == "superseded" and not re.search(r"\b20\d\d\b", one.question)
    ]
    assert not faults


def test_no_question_is_asked_twice(taught: list[TaughtQuestion]) -> None:
    sets = {one.id: words(one.question) for one in taught}
    assert not [f"{a} and {b}" for a, b in combinations(sets, 2) if alike(sets[a], sets[b])]


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_no_wording_is_nearly_one_of_the_questions(
    taught: list[TaughtQuestion], splits: dict[Split, list[Question]], split: Split
) -> None:
    """The message names the taught questions only, so that whoever rewords them does not see the held-out ones."""
    asked = {words(question.question) for question in splits[split]}
    sets = {one.id: words(one.question) for one in taught}
    faults = [key for key, own in sets.items() if any(alike(own, other) for other in asked)]
    if faults:
        # an assertion would print the questions
        pytest.fail(f"reword in data/knowledge/train.jsonl: {', '.join(faults)}", pytrace=False)
