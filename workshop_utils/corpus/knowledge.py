"""Questions and answers that put the public documents into weights: the fair form of 'teach facts by fine-tuning'.

They were written from the documents alone, those of held-out families too, and share no wording with the questions
on which anything is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workshop_utils.corpus.documents import data_dir, load_documents
from workshop_utils.corpus.records import read_records


@dataclass(frozen=True)
class TaughtQuestion:
    """A question on one fact of a document.

    Attributes:
        document: id of a document that was public on the first day.
        answer: a verbatim part of the span.
        span: a verbatim part of the document, from which the answer follows.
    """

    id: str
    document: str
    question: str
    answer: str
    span: str


def load_knowledge(path: Path | None = None) -> list[TaughtQuestion]:
    """Every question that was written to teach a public document, in the documents' order.

    Raises:
        CorpusError: a line is no such question, its document is not public, or does not hold its span; the message
            names file and line.
    """
    documents = {str(document.id): document.page_content for document in load_documents()}

    def parse(record: dict[str, Any]) -> TaughtQuestion:
        taught = TaughtQuestion(**record)
        if taught.document not in documents:
            raise ValueError(f"document is {taught.document!r}, which is no public document of the first day")
        if not taught.question.strip() or not taught.answer.strip():
            raise ValueError("question and answer must not be empty")
        if taught.span not in documents[taught.document]:
            raise ValueError(f"the span is not in {taught.document}: {taught.span!r}")
        if taught.answer not in taught.span:
            raise ValueError(f"the answer is not in its span: {taught.answer!r}")
        return taught

    return read_records(path or data_dir() / "knowledge" / "train.jsonl", parse)
