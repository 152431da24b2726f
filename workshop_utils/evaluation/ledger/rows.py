"""The ledger's rows, from the stored results by code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from workshop_utils.corpus import data_dir
from workshop_utils.evaluation.ledger import advice, retrieval, tuning
from workshop_utils.evaluation.ledger.claims import CLAIMS, Claim
from workshop_utils.evaluation.ledger.found import Found
from workshop_utils.evaluation.ledger.results import COMPARED, Missing, ResultError, Results, remedy
from workshop_utils.evaluation.ledger.rules import GAP, ONLY

FINDERS = {**retrieval.FINDERS, **tuning.FINDERS, **advice.FINDERS}


@dataclass(frozen=True)
class Row:
    """A claim of the ledger; of a gap, ``because`` says what is missing. The rest is as in ``Claim`` and ``Found``."""

    claim: str
    text: str
    experiment: str
    verdict: str
    measure: str
    source: str
    figure: float | None
    low: float | None
    high: float | None
    n: int | None
    margin: str
    because: str
    lesson: str
    cell: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def ledger(
    results: Path | None = None, *, compared: Mapping[str, Any] | None = None, project: Path | None = None
) -> list[Row]:
    """Every claim, in the order of the workshop's list.

    Args:
        results: folder of the stored results; the project's own when None.
        compared: a result of ``workshop compare``, on the company's questions, to be taken instead of the stored one.
        project: folder with the lessons and their solutions.

    Raises:
        ResultError: a file is not what its command writes.
        ValueError: the result is on other questions than the company's.
    """
    if compared is not None and compared["split"] not in COMPARED:
        raise ValueError(f"The ledger is about the company; this comparison is on {compared['split']!r} questions.")
    project = project or data_dir().parent
    stored = Results(results or project / "data" / "results", project, compared)
    rows: dict[str, Row] = {}
    for claim in CLAIMS:
        rows[claim.id] = _row(claim, stored, rows)
    return list(rows.values())


def table(rows: Sequence[Row]) -> Table:
    """The ledger for the terminal."""
    grid = Table("claim", "what is said", "verdict here", "figure, 95% interval", "lesson")
    for row in rows:
        grid.add_row(row.claim, row.text, row.verdict, _shown(row), f"{row.lesson} {row.cell}".strip())
    counts = Counter(ONLY if row.verdict.startswith(ONLY) else row.verdict for row in rows)
    grid.caption = ", ".join(f"{verdict}: {number}" for verdict, number in counts.most_common())
    return grid


def _row(claim: Claim, results: Results, before: Mapping[str, Row]) -> Row:
    results.opened.clear()
    try:
        found = asdict(_find(claim.id, results, before))
    except Missing as missing:
        nothing = dict.fromkeys(("figure", "low", "high", "n"))
        found = {"verdict": GAP, "measure": "", "source": "", **nothing, "margin": "", "because": str(missing)}
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        files = ", ".join(f"data/results/{name}" for name in results.opened)
        commands = " ".join(remedy(name) for name in results.opened)
        raise ResultError(f"{claim.id} cannot be read from {files} ({error!r}). {commands}") from error
    return Row(
        claim=claim.id, text=claim.text, experiment=claim.experiment, **found, lesson=claim.lesson, cell=claim.cell
    )


def _find(claim: str, results: Results, before: Mapping[str, Row]) -> Found:
    if claim in FINDERS:
        return FINDERS[claim](results)
    return advice.advice(claim, {row.claim: row.verdict for row in before.values()})


def _shown(row: Row) -> str:
    if row.figure is None:
        return row.because
    value = _number(row.figure)
    if row.low is not None and row.high is not None:
        value = f"{value} [{_number(row.low)}, {_number(row.high)}]"
    return f"{value}{'' if row.n is None else f' n={row.n}'}: {row.measure}"


def _number(value: float) -> str:
    return f"{value:g}" if value == round(value) else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
