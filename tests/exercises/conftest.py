"""A package of one lesson with one exercise, `top`, its catalogue, and a record of its own."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authoring.toy import LESSON as TOY
from workshop_utils import messages
from workshop_utils.authoring import build
from workshop_utils.exercises import record, registry

LESSON = (
    TOY[: TOY.index("# %% [markdown]")]
    + '''\
# %%
import numpy as np


# %% tags=["exercise"]
def top(scores: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k highest scores, best first."""
    # BEGIN SOLUTION
    return np.argsort(-scores)[:k]
    # END SOLUTION


# %% tags=["check"]
top = check(top)
'''
)

CHECKS = """\
from workshop_utils.exercises.judging import Exercise, Wrong, expect_shape, expect_type
import numpy as np


def check_top(attempt):
    scores = np.array([0.1, 0.9, 0.5])
    for k in (1, 2):
        found = attempt(scores, k)
        expect_type(found, np.ndarray)
        expect_shape(found, (k,))
        if found[0] == 0:
            raise Wrong("ascending", k=k)
        if list(found) != [1, 2][:k]:
            raise Wrong("other", k=k)


EXERCISES = (Exercise("top", check_top),)
"""

CATALOGUE = """\
[exercises.top]
title = "The highest scores"
passed = "tried on {calls} inputs"
hints = ["sort", "`np.argsort` ascends", "turn the sign"]

[exercises.top.wrong]
ascending = "the {k} lowest, not the highest"
other = "not the {k} highest"
"""


@pytest.fixture
def toy_root(tmp_path: Path) -> Path:
    """A project with the lesson in it, built."""
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons/99_toy.py").write_text(LESSON)
    build(tmp_path)
    return tmp_path


@pytest.fixture
def toy(toy_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The lesson's checks, references and messages in place of the workshop's; the root of its project."""
    package = toy_root / "toy_exercises"
    (toy_root / "workshop_utils/exercises").rename(package)
    (package / "__init__.py").touch()
    (package / "lesson_99.py").write_text(CHECKS)
    english = toy_root / "messages/en"
    english.mkdir(parents=True)
    (english / "checks.toml").write_bytes((messages.FOLDER / "en/checks.toml").read_bytes())
    (english / "lesson_99.toml").write_text(CATALOGUE)
    monkeypatch.syspath_prepend(str(toy_root))
    monkeypatch.setattr(registry, "PACKAGE", "toy_exercises")
    monkeypatch.setattr(messages, "FOLDER", english.parent)
    messages._catalogue.cache_clear()
    yield toy_root
    messages._catalogue.cache_clear()
    for name in [n for n in sys.modules if n.startswith("toy_exercises")]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def progress_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the record goes, in a kernel that is not under test."""
    monkeypatch.delenv("WORKSHOP_TEST", raising=False)
    monkeypatch.setattr(record, "_in_session", record.Record())
    path = tmp_path / "cache folder" / "progress.json"
    monkeypatch.setattr(record, "file", lambda: path)
    return path
