"""Metrics against tables made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop_utils.corpus import load_questions
from workshop_utils.evaluation import (
    abstains,
    contains_answer,
    exact_match,
    hit,
    normalise,
    reciprocal_rank,
    token_f1,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("The Pump!", "pump"),
        ("  an   alarm,\tand a  light. ", "alarm and light"),
        ("2.6 ml/h", "2.6 ml h"),
        ("1,150 hours", "1150 hours"),
        ("1,234,567", "1234567"),
        ("at 21:15.", "at 21:15"),
        ("(12 days)", "12 days"),
        ("5%", "5 percent"),
        ("10-12 kg", "10-12 kg"),
        ("blue-green", "blue green"),
        ("PX-31", "px 31"),
        ("theatre", "theatre"),
        ("Déjà Vu", "déjà vu"),
        ("25\u00a0days", "25 days"),
        ("3, 4 and 5", "3 4 and 5"),
    ],
)
def test_normalised(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(st.text(max_size=40))
def test_normalising_again_changes_no_words(text: str) -> None:
    once = normalise(text)
    assert once == " ".join(once.split())
    assert once == once.lower() or not once.isascii()


@pytest.mark.parametrize(
    ("answer", "accepted", "exact", "contains"),
    [
        ("25 days", ["25 days"], True, True),
        ("The 25 days.", ["25 days"], True, True),
        ("It is 25 days a year", ["25 days"], False, True),
        ("26 ml/h", ["2.6 ml/h"], False, False),
        ("2.6 ml/h", ["26 ml/h"], False, False),
        ("2.60", ["2.6"], False, False),
        ("12.6", ["2.6"], False, False),
        ("It is 1150.", ["1,150"], False, True),
        ("1,150", ["1150"], True, True),
        ("11,150", ["1,150"], False, False),
        ("At 21:15", ["21:15"], False, True),
        ("2115", ["21:15"], False, False),
        ("9:15", ["21:15"], False, False),
        ("125 days", ["25 days"], False, False),
        ("25 daysoff", ["25 days"], False, False),
        ("the answer is twenty-five", ["25", "twenty-five"], False, True),
        ("", ["25"], False, False),
        ("25", [], False, False),
        ("anything", [""], False, False),
        ("anything", ["the"], False, False),
        ("Ext. 4410, Monday", ["4410"], False, True),
        ("port amsel", ["Port Amsel"], True, True),
    ],
)
def test_right_and_wrong_answers(answer: str, accepted: list[str], exact: bool, contains: bool) -> None:
    assert exact_match(answer, accepted) is exact
    assert contains_answer(answer, accepted) is contains


@pytest.mark.parametrize(
    ("answer", "accepted", "expected"),
    [
        ("25 days", ["25 days"], 1.0),
        ("25 days of leave", ["25 days"], 2 * 2 / 6),
        ("days", ["25 days"], 2 / 3),
        ("days days", ["25 days"], 2 * 1 / 4),
        ("blue", ["red"], 0.0),
        ("blue", ["red", "dark blue"], 2 / 3),
        ("", ["red"], 0.0),
        ("the", ["a"], 1.0),
        ("26 days", ["2.6 days"], 0.5),
    ],
)
def test_f1_of_words(answer: str, accepted: list[str], expected: float) -> None:
    assert token_f1(answer, accepted) == pytest.approx(expected)


@given(st.text("ab 1.,", max_size=20), st.text("ab 1.,", max_size=20))
def test_f1_is_symmetric_and_one_for_exact_matches(first: str, second: str) -> None:
    assert token_f1(first, [second]) == token_f1(second, [first])
    assert 0 <= token_f1(first, [second]) <= 1
    if exact_match(first, [second]):
        assert token_f1(first, [second]) == 1
        assert contains_answer(first, [second]) or not normalise(second)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", True),
        (" \n", True),
        ("This is not stated in the text.", True),
        ("I DON'T KNOW.", True),
        ("The documents do not say.", True),
        ("25 days", False),
        ("It is known to all.", False),
        ("The state is noted.", False),
    ],
)
def test_abstentions(answer: str, expected: bool) -> None:
    assert abstains(answer) is expected


def test_a_hit_is_one_gold_id_among_the_retrieved() -> None:
    assert hit(["a", "b"], ["b", "c"])
    assert not hit(["a"], ["b"])
    assert not hit([], ["b"])
    assert not hit(["a"], [])


def test_every_gold_answer_of_the_company_counts_as_right() -> None:
    questions = [q for q in load_questions("dev") if q.answerable]
    assert questions
    for question in questions:
        assert exact_match(question.answer, question.accepted), question.id
        assert contains_answer(f"The answer is {question.answer}.", question.accepted), question.id
        assert not abstains(question.answer), question.id


@pytest.mark.parametrize(
    ("relevant", "expected"),
    [([], 0), ([False, False], 0), ([True, True], 1), ([False, True, True], 1 / 2), ([False] * 3 + [True], 1 / 4)],
)
def test_reciprocal_rank_is_that_of_the_first_relevant_result(relevant: list[bool], expected: float) -> None:
    assert reciprocal_rank(relevant) == expected
