"""Hybrid retrieval: one ranking made of several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TypeVar

Id = TypeVar("Id", bound=Hashable)

# the constant of the paper, which nobody has found reason to change
RRF_K = 60


def reciprocal_rank_fusion(rankings: Sequence[Sequence[Id]]) -> list[Id]:
    """Ids by the sum of ``1 / (60 + rank)`` over the rankings that list them, best first (Cormack et al., 2009).

    Ranks need no common scale, which cosines and BM25 scores do not have. Ties keep the order of first appearance.
    """
    scores: dict[Id, float] = defaultdict(float)
    for ranking in rankings:
        for rank, key in enumerate(ranking, start=1):
            scores[key] += 1 / (RRF_K + rank)
    return sorted(scores, key=lambda key: -scores[key])
