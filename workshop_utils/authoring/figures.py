"""Measured figures in the text: {{results/FILE.json:path.to.value|format}} becomes the stored value."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from workshop_utils.authoring.problems import Problem
from workshop_utils.authoring.source import Cell, Lesson

FIGURE = re.compile(r"\{\{results/(?P<file>[\w./-]+\.json):(?P<path>[^|{}]+)(?:\|(?P<format>[^{}]*))?\}\}")
ANY = re.compile(r"\{\{[^\n]{0,40}")


def fill(lesson: Lesson, results: Mapping[str, Any]) -> tuple[Lesson, list[Problem]]:
    """The lesson with its figures filled in, and one problem for each that cannot be."""
    filled = [(c, []) if c.kind == "code" else _fill_cell(lesson.file, c, results) for c in lesson.cells]
    return replace(lesson, cells=tuple(cell for cell, _ in filled)), [p for _, problems in filled for p in problems]


def _fill_cell(file: str, cell: Cell, results: Mapping[str, Any]) -> tuple[Cell, list[Problem]]:
    problems = [
        Problem(file, cell.line_of(text), f"not of the form {{{{results/FILE.json:path|format}}}}: {text}")
        for text in ANY.findall(FIGURE.sub("", cell.source))
    ]

    def value(match: re.Match[str]) -> str:
        try:
            return _value(match, results)
        except (LookupError, TypeError, ValueError) as error:
            problems.append(Problem(file, cell.line_of(match[0]), f"{match[0]}: {error}"))
            return ""

    return replace(cell, source=FIGURE.sub(value, cell.source)), problems


def _value(match: re.Match[str], results: Mapping[str, Any]) -> str:
    if match["file"] not in results:
        raise LookupError(f"there is no data/results/{match['file']}")
    found = results[match["file"]]
    for step in match["path"].split("."):
        try:
            found = found[int(step)] if isinstance(found, list) else found[step]
        except (LookupError, TypeError, ValueError):
            raise LookupError(f"data/results/{match['file']} has no {match['path']!r} (at {step!r})") from None
    if not isinstance(found, str | int | float):
        raise TypeError(f"{match['path']!r} is not one value")
    return format(found, match["format"] or "")
