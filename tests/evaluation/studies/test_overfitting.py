"""The study of overfitting: early stopping by hand, a whole run with stand-ins, and that the stored one is new."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.evaluation.studies.test_recipes import outcome
from workshop_utils.corpus import data_dir
from workshop_utils.evaluation.studies import overfitting as subject
from workshop_utils.evaluation.studies.overfitting import early_stopping
from workshop_utils.evaluation.studies.recipes import Outcome

STORED = data_dir() / "results" / "overfitting.json"
AGAIN = "run: workshop bench overfitting --json data/results/overfitting.json"


def test_early_stopping_keeps_the_best_before_it_lost_patience() -> None:
    losses = [0.9, 0.5, 0.6, 0.4, 0.41, 0.42, 0.3]
    assert early_stopping(losses, 1) == {"stopped": 3, "kept": 2}
    assert early_stopping(losses, 2) == {"stopped": 6, "kept": 4}
    assert early_stopping(losses, 3) == {"stopped": 7, "kept": 7}
    assert early_stopping([0.5, 0.5], 1) == {"stopped": 2, "kept": 1}
    with pytest.raises(ValueError, match="patience"):
        early_stopping(losses, 0)
    with pytest.raises(ValueError, match="loss"):
        early_stopping([], 1)


EPOCHS = int(subject.LONG.epochs)
LOSSES = [3.0, 1.0, 0.6, *(0.5 + 0.05 * n for n in range(EPOCHS - 2))]
SAYS = {
    "base": outcome(0, 70, -3.0),
    "one epoch": outcome(0.5, 70, -3.0),
    "stopped": outcome(0.9, 70, -3.0),
    "long": outcome(0.5, 60, -3.3),
}


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    def kept_run(rows: Sequence[Any], settings: Any, *, dev: Sequence[Any]) -> tuple[Path, dict[str, Any]]:
        name = next(n for n, own in subject.RUNS.items() if own == settings)
        assert (len(rows), len(dev)) == (subject.TRAIN, subject.DEV_LOSS)
        steps = -(-len(rows) // settings.batch_size)
        dev_loss = [[epoch * steps, loss] for epoch, loss in enumerate(LOSSES)]
        return tmp_path / name, {"seconds": 10.0, "loss": [[steps, 1.0], [2 * steps, 0.5]], "dev_loss": dev_loss}

    def measure(folder: Path | None, items: Sequence[Any]) -> Outcome:
        assert len(items) in (subject.DEV, subject.REMEMBERED)
        return SAYS[folder.name if folder else "base"]

    monkeypatch.setattr(subject, "kept_run", kept_run)
    monkeypatch.setattr(subject, "measure", measure)
    return subject.study(Console(quiet=True))


def test_a_whole_study(result: dict[str, Any]) -> None:
    assert json.loads(json.dumps(result)) == result
    assert result["turn"] == 3
    assert result["rise"] == pytest.approx(LOSSES[-1] / 0.5 - 1)
    assert result["dev_loss"] == [[epoch, loss] for epoch, loss in enumerate(LOSSES)]
    assert result["loss"] == [[1, 1.0], [2, 0.5]]
    assert result["early_stopping"]["2"] == {"stopped": 5, "kept": 3}
    assert [point["epoch"] for point in result["points"]] == [0, 1, 3, EPOCHS]
    assert "forgets" not in result["points"][0]
    assert result["points"][3]["forgot"] == ["knowledge", "prose"]
    assert result["stopped_minus_long"]["value"] == pytest.approx(0.4)
    subject.table(result)


def test_the_verdict_follows_its_rules(result: dict[str, Any]) -> None:
    assert result["verdict"]["overfitting"]["verdict"] == "holds"
    result["stopped_minus_long"] = {"value": 0.02, "low": -0.01, "high": 0.04, "n": 60}
    assert subject.verdict(result)["verdict"] == "holds only when"
    result["stopped_minus_long"] = {"value": 0.04, "low": -0.01, "high": 0.1, "n": 60}
    assert subject.verdict(result)["verdict"] == "not decidable here"
    result["rise"] = 0.04
    assert subject.verdict(result)["verdict"] == "does not hold here"
    result |= {"rise": 0.2, "turn": EPOCHS}
    assert subject.verdict(result)["verdict"] == "does not hold here"


def test_the_stored_study_is_up_to_date() -> None:
    assert STORED.exists(), AGAIN
    assert json.loads(STORED.read_text("utf-8"))["inputs"] == subject.inputs_hash(), AGAIN
