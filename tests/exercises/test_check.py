"""check, hint, solution: the four states, what is handed back, what is said."""

import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workshop_utils.exercises import check, hint, record, registry, solution
from workshop_utils.exercises.judging import Exercise, Wrong, expect_shape, expect_type, judge

pytestmark = pytest.mark.usefixtures("toy", "progress_file")


def cell(body: str, head: str = "def top(scores, k):") -> Callable[..., Any]:
    """A learner's function, written in a cell of its own."""
    text = f"import numpy as np\n{head}\n" + "".join(f"    {line}\n" for line in body.splitlines())
    file = f"<cell {abs(hash(text))}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {}
    exec(compile(text, file, "exec"), namespace)
    function: Callable[..., Any] = namespace["top"]
    return function


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_passed(capsys: pytest.CaptureFixture[str]) -> None:
    attempt = cell("return np.argsort(scores)[::-1][:k]")
    assert check(attempt) is attempt
    assert said(capsys) == "top: passed\ntried on 2 inputs\n"
    assert record.load().passed == ["top"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("raise NotImplementedError", "top: not attempted\nThe `raise NotImplementedError` in line 3"),
        ("x = 1\nraise NotImplementedError()", "not attempted\nThe `raise NotImplementedError` in line 4"),
        ("x = 1\nreturn x / 0", "your code raised ZeroDivisionError\nline 4: `return x / 0`\ndivision by zero"),
        ("return np.zeros(3).reshape(2)", "raised ValueError\nline 3: `return np.zeros(3).reshape(2)`\ncannot reshape"),
        ("def inner():\n    raise KeyError('x')\nreturn inner()", "raised KeyError\nline 4: `raise KeyError('x')`"),
        ("class A:\n    def f(self): raise NotImplementedError('no')\nA().f()", "raised NotImplementedError\nline 4"),
        ("int('x' * k)", "raised ValueError\nline 3: `int('x' * k)`"),
        ("return top(scores, k)", "raised RecursionError\nline 3: `return top(scores, k)`\nmaximum recursion"),
        ("assert False", "raised AssertionError\nline 3: `assert False`\nNow"),
        ("return np.argsort(scores)[:k]", "top: not right yet\nthe 1 lowest, not the highest"),
        ("return np.argsort(-scores)[:1].repeat(k)", "not right yet\nnot the 2 highest"),
        ("np.argsort(-scores)[:k]", "not right yet\ntop returned `None`: is a `return` missing?"),
        ("return np.argsort(-scores)", "The result should have shape (1,); yours has (3,)"),
        ("return list(np.argsort(-scores)[:k])", "should be ndarray; yours is list"),
        ("return np.array([1.5j, None])[:k]", "not right yet\nnot the 1 highest"),
    ],
)
def test_the_other_states_hand_back_the_reference(capsys: pytest.CaptureFixture[str], body: str, text: str) -> None:
    assert check(cell(body)) is registry.reference("top")
    output = said(capsys)
    assert text in output
    assert output.endswith("Now using the reference, so that the cells below work. `hint(top)` opens a hint.\n")
    assert record.load().passed == []


def test_a_changed_signature_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    check(cell("return scores", head="def top(scores):"))
    assert "The check calls top with ndarray, int, and your function does not take that: too many" in said(capsys)


def test_the_reference_does_not_pass_for_the_learner(capsys: pytest.CaptureFixture[str]) -> None:
    top = check(cell("raise NotImplementedError"))
    said(capsys)
    assert check(top) is top
    assert "this is the reference, not your code" in said(capsys)
    assert record.load().passed == []


def test_an_attempt_may_print_and_spoil_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    attempt = cell("print('hello')\nbest = np.argsort(-scores)[:k]\nscores[:] = 0\nreturn best")
    assert check(attempt) is attempt
    assert "hello" in said(capsys)


def test_an_interrupt_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        check(cell("raise KeyboardInterrupt"))


def test_an_unknown_function_is_named() -> None:
    with pytest.raises(registry.UnknownExerciseError, match="no exercise 'topp'; did you mean 'top'"):
        hint("topp")
    with pytest.raises(registry.UnknownExerciseError, match="take the function of an exercise, not int"):
        check(3)  # type: ignore[type-var]


def test_an_answer_that_the_checker_cannot_read_is_wrong() -> None:
    def checker(attempt: Callable[..., Any]) -> None:
        if len(attempt()) > 2:
            raise Wrong("long")

    outcome = judge(Exercise("any", checker), cell("return 3", head="def top():"))
    assert (outcome.state, outcome.key, outcome.values["error"]) == ("wrong", "unreadable", "TypeError")


def test_a_class_is_judged_by_its_own_lines() -> None:
    def checker(attempt: Callable[..., Any]) -> None:
        thing = attempt(2)
        if thing.double() != 4:
            raise Wrong("double")

    def verdict(body: str) -> tuple[str, str]:
        made = cell(f"def __init__(self, n):\n    self.n = n\ndef double(self):\n    {body}", head="class top:")
        outcome = judge(Exercise("any", checker), made)
        return outcome.state, str(outcome.values.get("line", outcome.key))

    assert verdict("return 2 * self.n") == ("passed", "")
    assert verdict("raise NotImplementedError") == ("not_attempted", "6")
    assert verdict("return self.m") == ("raised", "6")
    assert verdict("return self.n") == ("wrong", "double")


def test_a_function_that_returns_nothing_by_design() -> None:
    seen = []

    def checker(attempt: Callable[..., Any]) -> None:
        seen.append(attempt(1))

    assert judge(Exercise("any", checker), cell("pass", head="def top(x) -> None:")).state == "passed"
    assert seen == [None]


def test_arguments_are_copied_inside_containers_and_tensors() -> None:
    import torch

    array, tensor = np.ones(2), torch.ones(2, requires_grad=True)
    given: dict[str, Any] = {"a": [array], "t": (tensor.detach(),)}

    def checker(attempt: Callable[..., Any]) -> None:
        attempt(given, tensor)

    body = "x['a'][0][:] = 0\nx['t'][0][:] = 0\nx['new'] = 1\nreturn t.sum().item()"
    assert judge(Exercise("any", checker), cell(body, head="def top(x, t):")).state == "passed"
    assert array.sum() == tensor.sum() == 2
    assert "new" not in given


@pytest.mark.parametrize("value", [[[1, 2], [3]], None, "text", 1.0, np.ones((2, 1))])
def test_expect_shape_refuses(value: object) -> None:
    with pytest.raises(Wrong):
        expect_shape(value, (2,))


def test_expectations_accept() -> None:
    expect_shape([1, 2], (2,))
    expect_shape(3.0, ())
    expect_type(3, int, float)


def test_hints_open_one_by_one(capsys: pytest.CaptureFixture[str], progress_file: Path) -> None:
    hint("top")
    assert said(capsys) == "top: hint 1 of 3\n1. sort\n"
    hint(cell("pass"))
    assert said(capsys) == "top: hint 2 of 3\n1. sort\n2. `np.argsort` ascends\n"
    for _ in range(2):
        hint("top")
        assert said(capsys).startswith("top: hint 3 of 3\n1. sort\n2. `np.argsort` ascends\n3. turn the sign\nThat was")
    assert '"top": 3' in progress_file.read_text()


def test_solution_shows_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    solution("top")
    text = said(capsys)
    assert text.startswith("top: the reference\ndef top(scores: np.ndarray, k: int) -> np.ndarray:\n")
    assert "    return np.argsort(-scores)[:k]" in text


def test_a_name_in_two_lessons_is_refused(toy: Path) -> None:
    source = (toy / "toy_exercises/lesson_99.py").read_text()
    (toy / "toy_exercises/lesson_98.py").write_text(source)
    with pytest.raises(ValueError, match="'top' is in lesson_98 and in lesson_99"):
        registry.lessons()
