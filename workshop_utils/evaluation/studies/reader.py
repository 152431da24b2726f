"""What the reader adapter brings: the untouched model at its best beside it, on the development questions.

The figures of lessons 00 and 01: ``workshop bench reader --json data/results/reader.json``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.documents import Document
from rich.console import Console
from rich.table import Table

from workshop_utils.corpus import Question, load_documents, load_questions, split_documents
from workshop_utils.evaluation.answering import kept_answers, weights_hash
from workshop_utils.evaluation.intervals import bootstrap, paired_difference
from workshop_utils.evaluation.metrics import abstains, contains_answer
from workshop_utils.evaluation.studies.figures import words
from workshop_utils.evaluation.studies.prompts import numbered, reading_scores
from workshop_utils.models import device, load_embedder, load_llm
from workshop_utils.models.adapters import READER
from workshop_utils.rag.prompt import Prompt
from workshop_utils.rag.prompts import (
    CITING_PROMPT,
    CLOSED_BOOK_PROMPT,
    PASSAGE_TOKENS,
    READER_K,
    READER_PROMPT,
    READING_K,
    READING_PROMPT,
)
from workshop_utils.retrieval.hybrid import CANDIDATES
from workshop_utils.retrieval.rankings import dense_rankings, hybrid_rankings

MAX_TOKENS = 40


@dataclass(frozen=True)
class Way:
    """A model, how it is asked, and what finds its passages."""

    name: str
    reader: bool
    prompt: Prompt
    k: int
    search: str = "dense"


WAYS = {
    "closed_book": Way("untouched, closed book", False, CLOSED_BOOK_PROMPT, 0),
    "instruction": Way("untouched, the reader's prompt", False, READER_PROMPT, READER_K),
    "best_prompt": Way("untouched, the prompt that suits it best", False, READING_PROMPT, READING_K),
    "citing": Way("untouched, two worked examples with citations", False, CITING_PROMPT, READER_K),
    "reader_one": Way("reader, 1 passage", True, READER_PROMPT, 1),
    "reader": Way("reader", True, READER_PROMPT, READER_K),
    "reader_five": Way("reader, 5 passages", True, READER_PROMPT, 5),
    "reader_hybrid": Way("reader, hybrid search", True, READER_PROMPT, READER_K, "hybrid"),
}


def study(console: Console) -> dict[str, Any]:
    """Every way on the questions with one fact, and how often it abstains on those without an answer."""
    single, unanswerable = _questions()
    found = {search: rank(search, [*single, *unanswerable]) for search in ("dense", "hybrid")}
    llm = load_llm(backend="transformers", adapter=None, max_tokens=MAX_TOKENS)
    reader = load_llm(backend="transformers", max_tokens=MAX_TOKENS)
    rows: dict[str, dict[str, Any]] = {}
    right: dict[str, list[bool]] = {}
    families = [question.family for question in single]
    for key, way in WAYS.items():
        shown = [ranking[: way.k] for ranking in found[way.search]]
        prompts = numbered(way.prompt, [*single, *unanswerable], shown)
        answers = kept_answers(reader if way.reader else llm, prompts, way.name)
        own, other = answers[: len(single)], answers[len(single) :]
        right[key] = [contains_answer(a, q.accepted) for a, q in zip(own, single, strict=True)]
        scores = reading_scores(single, families, shown[: len(single)], own)
        scores["abstained"] = bootstrap([abstains(a) for a in other], [q.family for q in unanswerable])
        scores["false_abstention"] = bootstrap([abstains(a) for a in own], families)
        rows[key] = {"name": way.name, "k": way.k, "search": way.search}
        rows[key] |= {name: estimate.as_dict() for name, estimate in scores.items()}
        console.print(f"{way.name}: {rows[key]['correct']['value']:.2f} correct")
    return {
        "n": len(single),
        "n_unanswerable": len(unanswerable),
        "split": "dev",
        "dtype": device.choose().dtype,
        "inputs": inputs_hash(),
        "ways": rows,
        "gain": paired_difference(right["reader"], right["best_prompt"], families).as_dict(),
    }


def rank(search: str, questions: Sequence[Question]) -> list[list[Document]]:
    """The passages that everybody may read, best first, for each question."""
    passages = split_documents(load_documents(), PASSAGE_TOKENS)
    rankings = dense_rankings if search == "dense" else hybrid_rankings
    return rankings(questions, passages, load_embedder(), CANDIDATES)


def inputs_hash() -> str:
    """SHA-256 of all in the repository that the figures depend on: when it changes, they are out of date."""
    documents = [(document.id, document.page_content) for document in load_documents()]
    inputs = (WAYS, MAX_TOKENS, PASSAGE_TOKENS, CANDIDATES, weights_hash(READER), documents, _questions())
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


def table(result: dict[str, Any]) -> Table:
    """The study for the terminal."""
    columns = ("correct", "hit", "correct_given_hit", "cited", "abstained", "false_abstention")
    grid = Table("way", "passages", *columns)
    for row in result["ways"].values():
        cells = [words(row[key]) if key in row else "" for key in columns]
        grid.add_row(row["name"], f"{row['k']}, {row['search']}", *cells)
    return grid


def _questions() -> tuple[list[Question], list[Question]]:
    return load_questions("dev", kinds=["single"]), load_questions("dev", kinds=["unanswerable"])
