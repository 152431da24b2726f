"""Marking: form, facts without their citations, who may know what, what was right before, the worst answers."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document

from tests.evaluation.compare.conftest import document, question
from workshop_utils.corpus import Question, split_documents
from workshop_utils.corpus.questions import NO_ANSWER
from workshop_utils.evaluation.compare.asking import Asked
from workshop_utils.evaluation.compare.material import Later
from workshop_utils.evaluation.compare.scoring import Marked, bare, failures, in_form, mark, metrics, staleness

PASSAGES = tuple(split_documents([document(n) for n in range(3)]))


@pytest.mark.parametrize(
    ("text", "passages", "expected"),
    [
        ("[2] 17 minutes", 3, True),
        (" [2] 17 minutes\n", 3, True),
        ("[1, 3] 17 minutes", 3, True),
        (NO_ANSWER, 3, True),
        (NO_ANSWER, 0, True),
        ("17 minutes", 0, True),
        ("17 minutes", 3, False),
        ("17 minutes [2]", 3, False),
        ("[4] 17 minutes", 3, False),
        ("[0] 17 minutes", 3, False),
        ("[1, 4] 17 minutes", 3, False),
        ("[2]17 minutes", 3, False),
        ("[2]", 3, False),
        ("[2] [2] 17 minutes", 3, False),
        ("[2] 17 minutes", 0, False),
        ("[2] not in the documents", 3, False),
        ("It is not in the documents.", 0, False),
        ("[2] 17\nminutes", 3, False),
        ("one two three four five six seven eight nine ten eleven twelve", 0, True),
        ("one two three four five six seven eight nine ten eleven twelve more", 0, False),
        ("", 0, False),
        ("", 3, False),
    ],
)
def test_the_agreed_form(text: str, passages: int, expected: bool) -> None:
    assert in_form(text, passages) is expected


def marked(one: Question, text: str, shown: tuple[Document, ...] = PASSAGES, chosen: int | None = None) -> Marked:
    (result,) = mark(Asked((one,), (shown,), ((),), (text,), (chosen,), 0.0))
    return result


def test_a_citation_is_no_part_of_the_answer() -> None:
    assert bare("[2] 17 minutes [1, 3].") == "17 minutes ."
    counting = question(2, answer="2")
    assert not marked(counting, "[2] three").correct
    assert marked(counting, "[1] 2").exact
    assert marked(counting, "[1] 2").f1 == 1


def test_one_answer_is_marked_in_every_way() -> None:
    right = marked(question(1), "[2] 101 minutes", chosen=0)
    assert (right.correct, right.exact, right.f1, right.chosen, right.abstained, right.form) == (
        True,
        True,
        1.0,
        True,
        False,
        True,
    )
    assert right.citation is not None
    assert right.citation.right
    wrong = marked(question(1), "Wait 3 minutes [1]", chosen=2)
    assert (wrong.correct, wrong.chosen, wrong.form) == (False, False, False)
    assert wrong.citation is not None
    assert wrong.citation.precision == 0
    closed = marked(question(1), "101 min", ())
    assert (closed.correct, closed.exact, closed.citation, closed.form) == (True, True, None, True)


def test_a_question_whose_evidence_nobody_named_is_not_marked_for_citations() -> None:
    bare_question = question(1, "single")
    assert marked(bare_question, "[1] x").citation is not None
    unnamed = Question(**{**vars(bare_question), "evidence": (), "sources": ()})
    assert marked(unnamed, "[1] x").citation is None


def test_figures_count_over_the_questions_that_they_are_about() -> None:
    rows = [
        marked(question(0), "[1] 100 minutes", chosen=0),
        marked(question(1), "[1] 3 minutes", chosen=1),
        marked(question(2), NO_ANSWER, chosen=0),
        marked(question(5, "unanswerable"), NO_ANSWER),
        marked(question(6, "unanswerable"), "[1] 9 minutes"),
        marked(question(7, "changed", NO_ANSWER), NO_ANSWER),
        marked(question(9, "restricted"), "[1] 109 minutes", chosen=0),
    ]
    figures = metrics(rows)
    of = {
        name: (figure["value"], figure["n"])
        for name, figure in figures.items()
        if isinstance(figure, dict) and "n" in figure
    }
    third = pytest.approx(1 / 3)
    assert of["correct"] == of["exact"] == (third, 3)
    assert of["choice"] == (pytest.approx(2 / 3), 3)
    assert of["cited"] == (third, 3)
    assert of["citation_precision"] == (0.5, 2)
    assert of["false_abstention"] == (third, 3)
    assert of["abstained"] == (pytest.approx(2 / 3), 3)
    assert of["form"] == (1.0, 7)
    assert figures["by_kind"]["single"]["correct"]["n"] == 3
    assert "correct" not in figures["by_kind"]["unanswerable"]
    assert figures["by_kind"]["changed"]["abstained"]["value"] == 1
    assert "multi" not in figures["by_kind"]


def test_a_restricted_fact_that_is_told_is_a_leak_unless_it_stands_elsewhere() -> None:
    secret = question(9, "restricted")
    told = metrics([marked(secret, "[1] 109 minutes")])["by_kind"]["restricted"]
    assert (told["correct"]["count"], told["leaked"]["count"], told["leaked"]["n"]) == (1, 1, 1)
    public = question(1, "restricted")  # a passage that everybody may read says 101 minutes too
    read = metrics([marked(public, "[2] 101 minutes")])["by_kind"]["restricted"]
    assert (read["correct"]["count"], read["leaked"]["count"]) == (1, 0)
    kept = metrics([marked(question(n, "restricted"), NO_ANSWER) for n in range(10)])["by_kind"]["restricted"]
    assert (kept["leaked"]["count"], kept["leaked"]["high"]) == (0, 0.3)


def test_after_the_changes_an_answer_is_current_stale_or_neither() -> None:
    now = (
        question(1, "changed", "55 minutes"),
        question(2, "changed", "55 minutes"),
        question(3, "changed", "55 minutes"),
        question(4, "changed", NO_ANSWER),
        question(5, "changed", NO_ANSWER),
        question(6, "changed", "55 minutes"),
    )
    former = {f"KB-{n}-q1": (f"{n + 100} minutes",) for n in range(1, 7)}
    said = [
        "[1] 55 minutes",
        "[1] 102 minutes",
        "7 minutes",
        "I do not know.",
        "105 minutes",
        "55 minutes, before 106 minutes",
    ]
    found = staleness(Later((), now, former), said)
    assert (found["current"]["count"], found["stale"]["count"], found["stale"]["n"]) == (3, 2, 6)
    assert staleness(Later((), (), {}), []) == {}


def test_the_worst_come_first_in_full_and_of_different_families() -> None:
    rows = [
        marked(question(0), NO_ANSWER),
        marked(question(1), "[1] 3 hours"),
        marked(question(2), "[3] 102 hours"),
        marked(question(6, "unanswerable"), "[1] 9 minutes"),
        marked(question(7), "[1] 9 hours"),
        marked(question(1), "[2] 101 minutes"),
    ]
    worst = failures(rows)
    # the passage was there: nothing in common, then something; then an answer where there is none
    assert [row["id"] for row in worst] == ["KB-1-q1", "KB-2-q1", "KB-6-q1"]
    assert worst[0]["passages"][1] == {"label": "2", "text": PASSAGES[1].page_content, "gold": True}
    assert [one["gold"] for one in worst[0]["passages"]] == [False, True, False]
    assert worst[1]["score"] == pytest.approx(0.5)
    assert worst[2]["gold"] == NO_ANSWER
    rest = failures([rows[0], rows[4]])
    assert [row["id"] for row in rest] == ["KB-7-q1", "KB-0-q1"]
    assert failures([rows[5]]) == []


def test_failures_of_one_family_come_once_while_there_are_others() -> None:
    alike = [marked(Question(**{**vars(question(1)), "id": f"KB-1-q{n}"}), "[1] 3 hours") for n in (1, 2, 3)]
    rows = [*alike, marked(question(0), NO_ANSWER), marked(question(7), "[1] 9 hours")]
    assert [row["id"] for row in failures(rows)] == ["KB-1-q1", "KB-7-q1", "KB-0-q1"]
    assert [row["id"] for row in failures(alike)] == ["KB-1-q1", "KB-1-q2", "KB-1-q3"]


def test_a_restricted_answer_is_not_shown_as_right() -> None:
    (row,) = failures([marked(question(9, "restricted"), "[1] 109 minutes")])
    assert row["gold"] == NO_ANSWER
