"""Answers side by side: one question, what every arm answered, who is right, and what each was given to read."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.documents import Document

from workshop_utils.corpus import Question
from workshop_utils.corpus.questions import KINDS, NO_ANSWER, golden_passages
from workshop_utils.errors import InputError
from workshop_utils.evaluation.compare.arms import ARMS
from workshop_utils.evaluation.compare.material import is_answerable
from workshop_utils.evaluation.compare.scoring import bare
from workshop_utils.evaluation.metrics import abstains, contains_answer
from workshop_utils.messages import say
from workshop_utils.rag.answer import CITATION, parse_citations

Standing = Literal["right", "wrong", "abstained", "rightly_silent", "invented", "told"]
GOOD: tuple[Standing, ...] = ("right", "rightly_silent")
# a sign beside each word, and colours that are readable on white and on black; neither is needed to understand
SIGNS: dict[Standing, tuple[str, str]] = {
    "right": ("✓", "#009e73"),
    "rightly_silent": ("✓", "#009e73"),
    "abstained": ("○", "#e69f00"),
    "wrong": ("✗", "#d55e00"),
    "invented": ("✗", "#d55e00"),
    "told": ("✗", "#d55e00"),
}
EVERY, DIFFERING = "every", "differing"
SEEN = "background:#fff3b0;color:#000"


@dataclass
class Comparison:
    """What is shown; no display.

    Attributes:
        answers: by arm and question id, as ``workshop compare`` stores them.
        questions: those that may be picked; one without an answer of every arm is left out.
        titles: of the arms.
        found: by question id the passages that the search found, best first.
        given: how many of them each arm was given.
        kind: only questions of this kind; ``every`` for all.
        only: the key of an arm: only questions that it alone has right; ``differing``: that some arms have right and
            some have not; ``every`` for all.
        place: in the list of what is left.
    """

    answers: Mapping[str, Mapping[str, str]]
    questions: Sequence[Question]
    titles: Mapping[str, str]
    found: Mapping[str, Sequence[Document]] = field(default_factory=dict)
    given: Mapping[str, int] = field(default_factory=dict)
    kind: str = EVERY
    only: str = EVERY
    place: int = 0

    def __post_init__(self) -> None:
        asked = [question for question in self.questions if all(question.id in own for own in self.answers.values())]
        if not self.answers or not asked:
            raise InputError("There is no question that every arm has answered.")
        self.questions = asked
        self._right = {
            question.id: {arm for arm in self.answers if self.standing(arm, question) in GOOD} for question in asked
        }

    def left(self) -> list[Question]:
        """The questions that the filters leave."""
        return [question for question in self.questions if self._of_kind(question) and self._of_interest(question)]

    @property
    def question(self) -> Question | None:
        """The one that is shown; None when the filters leave none."""
        left = self.left()
        return left[min(self.place, len(left) - 1)] if left else None

    def standing(self, arm: str, question: Question) -> Standing:
        """What an arm's answer is worth."""
        answer = bare(self.answers[arm][question.id])
        if is_answerable(question):
            if contains_answer(answer, question.accepted):
                return "right"
            return "abstained" if abstains(answer) else "wrong"
        if abstains(answer):
            return "rightly_silent"
        return "told" if question.answerable and contains_answer(answer, question.accepted) else "invented"

    def as_html(self) -> str:
        """The state as HTML; texts of questions, answers and documents are escaped."""
        question = self.question
        if question is None:
            return f"<p>{_text('none')}</p>"
        left = self.left()
        passages = self.found.get(question.id, ())[: max((self.given.get(arm, 0) for arm in self.answers), default=0)]
        golden = golden_passages(question, passages)
        labels = {str(n): str(passage.id) in golden for n, passage in enumerate(passages, start=1)}
        place = say("side_by_side.place", place=left.index(question) + 1, count=len(left))
        about = say("side_by_side.about", id=question.id, kind=question.kind)
        cards = "".join(self._card(arm, question, labels) for arm in self.answers)
        grid = "display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:8px"
        return (
            f"<div style='max-width:1100px'><p><small>{html.escape(place)} &middot; {html.escape(about)}</small></p>"
            f"<p style='font-size:1.15em'><b>{html.escape(question.question)}</b></p>"
            f"<p>{_text('gold')}: <b>{html.escape(_gold(question))}</b></p>"
            f"<div style='{grid}'>{cards}</div>{_passages(passages, labels, question)}</div>"
        )

    def _of_kind(self, question: Question) -> bool:
        return self.kind in (EVERY, question.kind)

    def _of_interest(self, question: Question) -> bool:
        right = self._right[question.id]
        if self.only == DIFFERING:
            return 0 < len(right) < len(self.answers)
        return self.only == EVERY or right == {self.only}

    def _card(self, arm: str, question: Question, labels: Mapping[str, bool]) -> str:
        answer = self.answers[arm][question.id].strip()
        standing = self.standing(arm, question)
        sign, colour = SIGNS[standing]
        own = [label for label in labels if int(label) <= self.given.get(arm, 0)]
        given = say("side_by_side.given", labels=", ".join(f"[{label}]" for label in own)) if own else ""
        notes = [given or say("side_by_side.closed"), *_citations(answer, own, labels)] if labels else []
        told = "".join(f"<div><small>{html.escape(note)}</small></div>" for note in notes)
        text = _marked(answer) if answer else f"<i>{_text('empty')}</i>"
        return (
            f"<div style='border:1px solid {colour};border-left:6px solid {colour};border-radius:6px;padding:6px 10px'>"
            f"<div><b>{html.escape(self.titles.get(arm, arm))}</b></div>"
            f"<div><b><span style='color:{colour}'>{sign}</span> {_text(standing)}</b></div>"
            f"<div style='margin:4px 0;white-space:pre-wrap;overflow-wrap:anywhere'>{text}</div>{told}</div>"
        )


def _gold(question: Question) -> str:
    if is_answerable(question) or not question.answerable:
        return question.answer
    return say("side_by_side.gold_restricted", answer=NO_ANSWER, document=", ".join(question.sources))


def _citations(answer: str, own: Sequence[str], labels: Mapping[str, bool]) -> list[str]:
    """What each citation is worth; an arm that was given nothing cites nothing."""
    if not own:
        return []
    known, unknown = parse_citations(answer, own)
    found = [
        say("side_by_side.citation_gold", label=label)
        if labels[label]
        else say("side_by_side.citation_other", label=label)
        for label in known
    ]
    return found + [say("side_by_side.citation_unknown", label=label) for label in unknown]


def _marked(answer: str) -> str:
    """An answer with what it has in square brackets marked."""
    pieces, end = [], 0
    for match in CITATION.finditer(answer):
        pieces += [html.escape(answer[end : match.start()]), f"<mark style='{SEEN}'>{html.escape(match[0])}</mark>"]
        end = match.end()
    return "".join([*pieces, html.escape(answer[end:])])


def _passages(passages: Sequence[Document], labels: Mapping[str, bool], question: Question) -> str:
    if not passages:
        return ""
    spans = [part.span for part in question.evidence]
    shown = []
    for (label, gold), passage in zip(labels.items(), passages, strict=True):
        head = f"[{label}] {passage.id}" + (f" - {say('side_by_side.evidence')}" if gold else "")
        style = "border-left:6px solid #009e73;padding-left:8px" if gold else "padding-left:14px"
        body = _with_span(passage.page_content, spans)
        shown.append(
            f"<div style='{style};margin:6px 0'><b>{html.escape(head)}</b>"
            f"<pre style='white-space:pre-wrap;margin:2px 0'>{body}</pre></div>"
        )
    if is_answerable(question) and not any(labels.values()):
        shown.append(f"<p>{_text('no_evidence')}</p>")
    return f"<details open style='margin-top:12px'><summary>{_text('passages')}</summary>{''.join(shown)}</details>"


def _with_span(text: str, spans: Sequence[str]) -> str:
    """A passage with the evidence in it marked."""
    found = next((span for span in spans if span in text), None)
    if found is None:
        return html.escape(text)
    before, _, after = text.partition(found)
    return f"{html.escape(before)}<mark style='{SEEN}'>{html.escape(found)}</mark>{html.escape(after)}"


def _text(name: str) -> str:
    return html.escape(say(f"side_by_side.{name}"), quote=True)


def side_by_side(
    result: Mapping[str, Any],
    questions: Sequence[Question],
    found: Mapping[str, Sequence[Document]] | None = None,
    given: Mapping[str, int] | None = None,
) -> Any:
    """The widget: an ``ipywidgets.VBox``.

    Args:
        result: of ``workshop compare``: its ``answers``, and the titles of its ``arms``.
        questions: those that were asked, or some of them.
        found: by question id the passages found, best first, as ``evaluation.compare.asking.search`` returns them.
        given: how many of them each arm was given; as ``evaluation.compare.arms`` has it when None.

    Raises:
        InputError: no question has an answer of every arm.
    """
    import ipywidgets as widgets

    passages = {arm: ARMS[arm].k for arm in result["answers"] if arm in ARMS} if given is None else given
    titles = {arm: str(row["title"]) for arm, row in result["arms"].items()}
    state = Comparison(result["answers"], questions, titles, found or {}, passages)
    counts = Counter(question.kind for question in state.questions)
    kinds = [(say("side_by_side.every_kind", count=len(state.questions)), EVERY)]
    kinds += [(say("side_by_side.kind_with_count", kind=k, count=counts[k]), k) for k in KINDS if counts[k]]
    interests = [(_plain("every_question"), EVERY), (_plain("differing"), DIFFERING)]
    interests += [(say("side_by_side.only_right", arm=titles.get(arm, arm)), arm) for arm in state.answers]
    style = {"description_width": "80px"}
    kind = widgets.Dropdown(options=kinds, description=_plain("kind"), style=style)
    only = widgets.Dropdown(
        options=interests, description=_plain("only"), style=style, layout=widgets.Layout(width="400px")
    )
    pick = widgets.Dropdown(description=_plain("question"), style=style, layout=widgets.Layout(width="95%"))
    back, forth = (widgets.Button(description=_plain(name)) for name in ("previous", "next"))
    shown = widgets.HTML()

    def show(_: object) -> None:
        state.place = pick.index or 0
        back.disabled = state.place == 0
        forth.disabled = state.place >= len(pick.options) - 1
        shown.value = state.as_html()

    def choose(_: object) -> None:
        state.kind, state.only, state.place = kind.value, only.value, 0
        pick.options = [(f"{question.id}: {question.question}", question.id) for question in state.left()]
        pick.index = 0 if pick.options else None
        show(None)

    def step(by: int) -> None:
        pick.index = min(max(state.place + by, 0), len(pick.options) - 1) if pick.options else None

    pick.observe(show, names="index")
    for control in (kind, only):
        control.observe(choose, names="value")
    back.on_click(lambda _: step(-1))
    forth.on_click(lambda _: step(1))
    choose(None)
    return widgets.VBox([widgets.HBox([kind, only, back, forth]), pick, shown])


def _plain(name: str) -> str:
    return say(f"side_by_side.{name}")
