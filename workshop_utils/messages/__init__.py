"""Every string that a learner sees in checks, hints and widgets: one folder of TOML files a language.

`WORKSHOP_LANG` chooses the language; a message it does not have is taken from English.
"""

import difflib
import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
FALLBACK = "en"


class UnknownMessageError(LookupError):
    """A key that no catalogue has."""


class CatalogueError(ValueError):
    """A catalogue file that cannot be used."""


def say(key: str, **values: object) -> str:
    """The message under `key` ('exercises.top_k.wrong.ascending') with its {fields} filled from `values`.

    Raises UnknownMessageError for a key that is not there, CatalogueError for a field without a value.
    """
    text = _catalogue(language()).get(key)
    if text is None:
        close = difflib.get_close_matches(key, _catalogue(FALLBACK), n=1)
        guess = f"; did you mean {close[0]!r}?" if close else ""
        raise UnknownMessageError(f"no message {key!r} in {FOLDER.name}/{FALLBACK}{guess}")
    try:
        return text.format(**values)
    except (KeyError, IndexError, ValueError) as error:
        raise CatalogueError(f"message {key!r} cannot be filled from {sorted(values)}: {error!r}") from error


def keys(prefix: str = "") -> tuple[str, ...]:
    """All keys at or under `prefix`, in the order of the files."""
    return tuple(k for k in _catalogue(FALLBACK) if not prefix or k == prefix or k.startswith(f"{prefix}."))


def language() -> str:
    """The folder of messages in use: `WORKSHOP_LANG` where there is one for it, else English."""
    wanted = os.environ.get("WORKSHOP_LANG", FALLBACK).lower().partition("_")[0].partition("-")[0]
    return wanted if wanted in languages() else FALLBACK


def languages() -> tuple[str, ...]:
    return tuple(sorted(folder.name for folder in FOLDER.iterdir() if any(folder.glob("*.toml"))))


@cache
def _catalogue(lang: str) -> dict[str, str]:
    messages = read(FOLDER / lang)
    return messages if lang == FALLBACK else read(FOLDER / FALLBACK) | messages


def read(folder: Path) -> dict[str, str]:
    """All TOML files of a folder as one flat catalogue; the items of a list are numbered from 1.

    Raises CatalogueError, naming the file, for a file that does not parse, a value that is not text, a key given twice.
    """
    messages: dict[str, str] = {}
    for file in sorted(folder.glob("*.toml")):
        try:
            entries = dict(_flatten(tomllib.loads(file.read_text(encoding="utf-8"))))
        except (tomllib.TOMLDecodeError, TypeError) as error:
            raise CatalogueError(f"{file.name}: {error}") from error
        if twice := entries.keys() & messages.keys():
            raise CatalogueError(f"{file.name}: {', '.join(sorted(twice))} is also in another file")
        messages |= entries
    return messages


def _flatten(value: Any, key: str = "") -> list[tuple[str, str]]:
    match value:
        case str():
            return [(key, value)]
        case dict():
            children = list(value.items())
        case list():
            children = [(str(n), item) for n, item in enumerate(value, start=1)]
        case _:
            raise TypeError(f"{key} is not text: {value!r}")
    return [entry for name, child in children for entry in _flatten(child, f"{key}.{name}" if key else name)]
