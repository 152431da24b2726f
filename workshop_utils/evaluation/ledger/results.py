"""The stored results, as the ledger reads them: what is not there makes a gap, what is broken is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.evaluation.ledger.rules import HOLDS, NOT, ONLY, OPEN
from workshop_utils.evaluation.studies.figures import Figure

# how studies and the comparison table say the same
SAME = {
    "fits": HOLDS,
    "does not fit here": NOT,
    "agrees": HOLDS,
    "disagrees": NOT,
    "not decidable": OPEN,
    "agrees only when": f"{ONLY} its lesson's condition is met",
}
COMPARED = {"test": "compare.json", "dev": "compare_dev.json"}
COMMANDS = {
    "lessons.json": "workshop run",
    COMPARED["test"]: "workshop compare --final",
    COMPARED["dev"]: "workshop compare",
}


class ResultError(WorkshopError):
    """A file of results that cannot be used."""


class Missing(Exception):  # noqa: N818 - no error: the claim is a gap
    """What a claim rests on is not there."""


class Results:
    """Stored results, each file read once.

    Attributes:
        opened: the files that were asked for since it was last emptied.
    """

    def __init__(self, folder: Path, project: Path, compared: Mapping[str, Any] | None = None) -> None:
        self.folder, self.project = folder, project
        self._files: dict[str, Any] = {}
        self._compared = compared
        self.opened: dict[str, None] = {}

    def get(self, source: str) -> Any:
        """What stands at ``results/FILE.json:path.to.value``.

        Raises:
            Missing: the file or the path is not there.
            ResultError: the file is not JSON.
        """
        name, path = split(source)
        found = self._file(name)
        for step in filter(None, path.split(".")):
            try:
                found = found[int(step)] if isinstance(found, list) else found[step]
            except (LookupError, TypeError, ValueError):
                raise Missing(f"data/results/{name} has no {path!r} (at {step!r}). {remedy(name)}") from None
        return found

    def number(self, source: str) -> float:
        """A number that stands there.

        Raises:
            ResultError: it is none. And as ``get``.
        """
        found = self.get(source)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise ResultError(f"{source} is no number but {found!r}. {remedy(split(source)[0])}")
        return float(found)

    def figure(self, source: str) -> Figure:
        """A value with its interval and n; as ``number`` else."""
        return {name: self.number(f"{source}.{name}") for name in ("value", "low", "high", "n")}

    def verdict(self, source: str, when: str = "") -> str:
        """A study's verdict in the words of the ledger.

        Args:
            when: what follows where the study says no more than 'holds only when'.

        Raises:
            ResultError: it is no verdict. And as ``get``.
        """
        found = self.get(source)
        found = SAME.get(found, found) if isinstance(found, str) else ""
        if found == ONLY and when:
            found = f"{ONLY} {when}"
        if found not in (HOLDS, NOT, OPEN) and not found.startswith(f"{ONLY} "):
            raise ResultError(f"{source} is no verdict but {self.get(source)!r}. {remedy(split(source)[0])}")
        return found

    def comparison(self) -> tuple[str, Mapping[str, Any]]:
        """The file of the nine arms and what is in it: on the test questions, before those are opened on others.

        Raises:
            Missing: neither is there.
        """
        if self._compared is not None:
            self.opened[COMPARED[self._compared["split"]]] = None
            return COMPARED[self._compared["split"]], self._compared
        name = next((name for name in COMPARED.values() if (self.folder / name).exists()), COMPARED["test"])
        return name, self._file(name)

    def lesson(self, number: str) -> tuple[str, str]:
        """The name of a lesson, and its source.

        Raises:
            Missing: it is not written.
        """
        for path in sorted((self.project / "lessons").glob(f"{number}_*.py")):
            return path.stem, path.read_text("utf-8")
        raise Missing(f"Lesson {number} is not written.")

    def run_of(self, number: str) -> tuple[bool, float]:
        """Whether a lesson's run passed, and its seconds.

        Raises:
            Missing: it was not run.
        """
        name, _ = self.lesson(number)
        for row in self.get("results/lessons.json:lessons"):
            if row["lesson"] == name:
                return row["status"] == "passed", row["seconds"]
        raise Missing(f"data/results/lessons.json has no run of {name}. {remedy('lessons.json')}")

    def _file(self, name: str) -> Any:
        self.opened[name] = None
        if name not in self._files:
            path = self.folder / name
            try:
                self._files[name] = json.loads(path.read_text("utf-8"))
            except FileNotFoundError:
                raise Missing(f"There is no data/results/{name}. {remedy(name)}") from None
            except ValueError as error:
                raise ResultError(f"{path} is not JSON: {error}. {remedy(name)}") from error
            if not isinstance(self._files[name], dict):
                raise ResultError(f"{path} holds no object. {remedy(name)}")
        return self._files[name]


def remedy(name: str) -> str:
    """What writes a file of results."""
    command = COMMANDS.get(name, f"workshop bench {name.removesuffix('.json')}")
    return f"Run '{command} --json data/results/{name}'."


def split(source: str) -> tuple[str, str]:
    """The file's name and the path inside it of ``results/FILE.json:path.to.value``."""
    name, _, path = source.removeprefix("results/").partition(":")
    return name, path
