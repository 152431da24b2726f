"""One small coloured box in a notebook, plain text elsewhere."""

import html
import re
from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "bad", "open", "info"]

COLOURS: dict[Tone, str] = {"good": "#2e7d32", "bad": "#c62828", "open": "#8a6d00", "info": "#1565c0"}


@dataclass(frozen=True)
class Box:
    """A heading and paragraphs. `code` is source text, set as it is."""

    tone: Tone
    heading: str
    paragraphs: tuple[str, ...] = ()
    code: str = ""

    def __repr__(self) -> str:
        return "\n".join([self.heading, *self.paragraphs, *([self.code.rstrip()] if self.code else [])])

    def _repr_html_(self) -> str:
        parts = [f"<b>{_inline(self.heading)}</b>"]
        parts += [f"<div>{_inline(text)}</div>" for text in self.paragraphs]
        if self.code:
            parts.append(f"<pre>{html.escape(self.code.rstrip())}</pre>")
        style = f"border-left:4px solid {COLOURS[self.tone]};padding:.4em .8em;margin:.3em 0"
        return f'<div style="{style}">{"".join(parts)}</div>'


def show(box: object) -> None:
    """Display it where a notebook can; print it where there is none."""
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import display
    except ImportError:
        print(box)
        return
    if get_ipython() is None:
        print(box)
    else:
        display(box)  # type: ignore[no-untyped-call]


def _inline(text: str) -> str:
    """Escaped HTML, `code` set as code, line breaks kept."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", html.escape(text)).replace("\n", "<br>")
