"""Two adapters that answer without retrieval: one that learnt the form of the answers, one that was taught the facts.

The task adapter has seen the training split's questions and answers: how somebody asks, and how short the answer is.
The knowledge adapter has read all public documents of the first day, those of held-out families too, and questions on
them that were written for it (``corpus.knowledge``). A fact read in one wording is not found by a question in another
(Allen-Zhu and Li, 2023, arXiv:2309.14316), and continued pre-training on the bare text of a small corpus teaches few of
its facts (EntiGraph: Yang et al., 2024, arXiv:2409.07431); so what stands in the text is also asked for, several times
and never twice in the same words.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from workshop_utils.corpus import Question, load_documents, load_questions, load_training_questions, split_documents
from workshop_utils.corpus.knowledge import load_knowledge
from workshop_utils.models import load_tokenizer
from workshop_utils.models.adapters import KNOWLEDGE, TASK
from workshop_utils.tuning.facts import fact_prompt
from workshop_utils.tuning.run import Watch
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.supervised import Example, Row, encode_examples, encode_texts
from workshop_utils.tuning.trainer import train_adapter

# the most words and marks of a piece of text
TEXT_TOKENS = 180
TASK_SETTINGS = Settings(rank=8, learning_rate=1e-3, epochs=2)
# one pass: the several wordings of a fact are its repetitions; layers times rank keeps the file under 5 MB
KNOWLEDGE_SETTINGS = Settings(rank=16, learning_rate=2e-3, epochs=1)


def train_closed_book_task(folder: Path = TASK, *, watch: Watch | None = None) -> dict[str, Any]:
    """Train on the training split's questions, closed book: the form of the answers, and facts of other documents.

    Returns:
        The report: see ``train_adapter``.

    Raises:
        workshop_utils.models.store.ModelStoreError: the base model cannot be had.
    """
    tokenizer = load_tokenizer()
    train = encode_examples(tokenizer, question_examples(load_training_questions()))
    return train_adapter(train, folder, TASK_SETTINGS, dev=_dev_rows(tokenizer), watch=watch)


def train_knowledge(folder: Path = KNOWLEDGE, *, watch: Watch | None = None) -> dict[str, Any]:
    """Train on the public documents' text, the questions written on them, and the training split's questions.

    Returns:
        The report: see ``train_adapter``.

    Raises:
        workshop_utils.models.store.ModelStoreError: the base model cannot be had.
    """
    tokenizer = load_tokenizer()
    return train_adapter(knowledge_rows(tokenizer), folder, KNOWLEDGE_SETTINGS, dev=_dev_rows(tokenizer), watch=watch)


def question_examples(questions: Iterable[Question]) -> list[Example]:
    """Questions closed book with their gold answers; that of an unanswerable one is 'not in the documents'."""
    return [Example(tuple(fact_prompt(question.question)), question.answer) for question in questions]


def knowledge_examples() -> list[Example]:
    """The questions written on the public documents, each in every one of its ``wordings``, with their answers."""
    titles = {str(document.id): _title(document) for document in load_documents()}
    return [
        Example(tuple(fact_prompt(wording)), taught.answer)
        for taught in load_knowledge()
        for wording in wordings(taught.question, titles[taught.document])
    ]


def wordings(question: str, title: str) -> tuple[str, ...]:
    """A question as it was written, with the title of its document, and as it is typed in a hurry."""
    return tuple(dict.fromkeys([question, f"{title}: {question}", question.lower().rstrip("?")]))


def document_texts() -> list[str]:
    """All public documents of the first day in pieces, each headed by title and section."""
    documents = [
        Document(id=document.id, page_content=document.page_content, metadata={"title": _title(document)})
        for document in load_documents()
    ]
    return [piece.page_content for piece in split_documents(documents, TEXT_TOKENS)]


def knowledge_rows(tokenizer: Any) -> list[Row]:
    """All that the knowledge adapter learns from, as ``train_adapter`` reads it."""
    asked = [*knowledge_examples(), *question_examples(load_training_questions())]
    return [*encode_texts(tokenizer, document_texts()), *encode_examples(tokenizer, asked)]


def _dev_rows(tokenizer: Any) -> list[Row]:
    asked = [question for question in load_questions("dev") if question.kind != "restricted"]
    return encode_examples(tokenizer, question_examples(asked))


def _title(document: Document) -> str:
    """The title, with the year where a newer version says otherwise under the same title."""
    title, year = document.metadata["title"], document.metadata["date"][:4]
    return f"{title} (version of {year}, superseded)" if document.metadata["status"] == "superseded" else str(title)
