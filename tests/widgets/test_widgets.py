"""The widgets' state, without a display: what they show, and that documents stay text in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop_utils.messages import say
from workshop_utils.rag import RagAnswer, Source
from workshop_utils.widgets import ask_box, marked_text, stage_strip
from workshop_utils.widgets.ask_box import Conversation
from workshop_utils.widgets.marked_text import COLOURS, marked_html
from workshop_utils.widgets.stages import STAGES, stage_strip_html

ATTACK = "<script>alert('x')</script><img src=x onerror=alert(1)> & \"quotes\" {braces}"


class Reader(HTMLParser):
    """The tags, attributes and text that a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def answer(text: str = "Eleven days.", source_text: str = "Line one\nLine two", title: str = "Leave") -> RagAnswer:
    source = Source(
        label="1", passage="HR-01#00", document="HR-01", title=title, text=source_text, score=0.5, read=True
    )
    seconds = {"embedding": 0.25, "search": 0.25, "prompt": 0.0, "generation": 1.0}
    return RagAnswer("How long?", text, (source,), (), (), seconds, 10)


class Told:
    """A RAG system that says what it was told; an exception among the pieces is raised."""

    def __init__(self, *pieces: str | RagAnswer | Exception) -> None:
        self.pieces = pieces
        self.asked: list[str] = []

    def stream(self, question: str) -> Iterator[str | RagAnswer]:
        self.asked.append(question)
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def test_the_answer_grows_and_then_has_its_sources() -> None:
    conversation = Conversation(Told("Eleven", " days.", answer()))
    seen = [(conversation.text, conversation.answer is not None) for _ in conversation.ask(" How long? ")]
    assert seen == [("Eleven", False), ("Eleven days.", False), ("Eleven days.", True)]
    shown = Reader(conversation.as_html())
    assert "Eleven days." in shown.text
    assert "[1] HR-01: Leave (0.50)" in shown.text
    assert "Line one" in shown.text
    assert say("ask_box.time", seconds="1.5") in shown.text
    assert shown.tags.count("details") == 1
    assert "open" not in shown.attributes


def test_a_system_that_fails_says_so_and_keeps_what_came() -> None:
    rag = Told("Eleven", RuntimeError(f"no more {ATTACK}"))
    conversation = Conversation(rag)
    assert len(list(conversation.ask("q"))) == 1
    assert conversation.error == say("ask_box.failed", error=f"no more {ATTACK}")
    shown = Reader(conversation.as_html())
    assert "Eleven" in shown.text
    assert ATTACK in shown.text
    assert "script" not in shown.tags
    assert conversation.answer is None


def test_a_second_question_starts_afresh() -> None:
    conversation = Conversation(Told("One", RuntimeError("broken")))
    list(conversation.ask("first"))
    conversation.rag = Told("Two", answer("Two"))
    list(conversation.ask("second"))
    assert (conversation.question, conversation.text, conversation.error) == ("second", "Two", "")
    assert "broken" not in conversation.as_html()
    list(conversation.ask("third"))
    assert conversation.text == "Two"


@pytest.mark.parametrize("empty", ["", "  \n"])
def test_an_empty_question_is_not_asked(empty: str) -> None:
    rag = Told("never")
    conversation = Conversation(rag)
    assert list(conversation.ask(empty)) == []
    assert rag.asked == []
    assert conversation.error == say("ask_box.empty")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_stopping_the_kernel_is_not_swallowed(interruption: type[BaseException]) -> None:
    class Stopped:
        def stream(self, question: str) -> Iterator[str | RagAnswer]:
            yield question
            raise interruption

    with pytest.raises(interruption):
        list(Conversation(Stopped()).ask("q"))


def test_documents_models_and_titles_are_text_and_not_markup() -> None:
    plain = Conversation(Told("x", answer()))
    list(plain.ask("q"))
    hostile = Conversation(Told(ATTACK, answer(ATTACK, ATTACK, ATTACK)))
    list(hostile.ask(ATTACK))
    before, after = Reader(plain.as_html()), Reader(hostile.as_html())
    assert set(after.tags) == set(before.tags) - {"br"}
    assert after.attributes == before.attributes
    assert after.text.count(ATTACK) == 3


def test_the_box_asks_shows_and_can_be_used_again() -> None:
    rag = Told("Eleven days.", answer())
    box = ask_box(rag)
    (text, button), shown = box.children[0].children, box.children[1]
    text.value = "How long?"
    assert rag.asked == ["How long?"]
    assert "Eleven days." in shown.value
    assert not button.disabled
    button.click()
    assert rag.asked == ["How long?"]  # the answer is already there
    text.value = "Why?"
    assert rag.asked == ["How long?", "Why?"]


def test_the_button_of_a_box_whose_system_fails_can_be_pressed_again() -> None:
    rag = Told(RuntimeError("broken"))
    box = ask_box(rag)
    (text, button), shown = box.children[0].children, box.children[1]
    text.value = "How long?"
    assert "broken" in shown.value
    assert not button.disabled
    button.click()
    assert rag.asked == ["How long?", "How long?"]


# -- marked text --


def test_parts_are_marked_in_colour_with_their_tooltip() -> None:
    shown = marked_html("one two three", {"three": "last", "one": "first"})
    assert re.findall(r"<mark title='(\w+)' style='background:(#\w+);[^']*'>(\w+)</mark>", shown) == [
        ("first", COLOURS[0], "one"),
        ("last", COLOURS[1], "three"),
    ]
    assert Reader(shown).text == "one two three"


def test_parts_that_do_not_occur_or_are_empty_are_left_out() -> None:
    assert "mark" not in Reader(marked_html("one two", {"three": "x", "": "y"})).tags


def test_marked_text_and_its_tooltips_are_escaped() -> None:
    shown = Reader(marked_html(f"before {ATTACK} after", {ATTACK: f"' onclick='x {ATTACK}"}))
    assert shown.tags == ["pre", "mark"]
    assert shown.attributes == {"style", "title"}
    assert shown.text == f"before {ATTACK} after"


def test_a_part_inside_a_longer_one_is_marked_where_it_stands_alone() -> None:
    shown = marked_html("Leave is 25 days. Leave?", {"Leave": "question", "Leave is 25 days.": "passage"})
    assert re.findall(r"<mark title='(\w+)'[^>]*>([^<]+)</mark>", shown) == [
        ("passage", "Leave is 25 days."),
        ("question", "Leave"),
    ]


@given(st.text("ab<&'\n", max_size=30), st.lists(st.text("ab<&'\n", max_size=5), max_size=5))
def test_no_text_is_lost_or_doubled(text: str, parts: list[str]) -> None:
    shown = Reader(marked_html(text, dict.fromkeys(parts, "t")))
    assert shown.text == text
    assert set(shown.tags) <= {"pre", "mark"}


# -- the stages --


def filled(shown: str) -> list[str]:
    return re.findall(r"<div style='background:#1565c0[^>]*><b>(\d)", shown)


@pytest.mark.parametrize("stage", STAGES)
def test_the_current_stage_is_filled(stage: str) -> None:
    shown = stage_strip_html(stage)
    assert filled(shown) == [str(STAGES.index(stage) + 1)]
    for number, name in enumerate(STAGES, start=1):
        assert f"{number} {say(f'stages.{name}.name')}" in Reader(shown).text


def test_without_a_current_stage_none_is_filled() -> None:
    assert filled(stage_strip_html()) == []


@pytest.mark.parametrize("wrong", ["", "Query", "search "])
def test_an_unknown_stage_is_refused_with_the_choice(wrong: str) -> None:
    with pytest.raises(ValueError, match="is not a stage; the stages are query, embedding"):
        stage_strip_html(wrong)


@pytest.mark.parametrize(("shown", "expected"), [(stage_strip, stage_strip_html()), (marked_text, None)])
def test_in_a_notebook_it_is_html(shown: Any, expected: str | None) -> None:
    got = shown() if expected else shown("a", {"a": "b"})
    assert got.data == (expected or marked_html("a", {"a": "b"}))
