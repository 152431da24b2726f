"""The set-up cell in each place a notebook can be opened."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workshop_utils.authoring import setup_cell

WORKSHOP = """
import pathlib, sys
pathlib.Path("workshop_utils").mkdir(exist_ok=True)
pathlib.Path("workshop_utils/__init__.py").write_text("PLACE = 'colab'")
pathlib.Path("called.txt").write_text(" ".join(sys.argv[1:]))
"""


def run(folder: Path, repository: str = "", after: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run the cell as a kernel would in `folder`, in an interpreter that has nothing installed."""
    code = f"import sys; sys.path.insert(0, {str(folder / 'site')!r})\n{setup_cell.source(repository)}\n{after}"
    environment = {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **env}
    command = [sys.executable, "-S", "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def colab(folder: Path) -> None:
    (folder / "site/google/colab").mkdir(parents=True)
    (folder / "site/google/colab/__init__.py").touch()


def workshop(folder: Path) -> Path:
    (folder / "notebooks").mkdir(parents=True)
    (folder / "notebooks/kept.txt").touch()
    (folder / "workshop.py").write_text(WORKSHOP)
    return folder


def test_installed_it_is_silent(tmp_path: Path) -> None:
    (tmp_path / "site/workshop_utils").mkdir(parents=True)
    (tmp_path / "site/workshop_utils/__init__.py").touch()
    look = "print(os.environ['MPLBACKEND'], os.environ.get('TQDM_DISABLE'), os.getcwd())"
    done = run(tmp_path, after=look, WORKSHOP_TEST="1")
    assert (done.stdout.split(), done.stderr) == (
        ["module://matplotlib_inline.backend_inline", "1", str(tmp_path.resolve())],
        "",
    )
    assert run(tmp_path, after=look, WORKSHOP_TEST="").stdout.split()[1] == "None"


def test_anywhere_else_it_says_what_to_type(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    assert "python3 workshop.py lab" in done.stderr
    assert "Traceback" not in done.stderr


def test_colab_without_a_repository_asks_for_an_upload_and_then_uses_it(tmp_path: Path) -> None:
    colab(tmp_path)
    assert "Upload the workshop's folder as workshop.zip" in run(tmp_path).stderr
    folder = workshop(tmp_path / "uploaded")
    done = run(tmp_path, after="import workshop_utils; print(workshop_utils.PLACE, os.getcwd())")
    assert done.stdout.split() == ["colab", str((folder / "notebooks").resolve())]
    assert (folder / "called.txt").read_text() == "setup --here"


def test_colab_clones_the_repository(tmp_path: Path) -> None:
    origin = workshop(tmp_path / "origin" / "name")
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org"]
    if subprocess.run([*git, "init", "-q", str(origin)], check=False).returncode:
        pytest.skip("git cannot make a repository here")
    subprocess.run([*git, "add", "."], cwd=origin, check=True)
    subprocess.run([*git, "commit", "-qm", "first"], cwd=origin, check=True)
    place = tmp_path / "content"
    place.mkdir()
    colab(place)
    done = run(place, origin.as_uri(), after="import workshop_utils; print(workshop_utils.PLACE, os.getcwd())")
    assert done.stdout.split() == ["colab", str((place / "name/notebooks").resolve())], done.stderr
