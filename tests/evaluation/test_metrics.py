"""Metrics against tables made by hand."""

from __future__ import annotations

import math
import re
import string
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from workshop_utils.corpus import load_questions
from workshop_utils.evaluation.metrics import (
    abstains,
    abstention,
    answer_logprobs,
    average_precision,
    contains_answer,
    exact_match,
    hit,
    ndcg_at_k,
    normalise,
    precision_at_k,
    recall_at_k,
    reciprocal_rank,
    token_f1,
)
from workshop_utils.models.transformers_chat import ChatTransformers


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


# -- the published SQuAD v1.1 script --


def squad_normalise(text: str) -> str:
    """``normalize_answer`` of evaluate-v1.1.py (Rajpurkar et al., 2016)."""
    text = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def squad_f1(answer: str, gold: str) -> float:
    """``f1_score`` of evaluate-v1.1.py."""
    given, wanted = squad_normalise(answer).split(), squad_normalise(gold).split()
    shared = sum((Counter(given) & Counter(wanted)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(given), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


# words as prose has them: marks at their ends, figures without marks inside
WORD = st.tuples(
    st.sampled_from(["", "(", '"', "'", "["]),
    st.sampled_from(["the", "a", "An", "Pump", "alarm", "12", "1,150", "7", "blue", "Theatre", "anode"]),
    st.sampled_from(["", ".", ",", "!", "?", ";", ":", ")", '"', "...", "]"]),
)
PROSE = st.lists(WORD.map("".join), max_size=8).map(" ".join)


@given(PROSE, PROSE)
def test_on_prose_the_scores_are_those_of_the_squad_script(answer: str, gold: str) -> None:
    assert normalise(answer) == squad_normalise(answer)
    assert exact_match(answer, [gold]) == (squad_normalise(answer) == squad_normalise(gold))
    if normalise(answer) or normalise(gold):
        assert token_f1(answer, [gold]) == pytest.approx(squad_f1(answer, gold))
        assert token_f1(answer, [gold, "12"]) == pytest.approx(max(squad_f1(answer, gold), squad_f1(answer, "12")))


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("2.6 ml/h", "26 mlh", "marks inside a figure are dropped"),
        ("21:15", "2115", "a time becomes a number"),
        ("9%", "9", "a share becomes a count"),
        ("10-12", "1012", "a range becomes a number"),
    ],
)
def test_what_squad_takes_for_the_same_and_we_on_purpose_do_not(first: str, second: str, why: str) -> None:
    assert squad_normalise(first) == squad_normalise(second), why
    assert normalise(first) != normalise(second), why


@pytest.mark.parametrize(("first", "second"), [("blue-green", "blue green"), ("on/off", "on off"), ("5%", "5 percent")])
def test_what_squad_takes_for_different_and_we_on_purpose_do_not(first: str, second: str) -> None:
    assert squad_normalise(first) != squad_normalise(second)
    assert normalise(first) == normalise(second)


def test_two_empty_answers_agree_here_and_in_squad_2_but_not_in_the_first_script() -> None:
    assert squad_f1("the", "a") == 0
    assert token_f1("the", ["a"]) == 1


# -- rankings --


def test_ranking_metrics_by_hand() -> None:
    found, gold = ["a", "x", "b", "y"], ["a", "b", "c"]
    assert [recall_at_k(found, gold, k) for k in (1, 2, 3, 10)] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert [precision_at_k(found, gold, k) for k in (1, 2, 3, 10)] == pytest.approx([1, 1 / 2, 2 / 3, 2 / 10])
    assert average_precision(found, gold) == pytest.approx((1 / 1 + 2 / 3) / 3)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg_at_k(found, gold, 3) == pytest.approx((1 + 1 / math.log2(4)) / ideal)
    assert ndcg_at_k(found, gold, 1) == 1
    grades = {"a": 1, "b": 3, "x": 0, "y": -1}
    assert ndcg_at_k(found, grades, 3) == pytest.approx((1 + 3 / 2) / (3 + 1 / math.log2(3)))
    assert ndcg_at_k([], gold, 3) == recall_at_k([], gold, 3) == precision_at_k([], gold, 3) == 0


def test_rankings_that_cannot_be_scored_are_refused() -> None:
    for metric in (recall_at_k, precision_at_k, ndcg_at_k):
        with pytest.raises(ValueError, match="k is 0"):
            metric(["a"], ["a"], 0)
        with pytest.raises(ValueError, match=r"retrieved twice.*dict\.fromkeys"):
            metric(["a", "b", "a"], ["a"], 1)
    for empty in (recall_at_k, ndcg_at_k):
        with pytest.raises(ValueError, match="leave unanswerable questions out"):
            empty(["a"], [], 1)
    with pytest.raises(ValueError, match="leave unanswerable questions out"):
        ndcg_at_k(["a"], {"a": 0}, 1)
    with pytest.raises(ValueError, match="leave unanswerable questions out"):
        average_precision(["a"], [])
    with pytest.raises(ValueError, match="retrieved twice"):
        average_precision(["a", "a"], ["a"])


def test_rankings_score_as_trec_eval_scores_them() -> None:
    """200 random rankings with random grades, by the code of trec_eval itself."""
    trec = pytest.importorskip("pytrec_eval")
    random = np.random.default_rng(0)
    pool = [f"d{n}" for n in range(30)]
    cuts = (1, 3, 5, 10, 30)
    grades, rankings = {}, {}
    for n in range(200):
        judged = random.choice(pool, size=random.integers(1, 15), replace=False)
        graded = {str(key): int(random.integers(0, 4)) for key in judged}
        graded[str(judged[0])] = int(random.integers(1, 4))
        grades[f"q{n}"] = graded
        rankings[f"q{n}"] = [str(key) for key in random.permutation(pool)[: random.integers(1, 31)]]
    runs = {q: {key: float(-rank) for rank, key in enumerate(ranking)} for q, ranking in rankings.items()}
    names = [f"{name}.{','.join(map(str, cuts))}" for name in ("ndcg_cut", "P", "recall")]
    judge = trec.RelevanceEvaluator(grades, {*names, "map", "recip_rank"})
    for q, expected in judge.evaluate(runs).items():
        ranking, gold = rankings[q], [key for key, grade in grades[q].items() if grade > 0]
        ours = {"map": average_precision(ranking, gold), "recip_rank": reciprocal_rank([d in gold for d in ranking])}
        for k in cuts:
            ours |= {
                f"ndcg_cut_{k}": ndcg_at_k(ranking, grades[q], k),
                f"P_{k}": precision_at_k(ranking, gold, k),
                f"recall_{k}": recall_at_k(ranking, gold, k),
            }
        assert ours == pytest.approx(expected, abs=1e-9), q
        assert hit(ranking[:3], gold) == (expected["recall_3"] > 0)
    binary = {q: {key: int(grade > 0) for key, grade in graded.items()} for q, graded in grades.items()}
    for q, expected in trec.RelevanceEvaluator(binary, {names[0]}).evaluate(runs).items():
        gold = [key for key, grade in binary[q].items() if grade]
        assert {f"ndcg_cut_{k}": ndcg_at_k(rankings[q], gold, k) for k in cuts} == pytest.approx(expected, abs=1e-9)


# -- abstention and log-probability --


def test_abstention_is_precise_complete_and_not_needless() -> None:
    abstained = [True, True, True, False, False, False, False]
    answerable = [False, False, True, False, True, True, True]
    scores = abstention(abstained, answerable)
    assert {name: score.value for name, score in scores.items()} == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 3, "needless": 1 / 4}
    )
    assert {name: score.n for name, score in scores.items()} == {"precision": 3, "recall": 3, "needless": 4}
    assert abstention([False], [True]).keys() == {"needless"}
    assert abstention([False], [False]).keys() == {"recall"}
    by_family = abstention([True, True, True, False], [False] * 4, ["one"] * 4)
    assert (by_family["recall"].low, by_family["recall"].high) == (0, 1)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        abstention([True], [True, False])


def test_log_probabilities_of_answers(llm: ChatTransformers) -> None:
    messages = [HumanMessage("What is the capital of France? One word.")]
    right, wrong, longer = answer_logprobs(llm, messages, ["Paris", "Potato", "Paris, the capital of France"])
    assert right.total > wrong.total
    assert right.total == pytest.approx(llm.logprobs(messages, ["Paris"])[0], abs=1e-4)
    assert longer.tokens == llm.count_tokens("Paris, the capital of France") > right.tokens
    assert longer.per_token == pytest.approx(longer.total / longer.tokens)
    with pytest.raises(ValueError, match="empty answer"):
        answer_logprobs(llm, messages, ["Paris", ""])
