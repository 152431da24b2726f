"""Which lessons a change can have altered: by what a lesson imports, directly or not, and by the data it names."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "workshop_utils"
# imported by every lesson to check an exercise, where it looks for that lesson's own modules
EXERCISES = f"{PACKAGE}.exercises"
# the names of all adapters, of which a lesson loads those that it names itself
ADAPTERS = f"{PACKAGE}.models.adapters"
# data that are read by whoever names them, and how they are named: in quotes, or by a constant
NAMED: dict[tuple[str, ...], str] = {
    ("data", "results"): r"\b{0}\.json\b|[\"']{0}[\"']",
    ("data", "adapters"): r"[\"'/]{0}[\"'/]|\b{1}\b",
}


def affected_lessons(root: Path, since: str | None) -> list[str]:
    """Lessons whose result the changes since a revision can have altered; all when that cannot be told.

    A lesson's own files affect that lesson; a module of the package affects those that import it; a stored result or an
    adapter those in whose modules its name stands; prose and tests none; other data, pins and settings all.
    """
    lessons = sorted(path.stem for path in (root / "lessons").glob("[0-9][0-9]_*.py"))
    if since is None:
        return lessons
    listing = subprocess.run(
        ["git", "diff", "--name-only", since, "--"], cwd=root, capture_output=True, text=True, encoding="utf-8"
    )
    if listing.returncode:
        return lessons
    changed = [Path(line) for line in listing.stdout.splitlines()]
    return [lesson for lesson in lessons if _is_affected(root, lesson, changed)]


def modules_of(root: Path, lesson: str) -> set[str]:
    """Dotted names of the project's modules that a lesson imports, directly or not, wherever the import stands."""
    number = lesson[:2]
    own = [EXERCISES, f"{EXERCISES}.lesson_{number}", f"{EXERCISES}.references.lesson_{number}"]
    waiting = [*_imports(root / "lessons" / f"{lesson}.py", "", everywhere=True), *own]
    found: set[str] = set()
    parents: set[str] = set()
    while waiting:
        name = waiting.pop()
        for parent in _parents(name):
            # of a package that only stands above a module, no function is called
            if parent not in parents and (path := _file(root, parent)):
                parents.add(parent)
                waiting += _imports(path, parent, everywhere=False)
        path = _file(root, name)
        if path and name not in found:
            found.add(name)
            waiting += _imports(path, name, everywhere=True)
    return found | parents


def _is_affected(root: Path, lesson: str, changed: list[Path]) -> bool:
    modules = modules_of(root, lesson)
    return any(_affects(root, path, lesson, modules) for path in changed)


def _affects(root: Path, path: Path, lesson: str, modules: set[str]) -> bool:
    top = path.parts[0]
    if top in ("lessons", "notebooks", "solutions"):
        return path.stem == lesson
    if top in ("docs", "tests", ".gitignore") or (len(path.parts) == 1 and path.suffix == ".md"):
        return False
    if top == PACKAGE and path.suffix == ".py":
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        # a module that is gone was imported by some, or its going would not matter
        return name in modules or not (root / path).exists()
    if path.parts[:2] in NAMED and len(path.parts) > 2:
        name = re.escape(Path(path.parts[2]).stem)
        word = re.compile(NAMED[path.parts[:2]].format(name, name.upper()))
        files = [root / "lessons" / f"{lesson}.py", *(_file(root, name) for name in modules - {ADAPTERS})]
        return any(word.search(file.read_text("utf-8")) for file in files if file)
    return True


def _imports(path: Path, name: str, *, everywhere: bool) -> Iterator[str]:
    """Names that may be the project's modules, of a file's imports; those within functions too if ``everywhere``."""
    # notebooks have lines that are not Python
    lines = ["pass" if line.startswith(("%", "!")) else line for line in path.read_text("utf-8").splitlines()]
    tree = ast.parse("\n".join(lines))
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts)))


def _file(root: Path, name: str) -> Path | None:
    if name.split(".")[0] != PACKAGE:
        return None
    path = root.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)
