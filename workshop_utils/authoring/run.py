"""Runs notebooks in fresh kernels: compares their outputs, cuts the network, measures seconds and memory.

One pass does it all, because on a laptop a pass over eleven lessons is most of the test's time.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from workshop_utils.authoring import cell_log, offline

CELL_TIMEOUT = 1200
SAMPLE_SECONDS = 0.25
IGNORED = {"nbval-ignore-output", "nbval-skip"}
# what `fixed_work` takes on the laptop that the limit of a lesson's seconds is meant for: 2 cores, AVX2, slow memory
REFERENCE_SECONDS = 0.093
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
        slowness: how many times as long as on the laptop of reference this machine took for the same piece of
            arithmetic just before and after; 1 where it was faster.
    """

    lesson: str
    seconds: float
    peak_mb: float
    status: str
    compared_cells: int
    offline: bool
    failures: tuple[str, ...] = ()
    slowness: float = 1.0

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
        work = [fixed_work()]
        started = time.perf_counter()
        with said.open("w", encoding="utf-8") as sink, _started(command, environment, sink) as process:
            peak = _watch(process, log, progress)
        seconds = time.perf_counter() - started
        work.append(fixed_work())
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
        slowness=round(max(1.0, statistics.mean(work) / REFERENCE_SECONDS), 2),
    )


def fixed_work() -> float:
    """Seconds, median of five, of a piece of what models do: reading weights (24,576, 576), multiplying matrices."""
    weights, state = np.ones((24_576, 576), np.float32), np.ones(576, np.float32)
    texts, layer = np.ones((512, 576), np.float32), np.ones((576, 1536), np.float32)
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(8):
            weights @ state
            texts @ layer
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


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


def tree_memory_mb(process: psutil.Process, above: float = 0.0) -> float:
    """Memory of a process and all its descendants now, in MB (10^6 bytes); ``above`` where it is not more than that.

    Counting a shared page once means looking at every page, which takes a sixth of a core from what is measured. So it
    is done only while the resident pages, shared ones counted in full, are more than ``above``.
    """
    members = (process, *_children(process))
    if _total(members, lambda member: member.memory_info().rss) <= above * 1e6:
        return above
    return max(above, _total(members, _own_memory) / 1e6)


def _own_memory(process: psutil.Process) -> int:
    usage = process.memory_full_info()
    size: int = getattr(usage, "pss", usage.uss)
    return size


def _total(processes: Iterable[psutil.Process], bytes_of: Callable[[psutil.Process], int]) -> int:
    total = 0
    for process in processes:
        # it may have ended meanwhile
        with suppress(psutil.Error, OSError):
            total += bytes_of(process)
    return total


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
        peak = tree_memory_mb(watched, above=peak)
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
