"""The rival of the tuned arms is the one that did best on the development questions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.evaluation.compare.conftest import document, question
from tests.tiny import HashEmbedder
from workshop_utils.corpus import data_dir
from workshop_utils.evaluation.compare.arms import RIVAL, RIVALS
from workshop_utils.evaluation.compare.material import Material
from workshop_utils.evaluation.studies import rival as subject
from workshop_utils.models import load_llm

AGAIN = "run: workshop bench rival --json data/results/rival.json"


def test_the_whole_study_on_a_tiny_model(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path))
    asked = (question(0), question(1), question(2, "unanswerable"))
    examples = tuple(question(n) for n in range(10, 18))
    material = Material("dev", asked, tuple(document(n) for n in (0, 1, *range(10, 18))), examples)
    monkeypatch.setattr(subject, "_material", lambda: material)
    monkeypatch.setattr(subject, "load_embedder", HashEmbedder)
    monkeypatch.setattr(
        subject,
        "load_llm",
        lambda **_: load_llm(str(tiny_llama), backend="transformers", adapter=None, max_tokens=1),
    )
    for key, rival in RIVALS.items():  # the tiny model reads little
        monkeypatch.setitem(RIVALS, key, replace(rival, shots=min(rival.shots, 2)))
    result = subject.study(Console(quiet=True))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert list(result["rivals"]) == list(RIVALS)
    assert result["best"] not in result["lead"]
    assert {row["examples"] for row in result["rivals"].values()} == {1, 2}
    assert subject.table(result).row_count == len(RIVALS)


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    result: dict[str, Any] = json.loads((data_dir() / "results" / "rival.json").read_text("utf-8"))
    return result


def test_the_stored_study_is_up_to_date(stored: dict[str, Any]) -> None:
    assert stored["inputs"] == subject.inputs_hash(), AGAIN
    assert list(stored["rivals"]) == list(RIVALS), AGAIN


def test_the_arm_is_the_best_that_was_tried(stored: dict[str, Any]) -> None:
    shares = {key: row["correct"]["value"] for key, row in stored["rivals"].items()}
    assert shares[RIVAL] == max(shares.values()), f"set RIVAL in evaluation/compare/arms.py to {stored['best']!r}"
