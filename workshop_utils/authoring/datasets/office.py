"""Documents as office files: docx, pdf, pptx and xlsx, the same bytes each time."""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from langchain_core.documents import Document

from workshop_utils.authoring.datasets.blocks import Block, parse_blocks, plain

if TYPE_CHECKING:
    from fpdf import FPDF

SLIDE_WORDS = 95
PDF_MARKDOWN = {"strong": "**", "em": "__"}


def docx_file(document: Document) -> bytes:
    """The document as Word writes it."""
    import docx

    word = docx.Document()
    # the template's paper is Letter; Clairval's is A4
    word.sections[0].page_width, word.sections[0].page_height = docx.shared.Mm(210), docx.shared.Mm(297)
    word.core_properties.author = document.metadata["owner"]
    word.core_properties.title = document.metadata["title"]
    word.add_paragraph(_imprint(document))
    for block in parse_blocks(document.page_content):
        match block.kind:
            case "heading":
                word.add_heading(plain(block.text), block.level)
            case "table":
                table = word.add_table(len(block.rows), len(block.rows[0]), style="Light Grid Accent 1")
                for cells, row in zip(table.rows, block.rows, strict=True):
                    for cell, text in zip(cells.cells, row, strict=True):
                        cell.text = plain(text)
            case _:
                style = {"list": "List Bullet", "numbered": "List Number"}.get(block.kind)
                for (text,) in block.rows:
                    paragraph = word.add_paragraph(style=style)
                    for run in text:
                        paragraph.add_run(run.text).bold = run.style == "strong"
    return _saved(word.save, document)


def pdf_file(document: Document) -> bytes:
    """The document as a PDF with a text layer."""
    from fpdf import FPDF

    pdf = FPDF(format="A4")
    pdf.set_compression(False)
    pdf.set_creation_date(_moment(document))
    pdf.set_title(document.metadata["title"])
    pdf.set_author(document.metadata["owner"])
    pdf.add_page()

    def write(text: str, size: float = 10.5, bold: bool = False, markdown: bool = False) -> None:
        pdf.set_font("Helvetica", style="B" if bold else "", size=size)
        pdf.multi_cell(0, size * 0.5, text, markdown=markdown, align="L", new_x="LMARGIN", new_y="NEXT")
        pdf.ln(2)

    write(_imprint(document), size=8)
    for block in parse_blocks(document.page_content):
        match block.kind:
            case "heading":
                write(plain(block.text), size=18 - 2 * block.level, bold=True)
            case "table":
                rows = [[plain(cell) for cell in row] for row in block.rows]
                with pdf.table(rows, col_widths=_fit(pdf, rows), text_align="LEFT", line_height=5):
                    pass
                pdf.ln(3)
            case _:
                for number, (text,) in enumerate(block.rows, start=1):
                    mark = {"list": "- ", "numbered": f"{number}. "}.get(block.kind, "")
                    words = "".join(
                        f"{PDF_MARKDOWN.get(run.style, '')}{run.text}{PDF_MARKDOWN.get(run.style, '')}" for run in text
                    )
                    write(mark + words, markdown=True)
    return bytes(pdf.output())


def _fit(pdf: FPDF, rows: Sequence[Sequence[str]]) -> tuple[float, ...]:
    """Column widths, with a font small enough that no cell wraps: wrapped cells come out of a PDF interleaved."""
    for size in (9.0, 8.0, 7.0, 6.5, 6.0):
        pdf.set_font("Helvetica", style="B", size=size)
        widths = tuple(max(map(pdf.get_string_width, column)) + 3 for column in zip(*rows, strict=True))
        pdf.set_font("Helvetica", size=size)
        if sum(widths) <= pdf.epw:
            break
    return widths


def pptx_file(document: Document) -> bytes:
    """The document as slides: one for each section, more where it is long."""
    from pptx import Presentation
    from pptx.util import Mm, Pt

    deck = Presentation()
    deck.core_properties.author = document.metadata["owner"]
    deck.core_properties.title = document.metadata["title"]
    first = deck.slides.add_slide(deck.slide_layouts[0])
    first.shapes.title.text = document.metadata["title"]
    first.placeholders[1].text = _imprint(document)
    for title, blocks in _slides(parse_blocks(document.page_content)[1:], document.metadata["title"]):
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        slide.shapes.title.text = title
        if blocks[0].kind == "table":
            rows = blocks[0].rows
            shape = slide.shapes.add_table(len(rows), len(rows[0]), Mm(15), Mm(45), Mm(225), Mm(8 * len(rows)))
            for y, row in enumerate(rows):
                for x, text in enumerate(row):
                    shape.table.cell(y, x).text = plain(text)
            continue
        frame = slide.shapes.add_textbox(Mm(15), Mm(42), Mm(225), Mm(130)).text_frame
        frame.word_wrap = True
        for block in blocks:
            for (text,) in block.rows:
                paragraph = frame.add_paragraph()
                paragraph.text = plain(text)
                paragraph.font.size = Pt(16)
    return _saved(deck.save, document)


def xlsx_file(document: Document) -> bytes:
    """The document as a workbook: one sheet for each section, text above its tables."""
    sheets: dict[str, list[list[str]]] = {}
    title = "Read me"
    for block in parse_blocks(document.page_content):
        if block.kind == "heading":
            title = plain(block.text) if block.level > 1 else title
            rows = sheets.setdefault(_sheet_name(title), [])
            if block.level == 1:
                rows += [[plain(block.text)], [_imprint(document)]]
            continue
        sheets.setdefault(_sheet_name(title), []).extend([plain(cell) for cell in row] for row in block.rows)
    return _workbook({name: rows for name, rows in sheets.items() if rows}, document)


def table_file(rows: Sequence[Sequence[str]], document: Document) -> bytes:
    """One table of the document as a workbook."""
    return _workbook({str(document.id): rows}, document)


def _workbook(sheets: Mapping[str, Sequence[Sequence[str]]], document: Document) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    book.properties.creator = document.metadata["owner"]
    book.properties.title = document.metadata["title"]
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    return _saved(book.save, document)


def _steady(content: bytes, document: Document) -> bytes:
    """An office file without the time of its making: its date is the document's."""
    stamp = _moment(document)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            part = old.read(name)
            if name == "docProps/core.xml":
                date = stamp.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
                part = re.sub(rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*", rb"\g<1>" + date, part)
            new.writestr(zipfile.ZipInfo(name, stamp.timetuple()[:6]), part, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _saved(save: Callable[[io.BytesIO], None], document: Document) -> bytes:
    stream = io.BytesIO()
    save(stream)
    return _steady(stream.getvalue(), document)


def _moment(document: Document) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{document.metadata['date']}T09:00:00+00:00")


def _imprint(document: Document) -> str:
    metadata = document.metadata
    return f"{document.id}, version {metadata['version']}, {metadata['date']}, {metadata['owner']}"


def _sheet_name(title: str) -> str:
    """Excel allows 31 characters and none of these marks."""
    return re.sub(r"[\[\]:*?/\\]", " ", title)[:31].strip()


def _slides(blocks: Sequence[Block], title: str) -> list[tuple[str, list[Block]]]:
    """(title, blocks) of each slide; a table has a slide of its own."""
    slides: list[tuple[str, list[Block]]] = []
    words = 0
    for block in blocks:
        if block.kind == "heading":
            title, words = plain(block.text), SLIDE_WORDS
            continue
        length = sum(len(plain(cell).split()) for row in block.rows for cell in row)
        if not slides or block.kind == "table" or slides[-1][1][0].kind == "table" or words + length > SLIDE_WORDS:
            slides.append((title, []))
            words = 0
        slides[-1][1].append(block)
        words += length
    return slides
