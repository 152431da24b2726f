"""What the retrievers have in common: a search that says how long each stage took."""

from __future__ import annotations

from abc import abstractmethod

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever


class SearchingRetriever(BaseRetriever):
    """A LangChain retriever made of one method, ``search``.

    Attributes:
        k: the most passages that come back.
    """

    k: int = 3

    @abstractmethod
    def search(self, question: str) -> tuple[list[Document], dict[str, float]]:
        """Passages, best first, each with its score in ``metadata["score"]``; and seconds by stage."""

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002
    ) -> list[Document]:
        return self.search(query)[0]
