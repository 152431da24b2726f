"""Are the data fit to measure on? Neither so easy that every method is right, nor known to the model beforehand.

The figures of data/DATASHEET.md: ``workshop bench data --json data/results/data.json``. It looks at the held-out
questions as ``workshop compare --final`` does, but chooses nothing by them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
from langchain_core.embeddings import Embeddings
from rich.console import Console, Group
from rich.table import Table
from tqdm.auto import tqdm

from workshop_utils.corpus import Question, load_documents, load_questions, split_documents
from workshop_utils.corpus.documents import EVERYONE
from workshop_utils.corpus.questions import KINDS, Split, golden_passages
from workshop_utils.corpus.tickets import TicketRecord, load_tickets
from workshop_utils.evaluation.intervals import Estimate, bootstrap
from workshop_utils.evaluation.metrics import answer_logprobs, reciprocal_rank
from workshop_utils.evaluation.studies.figures import interval
from workshop_utils.models import device, load_embedder, load_llm
from workshop_utils.models.transformers_chat import ChatTransformers
from workshop_utils.rag.prompts import CLOSED_BOOK_PROMPT, PASSAGE_TOKENS
from workshop_utils.retrieval import Bm25Retriever, reciprocal_rank_fusion

SPLITS: tuple[Split, ...] = ("dev", "test")
METHODS = ("dense", "BM25", "hybrid")
DEPTH = 50
HITS = (1, 3, 5)
TICKET_FIELDS = ("device", "error_code", "category", "severity", "action")

Scores = dict[str, dict[str, float]]


def study(console: Console) -> dict[str, Any]:
    """Retrieval, closed-book choices and the nearest-ticket baseline, with intervals, for JSON."""
    embedder = load_embedder()
    result: dict[str, Any] = {"passage_tokens": PASSAGE_TOKENS, "dtype": device.choose().dtype, "inputs": inputs_hash()}
    questions = {split: [q for q in load_questions(split) if q.answerable] for split in SPLITS}
    result["retrieval"] = {split: retrieval(part, embedder) for split, part in questions.items()}
    console.print("closed book")
    result["closed_book"] = {split: closed_book(part) for split, part in questions.items()}
    result["nearest_ticket"] = {split: nearest_ticket(split, embedder) for split in SPLITS}
    return result


def table(result: dict[str, Any]) -> Group:
    """The report for the terminal."""
    return Group(
        *(retrieval_table(split, result["retrieval"][split]) for split in SPLITS),
        closed_book_table(result["closed_book"]),
        ticket_table(result["nearest_ticket"]),
    )


def inputs_hash() -> str:
    """SHA-256 of the data that the report's figures depend on: when it changes, they are out of date."""
    documents = [(document.id, document.page_content) for document in load_documents(groups=None)]
    questions = [load_questions(split) for split in SPLITS]
    tickets = [load_tickets(split) for split in ("train", *SPLITS)]
    return hashlib.sha256(repr((PASSAGE_TOKENS, documents, questions, tickets)).encode()).hexdigest()


def retrieval(questions: Sequence[Question], embedder: Embeddings) -> dict[str, dict[str, Scores]]:
    """hit@1, 3, 5 and MRR by method and kind of question.

    A passage counts as found when it holds an evidence span word for word. Ordinary questions search what all staff
    may read, restricted ones also the documents of their own access list.
    """
    passages = split_documents(load_documents(groups=None), PASSAGE_TOKENS)
    vectors = np.array(embedder.embed_documents([passage.page_content for passage in passages]))
    asked = np.array(embedder.embed_documents([question.question for question in questions]))
    cosines = asked @ vectors.T
    access = {str(passage.metadata["source"]): tuple(passage.metadata["acl"]) for passage in passages}
    found: dict[str, list[list[bool]]] = {method: [] for method in METHODS}
    searches: dict[tuple[str, ...], Bm25Retriever] = {}
    for question, row in zip(questions, cosines, strict=True):
        groups = tuple(sorted({EVERYONE, *(group for source in question.sources for group in access[source])}))
        search = searches.setdefault(groups, Bm25Retriever(passages=passages, k=DEPTH, groups=groups))
        readable = search.readable
        order = [int(i) for i in np.argsort(-row, kind="stable") if readable[i]][:DEPTH]
        dense = [str(passages[i].id) for i in order]
        lexical = [str(passage.id) for passage in search.invoke(question.question)]
        rankings = (dense, lexical, reciprocal_rank_fusion([dense, lexical]))
        golden = golden_passages(question, passages)
        for method, ranking in zip(METHODS, rankings, strict=True):
            found[method].append([key in golden for key in ranking])
    families = [question.family for question in questions]
    kinds = [question.kind for question in questions]
    return {method: _by_kind(rows, families, kinds) for method, rows in found.items()}


def closed_book(questions: Sequence[Question]) -> dict[str, dict[str, float]]:
    """Share of questions whose right choice the untouched model finds likeliest without any document.

    ``sum`` compares the choices' log-probabilities, ``mean`` those divided by length in tokens; chance is 0.25.
    """
    # log-probabilities are not part of LangChain's interface
    llm = cast(ChatTransformers, load_llm(backend="transformers", adapter=None))
    by_sum, by_mean = [], []
    for question in tqdm(questions, desc="Closed book", unit="question"):
        scores = answer_logprobs(llm, CLOSED_BOOK_PROMPT.messages(question.question, []), question.choices)
        by_sum.append(int(np.argmax([score.total for score in scores])) == question.choice)
        by_mean.append(int(np.argmax([score.per_token for score in scores])) == question.choice)
    families = [question.family for question in questions]
    return {"sum": bootstrap(by_sum, families).as_dict(), "mean": bootstrap(by_mean, families).as_dict()}


def nearest_ticket(split: Split, embedder: Embeddings) -> Scores:
    """How often the record of the most similar training ticket is right, by field, in all of them, and on average.

    What tuning must beat: a copier that reads nothing but the overall likeness of two texts.
    """
    train, asked = load_tickets("train"), load_tickets(split)
    known = np.array(embedder.embed_documents([ticket.text for ticket in train]))
    vectors = np.array(embedder.embed_documents([ticket.text for ticket in asked]))
    nearest = [train[int(i)].record for i in np.argmax(vectors @ known.T, axis=1)]
    right = [_matches(copied, ticket.record) for copied, ticket in zip(nearest, asked, strict=True)]
    scenarios = [ticket.scenario for ticket in asked]
    estimates = {name: bootstrap([row[name] for row in right], scenarios) for name in TICKET_FIELDS}
    estimates["all fields"] = bootstrap([all(row.values()) for row in right], scenarios)
    estimates["mean"] = bootstrap([sum(row.values()) / len(row) for row in right], scenarios)
    return {name: estimate.as_dict() for name, estimate in estimates.items()}


def as_markdown(result: dict[str, Any]) -> str:
    """The report as it stands in the data sheet."""
    lines = ["| passages found | split | n | hit@1 | hit@3 | hit@5 | MRR |", "|---|---|---|---|---|---|---|"]
    for method in METHODS:
        for split in SPLITS:
            scores = result["retrieval"][split][method]["all"]
            cells = " | ".join(interval(score) for score in scores.values())
            lines.append(f"| {method} | {split} | {scores['MRR']['n']} | {cells} |")
    lines += ["", "| other measures | dev | test |", "|---|---|---|"]
    rows = {
        "closed book, untouched model, likeliest of four choices (chance 0.25)": ("closed_book", "sum"),
        "the same, likeliest by token": ("closed_book", "mean"),
        "nearest training ticket's record, all five fields right": ("nearest_ticket", "all fields"),
        "nearest training ticket's record, mean over fields": ("nearest_ticket", "mean"),
    }
    for name, (part, score) in rows.items():
        lines.append(f"| {name} | " + " | ".join(interval(result[part][split][score]) for split in SPLITS) + " |")
    return "\n".join(lines)


def retrieval_table(split: str, result: dict[str, dict[str, Scores]]) -> Table:
    """The retrieval scores of one split for the terminal."""
    grid = Table(f"{split}: method", "kind", "n", *(f"hit@{k}" for k in HITS), "MRR")
    for method, by_kind in result.items():
        for kind, scores in by_kind.items():
            grid.add_row(method, kind, f"{scores['MRR']['n']:.0f}", *(interval(score) for score in scores.values()))
        grid.add_section()
    return grid


def closed_book_table(result: dict[str, dict[str, dict[str, float]]]) -> Table:
    """The closed-book scores for the terminal."""
    grid = Table("closed book, four choices", "n", "likeliest choice right", "likeliest by token", "chance")
    for split, scores in result.items():
        grid.add_row(split, f"{scores['sum']['n']}", interval(scores["sum"]), interval(scores["mean"]), "0.25")
    return grid


def ticket_table(result: dict[str, Scores]) -> Table:
    """The nearest-ticket baseline for the terminal."""
    names = list(next(iter(result.values())))
    grid = Table("record of the nearest training ticket", "n", *names)
    for split, scores in result.items():
        grid.add_row(split, f"{scores['mean']['n']}", *(interval(scores[name]) for name in names))
    return grid


def _by_kind(rows: Sequence[Sequence[bool]], families: Sequence[str], kinds: Sequence[str]) -> dict[str, Scores]:
    scores: dict[str, Scores] = {}
    for kind in ("all", *KINDS):
        chosen = [i for i, own in enumerate(kinds) if kind in ("all", own)]
        if not chosen:
            continue
        groups = [families[i] for i in chosen]
        estimates: dict[str, Estimate] = {
            f"hit@{k}": bootstrap([any(rows[i][:k]) for i in chosen], groups) for k in HITS
        }
        estimates["MRR"] = bootstrap([reciprocal_rank(rows[i]) for i in chosen], groups)
        scores[kind] = {name: estimate.as_dict() for name, estimate in estimates.items()}
    return scores


def _matches(copied: TicketRecord, record: TicketRecord) -> dict[str, bool]:
    own = asdict(record)
    return {name: value == own[name] for name, value in asdict(copied).items()}
