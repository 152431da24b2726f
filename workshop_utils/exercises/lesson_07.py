"""Checks of lesson 07."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from workshop_utils.evaluation import abstains, contains_answer, exact_match
from workshop_utils.exercises.judging import Exercise, Wrong, expect_type

KINDS = ("current", "stale", "abstained", "wrong")

Losses = Sequence[float]
Points = Mapping[str, tuple[float, float]]


def check_epoch_to_keep(attempt: Callable[..., Any]) -> None:
    cases: list[tuple[list[float], int]] = [
        ([1.2, 0.8, 0.6, 0.7, 0.9], 2),
        ([1.2, 0.8, 0.6, 0.5], 1),
        # a better epoch comes, too late
        ([1.2, 0.8, 0.9, 0.85, 0.7, 0.6], 2),
        # the same, in time
        ([1.2, 0.8, 0.9, 0.85, 0.7, 0.6], 3),
        # two epochs without a new minimum, though the second is lower than the one before it
        ([1.0, 0.5, 0.8, 0.7, 0.4, 0.3], 2),
        # no worse is not better
        ([1.0, 0.5, 0.5, 0.5, 0.4], 2),
        ([0.5, 0.6, 0.7, 0.1], 1),
        ([1.0, 0.9, 0.95, 0.8], 1),
    ]
    answers = []
    for losses, patience in cases:
        found = attempt(losses, patience)
        expect_type(found, int, np.integer)
        answers.append(int(found))
    expected = [_early_stop(*case)[0] for case in cases]
    if answers == expected:
        return
    place = next(i for i, (a, b) in enumerate(zip(answers, expected, strict=True)) if a != b)
    told = {
        "losses": cases[place][0],
        "patience": cases[place][1],
        "found": answers[place],
        "expected": expected[place],
    }
    mistakes: dict[str, Callable[[Losses, int], int]] = {
        "whole_curve": lambda losses, _: int(np.argmin(losses)),
        "the_stop": lambda losses, patience: _early_stop(losses, patience)[1],
        "last": lambda losses, _: len(losses) - 1,
        "from_one": lambda losses, patience: _early_stop(losses, patience)[0] + 1,
        "no_patience": lambda losses, _: _early_stop(losses, 1)[0],
        "too_patient": lambda losses, patience: _early_stop(losses, patience + 1)[0],
        "consecutive_rises": _by_rises,
        "the_later_of_two": lambda losses, patience: _early_stop(losses, patience, or_equal=True)[0],
    }
    for mistake, imitate in mistakes.items():
        if answers == [imitate(*case) for case in cases]:
            raise Wrong(mistake, **told)
    raise Wrong("values", **told)


def _early_stop(losses: Losses, patience: int, *, or_equal: bool = False) -> tuple[int, int]:
    """The epoch to keep, and the epoch after which training stops."""
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best] or (or_equal and loss == losses[best]):
            best = epoch
        elif epoch - best >= patience:
            return best, epoch
    return best, len(losses) - 1


def _by_rises(losses: Losses, patience: int) -> int:
    """Waits for rises in a row, each over the epoch before, instead of for a new minimum."""
    rises = 0
    for epoch in range(1, len(losses)):
        rises = rises + 1 if losses[epoch] >= losses[epoch - 1] else 0
        if rises >= patience:
            return int(np.argmin(losses[: epoch + 1]))
    return int(np.argmin(losses))


def check_after_the_change(attempt: Callable[..., Any]) -> None:
    now, before = ["9 days", "nine days"], ["19 days"]
    other_now, other_before = ["48 minutes"], ["35 minutes"]
    cases: list[tuple[str, list[str], list[str], str]] = [
        ("9 days", now, before, "current"),
        ("It is closed after nine days.", now, before, "current"),
        ("19 days", now, before, "stale"),
        ("The mailbox is closed after 19 days.", now, before, "stale"),
        ("12 days", now, before, "wrong"),
        ("I don't know.", now, before, "abstained"),
        ("", now, before, "abstained"),
        ("35 minutes or 48 minutes", other_now, other_before, "wrong"),
        ("It is not stated, but 35 minutes", other_now, other_before, "stale"),
        ("It is not stated, but 48 minutes", other_now, other_before, "current"),
        ("480 minutes", other_now, other_before, "wrong"),
    ]
    answers = []
    for answer, right, former, _ in cases:
        found = attempt(answer, right, former)
        expect_type(found, str)
        if found not in KINDS:
            raise Wrong("no_kind", answer=answer, found=found, kinds=", ".join(KINDS))
        answers.append(found)
    expected = [kind for *_, kind in cases]
    if answers == expected:
        return
    place = next(i for i, (a, b) in enumerate(zip(answers, expected, strict=True)) if a != b)
    answer, right, former, kind = cases[place]
    told = {"answer": answer, "now": right, "before": former, "found": answers[place], "expected": kind}
    imitations: dict[str, Callable[[str, list[str], list[str]], str]] = {
        "part_of_a_number": lambda a, n, b: _kind(a, _inside(a, n), _inside(a, b)),
        "whole_answer": lambda a, n, b: _kind(a, exact_match(a, n), exact_match(a, b)),
        "both_current": lambda a, n, b: _kind(a, contains_answer(a, n), contains_answer(a, b), both="current"),
        "both_stale": lambda a, n, b: _kind(a, contains_answer(a, n), contains_answer(a, b), both="stale"),
        "silence_first": lambda a, n, b: (
            "abstained" if abstains(a) else _kind(a, contains_answer(a, n), contains_answer(a, b))
        ),
        "silence_is_wrong": lambda a, n, b: _kind(a, contains_answer(a, n), contains_answer(a, b)).replace(
            "abstained", "wrong"
        ),
        "all_that_is_not_current": lambda a, n, _: "current" if contains_answer(a, n) else "stale",
    }
    for mistake, imitate in imitations.items():
        if answers == [imitate(a, n, b) for a, n, b, _ in cases]:
            raise Wrong(mistake, **told)
    if answers == [{"current": "stale", "stale": "current"}.get(kind, kind) for kind in expected]:
        raise Wrong("swapped", **told)
    raise Wrong("values", **told)


def _kind(answer: str, is_now: bool, is_former: bool, both: str = "wrong") -> str:
    if is_now and is_former:
        return both
    if is_now or is_former:
        return "current" if is_now else "stale"
    return "abstained" if abstains(answer) else "wrong"


def _inside(answer: str, wordings: list[str]) -> bool:
    return any(wording.lower() in answer.lower() for wording in wordings)


def check_frontier(attempt: Callable[..., Any]) -> None:
    cases: list[dict[str, tuple[float, float]]] = [
        {"slow": (0.4, 0.0), "medium": (0.7, 0.1), "fast": (0.8, 0.3), "wild": (0.5, 0.6)},
        # learns as much and forgets more; and forgets as much and learns less
        {"a": (0.7, 0.1), "b": (0.7, 0.2), "c": (0.6, 0.1)},
        # twins: neither is better than the other
        {"b": (0.7, 0.1), "a": (0.7, 0.1), "c": (0.9, 0.4)},
        {"only": (0.1, 0.9)},
        {"x": (0.9, 0.2), "y": (0.9, 0.1), "z": (0.2, -0.05), "w": (0.5, 0.05)},
    ]
    answers = []
    for points in cases:
        found = attempt(points)
        expect_type(found, list, tuple, set)
        unknown = [name for name in found if name not in points]
        if unknown:
            raise Wrong("no_recipe", found=unknown[0], names=", ".join(points))
        answers.append(list(found))
    expected = [_not_beaten(points, _beats) for points in cases]
    if answers == expected:
        return
    if [sorted(found) for found in answers] == expected:
        raise Wrong("not_sorted", found=next(a for a, b in zip(answers, expected, strict=True) if a != b))
    place = next(i for i, (a, b) in enumerate(zip(answers, expected, strict=True)) if sorted(a) != b)
    told = {"points": cases[place], "found": sorted(answers[place]), "expected": expected[place]}
    mistakes: dict[str, Callable[[Points], list[str]]] = {
        "wrong_way": lambda points: _not_beaten(points, lambda p, q: _beats((p[0], -p[1]), (q[0], -q[1]))),
        "better_in_both": lambda points: _not_beaten(points, lambda p, q: p[0] > q[0] and p[1] < q[1]),
        "twins_lost": lambda points: sorted(
            name
            for name, point in points.items()
            if not any(o[0] >= point[0] and o[1] <= point[1] for other, o in points.items() if other != name)
        ),
        "only_the_ends": lambda points: sorted(
            {max(points, key=lambda name: points[name][0]), min(points, key=lambda name: points[name][1])}
        ),
        "all_beaten": lambda points: sorted(set(points) - set(_not_beaten(points, _beats))),
    }
    for mistake, imitate in mistakes.items():
        if [sorted(found) for found in answers] == [imitate(points) for points in cases]:
            raise Wrong(mistake, **told)
    raise Wrong("values", **told)


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] >= other[0] and one[1] <= other[1]


def _not_beaten(points: Points, beats: Callable[[tuple[float, float], tuple[float, float]], bool]) -> list[str]:
    return sorted(name for name, point in points.items() if not any(beats(other, point) for other in points.values()))


def check_auroc(attempt: Callable[..., Any]) -> None:
    cases: list[tuple[list[float], list[float]]] = [
        ([-0.1, -0.2], [-1.0, -2.0]),
        ([-1.0, -2.0], [-0.1, -0.2]),
        ([-0.1, -1.5, -0.4], [-0.2, -2.0]),
        ([-0.5, -0.5], [-0.5, -0.5, -0.5]),
        ([-0.1, -0.3], [-0.1, -0.4, -0.3]),
    ]
    answers = []
    for right, wrong in cases:
        found = attempt(right, wrong)
        expect_type(found, int, float, np.floating)
        answers.append(float(found))
    expected = [_pairs(right, wrong, 0.5) for right, wrong in cases]
    if np.allclose(answers, expected):
        return
    place = next(i for i, (a, b) in enumerate(zip(answers, expected, strict=True)) if not math.isclose(a, b))
    told = {"right": cases[place][0], "wrong": cases[place][1], "found": answers[place], "expected": expected[place]}
    mistakes: dict[str, Callable[[list[float], list[float]], float]] = {
        "other_way": lambda right, wrong: _pairs(wrong, right, 0.5),
        "ties_lost": lambda right, wrong: _pairs(right, wrong, 0.0),
        "ties_won": lambda right, wrong: _pairs(right, wrong, 1.0),
        "not_divided": lambda right, wrong: _pairs(right, wrong, 0.5) * len(right) * len(wrong),
        "in_order": lambda right, wrong: float(
            np.mean([(a > b) + 0.5 * (a == b) for a, b in zip(right, wrong, strict=False)])
        ),
        "means": lambda right, wrong: float(np.mean(right) > np.mean(wrong)),
    }
    for mistake, imitate in mistakes.items():
        if np.allclose(answers, [imitate(*case) for case in cases]):
            raise Wrong(mistake, **told)
    raise Wrong("values", **told)


def _pairs(high: Sequence[float], low: Sequence[float], tie: float) -> float:
    return float(np.mean([1.0 if a > b else tie if a == b else 0.0 for a in high for b in low]))


EXERCISES = (
    Exercise("after_the_change", check_after_the_change),
    Exercise("epoch_to_keep", check_epoch_to_keep),
    Exercise("frontier", check_frontier),
    Exercise("auroc", check_auroc),
)
