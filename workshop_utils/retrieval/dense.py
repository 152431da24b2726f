"""Dense retrieval: passages as vectors in Chroma, embedded in this process and kept on disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from pydantic import ConfigDict

from workshop_utils.errors import WorkshopError
from workshop_utils.models import store
from workshop_utils.models.embedder import fingerprint
from workshop_utils.retrieval.bulk import embed_batches
from workshop_utils.retrieval.searching import SearchingRetriever

if TYPE_CHECKING:
    from langchain_chroma import Chroma

COLLECTION = "clairval"


class IndexMismatchError(WorkshopError):
    """The index on disk was made with another embedder."""


class IndexDamagedError(WorkshopError):
    """The index on disk cannot be read or written."""


def index_folder() -> Path:
    """Where the index of the company's documents is kept by default."""
    return store.cache_dir() / "index"


def build_index(
    passages: Sequence[Document],
    embedder: Embeddings,
    folder: Path | None = None,
    *,
    workers: int = 1,
    progress: bool = False,
) -> Chroma:
    """A Chroma collection equal to the passages: new and changed ones are embedded, those gone are removed.

    Args:
        passages: with unique ``id`` and metadata of text, numbers and non-empty lists of text.
        embedder: turns text into unit vectors.
        folder: where the index is kept; ``index_folder()`` when None.
        workers: processes that embed; more than one run on Ray Data (the extra ``scale``).
        progress: show a progress bar.

    Raises:
        IndexMismatchError: the folder holds an index made with another embedder.
        IndexDamagedError: the folder cannot be written, or what is in it is not an index that can be read.
    """
    path = folder or index_folder()
    chroma = open_index(embedder, path)
    with _damage_named(path):
        present = chroma.get(include=["documents", "metadatas"])
    stored = dict(zip(present["ids"], zip(present["documents"], present["metadatas"], strict=True), strict=True))
    wanted = {passage.id: passage for passage in passages}
    gone = [key for key in stored if key not in wanted]
    if gone:
        chroma.delete(gone)
    fresh = [p for p in passages if stored.get(p.id) != (p.page_content, p.metadata)]
    _add(chroma, fresh, embedder, workers, progress)
    return chroma


def open_index(embedder: Embeddings, folder: Path) -> Chroma:
    """The index in a folder as it is, an empty one when there is none.

    Raises:
        IndexMismatchError: it was made with another embedder.
        IndexDamagedError: it cannot be opened, or the folder cannot be written.
    """
    mark = fingerprint(embedder)
    with _damage_named(folder):
        chroma = _open(folder, embedder, mark)
        found = (chroma._collection.metadata or {}).get("embedder")
    if found != mark:
        raise IndexMismatchError(
            f"The index in {folder} was made with another embedder. Its vectors cannot be compared with those of this "
            "one: delete the folder to build the index again, or choose another folder."
        )
    return chroma


@contextmanager
def _damage_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # Chroma's core is in Rust, and its panics are no Exceptions
        raise IndexDamagedError(
            f"The index in {folder} cannot be opened ({error}). Delete the folder, and the index is built again; if "
            "the folder cannot be written, choose another, for the default one with WORKSHOP_CACHE."
        ) from error


def _add(chroma: Chroma, passages: Sequence[Document], embedder: Embeddings, workers: int, progress: bool) -> None:
    from tqdm.auto import tqdm

    texts = [passage.page_content for passage in passages]
    with tqdm(total=len(texts), desc="Embedding passages", unit="passage", disable=not progress or not texts) as bar:
        for places, vectors in embed_batches(texts, embedder, workers=workers):
            chroma._collection.upsert(
                ids=[str(passages[place].id) for place in places],
                embeddings=vectors,
                documents=[texts[place] for place in places],
                metadatas=[passages[place].metadata for place in places],
            )
            bar.update(len(places))


def _open(path: Path, embedder: Embeddings, mark: str) -> Chroma:
    from chromadb import PersistentClient
    from chromadb.api.shared_system_client import SharedSystemClient
    from chromadb.config import Settings
    from langchain_chroma import Chroma

    path.mkdir(parents=True, exist_ok=True)
    if not (path / "chroma.sqlite3").exists():
        # Chroma would go on with the deleted database of an index that this process opened here before
        SharedSystemClient._identifier_to_system.pop(str(path), None)
    return Chroma(
        collection_name=COLLECTION,
        embedding_function=embedder,
        client=PersistentClient(str(path), Settings(anonymized_telemetry=False)),
        collection_metadata={"embedder": mark},
        collection_configuration={"hnsw": {"space": "cosine"}},
    )


class DenseRetriever(SearchingRetriever):
    """The ``k`` passages closest to a question by cosine, among those that the reader's groups may see.

    The access filter is part of the search: filtering afterwards would leave fewer than ``k`` passages, and passages
    that should never have left the index would be in memory.

    Attributes:
        groups: the reader's access groups; the default is what all staff may read.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: Any
    groups: tuple[str, ...] = ("everyone",)

    def search(self, question: str) -> tuple[list[Document], dict[str, float]]:
        """Passages, best first, each with its cosine in ``metadata["score"]``; and seconds by stage."""
        started = time.perf_counter()
        vector = self.index.embeddings.embed_query(question)
        embedded = time.perf_counter()
        pairs = self.index.similarity_search_by_vector_with_relevance_scores(
            vector, k=self.k, filter=access_filter(self.groups)
        )
        passages = [
            passage.model_copy(update={"metadata": {**passage.metadata, "score": 1.0 - distance}})
            for passage, distance in pairs
        ]
        return passages, {"embedding": embedded - started, "search": time.perf_counter() - embedded}


def access_filter(groups: Sequence[str]) -> dict[str, Any]:
    """Chroma's filter for passages whose access list names one of the groups; no group sees nothing."""
    # a group that is on no access list: Chroma refuses an empty filter, and silence must not mean 'everything'
    clauses: list[dict[str, Any]] = [{"acl": {"$contains": group}} for group in groups or ("(nobody)",)]
    return clauses[0] if len(clauses) == 1 else {"$or": clauses}
