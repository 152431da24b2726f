"""The test questions: asked of committed code and data only, every run written down, opened in one place."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from workshop_utils.evaluation.compare import final as subject
from workshop_utils.evaluation.compare import revision
from workshop_utils.evaluation.compare.final import FinalRunError
from workshop_utils.evaluation.compare.material import Material

QUIET = Console(quiet=True)
COMPARE = Path(subject.__file__).parent


def git(root: Path, *arguments: str) -> str:
    names = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *names, *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "project"
    for name in ("workshop_utils/code.py", "data/documents/a.md", "data/results/old.json", "lessons/01.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("1\n", "utf-8")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


@pytest.fixture
def asked(material: Material, monkeypatch: pytest.MonkeyPatch) -> list[Material]:
    """What was compared; nothing is asked of a model."""
    seen: list[Material] = []

    def compare(own: Material, _: Console) -> dict[str, Any]:
        seen.append(own)
        return {"n": len(own.questions)}

    monkeypatch.setattr(subject, "compare", compare)
    monkeypatch.setattr(subject, "held_out", lambda: material)
    monkeypatch.setattr(subject, "inputs_hash", lambda *_: "hash")
    monkeypatch.setattr(subject, "check", lambda _: None)
    return seen


@pytest.mark.parametrize("path", ["workshop_utils/code.py", "workshop_utils/new.py", "data/adapters/raft/weights"])
def test_what_is_not_committed_is_refused_by_name_and_nothing_is_asked(
    path: str, repository: Path, asked: list[Material]
) -> None:
    (repository / path).parent.mkdir(parents=True, exist_ok=True)
    (repository / path).write_text("2\n", "utf-8")
    with pytest.raises(FinalRunError, match=f"Not as committed: {path}.*Commit"):
        subject.final(QUIET, repository)
    assert asked == []
    assert not (repository / subject.LOG).exists()


def test_a_folder_without_git_is_refused(tmp_path: Path, asked: list[Material]) -> None:
    with pytest.raises(FinalRunError, match=r"no git repository.*--final"):
        subject.final(QUIET, tmp_path)
    assert asked == []


def test_many_changes_are_not_all_listed(repository: Path) -> None:
    for n in range(9):
        (repository / "data" / f"{n}.json").write_text("", "utf-8")
    with pytest.raises(FinalRunError, match="and 4 more"):
        subject.committed(repository)


def test_a_run_is_written_down_with_its_commit_and_the_next_below(
    repository: Path, asked: list[Material], material: Material
) -> None:
    (repository / "data" / "results" / "old.json").write_text("2\n", "utf-8")  # what runs write does not count
    (repository / "lessons" / "01.py").write_text("2\n", "utf-8")
    for _ in range(2):
        assert subject.final(QUIET, repository) == {"n": 10}
    lines = [json.loads(line) for line in (repository / subject.LOG).read_text("utf-8").splitlines()]
    head = git(repository, "rev-parse", "HEAD").strip()
    assert [(line["commit"], line["inputs"], line["n"]) for line in lines] == [(head, "hash", 10)] * 2
    assert all(line["when"].endswith("+00:00") for line in lines)
    assert asked == [material, material]


@pytest.mark.usefixtures("asked")
def test_a_run_that_breaks_is_written_down_too(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(subject, "compare", broken)
    with pytest.raises(KeyboardInterrupt):
        subject.final(QUIET, repository)
    assert len((repository / subject.LOG).read_text("utf-8").splitlines()) == 1


def test_a_commit_says_when_something_was_changed_since(repository: Path, tmp_path: Path) -> None:
    head = git(repository, "rev-parse", "HEAD").strip()
    assert revision.commit(repository) == head
    (repository / "workshop_utils" / "code.py").write_text("3\n", "utf-8")
    assert revision.commit(repository) == f"{head}+changes"
    assert revision.commit(tmp_path) == ""


def opened(path: Path) -> list[str]:
    """The splits that a module asks for by name."""
    calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    names = [(getattr(call.func, "id", getattr(call.func, "attr", "")), call) for call in calls]
    loads = [call for name, call in names if name == "load_questions"]
    return [ast.unparse(call.args[0]) if call.args else "?" for call in loads]


def test_the_test_questions_are_opened_in_one_place() -> None:
    found = {path.name: opened(path) for path in COMPARE.glob("*.py")}
    assert found.pop("final.py") == ["'test'"]
    assert all(split not in ("'test'", "?") and split.startswith("'") for splits in found.values() for split in splits)
