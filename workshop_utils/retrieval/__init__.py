"""From a question to the passages that may answer it."""

from workshop_utils.retrieval.bm25 import Bm25Retriever
from workshop_utils.retrieval.dense import (
    DenseRetriever,
    IndexDamagedError,
    IndexMismatchError,
    build_index,
    index_folder,
)
from workshop_utils.retrieval.hybrid import reciprocal_rank_fusion

__all__ = [
    "Bm25Retriever",
    "DenseRetriever",
    "IndexDamagedError",
    "IndexMismatchError",
    "build_index",
    "index_folder",
    "reciprocal_rank_fusion",
]
