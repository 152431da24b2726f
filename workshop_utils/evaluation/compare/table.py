"""The comparison for the terminal; the whole of it is in the HTML report."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table

from workshop_utils.evaluation.studies.figures import interval

FIGURES = ("correct", "cited", "abstained", "false_abstention", "form", "stale")


def table(result: dict[str, Any]) -> Group:
    """The arms with their main figures, and the differences that were tested."""
    grid = Table("arm", *(name.replace("_", " ") for name in FIGURES), "p50 s", "parts")
    for arm in result["arms"].values():
        cells = [interval(arm[name]) if name in arm else "" for name in FIGURES]
        grid.add_row(arm["title"], *cells, f"{arm['latency']['p50']:.2f}", str(len(arm["steps"])))
    grid.caption = (
        f"{result['n']} questions of {result['split']}, 95% intervals over families; "
        f"{result['seconds'] / 60:.0f} minutes of computing"
    )
    tested = Table("difference, answer correct", "value", "p")
    titles = {key: arm["title"] for key, arm in result["arms"].items()}
    for row in result["differences"]:
        mark = "" if row["role"] == "primary" else " (Holm)"
        tested.add_row(f"{titles[row['a']]} minus {titles[row['b']]}", interval(row), f"{row['p']:.3f}{mark}")
    return Group(grid, tested)
