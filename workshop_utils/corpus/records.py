"""JSONL files: one record a line, and errors that name file and line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from workshop_utils.corpus.documents import CorpusError

Record = TypeVar("Record")


def read_records(path: Path, parse: Callable[[dict[str, Any]], Record]) -> list[Record]:
    """The parsed records of a file, in order.

    Args:
        parse: makes a record of a line's object; raises ValueError, KeyError or TypeError for what is none.

    Raises:
        CorpusError: the file is not there, or a line is not such a record; the message names file and line.
    """
    if not path.exists():
        raise CorpusError(f"{path} is not there.")
    records = []
    # lines of bytes: those of text also end at U+2028 and other marks that may stand inside a JSON text
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            records.append(parse(json.loads(line)))
        except KeyError as error:
            raise CorpusError(f"{path.name}, line {number}: the field {error} is missing") from error
        except (ValueError, TypeError) as error:
            raise CorpusError(f"{path.name}, line {number}: {error}") from error
    return records
