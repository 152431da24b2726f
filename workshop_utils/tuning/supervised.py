"""Supervised examples: what the model is shown, and the answer that it shall learn to give."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

from workshop_utils.models.transformers_chat import encode

# what a loss function passes over: tokens that are read and not learnt
IGNORED = -100


@dataclass(frozen=True)
class Example:
    """A conversation and the reply to learn."""

    messages: tuple[BaseMessage, ...]
    answer: str


def encode_examples(tokenizer: Any, examples: Iterable[Example]) -> list[dict[str, list[int]]]:
    """Token ids with labels: the answer and the mark that ends it are learnt, the conversation is only read.

    Returns:
        ``input_ids`` and ``labels`` of each example, of one length; labels of the conversation are -100.
    """
    rows = []
    for example in examples:
        prompt = encode(tokenizer, example.messages)
        answer = [*tokenizer.encode(example.answer, add_special_tokens=False), tokenizer.eos_token_id]
        rows.append({"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer})
    return rows
