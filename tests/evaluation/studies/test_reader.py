"""The stored study is that of the adapter, code and data in this commit."""

from __future__ import annotations

import json

from workshop_utils.corpus import data_dir
from workshop_utils.evaluation.studies.reader import WAYS, inputs_hash


def test_the_stored_study_is_up_to_date() -> None:
    stored = json.loads((data_dir() / "results" / "reader.json").read_text("utf-8"))
    assert stored["inputs"] == inputs_hash(), "run: workshop bench reader --json data/results/reader.json"
    assert list(stored["ways"]) == list(WAYS)


def test_the_reader_beats_the_untouched_model_at_its_best() -> None:
    stored = json.loads((data_dir() / "results" / "reader.json").read_text("utf-8"))
    assert stored["gain"]["low"] > 0
    assert stored["ways"]["reader"]["cited"]["low"] > stored["ways"]["citing"]["cited"]["high"]
