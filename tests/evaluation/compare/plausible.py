"""A result of ``workshop compare`` such as one might be, drawn at random, for whatever reads results."""

from __future__ import annotations

import random
from typing import Any

from workshop_utils.evaluation.compare.arms import ARMS
from workshop_utils.evaluation.compare.contrasts import PRIMARY, SECONDARY

COUNTS = {"single": 116, "multi": 20, "changed": 22, "unanswerable": 26, "restricted": 10}
CORRECT = {
    "base": 0.04,
    "few_shot": 0.07,
    "rag": 0.34,
    "few_shot_rag": 0.41,
    "reader_rag": 0.52,
    "lora_task": 0.06,
    "lora_knowledge": 0.15,
    "lora_task_rag": 0.38,
    "raft_rag": 0.63,
}
COST = {
    "reader": {"training_seconds": 540.0, "training_tokens": 900_000, "training_peak_mb": 1200.0, "adapter_mb": 4.9},
    "task": {"training_seconds": 90.0, "training_tokens": 110_000, "training_peak_mb": 900.0, "adapter_mb": 2.4},
    "knowledge": {"training_seconds": 610.0, "training_tokens": 700_000, "training_peak_mb": 1000.0, "adapter_mb": 4.8},
    "raft": {"training_seconds": 980.0, "training_tokens": 1_500_000, "training_peak_mb": 1250.0, "adapter_mb": 4.9},
}


def figure(value: float, n: int, half: float = 0.07) -> dict[str, float]:
    """A share with an interval."""
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half), "n": n}


def result(*, split: str = "dev", quick: bool = False, seed: int = 0) -> dict[str, Any]:
    """All that ``workshop compare`` writes, with a ledger of three claims of which one is a gap."""
    rng = random.Random(seed)
    return {
        "split": split,
        "n": sum(COUNTS.values()),
        "quick": quick,
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "inputs": "ab" * 32,
        "dtype": "bfloat16",
        "seconds": 2130.5,
        "stages": {"search": 30.5, "answers": 2100.0},
        "counts": dict(COUNTS),
        "arms": {key: arm(key, rng) for key in ARMS},
        "differences": [_difference(one.a, one.b, one.role) for one in (PRIMARY, *SECONDARY)],
        "answers": {key: {"HR-01-q1": "[1] 25 days"} for key in ARMS},
        "ledger": [
            claim("R+2", "holds", 1.33, 0.96, 1.83),
            claim("F+1", "not decidable here", 0.08, 0.03, 0.16),
            claim("C3", "gap", None, None, None),
        ],
    }


def claim(name: str, verdict: str, figure: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    """A row of the ledger."""
    return {
        "claim": name,
        "text": f"What is said of {name}.",
        "verdict": verdict,
        "measure": "a share",
        "figure": figure,
        "low": low,
        "high": high,
        "because": "the result is missing" if figure is None else "",
        "lesson": "03",
    }


def arm(key: str, rng: random.Random) -> dict[str, Any]:
    """One arm's figures, those left out that it cannot have."""
    known, correct = ARMS[key], CORRECT[key]
    answerable = COUNTS["single"] + COUNTS["multi"] + COUNTS["changed"]
    abstained = rng.random()
    facts: dict[str, Any] = {
        "correct": figure(correct, answerable),
        "exact": figure(correct * 0.8, answerable),
        "f1": figure(correct * 0.9, answerable),
        "false_abstention": figure(rng.random() / 5, answerable),
    }
    if known.retrieves:
        cited = correct * 0.95 if known.cites_first or key == "few_shot_rag" else 0.0
        facts |= {"cited": figure(cited, answerable), "citation_recall": figure(cited, answerable - 20)}
        if cited:
            facts["citation_precision"] = figure(min(1.0, cited + 0.2), answerable - 30)
    row: dict[str, Any] = {
        "title": known.title,
        "saw": known.saw,
        "redone_when": known.redone_when,
        "steps": list(known.steps),
        **facts,
        "choice": figure(0.3 + correct / 2, answerable),
        "abstained": figure(abstained, COUNTS["unanswerable"], 0.15),
        "form": figure(rng.random(), sum(COUNTS.values())),
        "current": figure(correct * 0.9 if known.retrieves else 0.02, 52, 0.1),
        "stale": figure(0.02 if known.retrieves else correct / 2, 52, 0.05),
        "prompt_tokens": {"value": 260.0, "low": 255.0, "high": 264.0, "n": 194}
        if known.retrieves
        else {"value": 54.0, "low": 52.0, "high": 56.0, "n": 194},
        "answer_tokens": {"value": 9.2, "low": 8.5, "high": 10.1, "n": 194},
        "latency": {"p50": 0.9 if known.retrieves else 0.4, "p95": 1.4, "n": 30},
        "cost": dict(COST[known.adapter.name]) if known.adapter else {},
        "by_kind": {
            **{
                kind: {name: {**value, "n": COUNTS[kind]} for name, value in facts.items()}
                for kind in ("single", "multi", "changed")
            },
            "unanswerable": {"abstained": figure(abstained, COUNTS["unanswerable"], 0.15)},
            "restricted": {
                "correct": {**figure(0.0, 10), "high": 0.3, "count": 0},
                "leaked": {**figure(0.0, 10), "high": 0.3, "count": 0},
                "abstained": {**figure(abstained, 10, 0.3), "count": round(10 * abstained)},
            },
        },
        "failures": [_failure(key, number) for number in range(3)],
    }
    if known.adapter:
        row["forgetting"] = {
            "knowledge": {"value": -0.03, "low": -0.08, "high": 0.02, "n": 100},
            "logprob_change": {"value": -0.11, "low": -0.15, "high": -0.07, "n": 40},
        }
    if known.retrieves:
        row["cost"] |= {"index_seconds": 12.5, "update_seconds": 1.3}
    elif known.adapter:
        row["cost"]["update_seconds"] = row["cost"]["training_seconds"]
    return row


def _difference(a: str, b: str, role: str) -> dict[str, Any]:
    value = CORRECT[a] - CORRECT[b]
    p = 0.0002 if value > 0.2 else 0.012
    return {
        "a": a,
        "b": b,
        "metric": "correct",
        "value": value,
        "low": value - 0.08,
        "high": value + 0.08,
        "p": p,
        "role": role,
    }


def _failure(key: str, number: int) -> dict[str, Any]:
    shown = range(1, ARMS[key].k + 1)
    return {
        "id": f"HR-0{number}-q1",
        "question": "How many days in advance must I ask for unpaid leave if I work at another site?",
        "gold": "10 working days",
        "answer": "[2] 5 working days" if shown else "You should ask your manager as early as possible.",
        "passages": [
            {
                "label": str(label),
                "text": "Leave > Unpaid leave\nUnpaid leave is asked for 10 working days in advance, at any site.",
                "gold": label == 1,
            }
            for label in shown
        ],
        "score": 0.5 if shown else 0.0,
    }
