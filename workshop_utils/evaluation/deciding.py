"""RAG, fine-tuning or both? Rules D1 to D4 as open data, what they say of a team's situation, and what each would cost.

The rules are the usual advice, written down so that it can be argued with: what each looks at, which way it speaks, how
much it weighs, and which claims of the workshop stand behind it. The cost model is arithmetic on inputs that can all be
changed; those that were measured here come from data/results, and what leaves them is marked as extrapolated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, get_args

from workshop_utils.corpus import data_dir
from workshop_utils.corpus.splitting import count_words
from workshop_utils.errors import InputError
from workshop_utils.models import store
from workshop_utils.models.adapters import KNOWLEDGE
from workshop_utils.rag.prompts import READER_K
from workshop_utils.tuning.arithmetic import Shape
from workshop_utils.tuning.run import REPORT

Option = Literal["rag", "fine-tuning", "both"]
# in the order in which equal scores are settled: RAG is where to start (D4), and both is the most work
OPTIONS: tuple[Option, ...] = get_args(Option)


@dataclass(frozen=True)
class Factor:
    """Something about a team's situation, from 'not at all' (level 0) to 'fully' (the last level)."""

    id: str
    levels: int
    default: int = 0

    def share(self, level: int) -> float:
        """The level between 0 and 1."""
        return level / (self.levels - 1)


@dataclass(frozen=True)
class Rule:
    """A piece of advice.

    Attributes:
        id: with the rule of the workshop's list that it is a part of in front; ``M`` is what the lessons add to it.
        high: factors that must be high; ``low``: that must be low. The rule speaks as loudly as the weakest of them
            lets it, and always when there is none.
        speaks_for: the option that gets its weight.
        evidence: the claims whose measured verdicts stand behind it.
    """

    id: str
    speaks_for: Option
    weight: float
    evidence: tuple[str, ...]
    high: tuple[str, ...] = ()
    low: tuple[str, ...] = ()


FACTORS = {
    factor.id: factor
    for factor in (
        Factor("change", 5, 2),
        Factor("sources", 2, 1),
        Factor("budget", 3, 1),
        Factor("start", 2),
        Factor("examples", 5, 1),
        Factor("task", 2),
        Factor("facts", 3, 2),
        Factor("form", 3),
        Factor("private", 2),
        Factor("latency", 2),
        Factor("volume", 3),
    )
}
RULES = (
    Rule("D1.change", "rag", 3, ("R+2", "RU4", "F-3"), high=("change", "facts")),
    Rule("D1.sources", "rag", 2, ("R+4",), high=("sources",)),
    Rule("D1.budget", "rag", 2, ("R+3", "F-1"), low=("budget",)),
    Rule("D1.start", "rag", 2, ("R+1", "F-2"), high=("start",)),
    Rule("D2.examples", "fine-tuning", 2, ("F-2",), high=("examples",)),
    Rule("D2.task", "fine-tuning", 3, ("F+2", "FU3"), high=("task",)),
    Rule("D2.invest", "fine-tuning", 1, ("F-1",), high=("budget",)),
    Rule("D2.stable", "fine-tuning", 1, ("F-3", "F+1"), low=("change",)),
    Rule("D3.resources", "both", 2, ("C2",), high=("budget", "examples")),
    Rule("D3.both_matter", "both", 6, ("C1", "C3"), high=("facts", "form")),
    Rule("D4.first", "rag", 1, ("R0", "R+1")),
    Rule("M.facts", "rag", 2, ("RU1", "RU2"), high=("facts",)),
    Rule("M.form", "fine-tuning", 2, ("F+3", "FU1", "FU2"), high=("form",)),
    Rule("M.private", "rag", 3, ("RU3",), high=("private",)),
    Rule("M.latency", "fine-tuning", 1, ("R-3", "F+4"), high=("latency",)),
    Rule("M.volume", "fine-tuning", 2, ("FU4",), high=("task", "volume")),
)


@dataclass(frozen=True)
class Spoken:
    """A rule in a situation: how far it applies (0 to 1), and what that adds to the score of its option."""

    rule: Rule
    applies: float
    contribution: float


@dataclass(frozen=True)
class Change:
    """A factor moved to another level, and the option that is advised then."""

    factor: str
    level: int
    option: Option


@dataclass(frozen=True)
class Advice:
    """What the rules say.

    Attributes:
        scores: by option.
        rules: every rule, those that say most first.
        change: the smallest change of one factor, as a share of its range, after which another option is advised;
            None when no single one does that.
    """

    option: Option
    scores: Mapping[Option, float]
    rules: tuple[Spoken, ...]
    change: Change | None

    @property
    def lead(self) -> float:
        """How far the option is ahead of the next one."""
        first, second, *_ = sorted(self.scores.values(), reverse=True)
        return first - second


def advise(situation: Mapping[str, int], weights: Mapping[str, float] | None = None) -> Advice:
    """What the rules say of a situation.

    Args:
        situation: the level of each factor; its default where none is given.
        weights: by id of the rule; its own where none is given.

    Raises:
        InputError: a factor or a rule that does not exist, a level beyond its factor, a weight below 0.
    """
    levels = _levels(situation)
    moved = _weights(weights or {})
    spoken = _speak(levels, moved)
    scores = _scores(spoken)
    option = _best(scores)
    changes = [
        (abs(factor.share(level) - factor.share(levels[name])), Change(name, level, other))
        for name, factor in FACTORS.items()
        for level in range(factor.levels)
        if (other := _best(_scores(_speak({**levels, name: level}, moved)))) != option
    ]
    smallest = min(changes, key=lambda pair: pair[0])[1] if changes else None
    return Advice(option, scores, tuple(sorted(spoken, key=lambda one: -one.contribution)), smallest)


def _levels(situation: Mapping[str, int]) -> dict[str, int]:
    if unknown := sorted(set(situation) - set(FACTORS)):
        raise InputError(f"There is no factor {', '.join(unknown)}; the factors are {', '.join(FACTORS)}.")
    for name, level in situation.items():
        if level not in range(FACTORS[name].levels):
            raise InputError(f"{name} has the levels 0 to {FACTORS[name].levels - 1}, and {level} is none of them.")
    return {name: situation.get(name, factor.default) for name, factor in FACTORS.items()}


def _weights(weights: Mapping[str, float]) -> dict[str, float]:
    own = {rule.id: rule.weight for rule in RULES}
    if unknown := sorted(set(weights) - set(own)):
        raise InputError(f"There is no rule {', '.join(unknown)}; the rules are {', '.join(own)}.")
    if wrong := [name for name, weight in weights.items() if not 0 <= weight < math.inf]:
        raise InputError(f"The weight of {', '.join(wrong)} must be 0 or more.")
    return {**own, **weights}


def _speak(levels: Mapping[str, int], weights: Mapping[str, float]) -> list[Spoken]:
    shares = {name: factor.share(levels[name]) for name, factor in FACTORS.items()}
    found = []
    for rule in RULES:
        applies = min([*(shares[name] for name in rule.high), *(1 - shares[name] for name in rule.low)], default=1.0)
        found.append(Spoken(rule, applies, applies * weights[rule.id]))
    return found


def _scores(spoken: Iterable[Spoken]) -> dict[Option, float]:
    scores: dict[Option, float] = dict.fromkeys(OPTIONS, 0.0)
    for one in spoken:
        scores[one.rule.speaks_for] += one.contribution
    return scores


def _best(scores: Mapping[Option, float]) -> Option:
    return max(OPTIONS, key=lambda option: round(scores[option], 9))


# ---- what it costs

SECONDS_OF_A_MONTH = 30.4 * 24 * 3600
# what CostModel.measured reads from data/results and from the training of the knowledge adapter
MEASURED = (
    "corpus_tokens",
    "changed_share",
    "index_tokens_per_second",
    "parameters",
    "flops",
    "utilisation",
    "training_utilisation",
    "prompt_tokens",
    "prompt_tokens_with_passages",
    "answer_tokens",
    "training_tokens",
    "tuned_share",
)
SHARES = ("changed_share", "utilisation", "training_utilisation", "tuned_share")
DIVISORS = ("index_tokens_per_second", "flops", "utilisation", "training_utilisation", "months")


@dataclass(frozen=True)
class CostModel:
    """All that decides what RAG, fine-tuning and both cost; any of it can be changed with ``dataclasses.replace``.

    A forward pass takes 2 operations a weight and token. Training takes 4 where layers are tuned and 2 where they are
    frozen (``tuning.arithmetic`` counts the same layer by layer). Compute is paid by the hour that it is used.

    Attributes:
        corpus_tokens: of all documents; ``changed_share`` of them is embedded again with each update.
        parameters: of the language model.
        flops: operations a second that the machine can do; ``utilisation`` is the share of them that answering makes
            use of, ``training_utilisation`` that training does.
        prompt_tokens: closed book; ``prompt_tokens_with_passages`` with those that were retrieved.
        training_tokens: of one training, all epochs; ``tuned_share`` of the layers have adapters.
        queries, updates: a month. With each update, facts in the weights are trained anew.
        hour_price: of the machine, in any currency; ``person_price`` of an hour of a person in the same.
        setup_hours: of a person, to build retrieval; ``labelling_hours`` to write the examples to train on;
            ``retraining_hours`` to look after each retraining.
        months: over which what is paid once is spread.
        origin: the measured inputs, by which what leaves them is known.
    """

    corpus_tokens: float
    changed_share: float
    index_tokens_per_second: float
    parameters: float
    flops: float
    utilisation: float
    training_utilisation: float
    prompt_tokens: float
    prompt_tokens_with_passages: float
    answer_tokens: float
    training_tokens: float
    tuned_share: float
    queries: float = 10_000
    updates: float = 4
    hour_price: float = 0.1
    person_price: float = 60
    setup_hours: float = 40
    labelling_hours: float = 80
    retraining_hours: float = 2
    months: float = 12
    origin: Mapping[str, float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name, value in self.inputs().items():
            if not 0 <= value < math.inf or (name in DIVISORS and value == 0):
                raise InputError(f"{name} is {value}; it must be {'more than' if name in DIVISORS else 'at least'} 0.")
            if name in SHARES and value > 1:
                raise InputError(f"{name} is {value}; a share is at most 1.")

    @classmethod
    def measured(cls, adapter: Path = KNOWLEDGE) -> CostModel:
        """As it was measured with the workshop's model on its documents; the other inputs have round values.

        Args:
            adapter: the folder of the one whose training is counted.

        Raises:
            FileNotFoundError: a study has not been run, or the adapter has not been trained.
        """
        train, reading, facts, index = (_stored(name) for name in ("train", "reading", "facts", "index"))
        fresh, recipes = _stored("freshness"), _stored("recipes")
        report = json.loads((adapter / REPORT).read_text("utf-8"))
        layers = Shape.of(json.loads((store.llm_dir() / "config.json").read_text("utf-8"))).layers
        prompt = next(row["tokens"] for row in reading["k"] if row["k"] == READER_K)
        answer = fmean(count_words(row["after"]) + 1 for row in fresh["changes"])
        seconds = reading["latency"]["rows"][str(READER_K)]["generation"]["p50"]
        flops, parameters = train["gemm_gflops"] * 1e9, recipes["model_parameters"]
        found = {
            "corpus_tokens": index["tokens"],
            "changed_share": fmean(row["embedded"] for row in fresh["stream"][1:]) / index["chunks"],
            "index_tokens_per_second": index["chunks_per_second"] * index["tokens"] / index["chunks"],
            "parameters": parameters,
            "flops": flops,
            "utilisation": 2 * parameters * (prompt + answer) / seconds / flops,
            "training_utilisation": train["gemm_share"],
            "prompt_tokens": facts["arms"]["both"]["prompt_tokens"]["value"],
            "prompt_tokens_with_passages": prompt,
            "answer_tokens": answer,
            "training_tokens": report["tokens"],
            "tuned_share": min(report["settings"]["upper_layers"] or layers, layers) / layers,
        }
        return cls(**found, origin=found)

    def inputs(self) -> dict[str, float]:
        """All inputs by name."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "origin"}

    def answer_seconds(self, option: Option) -> float:
        """Of the machine, for one query."""
        prompt = self.prompt_tokens if option == "fine-tuning" else self.prompt_tokens_with_passages
        return 2 * self.parameters * (prompt + self.answer_tokens) / (self.flops * self.utilisation)

    @property
    def training_seconds(self) -> float:
        """Of the machine, for one training."""
        operations = (4 * self.tuned_share + 2 * (1 - self.tuned_share)) * self.parameters * self.training_tokens
        return operations / (self.flops * self.training_utilisation)

    @property
    def index_seconds(self) -> float:
        """Of the machine, to embed all documents."""
        return self.corpus_tokens / self.index_tokens_per_second


@dataclass(frozen=True)
class Cost:
    """What an option costs, in the currency of the prices.

    Attributes:
        once: before the first query; ``per_query`` and ``per_update``.
        per_month: queries, updates, and the share of ``once`` that falls on a month.
        seconds_per_query: of the machine.
        extrapolated: the inputs that are not as they were measured; ``queries`` when there are more than one machine
            can answer in a month.
    """

    once: float
    per_query: float
    per_update: float
    per_month: float
    seconds_per_query: float
    extrapolated: tuple[str, ...]


def costs(model: CostModel) -> dict[Option, Cost]:
    """The cost of each option; with both, the facts come from retrieval, so an update needs no training."""
    second = model.hour_price / 3600
    index, training = model.index_seconds * second, model.training_seconds * second
    retrieval = index + model.setup_hours * model.person_price
    tuning = training + model.labelling_hours * model.person_price
    reindexing = index * model.changed_share
    parts: dict[Option, tuple[float, float]] = {
        "rag": (retrieval, reindexing),
        "fine-tuning": (tuning, training + model.retraining_hours * model.person_price),
        "both": (retrieval + tuning, reindexing),
    }
    moved = tuple(name for name in MEASURED if getattr(model, name) != model.origin.get(name))
    found: dict[Option, Cost] = {}
    for option, (once, update) in parts.items():
        seconds = model.answer_seconds(option)
        beyond = ("queries",) if model.queries * seconds > SECONDS_OF_A_MONTH else ()
        month = once / model.months + model.updates * update + model.queries * seconds * second
        found[option] = Cost(once, seconds * second, update, month, seconds, (*moved, *beyond))
    return found


def break_even(model: CostModel, first: Option = "rag", second: Option = "fine-tuning") -> float | None:
    """Queries a month from which the option that is cheaper by the query is cheaper in all; None if it always is.

    None too when neither is cheaper by the query: then the same option is cheaper whatever the number.
    """
    found = costs(replace(model, queries=0))
    fixed = found[second].per_month - found[first].per_month
    by_query = found[first].per_query - found[second].per_query
    return fixed / by_query if by_query and fixed / by_query > 0 else None


def curve(model: CostModel, queries: Sequence[float]) -> list[dict[str, Any]]:
    """The cost of a month by queries, for a plot: each option's, and what is extrapolated for at least one of them."""
    rows = []
    for number in queries:
        found = costs(replace(model, queries=number))
        row: dict[str, Any] = {option: cost.per_month for option, cost in found.items()}
        beyond = dict.fromkeys(name for cost in found.values() for name in cost.extrapolated)
        rows.append({"queries": number, **row, "extrapolated": [*beyond]})
    return rows


def _stored(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data_dir() / "results" / f"{name}.json").read_text("utf-8"))
    return found
