"""``workshop test`` and ``workshop run``: every check of the project, in the order in which it fails fastest."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from workshop_utils.authoring import offline
from workshop_utils.authoring.affected import affected_lessons
from workshop_utils.authoring.run import LessonRun, run_notebook
from workshop_utils.cli.progress import bar

# what an older laptop has: no AVX-512 and no bfloat16
SLOW_PATH = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "WORKSHOP_DTYPE": "float32"}
MOST_MB = 1700
MOST_SECONDS = 360


@dataclass(frozen=True)
class Step:
    """One line of the test report."""

    name: str
    ok: bool
    seconds: float


def run_lessons(
    paths: Sequence[Path], console: Console, *, compare: bool = True, quick: bool = False, cut_network: bool = False
) -> list[LessonRun]:
    """Run notebooks one after another, with a progress bar each, and print the table of seconds and memory."""
    runs = []
    for path in paths:
        with bar(path.stem, console, transient=True) as advance:
            result = run_notebook(path, compare=compare, quick=quick, cut_network=cut_network, progress=advance)
        runs.append(result)
        for failure in result.failures:
            console.print(failure, markup=False, soft_wrap=True)
    table = Table("lesson", "status", "seconds", "peak MB", "compared cells", "network")
    for result in runs:
        table.add_row(
            result.lesson,
            result.status,
            f"{result.seconds:.0f}",
            f"{result.peak_mb:.0f}",
            str(result.compared_cells),
            "cut" if result.offline else "on",
        )
    console.print(table)
    return runs


def run_tests(
    root: Path,
    console: Console,
    *,
    full: bool = False,
    since: str | None = None,
    record: Callable[[list[LessonRun]], None] = lambda _: None,
) -> bool:
    """Run everything; print one line a step; True when all of it passed.

    Args:
        root: the project's folder.
        full: also the slow tests, and the solutions on the slow path.
        since: a git revision: lessons that changes since then cannot affect are not run.
        record: is given the runs of the solutions, with seconds and memory.
    """
    lessons = affected_lessons(root, since)
    python = (sys.executable, "-m")
    steps: list[Step] = []

    def step(name: str, work: Callable[[], bool]) -> None:
        console.rule(name)
        started = time.perf_counter()
        ok = work()
        steps.append(Step(name, ok, time.perf_counter() - started))

    def command(*words: str) -> Callable[[], bool]:
        return lambda: subprocess.run(words, cwd=root).returncode == 0

    def notebooks(folder: str, quick: bool, keep: bool = False) -> bool:
        paths = [root / folder / f"{lesson}.ipynb" for lesson in lessons]
        cut = bool(offline.prefix())
        if not cut:
            console.print("The network stays on: this system has no network namespaces for users (Linux's unshare).")
        runs = run_lessons(paths, console, compare=not quick, quick=quick, cut_network=cut)
        if keep:
            record(runs)
        compared = sum(result.compared_cells for result in runs)
        console.print(f"{len(runs)} notebooks, {compared} outputs compared")
        return all(within_limits(result, console) for result in runs)

    step("style", command(*python, "ruff", "check", "."))
    step("format", command(*python, "ruff", "format", "--check", "."))
    step("types", command(*python, "mypy"))
    step("build --check", command(*python, "workshop_utils", "build", "--check"))
    step("unit tests", command(*python, "pytest", *(["--slow"] if full else [])))
    if lessons:
        step("solutions, compared, offline", lambda: notebooks("solutions", quick=False, keep=True))
        step("learner notebooks, untouched, quick", lambda: notebooks("notebooks", quick=True))
        if full:
            os.environ.update(SLOW_PATH)
            step("solutions on the slow path", lambda: notebooks("solutions", quick=False))
    else:
        console.print(f"No lesson is affected by the changes since {since}.")
    console.rule("summary")
    for item in steps:
        console.print(f"{'passed' if item.ok else 'FAILED'}  {item.name}  ({item.seconds:.0f} s)")
    failed = sum(not item.ok for item in steps)
    console.print(f"{len(steps) - failed} passed, {failed} failed", highlight=False)
    return not failed


def within_limits(result: LessonRun, console: Console) -> bool:
    """Whether a lesson passed, in time and memory; says what is over."""
    over = []
    most = MOST_SECONDS * result.slowness
    if result.slowness > 1:
        console.print(
            f"{result.lesson}: this machine takes {result.slowness:.2f} times as long as the laptop that the limit of "
            f"{MOST_SECONDS} s is for: here it is {most:.0f} s"
        )
    if result.seconds > most:
        over.append(f"{result.seconds:.0f} s are over the limit of {most:.0f} s")
    if result.peak_mb > MOST_MB:
        over.append(f"{result.peak_mb:.0f} MB are over the limit of {MOST_MB} MB")
    for text in over:
        console.print(f"{result.lesson}: {text}", style="red")
    return result.status == "passed" and not over
