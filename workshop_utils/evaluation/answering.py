"""Asking a model many questions, with a progress bar."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

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
