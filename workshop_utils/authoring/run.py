"""Runs notebooks in fresh kernels: compares their outputs, cuts the network, measures seconds and memory.

One pass does it all, because on a laptop a pass over eleven lessons is most of the test's time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from workshop_utils.authoring import cell_log, offline

CELL_TIMEOUT = 1200
SAMPLE_SECONDS = 0.25
IGNORED = {"nbval-ignore-output", "nbval-skip"}
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LessonRun:
    """What came of running one notebook.

    Attributes:
        seconds: from starting the test process to its end, kernel start included.
        peak_mb: the largest sampled memory of the process tree in MB: PSS on Linux, which counts shared pages once;
            USS elsewhere.
        status: ``passed`` or ``failed``.
        compared_cells: cells whose stored output was compared.
        failures: one text for each failed cell.
    """

    lesson: str
    seconds: float
    peak_mb: float
    status: str
    compared_cells: int
    offline: bool
    failures: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def run_notebook(
    path: Path,
    *,
    compare: bool = True,
    quick: bool = False,
    cut_network: bool = False,
    progress: Progress | None = None,
) -> LessonRun:
    """Run one notebook from top to bottom with nbval.

    Args:
        path: the notebook.
        compare: whether stored outputs must come again; otherwise only errors count.
        quick: fewer questions and steps (``WORKSHOP_QUICK=1``).
        cut_network: run where there is no network; see ``offline.prefix`` for where that is possible.
        progress: called with (cells done, cells in all).
    """
    with tempfile.TemporaryDirectory() as folder:
        log, said = Path(folder, "cells.jsonl"), Path(folder, "pytest.txt")
        log.touch()
        before = offline.prefix() if cut_network else []
        command = [
            *before,
            *(sys.executable, "-m", "pytest", str(path), "--nbval" if compare else "--nbval-lax"),
            *("--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT}", "-p", cell_log.__name__),
            *("-q", "--color=no", "-p", "no:cacheprovider"),
        ]
        environment = {**os.environ, cell_log.VARIABLE: str(log), "WORKSHOP_TEST": "1"}
        environment |= {"WORKSHOP_QUICK": "1"} if quick else {}
        started = time.perf_counter()
        with said.open("w", encoding="utf-8") as sink, _started(command, environment, sink) as process:
            peak = _watch(process, log, progress)
        seconds = time.perf_counter() - started
        events = list(_events(log))
        failures = [event["message"] for event in events if event.get("outcome") == "failed"]
        if process.returncode and not failures:
            failures = [said.read_text("utf-8", errors="replace")[-3000:]]
    return LessonRun(
        lesson=path.stem,
        seconds=round(seconds, 1),
        peak_mb=round(peak, 1),
        status="failed" if failures else "passed",
        compared_cells=len(compared_cells(path)) if compare else 0,
        offline=bool(before),
        failures=tuple(failures),
    )


def compared_cells(path: Path) -> list[int]:
    """Numbers of the cells whose output nbval compares: run, with an output, and not tagged to be ignored."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return [
        number
        for number, cell in enumerate(cells)
        if cell["cell_type"] == "code"
        and cell["execution_count"] is not None
        and cell["outputs"]
        and not IGNORED & set(cell["metadata"].get("tags", ()))
    ]


def tree_memory_mb(process: psutil.Process) -> float:
    """Memory of a process and all its descendants now, in MB (10^6 bytes)."""
    total = 0
    for member in (process, *_children(process)):
        try:
            usage = member.memory_full_info()
        except (psutil.Error, OSError):
            continue
        total += getattr(usage, "pss", usage.uss)
    return total / 1e6


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


@contextmanager
def _started(command: list[str], environment: dict[str, str], sink: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process which does not outlive the block, whatever ends it."""
    process = subprocess.Popen(command, env=environment, stdout=sink, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        if process.poll() is None:
            for member in _children(psutil.Process(process.pid)):
                member.terminate()
            process.terminate()
        process.wait()


def _watch(process: subprocess.Popen[bytes], log: Path, progress: Progress | None) -> float:
    peak = 0.0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        peak = max(peak, tree_memory_mb(watched))
        if progress:
            events = list(_events(log))
            total = next((event["cells"] for event in events if "cells" in event), 0)
            progress(sum("cell" in event for event in events), total)
        time.sleep(SAMPLE_SECONDS)
    return peak


def _events(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_text("utf-8").splitlines():
        # the writer may be in the middle of the last line
        if line.endswith("}"):
            yield json.loads(line)
