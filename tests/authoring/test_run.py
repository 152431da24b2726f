"""The notebook runner: what it compares, what it measures, what it cuts."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest

from workshop_utils.authoring import offline, run
from workshop_utils.authoring.execute import execute
from workshop_utils.authoring.run import compared_cells, run_notebook

needs_namespace = pytest.mark.skipif(not offline.prefix(), reason="this system has no network namespaces for users")


def notebook(folder: Path, *cells: str | tuple[str, str]) -> Path:
    """A notebook file; a cell is its source, or (source, tag)."""
    made: list[dict[str, Any]] = []
    for number, cell in enumerate(cells):
        text, tags = (cell, []) if isinstance(cell, str) else (cell[0], [cell[1]])
        made.append(
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"cell-{number}",
                "metadata": {"tags": tags} if tags else {},
                "outputs": [],
                "source": text,
            }
        )
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    path = folder / "00_small.ipynb"
    content = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content), "utf-8")
    return path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_same_outputs_pass_and_are_counted(tmp_path: Path) -> None:
    path = notebook(tmp_path, "x = 6", "print(x * 7)", ("import time; print(time.time())", "nbval-ignore-output"))
    execute(path)
    seen: list[tuple[int, int]] = []
    result = run_notebook(path, progress=lambda done, total: seen.append((done, total)))
    assert (result.status, result.failures) == ("passed", ())
    assert result.compared_cells == 1
    assert compared_cells(path) == [1]
    assert result.seconds > 0
    assert seen[-1][1] == 3


def test_another_output_fails_and_is_shown(tmp_path: Path) -> None:
    path = notebook(tmp_path, "print(6 * 7)")
    execute(path)
    edit(path, "42", "43")
    result = run_notebook(path)
    assert result.status == "failed"
    assert "42" in result.failures[0]
    assert "43" in result.failures[0]


def test_an_error_fails_even_where_outputs_are_not_compared(tmp_path: Path) -> None:
    result = run_notebook(notebook(tmp_path, "1 / 0"), compare=False)
    assert result.status == "failed"
    assert "ZeroDivisionError" in result.failures[0]


def test_quick_and_test_are_told_to_the_notebook(tmp_path: Path) -> None:
    line = "import os; assert (os.environ.get('WORKSHOP_QUICK'), os.environ['WORKSHOP_TEST']) == ({}, '1')"
    assert run_notebook(notebook(tmp_path, line.format("'1'")), compare=False, quick=True).status == "passed"
    assert run_notebook(notebook(tmp_path, line.format("None")), compare=False).status == "passed"


def test_memory_of_the_kernel_is_in_the_peak(tmp_path: Path) -> None:
    small = run_notebook(notebook(tmp_path, "import time; time.sleep(1)"), compare=False)
    large = run_notebook(notebook(tmp_path, "import time; x = b'1' * 400_000_000; time.sleep(1)"), compare=False)
    assert 350 < large.peak_mb - small.peak_mb < 500


def test_memory_that_is_not_above_is_not_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    this = psutil.Process()
    now = run.tree_memory_mb(this)
    assert now > 10
    assert run.tree_memory_mb(this, above=now / 2) > now / 2
    monkeypatch.setattr(run, "_own_memory", lambda _: pytest.fail("all pages were looked at"))
    assert run.tree_memory_mb(this, above=1e6) == 1e6


@pytest.mark.parametrize(("times", "slowness"), [(2.0, 2.0), (0.5, 1.0)])
def test_slowness_is_that_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: float, slowness: float
) -> None:
    monkeypatch.setattr(run, "fixed_work", lambda: times * run.REFERENCE_SECONDS)
    assert run_notebook(notebook(tmp_path, "1"), compare=False).slowness == slowness


@needs_namespace
def test_with_the_network_cut_only_loopback_is_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as outside:
        port = outside.getsockname()[1]
        reach = f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=3)"
        assert run_notebook(notebook(tmp_path, reach), compare=False).status == "passed"
        cut = run_notebook(notebook(tmp_path, reach), compare=False, cut_network=True)
        assert cut.offline
        assert cut.status == "failed"
        assert "ConnectionRefusedError" in cut.failures[0]


def test_a_failed_execution_leaves_the_notebook_as_it_was(tmp_path: Path) -> None:
    path = notebook(tmp_path, "print(1)", "1 / 0")
    before = path.read_bytes()
    with pytest.raises(Exception, match="ZeroDivisionError"):
        execute(path)
    assert path.read_bytes() == before
