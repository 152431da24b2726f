"""What a RAG system hands back: the answer, where it came from, and how long each stage took."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.documents import Document

CITATION = re.compile(r"\[([^\[\]]{1,40})\]")


@dataclass(frozen=True)
class Source:
    """A passage that was put before the model: the label it had there, its document, and its cosine."""

    label: str
    passage: str
    document: str
    title: str
    text: str
    score: float


@dataclass(frozen=True)
class RagAnswer:
    """An answer and its provenance.

    Attributes:
        sources: what the model was shown, best first. Listed by code, so always right about what was *shown*.
        citations: labels that the model wrote and that name a shown source; what it claims to have *used*.
        unknown_citations: what it wrote in brackets that names nothing shown.
        seconds: time by stage: embedding, search, prompt, generation.
        prompt_tokens: length of the text put before the model, chat template not counted.
    """

    question: str
    text: str
    sources: tuple[Source, ...]
    citations: tuple[str, ...]
    unknown_citations: tuple[str, ...]
    seconds: dict[str, float]
    prompt_tokens: int

    def cited_documents(self) -> tuple[str, ...]:
        """Ids of the documents that the model cited, in order, without repeats."""
        documents = {source.label: source.document for source in self.sources}
        return tuple(dict.fromkeys(documents[label] for label in self.citations))


def make_sources(labelled: Sequence[tuple[str, Document]]) -> tuple[Source, ...]:
    """Sources from labelled passages."""
    return tuple(
        Source(
            label=label,
            passage=str(passage.id),
            document=passage.metadata["source"],
            title=passage.metadata["title"],
            text=passage.page_content,
            score=passage.metadata.get("score", float("nan")),
        )
        for label, passage in labelled
    )


def parse_citations(text: str, labels: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(known, unknown) labels in square brackets, each once, in order; ``[1, 3]`` counts as two."""
    written = [part.strip() for match in CITATION.findall(text) for part in re.split(r"[,;]", match)]
    unique = list(dict.fromkeys(part for part in written if part))
    return (
        tuple(part for part in unique if part in labels),
        tuple(part for part in unique if part not in labels),
    )
