"""What a RAG system hands back: the answer, where it came from, and how long each stage took."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.documents import Document

CITATION = re.compile(r"\[([^\[\]]{1,40})\]")


@dataclass(frozen=True)
class Source:
    """A retrieved passage: its label, its document, its cosine, and whether the model was given it to read."""

    label: str
    passage: str
    document: str
    title: str
    text: str
    score: float
    read: bool


@dataclass(frozen=True)
class RagAnswer:
    """An answer and its provenance.

    Attributes:
        sources: what was retrieved, best first. Listed by code, so always right about what the model was *given*.
        citations: labels that the model wrote and that name a passage it was given: what it claims to have *used*.
        unknown_citations: what it wrote in brackets that names nothing it was given.
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


def make_sources(passages: Sequence[Document], read: int) -> tuple[Source, ...]:
    """Sources, labelled 1, 2, ...; the model was given the first ``read`` of them."""
    return tuple(
        Source(
            label=str(number),
            passage=str(passage.id),
            document=passage.metadata["source"],
            title=passage.metadata["title"],
            text=passage.page_content,
            score=passage.metadata.get("score", float("nan")),
            read=number <= read,
        )
        for number, passage in enumerate(passages, start=1)
    )


def parse_citations(text: str, labels: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(known, unknown) labels in square brackets, each once, in order; ``[1, 3]`` counts as two."""
    written = [part.strip() for match in CITATION.findall(text) for part in re.split(r"[,;]", match)]
    unique = list(dict.fromkeys(part for part in written if part))
    return (
        tuple(part for part in unique if part in labels),
        tuple(part for part in unique if part not in labels),
    )
