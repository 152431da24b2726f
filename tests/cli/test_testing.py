"""What counts as within the limits."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from workshop_utils.authoring.run import LessonRun
from workshop_utils.cli.testing import MOST_MB, MOST_SECONDS, within_limits


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


@pytest.mark.parametrize(("slowness", "good"), [(1.0, False), (1.4, False), (1.6, True)])
def test_a_slower_machine_has_more_time_and_says_so(slowness: float, good: bool) -> None:
    result = LessonRun("00_a", 1.5 * MOST_SECONDS, 500.0, "passed", compared_cells=1, offline=True, slowness=slowness)
    console = Console(record=True, file=StringIO(), width=300)
    assert within_limits(result, console) is good
    assert ("times as long" in console.export_text()) is (slowness > 1)
