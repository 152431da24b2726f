"""The comparison table T1 to T7: what is usually said of RAG, fine-tuning and both, beside what the arms measured.

Each usual verdict is taken apart into statements that figures can decide, ``RULES``; they were written down before the
test questions were asked. For RAG stands RAG with examples where an answer is marked, since it cites, and plain RAG
where it is paid for; for fine-tuning LoRA-knowledge, the fair form of facts in the weights; for both RAFT + RAG.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from rich.table import Table

from workshop_utils.corpus import data_dir
from workshop_utils.evaluation.deciding import Option
from workshop_utils.evaluation.studies.figures import interval

State = Literal["agrees", "agrees only when", "disagrees", "not decidable"]
Result = Mapping[str, Any]
Arm = Mapping[str, Any]

# the smallest difference of a share that matters
MARGIN = 0.05
# seconds were measured once on one machine: less than twice as many is not told apart
FACTOR = 2.0
# a share of right citations is high above, low below
HIGH = 0.5
# answers that the cost of making an arm is spread over
ANSWERS = 10_000

RAG, RIVAL, TUNED, BOTH = "rag", "few_shot_rag", "lora_knowledge", "raft_rag"
NOT_MEASURED = "not measured"
RAG_USES, TUNING_USES = ("RU1", "RU2", "RU3", "RU4"), ("FU1", "FU2", "FU3", "FU4")
USES = {
    "RU1": "internal FAQ and documentation",
    "RU2": "support",
    "RU3": "archives",
    "RU4": "data that change",
    "FU1": "house style",
    "FU2": "jargon",
    "FU3": "records from text",
    "FU4": "repetitive tasks",
}
FITTING: dict[State, str] = {
    "agrees": "fits",
    "agrees only when": "fits in part",
    "disagrees": "does not fit",
    "not decidable": "not decidable",
}


@dataclass(frozen=True)
class Found:
    """What the figures say of one statement, and which figures."""

    state: State
    figures: str


class Statement(Protocol):
    """A part of a usual verdict that can be decided."""

    @property
    def says(self) -> str:
        """In words."""

    @property
    def rule(self) -> str:
        """When it agrees and when it does not."""

    def judge(self, result: Result, verdicts: Mapping[str, str]) -> Found:
        """By the figures of the comparison and, by claim, the verdicts of earlier studies."""


@dataclass(frozen=True)
class Takes:
    """One arm takes more of something that is counted or timed than another."""

    says: str
    of: Callable[[Arm], float | None]
    more: str
    less: str
    unit: str
    factor: float = FACTOR

    @property
    def rule(self) -> str:
        least = f"at least {self.factor:g} times as much" if self.factor > 1 else "more"
        return f"{least} agrees, as much or less disagrees"

    def judge(self, result: Result, verdicts: Mapping[str, str]) -> Found:  # noqa: ARG002
        more, less = (self._measured(result, key) for key in (self.more, self.less))
        if more is None or less is None:
            return Found("not decidable", NOT_MEASURED)
        shown = f"{_title(result, self.more)} {rounded(more)} {self.unit}, {_title(result, self.less)} {rounded(less)}"
        if more > less and more >= self.factor * less:
            return Found("agrees", shown)
        return Found("disagrees" if more <= less else "not decidable", shown)

    def _measured(self, result: Result, key: str) -> float | None:
        return self.of(result["arms"][key]) if key in result["arms"] else None


@dataclass(frozen=True)
class Exceeds:
    """One arm has a higher share than another."""

    says: str
    metric: str
    more: str
    less: str

    @property
    def rule(self) -> str:
        return f"{MARGIN} more with an interval above 0 agrees, an interval that ends below {MARGIN} disagrees"

    def judge(self, result: Result, verdicts: Mapping[str, str]) -> Found:  # noqa: ARG002
        found = difference(result, self.metric, self.more, self.less)
        if found is None:
            return Found("not decidable", NOT_MEASURED)
        shown = f"{_title(result, self.more)} minus {_title(result, self.less)} {interval(found)}"
        if found["value"] >= MARGIN and found["low"] > 0:
            return Found("agrees", shown)
        return Found("disagrees" if found["high"] < MARGIN else "not decidable", shown)


@dataclass(frozen=True)
class IsHigh:
    """An arm's share is high."""

    says: str
    metric: str
    arm: str

    @property
    def rule(self) -> str:
        return f"an interval above {HIGH} agrees, one below it disagrees"

    def judge(self, result: Result, verdicts: Mapping[str, str]) -> Found:  # noqa: ARG002
        figure = result["arms"].get(self.arm, {}).get(self.metric)
        if figure is None:
            return Found("not decidable", NOT_MEASURED)
        shown = f"{_title(result, self.arm)} {interval(figure)}"
        if figure["low"] > HIGH:
            return Found("agrees", shown)
        return Found("disagrees" if figure["high"] < HIGH else "not decidable", shown)


@dataclass(frozen=True)
class HasNone:
    """An arm cannot have a figure at all, because of how it is made."""

    says: str
    metric: str
    arm: str
    rule: str = "agrees where the arm is given nothing to name"

    def judge(self, result: Result, verdicts: Mapping[str, str]) -> Found:  # noqa: ARG002
        if self.arm not in result["arms"]:
            return Found("not decidable", NOT_MEASURED)
        figure = result["arms"][self.arm].get(self.metric)
        title = _title(result, self.arm)
        return Found("disagrees", f"{title} {interval(figure)}") if figure else Found("agrees", f"{title}: none")


@dataclass(frozen=True)
class Fits:
    """A use that an earlier study decided."""

    says: str
    claim: str
    rule: str = "the verdict of the lesson that measured it"

    def judge(self, result: Result, verdicts: Mapping[str, str]) -> Found:  # noqa: ARG002
        verdict = verdicts.get(self.claim)
        if verdict is None:
            return Found("not decidable", f"{self.claim} {NOT_MEASURED}")
        return Found(fit(verdict), f"{self.claim} {verdict}")


def fit(verdict: str) -> State:
    """What an earlier study's verdict says of the claim that something fits a use."""
    if verdict in ("fits", "holds"):
        return "agrees"
    if verdict.startswith("holds only when"):
        return "agrees only when"
    return "disagrees" if verdict in ("does not fit here", "does not hold here") else "not decidable"


def made(arm: Arm) -> float:
    """Seconds of computing before the first answer: training, and the index."""
    return float(arm["cost"].get("training_seconds", 0.0) + arm["cost"].get("index_seconds", 0.0))


def spent(arm: Arm) -> float:
    """Hours of computing to make an arm and to answer ``ANSWERS`` questions, each as fast as the median one."""
    return (made(arm) + ANSWERS * float(arm["latency"]["p50"])) / 3600


def moving_parts(arm: Arm) -> float:
    """How many things somebody must build, run and look after."""
    return float(len(arm["steps"]))


def updated(arm: Arm) -> float | None:
    """Seconds from a change in a document to the changed answer; None where nobody measured it."""
    seconds = arm["cost"].get("update_seconds")
    return None if seconds is None else float(seconds)


ROWS: dict[str, tuple[str, dict[Option, str]]] = {
    "T1": (
        "cost",
        {
            "rag": "cheap: embedding and search",
            "fine-tuning": "expensive: data, computing, people",
            "both": "most expensive: both bills",
        },
    ),
    "T2": (
        "complexity",
        {"rag": "moderate: a chain of parts", "fine-tuning": "high: data and training", "both": "highest"},
    ),
    "T3": (
        "time to set up",
        {
            "rag": "short",
            "fine-tuning": "long: examples first, then training",
            "both": "longest",
        },
    ),
    "T4": (
        "updating data",
        {"rag": "at once: change the document", "fine-tuning": "hard: train again", "both": "as with RAG"},
    ),
    "T5": (
        "performance",
        {"rag": "good, where search finds it", "fine-tuning": "very good on its task", "both": "best of all"},
    ),
    "T6": (
        "transparency",
        {"rag": "high: it names its sources", "fine-tuning": "low: a black box", "both": "in between"},
    ),
    "T7": (
        "which uses each fits",
        {
            "rag": "FAQ and documentation, support, archives, data that change",
            "fine-tuning": "style, jargon, classification and extraction, repetitive tasks",
            "both": "where facts and form both matter",
        },
    ),
}
RULES: dict[str, tuple[Statement, ...]] = {
    "T1": (
        Takes(
            f"to make it and answer {ANSWERS:,} times costs more with fine-tuning than with RAG",
            spent,
            TUNED,
            RAG,
            "hours",
        ),
        Takes(
            f"to make it and answer {ANSWERS:,} times costs more with both than with fine-tuning",
            spent,
            BOTH,
            TUNED,
            "hours",
        ),
    ),
    "T2": (
        Takes("fine-tuning has more moving parts than RAG", moving_parts, TUNED, RAG, "parts", factor=1),
        Takes("both has more moving parts than fine-tuning", moving_parts, BOTH, TUNED, "parts", factor=1),
    ),
    "T3": (
        Takes("fine-tuning computes longer than RAG before the first answer", made, TUNED, RAG, "seconds"),
        Takes("both computes longer than fine-tuning before the first answer", made, BOTH, TUNED, "seconds"),
    ),
    "T4": (
        Takes("an update of fine-tuning takes longer than one of RAG", updated, TUNED, RAG, "seconds"),
        Takes("an update of fine-tuning takes longer than one of both", updated, TUNED, BOTH, "seconds"),
        Exceeds("after changes RAG is right more often than fine-tuning", "current", RIVAL, TUNED),
        Exceeds("after changes both is right more often than fine-tuning", "current", BOTH, TUNED),
    ),
    "T5": (
        Exceeds("fine-tuning is right more often than RAG", "correct", TUNED, RIVAL),
        Exceeds("both is right more often than RAG", "correct", BOTH, RIVAL),
        Exceeds("both is right more often than fine-tuning", "correct", BOTH, TUNED),
    ),
    "T6": (
        IsHigh("RAG names the right source", "cited", RIVAL),
        HasNone("fine-tuning names no source", "cited", TUNED),
        Exceeds("RAG names the right source more often than both", "cited", RIVAL, BOTH),
    ),
    "T7": tuple(Fits(f"{'RAG' if key in RAG_USES else 'fine-tuning'} fits {use}", key) for key, use in USES.items()),
}


def rows(result: Result, results: Path | None = None) -> list[dict[str, Any]]:
    """The table, one row a question.

    Args:
        result: of ``workshop compare``.
        results: folder of the studies that decided the uses of T7; data/results when None. A study that is not there
            leaves its uses undecided.

    Returns:
        Of each row ``id`` and ``what`` it is about; ``usual``, the usual verdict by option; ``arms``, the figures by
        arm in words; ``verdict``, what they say of the usual one; ``because``, the figures that decide; ``parts``, of
        each statement ``says``, ``state``, ``figures`` and its ``rule``.
    """
    verdicts = use_verdicts(data_dir() / "results" if results is None else results)
    table = []
    for key, (what, usual) in ROWS.items():
        judged = [(one, one.judge(result, verdicts)) for one in RULES[key]]
        parts = [
            {"says": one.says, "state": found.state, "figures": found.figures, "rule": one.rule}
            for one, found in judged
        ]
        table.append(
            {
                "id": key,
                "what": what,
                "usual": {str(option): says for option, says in usual.items()},
                "arms": {arm: _cell(key, arm, row, verdicts) for arm, row in result["arms"].items()},
                "verdict": together([found.state for _, found in judged]),
                "because": "; ".join(f"{part['says']}: {part['state']} ({part['figures']})" for part in parts),
                "parts": parts,
            }
        )
    return table


def together(states: Sequence[State]) -> State:
    """One verdict of several statements: what all say; where they differ, whether some of them agree."""
    if len(set(states)) == 1:
        return states[0]
    return "agrees only when" if {"agrees", "agrees only when"} & set(states) else "not decidable"


def difference(result: Result, metric: str, first: str, second: str) -> dict[str, float] | None:
    """First arm minus second, with an interval; None where one of them has no such figure.

    As it was tested where it was. Elsewhere from the two arms' own intervals, lowest minus highest and highest minus
    lowest: wider than the interval of pairs would be, so what it decides that would decide too.
    """
    for row in result["differences"]:
        if row["metric"] == metric and (row["a"], row["b"]) == (first, second):
            return {name: row[name] for name in ("value", "low", "high")}
        if row["metric"] == metric and (row["a"], row["b"]) == (second, first):
            return {"value": -row["value"], "low": -row["high"], "high": -row["low"]}
    a, b = (result["arms"].get(key, {}).get(metric) for key in (first, second))
    if a is None or b is None:
        return None
    return {"value": a["value"] - b["value"], "low": a["low"] - b["high"], "high": a["high"] - b["low"]}


def use_verdicts(results: Path) -> dict[str, str]:
    """RU1 to RU4 and FU1 to FU4, as far as their studies are there."""
    langchain, freshness, tasks = (_stored(results / f"{name}.json") for name in ("langchain", "freshness", "tasks"))
    uses = langchain.get("uses", {})
    found = {
        claim: uses[use]["verdict"] for claim, use in (("RU1", "documentation"), ("RU2", "support")) if use in uses
    }
    stored = {**freshness.get("verdicts", {}), **tasks.get("verdicts", {})}
    return found | {claim: stored[claim] for claim in USES if claim in stored}


def table(result: Result) -> Table:
    """The table for the terminal: usual beside measured; the nine arms are in the report."""
    grid = Table("", "", "RAG", "fine-tuning", "both", "measured here", "because")
    for row in rows(result):
        grid.add_row(row["id"], row["what"], *row["usual"].values(), row["verdict"], row["because"])
    return grid


def _cell(key: str, name: str, arm: Arm, verdicts: Mapping[str, str]) -> str:
    """What an arm measured of a row's question, in words."""
    cost = arm["cost"]
    if key == "T1":
        return (
            f"{rounded(spent(arm))} hours for {ANSWERS:,} answers; {arm['prompt_tokens']['value']:.0f} tokens to read"
        )
    if key == "T2":
        return f"{len(arm['steps'])} parts"
    if key == "T3":
        named = (("training", "training_seconds"), ("index", "index_seconds"))
        return ", ".join(f"{what} {rounded(cost[name])} s" for what, name in named if name in cost) or "nothing to make"
    if key == "T4":
        seconds = updated(arm)
        return "; ".join(
            [*([f"{rounded(seconds)} s"] if seconds is not None else []), *_named(arm, "current", "stale")]
        )
    if key == "T5":
        return "; ".join(_named(arm, "correct", "exact"))
    if key == "T6":
        return "; ".join(_named(arm, "cited", "citation_precision")) or "nothing to name"
    # lesson 02 and 03 asked reader + RAG; the adapters of lesson 06 are tuned like LoRA-task, each on its own task
    claims = {"reader_rag": RAG_USES, "lora_task": TUNING_USES}.get(name, ())
    return "; ".join(f"{USES[claim]}: {FITTING[fit(verdicts[claim])]}" for claim in claims if claim in verdicts)


def _named(arm: Arm, *metrics: str) -> list[str]:
    return [f"{metric.replace('_', ' ')} {interval(arm[metric])}" for metric in metrics if metric in arm]


def _title(result: Result, arm: str) -> str:
    return str(result["arms"][arm]["title"])


def rounded(number: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _stored(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found
