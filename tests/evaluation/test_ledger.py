"""The ledger: every claim once, its figures where it says, each rule by its verdicts, gaps and broken files named."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.evaluation.compare import plausible
from workshop_utils.cli import app
from workshop_utils.corpus import data_dir
from workshop_utils.evaluation.compare import verdicts_table
from workshop_utils.evaluation.deciding import RULES
from workshop_utils.evaluation.ledger import ResultError, Row, ledger, rules, table
from workshop_utils.evaluation.ledger.claims import CLAIMS
from workshop_utils.evaluation.ledger.results import COMPARED, Results
from workshop_utils.evaluation.ledger.rules import GAP, HOLDS, NOT, ONLY, OPEN
from workshop_utils.evaluation.studies import combining
from workshop_utils.evaluation.studies.recipes import COST_MATTERS

PROJECT = data_dir().parent
IDS = [
    *("R0", "R+1", "R+2", "R+3", "R+4", "R-1", "R-2", "R-3", "RU1", "RU2", "RU3", "RU4"),
    *("F0", "FM1", "FM2", "F+1", "F+2", "F+3", "F+4", "F-1", "F-2", "F-3", "F-4", "FU1", "FU2", "FU3", "FU4"),
    *("T1", "T2", "T3", "T4", "T5", "T6", "T7", "C1", "C2", "C3", "D1", "D2", "D3", "D4", "W1", "W2", "W3"),
]
TO_COME = ("08", "09", "10")


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A copy of the results, to break; without those on all arms and on combining."""
    folder = tmp_path / "results"
    shutil.copytree(data_dir() / "results", folder)
    for name in (*COMPARED.values(), "combining.json"):
        (folder / name).unlink(missing_ok=True)
    return folder


def by_claim(rows: list[Row]) -> dict[str, Row]:
    return {row.claim: row for row in rows}


def change(file: Path, edit: Callable[[Any], object]) -> None:
    found = json.loads(file.read_text("utf-8"))
    edit(found)
    file.write_text(json.dumps(found), encoding="utf-8")


def figure(value: float, half: float = 0.01) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half, "n": 50}


# ---- today's results


def test_every_claim_is_there_once_and_in_order() -> None:
    assert [claim.id for claim in CLAIMS] == IDS
    assert [row.claim for row in ledger()] == IDS


def test_every_figure_stands_where_the_row_says() -> None:
    stored = Results(data_dir() / "results", PROJECT)
    for row in ledger():
        if row.verdict == GAP:
            assert (row.figure, row.source) == (None, ""), row
            assert row.because.endswith("."), row
            continue
        assert row.verdict in (HOLDS, NOT, OPEN) or row.verdict.startswith(f"{ONLY} "), row
        assert row.figure is not None
        assert row.measure
        if row.source.startswith("ledger: "):
            assert set(row.source.removeprefix("ledger: ").split(", ")) <= set(IDS)
            continue
        found = stored.get(row.source)
        if row.low is not None and row.high is not None:
            assert (row.figure, row.low, row.high) == (found["value"], found["low"], found["high"]), row
            assert row.low <= row.figure <= row.high, row
            assert row.n, row


def test_no_claim_of_the_lessons_that_are_written_is_a_gap() -> None:
    assert [row.claim for row in ledger() if row.lesson not in TO_COME and row.verdict == GAP] == []


def test_the_cell_of_every_lesson_that_is_written_shows_the_claim() -> None:
    for claim in CLAIMS:
        path = next((PROJECT / "lessons").glob(f"{claim.lesson}_*.py"), None)
        if path is None:
            assert claim.lesson in TO_COME
            assert claim.cell == ""
            continue
        text = path.read_text("utf-8")
        declared = re.search(r"^#\s+claims: \[(.*)\]$", text, re.MULTILINE)
        assert declared is not None
        assert claim.id in declared[1].split(", "), claim
        headings = list(re.finditer(r"^# (##+) (.*)$", text, re.MULTILINE))
        found = [heading for heading in headings if heading[2] == claim.cell]
        assert len(found) == 1, claim
        level = len(found[0][1])
        later = (h.start() for h in headings if h.start() > found[0].start() and len(h[1]) <= level)
        section = text[found[0].start() : next(later, len(text))]
        assert re.search(rf"(?<![\w+-]){re.escape(claim.id)}(?!\w)", section), claim


def test_rows_can_be_written_as_json_and_shown() -> None:
    rows = ledger()
    row = json.loads(json.dumps(rows[2].as_dict()))
    assert {"claim", "verdict", "figure", "low", "high", "n", "lesson", "cell", "text", "experiment", "source"} <= set(
        row
    )
    assert (row["claim"], row["lesson"]) == ("R+2", "03")
    console = Console(width=250, record=True)
    console.print(table(rows))
    shown = console.export_text()
    assert all(f" {claim} " in shown for claim in IDS)
    counted = sum(int(number) for number in re.findall(r": (\d+)(?=,|\s*$)", shown.strip().splitlines()[-1]))
    assert counted == len(IDS)


def test_the_command_writes_the_ledger(tmp_path: Path) -> None:
    file = tmp_path / "ledger.json"
    result = CliRunner().invoke(app, ["ledger", "--json", str(file)])
    assert result.exit_code == 0, result.output
    assert [row["claim"] for row in json.loads(file.read_text("utf-8"))["ledger"]] == IDS


def test_no_comparison_is_loaded_to_read_the_ledger() -> None:
    line = "import sys, workshop_utils.evaluation.ledger; print('workshop_utils.evaluation.compare.run' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


# ---- files that are missing, old or broken


@pytest.mark.parametrize(
    ("name", "gaps"),
    [
        ("langchain.json", {"R+4", "RU1", "RU2", "D1"}),
        ("freshness.json", {"R+1", "R+2", "R+3", "RU3", "RU4", "D1", "D4"}),
        ("reading.json", {"R+1", "R+3", "R+4", "R-1", "R-2", "R-3", "D1", "D4"}),
        ("tasks.json", {"F0", "F+2", "F+3", "FU1", "FU2", "FU3", "FU4", "D2"}),
        ("recipes.json", {"FM1", "FM2", "F-1", "F-4", "D1", "D2"}),
        ("facts.json", {"R+3", "F+1", "F+4", "F-3", "D1", "D2"}),
        ("overfitting.json", {"F-4"}),
        ("curve.json", {"F-2", "D1", "D2"}),
        ("prompts.json", {"R+1", "D1", "D4"}),
        ("lessons.json", {"R0", "D4", "W1", "W2", "W3"}),
    ],
)
def test_a_missing_file_makes_gaps_that_name_it(stored: Path, name: str, gaps: set[str]) -> None:
    before = by_claim(ledger(stored))
    (stored / name).unlink()
    after = by_claim(ledger(stored))
    assert {claim for claim in IDS if after[claim].verdict == GAP} == gaps | {
        claim for claim in IDS if before[claim].verdict == GAP
    }
    first = next(claim for claim in IDS if claim in gaps)
    assert after[first].because.startswith(f"There is no data/results/{name}. Run 'workshop ")
    assert f"--json data/results/{name}" in after[first].because


def test_an_empty_folder_is_all_gaps(tmp_path: Path) -> None:
    assert {row.verdict for row in ledger(tmp_path)} == {GAP}


def test_a_value_that_an_old_file_lacks_makes_a_gap(stored: Path) -> None:
    change(stored / "reading.json", lambda found: found["quality"].pop("slope"))
    rows = by_claim(ledger(stored))
    assert rows["R-2"].verdict == GAP
    assert "data/results/reading.json has no 'quality.slope" in rows["R-2"].because
    assert rows["R-1"].verdict != GAP


@pytest.mark.parametrize("content", ["{", "", "\x00", '{"n": 1', "[]", '"text"'])
def test_a_broken_file_is_named_with_the_remedy(stored: Path, content: str) -> None:
    (stored / "curve.json").write_text(content)
    with pytest.raises(ResultError, match=r"curve\.json .*Run 'workshop bench curve --json data/results/curve\.json'"):
        ledger(stored)


def test_a_file_in_another_encoding_is_named(stored: Path) -> None:
    (stored / "curve.json").write_bytes('{"é": 1}'.encode("latin-1"))
    with pytest.raises(ResultError, match=r"curve\.json is not JSON"):
        ledger(stored)


def _text_for_a_figure(found: Any) -> None:
    found["quality"]["slope"]["value"] = "much"


def _truth_for_a_figure(found: Any) -> None:
    found["quality"]["slope"]["value"] = True


def _rows_without_names(found: Any) -> None:
    found["k"] = [{}]


def _no_seconds(found: Any) -> None:
    found["latency"]["rows"]["closed book"]["total"]["p50"] = 0.0


@pytest.mark.parametrize("edit", [_text_for_a_figure, _truth_for_a_figure, _rows_without_names, _no_seconds])
def test_a_file_with_something_else_in_it_is_named(stored: Path, edit: Callable[[Any], None]) -> None:
    change(stored / "reading.json", edit)
    with pytest.raises(ResultError, match=r"reading\.json"):
        ledger(stored)


@pytest.mark.parametrize("verdict", ["perhaps", "", "holds only when", None, 3])
def test_a_verdict_that_is_none_is_named(stored: Path, verdict: object) -> None:
    change(stored / "curve.json", lambda found: found["verdicts"].update({"F-2": verdict}))
    with pytest.raises(ResultError, match=r"curve\.json:verdicts\.F-2 is no verdict"):
        ledger(stored)


# ---- studies' verdicts are passed on


@pytest.mark.parametrize(
    ("file", "path", "claim", "said", "shown"),
    [
        ("freshness", ("verdicts", "R+2"), "R+2", "does not hold here", NOT),
        ("freshness", ("verdicts", "RU3"), "RU3", "does not fit here", NOT),
        ("freshness", ("verdicts", "RU4"), "RU4", "not decidable here", OPEN),
        ("langchain", ("uses", "documentation", "verdict"), "RU1", "fits", HOLDS),
        ("tasks", ("verdicts", "F+2"), "F+2", "holds only when measured by a; b", "holds only when measured by a; b"),
        ("tasks", ("verdicts", "FU4"), "FU4", "not decidable here", OPEN),
        ("curve", ("verdicts", "F-2"), "F-2", "holds only when it means quality", "holds only when it means quality"),
        ("recipes", ("verdicts", "FM2", "verdict"), "FM2", "holds", HOLDS),
    ],
)
def test_a_study_is_not_judged_again(
    stored: Path, file: str, path: tuple[str, ...], claim: str, said: str, shown: str
) -> None:
    def edit(found: Any) -> None:
        for step in path[:-1]:
            found = found[step]
        found[path[-1]] = said

    change(stored / f"{file}.json", edit)
    assert by_claim(ledger(stored))[claim].verdict == shown


@pytest.mark.parametrize(
    ("claim", "file"), [("FM1", "recipes"), ("F-1", "recipes"), ("F+1", "facts"), ("F+4", "facts"), ("F-3", "facts")]
)
def test_only_when_is_never_left_open(stored: Path, claim: str, file: str) -> None:
    change(stored / f"{file}.json", lambda found: found["verdicts"][claim].update(verdict="holds only when"))
    assert re.fullmatch(r"holds only when \w.+", by_claim(ledger(stored))[claim].verdict)


def test_the_figure_of_a_task_is_that_of_a_part_which_holds(stored: Path) -> None:
    def edit(found: Any) -> None:
        for row, verdict in zip(found["parts"]["F+2"], (OPEN, HOLDS), strict=True):
            row["verdict"] = verdict

    first = by_claim(ledger(stored))["F+2"]
    assert first.source.endswith("adapter-rival.extraction")
    change(stored / "tasks.json", edit)
    row = by_claim(ledger(stored))["F+2"]
    assert row.source.endswith("adapter-rival.triage")
    assert row.because.count("adapter minus the better prompting") == 2
    change(stored / "tasks.json", lambda found: [part.update(verdict=NOT) for part in found["parts"]["F+2"]])
    assert by_claim(ledger(stored))["F+2"].source == first.source


# ---- rules


@pytest.mark.parametrize(
    ("stages", "same", "passed", "verdict"),
    [(7, True, True, HOLDS), (7, False, True, NOT), (6, True, True, OPEN), (7, True, False, OPEN)],
)
def test_r0(stages: int, same: bool, passed: bool, verdict: str) -> None:
    assert rules.stays_as_it_is(stages, same, passed) == verdict


@pytest.mark.parametrize(
    ("untouched", "closed", "seconds", "verdict"),
    [
        (0.4, 0.0, 40, HOLDS),
        (0.4, 0.0, rules.READY_SECONDS, HOLDS),
        (0.4, 0.0, rules.READY_SECONDS + 1, "holds only when a first answer may take over 10 minutes"),
        (0.40, 0.39, 40, OPEN),
        (0.3, 0.4, 40, NOT),
        (0.4, 0.4, 40, NOT),
    ],
)
def test_r_plus_1(untouched: float, closed: float, seconds: float, verdict: str) -> None:
    assert rules.starts_without_training(figure(untouched), figure(closed), seconds) == verdict


@pytest.mark.parametrize(
    ("building", "answering", "verdict"),
    [
        (COST_MATTERS, COST_MATTERS - 0.1, HOLDS),
        (COST_MATTERS, COST_MATTERS, "holds only when it means building"),
        (COST_MATTERS - 0.1, 1.0, "holds only when it means answering"),
        (1.0, 3.0, NOT),
    ],
)
def test_r_plus_3(building: float, answering: float, verdict: str) -> None:
    assert rules.is_cheap(building, answering) == verdict


@pytest.mark.parametrize(
    ("listed", "cited", "verdict"),
    [
        (0.8, 0.6, HOLDS),
        (0.8, 0.4, "holds only when it means the list of sources"),
        (0.8, 0.5, "holds only when it means the list of sources"),
        (0.3, 0.6, "holds only when it means the model's citations"),
        (0.3, 0.4, NOT),
        (0.5, 0.5, OPEN),
        (0.3, 0.5, OPEN),
    ],
)
def test_r_plus_4(listed: float, cited: float, verdict: str) -> None:
    assert rules.shows_sources(figure(listed), figure(cited)) == verdict


@pytest.mark.parametrize(("value", "verdict"), [(-0.2, HOLDS), (0.2, NOT), (0.005, OPEN), (-0.005, OPEN)])
def test_r_minus_1(value: float, verdict: str) -> None:
    assert rules.loses_by_reading_more(figure(value)) == verdict


@pytest.mark.parametrize(("value", "verdict"), [(0.6, HOLDS), (-0.2, NOT), (0.005, OPEN)])
def test_r_minus_2(value: float, verdict: str) -> None:
    assert rules.follows_search(figure(value)) == verdict


@pytest.mark.parametrize(
    ("median", "slow", "verdict"),
    [
        (COST_MATTERS, COST_MATTERS, HOLDS),
        (2.0, 1.0, "holds only when it means the median"),
        (1.0, 2.0, "holds only when it means the 95th percentile"),
        (1.4, 1.4, NOT),
    ],
)
def test_r_minus_3(median: float, slow: float, verdict: str) -> None:
    assert rules.answers_later(median, slow) == verdict


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ((HOLDS, HOLDS), HOLDS),
        ((NOT, NOT), NOT),
        ((OPEN, NOT), OPEN),
        ((NOT, HOLDS), "holds only when it means forgetting"),
        (
            ("holds only when the loss counts", HOLDS),
            "holds only when it means overfitting (only when the loss counts); forgetting",
        ),
    ],
)
def test_f_minus_4_has_two_parts(stored: Path, parts: tuple[str, str], verdict: str) -> None:
    assert rules.by_meaning(dict(zip(("overfitting", "forgetting"), parts, strict=True))) == verdict
    if parts[0] in (HOLDS, NOT, OPEN):
        change(stored / "overfitting.json", lambda found: found["verdict"]["overfitting"].update(verdict=parts[0]))
        change(stored / "recipes.json", lambda found: found["verdicts"]["F-4"].update(verdict=parts[1]))
        assert by_claim(ledger(stored))["F-4"].verdict == verdict


TITLES = {"raft": "RAFT", "few": "few-shot", "reader": "reader", "rag": "RAG", "base": "base"}


def contrasts(primary: float, secondary: float, p: float) -> list[dict[str, Any]]:
    return [
        {"a": "raft", "b": "few", "role": "primary", "p": 0.001, **figure(primary, 0.04)},
        {"a": "raft", "b": "reader", "role": "secondary", "p": p, **figure(secondary, 0.04)},
        {"a": "rag", "b": "base", "role": "secondary", "p": 0.9, **figure(0.0)},
    ]


@pytest.mark.parametrize(
    ("primary", "secondary", "p", "verdict"),
    [
        (0.2, 0.1, 0.001, HOLDS),
        (0.2, 0.1, 0.05, "holds only when it is compared with few-shot"),
        (0.2, 0.03, 0.001, "holds only when it is compared with few-shot"),
        (0.2, -0.1, 0.001, "holds only when it is compared with few-shot"),
        (0.0, 0.2, 0.001, NOT),
        (-0.2, 0.2, 0.001, NOT),
        (0.03, 0.2, 0.001, OPEN),
    ],
)
def test_c2(primary: float, secondary: float, p: float, verdict: str) -> None:
    assert rules.is_best(contrasts(primary, secondary, p), TITLES) == verdict


@pytest.mark.parametrize(
    ("reasons", "verdict"),
    [
        ({"a": {"X": HOLDS, "Y": HOLDS}, "b": {"Z": HOLDS}}, HOLDS),
        ({"a": {"X": HOLDS, "Y": NOT}, "b": {"Z": NOT}}, NOT),
        ({"a": {"X": HOLDS, "Y": NOT}, "b": {"Z": OPEN}}, OPEN),
        ({"a": {"X": HOLDS, "Y": NOT}, "b": {"Z": HOLDS}}, "holds only when the reason is b"),
        (
            {"a": {"X": HOLDS}, "b": {"Y": "holds only when warm", "Z": "holds only when dry"}},
            "holds only when the reason is a; b (only when Y and Z do)",
        ),
        ({"a": {"X": HOLDS, "Y": "holds only when warm"}}, "holds only when Y does"),
    ],
)
def test_advice_is_as_good_as_its_reasons(reasons: dict[str, dict[str, str]], verdict: str) -> None:
    assert rules.is_well_founded(reasons) == verdict


@pytest.mark.parametrize(
    ("minutes", "extra", "passed", "limit", "verdict"),
    [
        (195, 0, True, 210, HOLDS),
        (196, 1, True, 210, "holds only when extra exercises are left out"),
        (196, 0, True, 210, NOT),
        (100, 0, False, 210, NOT),
        (900, 0, True, None, HOLDS),
        (900, 0, False, None, NOT),
    ],
)
def test_formats(minutes: int, extra: int, passed: bool, limit: int | None, verdict: str) -> None:
    assert rules.fits_in(minutes, extra, passed, limit) == verdict


# ---- the nine arms, both, deciding


def test_the_table_is_read_from_the_comparison(stored: Path) -> None:
    compared = plausible.result(split="test")
    rows = by_claim(ledger(stored, compared=compared))
    for row in verdicts_table.rows(compared, stored):
        shown = rows[row["id"]]
        agreeing = sum(part["state"].startswith("agrees") for part in row["parts"])
        assert (shown.figure, shown.n, shown.because) == (agreeing, len(row["parts"]), row["because"])
        assert (shown.verdict == HOLDS) == (row["verdict"] == "agrees")
        assert (shown.verdict == NOT) == (row["verdict"] == "disagrees")
        assert shown.verdict.startswith(ONLY) == (row["verdict"] == "agrees only when")
        assert shown.text.startswith(f"{row['what']}: rag (")


def test_c2_is_read_from_the_primary_difference(stored: Path) -> None:
    compared = plausible.result(split="test")
    primary = next(row for row in compared["differences"] if row["role"] == "primary")
    row = by_claim(ledger(stored, compared=compared))["C2"]
    assert (row.figure, row.low, row.high) == (primary["value"], primary["low"], primary["high"])
    assert row.n == compared["arms"]["raft_rag"]["correct"]["n"]
    assert row.measure == "right answers, RAFT + RAG minus few-shot + RAG"
    assert row.because.endswith("most right answers: RAFT + RAG")


def test_the_test_questions_decide_and_others_are_said_to_be_others(stored: Path) -> None:
    for split, name in COMPARED.items():
        (stored / name).write_text(json.dumps(plausible.result(split=split)))
    row = by_claim(ledger(stored))["C2"]
    assert row.source.startswith("results/compare.json:differences.")
    assert "questions" not in row.because
    (stored / COMPARED["test"]).unlink()
    rows = by_claim(ledger(stored))
    assert rows["C2"].source.startswith("results/compare_dev.json:differences.")
    assert all(re.match(r"on \d+ dev questions, not the test's: ", rows[claim].because) for claim in ("C2", "T1"))
    assert Results(stored, PROJECT).get(rows["C2"].source)["value"] == rows["C2"].figure


def test_a_comparison_without_its_primary_difference_is_a_gap(stored: Path) -> None:
    compared = plausible.result(split="test")
    compared["differences"] = []
    row = by_claim(ledger(stored, compared=compared))["C2"]
    assert row.verdict == GAP
    assert "has no primary difference" in row.because


def test_a_comparison_of_another_kind_is_refused_or_named(stored: Path) -> None:
    with pytest.raises(ValueError, match="'own'"):
        ledger(stored, compared=plausible.result(split="own"))
    (stored / COMPARED["test"]).write_text('{"split": "test"}')
    with pytest.raises(ResultError, match=r"T1 cannot be read from data/results/compare\.json .*compare --final"):
        ledger(stored)


def combined(verdict: str) -> dict[str, Any]:
    """Such a result as the study of combining writes, as far as the ledger reads it."""
    parts = {
        claim: {
            name: {
                "set": where,
                "score": score,
                "arm": arm,
                "against": against,
                "figure": figure(0.3),
                "verdict": HOLDS,
            }
            for name, (where, score, arm, against, _) in rows.items()
        }
        for claim, rows in combining.PARTS.items()
    }
    return {"verdicts": {"C1": verdict, "C3": HOLDS}, "parts": parts}


def test_combining_is_passed_on_in_full(stored: Path) -> None:
    told = "holds only when a program puts back the answers that the rewriting loses"
    (stored / "combining.json").write_text(json.dumps(combined(told)))
    rows = by_claim(ledger(stored))
    assert (rows["C1"].verdict, rows["C3"].verdict) == (told, HOLDS)
    assert (rows["C1"].figure, rows["C1"].n) == (0.3, 50)
    assert rows["C1"].measure == "fact: reader, then style adapter minus style adapter, the message alone"
    assert rows["C3"].because.count(": holds") == len(combining.PARTS["C3"])
    (stored / "combining.json").write_text(json.dumps({"verdicts": {"C1": told}}))
    assert {by_claim(ledger(stored))[claim].verdict for claim in ("C1", "C3")} == {GAP}


def test_advice_waits_for_its_claims_and_follows_them(stored: Path) -> None:
    rows = by_claim(ledger(stored))
    assert rows["D3"].verdict == GAP
    assert rows["D3"].because == "It rests on C2, C1, C3, still to be measured."
    (stored / "combining.json").write_text(json.dumps(combined(HOLDS)))
    rows = by_claim(ledger(stored, compared=plausible.result(split="test")))
    assert rows["D3"].verdict != GAP
    assert rows["D3"].n == 3
    change(stored / "freshness.json", lambda found: found["verdicts"].update({"R+2": NOT, "RU4": NOT}))
    before, after = rows["D1"], by_claim(ledger(stored))["D1"]
    assert "the reason is change" in before.verdict
    assert "change" not in after.verdict
    assert (before.figure or 0) - (after.figure or 0) == 2


def test_the_rules_of_the_helper_rest_on_claims_of_the_ledger() -> None:
    assert {one for rule in RULES for one in rule.evidence} <= set(IDS)
    order = {claim: place for place, claim in enumerate(IDS)}
    for claim in ("D1", "D2", "D3", "D4"):
        own = [rule for rule in RULES if rule.id.startswith(f"{claim}.")]
        assert own
        assert all(order[one] < order[claim] for rule in own for one in rule.evidence)


# ---- lessons

LESSON = """# ---
# workshop:
#   title: A lesson
#   minutes: {minutes}
# ---

# %% [markdown]
# ## Stages 1 and 2: a
# ## Stage 3: b
# ## Stage 4: c
# ## Stage 5: d
# ## Stage 6: e
# ## Stage {last}: f
#
# ### Exercise 01.1 · One
# difficulty ●○○ · importance ●○○ · about 9 minutes
#
# ### Exercise 01.2 · Two (extra)
# difficulty ●○○ · importance ●○○ · about 6 minutes
"""


def school(folder: Path, minutes: int = 30, last: int = 7, same: str = "True", failed: str = "") -> list[Row]:
    """The ledger of a project with eleven short lessons, all run."""
    for name in ("lessons", "solutions", "results"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = [f"{number:02}_lesson" for number in range(11)]
    for name in names:
        (folder / "lessons" / f"{name}.py").write_text(LESSON.format(minutes=minutes, last=last), encoding="utf-8")
    said = {"outputs": [{"text": [f"the weights are the same as before: {same}\n"]}]}
    (folder / "solutions" / "01_lesson.ipynb").write_text(json.dumps({"cells": [said]}))
    runs = [
        {"lesson": name, "seconds": 90.0, "status": "failed" if name.startswith(failed or "-") else "passed"}
        for name in names
    ]
    (folder / "results" / "lessons.json").write_text(json.dumps({"lessons": runs}))
    return ledger(folder / "results", project=folder)


def test_formats_are_read_from_the_lessons(tmp_path: Path) -> None:
    rows = by_claim(school(tmp_path))
    assert [(rows[claim].figure, rows[claim].verdict) for claim in ("W1", "W2", "W3")] == [
        (180, HOLDS),
        (90, HOLDS),
        (330, HOLDS),
    ]
    assert rows["W1"].because == "36 of them for extra exercises; the machine takes 9 (measured)"
    assert by_claim(school(tmp_path, minutes=35))["W1"].verdict == "holds only when extra exercises are left out"
    rows = by_claim(school(tmp_path, minutes=60, failed="06"))
    assert [rows[claim].verdict for claim in ("W1", "W2", "W3")] == [NOT, NOT, NOT]


def test_a_format_without_a_lesson_or_its_run_is_a_gap(tmp_path: Path) -> None:
    school(tmp_path)
    change(tmp_path / "results" / "lessons.json", lambda found: found["lessons"].pop(6))
    (tmp_path / "lessons" / "10_lesson.py").unlink()
    rows = by_claim(ledger(tmp_path / "results", project=tmp_path))
    assert rows["W1"].because == "Lesson 10 is not written."
    assert rows["W2"].because.startswith("data/results/lessons.json has no run of 06_lesson.")
    assert {rows[claim].verdict for claim in ("W1", "W2", "W3")} == {GAP}


def test_r0_is_read_from_the_executed_lesson(tmp_path: Path) -> None:
    row = by_claim(school(tmp_path))["R0"]
    assert (row.figure, row.verdict) == (7, HOLDS)
    row = by_claim(school(tmp_path, last=6))["R0"]
    assert (row.figure, row.verdict) == (6, OPEN)
    assert by_claim(school(tmp_path, failed="01"))["R0"].verdict == OPEN
    assert by_claim(school(tmp_path, same="False"))["R0"].verdict == NOT
    (tmp_path / "solutions" / "01_lesson.ipynb").write_text("{}")
    row = by_claim(ledger(tmp_path / "results", project=tmp_path))["R0"]
    assert row.verdict == GAP
    assert "build --execute 01" in row.because
