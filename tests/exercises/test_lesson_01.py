"""The exercises of lesson 01: blank, reference, and wrong answers with their messages."""

from __future__ import annotations

import numpy as np

from workshop_utils.authoring.proving import prove


def unit(rows: np.ndarray) -> np.ndarray:
    result: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return result


def masked_mean(hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
    weights = mask[:, :, None]
    result: np.ndarray = (hidden * weights).sum(1) / weights.sum(1)
    return result


def test_mean_pool() -> None:
    prove(
        "mean_pool",
        wrong={
            "not_unit": [masked_mean],
            "padding": [lambda h, _m: unit(h.mean(1)), lambda h, _m: h.mean(1)],
            "first_token": [lambda h, _m: unit(h[:, 0])],
            "whole_norm": [lambda h, m: masked_mean(h, m) / np.linalg.norm(masked_mean(h, m))],
            "values": [lambda h, _m: unit(h.max(1))],
            "shape": [lambda h, m: masked_mean(h, m)[0]],
        },
    )


def test_top_k() -> None:
    prove(
        "top_k",
        wrong={
            "ascending": [lambda q, d, k: np.argsort(d @ q)[:k]],
            "scores": [lambda q, d, k: -np.sort(-(d @ q))[:k]],
            "order": [lambda q, d, k: np.argsort(d @ q)[-k:]],
            "not_the_closest": [lambda _q, d, k: np.arange(min(k, len(d)))],
            "shape": [lambda q, d, _k: np.argsort(-(d @ q))],
        },
    )


def fitting(lengths: list[int], budget: int) -> int:
    return int(np.sum(np.cumsum(lengths) <= budget))


def greedy(lengths: list[int], budget: int) -> int:
    count = 0
    for length in lengths:
        if length <= budget or not count:
            count, budget = count + 1, budget - length
    return count


def test_pack() -> None:
    prove(
        "pack",
        wrong={
            "too_many": [lambda lengths, _budget: len(lengths)],
            "exact_fit": [lambda lengths, budget: max(int(np.sum(np.cumsum(lengths) < budget)), min(len(lengths), 1))],
            "skipped": [greedy],
            "first_always": [fitting],
            "empty": [lambda lengths, budget: max(1, fitting(lengths, budget))],
        },
    )


def test_interval() -> None:
    def means(scores: np.ndarray, draws: int, rng: np.random.Generator, size: int | None = None) -> np.ndarray:
        result: np.ndarray = rng.choice(scores, size=(draws, size or len(scores))).mean(1)
        return result

    prove(
        "interval",
        wrong={
            "two_numbers": [lambda s, d, r: float(means(s, d, r).std())],
            "spread_of_scores": [lambda s, _d, _r: tuple(np.quantile(s, [0.025, 0.975]))],
            "no_spread": [lambda s, _d, _r: (s.mean(), s.mean())],
            "too_narrow": [lambda s, d, r: tuple(np.quantile(means(s, d, r), [0.25, 0.75]))],
            "values": [lambda s, d, r: tuple(np.quantile(means(s, d, r, 50), [0.025, 0.975]))],
        },
    )
