"""Proves an exercise: blank is not attempted, the reference passes, each known mistake gets its own message."""

import linecache
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workshop_utils.authoring import editions, source
from workshop_utils.exercises import registry
from workshop_utils.exercises.judging import judge, reason
from workshop_utils.messages import keys

ROOT = Path(__file__).resolve().parents[2]
FEWEST_WRONG_ANSWERS = 3


def prove(name: str, wrong: Mapping[str, Sequence[Callable[..., Any]]], root: Path = ROOT) -> None:
    """Prove the exercise `name` of a lesson in `root`; `wrong` holds wrong answers under the message each must get.

    Raises AssertionError with everything that does not hold.
    """
    exercise = registry.find(name)
    faults = []
    outcome = judge(exercise, blank(name, root))
    if outcome.state != "not_attempted":
        faults.append(f"the blank is judged {outcome.state}, not 'not_attempted'")
    outcome = judge(exercise, registry.reference(name))
    if outcome.state != "passed":
        faults.append(f"the reference is judged {outcome.state} {outcome.key} {outcome.values}")
    for key, answers in wrong.items():
        for n, answer in enumerate(answers, start=1):
            outcome = judge(exercise, answer)
            if (outcome.state, outcome.key) != ("wrong", key):
                got = f"{outcome.state} {outcome.key} {outcome.values}"
                faults.append(f"wrong answer {n} under {key!r} is judged {got}")
            else:
                reason(exercise, outcome)
    if sum(map(len, wrong.values())) < FEWEST_WRONG_ANSWERS:
        faults.append(f"fewer than {FEWEST_WRONG_ANSWERS} wrong answers")
    under = f"exercises.{name}.wrong."
    unused = [key for k in keys(under[:-1]) if (key := k.removeprefix(under)) not in wrong or not wrong[key]]
    faults += [f"no wrong answer provokes the message {key!r}" for key in unused]
    missing = [part for part in ("title", "passed", "hints") if not keys(f"exercises.{name}.{part}")]
    faults += [f"the catalogue has no exercises.{name}.{part}" for part in missing]
    assert not faults, f"{name}:\n" + "\n".join(f"- {fault}" for fault in faults)


def blank(name: str, root: Path = ROOT) -> Callable[..., Any]:
    """The exercise as the learner finds it, with the imports of its reference at hand."""
    for path in sorted((root / "lessons").glob("*.py")):
        lesson, _ = source.read(path.stem, path.read_text(encoding="utf-8"))
        for exercise in lesson.exercises if lesson else ():
            if exercise.name == name:
                text, file = editions.blank(exercise), f"<blank {name}>"
                linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
                namespace = dict(vars(registry.reference_module(name)))
                exec(compile(text, file, "exec"), namespace)
                function: Callable[..., Any] = namespace[name]
                return function
    raise LookupError(f"no lesson in {root / 'lessons'} that can be read has the exercise {name!r}")
