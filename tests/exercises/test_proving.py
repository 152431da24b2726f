"""The prover is itself proven: it must refuse what it is there to refuse."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workshop_utils.authoring.proving import ROOT, blank, prove
from workshop_utils.exercises import registry
from workshop_utils.exercises.judging import judge

Answers = dict[str, list[Callable[..., Any]]]

WRONG: Answers = {
    "ascending": [lambda s, k: np.argsort(s)[:k]],
    "other": [lambda s, k: np.full(k, 1), lambda s, k: np.argsort(-s)[::-1][1 : k + 1]],  # noqa: ARG005
    "returned_nothing": [lambda s, k: None],  # noqa: ARG005
}


def test_proves(toy: Path) -> None:
    prove("top", WRONG, root=toy)


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (WRONG | {"ascending": WRONG["other"]}, "wrong answer 1 under 'ascending' is judged wrong other"),
        (WRONG | {"other": [lambda s, k: np.argsort(-s)[:k]]}, "wrong answer 1 under 'other' is judged passed"),
        (WRONG | {"other": [lambda s, k: 1 / 0]}, "judged raised"),  # noqa: ARG005
        ({k: v for k, v in WRONG.items() if k != "ascending"}, "no wrong answer provokes the message 'ascending'"),
        ({"ascending": WRONG["ascending"], "other": WRONG["other"][:1]}, "fewer than 3"),
    ],
)
def test_refuses_answers(toy: Path, wrong: Answers, fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        prove("top", wrong, root=toy)


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("toy_exercises/lesson_99.py", "(1, 2):", "():", "the blank is judged passed"),
        ("toy_exercises/references/lesson_99.py", "(-scores)", "(scores)", "the reference is judged wrong ascending"),
        ("messages/en/lesson_99.toml", 'title = "The highest scores"\n', "", "has no exercises.top.title"),
        ("messages/en/lesson_99.toml", 'other = "not', 'unused = "x"\nother = "not', "provokes the message 'unused'"),
    ],
)
def test_refuses_exercises(toy: Path, file: str, old: str, new: str, fault: str) -> None:
    text = (toy / file).read_text()
    assert old in text
    (toy / file).write_text(text.replace(old, new))
    with pytest.raises(AssertionError, match=fault):
        prove("top", WRONG, root=toy)


def test_every_exercise_of_a_lesson_has_a_check_and_a_reference() -> None:
    """And every check belongs to an exercise; each blank is seen as not attempted."""
    from workshop_utils.authoring import settings
    from workshop_utils.authoring.project import read_lessons

    lessons, _ = read_lessons(ROOT, settings.read(ROOT)[0])
    written = {(f"lesson_{lesson.name[:2]}", e.name) for lesson in lessons for e in lesson.exercises}
    checked = {(lesson, e.name) for lesson, exercises in registry.lessons().items() for e in exercises}
    assert written == checked
    for _, name in sorted(written):
        assert registry.reference(name).__name__ == name
        assert judge(registry.find(name), blank(name)).state == "not_attempted"
