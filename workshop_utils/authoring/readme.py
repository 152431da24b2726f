"""The regions of README.md that are written by the builder."""

import re
from collections.abc import Iterable

from workshop_utils.authoring.header import memory_words, minutes_words
from workshop_utils.authoring.settings import Settings
from workshop_utils.authoring.source import Lesson

HEAD = (
    "| lesson | you end with | claims | your time (estimated) | machine time (measured) "
    "| on an older laptop (measured) | memory (measured) |\n"
    "|---|---|---|---|---|---|---|"
)


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
