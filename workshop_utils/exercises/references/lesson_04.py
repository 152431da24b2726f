# ruff: noqa
# fmt: off
# mypy: disable-error-code="no-any-return"
"""Reference answers: generated from lessons/04_evaluating_rag.py by `workshop build`; do not edit."""

import math
import numpy as np


def ndcg(retrieved: list[str], gold: set[str], k: int) -> float:
    """nDCG of the first k passages.

    retrieved: ids, best first, each once; gold: ids of the right passages, at least one, some of them perhaps not retrieved.
    """
    weights = [1 / math.log2(rank + 1) for rank in range(1, k + 1)]
    gained = sum(weight for weight, passage in zip(weights, retrieved, strict=False) if passage in gold)
    return gained / sum(weights[: len(gold)])


def paired_interval(
    first: np.ndarray, second: np.ndarray, families: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The 95% bootstrap interval of the mean of first - second.

    first, second: (n,) scores of two systems on the same questions; families: (n,) the number of each question's family,
    0, 1, 2, ...; draws: how many samples.
    """
    sums = np.bincount(families, weights=first - second)
    counts = np.bincount(families)
    drawn = rng.integers(len(sums), size=(draws, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def guilty() -> list[str]:
    """The names of the three faults that the figures of the search show."""
    return ["worst_first", "query_embedding", "stale_index"]


def cited(citations: list[str], evidence: set[str]) -> tuple[float | None, float | None]:
    """Precision and recall of the labels that an answer cites; evidence: labels of the passages given that hold it."""
    named = set(citations)
    shared = len(named & evidence)
    return (shared / len(named) if named else None, shared / len(evidence) if evidence else None)


def diagnose(now: dict[str, int], before: dict[str, int]) -> str:
    """'found', 'given', 'correct' or 'cited'; now, before: counts by 'asked', 'found', 'given', 'correct', 'cited'."""
    handed_by = {"found": "asked", "given": "found", "correct": "given", "cited": "correct"}

    def lost(stage: str) -> float:
        handed = handed_by[stage]
        return before[stage] / before[handed] - now[stage] / now[handed] if now[handed] else 0.0

    return max(handed_by, key=lost)
