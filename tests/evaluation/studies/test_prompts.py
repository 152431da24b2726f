"""The stored study is that of the code and data in this commit."""

from __future__ import annotations

import json

from workshop_utils.corpus import data_dir
from workshop_utils.evaluation.studies.prompts import BEST, VARIANTS, inputs_hash
from workshop_utils.rag.prompts import PASSAGE_TOKENS, READING_K, READING_PROMPT


def test_the_stored_study_is_up_to_date() -> None:
    stored = json.loads((data_dir() / "results" / "prompts.json").read_text("utf-8"))
    assert stored["inputs"] == inputs_hash(), "run: workshop bench prompts --json data/results/prompts.json"
    assert [row["name"] for row in stored["variants"]] == [variant.name for variant in VARIANTS]


def test_the_prompt_in_use_is_the_one_that_was_measured_best() -> None:
    stored = json.loads((data_dir() / "results" / "prompts.json").read_text("utf-8"))
    assert (BEST.prompt, BEST.k, BEST.passage_tokens) == (READING_PROMPT, READING_K, PASSAGE_TOKENS)
    assert stored["best"]["correct"]["value"] == max(row["correct"]["value"] for row in stored["variants"])
