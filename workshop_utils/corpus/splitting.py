"""Cutting documents into passages that are short enough to embed and to read, and that still make sense alone.

LangChain's splitters (lesson 02) cut a long table after any row, and the rows that follow have lost their header.
Half of the company's figures stand in tables, so this one repeats the header with every piece of a table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from langchain_core.documents import Document

TokenCounter = Callable[[str], int]
HEADING = re.compile(r"^(#+)\s+(.*)$")
# no sentence starts with a small letter or a figure, so 'ext. 2463' stays whole
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?![a-z0-9])")
# Thai, Lao, Burmese, Khmer, Japanese, Chinese, Korean: no space says where a word ends
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
WORD = re.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}])\w)+|[^\w\s]")
KEPT_METADATA = ("collection", "title", "date", "status", "acl")


def split_documents(
    documents: Iterable[Document], max_tokens: int = 120, count: TokenCounter | None = None
) -> list[Document]:
    """Passages of the documents, in order.

    Args:
        documents: as ``load_documents`` returns them.
        max_tokens: the most tokens a passage's text may have; only a single longer table row or sentence exceeds it.
        count: tokens in a text; words and punctuation marks when None.

    Returns:
        Documents with id ``HR-01#03``, the text headed by 'title > section', and metadata ``source``, ``section``,
        ``position`` (0 for a document's first passage), ``collection``, ``title``, ``date``, ``status``, ``acl``.
    """
    counter = count or count_words
    passages = []
    for document in documents:
        for position, (section, text) in enumerate(_pieces(document.page_content, max_tokens, counter)):
            heading = " > ".join(filter(None, (document.metadata["title"], section)))
            metadata = {key: document.metadata[key] for key in KEPT_METADATA if key in document.metadata}
            passages.append(
                Document(
                    id=f"{document.id}#{position:02d}",
                    page_content=f"{heading}\n{text}",
                    metadata={**metadata, "source": document.id, "section": section, "position": position},
                )
            )
    return passages


def count_words(text: str) -> int:
    """A model-free estimate of tokens: words and punctuation marks, single letters where words have no spaces."""
    return len(WORD.findall(text))


def _pieces(markdown: str, max_tokens: int, count: TokenCounter) -> Iterator[tuple[str, str]]:
    """(section, text) pairs; blocks of one section are joined while they fit."""
    for section, blocks in _sections(markdown):
        current = ""
        for block in blocks:
            for part in _shorten(block, max_tokens, count):
                joined = f"{current}\n\n{part}" if current else part
                if current and count(joined) > max_tokens:
                    yield section, current
                    current = part
                else:
                    current = joined
        if current:
            yield section, current


def _sections(markdown: str) -> Iterator[tuple[str, list[str]]]:
    """(headings, blocks) pairs; a block is a paragraph, a list or a table. The document's own title is left out."""
    section, blocks = "", list[str]()
    above: dict[int, str] = {}
    for number, block in enumerate(re.split(r"\n\s*\n", markdown.strip())):
        match = HEADING.match(block)
        if match is None:
            blocks.append(block)
            continue
        if blocks:
            yield section, blocks
        level = len(match[1])
        if number or level > 1:
            above = {other: title for other, title in above.items() if other < level} | {level: match[2].strip()}
        section, blocks = " > ".join(above.values()), []
        if "\n" in block:
            blocks.append(block.split("\n", 1)[1])
    if blocks:
        yield section, blocks


def _shorten(block: str, max_tokens: int, count: TokenCounter) -> Iterator[str]:
    """The block itself, or pieces of it: rows of a table under its header, items of a list, sentences."""
    if count(block) <= max_tokens:
        yield block
        return
    lines = block.split("\n")
    if block.startswith("|"):
        head, units, glue = "\n".join(lines[:2]) + "\n", lines[2:], "\n"
    elif len(lines) > 1:
        head, units, glue = "", [part for line in lines for part in _shorten(line, max_tokens, count)], "\n"
    else:
        head, units, glue = "", SENTENCE_END.split(block), " "
    current = ""
    for unit in units:
        joined = f"{current}{glue}{unit}" if current else unit
        if current and count(head + joined) > max_tokens:
            yield head + current
            current = unit
        else:
            current = joined
    yield head + current
