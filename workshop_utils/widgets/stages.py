"""The seven stages of RAG as a strip, with the current one marked."""

from __future__ import annotations

from typing import Any

from workshop_utils.messages import say

STAGES = ("query", "embedding", "search", "top_k", "prompt", "llm", "response")


def stage_strip_html(current: str | None = None) -> str:
    """HTML of seven boxes in a row; ``current`` (one of ``STAGES``) is filled.

    Raises:
        ValueError: ``current`` is not a stage.
    """
    if current is not None and current not in STAGES:
        raise ValueError(f"{current!r} is not a stage; the stages are {', '.join(STAGES)}.")
    boxes = []
    for number, stage in enumerate(STAGES, start=1):
        filled = "background:#1565c0;color:white" if stage == current else "background:#e3f2fd;color:#0d2f57"
        name, result = say(f"stages.{stage}.name"), say(f"stages.{stage}.result")
        boxes.append(
            f"<div style='{filled};border-radius:6px;padding:.3em .5em;text-align:center'>"
            f"<b>{number} {name}</b><br><small>{result}</small></div>"
        )
    arrow = "<div style='align-self:center'>&rarr;</div>"
    return f"<div style='display:flex;flex-wrap:wrap;gap:.25em;font-size:.85em'>{arrow.join(boxes)}</div>"


def stage_strip(current: str | None = None) -> Any:
    """The same as an ``IPython.display.HTML`` object."""
    from IPython.display import HTML

    return HTML(stage_strip_html(current))  # type: ignore[no-untyped-call]
