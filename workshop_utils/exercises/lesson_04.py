"""Checks of lesson 04."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from workshop_utils.exercises.judging import Exercise, Wrong, expect_type

Interval = tuple[float, float]
RESAMPLES = 4000
STAGES = ("found", "given", "correct", "cited")
# what `broken_rag(seed=1)` has in its search: a test compares them
PLANTED = ("query_embedding", "stale_index", "worst_first")


def check_ndcg(attempt: Callable[..., Any]) -> None:
    ranking = ["p7", "p2", "p9", "p4", "p1"]
    cases: list[tuple[list[str], set[str], int]] = [
        (["a", "b", "c"], {"a"}, 3),
        (["b", "a", "c"], {"a"}, 3),
        (ranking, {"p2", "p4", "p8"}, 5),
        (ranking, {"p2", "p4"}, 3),
        (ranking, {"p2", "p4", "p7", "p8", "p9"}, 2),
        (ranking, {"p8"}, 5),
        (["a", "b"], {"a", "b"}, 5),
    ]
    for retrieved, gold, k in cases:
        found = attempt(retrieved, gold, k)
        expect_type(found, float, int, np.floating)
        gains = [float(key in gold) for key in retrieved]
        wanted = _dcg(gains[:k]) / _dcg([1.0] * min(k, len(gold)))
        if math.isclose(found, wanted, abs_tol=1e-9):
            continue
        told = {"retrieved": retrieved, "gold": sorted(gold), "k": k, "found": float(found), "expected": wanted}
        mistakes = (
            ("not_cut", _dcg(gains) / _dcg([1.0] * min(k, len(gold)))),
            ("not_cut", _dcg(gains) / _dcg([1.0] * len(gold))),
            ("not_divided", _dcg(gains[:k])),
            ("ideal_of_found", _dcg(gains[:k]) / (_dcg(sorted(gains, reverse=True)[:k]) or 1.0)),
            ("ideal_too_long", _dcg(gains[:k]) / _dcg([1.0] * len(gold))),
            ("ideal_too_short", _dcg(gains[:k]) / _dcg([1.0] * k)),
            ("no_discount", sum(gains[:k]) / min(k, len(gold))),
            ("other_discount", _by_rank(gains[:k]) / _by_rank([1.0] * min(k, len(gold)))),
        )
        for mistake, value in mistakes:
            if math.isclose(found, value, abs_tol=1e-9):
                raise Wrong(mistake, **told)
        raise Wrong("values", **told)


def _dcg(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def _by_rank(gains: Sequence[float]) -> float:
    return sum(gain / rank for rank, gain in enumerate(gains, start=1))


def check_paired_interval(attempt: Callable[..., Any]) -> None:
    # the large family likes the second system, the small ones the first
    sizes = np.array([30, 4, 4, 4, 4, 4, 5, 5, 6, 6])
    families = np.repeat(np.arange(len(sizes)), sizes)
    difficulty = np.random.default_rng(0)
    second = (difficulty.random(families.size) < 0.5).astype(float)
    gained = difficulty.random(families.size) < np.where(families == 0, 0.1, 0.75)
    first = np.where(gained, 1.0, second)
    found = attempt(first, second, families, RESAMPLES, np.random.default_rng(0))
    if not isinstance(found, tuple | list | np.ndarray) or len(found) != 2:
        raise Wrong("two_numbers", found=found)
    low, high = (float(number) for number in found)
    difference = first - second
    expected = _by_family(difference, families)
    if _close((low, high), expected):
        return
    told = {"low": low, "high": high, "expected_low": expected[0], "expected_high": expected[1]}
    mistakes = (
        ("sign", (-expected[1], -expected[0])),
        ("single_questions", _by_family(difference, np.arange(families.size))),
        ("mean_of_families", _by_family(_means(difference, families), np.arange(len(sizes)))),
        ("unpaired", _unpaired(first, second, families)),
        ("unpaired", _unpaired(first, second, np.arange(families.size))),
    )
    for mistake, interval in mistakes:
        if _close((low, high), interval):
            raise Wrong(mistake, **told)
    raise Wrong("values", **told)


def _close(found: Interval, expected: Interval) -> bool:
    return all(abs(a - b) < 0.02 for a, b in zip(found, expected, strict=True))


def _means(values: np.ndarray[Any, Any], families: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    result: np.ndarray[Any, Any] = np.bincount(families, weights=values) / np.bincount(families)
    return result


def _resampled(values: np.ndarray[Any, Any], families: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
    sums, counts = np.bincount(families, weights=values), np.bincount(families)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    result: np.ndarray[Any, Any] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return result


def _by_family(values: np.ndarray[Any, Any], families: np.ndarray[Any, Any]) -> Interval:
    low, high = np.quantile(_resampled(values, families, 1), [0.025, 0.975])
    return float(low), float(high)


def _unpaired(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any], families: np.ndarray[Any, Any]) -> Interval:
    """Each system with its own draw."""
    differences = _resampled(first, families, 1) - _resampled(second, families, 2)
    low, high = np.quantile(differences, [0.025, 0.975])
    return float(low), float(high)


def check_guilty(attempt: Callable[..., Any]) -> None:
    from workshop_utils.evaluation.faults import FAULTS

    found = attempt()
    expect_type(found, list, tuple, set)
    for name in found:
        if name not in FAULTS:
            raise Wrong("no_suspect", found=name, suspects=", ".join(FAULTS))
    # an innocent one first: the figure that clears it leads to the right one
    for name in FAULTS:
        if name in found and name not in PLANTED:
            raise Wrong(f"innocent_{name}")
    for name in PLANTED:
        if name not in found:
            raise Wrong(f"missed_{name}")


def check_cited(attempt: Callable[..., Any]) -> None:
    cases: list[tuple[list[str], set[str], tuple[float | None, float | None], str]] = [
        (["2"], {"2"}, (1.0, 1.0), "values"),
        (["1", "2"], {"2"}, (0.5, 1.0), "values"),
        (["2"], {"2", "3"}, (1.0, 0.5), "values"),
        (["2", "2"], {"2"}, (1.0, 1.0), "twice"),
        (["2", "2", "3"], {"2"}, (0.5, 1.0), "twice"),
        (["7", "2"], {"2"}, (0.5, 1.0), "values"),
        ([], {"2"}, (None, 0.0), "nothing_cited"),
        (["1"], set(), (0.0, None), "no_evidence"),
    ]
    for citations, evidence, expected, mistake in cases:
        told = {"citations": citations, "evidence": sorted(evidence), "expected": expected}
        try:
            found = attempt(citations, evidence)
        except ZeroDivisionError:
            raise Wrong("division", **told) from None
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise Wrong("two_numbers", found=found)
        if tuple(found) == expected:
            continue
        if tuple(found) == expected[::-1]:
            raise Wrong("swapped", found=found, **told)
        raise Wrong(mistake, found=found, **told)


def check_diagnose(attempt: Callable[..., Any]) -> None:
    good = {"asked": 100, "found": 80, "given": 80, "correct": 48, "cited": 40}
    cases = [
        ({"asked": 100, "found": 40, "given": 40, "correct": 24, "cited": 20}, "found"),
        ({"asked": 100, "found": 80, "given": 30, "correct": 18, "cited": 15}, "given"),
        ({"asked": 100, "found": 80, "given": 80, "correct": 20, "cited": 17}, "correct"),
        ({"asked": 100, "found": 80, "given": 80, "correct": 48, "cited": 6}, "cited"),
        # half as many found, and nearly the same share of them cited
        ({"asked": 100, "found": 78, "given": 40, "correct": 25, "cited": 19}, "given"),
        # fewer questions than before
        ({"asked": 50, "found": 40, "given": 40, "correct": 24, "cited": 5}, "cited"),
        # twice as many asked and half as many found, but citing has lost more of what it was handed
        ({"asked": 200, "found": 80, "given": 80, "correct": 48, "cited": 14}, "cited"),
        # nothing arrives, so the later stages cannot be judged
        ({"asked": 100, "found": 0, "given": 0, "correct": 0, "cited": 0}, "found"),
    ]
    for now, expected in cases:
        told = {"now": now, "before": good, "expected": expected}
        try:
            found = attempt(now, good)
        except ZeroDivisionError:
            raise Wrong("division", **told) from None
        expect_type(found, str)
        if found == expected:
            continue
        told["found"] = found
        if found not in STAGES:
            raise Wrong("no_stage", **told)
        if found == max(STAGES, key=lambda stage: good[stage] - now[stage]):
            raise Wrong("counts", **told)
        if found == max(STAGES, key=lambda stage: good[stage] / good["asked"] - now[stage] / now["asked"]):
            raise Wrong("of_all", **told)
        if found == next((stage for stage in STAGES if now[stage] < good[stage]), None):
            raise Wrong("first_drop", **told)
        raise Wrong("values", **told)


EXERCISES = (
    Exercise("ndcg", check_ndcg),
    Exercise("paired_interval", check_paired_interval),
    Exercise("guilty", check_guilty),
    Exercise("cited", check_cited),
    Exercise("diagnose", check_diagnose),
)
