"""From a lesson to its two notebooks: the learner edition and the solution edition. Nothing here touches a file."""

import ast
import copy
import hashlib
import json
from collections import Counter
from typing import Any, Literal

from workshop_utils.authoring import header, references, setup_cell
from workshop_utils.authoring.problems import Problem
from workshop_utils.authoring.settings import Settings
from workshop_utils.authoring.source import Cell, ExerciseCell, Lesson

Notebook = dict[str, Any]
Folder = Literal["notebooks", "solutions"]

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
SHORTEST_LEAK = 13


def build(lesson: Lesson, folder: Folder, settings: Settings) -> Notebook:
    """The edition for `folder`, without outputs: learner ('notebooks') or solution ('solutions')."""
    exercises = {exercise.cell.line: exercise for exercise in lesson.exercises}
    answer = blank if folder == "notebooks" else references.solution
    head = header.render(lesson.header, lesson.name, folder, settings)
    cells = [
        _cell("markdown", "header", head),
        _cell("code", "setup", setup_cell.source(settings.repository), source_hidden=True),
    ]
    seen: Counter[tuple[str, ...]] = Counter()
    for cell in lesson.cells:
        seen[cell.raw] += 1
        if "instructor" in cell.tags:
            continue
        exercise = exercises.get(cell.line)
        source = answer(exercise) if exercise else cell.source
        cells.append(_cell(cell.kind, _id(lesson.name, cell, seen[cell.raw]), source, cell.tags))
    return {"cells": cells, "metadata": copy.deepcopy(METADATA), "nbformat": 4, "nbformat_minor": 5}


def blank(exercise: ExerciseCell) -> str:
    """The exercise with each solution block replaced by a place to write."""
    lines: list[str] = []
    start = 0
    for begin, end in exercise.blocks:
        marker = exercise.cell.raw[begin]
        indent = marker[: len(marker) - len(marker.lstrip())]
        lines += [*exercise.cell.raw[start:begin], f"{indent}# YOUR CODE HERE", f"{indent}raise NotImplementedError"]
        start = end + 1
    return "\n".join([*lines, *exercise.cell.raw[start:]])


def leaks(lesson: Lesson, learner: Notebook) -> list[Problem]:
    """Every line of a solution that stands in the learner notebook, and every blank that is not Python."""
    problems = []
    texts = [" ".join(source(cell).split()) for cell in learner["cells"]]
    for exercise in lesson.exercises:
        try:
            ast.parse(blank(exercise))
        except SyntaxError as error:
            message = f"without its solution {exercise.name} is not Python: {error.msg}"
            problems.append(Problem(lesson.file, exercise.cell.line, message))
        for begin, end in exercise.blocks:
            for n in range(begin + 1, end):
                line = " ".join(exercise.cell.raw[n].split())
                if len(line) >= SHORTEST_LEAK and any(line in text for text in texts):
                    message = f"this line of a solution also stands in the learner notebook, change one: {line!r}"
                    problems.append(Problem(lesson.file, exercise.cell.line + n, message))
    return problems


def with_outputs(built: Notebook, executed: Notebook) -> Notebook:
    """`built` with the outputs of `executed`, cell by cell, where id and source are the same."""
    result = copy.deepcopy(built)
    done = {cell.get("id"): cell for cell in executed.get("cells", [])}
    for cell in result["cells"]:
        old = done.get(cell["id"])
        if old and cell["cell_type"] == old["cell_type"] == "code" and source(old) == source(cell):
            cell["outputs"] = copy.deepcopy(old.get("outputs", []))
            cell["execution_count"] = old.get("execution_count")
    return result


def cells_not_run(notebook: Notebook) -> int:
    """How many code cells have changed since the notebook was run; 0 where it has never been."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and source(cell).strip()]
    unrun = sum(cell.get("execution_count") is None for cell in cells)
    return unrun if unrun < len(cells) else 0


def same_source(a: Notebook, b: Notebook) -> bool:
    """Whether two notebooks have the same cells; outputs, counts and what an editor adds are not looked at."""

    def shape(notebook: Notebook) -> list[tuple[object, ...]]:
        return [(c["cell_type"], c.get("id"), source(c), c["metadata"].get("tags", [])) for c in notebook["cells"]]

    return shape(a) == shape(b)


def dumps(notebook: Notebook) -> str:
    """The one way a notebook is written here: the same cells give the same bytes."""
    lined = copy.deepcopy(notebook)
    for cell in lined["cells"]:
        cell["source"] = source(cell).splitlines(keepends=True)
    return json.dumps(lined, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def source(cell: dict[str, Any]) -> str:
    """A cell's source as one text, in whichever of nbformat's two forms it is stored."""
    text = cell["source"]
    return text if isinstance(text, str) else "".join(text)


def _cell(kind: str, ident: str, text: str, tags: tuple[str, ...] = (), source_hidden: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"tags": list(tags)} if tags else {}
    if source_hidden:
        metadata |= {"cellView": "form", "jupyter": {"source_hidden": True}}
    cell: dict[str, Any] = {"cell_type": kind, "id": ident, "metadata": metadata, "source": text}
    return cell if kind == "markdown" else cell | {"execution_count": None, "outputs": []}


def _id(lesson: str, cell: Cell, occurrence: int) -> str:
    """Stable while the cell stays as it is, wherever it moves, and the same in both editions."""
    text = "\n".join([lesson, str(occurrence), *cell.raw])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
