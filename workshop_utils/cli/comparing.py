"""What ``workshop compare`` does: measure, show, write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from workshop_utils.corpus import load_questions
from workshop_utils.evaluation import ledger
from workshop_utils.evaluation.compare import report, verdicts_table
from workshop_utils.evaluation.compare.final import final as compare_final
from workshop_utils.evaluation.compare.material import company
from workshop_utils.evaluation.compare.own import compare_own
from workshop_utils.evaluation.compare.run import compare
from workshop_utils.evaluation.compare.table import table


def compare_company(console: Console, *, final: bool, quick: bool) -> dict[str, Any]:
    """The comparison on the development questions, or, ``final``, on the test questions.

    Raises:
        workshop_utils.evaluation.compare.final.FinalRunError: code or data are not as committed.
        And all that ``run.compare`` raises.
    """
    if final:
        return compare_final(console)
    return compare(company("dev", load_questions("dev")), console, quick=quick)


def run(
    console: Console,
    write: Callable[[dict[str, Any]], None],
    *,
    own: tuple[Path, Path] | None,
    final: bool,
    quick: bool,
    page: Path | None,
) -> None:
    """Compare, and show and write what was found.

    Args:
        write: writes the result as JSON, where somebody wants it.
        own: a folder of documents and a file of questions, instead of the company's.
        page: where the HTML report goes.

    Raises:
        All that ``compare_company`` or ``own.compare_own`` raises.
    """
    if own is None:
        result = compare_company(console, final=final, quick=quick)
    else:
        result = compare_own(*own, console, quick=quick)
    write(result)  # before anything else can fail
    console.print(table(result))
    console.print(verdicts_table.table(result))
    if own is None:
        rows = ledger.ledger(compared=result)
        result["ledger"] = [row.as_dict() for row in rows]
        console.print(ledger.table(rows))
        write(result)
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(report.render(result), encoding="utf-8")
        console.print(f"The report is {page}.", soft_wrap=True)
