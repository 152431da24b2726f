"""Asking a model many questions, with a progress bar."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from workshop_utils.evaluation.metrics import AnswerLogprob
from workshop_utils.models import device, store
from workshop_utils.models.transformers_chat import WEIGHTS, ChatTransformers

T = TypeVar("T")

CHUNK = 24


def answer_all(llm: BaseChatModel, prompts: Sequence[Sequence[BaseMessage]], description: str) -> list[str]:
    """The model's answer to each prompt, in order; generated in batches where the model can.

    Prompts of like length are sent together, since a batch is as slow as its longest member.
    """
    from tqdm.auto import tqdm

    by_length = sorted(range(len(prompts)), key=lambda i: -sum(len(str(m.content)) for m in prompts[i]))
    answers = [""] * len(prompts)
    with tqdm(total=len(prompts), desc=description, unit="question") as bar:
        for start in range(0, len(prompts), CHUNK):
            chosen = by_length[start : start + CHUNK]
            for index, message in zip(chosen, llm.batch([list(prompts[i]) for i in chosen]), strict=True):
                answers[index] = str(message.content).strip()
            bar.update(len(chosen))
    return answers


def kept_answers(llm: BaseChatModel, prompts: Sequence[Sequence[BaseMessage]], description: str) -> list[str]:
    """The same, kept in the cache by prompts, model and adapter: a study that was interrupted goes on where it was."""
    return timed_answers(llm, prompts, description)[0]


def timed_answers(
    llm: BaseChatModel, prompts: Sequence[Sequence[BaseMessage]], description: str
) -> tuple[list[str], float]:
    """The same, and the seconds that it took when the answers were made; 0 where that was not kept."""
    return _kept("answers", (_texts(prompts), _settings(llm)), lambda: answer_all(llm, prompts, description))


def timed_logprobs(
    llm: ChatTransformers,
    prompts: Sequence[Sequence[BaseMessage]],
    replies: Sequence[Sequence[str]],
    description: str,
) -> tuple[list[list[AnswerLogprob]], float]:
    """How likely the model finds each prompt's replies, kept in the cache too, and the seconds that it took.

    Raises:
        ValueError: a reply is empty, or there are not as many prompts as lists of replies.
    """
    from tqdm.auto import tqdm

    def compute() -> list[list[float]]:
        # by length, so that the estimate of what is left is not too low
        order = sorted(range(len(prompts)), key=lambda i: -sum(len(str(m.content)) for m in prompts[i]))
        found: list[list[float]] = [[] for _ in prompts]
        with tqdm(total=len(prompts), desc=description, unit="question") as bar:
            for start in range(0, len(prompts), CHUNK):
                chosen = order[start : start + CHUNK]
                scores = llm.batch_logprobs([prompts[i] for i in chosen], [replies[i] for i in chosen])
                for index, score in zip(chosen, scores, strict=True):
                    found[index] = score
                bar.update(len(chosen))
        return found

    lengths = [[llm.count_tokens(text) for text in own] for own in replies]
    if any(0 in own for own in lengths):
        raise ValueError("An empty answer has no probability.")
    key = (_texts(prompts), [list(own) for own in replies], _settings(llm))
    totals, seconds = _kept("logprobs", key, compute)
    return [
        [AnswerLogprob(*pair) for pair in zip(own, tokens, strict=True)]
        for own, tokens in zip(totals, lengths, strict=True)
    ], seconds


def _texts(prompts: Sequence[Sequence[BaseMessage]]) -> list[list[tuple[str, Any]]]:
    return [[(message.type, message.content) for message in prompt] for prompt in prompts]


def _settings(llm: BaseChatModel) -> tuple[Any, ...]:
    return (llm._llm_type, llm._identifying_params, adapter_hash(llm), device.choose())


def _kept(folder: str, key: Any, compute: Callable[[], T]) -> tuple[T, float]:
    """What was computed before from the same key, or is now; and the seconds that it took."""
    path = store.cache_dir() / folder / f"{hashlib.sha256(repr(key).encode()).hexdigest()}.json"
    if path.exists():
        record = json.loads(path.read_text("utf-8"))
        # an older file holds what was computed and nothing else
        return (record["kept"], record["seconds"]) if isinstance(record, dict) else (record, 0.0)
    started = time.perf_counter()
    computed = compute()
    seconds = time.perf_counter() - started
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"kept": computed, "seconds": seconds}), "utf-8")
    temporary.replace(path)
    return computed, seconds


def adapter_hash(llm: BaseChatModel) -> str:
    """SHA-256 of the weights of the model's adapter; empty when it has none."""
    adapter = getattr(llm, "adapter", None)
    return weights_hash(adapter) if adapter else ""


def weights_hash(adapter: Path) -> str:
    """SHA-256 of an adapter's weights."""
    return store.sha256(adapter / WEIGHTS)
