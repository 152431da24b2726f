"""Lexical retrieval: passages that share the question's rare words (BM25, Robertson et al., 1994), through bm25s."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from pydantic import ConfigDict, PrivateAttr

from workshop_utils.retrieval.searching import SearchingRetriever


class Bm25Retriever(SearchingRetriever):
    """The ``k`` passages with the highest BM25 score, among those that the reader's groups may see.

    Passages without any word of the question are not returned, so fewer than ``k`` can come.

    Attributes:
        passages: with their access list in ``metadata["acl"]``.
        groups: the reader's access groups; None searches everything.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    passages: Sequence[Document]
    groups: tuple[str, ...] | None = ("everyone",)
    _index: tuple[Sequence[Document], Any] | None = PrivateAttr(default=None)

    def search(self, question: str) -> tuple[list[Document], dict[str, float]]:
        """Passages, best first, each with its BM25 score in ``metadata["score"]``; and seconds by stage."""
        started = time.perf_counter()
        found = self._search(question)
        return found, {"search": time.perf_counter() - started}

    def _search(self, question: str) -> list[Document]:
        tokens = _tokens([question])[0]
        readable = self.readable
        if not tokens or not readable.any():
            return []
        scores = np.where(readable, self._scores(tokens), 0.0)
        best = [int(place) for place in np.argsort(-scores, kind="stable")[: self.k] if scores[place] > 0]
        return [
            self.passages[place].model_copy(
                update={"metadata": {**self.passages[place].metadata, "score": float(scores[place])}}
            )
            for place in best
        ]

    @property
    def readable(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which passages the groups may see; the others take no part in the search."""
        if self.groups is None:
            return np.ones(len(self.passages), dtype=bool)
        allowed = set(self.groups)
        return np.array([bool(allowed & set(passage.metadata["acl"])) for passage in self.passages], dtype=bool)

    def _scores(self, tokens: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        import bm25s

        # a copy of the retriever with other passages needs an index of its own
        if self._index is None or self._index[0] is not self.passages:
            index = bm25s.BM25()
            index.index(_tokens([passage.page_content for passage in self.passages]), show_progress=False)
            self._index = (self.passages, index)
        scores: np.ndarray[Any, np.dtype[np.float32]] = self._index[1].get_scores(tokens)
        return scores


def _tokens(texts: Sequence[str]) -> list[list[str]]:
    from bm25s.tokenization import tokenize

    words: list[list[str]] = tokenize(list(texts), stopwords="en", return_ids=False, show_progress=False)
    return words
