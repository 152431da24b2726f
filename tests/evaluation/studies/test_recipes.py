"""The study of recipes: fair series, arithmetic by hand, a run with stand-ins, and that the stored one is new."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tests.tiny import save_llama
from workshop_utils.corpus import data_dir
from workshop_utils.corpus.general import load_general_choices, load_prose
from workshop_utils.evaluation.studies import recipes as subject
from workshop_utils.evaluation.studies.recipes import COMBINED, RECIPES, REFERENCE, SWEEPS, Outcome, frontier
from workshop_utils.models import load_tokenizer, store
from workshop_utils.tuning import forgetting
from workshop_utils.tuning.arithmetic import Shape, lora_parameters
from workshop_utils.tuning.forgetting import CHAT, ForgettingProbe
from workshop_utils.tuning.run import LossError
from workshop_utils.tuning.settings import LINEAR
from workshop_utils.tuning.spectrum import Update
from workshop_utils.tuning.tasks import task_items, task_rows

STORED = data_dir() / "results" / "recipes.json"
AGAIN = "run: workshop bench recipes --json data/results/recipes.json"
SHAPE = Shape(30, 576, 1536, 9, 3, 64, 49152, True)
CHANGED = {"rank": {"rank"}, "targets": {"targets", "rank"}, "layers": {"upper_layers"}, "rate": {"learning_rate"}}


def test_each_series_changes_one_thing_and_holds_every_recipe() -> None:
    assert {COMBINED}.union(*SWEEPS.values()) == set(RECIPES)
    reference = asdict(RECIPES[REFERENCE].settings)
    for sweep, names in SWEEPS.items():
        assert all(sweep in RECIPES[name].sweeps for name in names)
        if sweep == "full":
            assert all(RECIPES[name].full for name in names)
            continue
        for name in names:
            own = asdict(RECIPES[name].settings)
            assert {key for key in own if own[key] != reference[key]} <= CHANGED[sweep]
    both = asdict(RECIPES[COMBINED].settings)
    assert {key for key in both if both[key] != reference[key]} == {"upper_layers", "learning_rate"}
    rates = [RECIPES[name].settings.learning_rate for name in SWEEPS["rate"]]
    assert rates == sorted(rates)


def test_targets_are_compared_with_as_many_parameters() -> None:
    def parameters(name: str) -> int:
        settings = RECIPES[name].settings
        return lora_parameters(SHAPE, settings.rank, settings.targets, settings.upper_layers)

    for name in SWEEPS["targets"]:
        assert parameters(name) == pytest.approx(parameters(REFERENCE), rel=0.02)
        if name != REFERENCE:
            one_more = RECIPES[name].settings
            more = lora_parameters(SHAPE, one_more.rank + 1, one_more.targets, one_more.upper_layers)
            assert abs(more - parameters(REFERENCE)) > abs(parameters(name) - parameters(REFERENCE)) * 0.5


def test_the_frontier_is_what_no_other_beats() -> None:
    def run(fields: float, ratio: float) -> dict[str, Any]:
        return {"fields": {"value": fields}, "perplexity_ratio": {"value": ratio}}

    runs = {"a": run(0.5, 1.0), "b": run(0.9, 1.3), "c": run(0.8, 1.3), "d": run(0.7, 1.1), "e": run(0.4, 1.05)}
    assert frontier(runs) == ["a", "d", "b"]
    runs["f"] = run(0.9, 1.3)
    assert frontier(runs) == ["a", "d", "b", "f"]


def outcome(right: float, known: int, logprob: float, taken: int = 0, n: int = 200) -> Outcome:
    """``right`` of the tickets' fields, ``known`` of 100 questions, ``taken`` of the chats answered as tickets."""
    rng = np.random.default_rng(0)
    scores = [
        dict.fromkeys(("all_fields", "fields", "valid_json"), float(value)) for value in rng.permutation(n) < right * n
    ]
    answers = tuple('{"device"' if place < taken else "Hello." for place in range(len(CHAT)))
    prose = tuple(logprob + 0.1 * value for value in rng.normal(size=60))
    probe = ForgettingProbe(tuple(place < known for place in range(100)), prose, answers)
    return Outcome(scores, probe, [f"S{place // 2}" for place in range(n)])


def test_what_counts_as_forgotten() -> None:
    before = outcome(0, 70, -3.0)
    assert outcome(1, 70, -3.0).changes(before)["forgot"] == []
    worse = outcome(1, 60, -3.0).changes(before)
    assert worse["forgot"] == ["knowledge"]
    assert worse["forgets"]
    assert worse["knowledge_change"]["value"] == pytest.approx(-0.1)
    assert outcome(1, 67, -3.0).changes(before)["forgot"] == []  # three of 100 may be chance
    # as many fewer, but some were lost and others found: that may be chance
    known = tuple(place not in range(15) for place in range(90)) + (True,) * 10
    old = replace(before.probe, correct=(True,) * 90 + (False,) * 10)
    unclear = replace(before, probe=replace(before.probe, correct=known)).changes(replace(before, probe=old))
    assert unclear["knowledge_change"]["value"] == pytest.approx(-0.05)
    assert unclear["forgot"] == []
    prose = outcome(1, 70, -3.2).changes(before)
    assert prose["forgot"] == ["prose"]
    assert prose["perplexity_ratio"]["value"] == pytest.approx(math.exp(0.2))
    assert prose["perplexity_ratio"]["low"] <= prose["perplexity_ratio"]["value"] <= prose["perplexity_ratio"]["high"]
    assert outcome(1, 70, -3.05).changes(before)["forgot"] == []
    assert outcome(1, 70, -3.0, taken=3).changes(before)["forgot"] == ["chat"]
    assert outcome(1, 70, -3.0, taken=2).changes(before)["forgot"] == []
    figures = outcome(0.5, 70, -3.0).figures()
    assert figures["perplexity"]["low"] < figures["perplexity"]["value"] < figures["perplexity"]["high"]
    assert figures["knowledge"]["count"] == 70
    assert figures["fields"]["value"] == 0.5


SAYS = {
    "base": outcome(0, 70, -3.0),
    REFERENCE: outcome(0.9, 70, -3.0),
    "full5e-5": outcome(0.9, 68, -3.3),
    "rate3e-3": outcome(0.95, 50, -3.5, taken=6),
    "r64": outcome(0.9, 70, -3.0),
}


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    def kept_run(rows: Any, settings: Any, *, dev: Any, full: bool) -> tuple[Path, dict[str, Any]]:  # noqa: ARG001
        name = next(n for n, recipe in RECIPES.items() if recipe.settings == settings and recipe.full == full)
        if name == "r1":
            raise LossError("diverged")
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "adapter_model.safetensors").write_bytes(b"x" * 1000)
        parameters = SHAPE.parameters if full else 1000 * settings.rank
        if name == "r64":  # with the lowest loss, and not among those that train a small share
            parameters = round(0.03 * SHAPE.parameters)
        dev_loss = {REFERENCE: 0.3, "full5e-5": 0.25, "rate3e-3": 0.4, "r64": 0.2}[name]
        report = {
            "parameters": parameters,
            "tokens": 40_000,
            "learnt_tokens": 8_000,
            "seconds": 999.0,  # with development losses
            "tokens_per_second": 400.0 / (3 if full else 1),
            "peak_mb": 3000.0 if full else 900.0,
            "loss": [[10, 1.0]],
            "dev_loss": [[0, 3.0], [10, dev_loss]],
        }
        return folder, report

    def measure(folder: Path | None, items: Sequence[Any], *, full: bool = False) -> Outcome:  # noqa: ARG001
        return SAYS[folder.name if folder else "base"]

    def updates(*_: Any) -> list[Update]:
        rng = np.random.default_rng(0)
        return [Update(5, "q_proj", rng.normal(size=(80, 80)), rng.normal(size=(80, 2)) @ rng.normal(size=(2, 80)))]

    monkeypatch.setattr(subject, "kept_run", kept_run)
    monkeypatch.setattr(subject, "in_fresh_process", lambda function: function())
    monkeypatch.setattr(subject, "measure", measure)
    monkeypatch.setattr(subject, "updates", updates)
    monkeypatch.setattr(subject, "stored_dtype", lambda _: "float32")
    monkeypatch.setattr(subject, "RECIPES", {n: RECIPES[n] for n in (REFERENCE, "full5e-5", "r1", "rate3e-3", "r64")})
    monkeypatch.setattr(subject, "inputs_hash", lambda: "hash")
    return subject.study(Console(quiet=True))


def test_a_whole_study(result: dict[str, Any]) -> None:
    assert json.loads(json.dumps(result)) == result
    assert result["diverged"] == ["r1"]
    assert result["sweeps"]["rank"] == [REFERENCE, "r64"]
    assert result["best"] == {"lora": REFERENCE, "full": "full5e-5"}
    pair = result["full_beside_lora"]
    assert pair["seconds_ratio"] == 3
    assert pair["memory_ratio"] == pytest.approx(10 / 3)
    assert pair["fields_difference"]["value"] == 0
    assert pair["prose_difference"]["value"] == pytest.approx(0.3)
    run = result["runs"]["full5e-5"]
    assert run["bytes"] == 2 * SHAPE.parameters
    assert run["rank"] is None
    assert result["runs"][REFERENCE]["bytes"] == 1000
    (matrix,) = result["spectrum"]["matrices"]
    assert matrix["energy"]["4"] == pytest.approx(1)
    assert matrix["random_energy"]["4"] < 0.3
    assert matrix["values"][0] == 1
    subject.table(result)


def test_the_cost_of_a_large_model_follows_from_the_formula(result: dict[str, Any]) -> None:
    costs = result["cost"]
    rows = task_rows(load_tokenizer(), "triage", "train", subject.TRAIN, subject.SEED)
    tokens = 2000 * np.mean([len(row["input_ids"]) for row in rows])
    assert costs["tokens"] == round(tokens)
    assert costs["full"]["seven_b_flops"] == 6 * 7e9 * costs["tokens"]
    assert costs["lora"]["seven_b_flops"] == 4 * 7e9 * costs["tokens"]
    assert costs["full"]["seven_b_memory_gb"] == 112
    assert costs["full"]["flops_per_second_here"] == pytest.approx(
        6 * (30 * SHAPE.layer_parameters * 40_000 + 49152 * 576 * 8_000) / 300
    )
    # the lower half is frozen, and read once for the two epochs
    assert costs["lora"]["flops_per_second_here"] == pytest.approx(
        (4 * (15 * SHAPE.layer_parameters * 40_000 + 49152 * 576 * 8_000) + 2 * 15 * SHAPE.layer_parameters * 20_000)
        / 100
    )
    assert costs["lora"]["here_tickets_seconds"] == pytest.approx(100 * costs["tokens"] / 40_000)


def test_verdicts_follow_their_rules(result: dict[str, Any]) -> None:
    found = {claim: row["verdict"] for claim, row in result["verdicts"].items()}
    assert found == {"FM1": "holds", "FM2": "holds", "F-1": found["F-1"], "F-4": "holds only when"}
    assert "rate 3e-3: knowledge, prose, chat" in result["verdicts"]["F-4"]["because"]
    pair = result["full_beside_lora"]
    pair["seconds_ratio"] = 1.0
    pair["fields_difference"] = {"value": 0.1, "low": 0.02, "high": 0.2, "n": 20}
    result["cost"]["lora"] |= {"here_tickets_seconds": 700, "seven_b_hours_here": 1}
    result["runs"][REFERENCE]["forgets"] = True
    found = {claim: row["verdict"] for claim, row in subject.verdicts(result).items()}
    assert found == {"FM1": "holds only when", "FM2": "does not hold here", "F-1": "holds", "F-4": "holds"}
    pair |= {"memory_ratio": 1.0, "fields_difference": {"value": 0.03, "low": -0.02, "high": 0.08, "n": 20}}
    result["cost"]["lora"] |= {"here_tickets_seconds": 500, "seven_b_hours_here": 25}
    for run in result["runs"].values():
        run["forgets"] = False
    found = {claim: row["verdict"] for claim, row in subject.verdicts(result).items()}
    assert found == {
        "FM1": "does not hold here",
        "FM2": "not decidable here",
        "F-1": "holds only when",
        "F-4": "does not hold here",
    }
    result["cost"]["lora"]["seven_b_hours_here"] = 23
    assert subject.verdicts(result)["F-1"]["verdict"] == "does not hold here"


def test_the_study_with_a_tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing replaced but the model, the amount of data, and the processes, which would have the real model."""
    monkeypatch.setattr(subject, "in_fresh_process", lambda function: function())
    base = save_llama(tmp_path / "tiny")
    choices, prose = load_general_choices()[::25], load_prose()[:3]
    monkeypatch.setenv("WORKSHOP_DTYPE", "float32")
    monkeypatch.setattr(store, "llm_dir", lambda *_: base)
    monkeypatch.setattr(store, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(forgetting, "load_general_choices", lambda: choices)
    monkeypatch.setattr(forgetting, "load_prose", lambda: prose)
    monkeypatch.setattr(subject, "RECIPES", {n: RECIPES[n] for n in (REFERENCE, "full2e-4")})
    monkeypatch.setattr(subject, "MAX_TOKENS", {"triage": 4})
    monkeypatch.setattr(subject, "SPECTRUM_LAYERS", (1,))
    monkeypatch.setattr(forgetting, "CHAT", CHAT[:2])
    monkeypatch.setattr(forgetting, "CHAT_TOKENS", 2)
    monkeypatch.setattr(subject, "CHAT", CHAT[:2])
    monkeypatch.setattr(subject, "TRAIN", 8)
    monkeypatch.setattr(subject, "DEV", 4)
    every = task_items("triage", "dev", 6)
    monkeypatch.setattr(subject, "task_items", lambda _, __, n, ___: every[:n])
    result = subject.study(Console(quiet=True))
    assert json.loads(json.dumps(result)) == result
    assert list(result["runs"]) == [REFERENCE, "full2e-4"]
    full = result["runs"]["full2e-4"]
    assert full["trainable"] == result["model_parameters"]
    assert full["dev_losses"][-1][1] < full["dev_losses"][0][1]
    assert result["full_beside_lora"]["fields_difference"]["n"] == len(every)
    assert all(matrix["size"] > 0 for matrix in result["spectrum"]["matrices"])
    assert result["runs"][REFERENCE]["perplexity_ratio"]["value"] != 1
    assert result["base"]["knowledge"]["n"] == len(choices)
    answered = len(list((tmp_path / "cache" / "answers").iterdir()))
    assert subject.study(Console(quiet=True))["runs"] == result["runs"]  # all from the cache
    assert len(list((tmp_path / "cache" / "answers").iterdir())) == answered


def test_adapters_go_on_the_linear_layers_alone() -> None:
    assert all(set(recipe.settings.targets) <= set(LINEAR) for recipe in RECIPES.values())


def test_the_stored_study_is_up_to_date() -> None:
    assert STORED.exists(), AGAIN
    stored = json.loads(STORED.read_text("utf-8"))
    assert stored["inputs"] == subject.inputs_hash(), AGAIN
    assert set(stored["runs"]) | set(stored["diverged"]) == set(RECIPES), AGAIN
