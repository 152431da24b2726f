"""Asking many questions: every answer lands where its question stood."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from workshop_utils.evaluation import answer_all
from workshop_utils.evaluation.answering import CHUNK


class Echo(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "echo"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(f" {messages[-1].content}! \n"))])


@pytest.mark.parametrize("count", [0, 1, CHUNK, 2 * CHUNK + 1])
def test_answers_come_in_the_order_of_the_questions(count: int) -> None:
    questions = ["x" * (n * 7 % 31) + str(n) for n in range(count)]
    assert answer_all(Echo(), [[HumanMessage(q)] for q in questions], "Asking") == [f"{q}!" for q in questions]
