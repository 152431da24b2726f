"""What the builder takes from outside the lessons: the repository's address and the measured results."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workshop_utils.authoring.problems import Problem

GITHUB = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")
RESULTS = "data/results"


@dataclass(frozen=True)
class Measured:
    """A lesson's run in its solution edition: seconds, and the peak memory of the process tree in MB."""

    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Settings:
    """`repository` is empty as long as the project has no public address; `results` holds FILE.json, parsed.

    `measured` and `measured_slow` (the path of an older laptop) have an entry for each lesson that was run.
    """

    repository: str
    measured: Mapping[str, Measured]
    measured_slow: Mapping[str, Measured]
    results: Mapping[str, Any]


def read(root: Path) -> tuple[Settings, list[Problem]]:
    """The settings of the project at `root`, and what is wrong with them."""
    repository, problems = _repository(root)
    results: dict[str, Any] = {}
    folder = root / RESULTS
    for file in sorted(folder.rglob("*.json")):
        try:
            results[file.relative_to(folder).as_posix()] = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
            problems.append(Problem(file.relative_to(root).as_posix(), line, f"not JSON: {error}"))
    measured = _measured(results, "lessons.json", problems)
    slow = _measured(results, "lessons_slow_path.json", problems)
    return Settings(repository, measured, slow, results), problems


def _measured(results: Mapping[str, Any], file: str, problems: list[Problem]) -> dict[str, Measured]:
    try:
        rows = results.get(file, {"lessons": []})["lessons"]
        return {row["lesson"]: Measured(float(row["seconds"]), float(row["peak_mb"])) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        form = '{"lessons": [{"lesson", "seconds", "peak_mb"}]}'
        problems.append(Problem(f"{RESULTS}/{file}", 1, f"must have the form {form}: {error!r}"))
        return {}


def _repository(root: Path) -> tuple[str, list[Problem]]:
    file = root / "pyproject.toml"
    tools = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}) if file.exists() else {}
    repository = tools.get("workshop", {}).get("repository", "")
    if repository == "" or (isinstance(repository, str) and GITHUB.fullmatch(repository)):
        return repository, []
    message = f"[tool.workshop] repository must be empty or https://github.com/OWNER/NAME, not {repository!r}"
    return "", [Problem("pyproject.toml", 1, message)]
