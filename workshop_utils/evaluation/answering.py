"""Asking a model many questions, with a progress bar."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from workshop_utils.models import device, store
from workshop_utils.models.transformers_chat import WEIGHTS

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
    texts = [[(message.type, message.content) for message in prompt] for prompt in prompts]
    settings = (llm._llm_type, llm._identifying_params, adapter_hash(llm), device.choose())
    key = hashlib.sha256(repr((texts, settings)).encode()).hexdigest()
    path = store.cache_dir() / "answers" / f"{key}.json"
    if path.exists():
        kept: list[str] = json.loads(path.read_text("utf-8"))
        return kept
    answers = answer_all(llm, prompts, description)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(answers), "utf-8")
    temporary.replace(path)
    return answers


def adapter_hash(llm: BaseChatModel) -> str:
    """SHA-256 of the weights of the model's adapter; empty when it has none."""
    adapter = getattr(llm, "adapter", None)
    return weights_hash(adapter) if adapter else ""


def weights_hash(adapter: Path) -> str:
    """SHA-256 of an adapter's weights."""
    return store.sha256(adapter / WEIGHTS)
