"""``workshop compare``: what is measured is written before anything else can fail, and joined by the ledger."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from workshop_utils.cli import app, comparing
from workshop_utils.evaluation import ledger
from workshop_utils.evaluation.compare import report, verdicts_table
from workshop_utils.evaluation.ledger import ResultError

RESULT = {"split": "dev", "n": 3}


class Row:
    def as_dict(self) -> dict[str, Any]:
        return {"claim": "R0"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was compared; nothing is asked of a model, and pages are short."""
    calls: list[Any] = []

    def company(_: Any, **options: bool) -> dict[str, Any]:
        calls.append(options)
        return copy.deepcopy(RESULT)

    def own(documents: Path, questions: Path, _: Any, *, quick: bool) -> dict[str, Any]:
        calls.append((documents.name, questions.name, quick))
        return {**RESULT, "split": "own"}

    monkeypatch.setattr(comparing, "compare_company", company)
    monkeypatch.setattr(comparing, "compare_own", own)
    monkeypatch.setattr(comparing, "table", lambda result: f"table of {result['split']}")
    monkeypatch.setattr(verdicts_table, "table", lambda _: "verdicts")
    monkeypatch.setattr(report, "render", lambda result: f"<p>{sorted(result)}</p>")
    monkeypatch.setattr(ledger, "ledger", lambda compared: [Row()] if compared["n"] == 3 else [])
    monkeypatch.setattr(ledger, "table", lambda _: "ledger")
    return calls


def test_the_result_goes_to_json_and_html_with_the_ledger(asked: list[Any], tmp_path: Path) -> None:
    file, page = tmp_path / "new" / "r.json", tmp_path / "other" / "r.html"
    done = CliRunner().invoke(app, ["compare", "--quick", "--json", str(file), "--report", str(page)])
    assert done.exit_code == 0, done.output
    assert asked == [{"final": False, "quick": True}]
    assert json.loads(file.read_text("utf-8")) == {**RESULT, "ledger": [{"claim": "R0"}]}
    assert page.read_text("utf-8") == "<p>['ledger', 'n', 'split']</p>"
    assert [words in done.output for words in ("table of dev", "verdicts", "ledger")] == [True] * 3


def test_somebodys_own_material_has_no_ledger(asked: list[Any], tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    options = ["--documents", "mine", "--questions", "mine.jsonl", "--json", str(file)]
    done = CliRunner().invoke(app, ["compare", *options])
    assert done.exit_code == 0, done.output
    assert asked == [("mine", "mine.jsonl", False)]
    assert json.loads(file.read_text("utf-8")) == {**RESULT, "split": "own"}


@pytest.mark.usefixtures("asked")
def test_a_ledger_that_cannot_be_read_loses_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: Any) -> list[Row]:
        raise ResultError("data/results/facts.json is no JSON.")

    monkeypatch.setattr(ledger, "ledger", broken)
    file = tmp_path / "r.json"
    done = CliRunner().invoke(app, ["compare", "--json", str(file)])
    assert isinstance(done.exception, ResultError)
    assert json.loads(file.read_text("utf-8")) == RESULT


def test_without_files_nothing_is_written(asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["compare", "--final"]).exit_code == 0
    assert asked == [{"final": True, "quick": False}]
    assert list(tmp_path.iterdir()) == []
