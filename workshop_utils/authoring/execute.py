"""Executes solution notebooks and keeps their outputs: what nbval compares with later."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from workshop_utils.authoring.editions import dumps, with_outputs

CELL_TIMEOUT = 1200


def execute(path: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Run a solution notebook in a fresh kernel of this environment and write its outputs into it.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; the notebook is left as it was.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    total = len(notebook.cells)

    def report(cell_index: int, **_: object) -> None:
        if progress:
            progress(cell_index + 1, total)

    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
        coalesce_streams=True,
        on_cell_executed=report,
    )
    client.execute(env={**os.environ, "WORKSHOP_TEST": "1"})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    built = json.loads(path.read_text("utf-8"))
    executed = json.loads(json.dumps(notebook))
    path.write_text(dumps(with_outputs(built, executed)), encoding="utf-8", newline="\n")
