"""Dots with intervals as inline SVG: no script, no font, no file; its colours follow the page that it stands in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workshop_utils.evaluation.compare.page import NONE, plain
from workshop_utils.evaluation.studies.figures import Figure, interval

# in units of the drawing, of which a phone's width holds as many
WIDTH, LABEL, VALUE, LINE, GAP, TOP, BOTTOM = 360, 118, 40, 14, 8, 10, 24


@dataclass(frozen=True)
class Dot:
    """One row of a drawing: ``figure`` is None where there is nothing to draw, ``strong`` sets it off."""

    label: str
    figure: Figure | None
    strong: bool = False


def dots(title: str, rows: Sequence[Dot], *, low: float = 0.0, high: float = 1.0) -> str:
    """Values with their 95% intervals, one below the other.

    Args:
        title: of the drawing, for those who do not see it; they are told its values too.
        rows: a label may have several lines.
        low, high: ends of the axis; what lies outside is cut off there.
    """
    left, right = LABEL + 6, WIDTH - VALUE
    row_height = LINE * max((row.label.count("\n") + 1 for row in rows), default=1) + GAP
    height = TOP + row_height * len(rows) + BOTTOM

    def x(value: float) -> str:
        place = (min(max(value, low), high) - low) / (high - low)
        return f"{left + place * (right - left):.1f}"

    ticks = [low + (high - low) * step / 4 for step in range(5)]
    parts = []
    for tick in ticks:
        name = "axis zero" if tick == 0 and low < 0 else "axis"
        parts.append(f'<line class="{name}" x1="{x(tick)}" x2="{x(tick)}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        parts.append(f'<text class="tick" x="{x(tick)}" y="{height - 8}" text-anchor="middle">{tick:g}</text>')
    for number, row in enumerate(rows):
        y = TOP + row_height * (number + 0.5)
        weight = ' class="strong"' if row.strong else ""
        lines = row.label.split("\n")
        for place, line in enumerate(lines):
            base = y + 4 + LINE * (place - (len(lines) - 1) / 2)
            parts.append(f'<text{weight} x="{LABEL}" y="{base}" text-anchor="end">{plain(line)}</text>')
        if row.figure is None:
            parts.append(f'<text class="tick" x="{left + 4}" y="{y + 4}">{NONE}</text>')
            continue
        ends = f'x1="{x(row.figure["low"])}" x2="{x(row.figure["high"])}" y1="{y}" y2="{y}"'
        kind = " strong" if row.strong else ""
        parts.append(f'<line class="interval{kind}" {ends}/>')
        parts.append(f'<circle class="dot{kind}" cx="{x(row.figure["value"])}" cy="{y}" r="4"/>')
        parts.append(f'<text{weight} x="{WIDTH}" y="{y + 4}" text-anchor="end">{row.figure["value"]:.2f}</text>')
    told = "; ".join(f"{' '.join(row.label.split())} {interval(row.figure) if row.figure else 'none'}" for row in rows)
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="xMinYMin meet">'
        f"<title>{plain(title)}</title><desc>{plain(told)}</desc>{''.join(parts)}</svg>"
    )
