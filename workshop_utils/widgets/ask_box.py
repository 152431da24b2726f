"""A box to ask a RAG system: the answer streams in, and its sources open below it."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from workshop_utils.messages import say
from workshop_utils.rag import RagAnswer


class Answerer(Protocol):
    """What the box needs of a RAG system."""

    def stream(self, question: str) -> Iterator[str | RagAnswer]: ...


@dataclass
class Conversation:
    """What the box shows: the question, the answer so far, and the whole answer when it is there."""

    rag: Answerer
    question: str = ""
    text: str = ""
    answer: RagAnswer | None = None
    error: str = ""

    def ask(self, question: str) -> Iterator[None]:
        """Answer a question, pausing after each piece so that the display can follow."""
        self.question, self.text, self.answer, self.error = question.strip(), "", None, ""
        if not self.question:
            self.error = say("ask_box.empty")
            return
        try:
            for piece in self.rag.stream(self.question):
                if isinstance(piece, RagAnswer):
                    self.answer = piece
                else:
                    self.text += piece
                yield
        except Exception as error:
            self.error = say("ask_box.failed", error=error)

    def as_html(self) -> str:
        """The state as HTML; text of documents and of the model is escaped."""
        parts = [f"<p style='font-size:1.1em'>{html.escape(self.text)}</p>"]
        if self.error:
            parts.append(f"<p style='color:#c62828'>{html.escape(self.error)}</p>")
        if self.answer:
            parts.append(f"<b>{say('ask_box.sources')}</b>")
            for source in self.answer.sources:
                given = f" {say('ask_box.given')}" if source.read else ""
                head = f"[{source.label}] {source.document}: {source.title} ({source.score:.2f}){given}"
                body = html.escape(source.text).replace("\n", "<br>")
                parts.append(f"<details><summary>{html.escape(head)}</summary><div>{body}</div></details>")
            total = sum(self.answer.seconds.values())
            parts.append(f"<small>{say('ask_box.time', seconds=f'{total:.1f}')}</small>")
        return "".join(parts)


def ask_box(rag: Answerer) -> Any:
    """The widget: an ``ipywidgets.VBox``."""
    import ipywidgets as widgets

    conversation = Conversation(rag)
    # with continuous_update off the value changes when the learner presses Enter or leaves the box
    box = widgets.Text(
        placeholder=say("ask_box.placeholder"), continuous_update=False, layout=widgets.Layout(width="70%")
    )
    button = widgets.Button(description=say("ask_box.button"), button_style="primary")
    shown = widgets.HTML()

    def answer(_: object) -> None:
        if box.value.strip() == conversation.question and conversation.answer:
            return
        button.disabled = True
        try:
            for _step in conversation.ask(box.value):
                shown.value = conversation.as_html()
            shown.value = conversation.as_html()
        finally:
            button.disabled = False

    box.observe(answer, names="value")
    button.on_click(answer)
    return widgets.VBox([widgets.HBox([box, button]), shown])
