"""Checks of everything that can be wrong on a machine, each with its fix: the `workshop doctor` command.

Standard library and psutil only at the top, so that the doctor still speaks where the packages are broken; each check
imports what it examines, and a check that raises counts as failed. Nothing here needs a network.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib.util
import json
import os
import platform
import re
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
SETUP = "py workshop.py" if os.name == "nt" else "python3 workshop.py"
GB = 1e9
MEMORY_GB = 2.0
FREE_MEMORY_GB = 1.7  # what a lesson may take
FREE_DISK_GB = 1.0  # the models, an index, a trained adapter
SQLITE = (3, 35, 0)  # what Chroma refuses to go below
WINDOWS_PATH = 120  # characters; the longest file name below .venv has about 135, and Windows stops at 260
CONTROL_GROUP = Path("/sys/fs/cgroup")
WINDOWS = os.name == "nt"
# pinned for all systems, installed on some
ELSEWHERE = {"appnope", "colorama", "pexpect", "ptyprocess", "pywinpty", "uvloop", "xllamacpp"}
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: its name, whether it is good, what was found, and what to do if it is not."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


@dataclass(frozen=True)
class Report:
    """All checks."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing has to be fixed."""
        return all(check.ok for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """The form that is written as JSON."""
        return {"checks": [asdict(check) for check in self.checks], "ok": self.ok}


def diagnose(port: int = 8888) -> Report:
    """Look at everything; `port` is the one that JupyterLab would use."""
    checks: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("python", check_python),
        ("memory", check_memory),
        ("disk", check_disk),
        ("sqlite", check_sqlite),
        ("proxy", check_proxy),
        ("certificates", check_certificates),
        ("paths", check_paths),
        ("packages", check_packages),
        ("models", check_models),
        ("kernel", check_kernel),
        ("port", lambda: check_port(port)),
        ("precision", check_precision),
        ("llama.cpp", check_llama_cpp),
    )
    return Report(tuple(_guarded(name, check) for name, check in checks))


def render(report: Report) -> str:
    """The report for the terminal: a line a check, the fixes, and a block without personal data for a bug report."""
    lines = []
    for check in report.checks:
        lines.append(f"{'OK' if check.ok else 'FAIL':<6}{check.name:<14}{check.detail}")
        if not check.ok:
            lines += [
                f"{'':<20}fix: {line}" if n == 0 else f"{'':<25}{line}" for n, line in enumerate(_split(check.fix))
            ]
    failed = sum(not check.ok for check in report.checks)
    verdict = f"{failed} of {len(report.checks)} checks failed." if failed else "Everything is fine."
    return "\n".join([*lines, "", verdict, "", "For a bug report, copy the lines between the marks:", _block(report)])


def check_python() -> Check:
    """The Python versions that the pinned packages exist for."""
    bits = 64 if sys.maxsize > 2**32 else 32
    good = (3, 11) <= sys.version_info[:2] <= (3, 13) and bits == 64
    fix = f"Install a 64-bit Python 3.11, 3.12 or 3.13 and start the workshop with it: {SETUP} lab"
    return Check("python", good, f"{platform.python_version()}, {bits} bits", fix)


def check_memory() -> Check:
    """Total and free memory, within the limit of a container if there is one."""
    total, free = _memory()
    detail = f"{free / GB:.1f} of {total / GB:.1f} GB free"
    if total < MEMORY_GB * GB:
        return Check("memory", False, detail, f"The lessons need a machine, or a container, of {MEMORY_GB:.0f} GB.")
    fix = f"Close programs and other notebooks: a lesson takes up to {FREE_MEMORY_GB} GB."
    return Check("memory", free >= FREE_MEMORY_GB * GB, detail, fix)


def check_disk() -> Check:
    """Room for models and indexes."""
    from workshop_utils.models import store

    free = {name: shutil.disk_usage(_existing(path)).free / GB for name, path in _places(store.cache_dir())}
    detail = ", ".join(f"{gigabytes:.1f} GB free for the {name}" for name, gigabytes in free.items())
    fix = (
        f"Free {FREE_DISK_GB:.0f} GB, or set WORKSHOP_CACHE (models) and WORKSHOP_VENV (packages) to folders elsewhere."
    )
    return Check("disk", min(free.values()) >= FREE_DISK_GB, detail, fix)


def check_sqlite() -> Check:
    """The SQLite inside Python, which Chroma uses."""
    needed = ".".join(map(str, SQLITE))
    fix = f"Chroma needs SQLite {needed} or later. Install a newer Python: SQLite comes with it."
    return Check("sqlite", sqlite3.sqlite_version_info >= SQLITE, sqlite3.sqlite_version, fix)


def check_proxy() -> Check:
    """Whether the proxy variables can be understood."""
    found = {name: _proxy(value) for name, value in sorted(os.environ.items()) if name.upper() in PROXIES and value}
    wrong = {name: problem for name, (_, problem) in found.items() if problem}
    if not wrong:
        return Check("proxy", True, ", ".join(f"{name}={shown}" for name, (shown, _) in found.items()) or "none set")
    detail = "; ".join(f"{name}: {problem}" for name, problem in wrong.items())
    return Check("proxy", False, detail, f"Set {', '.join(wrong)} in the form http://HOST:PORT, or unset.")


def check_certificates() -> Check:
    """Whether the certificate bundles that the environment names can be read and hold certificates."""
    found = {name: os.environ[name] for name in CERTIFICATES if os.environ.get(name)}
    problems = {name: problem for name, value in found.items() if (problem := _certificate_problem(Path(value)))}
    if problems:
        detail = "; ".join(f"{name}={found[name]}: {problem}" for name, problem in problems.items())
        return Check("certificates", False, detail, f"Set {', '.join(problems)} to a readable .pem file, or unset.")
    detail = f"{', '.join(found)} readable" if found else "those of Python"
    return Check("certificates", True, f"{detail}; {ssl.OPENSSL_VERSION}")


def check_paths() -> Check:
    """The folders' names. Accents and spaces work; what breaks is a name that cannot be encoded, or is too long."""
    from workshop_utils.models import store

    for name, path in _places(store.cache_dir()):
        text = str(path)
        variable = "WORKSHOP_CACHE" if name == "models" else "WORKSHOP_VENV"
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return Check(
                "paths", False, f"the folder of the {name} has a name that is not text: {text!a}", "Rename it."
            )
        if WINDOWS and len(text) > WINDOWS_PATH:
            fix = f"Move the workshop to a shorter path, such as C:\\workshop, or set {variable} to one."
            return Check("paths", False, f"{text} has {len(text)} characters", fix)
        if not os.access(_existing(path), os.W_OK):
            return Check(
                "paths", False, f"{text} may not be written", f"Move it to a folder of yours, or set {variable}."
            )
    return Check("paths", True, "folders can be written" + ("" if str(ROOT).isascii() else ", accents do no harm"))


def check_packages() -> Check:
    """The installed packages against the pins."""
    pins = _pins()
    wrong: dict[str, str] = {}
    for name, version in pins.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name not in ELSEWHERE:
                wrong[name] = "missing"
            continue
        if version not in (installed, installed.partition("+")[0]):  # a pin admits any local version
            wrong[name] = installed
    if not wrong:
        return Check("packages", True, f"{len(pins)} pins hold")
    detail = ", ".join(f"{name} {found} (pinned: {pins[name]})" for name, found in wrong.items())
    command = " ".join(f"{name}=={pins[name]}" for name in wrong)
    return Check("packages", False, detail, f'"{sys.executable}" -m pip install --no-deps {command}')


def check_models() -> Check:
    """The model files against their SHA-256."""
    from workshop_utils.models import store

    problems = {artifact.name: problem for artifact in store.ARTIFACTS if (problem := store.problem(artifact))}
    if not problems and (problem := store.converted_problem()):
        problems[store.CONVERTED_NAME] = problem
    detail = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    good = f"{len(store.ARTIFACTS)} and the converted one match their SHA-256"
    return Check("models", not problems, detail or good, f"{SETUP} fetch")


def check_kernel() -> Check:
    """Whether the notebooks' kernel runs on this Python."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    fix = f'"{sys.executable}" -m ipykernel install --sys-prefix'
    try:
        kernel = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        return Check("kernel", False, "there is no kernel named python3", fix)
    python = kernel.argv[0] if kernel.argv else ""
    if re.fullmatch(r"python(3(\.\d+)?)?(\.exe)?", python):  # Jupyter puts its own Python in the place of these
        return Check("kernel", True, "python3, on this Python")
    if not Path(python).is_file():
        return Check("kernel", False, f"python3 starts {python or 'nothing'}, which does not exist", fix)
    # environments share what their links point to, so the folders are compared, not the files
    here = os.path.normcase(Path(python).absolute().parent) == os.path.normcase(Path(sys.executable).absolute().parent)
    return Check("kernel", here, f"python3 starts {python}" + ("" if here else ", which is not this Python"), fix)


def check_port(port: int) -> Check:
    """Whether JupyterLab can have its port."""
    if _is_free(port):
        return Check("port", True, f"{port} is free")
    free = next((other for other in range(port + 1, min(port + 100, 65536)) if _is_free(other)), 0)
    return Check("port", False, f"{port} is taken", f"{SETUP} lab --port {free}   (or stop the program which holds it)")


def check_precision() -> Check:
    """The device and the dtype chosen, and what was chosen them for."""
    from workshop_utils.models import device

    cores = f"{psutil.cpu_count(logical=False) or '?'} cores, {platform.machine()}"
    try:
        chosen = device.choose()
    except ValueError as error:
        return Check("precision", False, str(error), "Unset WORKSHOP_DTYPE: the workshop chooses.")
    detail = f"{chosen.name}, {chosen.dtype}: {chosen.reason}; {cores}"
    slow = chosen.name == "cpu" and chosen.dtype != "float32" and not device.cpu_features()
    fix = f"Unset WORKSHOP_DTYPE: this CPU emulates {chosen.dtype}, many times slower than float32."
    return Check("precision", not slow, detail, fix)


def check_llama_cpp() -> Check:
    """Whether the fast backend can be imported; in a process of its own, since a wrong CPU ends the process."""
    if importlib.util.find_spec("xllamacpp") is None:
        return Check("llama.cpp", True, "not installed: transformers answers, more slowly")
    tried = subprocess.run(
        [sys.executable, "-c", "import xllamacpp"], capture_output=True, text=True, errors="replace", timeout=60
    )
    if tried.returncode == 0:
        return Check("llama.cpp", True, f"xllamacpp {metadata.version('xllamacpp')}")
    said = (tried.stderr.strip() or f"the process ended with code {tried.returncode}").splitlines()[-1]
    fix = f'"{sys.executable}" -m pip uninstall -y xllamacpp   (everything works without it, answers come slower)'
    return Check("llama.cpp", False, said, fix)


def mask_credentials(text: str) -> str:
    """The text with whatever stands before an @ inside a word made unreadable: user name and password of a proxy."""
    return re.sub(r"(?:(?<=://)|(?<![^\s=,;]))[^\s=]*@", "***@", text)


def mask_personal(text: str) -> str:
    """The text without credentials, the folders of this machine and the user's name."""
    from workshop_utils.models import store

    text = mask_credentials(text)
    places = {str(ROOT): "<workshop>", str(store.cache_dir()): "<cache>", sys.prefix: "<python>"}
    for home in (Path.home(), Path.home().resolve()):
        places[str(home)] = "~"
    for place in sorted(places, key=len, reverse=True):
        if len(place) > 1:
            for form in {place, place.replace("\\", "/"), place.replace("\\", "\\\\")}:
                text = re.sub(re.escape(form), places[place], text, flags=re.IGNORECASE)
    names = {Path.home().name}
    with contextlib.suppress(OSError, KeyError, ImportError):
        names.add(getpass.getuser())
    for name in names - {""}:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "<user>", text, flags=re.IGNORECASE)
    return text


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        result = check()
        return replace(result, fix="") if result.ok else result
    except Exception as error:
        said = f"the check itself failed: {type(error).__name__}: {error}"
        return Check(name, False, said, f"{SETUP} setup; if it stays so, report it with the block below")


def _split(fix: str) -> list[str]:
    return fix.splitlines() or [""]


def _block(report: Report) -> str:
    lines = [
        f"{platform.platform()}, Python {platform.python_version()}, {psutil.cpu_count()} processors",
        *(f"{'OK' if check.ok else 'FAIL'} {check.name}: {check.detail}" for check in report.checks),
    ]
    return "\n".join(["-" * 40, *(mask_personal(line) for line in lines), "-" * 40])


def _places(cache: Path) -> tuple[tuple[str, Path], ...]:
    return (("models", cache), ("workshop", ROOT))


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _memory() -> tuple[float, float]:
    """Bytes in total and free: those of the machine, or of the control group that a container lives in."""
    machine = psutil.virtual_memory()
    total, free = float(machine.total), float(machine.available)
    with contextlib.suppress(OSError, ValueError):  # no such file, or no limit ("max")
        limit = int((CONTROL_GROUP / "memory.max").read_text())
        used = int((CONTROL_GROUP / "memory.current").read_text())
        cached = re.search(r"^inactive_file (\d+)", (CONTROL_GROUP / "memory.stat").read_text(), re.MULTILINE)
        total = min(total, limit)
        free = min(free, limit - used + (int(cached[1]) if cached else 0))
    return total, free


def _proxy(value: str) -> tuple[str, str | None]:
    """The proxy as it may be shown, and what is wrong with it; a malformed one is not shown: it may hold a secret."""
    try:
        parts = urllib.parse.urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return "", "its port is not a number, or it lacks the @ between password and host"
    if parts.scheme not in ("http", "https", "socks4", "socks4a", "socks5", "socks5h"):
        return "", "its scheme is not known"
    if not host or re.search(r"\s", value):
        return "", "it names no host"
    return f"{parts.scheme}://{host}" + (f":{port}" if port else ""), None


def _certificate_problem(path: Path) -> str | None:
    if path.is_dir():
        return None if os.access(path, os.R_OK | os.X_OK) else "may not be read"
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=path)
    except FileNotFoundError:
        return "does not exist"
    except ssl.SSLError:
        return "holds no certificate"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if context.cert_store_stats()["x509"] else "holds no certificate"


def _pins() -> dict[str, str]:
    """Name to version: constraints.txt, or what workshop.py made of it for an environment that is not its own."""
    path = ROOT / "constraints.txt"
    with contextlib.suppress(OSError, ValueError, KeyError):
        stamp = json.loads((ROOT / ".workshop" / "environment.json").read_text("utf-8"))
        if stamp["prefix"] == sys.prefix:
            path = ROOT / ".workshop" / "constraints.txt"
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    return dict(line.split("==", 1) for line in lines if line and not line.startswith("#"))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if os.name == "posix":  # a port just given back counts as free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True
