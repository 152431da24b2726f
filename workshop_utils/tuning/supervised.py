"""Supervised examples: what the model is shown, and the answer that it shall learn to give."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage, convert_to_messages

from workshop_utils.errors import InputError
from workshop_utils.models.transformers_chat import encode

# what a loss function passes over: tokens that are read and not learnt
IGNORED = -100
ROLES = ("system", "user", "assistant")

# the token ids of an example under "input_ids", and of what is learnt of it under "labels"
Row = dict[str, list[int]]


class TrainingDataError(InputError):
    """Training data that cannot be used; the message says which line or example, and why."""


@dataclass(frozen=True)
class Example:
    """A conversation and the reply to learn."""

    messages: tuple[BaseMessage, ...]
    answer: str


def encode_examples(tokenizer: Any, examples: Iterable[Example], longest: int | None = None) -> list[Row]:
    """Token ids with labels: the answer and the mark that ends it are learnt, the conversation is only read.

    Args:
        longest: the most tokens that the model reads.

    Returns:
        ``input_ids`` and ``labels`` of each example, of one length; labels of the conversation are -100.

    Raises:
        TrainingDataError: an example has more tokens than ``longest``.
    """
    rows = []
    for number, example in enumerate(examples, start=1):
        prompt = encode(tokenizer, example.messages)
        answer = [*tokenizer.encode(example.answer, add_special_tokens=False), tokenizer.eos_token_id]
        if longest is not None and len(prompt) + len(answer) > longest:
            raise TrainingDataError(
                f"Example {number} has {len(prompt):,} tokens to read and {len(answer):,} to learn, and the model "
                f"reads {longest:,} in all. Shorten it, cut it in two, or leave it out. Its answer begins: "
                f"{example.answer[:60]!r}"
            )
        rows.append({"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer})
    return rows


def encode_texts(tokenizer: Any, texts: Iterable[str]) -> list[Row]:
    """Token ids with labels of plain texts, as in continued pre-training: every token and the end are learnt."""
    encoded = [[*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id] for text in texts]
    return [{"input_ids": ids, "labels": list(ids)} for ids in encoded]


def load_examples(path: Path | str) -> list[Example]:
    """Examples from a JSONL file: ``{"messages": [{"role": ..., "content": ...}, ...], "answer": ...}`` a line.

    Raises:
        TrainingDataError: no such file, no example in it, or a line that is none; the message names the line.
    """
    file = Path(path)
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingDataError(f"{file} cannot be read as UTF-8 text: {error}.") from error
    examples = []
    # not splitlines: an answer may hold other marks that end a line
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                examples.append(_parse(json.loads(line)))
            except ValueError as error:
                raise TrainingDataError(f"{file.name}, line {number}: {error}.") from error
    if not examples:
        raise TrainingDataError(f"{file} has no examples: one JSON object a line is needed.")
    return examples


def _parse(record: Any) -> Example:
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    messages, answer = record.get("messages"), record.get("answer")
    if not isinstance(answer, str) or not answer.strip():
        raise ValueError("'answer' must be a text that is not empty")
    if not isinstance(messages, list) or not messages:
        raise ValueError("'messages' must be a list that is not empty")
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise ValueError("a message needs a 'role' and a 'content', both texts")
        if message.get("role") not in ROLES:
            raise ValueError(f"a message's role is {message.get('role')!r} and must be one of {', '.join(ROLES)}")
    turns = [(str(message["role"]), str(message["content"])) for message in messages]
    return Example(tuple(convert_to_messages(turns)), answer)
