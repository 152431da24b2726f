"""In a notebook: lines of the learner's cell, one box of HTML, the same every time."""

import subprocess
import sys
from typing import Any

import pytest

from workshop_utils.exercises import progress, record
from workshop_utils.exercises.box import Box

IN_A_SHELL = """
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from workshop_utils.exercises import judging, notebook, registry
shell = InteractiveShell.instance()
def checker(attempt):
    attempt(2)
registry.find = lambda name: judging.Exercise(name, checker)
registry.reference = lambda name: abs
shell.run_cell("from workshop_utils.exercises import check")
shell.run_cell('''def f(x):
    y = 2 * x
    return y[0]''')
with capture_output() as seen:
    shell.run_cell("f = check(f)")
print(seen.outputs[0].data["text/plain"])
print(seen.outputs[0].data["text/html"])
"""


def test_the_box_names_the_line_of_the_cell() -> None:
    done = subprocess.run([sys.executable, "-c", IN_A_SHELL], capture_output=True, text=True, check=True, timeout=120)
    assert "f: your code raised TypeError\nline 3: `return y[0]`\n'int' object is not subscriptable\n" in done.stdout
    assert "line 3: <code>return y[0]</code><br>&#x27;int&#x27; object" in done.stdout


def test_a_box_escapes_and_keeps_its_text() -> None:
    box = Box("bad", "a <b>", ("`x < 1` & more\nnext",), code="if a < b:\n    pass\n")
    assert repr(box) == "a <b>\n`x < 1` & more\nnext\nif a < b:\n    pass"
    page = box._repr_html_()
    assert "<b>a &lt;b&gt;</b>" in page
    assert "<code>x &lt; 1</code> &amp; more<br>next" in page
    assert "<pre>if a &lt; b:\n    pass</pre>" in page
    assert page == box._repr_html_()


@pytest.mark.usefixtures("toy", "progress_file")
def test_progress_is_a_small_table() -> None:
    assert repr(progress()).startswith("0 of 1 exercises passed")
    record.mark_passed("top")
    record.open_hint("top", 3)
    lines = repr(progress()).splitlines()
    assert lines == [
        "1 of 1 exercises passed",
        "lesson  exercise                 state   hints opened",
        "99      top: The highest scores  passed  1",
    ]
    table: Any = progress()._repr_html_()
    assert "<td>top: The highest scores</td><td>passed</td><td>1</td>" in table
