"""The report: one file that holds every figure, loads nothing, runs nothing, and shows texts as text."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest
from rich.console import Console

from tests.evaluation.compare import plausible
from workshop_utils.evaluation.compare.arms import Arm
from workshop_utils.evaluation.compare.drawing import Dot, dots
from workshop_utils.evaluation.compare.material import Material
from workshop_utils.evaluation.compare.page import LONGEST, said
from workshop_utils.evaluation.compare.report import render, sentence, verdict
from workshop_utils.evaluation.compare.run import compare

PLANTED = """<script>alert(1)</script>]]>--></style></svg></title>"'><img src=x onerror=alert(2)>&lt;b&gt;"""
OWN: dict[str, Any] = {
    "train": {"questions": 9, "families": 4},
    "test": {"questions": 6, "families": 3},
    "left_out": {"RAFT + RAG": "9 questions, and training takes 20"},
    "findings": ["scan.pdf: it holds no text (left out)"],
    "enough": False,
    "smallest": {"unrelated": None, "alike": None},
    "says": "6 questions with an answer: too few to conclude anything. Read the answers, not the figures.",
}
VOID = {"meta"}


class Page(HTMLParser):
    """Every tag with its attributes, the text, and what is left open or closed in the wrong place."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.faults: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID and not tag.startswith(("line", "circle")):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def result() -> dict[str, Any]:
    return plausible.result()


def everywhere(value: Any, text: str) -> Any:
    """The same with a text after every text, wherever it stands; what code compares is left as it is."""
    if isinstance(value, dict):
        fixed = ("metric", "role", "a", "b", "split", "verdict")
        return {key: one if key in fixed else everywhere(one, text) for key, one in value.items()}
    if isinstance(value, list):
        return [everywhere(one, text) for one in value]
    return value + text if isinstance(value, str) else value


def test_nothing_that_others_wrote_becomes_markup(result: dict[str, Any]) -> None:
    result["own"] = {**OWN, "left_out": {PLANTED: PLANTED}}
    planted = everywhere(result, PLANTED)
    page, clean = Page(render(planted)), Page(render(result))
    assert "alert(1)" in page.text
    assert "&lt;b&gt;" in page.text  # not unescaped on the way
    assert Counter(tag for tag, _ in page.tags) == Counter(tag for tag, _ in clean.tags)
    assert not page.named("script")
    assert not page.named("img")
    assert page.faults == clean.faults == []
    names = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "style")}
    # also in what the report is given as a question, an answer, a passage
    for failure in planted["arms"]["raft_rag"]["failures"]:
        assert failure["question"] in page.text
        assert failure["answer"] in page.text
        assert failure["passages"][0]["text"] in page.text


def test_it_loads_nothing_and_runs_nothing(result: dict[str, Any]) -> None:
    markup = render(result)
    page = Page(markup)
    assert not re.search(r"https?:|//|url\(|@import|javascript:", markup)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "base", "form"})
    (policy,) = [one for one in page.named("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"
    targets = {attributes.get("id") for _, attributes in page.tags}
    links = [str(one["href"]) for one in page.named("a")]
    assert len(links) == 9
    assert all(link[0] == "#" and link[1:] in targets for link in links)


def test_it_is_whole_and_can_be_read_without_seeing_it(result: dict[str, Any]) -> None:
    page = Page(render(result))
    assert page.faults == []
    assert page.open == []
    assert all(one.get("scope") in ("col", "row") for one in page.named("th"))
    tables = page.named("table")
    assert len(tables) == len(page.named("caption")) > 10
    scrolling = [one for one in page.named("div") if one.get("role") == "region"]
    assert len(scrolling) == len(tables)
    assert all(one["tabindex"] == "0" and one["aria-label"] for one in scrolling)
    drawings = page.named("svg")
    assert len(drawings) == len(page.named("desc")) == len(page.named("title")) - 1 == 9
    assert all(one["role"] == "img" for one in drawings)
    assert ("html", {"lang": "en"}) in page.tags


def test_every_section_says_what_was_measured(result: dict[str, Any]) -> None:
    text = " ".join(Page(render(result)).text.split())
    assert "194: 116 one fact, 20 several documents, 22 changed later" in text
    for name in ("dtype", "commit", "inputs"):
        assert result[name] in text
    for arm in result["arms"].values():
        for name in ("title", "saw", "redone_when"):
            assert arm[name] in text
        figure = arm["correct"]
        assert f"{figure['value']:.2f} {figure['low']:.2f} to {figure['high']:.2f}" in text
        assert all(failure["gold"] in text for failure in arm["failures"])
    assert "36 minutes" in text
    assert "-0.03 -0.08 to 0.02" in text  # forgetting
    assert "1,500,000" in text  # tokens of training
    assert "T4 updating data" in text
    assert "GAP. the result is missing" in text
    assert "What is said of C3." in text
    assert "3 claims, 1 without a figure." in text
    assert "not decidable" in text.lower()


def test_the_primary_difference_is_one_plain_sentence(result: dict[str, Any]) -> None:
    titles = {"a": "A", "b": "B"}
    found = {"a": "a", "b": "b", "value": 0.124, "low": 0.05, "high": 0.193, "p": 0.002}
    assert sentence(found, titles) == (
        "A answers 12 percentage points more of the questions correctly than B "
        "(95% interval +5 to +19 points, p = 0.002)."
    )
    worse = {**found, "value": -0.124, "low": -0.193, "high": -0.05, "p": 0.0002}
    assert "A answers 12 percentage points fewer of the questions" in sentence(worse, titles)
    assert "-19 to -5 points, p < 0.001" in sentence(worse, titles)
    open_ = {**found, "value": 0.02, "low": -0.05, "high": 0.09, "p": 0.6}
    assert sentence(open_, titles).startswith("Whether A or B answers more questions correctly is not decidable here")
    assert (
        sentence(result["differences"][0], {k: a["title"] for k, a in result["arms"].items()})
        in Page(render(result)).text
    )


@pytest.mark.parametrize(
    ("value", "low", "high", "p", "expected"),
    [
        (0.1, 0.01, 0.2, 0.049, "more"),
        (0.1, 0.01, 0.2, 0.05, "not decidable"),
        (0.1, 0.0, 0.2, 0.01, "not decidable"),
        (-0.1, -0.2, -0.01, 0.01, "fewer"),
        (-0.1, -0.2, 0.01, 0.01, "not decidable"),
    ],
)
def test_interval_and_test_must_agree(value: float, low: float, high: float, p: float, expected: str) -> None:
    assert verdict({"value": value, "low": low, "high": high, "p": p}) == expected


def test_few_questions_are_said_to_be_few(result: dict[str, Any]) -> None:
    assert "must be large before" not in Page(render(result)).text
    quick = Page(render(plausible.result(quick=True))).text
    assert "A quick look at 194 questions" in quick
    assert "A quick look, which decides nothing. What was measured: RAFT + RAG answers" in quick
    assert "must be large before it can be told from chance" in quick
    own = Page(render({**plausible.result(split="own"), "own": OWN})).text
    for text in (OWN["says"], OWN["findings"][0], "9 questions, and training takes 20", "6 questions of 3 families"):
        assert text in own
    assert "must be large before" in own
    assert "Too few questions to conclude anything. What was measured: RAFT + RAG answers" in own
    enough = render({**plausible.result(split="own"), "own": OWN | {"enough": True}})
    assert "What was measured" not in enough + render(result)
    assert "may flatter" in Page(render(result)).text
    assert "may flatter" not in Page(render(plausible.result(split="test"))).text


def test_arms_and_figures_that_are_missing_leave_gaps_and_no_error(result: dict[str, Any]) -> None:
    for key in ("few_shot", "lora_task", "lora_knowledge", "lora_task_rag", "raft_rag"):
        del result["arms"][key]
    result["differences"] = [one for one in result["differences"] if "raft_rag" not in (one["a"], one["b"])]
    result["counts"] = {"single": 5}
    for arm in result["arms"].values():
        for name in ("choice", "cited", "citation_precision", "citation_recall", "abstained", "current", "stale"):
            arm.pop(name, None)
        arm.pop("forgetting", None)
        arm["by_kind"] = {"single": {"correct": arm["correct"]}}
        arm["failures"] = []
    del result["ledger"]
    page = Page(render(result))
    assert page.faults == []
    assert "The primary contrast was not measured" in page.text
    assert "ledger" not in page.text
    assert "The worst failures" not in page.text
    result["differences"] = []
    assert "The primary contrast was not measured" in Page(render(result)).text


def test_long_texts_are_cut_and_the_page_stays_small(result: dict[str, Any]) -> None:
    result["own"] = {**OWN, "findings": ["&" * 5000] * 5000}
    for arm in result["arms"].values():
        for failure in arm["failures"]:
            failure |= {"question": "&" * 100_000, "answer": "<" * 100_000, "gold": "&" * 100_000}
            failure["passages"] = [{"label": "1", "text": "&" * 100_000, "gold": True}] * len(failure["passages"])
    markup = render(result)
    assert len(markup.encode()) < 2_000_000
    assert f"{100_000 - LONGEST:,} characters more" in markup
    assert "and 4950 more" in markup


def test_texts_that_no_page_can_hold_are_replaced() -> None:
    shown = said("a\udc80b\x00c\x1bd\x85e\nf\tg")
    assert shown.encode("utf-8").decode() == shown
    assert "a\ufffdb\ufffdc\ufffdd\ufffde\nf\tg" in shown
    # a text that turns the direction of reading turns only its own
    assert 'dir="auto"' in said("\u202eabc")


def test_a_drawing_puts_values_where_they_belong() -> None:
    figure = {"value": 0.5, "low": 0.25, "high": 2.0, "n": 9}
    drawing = dots("shares", [Dot("first <arm>", figure, True), Dot("none", None)])
    lines = [dict(re.findall(r'(\w+)="([^"]*)"', one)) for one in re.findall(r"<line ([^>]*)>", drawing)]
    axis = [float(one["x1"]) for one in lines if one["class"] == "axis"]
    (interval,) = [one for one in lines if one["class"] == "interval strong"]
    assert (float(interval["x1"]), float(interval["x2"])) == (axis[1], axis[4])  # cut off at the end of the axis
    (dot,) = re.findall(r'<circle class="dot strong" cx="([^"]*)"', drawing)
    assert float(dot) == axis[2]
    assert "<desc>first &lt;arm&gt; 0.50 [0.25, 2.00]; none none</desc>" in drawing
    zero = dots("differences", [Dot("a\nminus b", {**figure, "high": 0.6})], low=-1.0, high=1.0)
    assert zero.count('class="axis zero"') == 1
    assert zero.count("<text") == 5 + 2 + 1  # ticks, two lines of a label, the value


def test_what_the_comparison_writes_can_be_shown(material: Material, arms: dict[str, Arm]) -> None:
    result = compare(material, Console(quiet=True), arms=arms)
    page = Page(render(result))
    assert page.faults == []
    assert all(answer["question"] in page.text for arm in result["arms"].values() for answer in arm["failures"])
    assert "not for who asks: leaked" in page.text
