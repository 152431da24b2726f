"""The differences that are tested: fixed, and equal to what is computed by hand."""

from __future__ import annotations

import pytest

from workshop_utils.evaluation.compare.arms import ARMS
from workshop_utils.evaluation.compare.contrasts import PRIMARY, SECONDARY, differences

FAMILIES = ["a", "b", "c", "d", "e", "e"]


def test_one_contrast_is_primary_and_four_are_secondary() -> None:
    assert (PRIMARY.a, PRIMARY.b) == ("raft_rag", "few_shot_rag")
    assert [(one.a, one.b) for one in SECONDARY] == [
        ("raft_rag", "reader_rag"),
        ("raft_rag", "lora_task_rag"),
        ("raft_rag", "lora_knowledge"),
        ("rag", "base"),
    ]
    assert {name for one in (PRIMARY, *SECONDARY) for name in (one.a, one.b)} <= set(ARMS)


def test_values_and_p_are_those_computed_by_hand() -> None:
    one, zero = [True] * 6, [False] * 6
    right = {
        "raft_rag": one,
        "few_shot_rag": zero,
        "reader_rag": [False, True, True, True, True, True],
        "lora_task_rag": [False, False, False, True, True, True],
        "lora_knowledge": zero,
        "rag": zero,
        "base": zero,
    }
    primary, *secondary = differences(right, FAMILIES)
    # five families: of the 32 ways to set the signs two are as far from zero as all alike
    assert (primary["value"], primary["p"], primary["role"]) == (1.0, 2 / 32, "primary")
    assert [row["value"] for row in secondary] == [pytest.approx(1 / 6), 0.5, 1.0, 0.0]
    # raw: 2/2, 2/8, 2/32 and 1; Holm multiplies the smallest by 4, the next by 3, ...
    assert [row["p"] for row in secondary] == [1.0, 0.75, 0.25, 1.0]
    assert all(row["metric"] == "correct" for row in (primary, *secondary))
    half = secondary[1]
    assert half["low"] < half["value"] < half["high"]


def test_families_are_drawn_whole() -> None:
    right = {"rag": [True] * 12 + [False] * 4, "base": [False] * 16}
    apart = differences(right, range(16))[0]
    together = differences(right, [n // 4 for n in range(16)])[0]
    assert together["p"] > apart["p"]
    assert together["high"] - together["low"] > apart["high"] - apart["low"]


def test_holm_counts_only_what_was_asked() -> None:
    right = {"rag": [True] * 5, "base": [False] * 5, "raft_rag": [True] * 5, "lora_knowledge": [True] * 5}
    rows = differences(right, "abcde")
    assert [(row["a"], row["p"]) for row in rows] == [("raft_rag", 1.0), ("rag", 2 * 2 / 32)]
    assert differences({"base": [True]}, ["a"]) == []
