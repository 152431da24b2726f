"""Hybrid retrieval: one ranking made of several."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Self, TypeVar

from langchain_core.documents import Document
from pydantic import model_validator

from workshop_utils.retrieval.bm25 import Bm25Retriever
from workshop_utils.retrieval.dense import DenseRetriever
from workshop_utils.retrieval.searching import SearchingRetriever

Id = TypeVar("Id", bound=Hashable)

# the constant of the paper, which nobody has found reason to change
RRF_K = 60
# passages that each search brings to the fusion
CANDIDATES = 20


def reciprocal_rank_fusion(rankings: Sequence[Sequence[Id]]) -> list[Id]:
    """Ids by the sum of ``1 / (60 + rank)`` over the rankings that list them, best first (Cormack et al., 2009).

    Ranks need no common scale, which cosines and BM25 scores do not have. Ties keep the order of first appearance.
    """
    scores = fusion_scores(rankings)
    return sorted(scores, key=lambda key: -scores[key])


def fusion_scores(rankings: Sequence[Sequence[Id]]) -> dict[Id, float]:
    """The sum that ``reciprocal_rank_fusion`` sorts by, of each id, in order of first appearance."""
    scores: dict[Id, float] = defaultdict(float)
    for ranking in rankings:
        for rank, key in enumerate(ranking, start=1):
            scores[key] += 1 / (RRF_K + rank)
    return dict(scores)


class HybridRetriever(SearchingRetriever):
    """The ``k`` best passages of a dense and a lexical search, by reciprocal rank fusion.

    Each search fetches as many passages as its own ``k`` says (20 is usual) and looks only at what the reader's
    groups may see, so nothing else is ever fused.

    Raises:
        ValueError: the two searches are for different groups.
    """

    dense: DenseRetriever
    lexical: Bm25Retriever

    @model_validator(mode="after")
    def _same_reader(self) -> Self:
        if self.lexical.groups is None or set(self.dense.groups) != set(self.lexical.groups):
            raise ValueError(
                f"The dense search is for the groups {self.dense.groups}, the lexical one for {self.lexical.groups}: "
                "both must be for the same reader."
            )
        return self

    def search(self, question: str) -> tuple[list[Document], dict[str, float]]:
        """Passages, best first, each with its fused score in ``metadata["score"]``; and seconds by stage."""
        dense, seconds = self.dense.search(question)
        started = time.perf_counter()
        lexical, _ = self.lexical.search(question)
        passages = {str(passage.id): passage for passage in (*lexical, *dense)}
        scores = fusion_scores([[str(passage.id) for passage in ranking] for ranking in (dense, lexical)])
        best = sorted(scores, key=lambda key: -scores[key])[: self.k]
        fused = [
            passages[key].model_copy(update={"metadata": {**passages[key].metadata, "score": scores[key]}})
            for key in best
        ]
        return fused, {**seconds, "search": seconds["search"] + time.perf_counter() - started}
