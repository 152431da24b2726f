"""The prompt inspector: all that the model sees for one question, part by part, and how many tokens each part has."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, SystemMessage

from workshop_utils.messages import say
from workshop_utils.models.llama_cpp import ChatLlamaCpp
from workshop_utils.models.llm import count_tokens
from workshop_utils.models.transformers_chat import ChatTransformers
from workshop_utils.rag import Rag, load_rag, pack

Kind = Literal["template", "system", "examples", "passages", "question", "instruction"]
KINDS: tuple[Kind, ...] = get_args(Kind)
COLOURS: dict[Kind, str] = {
    "template": "#e0e0e0",
    "system": "#e1bee7",
    "examples": "#fff3b0",
    "passages": "#c8e6c9",
    "question": "#bbdefb",
    "instruction": "#f8bbd0",
}
MOST = 8
BUDGETS = (50, 1200, 50)


@dataclass(frozen=True)
class Part:
    """A piece of the prompt, what it is for, and its length."""

    kind: Kind
    text: str
    tokens: int


@dataclass
class Inspection:
    """What the inspector shows; no display, and no answer is generated.

    Attributes:
        k: passages that the model may be given.
        budget: the most tokens that they may have together.
        parts: the prompt in order; its text is theirs joined.
        left_out: passages among the ``k`` that the budget has no room for.
    """

    rag: Rag
    question: str = ""
    k: int = 3
    budget: int = 600
    parts: list[Part] = field(default_factory=list)
    left_out: list[Document] = field(default_factory=list)
    error: str = ""
    _found: tuple[str, list[Document]] = field(default=("", []), repr=False)

    def inspect(self) -> None:
        """Fill ``parts`` and ``left_out`` for the question, or ``error``."""
        self.parts, self.left_out, self.error = [], [], ""
        asked = self.question.strip()
        if not asked:
            self.error = say("prompt_inspector.empty")
            return
        try:
            if self._found[0] != asked:
                retriever = self.rag.retriever.model_copy(update={"k": MOST})
                self._found = (asked, retriever.search(asked)[0])
            passages = self._found[1][: self.k]
            labelled = pack(passages, self.budget, self._count)
            messages = self.rag.prompt.messages(asked, labelled)
            given = [passage.page_content for _, passage in labelled]
            pieces = _with_template(_pieces(messages, given, asked), _rendered(self.rag.llm, messages))
            self.parts = [Part(kind, text, self._count(text)) for kind, text in pieces if text]
            self.left_out = passages[len(labelled) :]
        except Exception as error:
            self.error = say("prompt_inspector.failed", error=error)

    def tokens(self) -> dict[Kind, int]:
        """Tokens by kind of part, each part counted alone; kinds that do not occur are left out."""
        sums = {kind: sum(part.tokens for part in self.parts if part.kind == kind) for kind in KINDS}
        return {kind: tokens for kind, tokens in sums.items() if tokens}

    def as_html(self) -> str:
        """The state as HTML; text of documents is escaped."""
        if self.error:
            return f"<p style='color:#c62828'>{html.escape(self.error)}</p>"
        tokens = self.tokens()
        total = max(sum(tokens.values()), 1)
        bar = "".join(
            f"<div title='{_name(kind)}' style='width:{count / total:.2%};background:{COLOURS[kind]}'></div>"
            for kind, count in tokens.items()
        )
        legend = " ".join(
            f"<span style='{_style(kind)};padding:0 4px'>{_name(kind)} {count} ({count / total:.0%})</span>"
            for kind, count in tokens.items()
        )
        text = "".join(
            f"<span title='{_name(p.kind)}, {p.tokens}' style='{_style(p.kind)}'>{html.escape(p.text)}</span>"
            for p in self.parts
        )
        used = say("prompt_inspector.used", total=total, passages=tokens.get("passages", 0), budget=self.budget)
        shown = [
            f"<p>{html.escape(used)}</p><div style='display:flex;height:20px'>{bar}</div><p>{legend}</p>",
            f"<pre style='white-space:pre-wrap'>{text}</pre>",
        ]
        if self.left_out:
            ids = ", ".join(str(passage.id) for passage in self.left_out)
            shown.append(f"<p>{html.escape(say('prompt_inspector.left_out', passages=ids))}</p>")
        return "".join(shown)

    def _count(self, text: str) -> int:
        return count_tokens(self.rag.llm, text)


def _pieces(messages: Sequence[BaseMessage], passages: Sequence[str], question: str) -> Iterator[tuple[Kind, str]]:
    """The messages' texts cut by what each piece is for; a passage has its label with it."""
    *before, last = messages
    for message in before:
        yield "system" if isinstance(message, SystemMessage) else "examples", str(message.content)
    turn, end = str(last.content), 0
    for passage in passages:
        start, end = end, turn.index(passage, end) + len(passage)
        yield "passages", turn[start:end]
    start, end = end, turn.index(question, end) + len(question)
    yield "question", turn[start:end]
    yield "instruction", turn[end:]


def _with_template(pieces: Iterator[tuple[Kind, str]], rendered: str) -> Iterator[tuple[Kind, str]]:
    """The pieces as they stand in the rendered text, with what the chat template puts around them."""
    if not rendered:
        yield from pieces
        return
    end, between = 0, KINDS[0]
    for kind, text in pieces:
        at = rendered.find(text, end)
        if at < 0:  # a control token in it was taken apart, so it is what stands before the next piece
            between = kind
            continue
        yield between, rendered[end:at]
        yield kind, text
        end, between = at + len(text), KINDS[0]
    yield between, rendered[end:]


def _rendered(llm: BaseChatModel, messages: Sequence[BaseMessage]) -> str:
    """The conversation as the one text that the model reads; empty for an endpoint, whose template is not here."""
    if isinstance(llm, ChatTransformers):
        return str(llm.engine.tokenizer.decode(llm.encode(messages)))
    if isinstance(llm, ChatLlamaCpp):
        return str(llm._engine.post("/detokenize", {"tokens": llm.encode(messages)})["content"])
    return ""


def _name(kind: Kind) -> str:
    return html.escape(say(f"prompt_inspector.{kind}"), quote=True)


def _style(kind: Kind) -> str:
    return f"background:{COLOURS[kind]};color:#000"


def prompt_inspector(rag: Rag | None = None, question: str = "") -> Any:
    """The widget: an ``ipywidgets.VBox``.

    Args:
        rag: whose prompts are looked at; ``load_rag()`` when None.
        question: what is asked at the start.
    """
    import ipywidgets as widgets

    system = rag or load_rag()
    state = Inspection(system, question, k=min(system.read, MOST), budget=system.budget)
    style = {"description_width": "130px"}
    box = widgets.Text(
        value=question,
        description=say("prompt_inspector.question_box"),
        placeholder=say("prompt_inspector.placeholder"),
        continuous_update=False,
        style=style,
        layout=widgets.Layout(width="95%"),
    )
    k = widgets.IntSlider(state.k, 1, MOST, description=say("prompt_inspector.k"), continuous_update=False, style=style)
    low, high, step = BUDGETS
    budget = widgets.IntSlider(
        state.budget,
        low,
        max(high, state.budget),
        step,
        description=say("prompt_inspector.budget"),
        continuous_update=False,
        style=style,
    )
    shown = widgets.HTML()

    def inspect(_: object) -> None:
        state.question, state.k, state.budget = box.value, k.value, budget.value
        state.inspect()
        shown.value = state.as_html()

    for control in (box, k, budget):
        control.observe(inspect, names="value")
    if question:
        inspect(None)
    return widgets.VBox([box, widgets.HBox([k, budget]), shown])
