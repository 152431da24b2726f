"""The whole chain in one process: the systems' stand-ins, both connectors, sync, and an index that follows them."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from langchain_core.embeddings import Embeddings

from workshop_utils.corpus.connectors import ConfluenceLoader, SharePointLoader
from workshop_utils.corpus.splitting import split_documents
from workshop_utils.rag.prompts import PASSAGE_TOKENS
from workshop_utils.retrieval import DenseRetriever
from workshop_utils.retrieval.dense import open_index
from workshop_utils.retrieval.sync import Sync, SyncReport
from workshop_utils.serving import sources
from workshop_utils.serving.systems import Systems

URL = "http://stand-in"


class LivingIndex:
    """An index of the company's Confluence space and SharePoint library, which change through ``systems``.

    Used with ``with``; nothing is read before the first ``update``.

    Args:
        folder: where index and records are kept.
        data: the project's data folder when None.
    """

    def __init__(self, folder: Path, embedder: Embeddings, *, data: Path | None = None) -> None:
        app = sources.create_app(data)
        self.systems: Systems = app.state.systems
        self._inside = sources.InProcess(app)
        pages = ConfluenceLoader(
            f"{URL}/wiki", "CLV", token=sources.CONFLUENCE_TOKEN, email=sources.EMAIL, transport=self._inside
        )
        files = SharePointLoader(
            sources.SITE,
            tenant=sources.TENANT,
            client_id=sources.CLIENT_ID,
            client_secret=sources.CLIENT_SECRET,
            base_url=URL,
            login_url=URL,
            transport=self._inside,
        )
        self.index = open_index(embedder, folder)
        self.sync = Sync(
            [pages, files], self.index, folder, split=lambda documents: split_documents(documents, PASSAGE_TOKENS)
        )

    def update(self) -> SyncReport:
        """Bring the index up to date with the systems.

        Raises:
            SourceError: a system cannot be read.
        """
        return self.sync.run()

    def retriever(self, groups: tuple[str, ...] = ("everyone",), k: int = 3) -> DenseRetriever:
        """What somebody of these groups finds."""
        return DenseRetriever(index=self.index, k=k, groups=groups)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._inside.close()
