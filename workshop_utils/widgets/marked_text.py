"""Text with some parts marked in colour, for a notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

COLOURS = ("#fff3b0", "#c8e6c9", "#bbdefb", "#f8bbd0", "#e1bee7")


def marked_html(text: str, marks: Mapping[str, str]) -> str:
    """HTML of the text, escaped, in which each part that is a key of ``marks`` has a colour and a tooltip (its value).

    Parts must not overlap; a part that does not occur is left out. Every part has one of five colours in turn.
    """
    found = sorted((text.find(part), part) for part in marks if part and part in text)
    colour = {part: COLOURS[number % len(COLOURS)] for number, (_, part) in enumerate(found)}
    pieces, end = [], 0
    for start, part in found:
        pieces.append(html.escape(text[end:start]))
        tooltip = html.escape(marks[part], quote=True)
        style = f"background:{colour[part]};color:#000"
        pieces.append(f"<mark title='{tooltip}' style='{style}'>{html.escape(part)}</mark>")
        end = start + len(part)
    pieces.append(html.escape(text[end:]))
    return f"<pre style='white-space:pre-wrap'>{''.join(pieces)}</pre>"


def marked_text(text: str, marks: Mapping[str, str]) -> Any:
    """The same as an ``IPython.display.HTML`` object."""
    from IPython.display import HTML

    return HTML(marked_html(text, marks))  # type: ignore[no-untyped-call]
