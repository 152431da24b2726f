"""environment.yml, postBuild, constraints.txt and pyproject.toml say the same."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
OTHER_SYSTEMS = {"appnope", "colorama", "pexpect", "ptyprocess", "pywinpty", "uvloop"}


def pins() -> dict[str, Version]:
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
    matches = [re.fullmatch(r"([\w.-]+)==([\w.!]+)", line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if not match]
    return {canonicalize_name(match[1]): Version(match[2]) for match in matches if match}


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [Requirement(line) for line in [*project["dependencies"], *extras["dev"], *extras["fast"]]]


def closure(names: list[Requirement]) -> set[str]:
    """The names of everything that the requirements bring on this system, as far as it is installed."""
    seen: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(r.name), extra) for r in names for extra in ("", *r.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(requirement.name), more) for more in ("", *requirement.extras)]
    return {name for name, _ in seen}


def test_pins_are_sorted_and_unique() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    names = [canonicalize_name(line.partition("==")[0]) for line in lines if not line.startswith("#")]
    assert names == sorted(set(names))


def test_no_pin_has_a_local_version() -> None:
    assert [name for name, version in pins().items() if version.local] == []


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_the_pin_is_what_pyproject_asks_for(requirement: Requirement) -> None:
    assert pins()[canonicalize_name(requirement.name)] in requirement.specifier


def test_everything_that_comes_along_is_pinned_and_nothing_else() -> None:
    cuda = re.compile(r"nvidia-.*|cuda-.*|triton")
    needed = {name for name in closure(requirements()) if not cuda.fullmatch(name)}
    assert needed - pins().keys() == set()
    assert pins().keys() - needed - OTHER_SYSTEMS == set()


def test_environment_installs_the_project_with_the_pins() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    assert environment.keys() == {"name", "channels", "dependencies"}
    assert environment["channels"] == ["conda-forge"]
    python, pip, table = environment["dependencies"]
    assert pip == "pip"
    assert table == {"pip": [f"--extra-index-url {CPU_INDEX}", "-c constraints.txt", "-e .[dev,fast]"]}
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    assert Version(python.removeprefix("python=")) in Requirement(f"python{requires}").specifier


def test_postbuild_stops_at_the_first_error_and_sets_up_here() -> None:
    script = ROOT / "postBuild"
    lines = script.read_text("utf-8").splitlines()
    assert lines[0] == "#!/bin/bash"
    assert [line for line in lines[1:] if not line.startswith("#")] == ["set -e", "python workshop.py setup --here"]
    if os.name == "posix":
        assert os.access(script, os.X_OK)
        assert subprocess.run(["bash", "-n", str(script)]).returncode == 0


@pytest.mark.parametrize("name", ["workshop.py", "environment.yml", "postBuild", "constraints.txt", "pyproject.toml"])
def test_no_other_index_is_named(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    hosts = set(re.findall(r"https?://([^/\s\"')]+)", text))
    assert hosts <= {"download.pytorch.org", "www.python.org", "HOST:PORT", "github.com"}
