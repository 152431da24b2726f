# ruff: noqa
# fmt: off
# mypy: disable-error-code="no-any-return"
"""Reference answers: generated from lessons/01_rag_from_scratch.py by `workshop build`; do not edit."""

import numpy as np


def mean_pool(hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """One unit vector for each text.

    hidden: (texts, tokens, dim) token vectors; mask: (texts, tokens), 1 for a token, 0 for padding.
    Returns (texts, dim), each row of length 1.
    """
    weights = mask[:, :, None]
    means = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def top_k(query: np.ndarray, documents: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k documents closest to the query, best first.

    query: (dim,) and documents: (n, dim), rows of unit length; returns (min(k, n),) integers.
    """
    scores = documents @ query
    return np.argsort(-scores)[:k]


def pack(lengths: list[int], budget: int) -> int:
    """How many passages, from the first on, fit into a budget of tokens; at least 1 if there is one."""
    used = 0
    for count, length in enumerate(lengths):
        used += length
        if used > budget and count > 0:
            return count
    return len(lengths)


def interval(scores: np.ndarray, draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """The 95% percentile-bootstrap interval of the mean; scores: (n,)."""
    samples = rng.choice(scores, size=(draws, len(scores)), replace=True)
    low, high = np.quantile(samples.mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
