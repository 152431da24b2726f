"""What a learner calls in a notebook: check, hint, solution, progress."""

import html
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from workshop_utils.exercises import record, registry
from workshop_utils.exercises.box import Box, Tone, show
from workshop_utils.exercises.judging import Exercise, Outcome, State, judge, reason
from workshop_utils.messages import keys, say

F = TypeVar("F", bound=Callable[..., Any])


def check(attempt: F) -> F:
    """Judge an answer and say how it is: not attempted, raised, wrong with the reason, or passed.

    Returns the attempt when it passes, the reference otherwise, so that the rest of the notebook works either way.
    Raises UnknownExerciseError for a function that is no exercise.
    """
    exercise = registry.find(_name(attempt))
    reference: F = registry.reference(exercise.name)  # type: ignore[assignment]
    if attempt is reference:
        name = exercise.name
        show(Box("open", say("check.handed_back.heading", name=name), (say("check.handed_back.text", name=name),)))
        return reference
    outcome = judge(exercise, attempt)
    show(_verdict(exercise, outcome))
    if outcome.state != "passed":
        return reference
    record.mark_passed(exercise.name)
    return attempt


def hint(exercise: Callable[..., Any] | str) -> None:
    """Open one more hint of an exercise, and show all that are open."""
    name = registry.find(_name(exercise)).name
    hints = keys(f"exercises.{name}.hints")
    if not hints:
        show(Box("info", say("hint.none", name=name)))
        return
    n = record.open_hint(name, len(hints))
    last = [say("hint.last", name=name)] if n == len(hints) else []
    steps = [f"{i}. {say(key)}" for i, key in enumerate(hints[:n], start=1)]
    show(Box("info", say("hint.heading", name=name, n=n, total=len(hints)), (*steps, *last)))


def solution(exercise: Callable[..., Any] | str) -> None:
    """Show the source of an exercise's reference."""
    name = registry.find(_name(exercise)).name
    source = inspect.getsource(registry.reference(name))
    show(Box("info", say("solution.heading", name=name), code=source))


class Progress:
    """A small table: every exercise, whether it has passed, how many of its hints are open."""

    def __init__(self) -> None:
        kept = record.load()
        self.rows = [
            (
                lesson.removeprefix("lesson_"),
                exercise.name,
                exercise.name in kept.passed,
                kept.hints.get(exercise.name, 0),
            )
            for lesson, exercises in registry.lessons().items()
            for exercise in exercises
        ]

    def _table(self) -> list[tuple[str, ...]]:
        head = tuple(say(f"progress.{column}") for column in ("lesson", "exercise", "state", "hints"))
        state = {True: say("progress.passed"), False: say("progress.open")}
        return [head, *((lesson, _titled(name), state[done], str(n or "")) for lesson, name, done, n in self.rows)]

    def _heading(self) -> str:
        return say("progress.heading", passed=sum(done for _, _, done, _ in self.rows), total=len(self.rows))

    def __repr__(self) -> str:
        table = self._table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in table]
        return "\n".join([self._heading(), *lines])

    def _repr_html_(self) -> str:
        head, *rows = [[html.escape(cell) for cell in row] for row in self._table()]
        lines = [f"<tr>{''.join(f'<th>{c}</th>' for c in head)}</tr>"]
        lines += [f"<tr>{''.join(f'<td>{c}</td>' for c in row)}</tr>" for row in rows]
        return f"<b>{html.escape(self._heading())}</b><table>{''.join(lines)}</table>"


def progress() -> Progress:
    """The table of what is done; shown as the last line of a cell."""
    return Progress()


def _titled(name: str) -> str:
    return f"{name}: {say(f'exercises.{name}.title')}"


TONES: dict[State, Tone] = {"not_attempted": "open", "raised": "bad", "wrong": "bad", "passed": "good"}


def _verdict(exercise: Exercise, outcome: Outcome) -> Box:
    values: dict[str, object] = {"name": exercise.name, "calls": outcome.calls, **outcome.values}
    heading = say(f"check.{outcome.state}.heading", **values)
    if outcome.state == "passed":
        return Box(TONES["passed"], heading, (say(f"exercises.{exercise.name}.passed", **values),))
    wrong = outcome.state == "wrong"
    text = reason(exercise, outcome) if wrong else say(f"check.{outcome.state}.text", **values).rstrip()
    return Box(TONES[outcome.state], heading, (text, say("check.reference.text", **values)))


def _name(exercise: Callable[..., Any] | str) -> str:
    name = exercise if isinstance(exercise, str) else getattr(exercise, "__name__", None)
    if not isinstance(name, str):
        raise registry.UnknownExerciseError(
            f"check, hint and solution take the function of an exercise, not {type(exercise).__name__}"
        )
    return name
