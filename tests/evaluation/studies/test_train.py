"""The training bench: how its figures are made of what was measured, and what the stored ones must hold."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from workshop_utils.corpus import data_dir
from workshop_utils.evaluation.studies import train as subject
from workshop_utils.evaluation.studies.train import padding, seconds_to, study, table, tune_rate
from workshop_utils.tuning.supervised import Row

CURVE = [(0.0, 4.0), (10.0, 2.0), (20.0, 1.0), (30.0, 1.5)]


@pytest.mark.parametrize(("goal", "seconds"), [(5.0, 0.0), (3.0, 5.0), (1.5, 15.0), (1.0, 20.0), (0.9, None)])
def test_seconds_to_a_loss_are_on_straight_lines(goal: float, seconds: float | None) -> None:
    assert seconds_to(CURVE, goal) == seconds


@pytest.mark.parametrize(
    ("best", "tried"), [(1.0, [1 / 3, 1, 3]), (9.0, [1, 3, 9, 27]), (1 / 9, [1 / 27, 1 / 9, 1 / 3, 1, 3])]
)
def test_the_best_rate_has_a_worse_one_on_each_side(best: float, tried: list[float]) -> None:
    found = tune_rate(lambda rate: abs(math.log(rate / best)), 1.0)
    assert sorted(found) == pytest.approx(tried, rel=0.01)
    lowest = min(found, key=lambda rate: found[rate])
    assert lowest == pytest.approx(best, rel=0.01)
    assert min(found) < lowest < max(found)


def test_padding_is_by_batch() -> None:
    assert padding([4, 2, 3, 3], 2) == round(14 / 12, 3)
    assert padding([2, 3, 3, 4], 2) == round(14 / 12, 3)
    assert padding([5, 5, 1], 2) == 1.0


def rows(count: int) -> list[Row]:
    return [
        {"input_ids": list(range(10, 20 + 2 * n)), "labels": [-100] * (6 + 2 * n) + list(range(100, 104))}
        for n in range(count)
    ]


@pytest.mark.usefixtures("base")
def test_the_study_compares_what_it_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the tiny model, in this process."""
    monkeypatch.setattr(subject, "in_fresh_process", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(subject, "gemm_peak", lambda: 1e11)
    monkeypatch.setattr(subject, "OURS", replace(subject.OURS, upper_layers=2, batch_size=4))
    monkeypatch.setattr(subject, "tune_rate", lambda loss_at, _: {rate: loss_at(rate) for rate in (1e-2, 1e-3)})
    result = study(Console(quiet=True), rows(16), rows(4))
    for name, batch in (("stock", 8), ("ours", 4)):
        run = result[name]
        assert run["padding"] >= 1
        assert run["dev_loss"][0][0] < run["dev_loss"][-1][0] == pytest.approx(run["seconds"], abs=0.1)
        assert len(run["dev_loss"]) == min(subject.POINTS, 2 * 16 // batch) + 1
        assert run["best_dev_loss"] == min(loss for _, loss in run["dev_loss"])
        assert run["examples_per_second"] == pytest.approx(32 / run["seconds"], rel=0.5)
    rates = result["stock"]["rates"]
    assert f"{result['stock']['rate']:g}" == min(rates, key=lambda rate: rates[rate])
    assert set(result["stock"]["rates"]) == {"0.001", "0.01"}
    # the same untouched model on the same development rows
    assert result["stock"]["dev_loss"][0][1] == pytest.approx(result["ours"]["dev_loss"][0][1], rel=1e-4)
    assert result["stock"]["parameters"] > result["ours"]["parameters"]
    assert result["speedup"] is None or result["speedup"] > 0
    json.dumps(result)
    table(result)


def test_the_stored_figures_are_those_of_these_settings() -> None:
    stored: dict[str, Any] = json.loads((data_dir() / "results" / "train.json").read_text("utf-8"))
    again = "run: workshop bench train --json data/results/train.json"
    assert stored["settings"] == subject.OURS.as_dict(), again
    for name in ("stock", "ours"):
        rates = list(stored[name]["rates"])
        assert f"{stored[name]['rate']:g}" in rates[1:-1], f"the best rate has one on each side; {again}"
    assert (stored["examples"], stored["dev"], stored["epochs"]) == (subject.EXAMPLES, subject.DEV, subject.EPOCHS)
    assert stored["ours"]["best_dev_loss"] <= stored["stock"]["best_dev_loss"]
    assert stored["speedup"] >= 2.5
    assert stored["memory_ratio"] <= 0.5
