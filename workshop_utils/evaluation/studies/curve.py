"""How many examples does a task need, and how clean? Triage learnt from 25 to 2,000 tickets, on the development split.

The figures of lesson 06 on claim F-2: ``workshop bench curve --json data/results/curve.json``, after ``workshop train
triage`` and ``workshop bench tasks``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Table

from workshop_utils.corpus import data_dir
from workshop_utils.evaluation.answering import kept_answers, weights_hash
from workshop_utils.evaluation.intervals import paired_difference
from workshop_utils.evaluation.studies.figures import share, words
from workshop_utils.evaluation.studies.runs import TOKENS_PER_BATCH, kept_run
from workshop_utils.evaluation.studies.tasks import ASKED, MARGIN
from workshop_utils.evaluation.tasks import Scores, task_scores
from workshop_utils.models import device, load_llm
from workshop_utils.models.adapters import ADAPTERS
from workshop_utils.models.transformers_chat import ChatTransformers, check_adapter
from workshop_utils.tuning.run import REPORT
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.tasks import DEV_EXAMPLES, MAX_TOKENS, SETTINGS, task_items, task_prompt, task_rows

CLEAN = (25, 50, 100, 250, 500, 1000, 2000)
NOISY = (25, 100, 500, 1000)
# few examples are seen more often: as many epochs as give so many steps, up to a limit
FEWEST_STEPS = 120
MOST_EPOCHS = 12
# "thousands of examples": does the step from here to all still matter?
HUNDREDS = 500
SCORE = "all_fields"
SHOWN = ("valid_json", "extraction", "triage", "fields", "all_fields")
RULE = (
    f"F-2 has two parts. Thousands: from {HUNDREDS} to {CLEAN[-1]} examples, tickets that are wholly right rise by "
    f"{MARGIN} or more with an interval above 0 (it does not hold where the interval ends below {MARGIN}). Quality: "
    f"with a fifth of the labels of {NOISY[-1]} examples wrong, they fall by as much."
)


def study(console: Console) -> dict[str, Any]:
    """Scores and development loss by number of examples, clean and with a fifth of the labels wrong."""
    llm = cast(ChatTransformers, load_llm(backend="transformers", adapter=None, max_tokens=MAX_TOKENS["triage"]))
    llm = llm.model_copy(update={"tokens_per_batch": TOKENS_PER_BATCH})
    items = task_items("triage", "dev", ASKED["triage"])
    scenarios = [item.scenario for item in items]
    prompts = [task_prompt("triage", item.text) for item in items]
    rows: dict[str, list[dict[str, Any]]] = {"clean": [], "noisy": []}
    scores: dict[tuple[str, int], list[Scores]] = {}
    for labels, sizes in (("clean", CLEAN), ("noisy", NOISY)):
        for n in sizes:
            settings = settings_for(n)
            folder, report = train(llm, n, settings, wrong_labels=labels == "noisy")
            answers = kept_answers(llm.with_adapter(folder), prompts, f"{n} examples, {labels}")
            found = scores[labels, n] = task_scores("triage", answers, items)
            rows[labels].append(
                {
                    "n": n,
                    "epochs": settings.epochs,
                    "steps": report["steps"],
                    "minutes": report["seconds"] / 60,
                    "dev_loss": report["dev_loss"][-1][1],
                    "scores": {name: share([row[name] for row in found], scenarios) for name in SHOWN},
                }
            )
            console.print(f"{n} examples, {labels}: {SCORE} {words(rows[labels][-1]['scores'][SCORE])}")
    arms = json.loads((data_dir() / "results" / "tasks.json").read_text("utf-8"))["tasks"]["triage"]

    def minus(one: tuple[str, int], other: tuple[str, int]) -> dict[str, float]:
        first, second = ([row[SCORE] for row in scores[key]] for key in (one, other))
        return paired_difference(first, second, scenarios).as_dict()

    last = CLEAN[-1]
    result = {
        "split": "dev",
        "n": len(items),
        "score": SCORE,
        "dtype": device.choose().dtype,
        "inputs": inputs_hash(),
        "rule": RULE,
        **rows,
        "zero_shot": {name: arms["arms"]["base"][name] for name in SHOWN},
        "few_shot": {name: arms["arms"][arms["rival"]][name] for name in SHOWN},
        "more": {str(n): minus(("clean", last), ("clean", n)) for n in CLEAN[:-1]},
        "noise": {str(n): minus(("clean", n), ("noisy", n)) for n in NOISY},
    }
    return {**result, "plateau": plateau(result), "beats_few_shot": beats(result), "verdicts": verdicts(result)}


def settings_for(n: int) -> Settings:
    """The triage adapter's settings, with as many epochs as give ``FEWEST_STEPS`` steps, at most ``MOST_EPOCHS``."""
    settings = SETTINGS["triage"]
    steps = -(-n // settings.batch_size)
    return replace(settings, epochs=min(MOST_EPOCHS, -(-FEWEST_STEPS // steps)))


def train(llm: ChatTransformers, n: int, settings: Settings, *, wrong_labels: bool) -> tuple[Path, dict[str, Any]]:
    """The adapter learnt from the first n tickets, and its report; the workshop's own where it was made just so."""
    own = ADAPTERS / "triage"
    if not wrong_labels and n == len(task_items("triage", "train")) and settings == SETTINGS["triage"]:
        check_adapter(own)
        return own, json.loads((own / REPORT).read_text("utf-8"))
    tokenizer = llm.engine.tokenizer
    rows = task_rows(tokenizer, "triage", "train", n, wrong_labels=wrong_labels)
    return kept_run(rows, settings, dev=task_rows(tokenizer, "triage", "dev", DEV_EXAMPLES["triage"]))


def plateau(result: Mapping[str, Any]) -> int:
    """The fewest examples whose score is within ``MARGIN`` of that of all."""
    return next((int(n) for n, figure in result["more"].items() if figure["value"] < MARGIN), CLEAN[-1])


def beats(result: Mapping[str, Any]) -> int | None:
    """The fewest examples whose score is above that of the better way of prompting; None when none is."""
    rival = result["few_shot"][SCORE]["value"]
    return next((row["n"] for row in result["clean"] if row["scores"][SCORE]["value"] > rival), None)


def verdicts(result: Mapping[str, Any]) -> dict[str, str]:
    """F-2 and its two parts, by the rule that stands above."""
    parts = {"thousands": _matters(result["more"][str(HUNDREDS)]), "quality": _matters(result["noise"][str(NOISY[-1])])}
    found = set(parts.values())
    if len(found) == 1:
        whole = found.pop()
    elif "holds" in found:
        whole = f"holds only when it means {next(name for name, verdict in parts.items() if verdict == 'holds')}"
    else:
        whole = "not decidable here"
    return {"F-2": whole, **parts}


def _matters(figure: Mapping[str, float]) -> str:
    if figure["value"] >= MARGIN and figure["low"] > 0:
        return "holds"
    return "does not hold here" if figure["high"] < MARGIN else "not decidable here"


def inputs_hash() -> str:
    """SHA-256 of all in the repository that the figures depend on: when it changes, they are out of date."""
    parts: Sequence[Any] = (
        (CLEAN, NOISY, HUNDREDS, SCORE, MARGIN, [settings_for(n) for n in CLEAN], DEV_EXAMPLES["triage"]),
        task_items("triage", "train"),
        task_items("triage", "train", wrong_labels=True),
        task_items("triage", "dev", ASKED["triage"]),
        task_prompt("triage", ""),
        weights_hash(ADAPTERS / "triage"),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def table(result: dict[str, Any]) -> Table:
    """The study for the terminal."""
    grid = Table("labels", "examples", "epochs", "minutes", "dev loss", *SHOWN)
    for labels in ("clean", "noisy"):
        for row in result[labels]:
            head = (f"{row['n']}", f"{row['epochs']:g}", f"{row['minutes']:.1f}", f"{row['dev_loss']:.3f}")
            grid.add_row(labels, *head, *(words(row["scores"][name]) for name in SHOWN))
    for name in ("zero_shot", "few_shot"):
        grid.add_row(name, "", "", "", "", *(words(result[name][score]) for score in SHOWN))
    for claim, verdict in result["verdicts"].items():
        grid.add_row(claim, "", "", "", "", verdict)
    return grid
