"""Office files and PDFs as Markdown."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from functools import cache
from pathlib import PurePosixPath
from typing import Any

OFFICE = {".docx", ".pptx", ".xlsx"}
SUFFIXES = OFFICE | {".pdf", ".md", ".txt"}
MAX_UNPACKED = 200_000_000
SLIDE = re.compile(r"<!-- Slide number: \d+ -->\n?")


def is_readable(name: str) -> bool:
    """Whether a file of this name is of a kind that can be read."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def file_to_markdown(name: str, content: bytes, title: str) -> str:
    """The text of a file, beginning with a heading.

    Args:
        name: decides by its ending how the file is read.
        title: the heading of a file that has none of its own.

    Raises:
        ValueError: the file is damaged, not what its name says, too large when unpacked, or holds no text.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in OFFICE:
        _check_archive(content)
    try:
        text = _READERS.get(suffix, _document)(content, suffix)
    except Exception as error:  # the parsers below raise whatever comes to their mind
        raise ValueError(f"it cannot be read as {suffix[1:]} ({type(error).__name__}: {str(error)[:200]})") from error
    blocks = [block.strip("\n") for block in re.split(r"\n\s*\n", text.replace("\x0c", "\n\n")) if block.strip()]
    if not blocks:
        raise ValueError("it holds no text; a scan needs to be read by a program for that first")
    heading = next((number for number, block in enumerate(blocks) if block.startswith("# ")), None)
    # what stands above a file's title, such as its number and owner, belongs below it
    blocks.insert(0, f"# {title}" if heading is None else blocks.pop(heading))
    return "\n\n".join(blocks) + "\n"


def _check_archive(content: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(part.file_size for part in archive.infolist()) > MAX_UNPACKED:
                raise ValueError(f"it unpacks to more than {MAX_UNPACKED // 1_000_000} MB")
            for part in archive.namelist():
                if part.lower().endswith((".xml", ".rels")) and _declares_types(archive.read(part)):
                    raise ValueError("its XML declares a document type, which no office program does")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"it is no office file, or damaged or encrypted ({error})") from error


def _declares_types(part: bytes) -> bool:
    return any("<!DOCTYPE".encode(encoding) in part for encoding in ("ascii", "utf-16-le", "utf-16-be"))


def _plain(content: bytes, _: str) -> str:
    return content.decode("utf-8-sig")


def _document(content: bytes, suffix: str) -> str:
    """What markitdown makes of it, its tables with their first row as header."""
    converter, kind = _converters()[suffix]
    text = str(converter.convert(io.BytesIO(content), kind).markdown)
    return re.sub(r"^\|(?:\s*\|)+\n(\|[ :|-]+\|)\n(\|.*\|)$", r"\2\n\1", text, flags=re.MULTILINE)


def _pdf(content: bytes, suffix: str) -> str:
    """The lines of a paragraph joined: a PDF breaks them where the page ends."""
    blocks = re.split(r"\n\s*\n", _document(content, suffix).replace("\x0c", "\n\n"))
    return "\n\n".join(block if block.startswith("|") else " ".join(block.split()) for block in blocks)


def _slides(content: bytes, suffix: str) -> str:
    """Slides as sections; one that has the title of that before goes on with it."""
    lines: list[str] = []
    latest = None
    for line in SLIDE.sub("\n", _document(content, suffix)).split("\n"):
        if line.startswith("# "):
            if line != latest:
                lines += ["", line if latest is None else f"#{line}", ""]
            latest = line
        else:
            if line.startswith("|") and lines and lines[-1] and not lines[-1].startswith("|"):
                lines.append("")
            lines.append(line)
    return "\n".join(lines)


def _workbook(content: bytes, _: str) -> str:
    """Sheets as sections: a row of one cell is a paragraph, other rows are tables.

    markitdown reads workbooks through pandas, which makes 20.0 of 20 and NaN of a blank.
    """
    import openpyxl

    with warnings.catch_warnings(action="ignore"):  # about styles that are not read
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    lines: list[str] = []
    for sheet in book.worksheets:
        lines += ["", f"## {sheet.title}", ""]
        inside = False
        for row in sheet.iter_rows(values_only=True):
            cells = ["" if value is None else " ".join(str(value).split()) for value in row]
            filled = [cell for cell in cells if cell]
            if len(filled) > 1:
                lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
                lines += [] if inside else [f"|{'---|' * len(cells)}"]
                inside = True
            else:
                lines += ["", *filled, ""] if filled else [""]
                inside = False
    return "\n".join(lines)


@cache
def _converters() -> dict[str, Any]:
    """markitdown's converters by ending. ``MarkItDown`` itself would guess, and read a damaged file as plain text."""
    with warnings.catch_warnings(action="ignore"):  # of its dependencies
        from markitdown import StreamInfo, converters

        kinds: dict[str, Any] = {
            ".docx": converters.DocxConverter,
            ".pdf": converters.PdfConverter,
            ".pptx": converters.PptxConverter,
        }
        return {suffix: (kind(), StreamInfo(extension=suffix)) for suffix, kind in kinds.items()}


_READERS = {".pdf": _pdf, ".pptx": _slides, ".xlsx": _workbook, ".md": _plain, ".txt": _plain}
