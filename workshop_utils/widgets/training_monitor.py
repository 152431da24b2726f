"""The training monitor: the loss as training goes on, how fast it is, and how long it will still take."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workshop_utils.messages import say

if TYPE_CHECKING:
    from workshop_utils.tuning.run import Progress

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 620, 260, 46, 12, 14, 34
# readable on white and on black, and by those who see no red or no green
COLOURS = {"loss": "#56b4e9", "dev_loss": "#d55e00"}
# beyond it neighbours share a point of the picture
MOST_POINTS = 300
SECONDS_BETWEEN = 0.5


@dataclass
class Monitor:
    """What the monitor shows; no display.

    Attributes:
        loss: (step, loss) of each step; ``dev_loss`` of each measurement.
        last: the progress that was told last.
    """

    loss: list[tuple[int, float]] = field(default_factory=list)
    dev_loss: list[tuple[int, float]] = field(default_factory=list)
    last: Progress | None = None

    def add(self, progress: Progress) -> None:
        """Take in what ``train_adapter`` tells its ``watch``; a training that begins anew clears what was there."""
        if self.last is not None and progress.step < self.last.step:
            self.loss, self.dev_loss = [], []
        if math.isfinite(progress.loss) and (not self.loss or self.loss[-1][0] < progress.step):
            self.loss.append((progress.step, progress.loss))
        if progress.dev_loss is not None and (not self.dev_loss or self.dev_loss[-1][1] != progress.dev_loss):
            self.dev_loss.append((progress.step, progress.dev_loss))
        self.last = progress

    @property
    def finished(self) -> bool:
        """Whether the last step has been made."""
        return self.last is not None and self.last.step >= self.last.steps

    def as_html(self) -> str:
        """The state as HTML with the curves as SVG, which a saved notebook keeps."""
        if self.last is None:
            return f"<p>{html.escape(say('training_monitor.waiting'))}</p>"
        return f"<div style='max-width:{WIDTH}px'><p>{html.escape(self._words())}</p>{self._picture()}</div>"

    def _words(self) -> str:
        assert self.last is not None
        speed = f"{self.last.tokens_per_second:,.0f}"
        if self.finished:
            return say("training_monitor.finished", step=self.last.step, seconds=_time(self.last.seconds), speed=speed)
        if not self.loss:
            return say("training_monitor.preparing")
        left = _time(self.last.seconds_left)
        return say("training_monitor.running", step=self.last.step, steps=self.last.steps, left=left, speed=speed)

    def _picture(self) -> str:
        assert self.last is not None
        curves: dict[str, Sequence[tuple[float, float]]] = {"loss": _thinned(self.loss), "dev_loss": self.dev_loss}
        values = [value for points in curves.values() for _, value in points]
        if not values:
            return ""
        top = max(values) * 1.05 or 1.0
        steps = max(self.last.steps, 1)

        def place(step: float, value: float) -> tuple[float, float]:
            x = LEFT + (WIDTH - LEFT - RIGHT) * step / steps
            return x, TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)

        parts = []
        for tick in _ticks(top):
            y = place(0, tick)[1]
            parts.append(
                f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}' stroke='currentColor' opacity='.2'/>"
                f"<text x='{LEFT - 6}' y='{y + 4:.1f}' text-anchor='end'>{tick:g}</text>"
            )
        for step in sorted({0, steps // 2, steps}):
            x = place(step, 0)[0]
            parts.append(f"<text x='{x:.1f}' y='{HEIGHT - 16}' text-anchor='middle'>{step}</text>")
        parts.append(
            f"<text x='{WIDTH / 2:.0f}' y='{HEIGHT - 2}' text-anchor='middle'>{_text('training_monitor.axis')}</text>"
        )
        said: dict[str, str] = {}
        for name, points in curves.items():
            if not points:
                continue
            placed = [place(step, value) for step, value in points]
            colour = COLOURS[name]
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            parts.append(f"<polyline points='{line}' fill='none' stroke='{colour}' stroke-width='2'/>")
            if name == "dev_loss":
                parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4' fill='{colour}'/>" for x, y in placed]
            best = min(value for _, value in points)
            now = f"{points[-1][1]:.3f}"
            said[name] = say("training_monitor.dev_now", value=now, best=f"{best:.3f}") if name == "dev_loss" else now
            label = f"{say(f'training_monitor.{name}')} {said[name]}"
            y = TOP + 14 + 18 * (len(said) - 1)
            parts.append(
                f"<text x='{WIDTH - RIGHT}' y='{y}' text-anchor='end' fill='{colour}'>{html.escape(label)}</text>"
            )
        told = say("training_monitor.picture", loss=said.get("loss", "-"), dev_loss=said.get("dev_loss", "-"))
        return (
            f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' width='100%' role='img' aria-label='{html.escape(told, quote=True)}' "
            f"fill='currentColor' font-family='sans-serif' font-size='13'>{''.join(parts)}</svg>"
        )


class TrainingMonitor:
    """A picture in a notebook which ``watch`` redraws in place, at most twice a second and once more at the end.

    Shown by ``display(monitor)``, by a cell's last line, or in the cell that trains if it is not shown before. It is
    an output of the cell and not a widget, so that a saved notebook keeps the last picture wherever it is opened.
    """

    def __init__(self) -> None:
        self.state = Monitor()
        self.drawn = 0.0
        self._handle: Any = None

    def watch(self, progress: Progress) -> None:
        """Take in how far training is, and draw; for ``train_adapter(..., watch=monitor.watch)``."""
        self.state.add(progress)
        now = time.monotonic()
        if self.state.finished or now - self.drawn >= SECONDS_BETWEEN:
            self.drawn = now
            if self._handle is None:
                self._ipython_display_()
            else:
                self._handle.update(_Html(self.state.as_html()))

    def _ipython_display_(self) -> None:
        from IPython import get_ipython
        from IPython.display import display

        if get_ipython() is not None:
            self._handle = display(_Html(self.state.as_html()), display_id=True)  # type: ignore[no-untyped-call]


class _Html:
    """What IPython shows as it is."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_html_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return say("training_monitor.name")


def training_monitor() -> TrainingMonitor:
    """A monitor that waits for a training."""
    return TrainingMonitor()


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """The same curve in at most ``MOST_POINTS`` points: means of neighbours."""
    size = -(-len(points) // MOST_POINTS)
    groups = [points[at : at + size] for at in range(0, len(points), size)] if points else []
    return [(sum(s for s, _ in group) / len(group), sum(v for _, v in group) / len(group)) for group in groups]


def _ticks(top: float) -> list[float]:
    """Three to six round values from zero."""
    power = 10.0 ** math.floor(math.log10(top))
    step = next(part * power for part in (0.2, 0.5, 1, 2) if top / (part * power) <= 6)
    return [round(number * step, 10) for number in range(int(top / step) + 1)]


def _time(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return say("training_monitor.seconds", seconds=whole)
    return say("training_monitor.minutes", minutes=whole // 60, seconds=whole % 60)


def _text(key: str) -> str:
    return html.escape(say(key))
