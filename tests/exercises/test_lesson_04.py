"""The exercises of lesson 04: blank, reference, and wrong answers with their messages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from langchain_core.language_models import FakeListChatModel

from workshop_utils.authoring.proving import prove
from workshop_utils.evaluation import faults
from workshop_utils.exercises.lesson_04 import PLANTED
from workshop_utils.rag import Rag
from workshop_utils.retrieval import DenseRetriever

Discount = Callable[[int], float]


def gained(relevant: Sequence[bool], discount: Discount = lambda rank: 1 / math.log2(rank + 1)) -> float:
    return sum(discount(rank) for rank, yes in enumerate(relevant, start=1) if yes)


def found(retrieved: list[str], gold: set[str], k: int | None = None) -> list[bool]:
    return [key in gold for key in retrieved[:k]]


def test_ndcg() -> None:
    def ideal(gold: set[str], k: int) -> list[bool]:
        return [True] * min(k, len(gold))

    def of_found(retrieved: list[str], gold: set[str], k: int) -> float:
        return gained(found(retrieved, gold, k)) / (gained(sorted(found(retrieved, gold, k), reverse=True)) or 1.0)

    prove(
        "ndcg",
        wrong={
            "not_cut": [
                lambda r, g, k: gained(found(r, g)) / gained(ideal(g, k)),
                lambda r, g, _k: gained(found(r, g)) / gained([True] * len(g)),
            ],
            "not_divided": [lambda r, g, k: gained(found(r, g, k))],
            "ideal_of_found": [of_found],
            "ideal_too_long": [lambda r, g, k: gained(found(r, g, k)) / gained([True] * len(g))],
            "ideal_too_short": [lambda r, g, k: gained(found(r, g, k)) / gained([True] * k)],
            "no_discount": [lambda r, g, k: sum(found(r, g, k)) / min(k, len(g))],
            "other_discount": [
                lambda r, g, k: gained(found(r, g, k), lambda n: 1 / n) / gained(ideal(g, k), lambda n: 1 / n)
            ],
            "values": [lambda r, g, k: float(any(found(r, g, k))) / 7],
            "type": [lambda r, g, k: found(r, g, k)],
        },
    )


Array = np.ndarray
Rng = np.random.Generator


def quantiles(means: Array) -> tuple[float, float]:
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def family_means(values: Array, families: Array, draws: int, rng: Rng) -> Array:
    sums, counts = np.bincount(families, weights=values), np.bincount(families)
    drawn = rng.integers(len(sums), size=(draws, len(sums)))
    result: Array = sums[drawn].sum(1) / counts[drawn].sum(1)
    return result


def test_paired_interval() -> None:
    def question_means(values: Array, draws: int, rng: Rng) -> Array:
        result: Array = rng.choice(values, size=(draws, len(values))).mean(1)
        return result

    def mean_of_families(a: Array, b: Array, families: Array, draws: int, rng: Rng) -> tuple[float, float]:
        return quantiles(question_means(np.bincount(families, weights=a - b) / np.bincount(families), draws, rng))

    prove(
        "paired_interval",
        wrong={
            "two_numbers": [lambda a, b, f, d, r: float(family_means(a - b, f, d, r).mean())],
            "sign": [lambda a, b, f, d, r: quantiles(family_means(b - a, f, d, r))],
            "single_questions": [lambda a, b, _f, d, r: quantiles(question_means(a - b, d, r))],
            "mean_of_families": [mean_of_families],
            "unpaired": [
                lambda a, b, f, d, r: quantiles(family_means(a, f, d, r) - family_means(b, f, d, r)),
                lambda a, b, _f, d, r: quantiles(question_means(a, d, r) - question_means(b, d, r)),
            ],
            "values": [
                lambda a, b, _f, _d, _r: quantiles(a - b),
                lambda a, b, f, d, r: tuple(np.quantile(family_means(a - b, f, d, r), [0.25, 0.75])),
            ],
        },
    )


def test_guilty() -> None:
    prove(
        "guilty",
        wrong={
            "no_suspect": [lambda: ["worst first", "stale_index", "query_embedding"], lambda: ["stale index"]],
            "innocent_truncated_documents": [lambda: ["worst_first", "truncated_documents", "query_embedding"]],
            "innocent_labels_shifted": [lambda: [*PLANTED, "labels_shifted"], lambda: ["labels_shifted"]],
            "innocent_answers_cut": [lambda: ["worst_first", "answers_cut", "query_embedding"]],
            "missed_query_embedding": [lambda: ["worst_first", "stale_index"]],
            "missed_stale_index": [lambda: ["worst_first", "query_embedding"]],
            "missed_worst_first": [lambda: ["stale_index", "query_embedding"]],
            "type": [lambda: "worst_first"],
        },
    )


def test_the_three_are_those_that_the_lesson_plants() -> None:
    broken = faults.broken_rag(Rag(DenseRetriever(index=None), FakeListChatModel(responses=[])), seed=1)
    assert sorted(broken.planted) == sorted([*PLANTED, "labels_shifted"])
    assert broken.collection == "support-articles"


def shares(citations: list[str], evidence: set[str]) -> tuple[float | None, float | None]:
    named = set(citations)
    return (
        len(named & evidence) / len(named) if named else None,
        len(named & evidence) / len(evidence) if evidence else None,
    )


def test_cited() -> None:
    def counted(citations: list[str], evidence: set[str]) -> tuple[float | None, float | None]:
        right = sum(label in evidence for label in citations)
        return right / len(citations) if citations else None, right / len(evidence) if evidence else None

    def of_known(citations: list[str], evidence: set[str]) -> tuple[float | None, float | None]:
        return shares([label for label in citations if label in evidence], evidence)

    prove(
        "cited",
        wrong={
            "division": [lambda c, e: (len(set(c) & e) / len(set(c)), len(set(c) & e) / len(e))],
            "two_numbers": [lambda c, e: len(set(c) & e) / max(len(e), 1)],
            "swapped": [lambda c, e: shares(c, e)[::-1]],
            "twice": [counted],
            "nothing_cited": [lambda c, e: (shares(c, e)[0] or 0.0, shares(c, e)[1])],
            "no_evidence": [lambda c, e: (shares(c, e)[0], shares(c, e)[1] or 0.0)],
            "values": [of_known],
        },
    )


def test_diagnose() -> None:
    stages = ["asked", "found", "given", "correct", "cited"]

    def of_all(now: dict[str, int], before: dict[str, int]) -> str:
        return max(stages[1:], key=lambda s: before[s] / before["asked"] - now[s] / now["asked"])

    def first_drop(now: dict[str, int], before: dict[str, int]) -> str:
        return next(s for s in stages[1:] if now[s] < before[s])

    def yields(now: dict[str, int], before: dict[str, int]) -> str:
        pairs = dict(zip(stages[1:], stages, strict=False))
        return max(pairs, key=lambda s: before[s] / before[pairs[s]] - now[s] / now[pairs[s]])

    prove(
        "diagnose",
        wrong={
            "division": [yields],
            "no_stage": [lambda _now, _before: "retrieval"],
            "counts": [lambda now, before: max(stages[1:], key=lambda s: before[s] - now[s])],
            "of_all": [of_all],
            "first_drop": [first_drop],
            "values": [lambda _now, _before: "cited"],
            "type": [lambda now, _before: now],
        },
    )
