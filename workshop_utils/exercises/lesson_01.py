"""Checks of lesson 01."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from workshop_utils.exercises.judging import Exercise, Wrong, expect_shape


def check_mean_pool(attempt: Callable[..., Any]) -> None:
    hidden = np.array([[[3.0, 0.0], [0.0, 4.0], [9.0, 9.0]], [[0.0, 2.0], [0.0, 2.0], [0.0, 2.0]]])
    mask = np.array([[1, 1, 0], [1, 1, 1]])
    found = np.asarray(attempt(hidden, mask), dtype=float)
    expect_shape(found, (2, 2))
    if np.allclose(found, [[0.6, 0.8], [0.0, 1.0]]):
        return
    if np.allclose(found, [[1.5, 2.0], [0.0, 2.0]]):
        raise Wrong("not_unit", lengths=np.linalg.norm(found, axis=1).round(2).tolist())
    means = hidden.mean(axis=1)
    if np.allclose(found, means / np.linalg.norm(means, axis=1, keepdims=True)) or np.allclose(found, means):
        raise Wrong("padding")
    if np.allclose(found[0], [1.0, 0.0]):
        raise Wrong("first_token")
    total = np.array([[1.5, 2.0], [0.0, 2.0]])
    if np.allclose(found, total / np.linalg.norm(total)):
        raise Wrong("whole_norm")
    raise Wrong("values", expected=[[0.6, 0.8], [0.0, 1.0]], found=found.round(3).tolist())


def check_top_k(attempt: Callable[..., Any]) -> None:
    documents = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    order = [1, 4, 3, 0, 2]
    query = np.array([1.0, 0.0])
    for k in (1, 2, 3, 9):
        found = np.asarray(attempt(query, documents, k))
        expect_shape(found, (min(k, 5),))
        best = order[:k]
        if found.tolist() == best:
            continue
        if found.tolist() == order[::-1][:k]:
            raise Wrong("ascending", k=k)
        if not np.issubdtype(found.dtype, np.integer):
            raise Wrong("scores", k=k, found=found.round(2).tolist())
        if sorted(found.tolist()) == sorted(best):
            raise Wrong("order", k=k, found=found.tolist(), best=best)
        raise Wrong("not_the_closest", k=k, found=found.tolist(), best=best)


def check_pack(attempt: Callable[..., Any]) -> None:
    cases = [
        ([100, 100, 100], 250, 2, "too_many"),
        ([100, 100, 100], 300, 3, "exact_fit"),
        ([100, 300, 50], 200, 1, "skipped"),
        ([500, 20], 100, 1, "first_always"),
        ([], 100, 0, "empty"),
    ]
    for lengths, budget, expected, mistake in cases:
        found = attempt(lengths, budget)
        if found != expected:
            raise Wrong(mistake, lengths=lengths, budget=budget, expected=expected, found=found)


def check_interval(attempt: Callable[..., Any]) -> None:
    scores = np.array([1.0] * 30 + [0.0] * 70)
    found = attempt(scores, 4000, np.random.default_rng(0))
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise Wrong("two_numbers", found=found)
    low, high = (float(number) for number in found)
    # the normal approximation gives 0.30 +- 0.09
    if high - low > 0.5:
        raise Wrong("spread_of_scores", low=low, high=high)
    if high - low < 0.01:
        raise Wrong("no_spread", low=low, high=high)
    if high - low < 0.14:
        raise Wrong("too_narrow", low=low, high=high)
    if not (abs(low - 0.21) < 0.02 and abs(high - 0.39) < 0.02):
        raise Wrong("values", low=low, high=high)


EXERCISES = (
    Exercise("mean_pool", check_mean_pool),
    Exercise("top_k", check_top_k),
    Exercise("pack", check_pack),
    Exercise("interval", check_interval),
)
