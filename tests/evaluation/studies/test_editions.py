"""New editions: the figure changes in document, evidence and answer, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from langchain_core.documents import Document

from workshop_utils.corpus import Question, load_questions
from workshop_utils.corpus.questions import Evidence
from workshop_utils.evaluation.metrics import contains_answer
from workshop_utils.evaluation.studies.combining import bulletin_questions
from workshop_utils.evaluation.studies.editions import new_editions

SOME = load_questions("dev", kinds=["single"])[0]


def ask(answer: str, span: str, accept: tuple[str, ...] = (), key: str = "A-q1") -> Question:
    return replace(SOME, id=key, answer=answer, accept=accept, sources=("A",), evidence=(Evidence("A", span),))


def document(text: str) -> Document:
    return Document(id="A", page_content=text, metadata={"title": "A"})


def test_a_quantity_changes_in_document_evidence_and_answer() -> None:
    text = "Wait 12 minutes. Part 12-4 stays. Then 1.5 ml."
    questions = [
        ask("12 minutes", "Wait 12 minutes.", ("12 min", "12min", "twelve minutes", "112 min")),
        ask("1.5 ml", "Then 1.5 ml.", key="A-q2"),
    ]
    (edition,), (first, second) = new_editions([document(text)], questions)
    assert edition.page_content == "Wait 17 minutes. Part 12-4 stays. Then 2.1 ml."
    assert (first.answer, first.accept) == ("17 minutes", ("17 min", "17min"))
    assert first.evidence == (Evidence("A", "Wait 17 minutes."),)
    assert second.answer == "2.1 ml"


def test_the_new_number_is_not_in_the_document_already() -> None:
    (edition,), (question,) = new_editions([document("3 ml, never 5 or 6.")], [ask("3 ml", "3 ml, never 5 or 6.")])
    assert question.answer == "7 ml"
    assert edition.page_content == "7 ml, never 5 or 6."


@pytest.mark.parametrize(
    ("answer", "span", "text"),
    [
        ("KX-3", "Order KX-3.", "Order KX-3."),  # no quantity
        ("07:10", "From 07:10.", "From 07:10."),
        ("3 ml", "Take 3 ml.", "Take 4 ml."),  # not there
        ("3 ml", "Take 3 ml.", "Take 3 ml. Take 3 ml."),  # there twice
        ("3 ml", "Take 3 ml.", "Take 3 ml. Again: 3 ml at night."),  # the old answer stays
        ("3 ml", "Take 3 ml.", "Take 3 ml. Three millilitres at night."),
    ],
)
def test_what_cannot_be_changed_cleanly_is_left(answer: str, span: str, text: str) -> None:
    accept = ("three millilitres",) if "Three" in text else ()
    editions, questions = new_editions([document(text)], [ask(answer, span, accept)])
    assert questions == []
    assert editions[0].page_content == text


def test_of_two_wordings_one_is_kept() -> None:
    asked = [ask("3 ml", "Take 3 ml."), ask("3 ml", "Take 3 ml.", key="A-q1b")]
    _, questions = new_editions([document("Take 3 ml.")], asked)
    assert [question.id for question in questions] == ["A-q1"]


def test_the_bulletins_that_arrive_hold_today_s_answers_and_no_earlier_ones() -> None:
    first, now, latest = bulletin_questions()
    texts = {str(one.id): one.page_content for one in latest}
    held_out = {source for question in load_questions("test") for source in question.sources}
    assert len(now) == len(first) > 20
    assert len({question.family for question in now}) >= 6
    for before, after in zip(first, now, strict=True):
        assert before.id == after.id
        assert not held_out & set(after.sources)
        assert after.answer != before.answer
        for evidence in after.evidence:
            assert evidence.span in texts[evidence.source]
        assert any(contains_answer(part.span, after.accepted) for part in after.evidence)
