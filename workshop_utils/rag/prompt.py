"""The prompt: instructions, packed passages, question. One definition for answering and, later, for training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

Labelled = tuple[str, Document]


@dataclass(frozen=True)
class Example:
    """A worked example for a few-shot prompt: passages, question, and the answer that we want."""

    passages: tuple[str, ...]
    question: str
    answer: str


@dataclass(frozen=True)
class Prompt:
    """How passages and question are laid out for the model.

    Attributes:
        system: the standing instruction; the model's own default when empty.
        instruction: what to do, repeated after each question.
        examples: worked examples, each shown as a turn of the conversation.
        numbered: whether each passage carries its label in brackets, so that the model can cite it.
    """

    system: str = ""
    instruction: str = ""
    examples: tuple[Example, ...] = ()
    numbered: bool = False

    def messages(self, question: str, labelled: Sequence[Labelled]) -> list[BaseMessage]:
        """The conversation to send."""
        result: list[BaseMessage] = [SystemMessage(self.system)] if self.system else []
        for example in self.examples:
            numbered = [(str(number), text) for number, text in enumerate(example.passages, start=1)]
            result += [HumanMessage(self._turn(example.question, numbered)), AIMessage(example.answer)]
        texts = [(label, passage.page_content) for label, passage in labelled]
        return [*result, HumanMessage(self._turn(question, texts))]

    def _turn(self, question: str, texts: Sequence[tuple[str, str]]) -> str:
        passages = "\n\n".join(f"[{label}] {text}" if self.numbered else text for label, text in texts)
        parts = [f"Text:\n{passages}\n\n" if texts else "", f"Question: {question}"]
        return "".join(parts) + (f"\n{self.instruction}" if self.instruction else "")


def pack(passages: Sequence[Document], budget: int, count: Callable[[str], int]) -> list[Labelled]:
    """Passages with labels 1, 2, ... for as long as they fit, best first; the first is always taken.

    Args:
        passages: best first.
        budget: the most tokens that the passages may have together.
        count: tokens in a text.
    """
    packed: list[Labelled] = []
    used = 0
    for passage in passages:
        used += count(passage.page_content)
        if packed and used > budget:
            break
        packed.append((str(len(packed) + 1), passage))
    return packed
