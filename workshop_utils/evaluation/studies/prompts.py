"""With which prompt does the untouched model read its sources best? Measured on the development questions.

The study that lesson 01 shows: ``workshop bench prompts --json data/results/prompts.json``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from rich.console import Console
from rich.table import Table

from workshop_utils.corpus import Question, load_documents, load_questions, split_documents
from workshop_utils.evaluation.answering import kept_answers
from workshop_utils.evaluation.intervals import Estimate, bootstrap
from workshop_utils.evaluation.metrics import contains_answer
from workshop_utils.evaluation.studies.figures import interval
from workshop_utils.models import device, load_embedder, load_llm
from workshop_utils.rag.answer import parse_citations
from workshop_utils.rag.prompt import Prompt
from workshop_utils.rag.prompts import (
    CITING_PROMPT,
    CLOSED_BOOK_PROMPT,
    EXAMPLES,
    PASSAGE_TOKENS,
    READING_K,
    READING_PROMPT,
    SEVERAL_PASSAGES_PROMPT,
)

MAX_TOKENS = 40


@dataclass(frozen=True)
class Variant:
    """One way to ask: a prompt, the number of passages, their length in tokens."""

    name: str
    prompt: Prompt
    k: int = READING_K
    passage_tokens: int = PASSAGE_TOKENS


BEST = Variant("1 worked example, 1 passage", READING_PROMPT)
CLOSED = Variant("closed book (no passage)", CLOSED_BOOK_PROMPT, k=0)
THREE = Variant("1 worked example with 2 passages, 3 passages", SEVERAL_PASSAGES_PROMPT, k=3)
CITING = Variant("2 worked examples, 3 passages, asked to cite", CITING_PROMPT, k=3)
VARIANTS = (
    CLOSED,
    Variant("instruction only, 1 passage", replace(READING_PROMPT, examples=())),
    BEST,
    Variant("3 worked examples, 1 passage", replace(READING_PROMPT, examples=EXAMPLES)),
    Variant("1 worked example, 1 passage of 120 tokens", READING_PROMPT, passage_tokens=120),
    Variant("1 worked example, 3 passages", READING_PROMPT, k=3),
    THREE,
    CITING,
)


def study(console: Console) -> dict[str, Any]:
    """Every variant on the development questions with one fact: shares with intervals, for JSON."""
    questions = load_questions("dev", kinds=["single"])
    families = [question.family for question in questions]
    documents = load_documents()
    embedder = load_embedder()
    vectors = np.array(embedder.embed_documents([question.question for question in questions]))
    llm = load_llm(backend="transformers", adapter=None, max_tokens=MAX_TOKENS)
    ranked: dict[int, list[list[Document]]] = {}
    rows: dict[str, dict[str, Any]] = {}
    for variant in VARIANTS:
        size = variant.passage_tokens
        if size not in ranked:
            passages = split_documents(documents, size)
            matrix = np.array(embedder.embed_documents([passage.page_content for passage in passages]))
            order = np.argsort(-(vectors @ matrix.T), axis=1)[:, : max(v.k for v in VARIANTS)]
            ranked[size] = [[passages[i] for i in row] for row in order]
        shown = [top[: variant.k] for top in ranked[size]]
        answers = kept_answers(llm, numbered(variant.prompt, questions, shown), variant.name)
        rows[variant.name] = {"name": variant.name, "k": variant.k, "passage_tokens": size} | {
            name: estimate.as_dict() for name, estimate in reading_scores(questions, families, shown, answers).items()
        }
        console.print(f"{variant.name}: {rows[variant.name]['correct']['value']:.2f} correct")
    return {
        "n": len(questions),
        "split": "dev",
        "kinds": ["single"],
        "model": "SmolLM2-135M-Instruct, untouched",
        "dtype": device.choose().dtype,
        "inputs": inputs_hash(),
        "variants": list(rows.values()),
        "best": rows[BEST.name],
        "closed_book": rows[CLOSED.name],
        "three": rows[THREE.name],
        "citing": rows[CITING.name],
    }


def inputs_hash() -> str:
    """SHA-256 of all that the study's figures depend on in the repository: when it changes, they are out of date."""
    documents = [(document.id, document.page_content) for document in load_documents()]
    inputs = repr((VARIANTS, MAX_TOKENS, documents, load_questions("dev", kinds=["single"])))
    return hashlib.sha256(inputs.encode()).hexdigest()


def table(result: dict[str, Any]) -> Table:
    """The study for the terminal."""
    grid = Table("prompt", "passages", "answer correct", "passage found", "correct where found", "right citation")
    for row in result["variants"]:
        cells = [interval(row[key]) if key in row else "" for key in ("correct", "hit", "correct_given_hit", "cited")]
        grid.add_row(row["name"], f"{row['k']} x {row['passage_tokens']} tokens", *cells)
    return grid


def numbered(
    prompt: Prompt, questions: Sequence[Question], shown: Sequence[Sequence[Document]]
) -> list[list[BaseMessage]]:
    """What the model is sent for each question: the passages shown, labelled 1, 2, ..."""
    return [
        prompt.messages(question.question, [(str(n), passage) for n, passage in enumerate(top, start=1)])
        for question, top in zip(questions, shown, strict=True)
    ]


def reading_scores(
    questions: Sequence[Question],
    families: Sequence[str],
    shown: Sequence[Sequence[Document]],
    answers: Sequence[str],
) -> dict[str, Estimate]:
    """Answer correct, evidence among the passages shown, correct where it was, and right citation, with intervals."""
    right = [contains_answer(answer, q.accepted) for answer, q in zip(answers, questions, strict=True)]
    gold = [
        {str(n) for n, passage in enumerate(top, start=1) if q.evidence[0].span in passage.page_content}
        for q, top in zip(questions, shown, strict=True)
    ]
    found = [i for i, labels in enumerate(gold) if labels]
    scores = {"correct": bootstrap(right, families), "hit": bootstrap([bool(labels) for labels in gold], families)}
    if found:
        scores["correct_given_hit"] = bootstrap([right[i] for i in found], [families[i] for i in found])
        # a right citation names the passage with the evidence and no other
        cited = [
            set(parse_citations(answer, [str(n) for n in range(1, len(top) + 1)])[0])
            for answer, top in zip(answers, shown, strict=True)
        ]
        scores["cited"] = bootstrap([bool(c) and c <= labels for c, labels in zip(cited, gold, strict=True)], families)
    return scores
