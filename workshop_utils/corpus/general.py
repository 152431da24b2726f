"""What tuning may make a model forget: general knowledge and ordinary prose, neither of them about the company."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workshop_utils.corpus.documents import data_dir
from workshop_utils.corpus.records import read_records


@dataclass(frozen=True)
class GeneralChoice:
    """A question that any school knows, with four choices of which ``choices[choice]`` is right."""

    id: str
    topic: str
    question: str
    choices: tuple[str, ...]
    choice: int


@dataclass(frozen=True)
class Prose:
    """A paragraph of general prose; a model's perplexity on it rises as it forgets how people write."""

    id: str
    topic: str
    text: str


def load_general_choices(folder: Path | None = None) -> list[GeneralChoice]:
    """The general-knowledge questions.

    Raises:
        CorpusError: a line is not one; the message names file and line.
    """
    return read_records((folder or data_dir() / "general") / "choices.jsonl", _parse_choice)


def load_prose(folder: Path | None = None) -> list[Prose]:
    """The paragraphs of general prose.

    Raises:
        CorpusError: a line is not one; the message names file and line.
    """
    return read_records((folder or data_dir() / "general") / "prose.jsonl", lambda record: Prose(**record))


def _parse_choice(record: dict[str, Any]) -> GeneralChoice:
    return GeneralChoice(**{**record, "choices": tuple(record["choices"])})
