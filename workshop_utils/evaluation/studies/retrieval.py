"""The figures of lesson 04 on finding: the length of passages and their overlap, and ways to search and rerank.

On the development questions: ``workshop bench retrieval --json data/results/retrieval.json``.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Any, cast

import numpy as np
from langchain_core.documents import Document
from rich.console import Console, Group
from rich.table import Table
from tqdm.auto import tqdm

from workshop_utils.corpus import Question, load_documents, split_documents
from workshop_utils.corpus.questions import golden_passages
from workshop_utils.corpus.splitting import count_words
from workshop_utils.evaluation.intervals import Estimate, holm, paired_difference, sign_flip_test
from workshop_utils.evaluation.rankings import answerable_questions, score_rankings
from workshop_utils.evaluation.studies.figures import share, words
from workshop_utils.models import load_embedder, load_llm
from workshop_utils.models.sentence_embedder import SentenceEmbedder
from workshop_utils.models.transformers_chat import ChatTransformers
from workshop_utils.rag import pack
from workshop_utils.rag.prompts import PASSAGE_TOKENS
from workshop_utils.retrieval import (
    Bm25Retriever,
    CrossEncoderReranker,
    DenseRetriever,
    HybridRetriever,
    LateInteractionReranker,
    QueryLikelihoodReranker,
    Reranker,
    RerankingRetriever,
    build_index,
)
from workshop_utils.retrieval.hybrid import CANDIDATES
from workshop_utils.retrieval.rankings import dense_rankings

SIZES = (30, 60, 90, 120, 200)
OVERLAPS = ("none", "half")
BASE = (PASSAGE_TOKENS, "none")
K = 3
# of the model, for the passages: what K passages of the workshop's length have, about
BUDGET = 300
# query likelihood takes seconds a question, so it is asked this part of them
LIKELIHOOD_STEP = 4
CROSS_ENCODER = "WORKSHOP_CROSS_ENCODER"
COMPARED = ("hit@1", "hit@3", "MRR")

Scores = dict[str, list[float]]
Search = Callable[[str], list[Document]]


def study(console: Console, every: int = 1) -> dict[str, Any]:
    """All figures, for JSON; with ``every`` above 1 on a part of the questions, to try it out."""
    questions = answerable_questions()[::every]
    embedder = load_embedder()
    # log-probabilities are not part of LangChain's interface
    llm = cast(ChatTransformers, load_llm(backend="transformers", adapter=None))
    console.print("length and overlap of passages")
    sizes = _sizes(questions, embedder, llm)
    console.print("ways to search")
    methods = _methods(questions, embedder, llm)
    return {
        "n": len(questions),
        "split": "dev",
        "kinds": ["single", "multi", "changed"],
        "seed": 0,
        "inputs": inputs_hash(),
        "budget": BUDGET,
        "sizes": sizes,
        "methods": methods,
        "cross_encoder": (
            "measured" if os.environ.get(CROSS_ENCODER) else f"none offline: set {CROSS_ENCODER} to the folder of one"
        ),
    }


def inputs_hash() -> str:
    """SHA-256 of all in the repository that the figures depend on: when it changes, they are out of date."""
    documents = [(document.id, document.page_content) for document in load_documents(groups=None)]
    settings = (SIZES, OVERLAPS, BASE, K, BUDGET, LIKELIHOOD_STEP, CANDIDATES)
    return hashlib.sha256(repr((settings, documents, answerable_questions())).encode()).hexdigest()


def table(result: dict[str, Any]) -> Group:
    """The study for the terminal."""
    names = ("hit@1", "hit@3", "hit@5", "MRR", "nDCG@5")
    sizes = Table("words", "overlap", "passages", *names, f"tokens@{K}", f"hit at {result['budget']} tokens")
    for row in result["sizes"]:
        figures = (*(words(row[name]) for name in names), f"{row[f'tokens@{K}']:.0f}", words(row["hit@budget"]))
        sizes.add_row(str(row["size"]), row["overlap"], str(row["passages"]), *figures)
    methods = Table("search", "n", *names, "hit@3 minus dense", "p (Holm)", "p50 ms", "p95 ms")
    for name, row in result["methods"].items():
        difference = row.get("difference", {}).get("hit@3")
        compared = (words(difference), f"{difference['p_holm']:.3f}") if difference else ("", "")
        milliseconds = (f"{value:.0f}" for value in row["milliseconds"].values())
        methods.add_row(name, str(row["n"]), *(words(row[metric]) for metric in names), *compared, *milliseconds)
    return Group(sizes, methods, f"cross-encoder: {result['cross_encoder']}")


def overlapping(documents: Sequence[Document], size: int) -> list[Document]:
    """Passages of at most ``size`` words and marks, each beginning in the middle of the one before, within a section.

    Whole sentences, list items and table rows are put together; only a single longer one exceeds the size.
    """
    passages = []
    units = split_documents(documents, 1)
    for _, section in groupby(units, key=lambda unit: (unit.metadata["source"], unit.metadata["section"])):
        left = list(section)
        while left:
            text, taken = left[0].page_content, 1
            for unit in left[1:]:
                longer = f"{text}\n{_continued(text, unit)}"
                if count_words(longer.split("\n", 1)[1]) > size:
                    break
                text, taken = longer, taken + 1
            passages.append(left[0].model_copy(update={"page_content": text}))
            left = left[(taken + 1) // 2 :] if taken < len(left) else []
    return passages


def _continued(text: str, unit: Document) -> str:
    """What the unit adds to the text before it: no heading, and no header of a table that is under way."""
    body = unit.page_content.split("\n")[1:]
    in_table = body[0].startswith("|") and "\n".join(body[:2]) in text
    return "\n".join(body[2:] if in_table else body)


def _sizes(questions: Sequence[Question], embedder: SentenceEmbedder, llm: ChatTransformers) -> list[dict[str, Any]]:
    documents = load_documents()
    families = [question.family for question in questions]
    count = cache(llm.count_tokens)
    scored: dict[tuple[int, str], Scores] = {}
    rows = []
    for size, overlap in tqdm([(size, overlap) for size in SIZES for overlap in OVERLAPS]):
        passages = overlapping(documents, size) if overlap == "half" else split_documents(documents, size)
        golds = [golden_passages(question, passages) for question in questions]
        ranked = dense_rankings(questions, passages, embedder, CANDIDATES)
        packed = [[passage for _, passage in pack(row, BUDGET, count)] for row in ranked]
        scores = score_rankings([[str(passage.id) for passage in row] for row in ranked], golds)
        scores["hit@budget"] = [
            float(any(passage.id in gold for passage in row)) for row, gold in zip(packed, golds, strict=True)
        ]
        scores["whole"] = [float(bool(gold)) for gold in golds]
        scored[size, overlap] = scores
        rows.append(
            {"size": size, "overlap": overlap, "passages": len(passages)}
            | {name: share(values, families) for name, values in scores.items()}
            | {
                f"tokens@{K}": float(np.mean([sum(count(p.page_content) for p in row[:K]) for row in ranked])),
                "passages@budget": float(np.mean([len(row) for row in packed])),
            }
        )
    for row, (key, scores) in zip(rows, scored.items(), strict=True):
        if key != BASE:
            row["difference"] = {
                name: paired_difference(scores[name], scored[BASE][name], families).as_dict()
                for name in ("hit@3", "hit@budget")
            }
    return rows


def _methods(questions: Sequence[Question], embedder: SentenceEmbedder, llm: ChatTransformers) -> dict[str, Any]:
    passages = split_documents(load_documents(groups=None), PASSAGE_TOKENS)
    golds = [golden_passages(question, passages) for question in questions]
    families = [question.family for question in questions]
    rows: dict[str, dict[str, Any]] = {}
    dense: Scores = {}
    for name, search, step in _searches(passages, embedder, llm):
        search(questions[0].question)  # what is loaded or compiled at the first call is not the search's own time
        found, seconds = [], []
        for question in tqdm(questions[::step], desc=name):
            started = time.perf_counter()
            found.append([str(passage.id) for passage in search(question.question)])
            seconds.append(time.perf_counter() - started)
        scores = score_rankings(found, golds[::step])
        rows[name] = {"n": len(found)} | {metric: share(values, families[::step]) for metric, values in scores.items()}
        rows[name]["milliseconds"] = {f"p{q}": float(np.percentile(seconds, q)) * 1000 for q in (50, 95)}
        if dense:
            rows[name]["difference"] = {
                metric: _difference(scores[metric], dense[metric][::step], families[::step]) for metric in COMPARED
            }
        else:
            dense = scores
    for metric in COMPARED:
        differences = [row["difference"][metric] for row in rows.values() if "difference" in row]
        for difference, adjusted in zip(differences, holm([d["p"] for d in differences]), strict=True):
            difference["p_holm"] = adjusted
    return rows


def _searches(
    passages: Sequence[Document], embedder: SentenceEmbedder, llm: ChatTransformers
) -> Iterator[tuple[str, Search, int]]:
    """Name, search and step over the questions; dense comes first."""
    dense = DenseRetriever(index=build_index(passages, embedder), k=CANDIDATES)
    lexical = Bm25Retriever(passages=passages, k=CANDIDATES)
    hybrid = HybridRetriever(dense=dense, lexical=lexical, k=CANDIDATES)

    def reranked(reranker: Reranker) -> Search:
        return RerankingRetriever(retriever=hybrid, reranker=reranker, k=CANDIDATES).invoke

    yield "dense", dense.invoke, 1
    yield "BM25", lexical.invoke, 1
    yield "hybrid", hybrid.invoke, 1
    yield "hybrid + late interaction", reranked(LateInteractionReranker(embedder)), 1
    yield "hybrid + query likelihood", reranked(QueryLikelihoodReranker(llm)), LIKELIHOOD_STEP
    if folder := os.environ.get(CROSS_ENCODER):
        yield "hybrid + cross-encoder", reranked(CrossEncoderReranker(folder)), 1


def _difference(first: Sequence[float], second: Sequence[float], families: Sequence[str]) -> dict[str, float]:
    estimate: Estimate = paired_difference(first, second, families)
    return estimate.as_dict() | {"p": sign_flip_test(first, second, families)}
