"""Models held to a schema; what cannot be held says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from workshop_utils.errors import InputError
from workshop_utils.models import load_llm
from workshop_utils.models.constrained import can_constrain, with_schema
from workshop_utils.models.llm import has_llama_cpp

if TYPE_CHECKING:
    from workshop_utils.models.transformers_chat import ChatTransformers

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "maxLength": 12}, "source": {"enum": ["4", "7"]}},
    "required": ["answer", "source"],
    "additionalProperties": False,
}


@pytest.mark.skipif(not has_llama_cpp(), reason="xllamacpp is not installed")
def test_llama_cpp_writes_what_the_schema_admits_and_nothing_else() -> None:
    llm = load_llm(backend="llama.cpp")
    assert can_constrain(llm)
    for question in ("Tell me about rivers.", "Write a poem.", "[1] [2] [3]"):
        written = json.loads(str(with_schema(llm, SCHEMA, max_tokens=60).invoke(question).content))
        assert set(written) == {"answer", "source"}
        assert written["source"] in ("4", "7")
        assert len(written["answer"]) <= 12


def test_transformers_says_that_it_cannot(llm: ChatTransformers) -> None:
    assert not can_constrain(llm)
    with pytest.raises(InputError, match="xllamacpp"):
        with_schema(llm, SCHEMA)
