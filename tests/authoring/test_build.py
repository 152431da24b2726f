"""A fresh build: both editions, the references, the README; what survives and what never leaks."""

import copy
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.authoring.toy import Toy
from workshop_utils.authoring import BuildError, build, check, editions, lesson_table, reset
from workshop_utils.authoring.source import read

LEARNER, SOLVED = "notebooks/99_toy.ipynb", "solutions/99_toy.ipynb"
REFERENCE = "workshop_utils/exercises/references/lesson_99.py"


def notebook(root: Path, path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / path).read_text(encoding="utf-8"))
    return found


def sources(root: Path, path: str) -> list[str]:
    return ["".join(cell["source"]) for cell in notebook(root, path)["cells"]]


def tree(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_writes_what_changed_and_then_nothing(toy: Toy) -> None:
    written = {path.relative_to(toy.root).as_posix() for path in build(toy.root)}
    assert written == {LEARNER, SOLVED, REFERENCE, "README.md"}
    before = tree(toy.root)
    assert build(toy.root) == []
    for path in (LEARNER, SOLVED, REFERENCE):
        (toy.root / path).unlink()
    build(toy.root)
    assert tree(toy.root) == before
    assert check(toy.root) == []


def test_notebooks_are_valid_and_end_with_a_newline(toy: Toy) -> None:
    build(toy.root)
    for path in (LEARNER, SOLVED):
        nbformat.validate(nbformat.read(toy.root / path, as_version=4))  # type: ignore[no-untyped-call]
        text = (toy.root / path).read_bytes()
        assert text.endswith(b"}\n")
        assert b"\r" not in text
        ids = [cell["id"] for cell in notebook(toy.root, path)["cells"]]
        assert len(ids) == len(set(ids))


def test_the_learner_finds_a_place_to_write(toy: Toy) -> None:
    build(toy.root)
    cells = sources(toy.root, LEARNER)
    assert (
        'def mean(values: np.ndarray) -> float:\n    """The mean of values, (n,)."""\n    values = np.asarray(values)\n'
        "    # YOUR CODE HERE\n    raise NotImplementedError" in cells
    )
    assert sum(cell.count("        raise NotImplementedError") for cell in cells) == 2
    everything = "\n".join(cells)
    for secret in ("fsum", "total", "self.offset", "Ask the room", "SOLUTION"):
        assert secret not in everything


def test_the_solution_edition_is_whole(toy: Toy) -> None:
    build(toy.root)
    everything = "\n".join(sources(toy.root, SOLVED))
    assert "total = math.fsum(values)  # exact" in everything
    assert "SOLUTION" not in everything
    assert "NotImplementedError" not in everything
    assert "Ask the room" not in everything
    assert "(../notebooks/99_toy.ipynb)" in everything


def test_header_setup_and_figures(toy: Toy) -> None:
    toy.write("data/results/lessons.json", '{"lessons": [{"lesson": "99_toy", "seconds": 90, "peak_mb": 812.0}]}')
    toy.write(
        "data/results/lessons_slow_path.json", '{"lessons": [{"lesson": "99_toy", "seconds": 240, "peak_mb": 1}]}'
    )
    build(toy.root)
    header, setup, first = sources(toy.root, LEARNER)[:3]
    assert header.startswith("# 99 · Toy\n\n**What is a mean?**")
    for text in (
        "R0, R+1",
        "about 5 minutes (estimated)",
        "1.5 minutes and 0.8 GB of memory (measured)",
        "some Python",
    ):
        assert text in header
    assert "- take a mean" in header
    assert "badge" not in header
    assert "find_spec" in setup
    assert first == "## One\n\nIt answers 31% of 96."
    assert (
        "| [99 Toy](notebooks/99_toy.ipynb) | a mean | R0 R+1 | 5 minutes | 1.5 minutes | 4.0 minutes | 0.8 GB |"
        in lesson_table(toy.root)
    )
    assert lesson_table(toy.root) in (toy.root / "README.md").read_text()
    assert (toy.root / "README.md").read_text().endswith("<!-- END GENERATED -->\n\nEnd\n")


def test_one_setting_makes_the_badges(toy: Toy) -> None:
    toy.write("pyproject.toml", '[tool.workshop]\nrepository = "https://github.com/owner/name"\n')
    build(toy.root)
    header, setup = sources(toy.root, SOLVED)[:2]
    assert "https://mybinder.org/v2/gh/owner/name/main?labpath=solutions%2F99_toy.ipynb" in header
    assert "https://colab.research.google.com/github/owner/name/blob/main/solutions/99_toy.ipynb" in header
    assert 'repository = "https://github.com/owner/name"' in setup


def test_the_reference_module_stands_alone(toy: Toy) -> None:
    build(toy.root)
    text = (toy.root / REFERENCE).read_text()
    assert "generated from lessons/99_toy.py by `workshop build`; do not edit" in text
    assert "import math\nimport numpy as np\n" in text
    assert "pathlib" not in text
    assert "check" not in text
    namespace: dict[str, Any] = {}
    exec(text, namespace)
    assert namespace["mean"]([1, 2, 6]) == 3
    assert namespace["Centred"]([1, 2, 6]).of(4) == 1


def executed(toy: Toy) -> dict[str, Any]:
    """Pretend that the solution edition has been run, and an editor has left its traces."""
    done = notebook(toy.root, SOLVED)
    for n, cell in enumerate(done["cells"]):
        if cell["cell_type"] == "code":
            cell["execution_count"] = n
            cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": [f"{n}\n"]}]
            cell["metadata"]["execution"] = {"started": "2020"}
    done["metadata"]["language_info"]["version"] = "3.11.9"
    toy.write(SOLVED, json.dumps(done))
    return done


def test_outputs_survive_a_rebuild_where_the_source_is_unchanged(toy: Toy) -> None:
    build(toy.root)
    done = executed(toy)
    assert check(toy.root) == []
    toy.edit(("## One", "## Uno"), ('print("same")', 'print("new")'), ("import math\n", "import math\nimport json\n"))
    assert [p.file for p in check(toy.root)] == [LEARNER, SOLVED]
    build(toy.root)
    rebuilt = notebook(toy.root, SOLVED)
    old = {"".join(c["source"]): c.get("outputs") for c in done["cells"]}
    states = {"".join(c["source"]): c["outputs"] for c in rebuilt["cells"] if c["cell_type"] == "code"}
    assert states['print("new")'] == []
    (problem,) = check(toy.root)
    assert problem.file == SOLVED
    assert "--execute 99" in problem.message
    assert states["mean = check(mean)"] == old["mean = check(mean)"] != []
    assert not next(outputs for text, outputs in states.items() if "import json" in text)
    assert "version" not in rebuilt["metadata"]["language_info"]
    assert not any("execution" in cell["metadata"] for cell in rebuilt["cells"])
    assert build(toy.root) == []


def test_outputs_of_equal_cells_stay_in_order(toy: Toy) -> None:
    build(toy.root)
    done = executed(toy)
    expected = [c["outputs"] for c in done["cells"] if c["source"] == ['print("same")']]
    assert expected[0] != expected[1]
    build(toy.root)
    kept = [c["outputs"] for c in notebook(toy.root, SOLVED)["cells"] if c["source"] == ['print("same")']]
    assert kept == expected


def test_a_generated_cell_that_changes_loses_its_outputs(toy: Toy) -> None:
    build(toy.root)
    executed(toy)
    toy.write("pyproject.toml", '[tool.workshop]\nrepository = "https://github.com/owner/name"\n')
    build(toy.root)
    setup, code = (notebook(toy.root, SOLVED)["cells"][n] for n in (1, 3))
    assert (setup["outputs"], setup["execution_count"]) == ([], None)
    assert code["outputs"]


def test_the_order_of_keys_does_not_matter() -> None:
    output = {"name": "stdout", "output_type": "stream", "text": "x"}
    code = {"cell_type": "code", "id": "a", "metadata": {}, "source": "1", "execution_count": 1, "outputs": [output]}
    turned = dict(reversed(code.items())) | {"outputs": [dict(reversed(output.items()))], "source": ["1"]}
    assert editions.dumps({"cells": [code], "metadata": {}}) == editions.dumps({"metadata": {}, "cells": [turned]})


def test_learner_outputs_are_cleared(toy: Toy) -> None:
    build(toy.root)
    fresh = (toy.root / LEARNER).read_bytes()
    dirty = notebook(toy.root, LEARNER)
    dirty["cells"][1] |= {"outputs": [{"output_type": "stream", "name": "stdout", "text": "x"}], "execution_count": 3}
    toy.write(LEARNER, json.dumps(dirty))
    assert check(toy.root) == []
    build(toy.root)
    assert (toy.root / LEARNER).read_bytes() == fresh


def test_nothing_given_is_changed(toy: Toy) -> None:
    build(toy.root)
    built = notebook(toy.root, SOLVED)
    done = executed(toy)
    before = copy.deepcopy((built, done))
    merged = editions.with_outputs(built, done)
    editions.dumps(merged)
    merged["cells"][1]["outputs"].append("mine")
    assert (built, done) == before


@pytest.mark.parametrize("path", [LEARNER, SOLVED, REFERENCE, "README.md"])
@pytest.mark.parametrize("damage", ["missing", "edited", "not json"])
def test_check_finds_a_stale_file(toy: Toy, path: str, damage: str) -> None:
    build(toy.root)
    file = toy.root / path
    if damage == "missing":
        file.unlink()
    elif damage == "not json":
        toy.write(path, "{")
    else:
        toy.write(path, file.read_text().replace("oy", "OY"))
    assert [p.file for p in check(toy.root)] == [path]


@pytest.mark.parametrize(
    "path",
    ["notebooks/98_gone.ipynb", "solutions/98_gone.ipynb", "workshop_utils/exercises/references/lesson_98.py"],
)
def test_check_finds_leftovers(toy: Toy, path: str) -> None:
    build(toy.root)
    toy.write(path, "{}")
    toy.write("notebooks/99_toy.backup-1.ipynb", "{}")
    assert [p.file for p in check(toy.root)] == [path]


def test_a_project_that_cannot_be_built_is_left_as_it_is(toy: Toy) -> None:
    build(toy.root)
    toy.edit(("## One", "## Uno"), ('["check"]', '["chek"]'))
    before = tree(toy.root)
    with pytest.raises(BuildError, match="chek"):
        build(toy.root)
    assert tree(toy.root) == before
    assert any("chek" in p.message for p in check(toy.root))


def test_reset_loses_nothing(toy: Toy) -> None:
    build(toy.root)
    fresh = (toy.root / LEARNER).read_bytes()
    assert reset(toy.root, "99") is None
    for n in (1, 2):
        toy.write(LEARNER, f"my work {n}")
        backup = reset(toy.root, "99_toy")
        assert backup == toy.root / f"notebooks/99_toy.backup-{n}.ipynb"
        assert backup.read_text() == f"my work {n}"
        assert (toy.root / LEARNER).read_bytes() == fresh
    assert (toy.root / "notebooks/99_toy.backup-1.ipynb").read_text() == "my work 1"
    (toy.root / LEARNER).unlink()
    assert reset(toy.root, "99") is None
    assert (toy.root / LEARNER).read_bytes() == fresh
    with pytest.raises(LookupError, match="99_toy"):
        reset(toy.root, "../99_toy")


def test_ids_follow_the_cell_not_its_place(toy: Toy) -> None:
    build(toy.root)
    ids = {"".join(c["source"]): c["id"] for c in notebook(toy.root, SOLVED)["cells"]}
    toy.edit(("# %% [markdown]\n", "# %%\n0\n\n# %% [markdown]\n"))
    build(toy.root)
    moved = {"".join(c["source"]): c["id"] for c in notebook(toy.root, SOLVED)["cells"]}
    assert ids.items() <= moved.items()


def test_magics_reach_the_notebook(toy: Toy) -> None:
    toy.edit(("import math\n", "# %config InlineBackend.figure_format = 'svg'\nimport math\n"))
    build(toy.root)
    assert any(text.startswith("%config") for text in sources(toy.root, LEARNER))


def test_windows_line_ends_build_the_same(toy: Toy) -> None:
    build(toy.root)
    toy.path.write_bytes(toy.path.read_bytes().replace(b"\n", b"\r\n"))
    assert build(toy.root) == []


def test_read_gives_the_places_of_the_file(toy: Toy) -> None:
    lesson, problems = read("99_toy", toy.text)
    assert problems == []
    assert lesson is not None
    assert [e.name for e in lesson.exercises] == ["mean", "Centred"]
    assert lesson.exercises[0].cell.line == toy.line("def mean")
