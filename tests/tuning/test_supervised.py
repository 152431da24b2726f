"""Training data: what is learnt of an example, and what is said of data that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from workshop_utils.models import store
from workshop_utils.tuning.supervised import (
    IGNORED,
    Example,
    TrainingDataError,
    encode_examples,
    encode_texts,
    load_examples,
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    import transformers

    return transformers.AutoTokenizer.from_pretrained(store.llm_dir())


GOOD = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}], "answer": "So."}


def write(folder: Path, *lines: object) -> Path:
    path = folder / "examples.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), "utf-8")
    return path


def test_only_the_answer_and_its_end_are_learnt(tokenizer: Any) -> None:
    (row,) = encode_examples(tokenizer, [Example((HumanMessage("What is 3?"),), "It is number 3.")])
    assert len(row["input_ids"]) == len(row["labels"])
    learnt = [token for token in row["labels"] if token != IGNORED]
    assert tokenizer.decode(learnt) == f"It is number 3.{tokenizer.eos_token}"
    assert row["input_ids"][-len(learnt) :] == learnt
    assert "What is 3?" in tokenizer.decode(row["input_ids"][: -len(learnt)])


def test_of_a_plain_text_every_token_and_its_end_are_learnt(tokenizer: Any) -> None:
    first, second = encode_texts(tokenizer, ["It is number 3.", "So."])
    assert tokenizer.decode(first["input_ids"]) == f"It is number 3.{tokenizer.eos_token}"
    assert second["labels"] == second["input_ids"] != first["input_ids"]


def test_an_example_longer_than_the_context_is_named(tokenizer: Any) -> None:
    short, long = (Example((HumanMessage("Why?"),), "so " * n) for n in (3, 90))
    length = len(encode_examples(tokenizer, [long])[0]["input_ids"])
    assert encode_examples(tokenizer, [short, long], longest=length)
    with pytest.raises(TrainingDataError, match=r"Example 2 has .* to learn, and the model reads .*so so"):
        encode_examples(tokenizer, [short, long], longest=length - 1)


def test_examples_are_read_from_a_file(tmp_path: Path) -> None:
    turns = [*GOOD["messages"], {"role": "assistant", "content": "What?"}, {"role": "user", "content": "é\u2028"}]
    first, second = load_examples(write(tmp_path, GOOD, "", {"messages": turns, "answer": "Da."}))
    assert first == Example((SystemMessage("Be brief."), HumanMessage("Why?")), "So.")
    assert second.messages[2:] == (AIMessage("What?"), HumanMessage("é\u2028"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "Expecting property name"),
        ([1], "not a JSON object"),
        ({"messages": GOOD["messages"]}, "'answer'"),
        ({**GOOD, "answer": "  "}, "'answer'"),
        ({**GOOD, "messages": []}, "'messages'"),
        ({**GOOD, "messages": ["Why?"]}, "a 'role' and a 'content'"),
        ({**GOOD, "messages": [{"role": "robot", "content": "x"}]}, "'robot' and must be one of system, user"),
    ],
)
def test_a_line_that_is_no_example_is_named(tmp_path: Path, line: object, said: str) -> None:
    with pytest.raises(TrainingDataError, match=rf"examples\.jsonl, line 3: .*{said}"):
        load_examples(write(tmp_path, GOOD, GOOD, line))


def test_an_empty_file_and_none_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="has no examples"):
        load_examples(write(tmp_path, ""))
    with pytest.raises(TrainingDataError, match="cannot be read"):
        load_examples(tmp_path / "nothing.jsonl")
    (tmp_path / "latin.jsonl").write_bytes('{"answer": "é"}'.encode("latin-1"))
    with pytest.raises(TrainingDataError, match="UTF-8"):
        load_examples(tmp_path / "latin.jsonl")
