"""Confluence's storage format as Markdown."""

from __future__ import annotations

import pytest

from workshop_utils.corpus.connectors.storage_format import read_storage_format


def markdown(body: str) -> str:
    return read_storage_format(body).markdown.rstrip("\n")


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("<h2>A <em>b</em></h2><p>c</p>", "## A *b*\n\nc"),
        ("<p>a <strong> b </strong>c<code>d</code></p>", "a **b** c`d`"),
        ("<p>a<br/>b</p>", "a b"),
        ("loose <strong>text</strong><p>a</p> more", "loose **text**\n\na\n\nmore"),
        ("<p>x&nbsp;y &eacute; &amp; &lt;z&gt; &#8364; &rsquo;</p>", "x y é & <z> € ’"),  # noqa: RUF001
        ("<ul><li>a</li><li><p>b</p><ul><li>c</li></ul></li></ul>", "- a\n- b\n  - c"),
        ("<ol><li>a<ol><li>b<ul><li>c</li></ul></li></ol></li><li>d</li></ol>", "1. a\n  1. b\n    - c\n2. d"),
        ("<ul></ul><p></p><h1></h1><p>a</p>", "a"),
        ("<p>a</p><h2>Nothing beneath</h2><h3>Nor here</h3>", "a"),
        ("<blockquote><p>a</p></blockquote><hr/><div><p>b</p></div>", "a\n\nb"),
        ("<pre>a\n  b</pre>", "```\na\n  b\n```"),
        ("<p><a href='http://x'>y</a> <u>z</u></p>", "y z"),
        ('<p><time datetime="2025-01-15" /></p>', "2025-01-15"),
        (
            "<ac:layout><ac:layout-section><ac:layout-cell><p>a</p></ac:layout-cell></ac:layout-section></ac:layout>",
            "a",
        ),
        ("<p>a <ac:image><ri:attachment ri:filename='x.png'/></ac:image>b</p>", "a b"),
        ("<!-- not shown --><p>a</p>", "a"),
        ("", ""),
    ],
)
def test_elements(body: str, wanted: str) -> None:
    assert markdown(body) == wanted


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ('<ri:page ri:content-title="HR-01 Leave" />', "HR-01 Leave"),
        (
            '<ri:page ri:content-title="X" /><ac:plain-text-link-body><![CDATA[a & b]]></ac:plain-text-link-body>',
            "a & b",
        ),
        ("<ri:user ri:account-id='x' /><ac:link-body>a <b>c</b></ac:link-body>", "a **c**"),
        ('<ri:attachment ri:filename="a.xlsx" />', ""),
    ],
)
def test_links(body: str, wanted: str) -> None:
    assert markdown(f"<p><ac:link>{body}</ac:link></p>") == wanted


def macro(name: str, inside: str) -> str:
    return f'<ac:structured-macro ac:name="{name}">{inside}</ac:structured-macro>'


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (macro("info", "<ac:rich-text-body><p>a</p></ac:rich-text-body>"), "a"),
        (
            macro("expand", '<ac:parameter ac:name="title">T</ac:parameter><ac:rich-text-body>a</ac:rich-text-body>'),
            "T\n\na",
        ),
        (macro("code", "<ac:plain-text-body><![CDATA[a &nbsp; <b>]]></ac:plain-text-body>"), "```\na &nbsp; <b>\n```"),
        (macro("toc", '<ac:parameter ac:name="maxLevel">3</ac:parameter>'), ""),
        (macro("status", '<ac:parameter ac:name="title">Draft</ac:parameter>'), "Draft"),
    ],
)
def test_macros(body: str, wanted: str) -> None:
    assert markdown(body) == wanted


def test_page_properties_are_no_text() -> None:
    rows = "<tr><th>Owner</th><td><p>People <em>team</em></p></td></tr><tr><td>alone</td></tr>"
    body = macro("details", f"<ac:rich-text-body><table><tbody>{rows}</tbody></table></ac:rich-text-body>")
    page = read_storage_format(f"{body}<p>a</p>")
    assert page.markdown == "a\n"
    assert page.properties == {"owner": "People *team*"}


def test_tables() -> None:
    body = (
        "<table><colgroup><col/></colgroup><thead><tr><th>a</th><th>b|c</th></tr></thead>"
        "<tbody><tr><td colspan='2'>d</td></tr><tr><td rowspan='2'><p>e</p><p>f</p></td><td>g</td></tr>"
        "<tr><td>h</td></tr><tr><td>i</td></tr></tbody></table>"
    )
    assert markdown(body).split("\n") == [
        "| a | b\\|c |",
        "|---|---|",
        "| d | d |",
        "| e f | g |",
        "| e f | h |",
        "| i |  |",
    ]
    assert markdown("<table></table>") == ""


@pytest.mark.parametrize("span", ["99999", "-1", "x", "", "²"])
def test_a_cell_cannot_ask_for_much_memory(span: str) -> None:
    assert len(markdown(f"<table><tr><td colspan='{span}' rowspan='{span}'>a</td></tr></table>")) < 2000


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "body",
    [
        "<p>not closed",
        "</page><page>",
        f"{BOMB}<p>&b;</p>",
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        "<p>&undefined;</p>",
        "<p>\x00</p>",
        "<x:y/>",
    ],
)
def test_what_is_not_storage_format_is_refused(body: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_storage_format(body)


def test_entities_of_the_document_itself_are_not_expanded() -> None:
    from defusedxml import ElementTree, EntitiesForbidden

    with pytest.raises(EntitiesForbidden):
        ElementTree.fromstring(f"{BOMB}<p>&b;</p>")


def test_elements_within_elements_without_end_are_an_error() -> None:
    depth = 100_000
    with pytest.raises((RecursionError, ValueError)):
        read_storage_format("<div>" * depth + "</div>" * depth)
