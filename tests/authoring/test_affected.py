"""Which lessons a change affects: by what they import, by the results they name, and nothing is forgotten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workshop_utils.authoring.affected import affected_lessons, modules_of
from workshop_utils.corpus import data_dir

ROOT = data_dir().parent
FILES = {
    "lessons/00_a.py": "# %%\nfrom workshop_utils.top import x\nimport workshop_utils.above.below\n",
    "lessons/01_b.py": "%matplotlib inline\nfrom workshop_utils.models import load\n"
    "from workshop_utils.models.adapters import TUNED\nread('seen.json')\n",
    "workshop_utils/__init__.py": "",
    "workshop_utils/top.py": "def f():\n    from workshop_utils import deep\n",
    "workshop_utils/deep.py": "",
    "workshop_utils/alone.py": "",
    "workshop_utils/above/__init__.py": "def f():\n    import workshop_utils.lazy\n",
    "workshop_utils/above/below.py": "",
    "workshop_utils/lazy.py": "",
    "workshop_utils/models/__init__.py": "from .loading import load\ndef g():\n    import workshop_utils.alone\n",
    "workshop_utils/models/loading.py": "",
    "workshop_utils/models/adapters.py": "TUNED = 'tuned'; OTHER = 'other'",
    "workshop_utils/exercises/__init__.py": "",
    "workshop_utils/exercises/lesson_01.py": "",
    "data/d.md": "",
    "docs/a.md": "",
    "README.md": "",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text, "utf-8")
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
        ("workshop_utils/top.py", ["00_a"]),
        ("workshop_utils/deep.py", ["00_a"]),
        ("workshop_utils/alone.py", ["01_b"]),
        ("workshop_utils/models/loading.py", ["01_b"]),
        ("workshop_utils/__init__.py", ["00_a", "01_b"]),
        ("workshop_utils/exercises/lesson_01.py", ["01_b"]),
        ("workshop_utils/exercises/__init__.py", ["00_a", "01_b"]),
        ("workshop_utils/above/__init__.py", ["00_a"]),
        ("workshop_utils/lazy.py", []),
        ("workshop_utils/nobody.py", []),
        ("workshop_utils/messages/x.toml", ["00_a", "01_b"]),
        ("data/d.md", ["00_a", "01_b"]),
        ("data/results/seen.json", ["01_b"]),
        ("data/results/see.json", []),
        ("data/adapters/tuned/training.json", ["01_b"]),
        ("data/adapters/other/training.json", []),
        # a word of ordinary code is no name of an adapter
        ("data/adapters/load/training.json", []),
        ("constraints.txt", ["00_a", "01_b"]),
        ("docs/a.md", []),
        ("README.md", []),
        (".gitignore", []),
        ("tests/test_x.py", []),
    ],
)
def test_a_change_runs_what_it_can_affect(project: Path, changed: str, expected: list[str]) -> None:
    path = project / changed
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("'second'", "utf-8")
    commit(project)
    # a change of imports counts with what is imported now
    assert affected_lessons(project, "HEAD~1") == expected


def test_a_module_that_is_gone_runs_everything(project: Path) -> None:
    (project / "workshop_utils" / "deep.py").unlink()
    commit(project)
    assert affected_lessons(project, "HEAD~1") == ["00_a", "01_b"]


def test_without_a_revision_or_with_an_unknown_one_everything_runs(project: Path) -> None:
    assert affected_lessons(project, None) == ["00_a", "01_b"]
    assert affected_lessons(project, "no-such-revision") == ["00_a", "01_b"]


@pytest.mark.parametrize("lesson", ["03_living_knowledge", "06_lora_fine_tuning"])
def test_what_a_lesson_imports_when_it_starts_is_found(lesson: str) -> None:
    """Python itself, running the imports of the lesson's cells, loads no module that was not found."""
    lines = (ROOT / "lessons" / f"{lesson}.py").read_text("utf-8").splitlines()
    imports = [line for line in lines if line.startswith("from workshop_utils") and line.count("(") == 0]
    assert imports
    code = "import sys\n" + "\n".join(imports) + "\nprint(*[n for n in sys.modules if n.startswith('workshop_utils')])"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name for name in said.stdout.split() if "exercises.lesson" not in name}
    assert len(loaded) > 3
    assert loaded <= modules_of(ROOT, lesson)
