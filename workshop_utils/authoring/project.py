"""What `workshop build`, `build --check` and `reset` do with the project's files."""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workshop_utils.authoring import editions, figures, references, regions, settings, source
from workshop_utils.authoring.editions import Folder, Notebook
from workshop_utils.authoring.header import LESSON
from workshop_utils.authoring.problems import BuildError, Problem
from workshop_utils.authoring.settings import Settings
from workshop_utils.authoring.source import Lesson

REFERENCES = "workshop_utils/exercises/references"
BACKUP = ".backup-"


@dataclass(frozen=True)
class Products:
    """All that is built, by path relative to the project; `pages` have one region each: its name and content."""

    notebooks: dict[str, Notebook]
    modules: dict[str, str]
    pages: dict[str, tuple[str, str]]


def build(root: Path) -> list[Path]:
    """Write both editions, the references and the tables of the pages; only files that change are touched.

    Outputs in solutions/ stay where a cell's source is unchanged. Returns the paths written.
    Raises BuildError with every problem, and then writes nothing.
    """
    products = _products(root)
    texts = {path: editions.dumps(_keep_outputs(root, path, nb)) for path, nb in products.notebooks.items()}
    texts |= products.modules
    for path, (name, content) in products.pages.items():
        if f"BEGIN GENERATED: {name}" in (_text(root / path) or ""):
            texts[path] = _filled(root, path, name, content)
    changed = [path for path, text in texts.items() if _text(root / path) != text]
    for path in changed:
        _write(root / path, texts[path])
    return [root / path for path in changed]


def check(root: Path) -> list[Problem]:
    """Everything in which the project differs from a fresh build, or that keeps it from being built."""
    try:
        products = _products(root)
    except BuildError as error:
        return list(error.problems)
    problems = []
    stale = "differs from a fresh build: run `workshop build`"
    for path, built in products.notebooks.items():
        committed = _notebook(root / path)
        if committed is None or not editions.same_source(committed, built):
            problems.append(Problem(path, 1, stale))
        elif path.startswith("solutions/") and (unrun := editions.cells_not_run(committed)):
            remedy = f"run `workshop build --execute {Path(path).stem[:2]}`"
            problems.append(Problem(path, 1, f"{unrun} of its cells have not been run since they changed: {remedy}"))
    problems += [Problem(path, 1, stale) for path, text in products.modules.items() if _text(root / path) != text]
    for path, (name, content) in products.pages.items():
        try:
            if _text(root / path) != _filled(root, path, name, content):
                problems.append(Problem(path, 1, stale))
        except BuildError as error:
            problems += error.problems
    return sorted([*problems, *_leftovers(root, products)])


def reset(root: Path, lesson: str) -> Path | None:
    """Put a fresh learner notebook of a lesson ('01_rag_from_scratch', or '01') in place.

    What was there is kept as NAME.backup-N.ipynb; returns that path, or None when there was nothing to keep.
    Raises LookupError for a lesson that does not exist, BuildError for one that cannot be built.
    """
    notebooks = {Path(path).stem: nb for path, nb in _products(root).notebooks.items() if path.startswith("notebooks/")}
    names = [name for name in notebooks if lesson in (name, name[:2])]
    if not names:
        raise LookupError(f"there is no lesson {lesson!r}; there are {', '.join(notebooks) or 'none'}")
    target = root / "notebooks" / f"{names[0]}.ipynb"
    fresh = editions.dumps(notebooks[names[0]])
    if _text(target) == fresh:
        return None
    backup = _back_up(target) if target.exists() else None
    _write(target, fresh)
    return backup


def lesson_table(root: Path) -> str:
    """The README's table of the lessons. Raises BuildError."""
    return _products(root).pages[regions.README][1]


def read_lessons(root: Path, results: Settings) -> tuple[list[Lesson], list[Problem]]:
    """All lessons of the project that can be read, with their figures filled in, and everything that is wrong."""
    lessons, problems = [], []
    for path in sorted((root / "lessons").glob("*.py")):
        file = f"lessons/{path.name}"
        if not LESSON.fullmatch(path.stem):
            problems.append(Problem(file, 1, "a lesson's file is called NN_name.py"))
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            problems.append(Problem(file, 1, f"not UTF-8: {error}"))
            continue
        lesson, more = source.read(path.stem, text)
        problems += more
        if lesson:
            lesson, more = figures.fill(lesson, results.results)
            lessons.append(lesson)
            problems += more
    return lessons, [*problems, *_between(root, lessons)]


def _products(root: Path) -> Products:
    found, problems = settings.read(root)
    lessons, more = read_lessons(root, found)
    problems += more
    notebooks: dict[str, Notebook] = {}
    modules: dict[str, str] = {}
    folders: tuple[Folder, ...] = ("notebooks", "solutions")
    for lesson in lessons:
        for folder in folders:
            notebooks[f"{folder}/{lesson.name}.ipynb"] = editions.build(lesson, folder, found)
        problems += editions.leaks(lesson, notebooks[f"notebooks/{lesson.name}.ipynb"])
        if lesson.exercises:
            text, more = references.render(lesson)
            modules[f"{REFERENCES}/{references.module_name(lesson.name)}.py"] = text
            problems += more
    if problems:
        raise BuildError(problems)
    return Products(notebooks, modules, regions.pages(lessons, found))


def _between(root: Path, lessons: list[Lesson]) -> Iterator[Problem]:
    """What no lesson can see alone: a number or an exercise used twice, a prerequisite that does not exist."""
    files = {path.stem for path in (root / "lessons").glob("*.py")}
    numbers: dict[str, str] = {}
    names: dict[str, str] = {}
    for lesson in lessons:
        if (other := numbers.setdefault(lesson.name[:2], lesson.name)) != lesson.name:
            yield Problem(lesson.file, 1, f"has the number of {other}")
        for name in lesson.header.prerequisites:
            if LESSON.fullmatch(name) and name not in files:
                yield Problem(lesson.file, 1, f"its prerequisite {name} does not exist")
        for exercise in lesson.exercises:
            here = f"{lesson.file}:{exercise.cell.line}"
            if (there := names.setdefault(exercise.name, here)) != here:
                yield Problem(lesson.file, exercise.cell.line, f"the exercise {exercise.name} is also in {there}")


def _leftovers(root: Path, products: Products) -> Iterator[Problem]:
    """Built files whose lesson is gone. The backups that `reset` makes are the learner's."""
    patterns = ("notebooks/*.ipynb", "solutions/*.ipynb", f"{REFERENCES}/lesson_*.py")
    for path in (p.relative_to(root).as_posix() for pattern in patterns for p in root.glob(pattern)):
        if path not in {**products.notebooks, **products.modules} and BACKUP not in path:
            yield Problem(path, 1, "no lesson makes this file: delete it")


def _filled(root: Path, path: str, name: str, content: str) -> str:
    try:
        return regions.fill(_text(root / path) or "", name, content)
    except ValueError as error:
        raise BuildError([Problem(path, 1, str(error))]) from error


def _keep_outputs(root: Path, path: str, built: Notebook) -> Notebook:
    executed = _notebook(root / path) if path.startswith("solutions/") else None
    return editions.with_outputs(built, executed) if executed else built


def _notebook(path: Path) -> Notebook | None:
    """The notebook in a file; None for a file that is missing or is no notebook."""
    try:
        found = json.loads(_text(path) or "")
        editions.same_source(found, found)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    notebook: Notebook = found
    return notebook


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None


def _write(path: Path, text: str) -> None:
    """The whole file or nothing, with the same line ends on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.encode("utf-8"))
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _back_up(path: Path) -> Path:
    n = 1
    while True:
        backup = path.with_name(f"{path.stem}{BACKUP}{n}{path.suffix}")
        try:
            with backup.open("xb") as stream:
                stream.write(path.read_bytes())
        except FileExistsError:
            n += 1
        else:
            return backup
