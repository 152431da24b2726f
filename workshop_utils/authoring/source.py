"""Reads a lesson file: cells, tags, markers, exercises. Strict, and reports every failure with its line."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import jupytext

from workshop_utils.authoring import header as headers
from workshop_utils.authoring.header import Header
from workshop_utils.authoring.problems import Problem

BEGIN, END = "# BEGIN SOLUTION", "# END SOLUTION"
LOOKS_LIKE_A_MARKER = re.compile(r"#+\s*(begin|end)[\s_-]*solutions?\b", re.IGNORECASE)
CELL_LINE = re.compile(r"# %%(?P<markdown> \[markdown\])?(?: tags=(?P<tags>\[[^\]]*\]))?")
LOOKS_LIKE_A_CELL_LINE = re.compile(r"\s*#\s*(%%(?![A-Za-z])|<codecell>|In\[[0-9 ]*\])")

CODE_TAGS = {"exercise", "check", "nbval-ignore-output", "nbval-raises-exception"}
MARKDOWN_TAGS = {"instructor"}
TAGS = {*CODE_TAGS, *MARKDOWN_TAGS, "extra"}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Cell:
    """One cell: `raw` are its lines in the file, from line `line` on, under its cell line `start`."""

    kind: Literal["markdown", "code"]
    tags: tuple[str, ...]
    start: int
    line: int
    raw: tuple[str, ...]
    source: str

    def line_of(self, text: str) -> int:
        """The line of the file where `text` first occurs in this cell; the cell's own where it does not."""
        return next((n for n, raw in enumerate(self.raw, start=self.line) if text in raw), self.line)

    def holds(self, node: ast.AST) -> bool:
        return self.line <= getattr(node, "lineno", 0) < self.line + len(self.raw)


@dataclass(frozen=True)
class ExerciseCell:
    """An exercise, its name being its id; `blocks` are pairs of marker lines, as indices of `raw`."""

    name: str
    cell: Cell
    blocks: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Lesson:
    """A lesson that has been read. `tree` is the whole file, so that its line numbers are the file's."""

    name: str
    file: str
    header: Header
    cells: tuple[Cell, ...]
    exercises: tuple[ExerciseCell, ...]
    tree: ast.Module


def read(name: str, text: str) -> tuple[Lesson | None, list[Problem]]:
    """The lesson in `text`, or None; and everything that is wrong with it."""
    file = f"lessons/{name}.py"
    lines = text.splitlines()
    header, start, problems = headers.parse(file, lines)
    cells, more = _cells(file, lines, start)
    problems += more
    if not cells:
        return None, problems
    problems += [*_tag_problems(file, cells), *_stray_markers(file, lines, cells)]
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return None, [*problems, Problem(file, error.lineno or 1, f"not Python: {error.msg}")]
    exercises: list[ExerciseCell] = []
    for cell in cells:
        if "exercise" in cell.tags:
            blocks, more = _blocks(file, cell)
            found, faults = _exercise(file, cell, tree, blocks)
            exercises += found
            problems += [*more, *faults]
    problems += _check_cell_problems(file, cells, tree, exercises)
    if header is None or problems:
        return None, problems
    return Lesson(name, file, header, tuple(cells), tuple(exercises), tree), []


def _cells(file: str, lines: list[str], start: int) -> tuple[list[Cell], list[Problem]]:
    """Cells as jupytext reads them, each with its place in the file."""
    starts = [n for n in range(start, len(lines)) if CELL_LINE.fullmatch(lines[n])]
    problems = [
        Problem(file, n + 1, f"not a cell line of this project: {lines[n]!r}; write # %%, [markdown], tags=[...]")
        for n in range(start, len(lines))
        if LOOKS_LIKE_A_CELL_LINE.match(lines[n]) and not CELL_LINE.fullmatch(lines[n])
    ]
    before = [n for n in range(start, starts[0] if starts else len(lines)) if lines[n].strip()]
    problems += [Problem(file, n + 1, "text before the first cell") for n in before]
    if problems:
        return [], problems
    if not starts:
        return [], [Problem(file, 1, "the lesson has no cell")]
    sources = [cell.source for cell in jupytext.reads("\n".join(lines[starts[0] :]), fmt="py:percent").cells]
    if len(sources) != len(starts):
        return [], [Problem(file, 1, f"jupytext reads {len(sources)} cells, the file has {len(starts)} cell lines")]
    cells = []
    for first, last, source in zip(starts, [*starts[1:], len(lines)], sources, strict=True):
        form = CELL_LINE.fullmatch(lines[first])
        assert form is not None
        try:
            tags = tuple(map(str, json.loads(form["tags"] or "[]")))
        except ValueError:
            tags = ()
            problems.append(Problem(file, first + 1, f"tags must be a list of quoted words, not {form['tags']}"))
        body = [n for n in range(first + 1, last) if lines[n].strip()]
        if not body:
            problems.append(Problem(file, first + 1, "an empty cell"))
            continue
        kind: Literal["markdown", "code"] = "markdown" if form["markdown"] else "code"
        cells.append(Cell(kind, tags, first + 1, body[0] + 1, tuple(lines[body[0] : body[-1] + 1]), source))
    return cells, problems


def _tag_problems(file: str, cells: list[Cell]) -> Iterator[Problem]:
    for cell in cells:
        for tag in cell.tags:
            if tag not in TAGS:
                yield Problem(file, cell.start, f"unknown tag {tag!r}; there are {', '.join(sorted(TAGS))}")
            elif tag in (CODE_TAGS if cell.kind == "markdown" else MARKDOWN_TAGS):
                yield Problem(file, cell.start, f"tag {tag!r} does not go with a {cell.kind} cell")


def _stray_markers(file: str, lines: list[str], cells: list[Cell]) -> Iterator[Problem]:
    in_exercises = {n for c in cells if "exercise" in c.tags for n in range(c.line, c.line + len(c.raw))}
    for n, line in enumerate(lines, start=1):
        if not LOOKS_LIKE_A_MARKER.search(line):
            continue
        if line.strip() not in (BEGIN, END):
            yield Problem(file, n, f"a marker is {BEGIN!r} or {END!r} on a line of its own, not {line.strip()!r}")
        elif n not in in_exercises:
            yield Problem(file, n, f"{line.strip()!r} outside an exercise cell")


def _blocks(file: str, cell: Cell) -> tuple[list[tuple[int, int]], list[Problem]]:
    """The solution blocks of an exercise cell: balanced, not nested, not empty, markers equally indented."""
    blocks: list[tuple[int, int]] = []
    problems = []
    begin: int | None = None
    for n, line in enumerate(cell.raw):
        if line.strip() == BEGIN:
            if begin is not None:
                problems.append(Problem(file, cell.line + n, f"{BEGIN!r} inside a solution block"))
            begin = n
        elif line.strip() == END:
            if begin is None:
                problems.append(Problem(file, cell.line + n, f"{END!r} without {BEGIN!r}"))
                continue
            if _indent(line) != _indent(cell.raw[begin]):
                problems.append(Problem(file, cell.line + n, f"{END!r} is not indented as its {BEGIN!r}"))
            if all(not text.strip() or text.strip().startswith("#") for text in cell.raw[begin + 1 : n]):
                problems.append(Problem(file, cell.line + begin, "the solution block is empty"))
            blocks.append((begin, n))
            begin = None
    if begin is not None:
        problems.append(Problem(file, cell.line + begin, f"{BEGIN!r} without {END!r}"))
    if not blocks and not problems:
        problems.append(Problem(file, cell.line, "an exercise cell needs a solution block"))
    return blocks, problems


def _exercise(
    file: str, cell: Cell, tree: ast.Module, blocks: list[tuple[int, int]]
) -> tuple[list[ExerciseCell], list[Problem]]:
    match [node for node in tree.body if cell.holds(node)]:
        case [ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() as node]:
            faults = [Problem(file, line, message) for line, message in _definition_faults(node)]
            return [ExerciseCell(node.name, cell, tuple(blocks))], faults
        case _:
            return [], [Problem(file, cell.line, "an exercise cell holds one function or class and nothing else")]


def _definition_faults(node: Definition) -> Iterator[tuple[int, str]]:
    if not ast.get_docstring(node):
        yield node.lineno, f"{node.name} has no docstring"
    if isinstance(node, ast.ClassDef):
        functions = [f for f in node.body if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)]
    else:
        functions = [node]
    for function in functions:
        arguments = function.args
        named = [*arguments.posonlyargs, *arguments.args]
        if isinstance(node, ast.ClassDef) and not any("staticmethod" in ast.dump(d) for d in function.decorator_list):
            named = named[1:]
        others = [*arguments.kwonlyargs, *filter(None, (arguments.vararg, arguments.kwarg))]
        bare = [a.arg for a in [*named, *others] if a.annotation is None] + (
            ["return"] if function.returns is None else []
        )
        if bare:
            yield function.lineno, f"{function.name} lacks annotations: {', '.join(bare)}"


def _check_cell_problems(
    file: str, cells: list[Cell], tree: ast.Module, exercises: list[ExerciseCell]
) -> Iterator[Problem]:
    """After each exercise, before the next, one cell tagged 'check' that holds NAME = check(NAME) and nothing else."""
    names = {exercise.cell.line: exercise.name for exercise in exercises}
    waiting: tuple[str, int] | None = None

    def missing() -> list[Problem]:
        if waiting is None:
            return []
        name, line = waiting
        return [Problem(file, line, f"no cell {name} = check({name}), tagged 'check', before the next exercise")]

    for cell in cells:
        if cell.line in names:
            yield from missing()
            waiting = (names[cell.line], cell.line)
            continue
        nodes = [node for node in tree.body if cell.kind == "code" and cell.holds(node)]
        checked = [name for node in nodes if (name := _checked(node))]
        if "check" not in cell.tags:
            yield from (Problem(file, cell.line_of("check("), "tag this cell 'check'") for _ in checked)
        elif len(checked) != 1 or len(nodes) != 1:
            yield Problem(file, cell.line, "a check cell holds NAME = check(NAME) and nothing else")
        elif waiting is None or checked[0] != waiting[0]:
            yield Problem(file, cell.line, f"check({checked[0]}) does not follow the exercise {checked[0]}")
        else:
            waiting = None
    yield from missing()


def _checked(node: ast.stmt) -> str | None:
    """NAME, if the statement is NAME = check(NAME)."""
    if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
        return None
    name = node.targets[0].id
    return name if ast.unparse(node) == f"{name} = check({name})" else None


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
