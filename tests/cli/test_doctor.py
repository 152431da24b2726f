"""The doctor: a check for each thing that can be wrong, each with its fix, and nothing personal in the bug report."""

from __future__ import annotations

import importlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from workshop_utils.cli.doctor import Check, Report, render
from workshop_utils.models import device, store

doctor = importlib.import_module("workshop_utils.cli.doctor")  # the package holds a command of the same name


def always(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of its own, no model files to hash."""
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "problem", always(None))
    monkeypatch.setattr(store, "converted_problem", always(None))


@pytest.mark.usefixtures("quick")
def test_looks_at_everything_in_the_promised_form() -> None:
    report = doctor.diagnose()
    parsed = json.loads(json.dumps(report.as_dict()))
    assert parsed.keys() == {"checks", "ok"}
    assert all(check.keys() == {"name", "ok", "detail", "fix"} for check in parsed["checks"])
    assert [check["name"] for check in parsed["checks"]] == [
        *("python", "memory", "disk", "sqlite", "proxy", "certificates", "paths", "packages", "models", "kernel"),
        *("port", "precision", "llama.cpp"),
    ]
    assert all(check["detail"] for check in parsed["checks"])
    assert all(bool(check["fix"]) != check["ok"] for check in parsed["checks"])
    assert parsed["ok"] == all(check["ok"] for check in parsed["checks"])


@pytest.mark.usefixtures("quick")
def test_is_quick() -> None:
    seconds = []
    for _ in range(3):  # the first import of torch comes from a cold disk
        started = time.monotonic()
        doctor.diagnose()
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 3


def test_a_check_that_raises_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Check:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(doctor, "check_sqlite", broken)
    monkeypatch.setattr(doctor, "check_models", lambda: Check("models", True, "fine"))
    report = doctor.diagnose()
    (sqlite,) = [check for check in report.checks if check.name == "sqlite"]
    assert not sqlite.ok
    assert "RuntimeError: no such thing" in sqlite.detail
    assert not report.ok


def test_renders_a_line_a_check_and_the_fix_of_the_failed() -> None:
    text = render(Report((Check("disk", True, "plenty", "unused"), Check("port", False, "taken", "take another"))))
    assert re.search(r"^OK +disk +plenty$", text, re.MULTILINE)
    assert re.search(r"^FAIL +port +taken\n +fix: take another$", text, re.MULTILINE)
    assert "unused" not in text
    assert "1 of 2 checks failed." in text
    assert "Everything is fine." in render(Report((Check("disk", True, "plenty"),)))


# --- the checks


@pytest.mark.parametrize(
    ("version", "good"), [((3, 10, 1), False), ((3, 11, 0), True), ((3, 13, 9), True), ((3, 14, 0), False)]
)
def test_python(version: tuple[int, int, int], good: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", version)
    assert doctor.check_python().ok == good
    monkeypatch.setattr(doctor.sys, "maxsize", 2**31 - 1)
    assert not doctor.check_python().ok


@pytest.mark.parametrize(
    ("total", "free", "good", "fix"),
    [(8e9, 4e9, True, ""), (1.9e9, 1.8e9, False, "a machine, or a container"), (8e9, 1e9, False, "Close programs")],
)
def test_memory(total: float, free: float, good: bool, fix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_memory", lambda: (total, free))
    check = doctor.check_memory()
    assert check.ok == good
    assert fix in check.fix
    assert f"{free / 1e9:.1f} of {total / 1e9:.1f} GB" in check.detail


def test_memory_is_that_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=16e9, available=9e9))
    monkeypatch.setattr(doctor, "CONTROL_GROUP", tmp_path)
    assert doctor._memory() == (16e9, 9e9)
    (tmp_path / "memory.max").write_text("max\n")
    assert doctor._memory() == (16e9, 9e9)
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.current").write_text("1500000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 400000000\nactive_file 7\n")
    assert doctor._memory() == (2e9, 0.9e9)


def test_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", always(usage(10, 1, 5e9)))
    assert doctor.check_disk().ok
    monkeypatch.setattr(doctor.shutil, "disk_usage", always(usage(10, 1, 0.5e9)))
    check = doctor.check_disk()
    assert not check.ok
    assert "WORKSHOP_CACHE" in check.fix


def test_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_sqlite().ok
    monkeypatch.setattr(doctor.sqlite3, "sqlite_version_info", (3, 34, 9))
    assert not doctor.check_sqlite().ok


@pytest.mark.parametrize(
    ("value", "good", "shown"),
    [
        ("http://proxy:3128", True, "http://proxy:3128"),
        ("proxy:3128", True, "http://proxy:3128"),
        ("http://bob:s3cret@proxy:3128", True, "http://proxy:3128"),
        ("http://bob:s3c@ret@proxy:3128/", True, "http://proxy:3128"),
        ("socks5://127.0.0.1:1080", True, "socks5://127.0.0.1:1080"),
        ("http://bob:s3cret", False, "not a number"),
        ("http://proxy:s3cret0", False, "not a number"),
        ("http://", False, "names no host"),
        ("ftp://bob:s3cret@proxy:21", False, "scheme"),
        ("http://proxy s3cret", False, "names no host"),
        ("http://[::1", False, "not a number"),
    ],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "http_proxy"])
def test_proxy(name: str, value: str, good: bool, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in doctor.PROXIES:
        monkeypatch.delenv(other, raising=False)
        monkeypatch.delenv(other.lower(), raising=False)
    assert doctor.check_proxy() == Check("proxy", True, "none set")
    monkeypatch.setenv(name, value)
    check = doctor.check_proxy()
    assert check.ok == good
    assert shown in check.detail
    assert good or name in check.fix
    assert "s3c" not in str(check)


def test_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in doctor.CERTIFICATES:
        monkeypatch.delenv(name, raising=False)
    assert doctor.check_certificates().ok
    bundle = tmp_path / "bundle.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    assert "does not exist" in doctor.check_certificates().detail
    bundle.write_text("hello", "utf-8")
    check = doctor.check_certificates()
    assert "holds no certificate" in check.detail
    assert "REQUESTS_CA_BUNDLE" in check.fix
    system = ssl.get_default_verify_paths().cafile
    if system is None:
        pytest.skip("this system has no bundle to compare with")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", system)
    assert doctor.check_certificates().ok
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert doctor.check_certificates().ok


def test_paths_with_accents_and_spaces_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "l'été à Nîmes"
    folder.mkdir()
    monkeypatch.setattr(doctor, "ROOT", folder)
    monkeypatch.setenv("WORKSHOP_CACHE", str(folder / "not made yet"))
    assert doctor.check_paths().ok


def test_paths_that_break(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path))
    monkeypatch.setattr(doctor, "ROOT", Path(os.fsdecode(b"/tmp/caf\xe9")))
    check = doctor.check_paths()
    assert not check.ok
    assert "not text" in check.detail
    check.detail.encode("utf-8")  # it can be printed
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    monkeypatch.setattr(doctor.os, "access", lambda path, _mode: path != tmp_path)
    check = doctor.check_paths()
    assert "may not be written" in check.detail
    assert "WORKSHOP_CACHE" in check.fix


def test_long_paths_break_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path / ("x" * 200)))
    assert doctor.check_paths().ok
    monkeypatch.setattr(doctor, "WINDOWS", True)
    check = doctor.check_paths()
    assert not check.ok
    assert "characters" in check.detail


def test_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    installed = {"torch": "2.13.0+cpu", "rich": "15.0.0"}

    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(doctor.metadata, "version", version)
    pins = tmp_path / "constraints.txt"
    pins.write_text("# comment\nrich==15.0.0\ntorch==2.13.0\npywinpty==3.1.2\nxllamacpp==1\n", "utf-8")
    assert doctor.check_packages().ok, "a local version is admitted; what other systems need may be missing"
    pins.write_text("rich==15.0.1\ntorch==2.13.0\ntyper==0.29.2\n", "utf-8")
    check = doctor.check_packages()
    assert check.detail == "rich 15.0.0 (pinned: 15.0.1), typer missing (pinned: 0.29.2)"
    assert check.fix == f'"{sys.executable}" -m pip install --no-deps rich==15.0.1 typer==0.29.2'


def test_packages_in_an_environment_that_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    monkeypatch.setattr(doctor.metadata, "version", always("2.9.0+cu128"))
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\n", "utf-8")
    assert not doctor.check_packages().ok
    (tmp_path / ".workshop").mkdir()
    (tmp_path / ".workshop" / "constraints.txt").write_text("torch==2.9.0+cu128\n", "utf-8")
    stamp = tmp_path / ".workshop" / "environment.json"
    stamp.write_text(json.dumps({"prefix": "/somewhere/else"}), "utf-8")
    assert not doctor.check_packages().ok
    stamp.write_text(json.dumps({"prefix": sys.prefix}), "utf-8")
    assert doctor.check_packages().ok


def test_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        store, "problem", lambda artifact: "tokenizer.json is missing" if artifact == store.LLM else None
    )
    monkeypatch.setattr(store, "converted_problem", always(None))
    check = doctor.check_models()
    assert not check.ok
    assert check.detail == f"{store.LLM.name}: tokenizer.json is missing"
    assert check.fix == f"{doctor.SETUP} fetch"
    monkeypatch.setattr(store, "problem", always(None))
    assert doctor.check_models().ok
    monkeypatch.setattr(store, "converted_problem", always("does not match its SHA-256"))
    assert not doctor.check_models().ok


@pytest.mark.parametrize(
    ("python", "good", "detail"),
    [
        ("python", True, "on this Python"),
        ("python3.11", True, "on this Python"),
        (sys.executable, True, "python3 starts"),
        ("/nowhere/bin/python", False, "does not exist"),
        (__file__, False, "not this Python"),
    ],
)
def test_kernel(python: str, good: bool, detail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kernels" / "python3"
    folder.mkdir(parents=True)
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "x", "language": "python"}), "utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    check = doctor.check_kernel()
    assert check.ok == good
    assert detail in check.detail
    assert good or "ipykernel install --sys-prefix" in check.fix


def test_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check = doctor.check_port(port)
        assert not check.ok
        assert (other := re.search(r"lab --port (\d+)", check.fix))
        assert doctor.check_port(int(other[1])).ok
    assert doctor.check_port(port).ok
    assert not doctor.check_port(70000).ok


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORKSHOP_DTYPE", "WORKSHOP_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    check = doctor.check_precision()
    assert check.ok
    assert device.choose().dtype in check.detail
    monkeypatch.setenv("WORKSHOP_DTYPE", "float31")
    assert "WORKSHOP_DTYPE" in doctor.check_precision().fix
    monkeypatch.setenv("WORKSHOP_DEVICE", "cpu")
    monkeypatch.setenv("WORKSHOP_DTYPE", "bfloat16")
    monkeypatch.setattr(device, "cpu_features", lambda: ())
    check = doctor.check_precision()
    assert not check.ok
    assert "emulates bfloat16" in check.fix
    monkeypatch.setattr(device, "cpu_features", lambda: ("AMX",))
    assert doctor.check_precision().ok


def test_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", always(None))
    assert doctor.check_llama_cpp().ok, "it is optional"
    monkeypatch.setattr(doctor.importlib.util, "find_spec", always(object()))
    monkeypatch.setattr(doctor.subprocess, "run", always(subprocess.CompletedProcess([], -4, "", "")))
    check = doctor.check_llama_cpp()
    assert not check.ok
    assert "code -4" in check.detail
    assert "pip uninstall" in check.fix


# --- the block for a bug report


def test_the_block_holds_nothing_personal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home" / "Zoé Martin"
    home.mkdir(parents=True)
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setattr(doctor.getpass, "getuser", lambda: "zmartin")
    monkeypatch.setattr(doctor, "ROOT", home / "rag")
    monkeypatch.setenv("WORKSHOP_CACHE", str(home / "big" / "cache"))
    detail = (
        f"{home}/x {str(home).upper()}/y {home}/rag/a.py {home}/big/cache/m of zmartin, http://u:p@ss@proxy:1 bob:pw@h"
    )
    text = render(Report((Check("x", False, detail, "fix it"),)))
    block = text.partition("For a bug report")[2]
    for secret in ("Zoé", "ZOÉ", "Martin", "MARTIN", "zmartin", "home", "p@ss", "bob", "pw"):
        assert secret not in block, block
    assert "~/x" in block
    assert "<workshop>/a.py <cache>/m of <user>" in block
    assert "proxy:1" in block


def test_the_real_block_holds_neither_home_nor_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://someone:verysecret@proxy:8080")
    monkeypatch.setattr(doctor, "check_models", lambda: Check("models", False, f"{Path.home()}/models is missing"))
    block = render(doctor.diagnose()).partition("For a bug report")[2]
    assert str(Path.home()) not in block
    assert "verysecret" not in block
    assert "someone" not in block
    assert "http://proxy:8080" in block
    assert "~/models is missing" in block or "<" in block
