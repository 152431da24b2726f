"""Answers side by side without a browser: who is right, the filters, citations and evidence, and that all is text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from langchain_core.documents import Document

from tests.widgets.test_widgets import ATTACK, Reader
from workshop_utils.corpus import load_questions
from workshop_utils.corpus.questions import NO_ANSWER, Evidence, Question
from workshop_utils.errors import InputError
from workshop_utils.evaluation.compare.arms import ARMS
from workshop_utils.messages import say
from workshop_utils.widgets.side_by_side import DIFFERING, EVERY, Comparison, side_by_side

SINGLE = replace(
    load_questions("dev", kinds=["single"])[0],
    id="A-q1",
    question="How long do I wait?",
    answer="5 days",
    accept=("five days",),
    sources=("A",),
    evidence=(Evidence("A", "Wait 5 days."),),
)
SECOND = replace(SINGLE, id="A-q2", question="And then?")
SILENT = replace(SINGLE, id="A-q3", kind="unanswerable", answer=NO_ANSWER, accept=(), sources=(), evidence=())
SECRET = replace(SINGLE, id="A-q4", kind="restricted")
QUESTIONS = (SINGLE, SECOND, SILENT, SECRET)
TITLES = {"base": "Base", "rag": "RAG", "raft_rag": "RAFT + RAG"}
ANSWERS = {
    "base": {"A-q1": "9 days", "A-q2": "five days", "A-q3": "3 days", "A-q4": "5 days"},
    "rag": {"A-q1": NO_ANSWER, "A-q2": "5 days", "A-q3": NO_ANSWER, "A-q4": "9 days"},
    "raft_rag": {"A-q1": "[2] 5 days", "A-q2": "[1] 5 days", "A-q3": NO_ANSWER, "A-q4": NO_ANSWER},
}
PASSAGES = [
    Document(id="B#0", page_content="B\nNothing here.", metadata={"source": "B"}),
    Document(id="A#1", page_content="A > Waiting\nFirst this. Wait 5 days. Then that.", metadata={"source": "A"}),
    Document(id="C#2", page_content="C\nNor here.", metadata={"source": "C"}),
]
GIVEN = {"rag": 1, "raft_rag": 2}


def comparison(**settings: Any) -> Comparison:
    found = dict.fromkeys([question.id for question in QUESTIONS], PASSAGES)
    return Comparison(ANSWERS, QUESTIONS, TITLES, found, GIVEN, **settings)


def ids(state: Comparison) -> list[str]:
    return [question.id for question in state.left()]


@pytest.mark.parametrize(
    ("question", "standings"),
    [
        (SINGLE, ("wrong", "abstained", "right")),
        (SECOND, ("right", "right", "right")),
        (SILENT, ("invented", "rightly_silent", "rightly_silent")),
        (SECRET, ("told", "invented", "rightly_silent")),
    ],
)
def test_what_an_answer_is_worth(question: Question, standings: tuple[str, ...]) -> None:
    state = comparison()
    assert tuple(state.standing(arm, question) for arm in ANSWERS) == standings
    state.place = QUESTIONS.index(question)
    shown = Reader(state.as_html()).text
    for standing in set(standings):
        assert shown.count(f" {say(f'side_by_side.{standing}')}") >= standings.count(standing)  # in words


def test_a_citation_s_number_is_no_answer() -> None:
    question = replace(SINGLE, answer="2", accept=())
    state = Comparison({"rag": {"A-q1": "[2] 7"}}, [question], {})
    assert state.standing("rag", question) == "wrong"


def test_the_filters() -> None:
    assert ids(comparison()) == ["A-q1", "A-q2", "A-q3", "A-q4"]
    assert ids(comparison(kind="single")) == ["A-q1", "A-q2"]
    assert ids(comparison(only="raft_rag")) == ["A-q1", "A-q4"]
    assert ids(comparison(only="raft_rag", kind="single")) == ["A-q1"]
    assert ids(comparison(only=DIFFERING)) == ["A-q1", "A-q3", "A-q4"]
    nobody = comparison(only="base")
    assert ids(nobody) == []
    assert nobody.question is None
    assert say("side_by_side.none") in nobody.as_html()


def test_a_place_beyond_the_list_is_its_end() -> None:
    assert comparison(place=99).question == SECRET


def test_questions_that_an_arm_was_not_asked_are_left_out() -> None:
    some = {**ANSWERS, "base": {"A-q1": "x"}}
    assert [question.id for question in Comparison(some, QUESTIONS, TITLES).left()] == ["A-q1"]
    with pytest.raises(InputError, match="no question that every arm has answered"):
        Comparison({"base": {}}, QUESTIONS, TITLES)
    with pytest.raises(InputError, match="no question"):
        Comparison({}, QUESTIONS, TITLES)


def test_citations_are_marked_and_judged() -> None:
    shown = comparison().as_html()
    assert ">[2]</mark> 5 days" in shown
    assert say("side_by_side.citation_gold", label="2") in shown
    other = comparison(place=1).as_html()
    assert say("side_by_side.citation_other", label="1") in other
    state = comparison()
    state.answers = {**ANSWERS, "rag": {**ANSWERS["rag"], "A-q1": "[2] 5 days"}}
    # it was given one passage, so there is no second one that it could cite
    assert say("side_by_side.citation_unknown", label="2") in state.as_html()


def test_the_passage_with_the_evidence_is_marked_in_words() -> None:
    shown = comparison().as_html()
    text = Reader(shown).text
    assert f"[2] A#1 - {say('side_by_side.evidence')}" in text
    assert f"[1] B#0 - {say('side_by_side.evidence')}" not in text
    assert ">Wait 5 days.</mark>" in shown
    assert "Nor here." not in text  # no arm was given it
    assert say("side_by_side.given", labels="[1], [2]") in text
    assert say("side_by_side.given", labels="[1]") in text
    assert say("side_by_side.closed") in text


def test_evidence_that_nobody_was_given_is_said() -> None:
    state = comparison()
    state.found = {"A-q1": PASSAGES[:1]}
    assert say("side_by_side.no_evidence") in state.as_html()
    assert say("side_by_side.no_evidence") not in comparison().as_html()
    assert say("side_by_side.no_evidence") not in comparison(place=2).as_html()  # there is none to give


def test_without_passages_the_answers_stand_alone() -> None:
    shown = Reader(Comparison(ANSWERS, QUESTIONS, TITLES).as_html()).text
    assert say("side_by_side.passages") not in shown
    assert say("side_by_side.closed") not in shown


def test_a_restricted_answer_is_not_shown_as_the_right_one() -> None:
    state = comparison(kind="restricted")
    assert say("side_by_side.gold_restricted", answer=NO_ANSWER, document="A") in Reader(state.as_html()).text


def test_questions_answers_titles_and_passages_are_text_and_not_markup() -> None:
    plain = comparison()
    hostile = Comparison(
        {arm: {"A-q1": f"[2] {ATTACK} [<b>] {ATTACK}"} for arm in ANSWERS},
        [replace(SINGLE, question=ATTACK, answer=ATTACK, evidence=(Evidence("A", ATTACK),))],
        dict.fromkeys(ANSWERS, ATTACK),
        {"A-q1": [replace_text(passage) for passage in PASSAGES]},
        GIVEN,
    )
    before, after = Reader(plain.as_html()), Reader(hostile.as_html())
    assert set(after.tags) == set(before.tags)
    assert after.attributes == before.attributes
    # question, right answer, three titles, three answers with two each, two passages
    assert after.text.count(ATTACK) == 13


def replace_text(passage: Document) -> Document:
    return passage.model_copy(update={"page_content": f"A\n{ATTACK}", "id": f"A#{ATTACK[:8]}"})


def test_an_empty_answer_is_said_to_be_one() -> None:
    state = Comparison({"rag": {"A-q1": " "}}, [SINGLE], TITLES)
    assert say("side_by_side.empty") in state.as_html()
    assert state.standing("rag", SINGLE) == "abstained"


def result() -> dict[str, Any]:
    return {"answers": ANSWERS, "arms": {arm: {"title": title} for arm, title in TITLES.items()}}


def test_the_widget_walks_through_what_the_filters_leave() -> None:
    widget = side_by_side(result(), QUESTIONS, {"A-q1": PASSAGES})
    bar, pick, shown = widget.children
    kind, only, back, forth = bar.children
    assert [value for _, value in kind.options] == [EVERY, "single", "unanswerable", "restricted"]
    assert back.disabled
    assert pick.value == "A-q1"
    assert SINGLE.question in shown.value
    forth.click()
    assert SECOND.question in shown.value
    pick.index = 3
    assert forth.disabled
    back.click()
    assert pick.value == "A-q3"
    only.value = "raft_rag"
    assert [value for _, value in pick.options] == ["A-q1", "A-q4"]
    assert SINGLE.question in shown.value
    assert back.disabled
    kind.value = "unanswerable"
    assert pick.options == ()
    assert back.disabled
    assert forth.disabled
    assert say("side_by_side.none") in shown.value
    kind.value = EVERY
    assert SINGLE.question in shown.value


def test_the_widget_knows_how_many_passages_each_arm_gets() -> None:
    widget = side_by_side(result(), QUESTIONS, {"A-q1": PASSAGES})
    shown = Reader(widget.children[-1].value).text
    assert ARMS["raft_rag"].k > 0
    labels = ", ".join(f"[{n}]" for n in range(1, min(ARMS["raft_rag"].k, len(PASSAGES)) + 1))
    assert say("side_by_side.given", labels=labels) in shown
