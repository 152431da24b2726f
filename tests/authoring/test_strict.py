"""Every mistake an author can make fails the build, with its file and line."""

import pytest

from tests.authoring.toy import Toy
from workshop_utils.authoring import BuildError, Problem, build, check, fill
from workshop_utils.authoring.regions import training_tables

FILE = "lessons/99_toy.py"
BLOCK = """\
    # BEGIN SOLUTION
    total = math.fsum(values)  # exact
    return total / len(values)
    # END SOLUTION
"""
CROOKED = """\
    try:
    # BEGIN SOLUTION
        return 1.0
    # END SOLUTION
    finally:
        pass
"""

# what is changed, into what, a text in the line that must be named (None: a line that is gone), a text of the message
MISTAKES: dict[str, tuple[str, str, str | None, str]] = {
    "two spaces": ("# BEGIN SOLUTION", "# BEGIN  SOLUTION", "BEGIN  SOLUTION", "a marker is '# BEGIN SOLUTION'"),
    "no space": ("# BEGIN SOLUTION", "#BEGIN SOLUTION", "#BEGIN SOLUTION", "a marker is '# BEGIN SOLUTION'"),
    "lower case": ("# BEGIN SOLUTION", "# Begin solution", "# Begin solution", "a marker is '# BEGIN SOLUTION'"),
    "plural": ("# END SOLUTION", "# END SOLUTIONS", "# END SOLUTIONS", "on a line of its own"),
    "underscore": ("# END SOLUTION", "# END_SOLUTION", "# END_SOLUTION", "on a line of its own"),
    "after code": ("total = math", "# BEGIN SOLUTION total = math", "SOLUTION total", "on a line of its own"),
    "typing error": ("# BEGIN SOLUTION", "# BEGIN SOLUTON", "# END SOLUTION", "without '# BEGIN SOLUTION'"),
    "no end": ("    # END SOLUTION\n", "", "# BEGIN SOLUTION", "without '# END SOLUTION'"),
    "no begin": ("    # BEGIN SOLUTION\n", "", "# END SOLUTION", "without '# BEGIN SOLUTION'"),
    "nested": ("    return total", "    # BEGIN SOLUTION\n    return total", None, "inside a solution block"),
    "empty": ("    total = math.fsum(values)  # exact\n    return total / len(values)\n", "", "# BEGIN", "empty"),
    "crooked": ("    # END SOLUTION", "        # END SOLUTION", "# END SOLUTION", "not indented"),
    "in another cell": ("SCALE = 2", "# BEGIN SOLUTION\nSCALE = 2\n# END SOLUTION", "# BEGIN SOLUTION", "outside an"),
    "in prose": ("# ## One", "# # END SOLUTION", "# # END SOLUTION", "on a line of its own"),
    "unknown tag": ('["check"]', '["chekc"]', '["chekc"]', "unknown tag 'chekc'"),
    "generated tag": ('["check"]', '["setup"]', '["setup"]', "unknown tag 'setup'"),
    "tag of the wrong cell": (
        '[markdown] tags=["instructor"]\n#',
        'tags=["instructor"]\n#',
        "instructor",
        "does not go",
    ),
    "tags unquoted": ('["check"]', "[check]", "[check]", "quoted words"),
    "tags unclosed": ('["check"]', '["check"', '["check"', "not a cell line"),
    "cell with a title": ("# %%\nimport", "# %% Imports\nimport", "# %% Imports", "not a cell line"),
    "other cell form": ("# %%\nimport", "# In[1]:\nimport", "# In[1]", "not a cell line"),
    "raw cell": ("# %% [markdown]\n", "# %% [raw]\n", "[raw]", "not a cell line"),
    "empty cell": ("# %%\nimport", "# %%\n\n# %%\nimport", None, "empty cell"),
    "text before the first cell": ("# ---\n\n#", "# ---\nimport os\n\n#", "import os", "before the first cell"),
    "not python": ("SCALE = 2", "SCALE = = 2", "SCALE = =", "not Python"),
    "no docstring": ('    """The mean of values, (n,)."""\n', "", "def mean", "no docstring"),
    "no annotation": ("values: np.ndarray) -> float", "values) -> float", "def mean", "lacks annotations: values"),
    "no return annotation": (") -> float:\n", "):\n", "def mean", "lacks annotations: return"),
    "method without annotation": ("value: float)", "value)", "def of", "lacks annotations: value"),
    "two functions": ("def mean(", "A = 1\ndef mean(", "A = 1", "one function or class and nothing else"),
    "no solution": (BLOCK, "    return 1.0\n", "def mean", "needs a solution block"),
    "no check": ('\n# %% tags=["check"]\nmean = check(mean)\n', "", "def mean", "no cell mean = check(mean)"),
    "no last check": ('\n# %% tags=["check"]\nCentred = check(Centred)\n', "", "class Centred", "no cell Centred"),
    "check untagged": ('# %% tags=["check"]\n', "# %%\n", "mean = check(mean)", "tag this cell 'check'"),
    "check of another": ("mean = check(mean)", "Centred = check(Centred)", "Centred = check", "does not follow"),
    "check and more": ("mean = check(mean)", "mean = check(mean)\nmean", "mean = check", "and nothing else"),
    "check thrown away": ("mean = check(mean)", "check(mean)", "check(mean)", "and nothing else"),
    "name from another cell": ("total / len(values)", "total * SCALE", "total * SCALE", "uses 'SCALE'"),
    "name from nowhere": ("math.fsum", "nmath.fsum", "nmath", "uses 'nmath'"),
    "decorator from nowhere": ("def mean", "@SCALE\ndef mean", "@SCALE", "uses 'SCALE'"),
    "solution elsewhere": ("SCALE = 2", "x = 1; total   =  math.fsum(values)  # exact", None, "also stands"),
    "solution in prose": (
        "# ## One",
        "# Use `return value - self.offset`.",
        "        return value - self",
        "also stands",
    ),
    "blank is not python": (BLOCK, CROOKED, "def mean", "is not Python"),
    "no such result": ("results/toy.json:rag.n", "results/tou.json:rag.n", "tou.json", "no data/results/tou.json"),
    "no such key": ("rag.n}}", "rag.m}}", "rag.m", "has no 'rag.m'"),
    "no such item": ("rag.n}}", "rag.list.3.x}}", "rag.list", "has no"),
    "not a value": ("rag.n}}", "rag}}", "rag}}", "not one value"),
    "bad format": ("|.0%}}", "|.0q}}", "|.0q", "Unknown format"),
    "not a figure": ("{{results/toy.json:rag.n}}", "{{result/toy.json:rag.n}}", "{{result/", "not of the form"),
    "figure unclosed": ("rag.n}}", "rag.n}", "rag.n}", "not of the form"),
    "figure outside results": ("results/toy.json:rag.n", "results/../x.json:rag.n", "../x.json", "there is no"),
    "header: no block": ("# ---\n", "", None, "must open with"),
    "header: unknown key": ("#   minutes: 5", "#   minutes: 5\n#   colour: red", "colour", "unknown key 'colour'"),
    "header: missing key": ("#   minutes: 5\n", "", "workshop:", "has no 'minutes'"),
    "header: other table": ("# workshop:", "# jupyter: {}\n# workshop:", None, "and no other"),
    "header: not yaml": ("title: Toy", "title: [Toy", None, "not YAML"),
    "header: minutes": ("minutes: 5", "minutes: five", "minutes", "whole number"),
    "header: claims": ("[R0, R+1]", "[R0, wrong]", "claims", "'wrong' is not the id"),
    "header: text": ("title: Toy", "title: 3", "title", "must be a text"),
    "header: list": ("claims: [R0, R+1]", "claims: R0", "claims", "list of texts"),
    "header: no outcome": ("#   outcomes:\n#     - take a mean", "#   outcomes: []", "outcomes", "is empty"),
    "header: prerequisite": ("[some Python]", "[98_gone]", None, "98_gone does not exist"),
}


def problems(toy: Toy) -> list[Problem]:
    with pytest.raises(BuildError) as error:
        build(toy.root)
    assert not (toy.root / "notebooks").exists()
    return list(error.value.problems)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_fails_with_its_line(toy: Toy, name: str) -> None:
    old, new, place, message = MISTAKES[name]
    toy.edit((old, new))
    found = problems(toy)
    assert {p.file for p in found} == {FILE}
    named = [p for p in found if message in p.message]
    assert named, found
    assert place is None or toy.line(place) in {p.line for p in named}, found


def test_all_mistakes_are_reported_at_once(toy: Toy) -> None:
    toy.edit(
        ("minutes: 5", "minutes: no"),
        ('["check"]', '["chekc"]'),
        ("# BEGIN SOLUTION", "# begin solution"),
        ("value: float)", "value)"),
    )
    toy.write("lessons/97_other.py", "x = 1\n")
    toy.write("lessons/Bad name.py", "x = 1\n")
    found = problems(toy)
    for place in ("minutes: no", "chekc", "begin solution", "def of", "# END SOLUTION"):
        assert toy.line(place) in {p.line for p in found if p.file == FILE}
    assert {p.file for p in found} == {FILE, "lessons/97_other.py", "lessons/Bad name.py"}
    assert str(found[0]).startswith(found[0].file + f":{found[0].line}: ")


def test_what_one_lesson_cannot_see(toy: Toy) -> None:
    toy.write("lessons/98_again.py", toy.text)
    toy.write("lessons/99_other.py", toy.text.replace("mean", "average").replace("Centred", "Shifted"))
    found = {(p.file, p.line): p.message for p in problems(toy)}
    assert f"mean is also in lessons/98_again.py:{toy.line('def mean')}" in found[FILE, toy.line("def mean")]
    assert found[FILE, 1] == "has the number of 99_other"


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("data/results/toy.json", "{", "not JSON"),
        ("data/results/lessons.json", '{"lessons": [{"lesson": "99_toy"}]}', "must have the form"),
        ("pyproject.toml", '[tool.workshop]\nrepository = "git@github.com:owner/name"\n', "must be empty or https"),
    ],
)
def test_bad_settings(toy: Toy, path: str, text: str, message: str) -> None:
    toy.write(path, text)
    assert any(p.file == path and message in p.message for p in problems(toy))


def test_a_lesson_that_is_not_text(toy: Toy) -> None:
    toy.path.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in problems(toy)[0].message


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "<!-- BEGIN GENERATED: lessons -->",
        "<!-- BEGIN GENERATED: other -->\n<!-- END GENERATED -->",
        "<!-- BEGIN GENERATED: lessons -->\n<!-- BEGIN GENERATED: other -->\n<!-- END GENERATED -->",
        "<!-- BEGIN GENERATED: lessons --><!-- END GENERATED -->" * 2,
    ],
)
def test_a_page_without_its_region(text: str) -> None:
    with pytest.raises(ValueError, match="one region"):
        fill(text, "lessons", "x")


def test_regions_are_filled_one_by_one() -> None:
    page = "a <!-- BEGIN GENERATED: a -->1<!-- END GENERATED --> <!-- BEGIN GENERATED: b -->2<!-- END GENERATED -->"
    filled = fill(page, "b", r"\1 new")
    assert "BEGIN GENERATED: a -->1<!--" in filled
    assert "b -->\n\\1 new\n<!--" in filled
    assert fill(filled, "b", r"\1 new") == filled


def test_a_page_that_lost_its_region_is_named(toy: Toy) -> None:
    (toy.root / "README.md").write_text("nothing")
    assert [problem.file for problem in check(toy.root) if "one region" in problem.message] == ["README.md"]


def test_the_training_page_shows_what_was_measured() -> None:
    run = {"rate": 0.0045, "seconds": 300.0, "best_dev_loss": 0.1, "seconds_to_equal": 250.0, "peak_mb": 4000.0}
    run |= {"examples_per_second": 1.5, "gemm_share": 0.2}
    bench = {"examples": 4, "epochs": 2, "dev": 3, "dtype": "bfloat16", "threads": 2, "gemm_gflops": 400.0}
    bench |= {"speedup": 2.74, "memory_ratio": 0.4}
    steps = {"parts": {"layers": 0.6, "rest": 0.4}, "without": {"logits": 1.07}}
    tables = training_tables({**bench, "stock": run, "ours": {**run, "seconds": 100.0}}, steps)
    assert "| seconds in all | 300 | 100 |" in tables
    assert "2.7 times as fast, in 40% of the memory" in tables
    assert "| layers | 60% | | logits | 1.07 |" in tables
    assert "| rest | 40% | |  |  |" in tables
