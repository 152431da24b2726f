#!/usr/bin/env python3
"""The one command to know: `python3 workshop.py lab` (Windows: `py workshop.py lab`).

The first run makes the environment, which needs a network once: a virtual environment in `.venv`, the packages at
the versions of constraints.txt, the models. Every later run hands over to the `workshop` command at once.
Interrupted at any point, the same command goes on. Standard library only.
"""
# This file must parse on Python 3.6, so that an old Python gets a clear word and not a syntax error.

import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

HELP = """\
RAG, fine-tuning, or both? A workshop that measures the answer on a laptop.

    python3 workshop.py COMMAND [ARGUMENTS]        (Windows: py workshop.py COMMAND ...)

Commands:
    lab                open the notebooks in JupyterLab
    test               run the tests
    doctor             check this machine, with the fix for whatever is wrong
    ask "QUESTION"     one question, answered from the company's documents
    run [LESSON ...]   execute the lessons, with seconds and memory of each
    build              build the notebooks from lessons/
    reset LESSON       a fresh copy of a lesson's notebook; yours is kept beside it
    bench              measure decoding, training and indexing on this machine
    setup              make the environment, fetch the models, and stop there
    COMMAND --help     more about one of them

The first command makes the environment in .venv and fetches the models (a network is needed this once).
WORKSHOP_VENV=FOLDER puts the environment elsewhere; --here as the first argument uses the active virtual or
conda environment instead, with the torch and numpy that it has. WORKSHOP_CACHE=FOLDER puts the models elsewhere."""


def wrong_python(found: "tuple[int, ...]", arguments: "list[str]") -> str:  # Python 2? Type python3 instead
    """What to say to a Python that cannot run the workshop: the version, what is needed, what to type instead."""
    words = [
        "This is Python {}.{}; the workshop needs Python 3.11, 3.12 or 3.13.".format(*found[:2]),
        "Get one: https://www.python.org/downloads/ (Windows, macOS), or your system's package manager.",
    ]
    for minor in (12, 11, 13):
        python = ["py", f"-3.{minor}"] if os.name == "nt" else [f"python3.{minor}"]
        try:  # a name on PATH may be a version manager's stub, so it is run
            code = subprocess.call([*python, "-c", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except OSError:
            continue
        if code == 0:
            command = " ".join(shlex.quote(word) for word in [*python, *arguments])
            return f"{words[0]}\nThis machine has a suitable one. Type:\n    {command}"
    return "\n".join(words)


if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(wrong_python(sys.version_info[:2], sys.argv))


ROOT = Path(__file__).resolve().parent
NEEDED_GB = 4.0  # measured on Linux: 2.3 GB of environment, 0.5 GB of models; the rest is for pip's downloads
CUDA_GB = 12.0
LEFT_ALONE = ("torch", "numpy", "pandas")  # where they are there already: Colab's own tools are built against them
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PROBE_SECONDS = 4.0
BINDER = "Run it on Binder instead: the badge is in README.md."
AGAIN = "Then run the same command again: it goes on from here, and what has been downloaded is kept."


class SetupError(Exception):
    """The environment cannot be made; the message says why and what to do about it."""


class NoWheelError(SetupError):
    """A package does not exist for this system."""


class Place(NamedTuple):
    """An environment: its Python, its folder, our stamp for it, and whether it is our own virtual environment."""

    python: Path
    prefix: Path
    stamp: Path
    own: bool


class Stamp(NamedTuple):
    """What an environment holds: written atomically, after the fact."""

    prefix: str
    root: str
    python: str
    packages: str | None = None
    models: str | None = None


def main(argv: list[str]) -> int:
    """Set up what is missing, then hand over; the exit code is that of the command."""
    arguments = argv[1:]
    here = "--here" in arguments[:2]
    if here:
        arguments.remove("--here")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    for stream in (sys.stdout, sys.stderr):  # a path may hold letters which the terminal does not have
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    command = arguments[0]
    try:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        place = find_place(here)
        set_up(place, models=command != "doctor")  # the doctor must run where the models cannot be fetched
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"\n{explain(f'Errno {error.errno}: {error}') or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again: it goes on from here.", file=sys.stderr)
        return 130
    if command == "setup":
        print("Everything is in place.")
        return 0
    return hand_over(place, arguments)


def find_place(here: bool) -> Place:
    """The environment to use: the running one when asked for, on Colab, or when conda made it for us; else our own.

    Raises:
        SetupError: `--here` would change a Python that other programs share.
    """
    wanted = os.environ.get("WORKSHOP_VENV", "")
    apart = sys.prefix != sys.base_prefix or is_conda()
    if here and not (apart or on_colab() or wanted == "current"):
        raise SetupError(
            f"--here would change the packages of {sys.executable}, which other programs may use.\n"
            "Leave it out, or activate a virtual or conda environment first. (WORKSHOP_VENV=current insists.)"
        )
    if here or wanted == "current" or (not wanted and (on_colab() or in_our_conda())):
        prefix = Path(sys.prefix)
        return Place(Path(sys.executable), prefix, ROOT / ".workshop" / "environment.json", own=False)
    prefix = Path(wanted).expanduser().absolute() if wanted else ROOT / ".venv"
    python = prefix / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    return Place(python, prefix, prefix / "workshop.json", own=True)


def on_colab() -> bool:
    """Whether this is a Colab machine."""
    return "COLAB_RELEASE_TAG" in os.environ


def is_conda() -> bool:
    """Whether this Python belongs to a conda environment."""
    return Path(sys.prefix, "conda-meta").is_dir()


def in_our_conda() -> bool:
    """Whether this Python is a conda environment made from environment.yml, as on Binder."""
    return is_conda() and any(Path(sysconfig.get_path("purelib")).glob("workshop_utils-*.dist-info"))


def set_up(place: Place, models: bool = True) -> None:
    """Bring the environment to what pyproject.toml and constraints.txt ask for; nothing to do costs nothing.

    Raises:
        SetupError: with the fix.
    """
    fresh = Stamp(str(place.prefix), str(ROOT), ".".join(platform.python_version_tuple()[:2]))
    if is_complete(read_stamp(place), place, models):
        return
    problem = unfit_machine()
    if problem:
        raise SetupError(problem)
    with only_one(ROOT / ".workshop" / "setup.lock"):
        stamp = read_stamp(place)
        steps: list[tuple[str, Callable[[], None]]] = []
        if place.own and must_make(place, stamp):
            steps.append(("Making the environment", lambda: make_environment(place, fresh)))
        if steps or stamp is None or stamp.packages != fingerprint():
            if needs_cpu_torch(place, empty=bool(steps)):
                steps.append(("Installing PyTorch for CPUs", lambda: install_cpu_torch(place)))
            steps.append(("Installing the packages", lambda: install_packages(place, fresh)))
        if models:
            steps.append(("Fetching the models", lambda: fetch_models(place, fresh)))
        for number, (title, step) in enumerate(steps, 1):
            print(f"[{number}/{len(steps)}] {title} ...", flush=True)
            started = time.monotonic()
            step()
            print(f"      done in {time.monotonic() - started:.0f} s", flush=True)


# --- what is there


def read_stamp(place: Place) -> Stamp | None:
    """The environment's stamp, or None when it has none that can be read."""
    try:
        return Stamp(**json.loads(place.stamp.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_stamp(place: Place, stamp: Stamp) -> None:
    """Replace the stamp in one go, after everything which it vouches for is on the disk."""
    place.stamp.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.stamp.with_suffix(".tmp")
    if hasattr(os, "sync"):
        os.sync()
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(stamp._asdict(), stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(place.stamp)


def is_complete(stamp: Stamp | None, place: Place, models: bool) -> bool:
    """Whether the environment is all there; also under another Python than the one which made it."""
    return (
        stamp is not None
        and not was_moved(stamp, place)
        and stamp.packages == fingerprint()
        and (not models or stamp.models == models_place())
    )


def was_moved(stamp: Stamp, place: Place) -> bool:
    """Whether the environment was made at another place, or its Python has gone: its scripts hold the full path."""
    return (stamp.prefix, stamp.root) != (str(place.prefix), str(ROOT)) or not place.python.exists()


def must_make(place: Place, stamp: Stamp | None) -> bool:
    """Whether to make the virtual environment anew: it is missing, was interrupted, or was moved.

    An environment without a stamp was made by somebody else: it is completed, never emptied.
    """
    if place.prefix.is_dir():
        if place.stamp.exists():
            return stamp is None or stamp.packages is None or was_moved(stamp, place)
        if place.python.exists() and (place.prefix / "pyvenv.cfg").exists():
            return False
        if any(place.prefix.iterdir()):
            raise SetupError(
                f"{place.prefix} is not a virtual environment that works, and it is not empty.\n"
                "Move it away, or set WORKSHOP_VENV to a folder that does not exist yet."
            )
    elif os.path.lexists(place.prefix):
        raise SetupError(
            f"{place.prefix} is a file; a folder has to be made there. Move it away, or set WORKSHOP_VENV."
        )
    return True


def project() -> dict[str, list[str]]:
    """The requirements of pyproject.toml: those of the package under "", then those of each extra."""
    import tomllib

    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {"": table["dependencies"], **table["optional-dependencies"]}


def fingerprint() -> str:
    """A hash of everything that decides which packages belong into the environment."""
    wanted = json.dumps(project(), sort_keys=True) + (ROOT / "constraints.txt").read_text("utf-8")
    return hashlib.sha256(wanted.encode()).hexdigest()


def models_place() -> str:
    """Where the models are wanted: the stamp holds for one cache only."""
    return os.environ.get("WORKSHOP_CACHE", "")


# --- what can be wrong


def unfit_machine() -> str | None:
    """Why no environment can be made on this machine, or None."""
    machine = platform.machine()
    if sys.maxsize < 2**32:
        return f"This Python has 32 bits, and PyTorch needs 64. Install the 64-bit Python.\n{BINDER}"
    if sysconfig.get_platform() == "win-arm64":
        return "Chroma has no Windows build for ARM. Install the x64 Python, which Windows runs as well."
    if sys.platform == "darwin" and machine == "x86_64":
        asked = subprocess.run(["sysctl", "-n", "sysctl.proc_translated"], capture_output=True, text=True)
        if asked.stdout.strip() == "1":
            return "This Python was made for Intel Macs, and this Mac is not one. Install the Apple silicon Python."
        return f"This is an Intel Mac, and PyTorch is no longer made for those.\n{BINDER}"
    return None


ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"No space left|Errno 28\b|WinError 112|not enough space",
        f"The disk is full. Free some space ({NEEDED_GB:.0f} GB for a first installation).",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError",
        "The connection's certificate is not trusted: usually a company's proxy which reads along. Ask for its\n"
        "certificate (a .pem file) and set PIP_CERT and SSL_CERT_FILE to it.",
    ),
    (
        r"NewConnectionError|NameResolutionError|[Nn]ame resolution|getaddrinfo|Failed to establish|ConnectionError"
        r"|Connection(Reset|Refused)Error|ConnectTimeout|ReadTimeout|Read timed out|ProxyError|Network is unreachable"
        r"|Connection broken|Remote end closed",
        "The packages could not be downloaded. A network is needed this once; afterwards everything runs without.\n"
        "Connect, and behind a proxy set HTTPS_PROXY=http://HOST:PORT (pip honours HTTP_PROXY, HTTPS_PROXY, NO_PROXY).",
    ),
    (
        r"externally-managed-environment",
        "This Python belongs to the system, which does not let packages be installed into it. Leave out --here\n"
        "(and WORKSHOP_VENV=current): the workshop then makes an environment of its own.",
    ),
    (
        r"Permission denied|Errno (1|13)\b|WinError 5\b|Access is denied|Read-only file system",
        "A file or folder may not be written (named above or here: {last}). Close programs that use it; or copy the\n"
        "workshop to a folder of yours; or set WORKSHOP_VENV and WORKSHOP_CACHE to folders of yours.",
    ),
)
NO_WHEEL = r"No matching distribution|ResolutionImpossible|is not a supported wheel"


def explain(said: str) -> str | None:
    """The advice for a failure, from what pip or the system said of it; None when we have none."""
    for pattern, advice in ADVICE:
        found = re.search(f".*({pattern}).*", said)
        if found:
            return f"{advice.format(last=found.group(0).strip())}\n{AGAIN}"
    return None


def require_space(folder: Path, needed: float) -> None:
    """Raise SetupError unless so many GB are free where the folder is or will be."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free < needed:
        raise SetupError(
            f"Only {free:.1f} GB are free in {folder}, and a first installation needs {needed:.0f} GB.\n"
            "Free some space, or set WORKSHOP_VENV (environment) and WORKSHOP_CACHE (models) to folders elsewhere."
        )


# --- the steps


def make_environment(place: Place, stamp: Stamp) -> None:
    """An empty virtual environment, in place of one which was interrupted; the stamp says that it is ours."""
    if not (importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv")):
        package = f"python{stamp.python}-venv"
        raise SetupError(f"This Python cannot make virtual environments. Debian, Ubuntu: sudo apt install {package}")
    if place.prefix == Path(sys.prefix):
        raise SetupError(
            f"{place.prefix} has to be made anew, and this is its own Python. Use another: type 'deactivate' first."
        )
    require_space(place.prefix, NEEDED_GB)
    write_stamp(place, stamp)
    for old in place.prefix.iterdir():
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        elif old != place.stamp:
            old.unlink()
    run(place, [sys.executable, "-I", "-m", "venv", str(place.prefix)])


def needs_cpu_torch(place: Place, empty: bool) -> bool:
    """Whether the default index would bring CUDA to a machine which has no use for it."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return False
    if Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi"):
        return False
    looking = "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)"
    return empty or subprocess.call([str(place.python), "-P", "-c", looking], env=environment(place)) == 1


def install_cpu_torch(place: Place) -> None:
    """torch from PyTorch's own index of CPU builds; where that fails, the next step takes it from the default one."""
    if is_reachable(CPU_INDEX):
        options = ("--no-deps", "--index-url", CPU_INDEX, "--retries", "0", "--timeout", "8")
        with contextlib.suppress(SetupError):
            pip(place, *options, next(pin for pin in pins() if pin.startswith("torch==")), aloud=False)
            return
    print(f"      not available: torch comes from the default index, and may bring CUDA ({CUDA_GB:.0f} GB of disk)")


def is_reachable(url: str) -> bool:
    """Whether a connection to the host, or to the proxy on the way, comes about within `PROBE_SECONDS`."""
    address = urllib.parse.urlsplit(urllib.request.getproxies().get("https") or url)
    answers: list[bool] = []

    def connect() -> None:
        with contextlib.suppress(OSError, ValueError):
            port = address.port or {"http": 80}.get(address.scheme, 443)
            socket.create_connection((address.hostname or "", port), timeout=PROBE_SECONDS).close()
            answers.append(True)

    # a thread, because no time-out holds for the look-up of the name
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return bool(answers)


def install_packages(place: Place, stamp: Stamp) -> None:
    """The project and everything it needs; llama.cpp is left out where it does not exist for the system."""
    if place.own and place.stamp.exists():  # should this be interrupted, the environment is made anew
        write_stamp(place, stamp)
    constraints = ROOT / "constraints.txt"
    if not place.own:
        constraints = ROOT / ".workshop" / "constraints.txt"
        constraints.write_text("".join(f"{pin}\n" for pin in pins_beside_installed()), "utf-8")
    options = ("--only-binary", ":all:", "-c", str(constraints), "-e")
    try:
        pip(place, *options, f"{ROOT}[dev,fast]")
    except NoWheelError:
        print("      once more, without llama.cpp ...", flush=True)
        pip(place, *options, f"{ROOT}[dev]")
        print("      llama.cpp does not exist for this system: everything works without it, answers come slower")
    write_stamp(place, stamp._replace(packages=fingerprint()))


def pins() -> list[str]:
    """The lines of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def pins_beside_installed() -> list[str]:
    """Constraints for an environment that is not ours: `LEFT_ALONE` as they are, the rest changed little.

    Pinned are the packages that are missing and those which pyproject.toml names; a package that is there and is only
    needed by others is left to pip, which keeps it as long as it serves.
    """
    from importlib import metadata

    named = {normalised(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for lines in project().values() for line in lines}
    kept = []
    for pin in pins():
        name = normalised(pin.partition("==")[0])
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            kept.append(pin)
            continue
        if name in LEFT_ALONE:
            kept.append(f"{name}=={installed}")
        elif name in named:
            kept.append(pin)
    return kept


def normalised(name: str) -> str:
    """A package's name in the form in which names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def fetch_models(place: Place, stamp: Stamp) -> None:
    """The models, into the user's cache."""
    if run_quietly(place, "fetch"):
        raise SetupError(f"The packages are in place, the models are not. {AGAIN}")
    write_stamp(place, stamp._replace(packages=fingerprint(), models=models_place()))


# --- processes


def environment(place: Place) -> dict[str, str]:
    """The environment variables for the place: our own must not see packages of elsewhere."""
    if not place.own:
        return dict(os.environ)
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**kept, "PIP_USER": "0"}


def pip(place: Place, *arguments: str, aloud: bool = True) -> None:
    """`pip install` in the place; `aloud` shows its complaints.

    Raises:
        NoWheelError: a package does not exist for this system.
        SetupError: anything else, with the fix.
    """
    base = (str(place.python), "-P", "-m", "pip", "install", "--disable-pip-version-check", "--no-input")
    run(place, [*base, *arguments], aloud)


def run(place: Place, command: list[str], aloud: bool = True) -> None:
    """Run a command, its output shown as it comes, that on stderr only if `aloud`.

    Raises:
        NoWheelError, SetupError: it failed; what it said on stderr gives the advice.
    """
    said: list[str] = []
    # close_fds=False: a child that outlives us keeps the lock of `only_one`
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(place),
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        close_fds=False,
    ) as process:
        try:
            for line in process.stderr or ():
                if aloud:
                    print(line, end="", file=sys.stderr, flush=True)
                said.append(line)
        except BaseException:  # Ctrl-C has reached the child as well, a signal to us alone has not
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2)
            process.kill()
            raise
    if process.returncode == 0:
        return
    text = "".join(said)
    advice = explain(text)
    if advice:
        raise SetupError(advice)
    message = f"This failed, for the reason given above (exit code {process.returncode}):\n    {shlex.join(command)}"
    raise (NoWheelError if re.search(NO_WHEEL, text) else SetupError)(f"{message}\n{AGAIN}")


def run_quietly(place: Place, *arguments: str) -> int:
    """The exit code of a `workshop` command, which explains its failures itself."""
    command = [str(place.python), "-P", "-m", "workshop_utils", *arguments]
    return subprocess.call(command, env=environment(place), close_fds=False)


def hand_over(place: Place, arguments: list[str]) -> int:
    """Become the `workshop` command; on Windows, which cannot, wait for it."""
    if os.name == "nt":
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the command's to answer
        return run_quietly(place, *arguments)
    sys.stdout.flush()
    command = [str(place.python), "-P", "-m", "workshop_utils", *arguments]
    return os.execve(place.python, command, environment(place))


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock file; wait as long as another run, or the pip which it left behind, holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        os.set_inheritable(stream.fileno(), True)
        waiting = False
        while not has_locked(stream.fileno()):
            if not waiting:
                print("Another workshop.py is setting up here: waiting for it (Ctrl-C to leave) ...", flush=True)
            waiting = True
            time.sleep(0.5)
        yield


def has_locked(descriptor: int) -> bool:
    """Try to lock an open file: False while another process has it. A file system without locks counts as locked."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv))
