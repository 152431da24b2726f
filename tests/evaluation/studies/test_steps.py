"""Where a step's time goes: the parts are all of it, and each thing can be left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.evaluation.studies.test_train import rows
from workshop_utils.corpus import data_dir
from workshop_utils.evaluation.studies import steps as subject
from workshop_utils.evaluation.studies.train import OURS
from workshop_utils.tuning import profile
from workshop_utils.tuning.profile import PARTS, step_profile

LEFT_OUT = {"attention", "frozen", "precision", "logits", "upper_layers", "targets"}


@pytest.mark.usefixtures("base")
def test_the_study_times_every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the tiny model, in this process."""
    monkeypatch.setattr(subject, "in_fresh_process", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(subject, "tickets", lambda: (rows(16), rows(4)))
    monkeypatch.setattr(subject, "OURS", replace(OURS, upper_layers=2, batch_size=4))
    monkeypatch.setattr(profile, "ROUNDS", 1)
    result = subject.study(Console(quiet=True))
    assert set(result["parts"]) == set(PARTS)
    assert set(result["without"]) == LEFT_OUT
    assert all(0.1 < ratio < 100 for ratio in result["without"].values())
    json.dumps(result)
    subject.table(result)


def test_the_parts_of_a_step_are_all_of_it(base: Path) -> None:
    parts = step_profile(rows(16), replace(OURS, upper_layers=2, batch_size=2), base)
    assert set(parts) == set(PARTS)
    assert sum(parts.values()) == pytest.approx(1, abs=0.01)
    assert parts["layers"] > 0
    assert parts["attention"] > 0
    assert parts["output"] > 0.05  # the tiny model is nearly all vocabulary
    assert parts["optimiser"] > 0


def test_the_stored_figures_are_those_of_these_settings() -> None:
    stored: dict[str, Any] = json.loads((data_dir() / "results" / "steps.json").read_text("utf-8"))
    assert stored["settings"] == OURS.as_dict(), "run: workshop bench steps --json data/results/steps.json"
    assert set(stored["without"]) == LEFT_OUT
    assert set(stored["parts"]) == set(PARTS)
