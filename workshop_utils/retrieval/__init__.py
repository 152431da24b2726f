"""From a question to the passages that may answer it."""

from workshop_utils.retrieval.bm25 import Bm25Retriever
from workshop_utils.retrieval.dense import (
    DenseRetriever,
    IndexDamagedError,
    IndexMismatchError,
    build_index,
    index_folder,
)
from workshop_utils.retrieval.hybrid import HybridRetriever, reciprocal_rank_fusion
from workshop_utils.retrieval.rerank import (
    CrossEncoderReranker,
    LateInteractionReranker,
    QueryLikelihoodReranker,
    Reranker,
    RerankingRetriever,
)
from workshop_utils.retrieval.searching import SearchingRetriever

__all__ = [
    "Bm25Retriever",
    "CrossEncoderReranker",
    "DenseRetriever",
    "HybridRetriever",
    "IndexDamagedError",
    "IndexMismatchError",
    "LateInteractionReranker",
    "QueryLikelihoodReranker",
    "Reranker",
    "RerankingRetriever",
    "SearchingRetriever",
    "build_index",
    "index_folder",
    "reciprocal_rank_fusion",
]
