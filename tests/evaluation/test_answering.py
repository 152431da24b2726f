"""Asking many questions: every answer lands where its question stood, and none is asked twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from workshop_utils.evaluation import answer_all, answer_logprobs
from workshop_utils.evaluation.answering import CHUNK, kept_answers, timed_answers, timed_logprobs
from workshop_utils.models.device import Device
from workshop_utils.models.transformers_chat import ChatTransformers, Engine


class Echo(BaseChatModel):
    calls: Any = None

    @property
    def _llm_type(self) -> str:
        return "echo"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {}

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        if self.calls is not None:
            self.calls.append(messages[-1].content)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(f" {messages[-1].content}! \n"))])


@pytest.mark.parametrize("count", [0, 1, CHUNK, 2 * CHUNK + 1])
def test_answers_come_in_the_order_of_the_questions(count: int) -> None:
    questions = ["x" * (n * 7 % 31) + str(n) for n in range(count)]
    assert answer_all(Echo(), [[HumanMessage(q)] for q in questions], "Asking") == [f"{q}!" for q in questions]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path))
    return tmp_path


def test_answers_are_kept_with_the_seconds_that_they_took(cache: Path) -> None:
    calls: list[str] = []
    prompts = [[HumanMessage("a")], [HumanMessage("b")]]
    first = timed_answers(Echo(calls=calls), prompts, "Asking")
    assert first[0] == ["a!", "b!"]
    assert first[1] > 0
    assert timed_answers(Echo(calls=calls), prompts, "Asking") == first
    assert kept_answers(Echo(calls=calls), prompts, "Asking") == first[0]
    assert sorted(calls) == ["a", "b"]
    kept_answers(Echo(calls=calls), prompts[:1], "Asking")
    assert len(calls) == 3
    assert len(list((cache / "answers").iterdir())) == 2


def test_answers_that_were_kept_without_their_seconds_are_still_good(cache: Path) -> None:
    prompts = [[HumanMessage("a")]]
    kept_answers(Echo(), prompts, "Asking")
    (file,) = (cache / "answers").iterdir()
    file.write_text(json.dumps(["old"]), "utf-8")
    assert timed_answers(Echo(), prompts, "Asking") == (["old"], 0.0)


@pytest.mark.usefixtures("cache")
def test_log_probabilities_land_where_their_prompts_stood_and_are_kept(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine.load(str(tiny_llama), Device("cpu", "float32", "test"), local=True)
    llm = ChatTransformers(engine=engine)
    prompts = [[HumanMessage("x " * (n * 7 % 31) + str(n))] for n in range(CHUNK + 3)]
    replies = [["yes", "no, never"][: 1 + n % 2] for n in range(len(prompts))]
    found, seconds = timed_logprobs(llm, prompts, replies, "Choosing")
    assert seconds > 0
    for prompt, own, scores in zip(prompts, replies, found, strict=True):
        expected = answer_logprobs(llm, prompt, own)
        assert [one.tokens for one in scores] == [one.tokens for one in expected]
        assert [one.total for one in scores] == pytest.approx([one.total for one in expected], abs=1e-4)
    monkeypatch.setattr(ChatTransformers, "batch_logprobs", None)
    assert timed_logprobs(llm, prompts, replies, "Choosing") == (found, seconds)
    with pytest.raises(ValueError, match="empty answer"):
        timed_logprobs(llm, prompts[:1], [["yes", ""]], "Choosing")
