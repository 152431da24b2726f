"""The regions of README.md and docs/ that are written by the builder."""

import re
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any

from workshop_utils.authoring.header import memory_words, minutes_words
from workshop_utils.authoring.settings import Settings
from workshop_utils.authoring.source import Lesson

README, TRAINING = "README.md", "docs/training.md"
HEAD = (
    "| lesson | you end with | claims | your time (estimated) | machine time (measured) "
    "| on an older laptop (measured) | memory (measured) |\n"
    "|---|---|---|---|---|---|---|"
)


def pages(lessons: Iterable[Lesson], settings: Settings) -> dict[str, tuple[str, str]]:
    """By path: the name of the page's region, and what stands in it."""
    found = {README: ("lessons", lesson_table(lessons, settings))}
    if {"train.json", "steps.json"} <= settings.results.keys():
        tables = training_tables(settings.results["train.json"], settings.results["steps.json"])
        found[TRAINING] = ("bench train", tables)
    return found


def training_tables(bench: Mapping[str, Any], steps: Mapping[str, Any]) -> str:
    """What `workshop bench train` and `workshop bench steps` measured, in markdown."""
    stock, ours = bench["stock"], bench["ours"]
    rows = [
        ("learning rate, the best of those tried", "rate", "g"),
        ("seconds in all", "seconds", ".0f"),
        ("best development loss", "best_dev_loss", ".4f"),
        ("seconds to the stock recipe's best", "seconds_to_equal", ".0f"),
        ("examples a second", "examples_per_second", ".2f"),
        ("peak memory, MB", "peak_mb", ".0f"),
        ("share of the matrix-product peak", "gemm_share", ".2f"),
    ]
    return "\n".join(
        [
            f"{bench['examples']} tickets, {bench['epochs']} epochs, loss on {bench['dev']} others, {bench['dtype']}, "
            f"{bench['threads']} threads, products of matrices at most {bench['gemm_gflops']:.0f} GFLOP/s:",
            "",
            "| | stock | ours |",
            "|---|---|---|",
            *(f"| {label} | {_cell(stock[key], form)} | {_cell(ours[key], form)} |" for label, key, form in rows),
            "",
            f"To equal development loss {_cell(bench['speedup'], '.1f')} times as fast, in "
            f"{_cell(bench['memory_ratio'], '.0%')} of the memory.",
            "",
            "| our steps' time | share | | left out | times as long |",
            "|---|---|---|---|---|",
            *_side_by_side(steps["parts"], steps["without"]),
        ]
    )


def _side_by_side(parts: Mapping[str, float], without: Mapping[str, float]) -> Iterable[str]:
    for (part, share), (name, times) in zip_longest(parts.items(), without.items(), fillvalue=("", None)):
        yield f"| {part} | {_cell(share, '.0%')} | | {name} | {_cell(times, '.2f')} |"


def _cell(value: Any, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def lesson_table(lessons: Iterable[Lesson], settings: Settings) -> str:
    """One row a lesson, in markdown."""
    return "\n".join([HEAD, *(_row(lesson, settings) for lesson in lessons)])


def fill(text: str, name: str, content: str) -> str:
    """`text` with `content` in its one region <!-- BEGIN GENERATED: name --> ... <!-- END GENERATED -->.

    Raises ValueError when there is not exactly one such region.
    """
    begin, end = f"<!-- BEGIN GENERATED: {name} -->", "<!-- END GENERATED -->"
    region = re.compile(f"{re.escape(begin)}((?!<!-- BEGIN GENERATED).)*?{re.escape(end)}", re.DOTALL)
    filled, count = region.subn(lambda _: f"{begin}\n{content}\n{end}", text)
    if count != 1 or text.count(begin) != 1:
        raise ValueError(f"needs one region {begin} ... {end}; it has {count}")
    return filled


def _row(lesson: Lesson, settings: Settings) -> str:
    measured = settings.measured.get(lesson.name)
    slow = settings.measured_slow.get(lesson.name)
    number = lesson.name.partition("_")[0]
    return (
        "| "
        + " | ".join(
            [
                f"[{number} {lesson.header.title}](notebooks/{lesson.name}.ipynb)",
                lesson.header.ends_with,
                " ".join(lesson.header.claims),
                f"{lesson.header.minutes} minutes",
                minutes_words(measured) if measured else "not measured yet",
                minutes_words(slow) if slow else "not measured yet",
                memory_words(measured) if measured else "not measured yet",
            ]
        )
        + " |"
    )
