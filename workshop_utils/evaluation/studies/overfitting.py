"""Learning a few tickets too long: where the development loss turns, what early stopping keeps, what the rest costs.

It takes few tickets and many epochs: in a first try with 60 tickets, 12 epochs and half this rate the loss did not
turn. The figures of lesson 07: ``workshop bench overfitting --json data/results/overfitting.json``. Where ``workshop
bench recipes`` has run before, the untouched model's answers are taken from the cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table

from workshop_utils.corpus.general import load_general_choices, load_prose
from workshop_utils.evaluation.intervals import paired_difference
from workshop_utils.evaluation.studies.figures import interval, share
from workshop_utils.evaluation.studies.recipes import Outcome, measure
from workshop_utils.evaluation.studies.runs import kept_run
from workshop_utils.models import device, load_tokenizer
from workshop_utils.tuning.forgetting import CHAT, CHAT_TOKENS
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.tasks import MAX_TOKENS, task_items, task_prompt, task_rows

TRAIN, DEV, DEV_LOSS = 25, 60, 40
SEED = 0
LONG = Settings(epochs=30, learning_rate=2e-3, seed=SEED)
PATIENCE = 3
# trained once to the end, once until early stopping ends it, once for a single epoch
RUNS = {"long": LONG, "stopped": replace(LONG, patience=PATIENCE), "one epoch": replace(LONG, epochs=1)}
# of the training tickets, how many are asked again
REMEMBERED = 25
# the smallest differences that matter, fixed before the runs
RISE_MATTERS = 0.05
FIELDS_MATTER = 0.05


def study(console: Console) -> dict[str, Any]:
    """Train for long, stop early, and for one epoch; score and probe each."""
    tokenizer = load_tokenizer()
    rows = task_rows(tokenizer, "triage", "train", TRAIN, SEED)
    dev = task_rows(tokenizer, "triage", "dev", DEV_LOSS, SEED)
    trained = {}
    for name, settings in RUNS.items():
        trained[name] = kept_run(rows, settings, dev=dev)
        console.print(f"{name}: {trained[name][1]['seconds']:.0f} s")
    report = trained["long"][1]
    a_batch = LONG.batch_size * LONG.accumulate
    steps = -(-len(rows) // a_batch)
    dev_loss = [[round(step / steps), loss] for step, loss in report["dev_loss"]]
    losses = [loss for _, loss in dev_loss]
    turn = losses.index(min(losses))
    choices = {str(patience): early_stopping(losses[1:], patience) for patience in (1, 2, 3)}

    items = task_items("triage", "dev", DEV, SEED)
    remembered = task_items("triage", "train", REMEMBERED, SEED)
    folders: dict[str, Path | None] = {"untouched": None} | {name: folder for name, (folder, _) in trained.items()}
    own = [loss for _, loss in trained["stopped"][1]["dev_loss"]]
    epochs = {"untouched": 0, "one epoch": 1, "stopped": own.index(min(own)), "long": int(LONG.epochs)}
    outcomes = {name: measure(folders[name], items) for name in epochs}
    points = []
    for name, epoch in epochs.items():
        outcome = outcomes[name]
        point: dict[str, Any] = {"name": name, "epoch": epoch} | outcome.figures()
        if name != "untouched":
            point |= outcome.changes(outcomes["untouched"])
        known = measure(folders[name], remembered)
        point["train_fields"] = share(known.of("fields"), known.scenarios)
        points.append(point)
        console.print(f"{name} (epoch {epoch}): fields {interval(point['fields'])}")
    result = {
        "n_train": TRAIN,
        "n_dev": DEV,
        "epochs": int(LONG.epochs),
        "rate": LONG.learning_rate,
        "rank": LONG.rank,
        "patience": PATIENCE,
        "split": "dev",
        "seed": SEED,
        "dtype": device.choose().dtype,
        "inputs": inputs_hash(),
        "seconds": {name: report["seconds"] for name, (_, report) in trained.items()},
        "loss": [[round(step / steps, 3), loss] for step, loss in report["loss"]],
        "dev_loss": dev_loss,
        "turn": turn,
        "rise": losses[-1] / min(losses) - 1,
        "early_stopping": choices,
        "points": points,
        "stopped_minus_long": _difference(outcomes["stopped"], outcomes["long"]),
    }
    result["verdict"] = {"overfitting": verdict(result)}
    return result


def early_stopping(losses: Sequence[float], patience: int) -> dict[str, int]:
    """When training stops, and which epoch is kept: after ``patience`` epochs none of which is better than the best.

    Args:
        losses: development loss after each epoch, the first first.

    Returns:
        ``stopped`` and ``kept``: epochs, counted from 1.

    Raises:
        ValueError: no losses, or a patience below 1.
    """
    if not losses or patience < 1:
        raise ValueError("Early stopping needs a loss and a patience of at least 1.")
    kept = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[kept]:
            kept = epoch
        if epoch - kept == patience:
            return {"stopped": epoch + 1, "kept": kept + 1}
    return {"stopped": len(losses), "kept": kept + 1}


def verdict(result: dict[str, Any]) -> dict[str, str]:
    """Does training too long hurt? By rules that were written before the run."""
    worse = result["stopped_minus_long"]
    turned = result["turn"] < result["epochs"] and result["rise"] >= RISE_MATTERS
    if not turned:
        decided = "does not hold here"
    elif worse["value"] >= FIELDS_MATTER and worse["low"] > 0:
        decided = "holds"
    elif worse["high"] < FIELDS_MATTER:
        decided = "holds only when"  # the loss is what counts, not the record
    else:
        decided = "not decidable here"
    return {
        "verdict": decided,
        "smallest": f"development loss {RISE_MATTERS:.0%} above its lowest, and {FIELDS_MATTER} fewer fields",
        "because": f"lowest after epoch {result['turn']} of {result['epochs']}, then {result['rise']:+.0%}; fields, "
        f"stopped early minus to the end: {interval(worse)}",
    }


def inputs_hash() -> str:
    """SHA-256 of all in the repository that the figures depend on: when it changes, they are out of date."""
    data = (task_items("triage", "train", TRAIN, SEED), task_items("triage", "dev", DEV, SEED))
    probes = (load_general_choices(), load_prose(), CHAT, CHAT_TOKENS)
    prompt = [message.content for message in task_prompt("triage", "text")]
    inputs = (RUNS, DEV_LOSS, REMEMBERED, SEED, MAX_TOKENS["triage"], prompt, data, probes)
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


def table(result: dict[str, Any]) -> Group:
    """The study for the terminal."""
    curve = Table("epoch", "development loss")
    for epoch, loss in result["dev_loss"]:
        curve.add_row(str(epoch), f"{loss:.3f}{' lowest' if epoch == result['turn'] else ''}")
    grid = Table("run", "epoch", "fields", "fields, training tickets", "knowledge", "perplexity")
    for point in result["points"]:
        grid.add_row(
            point["name"],
            str(point["epoch"]),
            interval(point["fields"]),
            interval(point["train_fields"]),
            f"{point['knowledge']['value']:.2f}",
            interval(point["perplexity"]),
        )
    decided = result["verdict"]["overfitting"]
    return Group(curve, grid, f"{decided['verdict']}: {decided['because']}")


def _difference(first: Outcome, second: Outcome) -> dict[str, float]:
    return paired_difference(first.of("fields"), second.of("fields"), first.scenarios).as_dict()
