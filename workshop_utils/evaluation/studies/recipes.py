"""What a recipe of fine-tuning learns and what it forgets: rank, targets, layers, rate, and all weights beside LoRA.

Each is trained on the same tickets with everything else as in the reference, then scored on development tickets and on
what it should not have forgotten. The figures of lessons 05 and 07: ``workshop bench recipes --json
data/results/recipes.json``. Trainings and answers are kept in the cache: interrupted, the same command goes on.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.console import Console, Group
from rich.table import Table

from workshop_utils.corpus.general import load_general_choices, load_prose
from workshop_utils.evaluation.answering import kept_answers
from workshop_utils.evaluation.intervals import Estimate, bootstrap, paired_difference
from workshop_utils.evaluation.studies.figures import Figure, count, interval, share
from workshop_utils.evaluation.studies.runs import TOKENS_PER_BATCH, in_fresh_process, kept_run
from workshop_utils.evaluation.tasks import task_scores
from workshop_utils.models import device, load_llm, load_tokenizer, store
from workshop_utils.models.transformers_chat import WEIGHTS, ChatTransformers
from workshop_utils.tuning.arithmetic import Shape, training_flop
from workshop_utils.tuning.forgetting import CHAT, CHAT_TOKENS, ForgettingProbe, kept_probe
from workshop_utils.tuning.run import LossError
from workshop_utils.tuning.settings import ATTENTION, LINEAR, MLP, Settings
from workshop_utils.tuning.spectrum import Spectrum, stored_dtype, updates
from workshop_utils.tuning.supervised import Row
from workshop_utils.tuning.tasks import MAX_TOKENS, Item, task_items, task_prompt, task_rows

TRAIN, DEV, EPOCHS = 150, 60, 2
REFERENCE = "r8"
# in no series: all layers and a higher rate together, so that all weights have a rival with both
COMBINED = "layers30rate3e-3"
SEED = 0
# the smallest differences that matter, fixed before the runs
FIELDS_MATTER = 0.05
KNOWLEDGE_MATTERS = 0.05
PERPLEXITY_MATTERS = 1.10
TAKEOVER_MATTERS = 0.25
COST_MATTERS = 1.5
SMALL_SHARE = 0.02
# an hour of waiting is what a learner has not
LONG_HERE, LONG_ELSEWHERE = 600.0, 24 * 3600.0
RANKS_SHOWN = (1, 4, 8, 16, 64)
SPECTRUM_LAYERS, SPECTRUM_MODULES = (5, 15, 25), ("q_proj", "v_proj", "down_proj")
# an extrapolation, marked as such: bfloat16 peak of an A100 by its data sheet, of which training reaches some 40%
SEVEN_B, GPU, GPU_FLOP = 7_000_000_000, "A100 at 40% of its 312 TFLOP/s in bfloat16", 0.4 * 312e12
SEVEN_B_TICKETS = 2000


@dataclass(frozen=True)
class Recipe:
    """One configuration, and the series of configurations that it belongs to."""

    label: str
    settings: Settings
    sweeps: tuple[str, ...] = ()
    full: bool = False


def _lora(label: str, *sweeps: str, **changed: Any) -> Recipe:
    return Recipe(label, Settings(**{"epochs": EPOCHS, "seed": SEED, **changed}), sweeps)


def _full(rate: str) -> Recipe:
    settings = Settings(upper_layers=None, learning_rate=float(rate), epochs=EPOCHS, seed=SEED)
    return Recipe(f"all weights, rate {rate}", settings, ("full",), full=True)


# ranks of the targets are those that give about as many parameters as the reference has; the first are the most
# important, should time be short
RECIPES = {
    REFERENCE: _lora("LoRA, rank 8", "rank", "targets", "layers", "rate"),
    "full5e-5": _full("5e-5"),
    "r1": _lora("LoRA, rank 1", "rank", rank=1),
    "rate3e-3": _lora("LoRA, rate 3e-3", "rate", learning_rate=3e-3),
    "layers30": _lora("LoRA, all 30 layers", "layers", upper_layers=30),
    "full2e-4": _full("2e-4"),
    "rate1e-2": _lora("LoRA, rate 1e-2", "rate", learning_rate=1e-2),
    "r64": _lora("LoRA, rank 64", "rank", rank=64),
    "qv": _lora("LoRA on q and v, rank 42", "targets", targets=("q_proj", "v_proj"), rank=42),
    "mlp": _lora("LoRA on the MLP, rank 13", "targets", targets=MLP, rank=13),
    "layers5": _lora("LoRA, upper 5 layers", "layers", upper_layers=5),
    "full8e-4": _full("8e-4"),
    "rate3e-4": _lora("LoRA, rate 3e-4", "rate", learning_rate=3e-4),
    "attention": _lora("LoRA on attention, rank 21", "targets", targets=ATTENTION, rank=21),
    COMBINED: _lora("LoRA, all 30 layers, rate 3e-3", upper_layers=30, learning_rate=3e-3),
}
SWEEPS = {
    "rank": ("r1", REFERENCE, "r64"),
    "targets": ("qv", "attention", "mlp", REFERENCE),
    "layers": ("layers5", REFERENCE, "layers30"),
    "rate": ("rate3e-4", REFERENCE, "rate3e-3", "rate1e-2"),
    "full": ("full5e-5", "full2e-4", "full8e-4"),
}


@dataclass(frozen=True)
class Outcome:
    """What one model does: scores by development ticket, and the probes."""

    scores: Sequence[dict[str, float]]
    probe: ForgettingProbe
    scenarios: Sequence[str]

    def of(self, score: str) -> list[float]:
        """One score, by ticket."""
        return [row[score] for row in self.scores]

    def figures(self) -> dict[str, Figure]:
        """The scores, each with its interval; tickets of one scenario are drawn together."""
        return {
            "record": share(self.of("all_fields"), self.scenarios),
            "fields": share(self.of("fields"), self.scenarios),
            "valid": share(self.of("valid_json"), self.scenarios),
            "knowledge": count(self.probe.correct),
            "perplexity": _perplexity(bootstrap(self.probe.logprob_per_token)),
            "takeover": count(self.probe.taken_over),
        }

    def changes(self, before: Outcome) -> dict[str, Any]:
        """What it forgot, beside the untouched model, question by question."""
        knowledge = paired_difference(self.probe.correct, before.probe.correct)
        prose = paired_difference(self.probe.logprob_per_token, before.probe.logprob_per_token)
        ratio = _perplexity(prose)
        new = self.probe.takeover - before.probe.takeover
        lost = {
            "knowledge": knowledge.value <= -KNOWLEDGE_MATTERS and knowledge.high < 0,
            "prose": ratio["value"] >= PERPLEXITY_MATTERS and ratio["low"] > 1,
            "chat": new >= TAKEOVER_MATTERS,
        }
        return {
            "knowledge_change": knowledge.as_dict(),
            "perplexity_ratio": ratio,
            "forgets": any(lost.values()),
            "forgot": [name for name, is_lost in lost.items() if is_lost],
        }


def study(console: Console, most: int | None = None) -> dict[str, Any]:
    """Train, score and probe every recipe; with ``most`` only the first so many, to try it out."""
    names = list(RECIPES)[:most]
    tokenizer = load_tokenizer()
    rows = task_rows(tokenizer, "triage", "train", TRAIN, SEED)
    dev = task_rows(tokenizer, "triage", "dev", DEV, SEED)
    trained, diverged = train(names, rows, dev, console)
    items = task_items("triage", "dev", DEV, SEED)
    before = measure(None, items)
    outcomes, runs = {}, {}
    for name, (folder, report) in trained.items():
        outcome = outcomes[name] = measure(folder, items, full=RECIPES[name].full)
        runs[name] = describe(name, folder, report) | outcome.figures() | outcome.changes(before)
        runs[name]["learns"] = runs[name]["fields"]["value"]
        console.print(
            f"{RECIPES[name].label}: fields {interval(runs[name]['fields'])}, "
            f"perplexity times {runs[name]['perplexity_ratio']['value']:.2f}"
        )
    best = {
        method: min(own, key=lambda name: runs[name]["dev_loss"])
        for method, most in (("lora", SMALL_SHARE), ("full", 1.0))
        if (own := [name for name, run in runs.items() if run["method"] == method and run["trainable_share"] <= most])
    }
    shape = model_shape()
    result = {
        "n_train": TRAIN,
        "n_dev": DEV,
        "epochs": EPOCHS,
        "split": "dev",
        "seed": SEED,
        "dtype": device.choose().dtype,
        "inputs": inputs_hash(),
        "model_parameters": shape.parameters,
        "base": before.figures(),
        "runs": runs,
        "diverged": diverged,
        "sweeps": {sweep: [name for name in own if name in runs] for sweep, own in SWEEPS.items()},
        "frontier": frontier(runs),
        "best": best,
        "chat": _chats(before, outcomes, best),
    }
    if "full" in best:
        every = task_items("triage", "dev", None, SEED)
        pair = {name: measure(trained[name][0], every, full=RECIPES[name].full) for name in best.values()}
        result["full_beside_lora"] = beside(runs, pair, best)
        result["spectrum"] = spectrum(best["full"], trained[best["full"]][0])
        result["cost"] = cost(shape, runs, trained, best, rows)
        result["verdicts"] = verdicts(result)
    return result


def train(
    names: Sequence[str], rows: Sequence[Row], dev: Sequence[Row], console: Console
) -> tuple[dict[str, tuple[Path, dict[str, Any]]], list[str]]:
    """Each in a process of its own, for seconds and memory to be compared; and the names of those that diverged."""
    trained, diverged = {}, []
    for name in names:
        recipe = RECIPES[name]
        try:
            trained[name] = in_fresh_process(partial(kept_run, rows, recipe.settings, dev=dev, full=recipe.full))
        except LossError:
            diverged.append(name)
            console.print(f"{recipe.label}: diverged")
            continue
        report = trained[name][1]
        console.print(f"{recipe.label}: {report['seconds']:.0f} s, development loss {report['dev_loss'][-1][1]:.3f}")
    return trained, diverged


def measure(folder: Path | None, items: Sequence[Item], *, full: bool = False) -> Outcome:
    """Answers to the tickets and the probes, of an adapter, of a whole model, or of the untouched one."""
    llm = cast(
        ChatTransformers,
        load_llm(
            str(folder) if full else None,
            backend="transformers",
            adapter=None if full else folder,
            max_tokens=MAX_TOKENS["triage"],
        ),
    )
    llm = llm.model_copy(update={"tokens_per_batch": TOKENS_PER_BATCH})
    answers = kept_answers(llm, [task_prompt("triage", item.text) for item in items], "tickets")
    probed = kept_probe(llm)
    del llm
    gc.collect()
    return Outcome(task_scores("triage", answers, items), probed, [item.scenario for item in items])


def describe(name: str, folder: Path, report: dict[str, Any]) -> dict[str, Any]:
    """What a recipe is and what it cost.

    ``seconds`` are those of training, development losses not counted. ``bytes`` is what one would ship: an adapter's
    file as it is, a whole model in bfloat16.
    """
    recipe = RECIPES[name]
    chosen = recipe.settings
    targets = {LINEAR: "all", MLP: "mlp", ATTENTION: "attention"}.get(chosen.targets, "q+v")
    shape = model_shape()
    return {
        "label": recipe.label,
        "method": "full" if recipe.full else "lora",
        "rank": None if recipe.full else chosen.rank,
        "targets": None if recipe.full else targets,
        "layers": chosen.upper_layers or shape.layers,
        "rate": chosen.learning_rate,
        "trainable": report["parameters"],
        "trainable_share": report["parameters"] / shape.parameters,
        "bytes": 2 * report["parameters"] if recipe.full else (folder / WEIGHTS).stat().st_size,
        "seconds": round(report["tokens"] / report["tokens_per_second"], 1),
        "tokens": report["tokens"],
        "tokens_per_second": report["tokens_per_second"],
        "peak_mb": report["peak_mb"],
        "loss": report["loss"],
        "dev_losses": report["dev_loss"],
        "dev_loss": report["dev_loss"][-1][1],
    }


def model_shape() -> Shape:
    """Of the workshop's model."""
    return Shape.of(json.loads((store.llm_dir() / "config.json").read_text("utf-8")))


def frontier(runs: dict[str, dict[str, Any]]) -> list[str]:
    """The recipes than which no other learns more and forgets less, from the least learnt to the most (Pareto)."""
    points = {name: (run["fields"]["value"], run["perplexity_ratio"]["value"]) for name, run in runs.items()}
    kept = [
        name
        for name, (learnt, forgot) in points.items()
        if not any(other[0] >= learnt and other[1] <= forgot and other != (learnt, forgot) for other in points.values())
    ]
    return sorted(kept, key=lambda name: points[name])


def beside(runs: dict[str, Any], outcomes: dict[str, Outcome], best: dict[str, str]) -> dict[str, Any]:
    """All weights beside LoRA: costs of the best full run over the reference's, quality of the best of both.

    The best of LoRA is one of those that train at most ``SMALL_SHARE`` of the weights.
    Both were chosen by the loss on some of the development tickets, and are compared on all of them.
    """
    full, lora, reference = runs[best["full"]], runs[best["lora"]], runs[REFERENCE]
    first, second = outcomes[best["full"]], outcomes[best["lora"]]
    memory = full["peak_mb"] and reference["peak_mb"] and full["peak_mb"] / reference["peak_mb"]
    return {
        "seconds_ratio": full["seconds"] / reference["seconds"],
        "seconds_ratio_all_layers": full["seconds"] / runs["layers30"]["seconds"] if "layers30" in runs else None,
        "memory_ratio": memory,
        "bytes_ratio": full["bytes"] / reference["bytes"],
        "trainable_ratio": full["trainable"] / reference["trainable"],
        "dev_loss": {"full": full["dev_loss"], "lora": lora["dev_loss"]},
        "fields": {name: share(outcomes[best[name]].of("fields"), first.scenarios) for name in ("full", "lora")},
        "fields_difference": paired_difference(first.of("fields"), second.of("fields"), first.scenarios).as_dict(),
        "prose_difference": paired_difference(second.probe.logprob_per_token, first.probe.logprob_per_token).as_dict(),
        "knowledge_difference": paired_difference(second.probe.correct, first.probe.correct).as_dict(),
    }


def spectrum(name: str, folder: Path) -> dict[str, Any]:
    """Singular values of what full fine-tuning added to some matrices, beside those of a matrix of random numbers."""
    rng = np.random.default_rng(SEED)
    matrices: list[dict[str, Any]] = []
    for update in updates(store.llm_dir(), folder, SPECTRUM_LAYERS, SPECTRUM_MODULES):
        found, chance = Spectrum.of(update.delta), Spectrum.of(rng.normal(size=update.delta.shape))
        matrices.append(
            {
                "name": f"layers.{update.layer}.{update.module}",
                "layer": update.layer,
                "module": update.module,
                "shape": list(update.delta.shape),
                "size": update.size,
                "values": [round(value / found.values[0], 5) for value in found.values[: RANKS_SHOWN[-1]]],
                "energy": {str(rank): found.energy(rank) for rank in RANKS_SHOWN},
                "random_energy": {str(rank): chance.energy(rank) for rank in RANKS_SHOWN},
            }
        )
    return {
        "of": name,
        "stored": stored_dtype(folder),
        "matrices": matrices,
        "mean_energy": {
            str(rank): float(np.mean([matrix["energy"][str(rank)] for matrix in matrices])) for rank in RANKS_SHOWN
        },
        "mean_random_energy": {
            str(rank): float(np.mean([matrix["random_energy"][str(rank)] for matrix in matrices]))
            for rank in RANKS_SHOWN
        },
    }


def cost(
    shape: Shape,
    runs: dict[str, Any],
    trained: dict[str, tuple[Path, dict[str, Any]]],
    best: dict[str, str],
    rows: Sequence[Row],
) -> dict[str, Any]:
    """What was measured here, and by formula what a model of seven billion weights would take on 2,000 tickets.

    Required FLOPs a token: 6 a weight for full fine-tuning (2 forward, 4 backward; Kaplan et al., 2020,
    arXiv:2001.08361), 4 a weight for LoRA, which needs no gradients of the frozen weights. Memory: 16 bytes a weight
    (Rajbhandari et al., 2020, arXiv:1910.02054) and 2, each without activations and adapter.
    """
    tokens = round(SEVEN_B_TICKETS * sum(len(row["input_ids"]) for row in rows) / len(rows))
    found: dict[str, Any] = {"n7": SEVEN_B, "tokens": tokens, "tickets": SEVEN_B_TICKETS, "gpu": GPU}
    found |= {"gpu_flops_per_second": GPU_FLOP, "extrapolated": True}
    for method, name, a_weight, memory in (("lora", REFERENCE, 4, 2), ("full", best["full"], 6, 16)):
        report = trained[name][1]
        done = training_flop(
            shape,
            tokens=report["tokens"],
            learnt_tokens=report["learnt_tokens"],
            upper_layers=RECIPES[name].settings.upper_layers,
            full=method == "full",
            # what the frozen layers give is computed once for all epochs
            frozen_passes=report["tokens"] / EPOCHS,
        )
        rate = done / runs[name]["seconds"]
        needed = a_weight * SEVEN_B * tokens
        found[method] = {
            "here_seconds": runs[name]["seconds"],
            "here_tickets_seconds": runs[name]["seconds"] * tokens / report["tokens"],
            "flops_per_second_here": rate,
            "seven_b_flops": float(needed),
            "seven_b_hours_here": needed / rate / 3600,
            "seven_b_minutes_gpu": needed / GPU_FLOP / 60,
            "seven_b_memory_gb": memory * SEVEN_B / 1e9,
        }
    return found


def verdicts(result: dict[str, Any]) -> dict[str, dict[str, str]]:
    """By rules that were written before the runs."""
    pair, runs, costs = result["full_beside_lora"], result["runs"], result["cost"]
    gain = pair["fields_difference"]
    reference = runs[REFERENCE]
    slow, heavy = pair["seconds_ratio"] >= COST_MATTERS, (pair["memory_ratio"] or 0) >= COST_MATTERS
    found = {
        "FM1": _verdict(
            "holds" if slow and heavy else "holds only when" if slow or heavy else "does not hold here",
            f"{COST_MATTERS} times the reference's seconds, and as much of its memory",
            f"{pair['seconds_ratio']:.1f} times the seconds, {pair['memory_ratio'] or math.nan:.1f} times the memory, "
            f"{pair['bytes_ratio']:.0f} times the file; fields {gain['value']:+.2f}",
        )
    }
    small = reference["trainable_share"] <= SMALL_SHARE
    if small and gain["high"] < FIELDS_MATTER:
        efficient = "holds"
    elif not small or (gain["low"] > 0 and gain["value"] >= FIELDS_MATTER):
        efficient = "does not hold here"
    else:
        efficient = "not decidable here"
    found["FM2"] = _verdict(
        efficient,
        f"at most {SMALL_SHARE:.0%} of the weights, and all weights are better by less than {FIELDS_MATTER} in fields",
        f"{reference['trainable_share']:.2%} of the weights; all weights minus LoRA {interval(gain)} in fields",
    )
    own, large = costs["lora"]["here_tickets_seconds"], 3600 * costs["lora"]["seven_b_hours_here"]
    found["F-1"] = _verdict(
        "holds" if own > LONG_HERE else "holds only when" if large > LONG_ELSEWHERE else "does not hold here",
        f"{LONG_HERE / 60:.0f} minutes for {SEVEN_B_TICKETS} tickets here; a day for 7 billion weights, by formula",
        f"{own / 60:.0f} minutes here; 7 billion weights: {large / 3600:.0f} hours here, "
        f"{costs['lora']['seven_b_minutes_gpu']:.1f} minutes on a GPU (extrapolated)",
    )
    forgetful = [name for name, run in runs.items() if run["forgets"]]
    found["F-4"] = _verdict(
        "holds" if reference["forgets"] else "holds only when" if forgetful else "does not hold here",
        f"{KNOWLEDGE_MATTERS} of the general questions, perplexity of prose times {PERPLEXITY_MATTERS}, or "
        f"{TAKEOVER_MATTERS} of ordinary instructions answered as tickets",
        "; ".join(f"{runs[name]['label']}: {', '.join(runs[name]['forgot'])}" for name in forgetful)
        or "no recipe forgot so much",
    )
    return found


def inputs_hash() -> str:
    """SHA-256 of all in the repository that the figures depend on: when it changes, they are out of date."""
    data = (task_items("triage", "train", TRAIN, SEED), task_items("triage", "dev", DEV, SEED))
    probes = (load_general_choices(), load_prose(), CHAT, CHAT_TOKENS)
    prompt = [message.content for message in task_prompt("triage", "text")]
    spectra = (SPECTRUM_LAYERS, SPECTRUM_MODULES, RANKS_SHOWN)
    inputs = (RECIPES, SEED, MAX_TOKENS["triage"], prompt, data, probes, spectra)
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


def table(result: dict[str, Any]) -> Group:
    """The study for the terminal."""
    grid = Table("recipe", "trained", "s", "tok/s", "MB", "dev loss", "fields", "record", "knowledge", "perplexity x")
    for name, run in result["runs"].items():
        mark = " *" if name in result["frontier"] else ""
        grid.add_row(
            run["label"] + mark,
            f"{run['trainable']:,}",
            f"{run['seconds']:.0f}",
            f"{run['tokens_per_second']:.0f}",
            f"{run['peak_mb'] or math.nan:.0f}",
            f"{run['dev_loss']:.3f}",
            interval(run["fields"]),
            interval(run["record"]),
            f"{run['knowledge']['value']:.2f} ({run['knowledge_change']['value']:+.2f})",
            interval(run["perplexity_ratio"]) + (" forgets" if run["forgets"] else ""),
        )
    decided = Table("claim", "verdict", "because")
    for claim, row in result.get("verdicts", {}).items():
        decided.add_row(claim, row["verdict"], row["because"])
    return Group(grid, decided)


def _perplexity(logprob: Estimate) -> Figure:
    """exp(-x) of a mean log-probability, or of a difference of two, with its interval turned over."""
    return {
        "value": math.exp(-logprob.value),
        "low": math.exp(-logprob.high),
        "high": math.exp(-logprob.low),
        "n": logprob.n,
    }


def _verdict(verdict: str, smallest: str, because: str) -> dict[str, str]:
    return {"verdict": verdict, "smallest": smallest, "because": because}


def _chats(before: Outcome, outcomes: dict[str, Outcome], best: dict[str, str]) -> dict[str, list[list[str]]]:
    """The answers to ordinary instructions, to look at: of the untouched model, the reference and the extremes."""
    chosen = {"base": before} | {
        name: outcomes[name] for name in (REFERENCE, "rate1e-2", "full2e-4", *best.values()) if name in outcomes
    }
    return {
        name: [[asked, said] for asked, said in zip(CHAT, outcome.probe.answers, strict=True)]
        for name, outcome in chosen.items()
    }
