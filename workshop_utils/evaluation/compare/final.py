"""The test questions: opened here and nowhere else, for the comparison that decides, each run written down."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from pathlib import Path
from typing import Any

from rich.console import Console

from workshop_utils.corpus import load_questions
from workshop_utils.errors import WorkshopError
from workshop_utils.evaluation.compare.arms import ARMS
from workshop_utils.evaluation.compare.material import Material, company
from workshop_utils.evaluation.compare.revision import ROOT, changes, commit, inputs_hash
from workshop_utils.evaluation.compare.run import check, compare

LOG = Path("data") / "results" / "final_runs.jsonl"
SHOWN = 5


class FinalRunError(WorkshopError):
    """The test questions are not asked, because nobody could say later of which state the answers were."""


def final(console: Console, root: Path = ROOT) -> dict[str, Any]:
    """The comparison on the test questions, written to the log of such runs before the first is asked.

    Args:
        root: of the repository.

    Returns:
        As ``compare``.

    Raises:
        FinalRunError: code or data are not as committed.
        And all that ``compare`` raises.
    """
    revision = committed(root)
    check(ARMS)
    material = held_out()
    write_down(root, revision, inputs_hash(material, ARMS), len(material.questions))
    return compare(material, console)


def committed(root: Path = ROOT) -> str:
    """The commit whose code and data are those that are here.

    Raises:
        FinalRunError: there is none.
    """
    try:
        changed = changes(root)
    except (OSError, subprocess.CalledProcessError) as error:
        raise FinalRunError(
            f"{root} is no git repository with a commit, so nobody could say which code and data were measured. Run "
            "the comparison without --final, on the development questions."
        ) from error
    if changed:
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise FinalRunError(
            f"Not as committed: {', '.join(changed[:SHOWN])}{more}. Commit them first: the test questions are asked "
            "of a state that can be found again."
        )
    return commit(root)


def write_down(root: Path, revision: str, inputs: str, n: int) -> None:
    """Append one line to the log: when, which commit, the hash of its inputs, how many questions."""
    path = root / LOG
    path.parent.mkdir(parents=True, exist_ok=True)
    when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps({"when": when, "commit": revision, "inputs": inputs, "n": n}) + "\n")


def held_out() -> Material:
    """The company's documents with the test questions."""
    return company("test", load_questions("test"))
