"""How JupyterLab is opened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from workshop_utils import cli
from workshop_utils.cli.lab import SETTINGS, START, command, settle


def test_the_command_becomes_jupyterlab(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def become(words: list[str]) -> int:
        started.append(words)
        return 7

    monkeypatch.setattr(cli, "_become", become)
    result = CliRunner().invoke(cli.app, ["lab", "--no-browser", "--port", "8901"])
    assert result.exit_code == 7, result.output
    assert started == [command(cli.ROOT, 8901, browser=False)]


def test_it_opens_the_first_lesson_which_is_there(tmp_path: Path) -> None:
    words = command(tmp_path, 8899, browser=False)
    assert f"--LabApp.default_url={START}" in words
    assert {"--port=8899", f"--ServerApp.root_dir={tmp_path}", "--no-browser"} <= set(words)
    assert "--no-browser" not in command(tmp_path, 8899, browser=True)
    assert (Path(__file__).parents[2] / START.removeprefix("/lab/tree/")).is_file()


def test_settings_are_written_once_and_never_over_somebody_elses(tmp_path: Path) -> None:
    settle(tmp_path)
    (path,) = tmp_path.rglob("overrides.json")
    assert json.loads(path.read_text("utf-8")) == SETTINGS
    path.write_text("{}", "utf-8")
    settle(tmp_path)
    assert path.read_text("utf-8") == "{}"
