"""From a question to the passages that may answer it."""

from workshop_utils.retrieval.dense import (
    DenseRetriever,
    IndexDamagedError,
    IndexMismatchError,
    build_index,
    index_folder,
)

__all__ = ["DenseRetriever", "IndexDamagedError", "IndexMismatchError", "build_index", "index_folder"]
