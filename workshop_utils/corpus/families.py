"""Families: what must stay on one side of a split, because knowing a part of it helps with the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from langchain_core.documents import Document

from workshop_utils.corpus.questions import Question


def document_families(documents: Iterable[Document], links: Iterable[Sequence[str]]) -> dict[str, str]:
    """Document id -> family, where documents that share a ``family`` mark or a link are in one family.

    Args:
        documents: with ``family`` in their metadata.
        links: groups of document ids that belong together, such as the sources of a question.

    Returns:
        Connected components, each named after its first document id.
    """
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        parent.setdefault(node, node)
        while parent[node] != node:
            node = parent[node]
        return node

    def join(first: str, second: str) -> None:
        low, high = sorted((root(first), root(second)))
        parent[high] = low

    ids = []
    for document in documents:
        ids.append(str(document.id))
        # a mark is a node too; '~' sorts after every document id, so a component is named by a document
        join(str(document.id), f"~{document.metadata['family']}")
    for link in links:
        for other in link[1:]:
            join(link[0], other)
    return {key: root(key) for key in ids}


def question_document(question_id: str) -> str:
    """The document that a question was written for: ``HR-01`` of ``HR-01-q3``."""
    return question_id.rsplit("-q", 1)[0]


def question_families(documents: Iterable[Document], questions: Sequence[Question]) -> dict[str, str]:
    """Question id -> family; an unanswerable question belongs to the document that it was written for."""
    links = [(question_document(question.id), *question.sources) for question in questions]
    families = document_families(documents, links)
    return {question.id: families[question_document(question.id)] for question in questions}
