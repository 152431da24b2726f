"""Confluence's storage format, which is XHTML with elements of its own, as Markdown.

The format: https://confluence.atlassian.com/doc/confluence-storage-format-790796544.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html.entities import html5
from xml.etree.ElementTree import Element

import defusedxml.ElementTree as DefusedTree

AC, RI = "{urn:ac}", "{urn:ri}"
ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*;)")
CDATA = re.compile(r"(<!\[CDATA\[.*?\]\]>)", re.DOTALL)
XML_ENTITIES = {"amp;", "lt;", "gt;", "quot;", "apos;"}
BLOCKS = {
    *("h1", "h2", "h3", "h4", "h5", "h6", "p", "ul", "ol", "table", "blockquote", "pre", "hr", "div"),
    *("section", f"{AC}structured-macro", f"{AC}macro", f"{AC}layout", f"{AC}layout-section", f"{AC}layout-cell"),
    *(f"{AC}rich-text-body", f"{AC}task-list"),
}
MARKS = {"strong": "**", "b": "**", "em": "*", "i": "*", "code": "`"}
# what a reader of the page does not see as text
UNSEEN = {f"{AC}parameter", f"{AC}placeholder", f"{AC}image", f"{AC}task-id", f"{AC}task-status", f"{AC}emoticon"}


@dataclass(frozen=True)
class Page:
    """A page's text and the rows of its page-properties tables, with keys in lower case."""

    markdown: str
    properties: dict[str, str]


def read_storage_format(body: str) -> Page:
    """The text of a page: headings, paragraphs, lists and tables.

    Page properties, images, links' targets and a heading with nothing beneath it at the end are not part of the text.

    Raises:
        ValueError: the body is not well-formed, or declares entities.
    """
    pieces = CDATA.split(body)
    # XML knows five named entities and HTML two thousand; what stands in CDATA is text already
    pieces[::2] = [ENTITY.sub(_character, piece) for piece in pieces[::2]]
    try:
        root = DefusedTree.fromstring(f'<page xmlns:ac="urn:ac" xmlns:ri="urn:ri">{"".join(pieces)}</page>')
    except DefusedTree.ParseError as error:
        raise ValueError(f"the body is no well-formed storage format: {error}") from error
    properties: dict[str, str] = {}
    blocks = _blocks(root, properties)
    while blocks and blocks[-1].startswith("#"):
        blocks.pop()
    return Page("".join(f"{block}\n\n" for block in blocks).rstrip("\n") + "\n" if blocks else "", properties)


def _character(match: re.Match[str]) -> str:
    name = match[1]
    return match[0] if name in XML_ENTITIES else html5.get(name, match[0])


def _blocks(parent: Element, properties: dict[str, str]) -> list[str]:
    """The blocks within an element; text that stands between them is a paragraph of its own."""
    blocks: list[str] = []
    loose = parent.text or ""
    for child in parent:
        if child.tag in BLOCKS:
            blocks += [loose_text] if (loose_text := _tidy(loose)) else []
            loose = ""
            blocks += _block(child, properties)
        else:
            loose += _inline_element(child)
        loose += child.tail or ""
    if loose_text := _tidy(loose):
        blocks.append(loose_text)
    return blocks


def _block(element: Element, properties: dict[str, str]) -> list[str]:
    match element.tag:
        case "h1" | "h2" | "h3" | "h4" | "h5" | "h6":
            text = _text(element)
            return [f"{'#' * int(element.tag[1])} {text}"] if text else []
        case "ul" | "ol" | "{urn:ac}task-list":
            items = _items(element, 0)
            return ["\n".join(items)] if items else []
        case "table":
            return _table(element)
        case "pre":
            return [f"```\n{''.join(element.itertext()).strip()}\n```"]
        case "hr":
            return []
        case "{urn:ac}structured-macro" | "{urn:ac}macro":
            return _macro(element, properties)
        case _:
            return _blocks(element, properties)


def _macro(macro: Element, properties: dict[str, str]) -> list[str]:
    name = macro.get(f"{AC}name", "")
    body = macro.find(f"{AC}rich-text-body")
    if name == "details" and body is not None:
        for row in body.iter("tr"):
            cells = [_text(cell) for cell in row if cell.tag in {"th", "td"}]
            if len(cells) == 2:
                properties.setdefault(cells[0].lower(), cells[1])
        return []
    plain = macro.find(f"{AC}plain-text-body")
    if plain is not None:
        return [f"```\n{(plain.text or '').strip()}\n```"]
    title = [_tidy(p.text or "") for p in macro.iter(f"{AC}parameter") if p.get(f"{AC}name") == "title"][:1]
    shown = [text for text in title if text and (body is not None or name == "status")]
    return [*shown, *(_blocks(body, properties) if body is not None else [])]


def _items(element: Element, depth: int) -> list[str]:
    """Lines of a list, those of lists within it further in."""
    lines: list[str] = []
    for number, item in enumerate((child for child in element if child.tag in {"li", f"{AC}task"}), start=1):
        mark = f"{number}." if element.tag == "ol" else "-"
        inner = [child for child in item.iter() if child.tag in {"ul", "ol", f"{AC}task-list"}]
        text = _text(item, skip=inner)
        if text:
            lines.append(f"{'  ' * depth}{mark} {text}")
        nested = {id(grandchild) for one in inner for grandchild in one.iter() if grandchild is not one}
        for one in inner:
            if id(one) not in nested:
                lines += _items(one, depth + 1)
    return lines


def _table(table: Element) -> list[str]:
    """Rows as ``| a | b |`` under their header; Markdown knows no cell that spans several, so its text is repeated."""
    rows: list[list[str]] = []
    below: dict[int, tuple[int, str]] = {}
    for row in _rows(table):
        cells: list[str] = []
        for cell in (child for child in row if child.tag in {"th", "td"}):
            _from_above(cells, below)
            text = _text(cell).replace("|", "\\|")
            for _ in range(_span(cell, "colspan")):
                if (more := _span(cell, "rowspan") - 1) > 0:
                    below[len(cells)] = (more, text)
                cells.append(text)
        _from_above(cells, below)
        if any(cells):
            rows.append(cells)
    if not rows:
        return []
    width = max(map(len, rows))
    lines = [f"| {' | '.join(row + [''] * (width - len(row)))} |" for row in rows]
    lines.insert(1, f"|{'---|' * width}")
    return ["\n".join(lines)]


def _rows(table: Element) -> Iterable[Element]:
    for child in table:
        if child.tag == "tr":
            yield child
        elif child.tag in {"thead", "tbody", "tfoot"}:
            yield from (row for row in child if row.tag == "tr")


def _from_above(cells: list[str], below: dict[int, tuple[int, str]]) -> None:
    while len(cells) in below:
        left, text = below.pop(len(cells))
        if left > 1:
            below[len(cells)] = (left - 1, text)
        cells.append(text)


def _span(cell: Element, name: str) -> int:
    """How many columns or rows a cell covers; a page cannot ask for so many that it costs memory."""
    value = cell.get(name, "1")
    return min(max(1, int(value)), 100) if value.isascii() and value.isdigit() else 1


def _text(element: Element, skip: Iterable[Element] = ()) -> str:
    """All text within an element on one line, with its marks."""
    return _tidy(_inline(element, {id(one) for one in skip}))


def _inline(element: Element, skip: set[int]) -> str:
    parts = [element.text or ""]
    for child in element:
        if id(child) not in skip:
            parts.append(_inline_element(child, skip))
        parts.append(child.tail or "")
    return "".join(parts)


def _inline_element(element: Element, skip: set[int] | None = None) -> str:
    skip = skip or set()
    if element.tag in UNSEEN:
        return ""
    if element.tag == "br":
        return " "
    if element.tag == "time":
        return element.get("datetime", "")
    if element.tag == f"{AC}link":
        return _link(element)
    inner = _inline(element, skip)
    mark = MARKS.get(element.tag)
    if mark and (core := inner.strip()):
        before, after = inner[: len(inner) - len(inner.lstrip())], inner[len(inner.rstrip()) :]
        return f"{before}{mark}{core}{mark}{after}"
    return f" {inner} " if element.tag in BLOCKS or element.tag in {"li", "tr", "td", "th"} else inner


def _link(link: Element) -> str:
    """The words of a link; one to a page without words shows the page's title, one to a file is no text."""
    for body in (f"{AC}link-body", f"{AC}plain-text-link-body"):
        found = link.find(body)
        if found is not None:
            return _inline(found, set())
    page = link.find(f"{RI}page")
    return "" if page is None else page.get(f"{RI}content-title", "")


def _tidy(text: str) -> str:
    return " ".join(text.split())
