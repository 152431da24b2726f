"""Which lessons a change affects, and what counts as within the limits."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from workshop_utils.authoring.run import LessonRun
from workshop_utils.cli.testing import MOST_MB, MOST_SECONDS, affected_lessons, within_limits


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("lessons/00_a.py", "lessons/01_b.py", "workshop_utils/x.py", "data/d.md", "docs/a.md", "README.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("first", "utf-8")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "a change")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("lessons/01_b.py", ["01_b"]),
        ("solutions/00_a.ipynb", ["00_a"]),
        ("workshop_utils/x.py", ["00_a", "01_b"]),
        ("data/d.md", ["00_a", "01_b"]),
        ("constraints.txt", ["00_a", "01_b"]),
        ("docs/a.md", []),
        ("README.md", []),
        ("tests/test_x.py", []),
    ],
)
def test_a_change_runs_what_it_can_affect(project: Path, changed: str, expected: list[str]) -> None:
    path = project / changed
    path.parent.mkdir(exist_ok=True)
    path.write_text("second", "utf-8")
    commit(project)
    assert affected_lessons(project, "HEAD~1") == expected


def test_without_a_revision_or_with_an_unknown_one_everything_runs(project: Path) -> None:
    assert affected_lessons(project, None) == ["00_a", "01_b"]
    assert affected_lessons(project, "no-such-revision") == ["00_a", "01_b"]


@pytest.mark.parametrize(
    ("seconds", "peak", "status", "good"),
    [
        (10.0, 500.0, "passed", True),
        (10.0, 500.0, "failed", False),
        (MOST_SECONDS + 1.0, 500.0, "passed", False),
        (10.0, MOST_MB + 1.0, "passed", False),
    ],
)
def test_a_lesson_over_its_limits_fails(seconds: float, peak: float, status: str, good: bool) -> None:
    result = LessonRun("00_a", seconds, peak, status, compared_cells=1, offline=True)
    console = Console(record=True, quiet=True)
    assert within_limits(result, console) is good
