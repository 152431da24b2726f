"""What an answer is: not attempted, raised, wrong, or passed. No display, no files."""

import inspect
import linecache
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from workshop_utils.messages import keys, say

State = Literal["not_attempted", "raised", "wrong", "passed"]
Checker = Callable[[Callable[..., Any]], None]

BLANK = "raise NotImplementedError"


class Wrong(Exception):  # noqa: N818  (an answer that is wrong, not an error of the program)
    """Raised by a checker: this answer is wrong, and message `key` of the exercise says why."""

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.values = values


@dataclass(frozen=True)
class Exercise:
    """The function (or class) a learner writes, and the checker that judges it.

    Title, hints and the wordings of `Wrong` are messages under `exercises.NAME`.
    """

    name: str
    check: Checker


@dataclass(frozen=True)
class Outcome:
    """How an attempt was judged. `key` names the mistake of a wrong one; `calls` counts the inputs tried."""

    state: State
    key: str = ""
    values: dict[str, object] = field(default_factory=dict)
    calls: int = 0


def judge(exercise: Exercise, attempt: Callable[..., Any]) -> Outcome:
    """Run the exercise's checker on an attempt. Only KeyboardInterrupt and its like pass through."""
    counted = Attempt(exercise.name, attempt)
    try:
        exercise.check(counted)
    except Wrong as wrong:
        return Outcome("wrong", wrong.key, {"name": exercise.name, **wrong.values}, counted.calls)
    except Exception as error:
        return _judge_error(exercise, attempt, error, counted.calls)
    return Outcome("passed", calls=counted.calls)


def reason(exercise: Exercise, outcome: Outcome) -> str:
    """Why a wrong answer is wrong: the exercise's own message, or the one that all exercises share."""
    own = f"exercises.{exercise.name}.wrong.{outcome.key}"
    return say(own if own in keys() else f"exercises.any.wrong.{outcome.key}", **outcome.values)


class Attempt:
    """The learner's function as a checker sees it: arguments copied, calls counted, `None` and a bad signature told."""

    def __init__(self, name: str, wrapped: Callable[..., Any]) -> None:
        self.name = name
        self.wrapped = wrapped
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        args, kwargs = _copied(args), _copied(kwargs)
        signature = inspect.signature(self.wrapped)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            given = ", ".join([*(type(a).__name__ for a in args), *kwargs]) or "nothing"
            raise Wrong("signature", name=self.name, given=given, reason=error) from None
        result = self.wrapped(*args, **kwargs)
        if result is None and signature.return_annotation not in (None, "None"):
            raise Wrong("returned_nothing", name=self.name)
        return result

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self.wrapped, attribute)


def expect_shape(value: Any, shape: tuple[int, ...]) -> None:
    """Raise the shared message `shape` unless `value` is an array (or tensor, or list of numbers) of that shape."""
    try:
        found = tuple(value.shape) if hasattr(value, "shape") else np.shape(value)
    except ValueError:
        raise Wrong("shape", expected=shape, found="rows of different lengths") from None
    if found != shape:
        raise Wrong("shape", expected=shape, found=found)


def expect_type(value: Any, *types: type) -> None:
    """Raise the shared message `type` unless `value` is of one of the types."""
    if not isinstance(value, types):
        raise Wrong("type", expected=" or ".join(t.__name__ for t in types), found=type(value).__name__)


def _judge_error(exercise: Exercise, attempt: Callable[..., Any], error: Exception, calls: int) -> Outcome:
    """An exception left the checker: it came from the learner's lines, or from the checker's own on an odd answer."""
    values: dict[str, object] = {"name": exercise.name, "error": type(error).__name__, "message": error}
    frames = [(f.f_code.co_filename, line) for f, line in traceback.walk_tb(error.__traceback__)]
    files = _files(attempt)
    learners = [(file, line) for file, line in frames if file in files]
    if not learners:
        return Outcome("wrong", "unreadable", values, calls)
    file, line = learners[-1]
    code = linecache.getline(file, line).strip()
    blank = isinstance(error, NotImplementedError) and code.startswith(BLANK)
    return Outcome("not_attempted" if blank else "raised", "", {**values, "line": line, "code": code}, calls)


def _files(attempt: Callable[..., Any]) -> set[str]:
    """Where the learner's code stands: the cell, for a function or class written in a notebook."""
    attempt = inspect.unwrap(attempt)
    parts = vars(attempt).values() if inspect.isclass(attempt) else [attempt]
    return {part.__code__.co_filename for part in parts if hasattr(part, "__code__")}


def _copied(value: Any) -> Any:
    """Arrays, tensors and plain containers as copies; anything else (a model, a tokenizer) as it is."""
    if type(value) in (list, tuple, set):
        return type(value)(_copied(item) for item in value)
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.copy()
    torch = sys.modules.get("torch")
    return value.clone() if torch is not None and isinstance(value, torch.Tensor) else value
