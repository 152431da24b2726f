"""workshop.py: what it makes, what it leaves alone, what it says, and that an interruption costs nothing."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "workshop.py"
PROJECT = """\
[project]
name = "workshop-utils"
dependencies = ["torch>=2.6", "numpy", "rich"]
[project.optional-dependencies]
fast = ["xllamacpp"]
dev = ["pytest"]
"""
PINS = (
    "# a comment\nnumpy==2.4.6\npluggy==1.7.0\npytest==9.2.0\nrich==15.0.0\ntorch==2.13.0\nxllamacpp==2026.10.11549\n"
)

# a stand-in for pip inside an environment: says what it was asked, then does what FAKE_PIP says
FAKE_PIP = """\
import os, sys, time
with open(os.environ["FAKE_LOG"], "a") as log:
    print("pip", *sys.argv[1:], file=log)
action = os.environ.get("FAKE_PIP", "")
if action.startswith("sleep"):
    time.sleep(float(action[5:]))
elif action:
    sys.exit(action)
"""
FAKE_COMMAND = """\
import os, sys
with open(os.environ["FAKE_LOG"], "a") as log:
    print("workshop", *sys.argv[1:], os.environ.get("PYTHONPATH"), os.getcwd(), file=log)
sys.exit(7 if sys.argv[1] != "fetch" else int(os.environ.get("FAKE_FETCH", "0")))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small project in a folder whose name has spaces and accents."""
    root = tmp_path / "l'été à Nîmes" / "the workshop"
    root.mkdir(parents=True)
    shutil.copy(SCRIPT, root)
    (root / "pyproject.toml").write_text(PROJECT, "utf-8")
    (root / "constraints.txt").write_text(PINS, "utf-8")
    return root


@pytest.fixture
def workshop(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """workshop.py of that project as a module, on a machine without GPU, with no index in reach."""
    for name in ("WORKSHOP_VENV", "WORKSHOP_CACHE", "COLAB_RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)
    module = load(root)
    monkeypatch.setattr(module, "is_reachable", always(False))
    monkeypatch.setattr(module, "needs_cpu_torch", always(False))
    return module


def load(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("workshop_under_test", root / "workshop.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def always(value: Any) -> Callable[..., Any]:
    """A function that answers every question with the value."""
    return lambda *_, **__: value


class Machine:
    """Stands in for the processes that workshop.py starts: remembers them, and does what they would leave behind."""

    def __init__(self, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = module
        self.done: list[str] = []
        self.fail: Callable[[str], None] = always(None)
        self.fetch_code = 0
        monkeypatch.setattr(module, "run", self.run)
        monkeypatch.setattr(module, "run_quietly", self.fetch)

    def run(self, place: Any, command: list[str], aloud: bool = True) -> None:  # noqa: ARG002
        name = "venv" if "venv" in command else " ".join(command).partition(" --no-input ")[2]
        self.done.append(name)
        if name == "venv":
            place.python.parent.mkdir(parents=True)
            place.python.symlink_to(sys.executable)
            (place.prefix / "pyvenv.cfg").touch()
        self.fail(name)

    def fetch(self, _place: Any, *arguments: str) -> int:
        self.done.append(" ".join(arguments))
        self.fail("fetch")
        return self.fetch_code

    def set_up(self, models: bool = True) -> list[str]:
        """What one run starts: 'venv', 'pip' and 'fetch' in their order."""
        self.done.clear()
        self.module.set_up(self.module.find_place(here=False), models)
        return [name if name in ("venv", "fetch") else "pip" for name in self.done]


@pytest.fixture
def machine(workshop: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(workshop, monkeypatch)


def raising(error: BaseException, at: str) -> Callable[[str], None]:
    def fail(name: str) -> None:
        if at in name:
            raise error

    return fail


# --- the right Python


def other_python(version: str) -> str:
    """A working Python of that version, or a skipped test."""
    on_path = shutil.which(f"python{version}")
    known = [Path(on_path)] if on_path else []
    for python in [*known, *Path.home().glob(f".pyenv/versions/{version}*/bin/python")]:
        asked = subprocess.run(
            [python, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True
        )
        if asked.returncode == 0 and asked.stdout.strip() == str(tuple(map(int, version.split(".")))):
            return str(python)
    pytest.skip(f"no Python {version} on this machine")


def test_parses_on_python_3_6() -> None:
    source = SCRIPT.read_text("ascii")
    ast.parse(source, feature_version=(3, 6))
    assert "from __future__" not in source


@pytest.mark.parametrize("version", ["3.6", "3.8", "3.10"])
def test_an_old_python_gets_a_clear_word(version: str, root: Path) -> None:
    said = subprocess.run([other_python(version), str(root / "workshop.py"), "lab"], capture_output=True, text=True)
    assert said.returncode == 1
    assert f"This is Python {version}; the workshop needs Python 3.11, 3.12 or 3.13." in said.stderr
    assert "Traceback" not in said.stderr
    assert "Error" not in said.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows finds other Pythons through py")
def test_names_a_python_that_works(workshop: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = workshop.wrong_python((3, 14), ["workshop.py", "ask", "how many?"])
    assert message.startswith("This is Python 3.14;")
    assert "python.org" in message
    for name, code in (("python3.12", 127), ("python3.11", 0)):  # the first is a version manager's stub
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n", "utf-8")
        (tmp_path / name).chmod(0o755)
    message = workshop.wrong_python((3, 14), ["workshop.py", "ask", "how many?"])
    assert message.endswith("python3.11 workshop.py ask 'how many?'")
    assert "python3.12" not in message


@pytest.mark.parametrize(
    ("system", "machine_name", "translated", "expected"),
    [
        ("darwin", "x86_64", "0", "Intel Mac"),
        ("darwin", "x86_64", "1", "Apple silicon Python"),
        ("darwin", "arm64", "0", None),
        ("linux", "x86_64", "0", None),
    ],
)
def test_intel_macs_are_sent_to_binder(
    system: str,
    machine_name: str,
    translated: str,
    expected: str | None,
    workshop: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workshop.sys, "platform", system)
    monkeypatch.setattr(workshop.platform, "machine", lambda: machine_name)
    answer = subprocess.CompletedProcess([], 0, stdout=f"{translated}\n")
    monkeypatch.setattr(workshop.subprocess, "run", lambda *_, **__: answer)
    problem = workshop.unfit_machine()
    assert (problem is None) if expected is None else (expected in problem)
    assert problem is None or translated == "1" or "Binder" in problem


def test_32_bits_and_windows_on_arm_are_refused(workshop: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert workshop.unfit_machine() is None
    monkeypatch.setattr(sysconfig, "get_platform", lambda: "win-arm64")
    assert "x64" in workshop.unfit_machine()
    monkeypatch.setattr(workshop.sys, "maxsize", 2**31 - 1)
    assert "64-bit" in workshop.unfit_machine()


# --- which environment


def test_makes_its_own_environment_unless_told_otherwise(
    workshop: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = workshop.find_place(here=False)
    assert (place.prefix, place.own) == (root / ".venv", True)
    monkeypatch.setenv("WORKSHOP_VENV", str(root / "elsewhere"))
    assert workshop.find_place(here=False).prefix == root / "elsewhere"
    monkeypatch.setenv("WORKSHOP_VENV", "current")
    place = workshop.find_place(here=False)
    assert (place.prefix, place.python, place.own) == (Path(sys.prefix), Path(sys.executable), False)


def test_on_colab_and_in_our_conda_environment_the_running_python_is_used(
    workshop: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop.sys, "prefix", str(root))
    monkeypatch.setattr(sysconfig, "get_path", always(str(root / "site-packages")))
    assert workshop.find_place(here=False).own
    (root / "conda-meta").mkdir()
    assert workshop.find_place(here=False).own, "a conda environment of somebody else"
    (root / "site-packages" / "workshop_utils-0.1.0.dist-info").mkdir(parents=True)
    assert not workshop.find_place(here=False).own
    (root / "conda-meta").rmdir()
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    assert not workshop.find_place(here=False).own


def test_here_refuses_a_python_that_other_programs_share(
    workshop: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workshop.sys, "prefix", workshop.sys.base_prefix)
    monkeypatch.setattr(workshop, "set_up", lambda *_, **__: pytest.fail("it must not be touched"))
    for arguments in (["setup", "--here"], ["--here", "setup"]):
        assert workshop.main(["workshop.py", *arguments]) == 1
        assert "which other programs may use" in capsys.readouterr().err
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    assert not workshop.find_place(here=True).own


def test_torch_and_numpy_stay_as_they_are_in_an_environment_that_is_not_ours(
    workshop: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    there = {"torch": "2.9.0+cu128", "numpy": "2.0.2", "pluggy": "1.0", "rich": "13.0"}

    def version(name: str) -> str:
        if name not in there:
            raise metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(metadata, "version", version)
    assert workshop.pins_beside_installed() == [
        "numpy==2.0.2",  # kept
        "pytest==9.2.0",  # missing; pluggy is there and only needed by others: left to pip
        "rich==15.0.0",  # named in pyproject.toml
        "torch==2.9.0+cu128",
        "xllamacpp==2026.10.11549",
    ]


def test_here_installs_with_those_constraints_and_makes_no_environment(
    machine: Machine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_VENV", "current")
    assert machine.set_up() == ["pip", "fetch"]
    constraints = root / ".workshop" / "constraints.txt"
    assert f"-c {constraints} -e {root}[dev,fast]" in machine.done[0]
    assert "torch==" in constraints.read_text("utf-8")
    assert machine.set_up() == []
    assert not (root / ".venv").exists()


# --- from nothing to complete, and back after an interruption


def test_first_run_makes_everything_and_second_run_nothing(machine: Machine, root: Path) -> None:
    assert machine.set_up() == ["venv", "pip", "fetch"]
    assert machine.done[1] == f"--only-binary :all: -c {root / 'constraints.txt'} -e {root}[dev,fast]"
    assert machine.set_up() == []


def test_changed_pins_are_installed_into_the_environment(machine: Machine, root: Path) -> None:
    machine.set_up()
    (root / "constraints.txt").write_text(PINS.replace("15.0.0", "15.0.1"), "utf-8")
    assert machine.set_up() == ["pip", "fetch"]
    (root / "pyproject.toml").write_text(PROJECT.replace('"rich"', '"rich", "typer"'), "utf-8")
    assert machine.set_up() == ["pip", "fetch"]
    (root / "pyproject.toml").write_text(PROJECT.replace('"rich"', '"rich", "typer"') + "[tool.x]\n", "utf-8")
    assert machine.set_up() == []


@pytest.mark.parametrize("at", ["venv", "-e"])
def test_interrupted_while_packages_come_it_is_made_anew(at: str, machine: Machine, root: Path) -> None:
    machine.fail = raising(KeyboardInterrupt(), at)
    with pytest.raises(KeyboardInterrupt):
        machine.set_up()
    (root / ".venv" / "lib").mkdir(exist_ok=True)
    (root / ".venv" / "lib" / "half a package").touch()
    machine.fail = always(None)
    assert machine.set_up() == ["venv", "pip", "fetch"]
    assert not (root / ".venv" / "lib" / "half a package").exists()
    assert machine.set_up() == []


def test_interrupted_while_changed_pins_come_it_is_made_anew(machine: Machine, root: Path) -> None:
    machine.set_up()
    (root / "constraints.txt").write_text(PINS + "zipp==1\n", "utf-8")
    machine.fail = raising(KeyboardInterrupt(), "-e")
    with pytest.raises(KeyboardInterrupt):
        machine.set_up()
    machine.fail = always(None)
    assert machine.set_up() == ["venv", "pip", "fetch"]


def test_interrupted_while_models_come_only_those_are_fetched_again(machine: Machine, workshop: ModuleType) -> None:
    machine.fetch_code = 1
    with pytest.raises(workshop.SetupError, match="models are not"):
        machine.set_up()
    machine.fetch_code = 0
    assert machine.set_up() == ["fetch"]
    assert machine.set_up() == []


def test_another_cache_means_other_models(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.set_up()
    monkeypatch.setenv("WORKSHOP_CACHE", "/elsewhere")
    assert machine.set_up() == ["fetch"]


def test_the_doctor_needs_no_models(machine: Machine) -> None:
    assert machine.set_up(models=False) == ["venv", "pip"]
    assert machine.set_up(models=False) == []
    assert machine.set_up() == ["fetch"]


def test_a_torn_stamp_means_an_interrupted_environment(machine: Machine, root: Path) -> None:
    machine.set_up()
    (root / ".venv" / "workshop.json").write_text('{"prefix": "', "utf-8")
    assert machine.set_up() == ["venv", "pip", "fetch"]


def test_a_moved_project_gets_a_new_environment(machine: Machine, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.set_up()
    moved = root.with_name("moved")
    root.rename(moved)
    there = Machine(load(moved), monkeypatch)
    monkeypatch.setattr(there.module, "needs_cpu_torch", always(False))
    assert there.set_up() == ["venv", "pip", "fetch"]


def test_a_python_that_was_removed_gets_a_new_environment(machine: Machine, workshop: ModuleType) -> None:
    machine.set_up()
    python = workshop.find_place(here=False).python
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert machine.set_up() == ["venv", "pip", "fetch"]


def test_an_environment_of_somebody_else_is_completed_and_never_emptied(machine: Machine, root: Path) -> None:
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (root / ".venv" / "pyvenv.cfg").touch()
    (root / ".venv" / "mine").touch()
    machine.fail = raising(KeyboardInterrupt(), "-e")
    with pytest.raises(KeyboardInterrupt):
        machine.set_up()
    machine.fail = always(None)
    assert machine.set_up() == ["pip", "fetch"]
    assert (root / ".venv" / "mine").exists()


def test_a_folder_that_is_no_environment_is_refused(
    machine: Machine, workshop: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_VENV", str(root))
    with pytest.raises(workshop.SetupError, match="not a virtual environment"):
        machine.set_up()
    assert (root / "pyproject.toml").exists()
    monkeypatch.setenv("WORKSHOP_VENV", str(root / "pyproject.toml"))
    with pytest.raises(workshop.SetupError, match="is a file"):
        machine.set_up()


def test_dotvenv_being_a_file_is_said(workshop: ModuleType, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / ".venv").touch()
    assert workshop.main(["workshop.py", "lab"]) == 1
    assert f"{root / '.venv'} is a file" in capsys.readouterr().err


# --- what can go wrong


def test_too_little_disk_is_said_before_anything_is_made(
    machine: Machine, workshop: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(root)._replace(free=3_000_000_000)
    monkeypatch.setattr(workshop.shutil, "disk_usage", always(usage))
    with pytest.raises(workshop.SetupError, match=r"Only 3\.0 GB are free .* needs 4 GB"):
        machine.set_up()
    assert not (root / ".venv").exists()


def test_a_python_without_venv_is_said(machine: Machine, workshop: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop.importlib.util, "find_spec", always(None))
    with pytest.raises(workshop.SetupError, match=rf"sudo apt install python3\.{sys.version_info[1]}-venv"):
        machine.set_up()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError(\"Failed to establish a "
            "new connection: [Errno -3] Temporary failure in name resolution\")': /simple/torch/\nERROR: No matching "
            "distribution found for torch",
            "network is needed this once",
        ),
        ("WARNING: ... 'ProxyError('Cannot connect to proxy.', OSError('Tunnel failed: 407'))'", "HTTPS_PROXY"),
        ("pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool: Read timed out.", "network is needed"),
        ("... SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] unable to get", "PIP_CERT"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("OSError: [WinError 112] There is not enough space on the disk", "disk is full"),
        ("ERROR: ... OSError: [Errno 13] Permission denied: '/opt/venv/lib'", "Permission denied: '/opt/venv/lib'"),
        ("PermissionError: [WinError 5] Access is denied: 'C:\\\\venv'", "Close programs"),
        ("error: externally-managed-environment", "Leave out --here"),
        ("ERROR: No matching distribution found for torch==2.13.0", None),
    ],
)
def test_what_pip_says_is_explained(said: str, expected: str | None, workshop: ModuleType) -> None:
    advice = workshop.explain(said)
    if expected is None:
        assert advice is None
    else:
        assert expected in advice
        assert "run the same command again" in advice


def test_a_project_that_may_not_be_written_is_said(
    workshop: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "/srv/workshop/.workshop")

    monkeypatch.setattr(workshop.Path, "mkdir", refuse)
    assert workshop.main(["workshop.py", "lab"]) == 1
    said = capsys.readouterr().err
    assert "/srv/workshop/.workshop" in said
    assert "set WORKSHOP_VENV and WORKSHOP_CACHE to folders of yours" in said


def test_goes_on_without_llama_cpp_where_it_has_no_wheel(
    machine: Machine, workshop: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.fail = raising(workshop.NoWheelError("no wheel"), "fast")
    assert machine.set_up() == ["venv", "pip", "pip", "fetch"]
    assert machine.done[2].endswith("[dev]")
    assert "llama.cpp does not exist for this system" in capsys.readouterr().out
    assert machine.set_up() == []
    machine.fail = raising(workshop.NoWheelError("no wheel"), "[dev")
    (workshop.ROOT / "constraints.txt").write_text("", "utf-8")
    with pytest.raises(workshop.NoWheelError):
        machine.set_up()


# --- torch without CUDA


def torch_wanted(module: ModuleType, root: Path, empty: bool = True) -> bool:
    place = module.Place(Path(sys.executable), root / ".venv", root / "stamp", own=True)
    return bool(module.needs_cpu_torch(place, empty))


def test_cpu_torch_is_for_linux_without_gpu_and_without_torch(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(root)
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(module.shutil, "which", always(None))
    monkeypatch.setattr(module.Path, "exists", always(False))
    assert torch_wanted(module, root)
    assert not torch_wanted(module, root, empty=False), "this environment has torch"
    monkeypatch.setattr(module.subprocess, "call", lambda *_, **__: 1)
    assert torch_wanted(module, root, empty=False)
    monkeypatch.setattr(module.shutil, "which", lambda name: name if name == "nvidia-smi" else None)
    assert not torch_wanted(module, root)
    monkeypatch.setattr(module.shutil, "which", always(None))
    monkeypatch.setattr(module.Path, "exists", lambda path: str(path) == "/proc/driver/nvidia")
    assert not torch_wanted(module, root)
    monkeypatch.setattr(module.Path, "exists", always(False))
    monkeypatch.setattr(module.platform, "machine", lambda: "riscv64")
    assert not torch_wanted(module, root)
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(module.sys, "platform", "darwin")
    assert not torch_wanted(module, root)


def test_cpu_torch_comes_first_and_its_failure_is_one_line(
    machine: Machine, workshop: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workshop, "needs_cpu_torch", always(True))
    monkeypatch.setattr(workshop, "is_reachable", always(True))
    machine.fail = raising(workshop.SetupError("download broke off"), "--index-url")
    assert machine.set_up() == ["venv", "pip", "pip", "fetch"]
    options = "--no-deps --index-url https://download.pytorch.org/whl/cpu --retries 0 --timeout 8 torch==2.13.0"
    assert machine.done[1] == options
    said = capsys.readouterr().out
    assert "torch comes from the default index" in said
    assert "broke off" not in said


def test_an_index_out_of_reach_costs_no_pip(
    machine: Machine, workshop: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop, "needs_cpu_torch", always(True))
    assert machine.set_up() == ["venv", "pip", "fetch"]


def test_reachability(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(root)
    monkeypatch.setattr(module.urllib.request, "getproxies", dict)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert module.is_reachable(f"https://{address}/whl/cpu")
        monkeypatch.setattr(module.urllib.request, "getproxies", lambda: {"https": f"http://bob:secret@{address}"})
        assert module.is_reachable("https://host.invalid/whl/cpu"), "through the proxy"
    assert not module.is_reachable("https://host.invalid/whl/cpu"), "the proxy has gone"
    monkeypatch.setattr(module.urllib.request, "getproxies", lambda: {"https": "http://bob:secret"})
    assert not module.is_reachable("https://host.invalid/whl/cpu"), "a malformed proxy"


def test_a_name_server_that_hangs_costs_seconds(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(root)
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(module.urllib.request, "getproxies", dict)

    def sleepy(*_: Any, **__: Any) -> list[Any]:
        time.sleep(3)
        return []

    monkeypatch.setattr(module.socket, "getaddrinfo", sleepy)
    started = time.monotonic()
    assert not module.is_reachable("https://host.invalid")
    assert time.monotonic() - started < 2


# --- as a program, with a stand-in for pip


Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(root: Path, tmp_path: Path) -> Iterator[Run]:
    """Starts workshop.py in a process of its own; its .venv holds stand-ins for pip and the `workshop` command."""
    site = make_environment(root)
    for package, source in (("pip", FAKE_PIP), ("workshop_utils", FAKE_COMMAND)):
        (site / package).mkdir()
        (site / package / "__init__.py").touch()
        (site / package / "__main__.py").write_text(source, "utf-8")
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        names = ("PATH", "HOME", "SYSTEMROOT", "TEMP")
        kept = {name: value for name, value in os.environ.items() if name.upper() in names}
        process = subprocess.Popen(
            [sys.executable, str(root / "workshop.py"), *arguments],
            cwd=tmp_path,
            env={**kept, "FAKE_LOG": str(tmp_path / "log"), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def make_environment(root: Path) -> Path:
    """A virtual environment without packages; where its packages go."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root / ".venv")], check=True)
    site = sysconfig.get_path("purelib", vars={"base": str(root / ".venv")}, scheme="venv")
    # torch counts as installed, so that nothing asks for an index
    (Path(site) / "torch.py").touch()
    return Path(site)


def finish(process: subprocess.Popen[str], code: int) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, f"{out}\n{err}"
    return out + err


def logged(tmp_path: Path) -> list[str]:
    log = tmp_path / "log"
    return log.read_text("utf-8").splitlines() if log.exists() else []


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    for _ in range(int(seconds * 20)):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("waited in vain")


def test_sets_up_and_hands_over(start: Run, root: Path, tmp_path: Path) -> None:
    said = finish(start("ask", "how many?", "--json", "out.json", PYTHONPATH="/elsewhere"), 7)
    assert "[1/2] Installing the packages ..." in said
    assert re.search(r"\[2/2\] Fetching the models \.\.\.\n +done in \d+ s", said)
    pip, fetch, ask = logged(tmp_path)
    assert pip.startswith("pip install ")
    assert fetch.startswith("workshop fetch ")
    assert ask == f"workshop ask how many? --json out.json None {tmp_path}"
    assert finish(start("ask", "again"), 7) == ""
    assert len(logged(tmp_path)) == 4
    assert "Everything is in place." in finish(start("setup"), 0)
    assert len(logged(tmp_path)) == 4
    stamp = json.loads((root / ".venv" / "workshop.json").read_text("utf-8"))
    assert stamp["root"] == str(root)
    assert stamp["models"] == ""


def test_a_second_run_starts_within_a_second(start: Run) -> None:
    finish(start("setup"), 0)
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        finish(start("setup"), 0)
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 1


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_needs_no_environment(arguments: list[str], start: Run, tmp_path: Path) -> None:
    said = finish(start(*arguments), 0)
    for command in ("lab", "test", "doctor", "ask", "run", "build", "reset", "bench", "setup"):
        assert re.search(rf"^    {command} ", said, re.MULTILINE)
    assert logged(tmp_path) == []


def test_no_network_is_said_and_the_same_command_goes_on(start: Run, tmp_path: Path) -> None:
    broken = "WARNING: Retrying after connection broken by NewConnectionError: Temporary failure in name resolution"
    said = finish(start("lab", FAKE_PIP=broken), 1)
    assert "A network is needed this once" in said
    assert "Traceback" not in said
    assert logged(tmp_path)[1:] == [], "no second try, no models, no hand-over"
    finish(start("lab"), 7)


def test_the_doctor_fetches_nothing(start: Run, tmp_path: Path) -> None:
    finish(start("doctor"), 7)
    assert [line.split()[1] for line in logged(tmp_path)] == ["install", "doctor"]


def test_a_failed_fetch_stops_before_the_command(start: Run, tmp_path: Path) -> None:
    assert "the models are not" in finish(start("lab", FAKE_FETCH="1"), 1)
    assert [line.split()[1] for line in logged(tmp_path)] == ["install", "fetch"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_ends_pip_and_says_how_to_go_on(start: Run, tmp_path: Path) -> None:
    process = start("lab", FAKE_PIP="sleep60")
    wait_for(lambda: logged(tmp_path))
    os.killpg(process.pid, signal.SIGINT)
    assert "Interrupted. Run the same command again" in finish(process, 130)
    finish(start("lab"), 7)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_terminated_it_takes_pip_along(start: Run, tmp_path: Path) -> None:
    process = start("lab", FAKE_PIP="sleep60")
    wait_for(lambda: logged(tmp_path))
    started = time.monotonic()
    process.terminate()
    finish(process, 143)
    finish(start("lab"), 7)  # would wait for the lock, were pip still there
    assert time.monotonic() - started < 30


@pytest.mark.skipif(os.name == "nt", reason="Windows locks end with their process")
def test_killed_the_next_run_waits_for_the_pip_left_behind(start: Run, tmp_path: Path) -> None:
    process = start("lab", FAKE_PIP="sleep4")
    wait_for(lambda: logged(tmp_path))
    process.kill()
    process.wait()
    started = time.monotonic()
    said = finish(start("lab"), 7)
    assert "Another workshop.py is setting up here" in said
    assert time.monotonic() - started > 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX locks")
def test_two_runs_at_once_set_up_once(start: Run, tmp_path: Path) -> None:
    first = start("setup", FAKE_PIP="sleep2")
    wait_for(lambda: logged(tmp_path))
    second = start("setup")
    finish(first, 0)
    finish(second, 0)
    assert sum(line.startswith("pip") for line in logged(tmp_path)) == 1
