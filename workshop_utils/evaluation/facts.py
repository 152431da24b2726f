"""Answers about facts that change: right, right until yesterday, withheld, or wrong."""

from __future__ import annotations

from typing import Literal

from workshop_utils.corpus.facts import Fact
from workshop_utils.evaluation.metrics import abstains, contains_answer

Standing = Literal["current", "stale", "abstained", "wrong"]
STANDINGS: tuple[Standing, ...] = ("current", "stale", "abstained", "wrong")


def judge(answer: str, fact: Fact) -> Standing:
    """What an answer is once the update stream has arrived; ``stale`` was right on the first day."""
    if contains_answer(answer, fact.later.accepted if fact.later else fact.accepted):
        return "current"
    if fact.later and contains_answer(answer, fact.accepted):
        return "stale"
    return "abstained" if abstains(answer) else "wrong"
