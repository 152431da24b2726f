"""What a learner has done: a small local JSON file. Nothing leaves the machine."""

import contextlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Record:
    """Exercises passed, in order, and how many hints of each were opened."""

    passed: list[str] = field(default_factory=list)
    hints: dict[str, int] = field(default_factory=dict)


# under test, and where no file can be written, the record lives as long as the kernel
_in_session = Record()


def file() -> Path:
    from workshop_utils.models.store import cache_dir

    return cache_dir() / "progress.json"


def load() -> Record:
    """The record on disk. A broken file is set aside as progress.broken-N.json, and a new record begun."""
    if _under_test():
        return _in_session
    try:
        return _parse(file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _in_session
    except (ValueError, TypeError, KeyError):
        _set_aside(file())
        return _in_session
    except OSError:
        return _in_session


def mark_passed(name: str) -> None:
    record = load()
    if name not in record.passed:
        record.passed.append(name)
        _save(record)


def open_hint(name: str, total: int) -> int:
    """Open one more hint of an exercise that has `total`; returns how many are open now."""
    record = load()
    record.hints[name] = min(record.hints.get(name, 0) + 1, total)
    _save(record)
    return record.hints[name]


def _under_test() -> bool:
    return os.environ.get("WORKSHOP_TEST") == "1"


def _parse(text: str) -> Record:
    data: Any = json.loads(text)
    passed, hints = data["passed"], data["hints"]
    sound = (
        isinstance(passed, list)
        and isinstance(hints, dict)
        and all(isinstance(name, str) for name in passed)
        and all(type(n) is int and n >= 0 for n in hints.values())
    )
    if not sound:
        raise ValueError("not a progress file")
    return Record(list(passed), dict(hints))


def _set_aside(broken: Path) -> None:
    n = 1
    while (aside := broken.with_name(f"{broken.stem}.broken-{n}{broken.suffix}")).exists():
        n += 1
    with contextlib.suppress(OSError):
        broken.replace(aside)


def _save(record: Record) -> None:
    """Write the whole file or nothing. A check never fails because a record cannot be kept."""
    global _in_session
    _in_session = record
    if _under_test():
        return
    target = file()
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".progress-", text=True)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(asdict(record), stream, indent=1)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
