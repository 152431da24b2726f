"""The training monitor: the loss as training goes on, how fast it is, and how long it will still take."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workshop_utils.messages import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from workshop_utils.tuning.run import Progress

# inches, at DOTS dots each
SIZE, DOTS = (6.4, 2.9), 100
# readable on white and on black, and by those who see no red or no green
COLOURS = {"loss": "#56b4e9", "dev_loss": "#d55e00"}
TEXT = "#808080"
# beyond it neighbours share a point of the picture
MOST_POINTS = 300
# drawing takes 0.1 to 0.3 s of the time that training could use
SECONDS_BETWEEN = 4.0


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

    def words(self) -> str:
        """How far it is, how fast, and how long it will still take."""
        if self.last is None:
            return say("training_monitor.waiting")
        speed = f"{self.last.tokens_per_second:,.0f}"
        if self.finished:
            return say("training_monitor.finished", step=self.last.step, seconds=_time(self.last.seconds), speed=speed)
        if not self.loss:
            return say("training_monitor.preparing")
        left = _time(self.last.seconds_left)
        return say("training_monitor.running", step=self.last.step, steps=self.last.steps, left=left, speed=speed)

    def figure(self) -> Figure | None:
        """The curves; None as long as there is nothing to draw."""
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        if self.last is None or not (self.loss or self.dev_loss):
            return None
        figure = Figure(figsize=SIZE, dpi=DOTS, layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots()
        axes.patch.set_alpha(0)
        axes.set_title(self.words(), fontsize=10, color=TEXT, loc="left")
        if self.loss:
            label = f"{say('training_monitor.loss')} {self.loss[-1][1]:.3f}"
            axes.plot(*zip(*_thinned(self.loss), strict=True), color=COLOURS["loss"], label=label)
        if self.dev_loss:
            now, best = self.dev_loss[-1][1], min(value for _, value in self.dev_loss)
            told = say("training_monitor.dev_now", value=f"{now:.3f}", best=f"{best:.3f}")
            label = f"{say('training_monitor.dev_loss')} {told}"
            axes.plot(*zip(*self.dev_loss, strict=True), color=COLOURS["dev_loss"], marker="o", label=label)
        axes.set_xlim(0, max(self.last.steps, 1))
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(say("training_monitor.axis"), color=TEXT)
        axes.tick_params(colors=TEXT)
        axes.grid(alpha=0.3)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(TEXT)
        axes.legend(frameon=False, labelcolor="linecolor", loc="upper right")
        return figure


class TrainingMonitor:
    """A picture in a notebook which ``watch`` redraws in place, every few seconds and once more at the end.

    Shown by ``display(monitor)``, by a cell's last line, or in the cell that trains if it is not shown before. It is
    an output of the cell and not a widget, so that a saved notebook keeps the last picture; and a bitmap, because
    Jupyter takes SVG out of a notebook that somebody else has run.
    """

    def __init__(self) -> None:
        self.state = Monitor()
        self.drawn = -math.inf
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
                self._handle.update(_Shown(self.state))

    def _ipython_display_(self) -> None:
        from IPython import get_ipython
        from IPython.display import display

        if get_ipython() is not None:
            self._handle = display(_Shown(self.state), display_id=True)  # type: ignore[no-untyped-call]


class _Shown:
    """The state as IPython shows it: the picture, and in words where pictures cannot be seen."""

    def __init__(self, state: Monitor) -> None:
        self.state = state

    def _repr_png_(self) -> bytes | None:
        import io

        figure = self.state.figure()
        if figure is None:
            return None
        file = io.BytesIO()
        figure.savefig(file, format="png")
        return file.getvalue()

    def __repr__(self) -> str:
        return self.state.words()


def training_monitor() -> TrainingMonitor:
    """A monitor that waits for a training."""
    return TrainingMonitor()


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """The same curve in at most ``MOST_POINTS`` points: means of neighbours."""
    size = -(-len(points) // MOST_POINTS)
    groups = [points[at : at + size] for at in range(0, len(points), size)] if points else []
    return [(sum(s for s, _ in group) / len(group), sum(v for _, v in group) / len(group)) for group in groups]


def _time(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return say("training_monitor.seconds", seconds=whole)
    return say("training_monitor.minutes", minutes=whole // 60, seconds=whole % 60)
