"""Risk, coverage and the area under the ROC curve, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from langchain_core.messages import HumanMessage

from workshop_utils.corpus.questions import NO_ANSWER
from workshop_utils.evaluation.selective import Operating, abstention_probability, auroc, risk_coverage
from workshop_utils.models.transformers_chat import ChatTransformers


def test_risk_and_coverage_by_hand() -> None:
    doubt = [0.1, 0.2, 0.2, 0.5, 0.9]
    correct = [True, False, True, False, True]
    answered = [True, True, True, False, True]
    assert risk_coverage(doubt, correct, answered) == [
        Operating(0.1, 1 / 5, 0, 1),
        Operating(0.2, 3 / 5, 1 - 2 / 3, 3),  # both of one score together
        Operating(0.9, 4 / 5, 1 - 3 / 4, 4),  # the silent one adds no point
    ]


def test_an_unanswered_question_is_neither_right_nor_wrong() -> None:
    assert risk_coverage([0.1, 0.2], [True, True], [False, True]) == [Operating(0.2, 1 / 2, 0, 1)]
    assert risk_coverage([0.1], [True], [False]) == []
    with pytest.raises(ValueError, match="shorter"):
        risk_coverage([0.1], [True], [])


def test_the_order_of_the_questions_does_not_matter() -> None:
    random = np.random.default_rng(0)
    doubt = random.integers(0, 6, size=40) / 6
    correct, answered = random.random(40) < 0.5, random.random(40) < 0.8
    first = risk_coverage(doubt.tolist(), correct.tolist(), answered.tolist())
    order = random.permutation(40)
    assert first == risk_coverage(doubt[order].tolist(), correct[order].tolist(), answered[order].tolist())
    assert first[-1].risk == pytest.approx(1 - correct[answered].mean())
    assert first[-1].coverage == answered.mean()


def test_the_area_under_the_curve() -> None:
    assert auroc([0.9, 0.1], [True, False]) == 1
    assert auroc([0.1, 0.9], [True, False]) == 0
    assert auroc([0.5, 0.5], [True, False]) == 0.5
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(1)
    doubt, yes = random.integers(0, 9, size=80).tolist(), (random.random(80) < 0.3).tolist()
    assert auroc(doubt, yes) == pytest.approx(metrics.roc_auc_score(yes, doubt), abs=1e-12)
    with pytest.raises(ValueError, match="Both kinds"):
        auroc([0.1], [True])


def test_the_probability_of_abstaining_is_that_of_the_whole_answer(llm: ChatTransformers) -> None:
    messages = [HumanMessage(f"Say exactly: {NO_ANSWER}")]
    willing = abstention_probability(llm, messages)
    assert 0 <= abstention_probability(llm, [HumanMessage("What is 2 + 2?")]) < willing <= 1
    assert np.log(willing) == pytest.approx(llm.logprobs(messages, [NO_ANSWER])[0], abs=1e-4)
