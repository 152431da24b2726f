"""Where the time of a training step goes, and what each of the things that make it fast is worth.

``workshop bench steps --json data/results/steps.json``: the recipe and tickets of ``workshop bench train``.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group
from rich.table import Table

from workshop_utils.evaluation.studies.runs import in_fresh_process
from workshop_utils.evaluation.studies.train import OURS, threads, tickets
from workshop_utils.models import device
from workshop_utils.tuning.profile import PARTS, step_profile, without


def study(_: Console) -> dict[str, Any]:
    """``parts``: share of our steps' time by part; ``without``: see ``tuning.profile.without``."""
    rows, _dev = tickets()
    return {
        "parts": in_fresh_process(step_profile, rows, OURS),
        "without": in_fresh_process(without, rows, OURS),
        "settings": OURS.as_dict(),
        "dtype": device.choose().dtype,
        "threads": threads(),
    }


def table(result: dict[str, Any]) -> Group:
    """What ``study`` returned, to print."""
    parts = Table("our steps' time", "share")
    for part in PARTS:
        parts.add_row(part, f"{result['parts'][part]:.0%}")
    longer = Table("left out", "times as long")
    for name, ratio in result["without"].items():
        longer.add_row(name, f"{ratio:.2f}")
    return Group(parts, longer)
