"""The training monitor without a browser: what it is told is what it draws."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from workshop_utils.messages import say
from workshop_utils.tuning.run import Progress
from workshop_utils.widgets.training_monitor import COLOURS, MOST_POINTS, Monitor, training_monitor


def told(step: int, loss: float, dev_loss: float | None = None, steps: int = 10, left: float = 75.0) -> Progress:
    return Progress(step, steps, loss, dev_loss, 3.0 * step, left, 412.3)


def after(*progress: Progress) -> Monitor:
    monitor = Monitor()
    for one in progress:
        monitor.add(one)
    return monitor


def axes(monitor: Monitor) -> Any:
    figure = monitor.figure()
    assert figure is not None
    return figure.axes[0]


def points(monitor: Monitor, name: str) -> list[tuple[float, float]]:
    line = next(line for line in axes(monitor).lines if line.get_color() == COLOURS[name])
    return [(float(x), float(y)) for x, y in line.get_xydata()]


def test_before_training_it_waits() -> None:
    assert Monitor().words() == say("training_monitor.waiting")
    assert Monitor().figure() is None


def test_before_the_first_step_it_says_so() -> None:
    monitor = after(told(0, math.nan, 2.0))
    assert monitor.words() == say("training_monitor.preparing")
    assert monitor.loss == []
    assert monitor.dev_loss == [(0, 2.0)]


def test_it_keeps_each_loss_once() -> None:
    monitor = after(told(0, math.nan, 3.0), told(1, 2.5, 3.0), told(2, 2.0, 3.0), told(2, 2.0, 1.9), told(3, 1.5, 1.9))
    assert monitor.loss == [(1, 2.5), (2, 2.0), (3, 1.5)]
    assert monitor.dev_loss == [(0, 3.0), (2, 1.9)]


def test_it_tells_the_time_left_and_the_speed() -> None:
    monitor = after(told(4, 1.0))
    assert monitor.words() == "step 4 of 10, 1 min 15 s left, 412 tokens a second"
    assert axes(monitor).get_title(loc="left") == monitor.words()
    assert after(told(10, 1.0, left=0.0)).words().startswith("10 steps in 30 s")


def test_the_curves_show_what_was_told_and_name_the_last_and_the_best() -> None:
    monitor = after(told(0, math.nan, 4.0), told(5, 2.0, 1.5), told(10, 1.0, 2.0))
    assert points(monitor, "loss") == [(5, 2.0), (10, 1.0)]
    assert points(monitor, "dev_loss") == [(0, 4.0), (5, 1.5), (10, 2.0)]
    labels = [text.get_text() for text in axes(monitor).get_legend().get_texts()]
    assert labels == ["training loss 1.000", "development loss 2.000 (best 1.500)"]
    assert axes(monitor).get_xlim() == (0, 10)
    assert axes(monitor).get_ylim()[0] == 0


def test_a_long_training_is_thinned_and_keeps_its_end() -> None:
    monitor = after(*(told(step, 5 - step / 500, steps=2000) for step in range(1, 2001)))
    drawn = points(monitor, "loss")
    assert len(drawn) <= MOST_POINTS
    assert drawn == sorted(drawn)
    assert len(monitor.loss) == 2000


def test_a_second_training_begins_a_new_picture() -> None:
    monitor = after(told(9, 1.0, 1.0), told(0, math.nan, 3.0))
    assert monitor.loss == []
    assert monitor.dev_loss == [(0, 3.0)]


def test_it_redraws_in_place_at_most_every_four_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    drawn: list[str] = []

    class Handle:
        def update(self, shown: Any) -> None:
            assert shown._repr_png_().startswith(b"\x89PNG")
            drawn.append(repr(shown))

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monitor = training_monitor()
    monitor._handle = Handle()
    for step in range(1, 11):
        monitor.watch(told(step, 1.0))
        now[0] += 1.6
    # 0.0, 4.8, 9.6 and the last step, 14.4
    assert len(drawn) == 4
    assert "10 steps in" in drawn[-1]
    assert len(monitor.state.loss) == 10


def test_a_notebook_keeps_the_last_picture() -> None:
    import nbclient
    import nbformat

    cells = [
        "from workshop_utils.tuning.run import Progress\n"
        "from workshop_utils.widgets.training_monitor import training_monitor\n"
        "monitor = training_monitor()\nmonitor",
        "for step in range(1, 4):\n    monitor.watch(Progress(step, 3, 1.0, None, step, 3 - step, 9.0))",
        "own = training_monitor()\nown.watch(Progress(1, 2, 1.0, None, 1.0, 1.0, 9.0))\n"
        "own.watch(Progress(2, 2, 1.0, None, 2.0, 0.0, 9.0))",
    ]
    make: Any = nbformat.v4
    notebook = make.new_notebook(cells=[make.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=60).execute()
    first, second, third = (cell.outputs for cell in notebook.cells)
    assert second == []
    for outputs, said in ((first, "3 steps in 3 s"), (third, "2 steps in 2 s")):
        (output,) = outputs
        assert said in output["data"]["text/plain"]
        # in a notebook that somebody else has run, Jupyter shows a bitmap, and takes SVG out
        assert output["data"].keys() == {"text/plain", "image/png"}


def test_outside_a_notebook_it_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    training_monitor().watch(told(1, 1.0))
    assert capsys.readouterr().out == ""
