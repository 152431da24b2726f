"""Text with some parts marked in colour, for a notebook."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

COLOURS = ("#fff3b0", "#c8e6c9", "#bbdefb", "#f8bbd0", "#e1bee7")


def marked_html(text: str, marks: Mapping[str, str]) -> str:
    """HTML of the text, escaped, in which each part that is a key of ``marks`` has a colour and a tooltip (its value).

    Each part is marked once, where it first occurs outside the longer ones; one that does not is left out. Every part
    has one of five colours in turn.
    """
    found: list[tuple[int, str]] = []
    for part in sorted(filter(None, marks), key=len, reverse=True):
        for match in re.finditer(re.escape(part), text):
            if all(match.end() <= start or match.start() >= start + len(other) for start, other in found):
                found.append((match.start(), part))
                break
    pieces, end = [], 0
    for number, (start, part) in enumerate(sorted(found)):
        pieces.append(html.escape(text[end:start]))
        tooltip = html.escape(marks[part], quote=True)
        style = f"background:{COLOURS[number % len(COLOURS)]};color:#000"
        pieces.append(f"<mark title='{tooltip}' style='{style}'>{html.escape(part)}</mark>")
        end = start + len(part)
    pieces.append(html.escape(text[end:]))
    return f"<pre style='white-space:pre-wrap'>{''.join(pieces)}</pre>"


def marked_text(text: str, marks: Mapping[str, str]) -> Any:
    """The same as an ``IPython.display.HTML`` object."""
    from IPython.display import HTML

    return HTML(marked_html(text, marks))  # type: ignore[no-untyped-call]
