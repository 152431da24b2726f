"""Intervals: a score on 100 questions is a measurement, and this says how exact it is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass

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
    if len(first) != len(second):
        raise ValueError(f"The arms have {len(first)} and {len(second)} values; a pair needs one of each.")
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    return _interval(differences.tolist(), groups, seed, bounds=(-1.0, 1.0))


def _interval(
    values: Sequence[float] | Sequence[bool],
    groups: Sequence[Hashable] | None,
    seed: int,
    bounds: tuple[float, float],
) -> Estimate:
    scores = np.asarray(values, dtype=float)
    if scores.size == 0:
        raise ValueError("There are no values to average.")
    labels = list(range(scores.size)) if groups is None else list(groups)
    if len(labels) != scores.size:
        raise ValueError(f"There are {scores.size} values but {len(labels)} groups.")
    mean = float(scores.mean())
    number = {label: index for index, label in enumerate(dict.fromkeys(labels))}
    member = np.array([number[label] for label in labels])
    sums = np.bincount(member, weights=scores)
    counts = np.bincount(member)
    if np.ptp(sums / counts) == 0:
        share = min(3 / len(number), 1.0)
        low, high = (mean + share * (bound - mean) for bound in bounds)
        return Estimate(mean, low, high, scores.size)
    drawn = np.random.default_rng(seed).integers(0, len(number), size=(RESAMPLES, len(number)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(mean, float(low), float(high), scores.size)
