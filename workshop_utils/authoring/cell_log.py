"""A pytest plugin: writes one JSON line for each notebook cell that nbval has run, so that a parent can follow."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

VARIABLE = "WORKSHOP_CELL_LOG"


def _write(**event: Any) -> None:
    with Path(os.environ[VARIABLE]).open("a", encoding="utf-8") as log:
        log.write(json.dumps(event) + "\n")


def pytest_collection_finish(session: Any) -> None:
    _write(cells=len(session.items))


def pytest_runtest_logreport(report: Any) -> None:
    if report.when == "call" or report.outcome == "failed":
        _write(cell=report.nodeid, outcome=report.outcome, message="" if report.passed else report.longreprtext)
