"""A study's trainings are kept by what went into them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.evaluation.studies import runs as subject
from workshop_utils.evaluation.studies.runs import kept_run
from workshop_utils.models import device, store
from workshop_utils.models.transformers_chat import WEIGHTS
from workshop_utils.tuning.run import REPORT
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.supervised import Row

ROWS: list[Row] = [{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the trainings that were made; each writes a report that tells them apart."""
    made: list[str] = []

    def train(name: str) -> Any:
        def write(_: Any, folder: Path, *__: Any, **___: Any) -> None:
            made.append(name)
            folder.mkdir()
            (folder / REPORT).write_text(json.dumps({"number": len(made)}), "utf-8")
            (folder / WEIGHTS).write_bytes(bytes([len(made)]))

        return write

    monkeypatch.setattr(store, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(subject, "train_adapter", train("adapter"))
    monkeypatch.setattr(subject, "train_full", train("full"))
    return made


def test_the_same_run_is_found_again(trained: list[str], tmp_path: Path) -> None:
    folder, report = kept_run(ROWS, Settings())
    assert kept_run(ROWS, Settings()) == (folder, report)
    assert trained == ["adapter"]
    assert folder.parent == tmp_path / "runs"


def test_whatever_differs_is_trained(trained: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = kept_run(ROWS, Settings())
    folders = {first}
    other: list[Row] = [{"input_ids": [1, 2, 4], "labels": [-100, 2, 4]}]
    folders.add(kept_run(other, Settings())[0])
    folders.add(kept_run(ROWS, Settings(), dev=other)[0])
    folders.add(kept_run(ROWS, replace(Settings(), seed=1))[0])
    folders.add(kept_run(ROWS, Settings(), full=True)[0])
    folders.add(kept_run(ROWS, Settings(), start_from=first)[0])
    (first / WEIGHTS).write_bytes(b"other weights")
    folders.add(kept_run(ROWS, Settings(), start_from=first)[0])
    dtype = "float32" if device.choose().dtype == "bfloat16" else "bfloat16"
    monkeypatch.setenv("WORKSHOP_DTYPE", dtype)
    folders.add(kept_run(ROWS, Settings())[0])
    assert len(folders) == len(trained) == 8
    assert trained.count("full") == 1


def test_full_fine_tuning_starts_from_the_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no adapter"):
        kept_run(ROWS, Settings(), full=True, start_from=tmp_path)
