"""Answers about facts that change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workshop_utils.corpus.facts import Fact, Later, load_facts
from workshop_utils.evaluation.facts import Standing, judge

CHANGED = replace(
    load_facts()[0],
    answer="13 days",
    accept=("thirteen days",),
    later=Later("2026-01-08", "16 days", ("sixteen days",)),
)


@pytest.mark.parametrize(
    ("answer", "fact", "standing"),
    [
        ("Within 16 days.", CHANGED, "current"),
        ("sixteen days", CHANGED, "current"),
        ("13 days", CHANGED, "stale"),
        ("Thirteen days.", CHANGED, "stale"),
        ("9 days", CHANGED, "wrong"),
        ("I do not know.", CHANGED, "abstained"),
        ("", CHANGED, "abstained"),
        ("13 days", replace(CHANGED, later=None), "current"),
        ("16 days", replace(CHANGED, later=None), "wrong"),
        ("not in the documents", replace(CHANGED, later=None), "abstained"),
    ],
)
def test_each_answer_has_one_standing(answer: str, fact: Fact, standing: Standing) -> None:
    assert judge(answer, fact) == standing
