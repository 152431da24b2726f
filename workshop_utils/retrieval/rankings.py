"""Rankings of many questions at once, exact and without an index: for training examples, and for trying passages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from workshop_utils.corpus import Question
from workshop_utils.retrieval.bm25 import Bm25Retriever
from workshop_utils.retrieval.hybrid import CANDIDATES, reciprocal_rank_fusion


def dense_rankings(
    questions: Sequence[Question], passages: Sequence[Document], embedder: Embeddings, k: int
) -> list[list[Document]]:
    """The ``k`` passages closest to each question, best first, each with its cosine in ``metadata["score"]``.

    Exact and without an index: for trying other passages than those of the index.
    """
    vectors = np.array(embedder.embed_documents([passage.page_content for passage in passages]))
    asked = np.array([embedder.embed_query(question.question) for question in questions])
    cosines = asked @ vectors.T
    best = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return [
        [passages[i].model_copy(update={"metadata": {**passages[i].metadata, "score": float(row[i])}}) for i in places]
        for row, places in zip(cosines, best, strict=True)
    ]


def hybrid_rankings(
    questions: Sequence[Question], passages: Sequence[Document], embedder: Embeddings, k: int
) -> list[list[Document]]:
    """The first ``k`` passages by fusion of meaning and words, best first, of each question.

    As ``HybridRetriever`` ranks them, exact and without an index.
    """
    dense = dense_rankings(questions, passages, embedder, CANDIDATES)
    lexical = Bm25Retriever(passages=passages, k=CANDIDATES, groups=None)
    by_id = {str(passage.id): passage for passage in passages}
    rankings = []
    for question, ranking in zip(questions, dense, strict=True):
        both = [[str(passage.id) for passage in found] for found in (ranking, lexical.invoke(question.question))]
        rankings.append([by_id[key] for key in reciprocal_rank_fusion(both)[:k]])
    return rankings
