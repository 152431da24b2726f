"""The block that opens a lesson file, and the header cell made of it."""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from workshop_utils.authoring.problems import Problem
from workshop_utils.authoring.settings import Measured, Settings

CLAIM = re.compile(r"[A-Z]{1,2}[+-]?\d+")
LESSON = re.compile(r"\d\d_[a-z0-9_]+")


@dataclass(frozen=True)
class Header:
    """What a lesson says of itself. `minutes` are a human's, estimated."""

    title: str
    question: str
    ends_with: str
    claims: tuple[str, ...]
    minutes: int
    outcomes: tuple[str, ...]
    prerequisites: tuple[str, ...]


TEXTS = ("title", "question", "ends_with")
LISTS = ("claims", "outcomes", "prerequisites")
KEYS = {*TEXTS, *LISTS, "minutes"}


def parse(file: str, lines: list[str]) -> tuple[Header | None, int, list[Problem]]:
    """The header of a lesson's lines, the number of lines that it takes, and what is wrong with it."""
    if not lines or lines[0] != "# ---" or "# ---" not in lines[1:]:
        return None, 0, [Problem(file, 1, "the lesson must open with a block '# ---', '# workshop:', ..., '# ---'")]
    end = lines.index("# ---", 1)
    block = [line.removeprefix("#").removeprefix(" ") for line in lines[1:end]]
    try:
        data = yaml.safe_load("\n".join(block))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 2 if error.problem_mark else 1
        return None, end + 1, [Problem(file, line, f"the header is not YAML: {error.problem or error}")]
    if not isinstance(data, dict) or list(data) != ["workshop"] or not isinstance(data["workshop"], dict):
        return None, end + 1, [Problem(file, 1, "the header must hold the key 'workshop', and no other")]

    def line_of(key: str) -> int:
        return next((n for n, text in enumerate(block, start=2) if text.strip().startswith(f"{key}:")), 1)

    problems = [Problem(file, line_of(key), message) for key, message in _faults(data["workshop"])]
    return (None if problems else _header(data["workshop"])), end + 1, problems


def _faults(data: dict[Any, Any]) -> list[tuple[str, str]]:
    """Pairs of a key and what is wrong with it."""
    faults = [(str(key), f"unknown key {key!r} in the header") for key in data if key not in KEYS]
    faults += [("workshop", f"the header has no {key!r}") for key in sorted(KEYS - data.keys())]
    for key in TEXTS:
        if key in data and not _is_text(data[key]):
            faults.append((key, f"{key!r} must be a text"))
    for key in LISTS:
        if key in data and not (isinstance(data[key], list) and all(map(_is_text, data[key]))):
            faults.append((key, f"{key!r} must be a list of texts"))
        elif key in ("claims", "outcomes") and data.get(key) == []:
            faults.append((key, f"{key!r} is empty"))
        elif key == "claims":
            wrong = [claim for claim in data.get(key, []) if not CLAIM.fullmatch(claim)]
            faults += [(key, f"{claim!r} is not the id of a claim, such as R+1") for claim in wrong]
    minutes = data.get("minutes", 1)
    if type(minutes) is not int or minutes < 1:
        faults.append(("minutes", "'minutes' must be a whole number"))
    return faults


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _header(data: dict[str, Any]) -> Header:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    return Header(**fields)


def render(header: Header, lesson: str, folder: str, settings: Settings) -> str:
    """The markdown of the header cell of the notebook `folder`/`lesson`.ipynb."""
    number = lesson.partition("_")[0]
    badges = launch_badges(settings.repository, f"{folder}/{lesson}.ipynb")
    learner = f"*Solution edition, executed. The exercises are in [{lesson}](../notebooks/{lesson}.ipynb).*"
    facts = [
        ("Claims tested", ", ".join(header.claims)),
        ("Your time", f"about {header.minutes} minutes (estimated)"),
        ("The machine's time", measured_words(settings.measured.get(lesson))),
        ("Before this", ", ".join(map(_prerequisite, header.prerequisites)) or "nothing"),
    ]
    paragraphs = [
        f"# {number} · {header.title}",
        badges,
        learner if folder == "solutions" else "",
        f"**{header.question}**",
        "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts)]),
        "\n".join(["At the end you will be able to", "", *(f"- {outcome}" for outcome in header.outcomes)]),
    ]
    return "\n\n".join(filter(None, paragraphs))


def launch_badges(repository: str, path: str) -> str:
    """Badges that open `path` of a GitHub repository on Binder and on Colab; nothing while there is no repository."""
    if not repository:
        return ""
    name = repository.removeprefix("https://github.com/")
    quoted = path.replace("/", "%2F")
    binder = f"https://mybinder.org/v2/gh/{name}/main?labpath={quoted}"
    colab = f"https://colab.research.google.com/github/{name}/blob/main/{path}"
    return (
        f"[![Open on Binder](https://mybinder.org/badge_logo.svg)]({binder}) "
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})"
    )


def measured_words(measured: Measured | None) -> str:
    if measured is None:
        return "not measured yet"
    return f"{minutes_words(measured)} and {memory_words(measured)} of memory (measured)"


def minutes_words(measured: Measured) -> str:
    return f"{measured.seconds / 60:.1f} minutes"


def memory_words(measured: Measured) -> str:
    return f"{measured.peak_mb / 1000:.1f} GB"


def _prerequisite(text: str) -> str:
    return f"[{text}]({text}.ipynb)" if LESSON.fullmatch(text) else text
