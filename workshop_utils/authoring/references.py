"""The reference answers of a lesson as a module, made of its solution blocks."""

import ast
import builtins
import symtable
from collections.abc import Iterator

from workshop_utils.authoring.problems import Problem
from workshop_utils.authoring.source import ExerciseCell, Lesson

HEAD = '''\
# ruff: noqa
# fmt: off
# mypy: disable-error-code="no-any-return"
"""Reference answers: generated from {file} by `workshop build`; do not edit."""
'''


def module_name(lesson: str) -> str:
    return f"lesson_{lesson[:2]}"


def render(lesson: Lesson) -> tuple[str, list[Problem]]:
    """The source of the lesson's reference module, and a problem for each name that a solution takes from nowhere."""
    known = {exercise.name for exercise in lesson.exercises}
    imports = list(_imports(lesson))
    importable = {name for name, _ in imports}
    needed: set[str] = set()
    problems = []
    for exercise in lesson.exercises:
        for name in sorted(_free_names(solution(exercise)) - known - set(dir(builtins))):
            if name in importable:
                needed.add(name)
            else:
                line = _first_use(lesson.tree, exercise, name)
                text = f"the solution of {exercise.name} uses {name!r}, not imported and no exercise of this lesson"
                problems.append(Problem(lesson.file, line, text))
    lines = dict.fromkeys(line for name, line in imports if name in needed)
    parts = [HEAD.format(file=lesson.file), *(["\n".join(lines) + "\n"] if lines else [])]
    parts += [f"\n{solution(exercise)}\n" for exercise in lesson.exercises]
    return "\n".join(parts), problems


def solution(exercise: ExerciseCell) -> str:
    """The exercise solved: its cell without the marker lines."""
    markers = {n for block in exercise.blocks for n in block}
    return "\n".join(line for n, line in enumerate(exercise.cell.raw) if n not in markers)


def _imports(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """Pairs of a name and the import that binds it, at the top level of the lesson, in order."""
    for node in lesson.tree.body:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield alias.asname or alias.name.partition(".")[0], f"import {_alias(alias)}"
            case ast.ImportFrom(module=str(module), names=names, level=0):
                for alias in names:
                    yield alias.asname or alias.name, f"from {module} import {_alias(alias)}"


def _alias(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def _free_names(source: str) -> set[str]:
    """Names that a top-level definition reads from its module, annotations and defaults included."""

    def of(table: symtable.SymbolTable) -> Iterator[str]:
        for symbol in table.get_symbols():
            # not is_global(): symtable takes a function called 'top' for the module
            if symbol.is_referenced() and not symbol.is_local() and not symbol.is_free():
                yield symbol.get_name()
        for child in table.get_children():
            yield from of(child)

    return set(of(symtable.symtable(source, "<solution>", "exec")))


def _first_use(tree: ast.Module, exercise: ExerciseCell, name: str) -> int:
    uses = [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == name and exercise.cell.holds(n)]
    return min(uses, default=exercise.cell.line)
