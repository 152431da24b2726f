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

    A sample whose values are all equal tells the bootstrap nothing about spread: then the 'rule of three' gives the
    open side (0 of n observed leaves up to 3/n possible).

    Raises:
        ValueError: no values, or as many groups as values are not given.
    """
    scores = np.asarray(values, dtype=float)
    if scores.size == 0:
        raise ValueError("There are no values to average.")
    labels = list(range(scores.size)) if groups is None else list(groups)
    if len(labels) != scores.size:
        raise ValueError(f"There are {scores.size} values but {len(labels)} groups.")
    mean = float(scores.mean())
    if np.ptp(scores) == 0:
        slack = min(3 / scores.size, 1.0)
        low = max(mean - slack, 0.0) if mean == 1 else mean
        high = min(mean + slack, 1.0) if mean == 0 else mean
        return Estimate(mean, low, high, scores.size)
    number = {label: index for index, label in enumerate(dict.fromkeys(labels))}
    member = np.array([number[label] for label in labels])
    sums = np.bincount(member, weights=scores)
    counts = np.bincount(member)
    drawn = np.random.default_rng(seed).integers(0, len(number), size=(RESAMPLES, len(number)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(mean, float(low), float(high), scores.size)


def paired_difference(
    first: Sequence[float] | Sequence[bool],
    second: Sequence[float] | Sequence[bool],
    groups: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
) -> Estimate:
    """Mean of ``first - second`` on the same questions, with its interval: both arms get the same draw."""
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    return bootstrap(differences.tolist(), groups, seed=seed)
