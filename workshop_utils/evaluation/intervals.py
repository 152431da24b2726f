"""Intervals and tests: a score on 100 questions is a measurement, and this says how exact it is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np

RESAMPLES = 5000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over ``n`` questions with its 95% interval."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}] (n={self.n})"

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def bootstrap(
    values: Sequence[float] | Sequence[bool], groups: Sequence[Hashable] | None = None, *, seed: int = 0
) -> Estimate:
    """The mean with its percentile-bootstrap interval (Efron, 1979).

    Args:
        values: one score a question, shape (n,).
        groups: the question's family, shape (n,): questions on one document rise and fall together, so whole
            families are drawn, not single questions. Each question is its own family when None.
        seed: of the resampling.

    Families whose means are all equal tell the bootstrap nothing about spread; then the 'rule of three' does (Hanley
    and Lippman-Hand, 1983): up to 3 in n families may differ, by as much as a score between 0 and 1 can.

    Raises:
        ValueError: no values, or as many groups as values are not given.
    """
    return _interval(values, groups, seed, bounds=(0.0, 1.0))


def paired_difference(
    first: Sequence[float] | Sequence[bool],
    second: Sequence[float] | Sequence[bool],
    groups: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
) -> Estimate:
    """Mean of ``first - second`` on the same questions, with its interval: both arms get the same draw.

    Raises:
        ValueError: no values, or not as many in both arms.
    """
    return _interval(_differences(first, second), groups, seed, bounds=(-1.0, 1.0))


def sign_flip_test(
    first: Sequence[float] | Sequence[bool],
    second: Sequence[float] | Sequence[bool],
    groups: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
) -> float:
    """Two-sided p-value of a paired permutation test: would the arms differ so much if their names meant nothing?

    If the arms are alike, each family's difference could as well have the other sign (Fisher, 1935). All signs are
    tried when that takes no more than ``RESAMPLES`` draws, else as many at random, the one observed among them.

    Args:
        first, second: scores of the two arms on the same questions, shape (n,).
        groups: the question's family, shape (n,): a family changes its sign as a whole.
        seed: of the draws.

    Raises:
        ValueError: no values, or not as many in both arms.
    """
    differences = np.array(_differences(first, second))
    member, families = _numbered(groups, differences.size)
    sums = np.bincount(member, weights=differences, minlength=families)
    sums = sums[np.abs(sums) > 1e-12]  # a family that does not differ has no sign to flip
    if 2**sums.size <= RESAMPLES:
        signs = np.array(list(product((1, -1), repeat=sums.size)))
        extra = 0
    else:
        signs = np.random.default_rng(seed).choice((1, -1), size=(RESAMPLES - 1, sums.size))
        extra = 1
    as_far = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9
    return float((as_far.sum() + extra) / (len(signs) + extra))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, raised so that the chance of *any* false alarm stays at the level (Holm, 1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on, none ending below the one before.

    Returns:
        Adjusted p-values in the order given.

    Raises:
        ValueError: a p-value is not between 0 and 1.
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError("A p-value is between 0 and 1.")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for tested, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(p_values[place] * (len(p_values) - tested), 1.0))
        adjusted[place] = highest
    return adjusted


def _interval(
    values: Sequence[float] | Sequence[bool],
    groups: Sequence[Hashable] | None,
    seed: int,
    bounds: tuple[float, float],
) -> Estimate:
    scores = np.asarray(values, dtype=float)
    member, families = _numbered(groups, scores.size)
    mean = float(scores.mean())
    sums = np.bincount(member, weights=scores)
    counts = np.bincount(member)
    if np.ptp(sums / counts) == 0:
        share = min(3 / families, 1.0)
        low, high = (mean + share * (bound - mean) for bound in bounds)
        return Estimate(mean, low, high, scores.size)
    drawn = np.random.default_rng(seed).integers(0, families, size=(RESAMPLES, families))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(mean, float(low), float(high), scores.size)


def _differences(first: Sequence[float] | Sequence[bool], second: Sequence[float] | Sequence[bool]) -> list[float]:
    if len(first) != len(second):
        raise ValueError(f"The arms have {len(first)} and {len(second)} values; a pair needs one of each.")
    return [float(a) - float(b) for a, b in zip(first, second, strict=True)]


def _numbered(groups: Sequence[Hashable] | None, n: int) -> tuple[np.ndarray[Any, np.dtype[np.int_]], int]:
    """The number of each value's group, and how many groups there are."""
    if n == 0:
        raise ValueError("There are no values to average.")
    labels = list(range(n)) if groups is None else list(groups)
    if len(labels) != n:
        raise ValueError(f"There are {n} values but {len(labels)} groups.")
    number = {label: index for index, label in enumerate(dict.fromkeys(labels))}
    return np.array([number[label] for label in labels]), len(number)
