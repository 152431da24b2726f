"""What the reader learns from: the right number, an answer that stands in that passage, and abstention."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.corpus.questions import NO_ANSWER
from workshop_utils.corpus.reader_set import load_reader_examples
from workshop_utils.models.adapters import READER
from workshop_utils.rag.answer import parse_citations
from workshop_utils.rag.prompts import PASSAGE_TOKENS, READER_PROMPT
from workshop_utils.tuning import reader as subject
from workshop_utils.tuning.reader import MOST_PASSAGES, SETTINGS, reader_examples
from workshop_utils.tuning.run import REPORT
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.supervised import Example


def examples(seed: int = 0) -> list[Example]:
    return list(
        reader_examples(
            load_reader_examples("dev"), READER_PROMPT, passage_tokens=PASSAGE_TOKENS, most=MOST_PASSAGES, seed=seed
        )
    )


def passages(example: Example) -> dict[str, str]:
    text = str(example.messages[-1].content).removeprefix("Text:\n").split("\n\nQuestion: ")[0]
    parts = re.split(r"(?:^|\n\n)\[(\d)\] ", text)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_answer_stands_in_the_passage_that_is_cited_and_in_no_other() -> None:
    cited = [example for example in examples() if example.answer != NO_ANSWER]
    assert len(cited) > 150
    for example in cited:
        shown = passages(example)
        (label,), unknown = parse_citations(example.answer, list(shown))
        answer = example.answer.removeprefix(f"[{label}] ")
        assert not unknown
        assert [other for other, text in shown.items() if answer in text] == [label]


def test_the_right_passage_may_stand_anywhere() -> None:
    labels = {example.answer[1] for example in examples() if example.answer != NO_ANSWER}
    assert labels == {str(number) for number in range(1, MOST_PASSAGES + 1)}


def test_some_questions_have_no_answer() -> None:
    share = sum(example.answer == NO_ANSWER for example in examples()) / len(examples())
    assert 0.05 < share < 0.3


def test_the_command_trains_on_all_of_the_set_and_watches_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def train(rows: Any, folder: Path, settings: Any, *, dev: Any) -> dict[str, Any]:
        seen.update(rows=len(rows), folder=folder, settings=settings, dev=len(dev))
        return {}

    monkeypatch.setattr(subject, "train_adapter", train)
    subject.train_reader(tmp_path / "reader")
    assert seen == {
        "rows": len(load_reader_examples("train")),
        "dev": len(load_reader_examples("dev")),
        "folder": tmp_path / "reader",
        "settings": SETTINGS,
    }


def test_the_reader_that_is_shipped_was_trained_as_the_command_does() -> None:
    report = json.loads((READER / REPORT).read_text("utf-8"))
    assert report["examples"] == len(load_reader_examples("train"))
    assert Settings(**report["settings"]) == SETTINGS
