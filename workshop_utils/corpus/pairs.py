"""Pairs of texts to learn a way of writing from: house-style replies, and clinical notes in plain language."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workshop_utils.corpus.documents import data_dir
from workshop_utils.corpus.questions import Split
from workshop_utils.corpus.records import read_records

Task = Literal["style", "jargon"]
TASKS: tuple[Task, ...] = ("style", "jargon")


@dataclass(frozen=True)
class Pair:
    """``text`` is what comes in, ``target`` what a good writer makes of it by the task's GUIDE.md.

    Pairs of one ``scenario`` are in one split.
    """

    id: str
    scenario: str
    text: str
    target: str


def load_pairs(task: Task, split: Split, *, folder: Path | None = None) -> list[Pair]:
    """The pairs of one task and split: customer message and reply (style), note and plain language (jargon).

    Raises:
        CorpusError: a line is not a pair; the message names file and line.
    """
    return read_records((folder or data_dir() / task) / f"{split}.jsonl", lambda record: Pair(**record))
