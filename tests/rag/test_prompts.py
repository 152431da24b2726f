"""Each model is asked in the way that suits it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from workshop_utils.corpus.questions import NO_ANSWER
from workshop_utils.models import store
from workshop_utils.models.adapters import READER
from workshop_utils.rag.prompts import INSTRUCTED_PROMPT, READER_PROMPT, READING_PROMPT, way_of_asking


def model(adapter: Path | None, **parameters: Any) -> Any:
    return SimpleNamespace(adapter=adapter, _identifying_params=parameters)


@pytest.mark.parametrize(
    ("llm", "expected"),
    [
        (model(READER, model=store.CONVERTED_NAME), (READER_PROMPT, 3)),
        (model(READER, model_path="models/SmolLM2-135M-Instruct.Q4_1.gguf"), (READER_PROMPT, 3)),
        (model(None, model=f"somewhere/{store.CONVERTED_NAME}"), (READING_PROMPT, 1)),
        (model(None, model_path="models/SmolLM2-135M-Instruct.Q4_1.gguf"), (READING_PROMPT, 1)),
        (model(None, model="owner/larger"), (INSTRUCTED_PROMPT, 3)),
        (SimpleNamespace(_identifying_params={"model_name": "hosted"}), (INSTRUCTED_PROMPT, 3)),
    ],
)
def test_the_prompt_suits_the_model(llm: Any, expected: Any) -> None:
    assert way_of_asking(llm) == expected


def test_a_model_that_was_not_trained_to_abstain_is_told_to() -> None:
    assert NO_ANSWER in INSTRUCTED_PROMPT.instruction
    assert NO_ANSWER not in READER_PROMPT.instruction
