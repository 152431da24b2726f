"""Citations as models write them, and the order of prompts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from workshop_utils.rag import Prompt, pack
from workshop_utils.rag.answer import parse_citations
from workshop_utils.rag.prompt import Example


@pytest.mark.parametrize(
    ("text", "known", "unknown"),
    [
        ("", "", ""),
        ("No brackets, 1 or 2.", "", ""),
        ("Eleven [1].", "1", ""),
        ("Eleven [1, 3].", "13", ""),
        ("Eleven [3][1], [ 2 ] and [3].", "312", ""),
        ("Eleven [1; 2]", "12", ""),
        ("Eleven [4].", "", "4"),
        ("Eleven [1, 9, x].", "1", "9x"),
        ("Eleven [].", "", ""),
        ("Eleven [,].", "", ""),
        ("[[1]]", "1", ""),
        ("[1", "", ""),
        ("array[1]", "1", ""),
        ("[" + "x" * 41 + "]", "", ""),
        ("[1]" * 500, "1", ""),
    ],
)
def test_citations_are_told_apart(text: str, known: str, unknown: str) -> None:
    assert parse_citations(text, ["1", "2", "3"]) == (tuple(known), tuple(unknown))


@given(st.text("[]123, ;x", max_size=60))
def test_citations_are_unique_and_each_on_one_side(text: str) -> None:
    known, unknown = parse_citations(text, ["1", "2", "3"])
    assert set(known) <= {"1", "2", "3"}
    assert not set(known) & set(unknown)
    assert len(set(known)) == len(known)
    assert len(set(unknown)) == len(unknown)
    assert all(part and part.strip() == part for part in known + unknown)


@given(st.lists(st.integers(1, 50), max_size=10), st.integers(1, 120))
def test_packing_takes_as_many_of_the_best_as_fit(lengths: list[int], budget: int) -> None:
    passages = [Document(id=str(n), page_content="x" * length) for n, length in enumerate(lengths)]
    packed = pack(passages, budget, len)
    assert [label for label, _ in packed] == [str(n + 1) for n in range(len(packed))]
    assert [p for _, p in packed] == passages[: len(packed)]
    if len(packed) > 1:
        assert sum(lengths[: len(packed)]) <= budget
    if len(packed) < len(lengths):
        assert packed
        assert sum(lengths[: len(packed) + 1]) > budget


def test_examples_are_turns_before_the_question() -> None:
    prompt = Prompt("Be brief.", "Answer.", (Example(("Some text",), "First?", "Yes. [1]"),), numbered=True)
    messages = prompt.messages("Second?", [("1", Document(page_content="Other text"))])
    assert [type(m) for m in messages] == [SystemMessage, HumanMessage, AIMessage, HumanMessage]
    assert "[1] Some text" in str(messages[1].content)
    assert messages[2].content == "Yes. [1]"
    assert str(messages[3].content) == str(messages[1].content).replace("Some", "Other").replace("First", "Second")


def test_labels_and_instructions_are_left_out_where_the_prompt_has_none() -> None:
    (message,) = Prompt().messages("Why?", [("1", Document(page_content="Because."))])
    assert "[1]" not in str(message.content)
    assert str(message.content).endswith("Question: Why?")
    assert Prompt().messages("Why?", []) == [HumanMessage("Question: Why?")]
