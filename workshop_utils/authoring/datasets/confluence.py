"""Documents as a Confluence space holds them: pages in storage format, labels, restrictions, attachments.

Storage format is XHTML with Confluence's own ``ac:`` and ``ri:`` elements:
https://confluence.atlassian.com/doc/confluence-storage-format-790796544.html
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from workshop_utils.authoring.datasets.blocks import Block, Text, parse_blocks, plain
from workshop_utils.authoring.datasets.office import table_file
from workshop_utils.corpus.documents import EVERYONE

SPACE = {"key": "CLV", "name": "Clairval handbook"}
COLLECTIONS = ("hr-policies", "it-faq", "support-articles")
REFERENCE = re.compile(r"\b(?:(?:HR|IT|PM|RA)-\d{2}(?:v\d+)?|KB-\d{3}|CB-\d{4}-\d{2})\b")
TAGS = {"strong": "strong", "em": "em", "code": "code"}
# tables of this many rows are also kept as a workbook for people who want to sort them
ATTACHED_ROWS = 5


def write_space(folder: Path, documents: Sequence[Document], titles: Mapping[str, str]) -> None:
    """Write the pages of these documents: ``space.json``, ``pages/<page id>.xhtml`` and ``attachments/<page id>/``.

    Args:
        titles: document id -> title, of every document that a page may link to.
    """
    (folder / "pages").mkdir(parents=True, exist_ok=True)
    pages = []
    for document in documents:
        identity = page_id(str(document.id))
        blocks = parse_blocks(document.page_content)
        tables = {f"{document.id}-table-{n}.xlsx": block for n, block in enumerate(_long_tables(blocks), start=1)}
        (folder / "pages" / f"{identity}.xhtml").write_text(
            storage_format(document, blocks, titles, list(tables)), "utf-8"
        )
        for name, block in tables.items():
            path = folder / "attachments" / str(identity) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_workbook(document, block))
        pages.append(_page(document, identity, list(tables)))
    space = {"space": SPACE, "pages": pages}
    (folder / "space.json").write_text(json.dumps(space, indent=1, ensure_ascii=False) + "\n", "utf-8")


def page_id(document: str) -> int:
    """The number by which Confluence knows the page: the same one for every version."""
    return 10_000_000 + zlib.crc32(document.encode()) % 90_000_000


def storage_format(
    document: Document, blocks: Sequence[Block], titles: Mapping[str, str], attachments: Sequence[str] = ()
) -> str:
    """The body of a page. The page's own title is not part of it; the front matter is a page-properties table."""
    parts = [_properties(document)]
    if document.metadata["status"] == "superseded":
        successor = _link(document.metadata["superseded_by"], titles)
        parts.append(_macro("warning", f"<p>This version is no longer valid. It was replaced by {successor}.</p>"))
    parts += [_block(block, titles) for block in blocks[1:]]
    if attachments:
        items = "".join(
            f'<li><p><ac:link><ri:attachment ri:filename="{escape(name)}" /></ac:link></p></li>' for name in attachments
        )
        parts += ["<h2>Attachments</h2>", f"<ul>{items}</ul>"]
    return "\n".join(parts) + "\n"


def _page(document: Document, identity: int, attachments: list[str]) -> dict[str, Any]:
    metadata = document.metadata
    return {
        "id": str(identity),
        "document": document.id,
        "title": f"{document.id} {metadata['title']}",
        "parent": metadata["collection"],
        "version": int(metadata["version"]),
        "when": f"{metadata['date']}T09:00:00.000Z",
        "labels": [metadata["collection"], metadata["status"], metadata["family"]],
        "read_groups": [] if EVERYONE in metadata["acl"] else metadata["acl"],
        "attachments": attachments,
    }


def _properties(document: Document) -> str:
    metadata = document.metadata
    rows = {
        "Document": document.id,
        "Version": metadata["version"],
        "Date": metadata["date"],
        "Status": metadata["status"],
        "Superseded by": metadata["superseded_by"],
        "Owner": metadata["owner"],
        "Family": metadata["family"],
    }
    cells = "".join(
        f"<tr><th><p>{key}</p></th><td><p>{escape(value)}</p></td></tr>" for key, value in rows.items() if value
    )
    return _macro("details", f"<table><tbody>{cells}</tbody></table>")


def _macro(name: str, body: str) -> str:
    return (
        f'<ac:structured-macro ac:name="{name}" ac:schema-version="1">'
        f"<ac:rich-text-body>{body}</ac:rich-text-body></ac:structured-macro>"
    )


def _block(block: Block, titles: Mapping[str, str]) -> str:
    match block.kind:
        case "heading":
            return f"<h{block.level}>{_inline(block.text, titles)}</h{block.level}>"
        case "paragraph":
            return f"<p>{_inline(block.text, titles)}</p>"
        case "table":
            rows = []
            for number, row in enumerate(block.rows):
                tag = "td" if number else "th"
                rows.append(
                    "<tr>" + "".join(f"<{tag}><p>{_inline(cell, titles)}</p></{tag}>" for cell in row) + "</tr>"
                )
            return f"<table><tbody>{''.join(rows)}</tbody></table>"
        case _:
            tag = "ol" if block.kind == "numbered" else "ul"
            items = "".join(f"<li><p>{_inline(row[0], titles)}</p></li>" for row in block.rows)
            return f"<{tag}>{items}</{tag}>"


def _inline(text: Text, titles: Mapping[str, str]) -> str:
    parts = []
    for run in text:
        # every second piece is a reference
        pieces = REFERENCE.split(run.text)
        links = [_link(found, titles) for found in REFERENCE.findall(run.text)]
        content = escape(pieces[0], quote=False) + "".join(
            link + escape(piece, quote=False) for link, piece in zip(links, pieces[1:], strict=True)
        )
        tag = TAGS.get(run.style)
        parts.append(f"<{tag}>{content}</{tag}>" if tag else content)
    return "".join(parts)


def _link(document: str, titles: Mapping[str, str]) -> str:
    if document not in titles:
        return document
    title = escape(f"{document} {titles[document]}")
    return (
        f'<ac:link><ri:page ri:content-title="{title}" />'
        f"<ac:plain-text-link-body><![CDATA[{document}]]></ac:plain-text-link-body></ac:link>"
    )


def _long_tables(blocks: Sequence[Block]) -> list[Block]:
    return [block for block in blocks if block.kind == "table" and len(block.rows) > ATTACHED_ROWS]


def _workbook(document: Document, table: Block) -> bytes:
    return table_file([[plain(cell) for cell in row] for row in table.rows], document)
