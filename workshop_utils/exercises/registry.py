"""Which exercises there are: `EXERCISES` of each module `lesson_NN`, and their references."""

import difflib
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from workshop_utils.exercises.judging import Exercise

PACKAGE = "workshop_utils.exercises"


class UnknownExerciseError(LookupError):
    """No lesson has an exercise of that name."""


def lessons() -> dict[str, tuple[Exercise, ...]]:
    """Every lesson's exercises in order, by the name of its module ('lesson_01').

    Raises ValueError for a name used twice.
    """
    folder = import_module(PACKAGE).__path__
    names = sorted(m.name for m in pkgutil.iter_modules(folder) if m.name.startswith("lesson_"))
    found: dict[str, tuple[Exercise, ...]] = {n: import_module(f"{PACKAGE}.{n}").EXERCISES for n in names}
    seen: dict[str, str] = {}
    for lesson, exercise in _pairs(found):
        if exercise.name in seen:
            raise ValueError(f"exercise {exercise.name!r} is in {seen[exercise.name]} and in {lesson}")
        seen[exercise.name] = lesson
    return found


def find(name: str) -> Exercise:
    """The exercise of that name. Raises UnknownExerciseError, which names the closest one there is."""
    return _find(name)[1]


def reference(name: str) -> Callable[..., Any]:
    """The complete solution, as `workshop build` wrote it out of the lesson."""
    function: Callable[..., Any] = getattr(reference_module(name), name)
    return function


def reference_module(name: str) -> ModuleType:
    """The module of references that an exercise's own stands in."""
    lesson, _ = _find(name)
    return import_module(f"{PACKAGE}.references.{lesson}")


def _find(name: str) -> tuple[str, Exercise]:
    everything = {exercise.name: (lesson, exercise) for lesson, exercise in _pairs(lessons())}
    if name not in everything:
        close = difflib.get_close_matches(name, everything, n=1)
        guess = f"; did you mean {close[0]!r}?" if close else ""
        raise UnknownExerciseError(f"there is no exercise {name!r}{guess}")
    return everything[name]


def _pairs(found: dict[str, tuple[Exercise, ...]]) -> Iterator[tuple[str, Exercise]]:
    return ((lesson, exercise) for lesson, exercises in found.items() for exercise in exercises)
