"""The command line: help, exit codes, and errors in a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from workshop_utils.cli import app

COMMANDS = ("fetch", "lab", "doctor", "ask", "run", "build", "reset", "test", "compare", "bench", "train")


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["bench", "decode"], ["bench", "prompts"]])
def test_every_command_has_help(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_help_is_instant_because_nothing_heavy_is_imported() -> None:
    line = (
        "import sys, workshop_utils.cli; print(sorted({'torch', 'transformers', 'langchain_core'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_an_empty_question_is_refused() -> None:
    result = CliRunner().invoke(app, ["ask", "  "])
    assert result.exit_code == 2
    assert "question is empty" in result.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--documents", "mine"], "needs both"),
        (["--questions", "mine.jsonl"], "needs both"),
        (["--final", "--quick"], "asks all test questions"),
        (["--final", "--documents", "mine", "--questions", "mine.jsonl"], "asks all test questions"),
    ],
)
def test_options_of_compare_that_make_no_sense_together_are_refused(options: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["compare", *options])
    assert result.exit_code == 2
    assert words in result.output


def test_an_unknown_lesson_is_named_with_those_that_there_are() -> None:
    result = CliRunner().invoke(app, ["run", "77"])
    assert result.exit_code == 2
    assert "no lesson 77" in result.output
    assert "00_start_here" in result.output


def test_a_foreseen_error_is_a_sentence_not_a_traceback() -> None:
    command = [sys.executable, "-m", "workshop_utils", "ask", "why?", "--llm", "/no/such/model.gguf"]
    environment = {"WORKSHOP_BACKEND": "llama.cpp"}
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert result.returncode == 1
    assert "Traceback" not in result.stderr + result.stdout
    assert "/no/such/model.gguf" in result.stdout


def test_an_endpoint_that_is_not_there_is_named_with_the_remedy() -> None:
    command = [sys.executable, "-m", "workshop_utils", "ask", "why?", "--llm", "http://127.0.0.1:9/v1"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr + result.stdout
    assert "Nothing answers at http://127.0.0.1:9/v1" in result.stdout


def test_data_prints_every_set_and_writes_its_sizes(tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    result = CliRunner().invoke(app, ["data", "--samples", "0", "--json", str(file)])
    assert result.exit_code == 0
    for name in ("documents", "questions", "tickets", "style pairs", "jargon pairs", "reader examples"):
        assert name in result.output
    sizes = json.loads(file.read_text("utf-8"))
    assert str(sizes["questions"]["train"]) in result.output
    assert sizes["documents"] > 80


def test_histogram_shows_whatever_is_there() -> None:
    from workshop_utils.cli.data import histogram

    assert histogram([1] * 100 + [12]) == "█" + " " * 10 + "▁"
    assert histogram([5, 5, 5]) == "█" + " " * 11
