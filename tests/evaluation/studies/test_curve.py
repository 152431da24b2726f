"""The learning curve: enough steps at every size, verdicts by rule, a run in small, and figures that are up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.tiny import save_llama, save_lora
from workshop_utils.corpus import data_dir
from workshop_utils.evaluation.answering import answer_all
from workshop_utils.evaluation.studies import curve
from workshop_utils.models import device
from workshop_utils.models.transformers_chat import ChatTransformers, Engine
from workshop_utils.tuning.tasks import SETTINGS, task_items


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    result: dict[str, Any] = json.loads((data_dir() / "results" / "curve.json").read_text("utf-8"))
    return result


def test_every_size_gets_enough_steps_and_few_are_not_seen_too_often() -> None:
    for n in curve.CLEAN:
        settings = curve.settings_for(n)
        steps = -(-n // settings.batch_size) * settings.epochs
        assert steps >= curve.FEWEST_STEPS or settings.epochs == curve.MOST_EPOCHS
        assert settings.epochs <= curve.MOST_EPOCHS
    assert curve.settings_for(curve.CLEAN[-1]) == SETTINGS["triage"]
    assert set(curve.NOISY) <= set(curve.CLEAN)
    assert curve.CLEAN[-1] == len(task_items("triage", "train"))


def result(more: dict[str, float], noise: float) -> dict[str, Any]:
    def figure(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.03, "high": value + 0.03, "n": 120}

    return {"more": {n: figure(value) for n, value in more.items()}, "noise": {str(curve.NOISY[-1]): figure(noise)}}


@pytest.mark.parametrize(
    ("more", "noise", "verdict"),
    [
        (0.2, 0.2, "holds"),
        (0.2, 0.0, "holds only when it means thousands"),
        (0.0, 0.2, "holds only when it means quality"),
        (0.0, 0.0, "does not hold here"),
        (0.04, 0.04, "not decidable here"),
    ],
)
def test_the_claim_is_decided_by_rule(more: float, noise: float, verdict: str) -> None:
    assert curve.verdicts(result({"500": more}, noise))["F-2"] == verdict


def test_the_plateau_is_the_fewest_examples_that_do_as_well() -> None:
    assert curve.plateau(result({"25": 0.4, "250": 0.04, "500": 0.06}, 0)) == 250
    assert curve.plateau(result({"25": 0.4, "500": 0.06}, 0)) == 2000


def test_the_whole_study_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_DTYPE", "float32")
    base = save_llama(tmp_path / "base")
    adapter = save_lora(tmp_path / "adapters" / "triage", base)
    trained: list[tuple[int, int]] = []

    def kept_run(rows: Any, settings: Any, *, dev: Any) -> tuple[Path, dict[str, Any]]:
        trained.append((len(rows), len(dev)))
        return adapter, {"steps": settings.epochs, "seconds": 60.0, "dev_loss": [[0, 3.0], [1, 0.5]]}

    llm = ChatTransformers(engine=Engine.load(str(base), device.choose(), local=True), max_tokens=3)
    results = tmp_path / "data" / "results"
    results.mkdir(parents=True)
    arm = {name: {"value": 0.1, "low": 0.0, "high": 0.2, "n": 4} for name in curve.SHOWN}
    stored = {"tasks": {"triage": {"rival": "few_shot", "arms": {"base": arm, "few_shot": arm}}}}
    (results / "tasks.json").write_text(json.dumps(stored), "utf-8")
    for name, value in {
        "load_llm": lambda **_: llm,
        "kept_run": kept_run,
        "kept_answers": answer_all,
        "ADAPTERS": tmp_path / "adapters",
        "data_dir": lambda: tmp_path / "data",
        "CLEAN": (25, 500, 1000),
        "NOISY": (25, 1000),
        "ASKED": {"triage": 4},
        "DEV_EXAMPLES": {"triage": 2},
    }.items():
        monkeypatch.setattr(curve, name, value)
    found = curve.study(Console(quiet=True))
    json.dumps(found, allow_nan=False)
    curve.table(found)
    assert trained == [(25, 2), (500, 2), (1000, 2), (25, 2), (1000, 2)]
    assert [row["n"] for row in found["clean"]] == [25, 500, 1000]
    assert found["clean"][0]["dev_loss"] == 0.5
    # one model of random answers: neither more examples nor clean ones change anything
    assert found["more"]["500"]["value"] == 0
    assert found["beats_few_shot"] is None


def test_the_stored_study_is_up_to_date(stored: dict[str, Any]) -> None:
    assert stored["inputs"] == curve.inputs_hash(), "run: workshop bench curve --json data/results/curve.json"
    assert stored["verdicts"] == curve.verdicts(stored)
    assert [row["n"] for row in stored["clean"]] == list(curve.CLEAN)
    assert [row["n"] for row in stored["noisy"]] == list(curve.NOISY)


def test_the_stored_curve_shows_the_prompting_of_the_stored_tasks(stored: dict[str, Any]) -> None:
    triage = json.loads((data_dir() / "results" / "tasks.json").read_text("utf-8"))["tasks"]["triage"]
    for name in curve.SHOWN:
        assert stored["few_shot"][name] == triage["arms"][triage["rival"]][name]
