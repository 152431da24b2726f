"""What may be retrieved and what may leave: checks in code around a model that can be talked into anything.

A document is written by somebody, and a model that reads it may take what it says for an order ('indirect prompt
injection', Greshake et al., 2023, arXiv:2302.12173). No instruction in a prompt forbids that reliably. So passages are
screened before they enter the index, and answers are checked before they leave. The patterns are a sieve with holes;
what an answer may contain at all is the firmer check. Against a false fact in plain words neither helps: who may write
a document is decided at its source.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from langchain_core.documents import Document

from workshop_utils.corpus.questions import NO_ANSWER
from workshop_utils.rag.answer import CITATION, parse_citations

REFUSAL = f"{NO_ANSWER} (an answer was held back)"
REMOVED = "(removed)"

# what a human reader of the page would not see, or what only a program acts on
HIDDEN = {
    "HTML comment": re.compile(r"<!--.*?(?:-->|\Z)", re.S),
    "hidden element": re.compile(
        r"<(\w+)\b[^>]*(?:display:\s*none|visibility:\s*hidden|font-size:\s*0|opacity:\s*0|color:\s*(?:white|#fff)"
        r"|\shidden\b)[^>]*>.*?</\1>",
        re.S | re.I,
    ),
    "image": re.compile(r"!\[[^\]]*\]\([^)]*\)|<img\b[^>]*>", re.I),
}
CONTROL_TOKEN = re.compile(r"<\|[^|<>\n]{1,40}\|>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>", re.I)

MACHINE = r"(?:assistants?|chat ?bots?|bots?|language models?|llms?|ai|a\.i\.|copilots?|search assistants?)"
SAY = r"(?:answer|reply|respond|say|tell|state|print|output|write|repeat|give|add|append|end|begin|start|quote)"
# matched on lower-case text with single spaces; line ends are kept
PATTERNS = {
    "override of instructions": re.compile(
        r"\b(?:ignore|disregard|forget|override|bypass|discard)\b[^.\n]{0,40}"
        r"\b(?:instructions?|prompts?|system message|told|everything above|passages?|sources?)\b"
    ),
    "order to the assistant": re.compile(
        rf"\b{MACHINE}\b[^.\n]{{0,60}}\b(?:must|should|shall|have to|has to|need to|are to|is to|will|{SAY})\b"
        rf"|\b(?:dear|attention|(?:note|instructions?) (?:to|for)(?: the| all| any)?) {MACHINE}\b"
    ),
    "fake turn": re.compile(
        r"(?:^|\n)[\s#*>|]*(?:system|assistant|user|human|ai)(?: message| prompt| note)?\s*:", re.M
    ),
    "role play": re.compile(
        r"\b(?:you are now|act as|pretend (?:to be|that you|you)|from now on,? you|imagine (?:that )?you are"
        r"|play the (?:part|role) of)\b"
    ),
    "dictated answer": re.compile(
        r"\b(?:answer|reply|respond|output)s?\b[^.\n]{0,50}"
        r"\b(?:only|exactly|instead|the following|verbatim|word for word|nothing else|code ?word|phrase)\b"
    ),
    "talk about the prompt": re.compile(
        r"\b(?:system prompt|your (?:instructions|prompt|guidelines|rules)|hidden instructions|this conversation"
        r"|(?:to|for) (?:every|any) questions?"
        r"|(?:when|whenever|if) (?:you are asked|(?:someone|anyone|anybody|a user|the user) asks))\b"
    ),
    "asks for secrets": re.compile(
        r"\b(?:send|text|tell|read out|dictate|submit)\b[^.\n]{0,40}\byour (?:own |full |current )?"
        r"(?:passwords?|passphrases?|pins?|credentials|sign-in codes?|bridging codes?)\b"
    ),
}
ENCODED = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
WORD = re.compile(r"[^\W_]+")
# common words of neighbours' languages that are no English words: the documents are in English
FOREIGN = frozenset(
    WORD.findall(
        "der das und ist nicht mit auf wenn oder bitte les des est pas vous pour dans une qui sont "
        "los las una para por que esta si del il che di sono questa"
    )
)
FOREIGN_WORDS = 4
# how much of two neighbouring passages is looked at together, in characters
SEAM = 160

LINK = re.compile(r"\[([^\]]*)\]\(\s*<?([^)\s>]+)[^)]*\)")
URL = re.compile(
    r"\b(?:[a-z][a-z0-9+.-]{1,15}://|www\.)[^\s<>()\[\]]+"
    r"|(?<![@\w.-])(?:[a-z0-9-]+\.)+(?:com|net|org|io|info|biz|eu|co|app|dev|example|test|invalid)\b(?:/[^\s<>()\[\]]*)?",
    re.I,
)
MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
PHONE = re.compile(r"\bext(?:ension|\.)? ?\d{3,6}\b|(?<![\w-])(?:\+|00?)\d[\d ()/.-]{6,}\d", re.I)
NUMBER = re.compile(r"\d+(?:[.:]\d+)*")
# words that any answer may have
FILLERS = frozenset(
    WORD.findall(
        "a an the and or of to in on at by for from with is are was were be been it its this that these those there "
        "you your i my we our they them he she not no yes must can may will have has had do does as if than then so"
    )
)


# -- what may be retrieved --


@dataclass(frozen=True)
class Cleaned:
    """A text without what a reader would not see; ``removed`` names the kinds of what was taken out."""

    text: str
    removed: tuple[str, ...]


@dataclass(frozen=True)
class Screened:
    """A passage after screening.

    Attributes:
        passage: the passage, cleaned.
        removed: kinds of what was taken out of it.
        reasons: why it must not be retrieved; none for a passage that may.
    """

    passage: Document
    removed: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def quarantined(self) -> bool:
        """Whether somebody has to look at it first."""
        return bool(self.reasons)


def clean(text: str) -> Cleaned:
    """Take out hidden characters and elements, comments, images and the control tokens of chat templates."""
    removed = []
    visible = "".join(character for character in text if not _invisible(character))
    if visible != text:
        removed.append("hidden characters")
    for name, pattern in {**HIDDEN, "control token": CONTROL_TOKEN}.items():
        visible, found = pattern.subn("", visible)
        if found:
            removed.append(name)
    return Cleaned(visible, tuple(removed))


def signs(text: str) -> tuple[str, ...]:
    """Names of the patterns of an instruction to a model that the text shows; a sieve, and it has holes."""
    folded = re.sub(r"[ \t]+", " ", unicodedata.normalize("NFKC", text).lower())
    found = [name for name, pattern in PATTERNS.items() if pattern.search(folded)]
    if any(_decodes(match[0]) for match in ENCODED.finditer(text)):
        found.append("encoded text")
    if len(FOREIGN & set(WORD.findall(folded))) >= FOREIGN_WORDS:
        found.append("another language")
    return tuple(found)


def screen(passages: Sequence[Document]) -> list[Screened]:
    """Each passage cleaned, and whether it may be retrieved.

    An order may be split over two passages of one document, so neighbours are judged together as well.

    Args:
        passages: those of a document in their order, with its id in ``metadata["source"]``.
    """
    cleaned = [clean(passage.page_content) for passage in passages]
    reasons = [list(signs(one.text)) + [name for name in one.removed if name == "control token"] for one in cleaned]
    for n in range(len(passages) - 1):
        if passages[n].metadata.get("source") != passages[n + 1].metadata.get("source"):
            continue
        first, second = (one.text.partition("\n")[2] for one in cleaned[n : n + 2])
        for name in signs(f"{first[-SEAM:]} {second[:SEAM]}"):
            if name not in reasons[n] and name not in reasons[n + 1]:
                reasons[n].append(f"{name}, split")
                reasons[n + 1].append(f"{name}, split")
    return [
        Screened(_with_text(passage, one.text), one.removed, tuple(why))
        for passage, one, why in zip(passages, cleaned, reasons, strict=True)
    ]


def admit(passages: Sequence[Document]) -> list[Document]:
    """The passages that may enter an index, cleaned: ``Sync(..., split=lambda d: admit(split_documents(d)))``."""
    return [one.passage for one in screen(passages) if not one.quarantined]


def _with_text(passage: Document, text: str) -> Document:
    metadata = {
        key: clean(value).text if key in ("title", "section") else value for key, value in passage.metadata.items()
    }
    return Document(id=passage.id, page_content=text, metadata=metadata)


def _invisible(character: str) -> bool:
    """Zero-width, direction and tag characters, variation selectors, private use, controls other than line and tab."""
    category = unicodedata.category(character)
    if category == "Cc":
        return character not in "\n\t"
    return (
        category in ("Cf", "Co", "Cn") or "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    )


def _decodes(run: str) -> bool:
    """Whether a run of letters is Base64 of readable text."""
    padded = run.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        text = base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return text.isprintable()


# -- what may leave --


@dataclass(frozen=True)
class Policy:
    """What an answer may contain.

    Attributes:
        hosts: where its links may lead, subdomains included.
        contacts: the telephone numbers and mail addresses that it may name, as ``contacts_in`` gives them; when None,
            those of the passages given, which is weaker: a planted number stands in a passage.
        support: the least share of its words that must stand in the passages that it rests on.
    """

    hosts: frozenset[str] = frozenset({"clairval.example"})
    contacts: frozenset[str] | None = None
    support: float = 0.5


@dataclass(frozen=True)
class Released:
    """What the user gets to see: the answer, perhaps without some parts, or ``REFUSAL``; and why."""

    text: str
    reasons: tuple[str, ...]
    refused: bool


def contacts_in(texts: Iterable[str]) -> frozenset[str]:
    """Telephone numbers and mail addresses of texts that somebody has reviewed: the directory for a ``Policy``."""
    return frozenset(_contact(match[0]) for text in texts for p in (MAIL, PHONE) for match in p.finditer(text))


def release(answer: str, passages: Sequence[Document], policy: Policy | None = None) -> Released:
    """An answer as it may leave.

    Images, links to other hosts and unknown contacts are taken out. Held back is an answer that cites a passage which
    was not given, has a number or too many words that do not stand in the passages which it cites (in those given,
    when it cites none), or reads like an instruction itself.

    Args:
        answer: the model's text, with citations such as ``[2]``.
        passages: those that the model was given, in the order of their labels 1, 2, ...
        policy: what may leave; ``Policy()`` when None.
    """
    rules = policy or Policy()
    if CITATION.sub("", answer).strip(" .\n").lower() == NO_ANSWER:
        return Released(answer, (), refused=False)
    labels = [str(number) for number in range(1, len(passages) + 1)]
    contacts = rules.contacts if rules.contacts is not None else contacts_in(p.page_content for p in passages)
    cleaned = clean(answer)
    text, outside = _without_outside(cleaned.text, rules.hosts, contacts)
    removed = [*cleaned.removed, *outside]
    known, unknown = parse_citations(text, labels)
    rests_on = [passages[int(label) - 1] for label in known] or passages
    bare = CITATION.sub(" ", text).replace(REMOVED, " ")
    faults = [
        *(f"cites [{label}], which was not given" for label in unknown if label.isdigit()),
        *_unsupported(bare, " ".join(passage.page_content for passage in rests_on), rules.support),
        *signs(bare),
    ]
    if faults:
        return Released(REFUSAL, (*removed, *faults), refused=True)
    return Released(text.strip(), tuple(removed), refused=False)


def _without_outside(text: str, hosts: frozenset[str], contacts: frozenset[str]) -> tuple[str, list[str]]:
    reasons: list[str] = []

    def known_contact(match: re.Match[str]) -> str:
        if _contact(match[0]) in contacts:
            return match[0]
        reasons.append(f"unknown contact {match[0]}")
        return REMOVED

    def known_host(match: re.Match[str]) -> str:
        if _allowed(match[0], hosts):
            return match[0]
        reasons.append(f"link to {_host(match[0])}")
        return REMOVED

    # a link's words may name one host while it leads to another: the words stay, and are checked in turn
    text = LINK.sub(lambda match: match[0] if _allowed(match[2], hosts) else f"{match[1]} {match[2]}", text)
    for pattern, check in ((URL, known_host), (MAIL, known_contact), (PHONE, known_contact)):
        text = pattern.sub(check, text)
    return text, reasons


def _unsupported(answer: str, source: str, least: float) -> list[str]:
    words = [word for word in WORD.findall(answer.lower()) if word not in FILLERS]
    if not words:
        return ["says nothing"]
    faults = [f"{number} is in no passage" for number in _numbers(answer) if number not in _numbers(source)]
    present = set(WORD.findall(source.lower()))
    share = sum(word in present for word in words) / len(words)
    return [*faults, *([f"only {share:.0%} of its words are in the passages"] if share < least else [])]


def _numbers(text: str) -> list[str]:
    return list(dict.fromkeys(NUMBER.findall(re.sub(r"(?<=\d),(?=\d{3}\b)", "", text))))


def _contact(text: str) -> str:
    """One form for a number however it is written: digits alone; a mail address in small letters."""
    return text.lower() if "@" in text else re.sub(r"\D", "", text)


def _host(url: str) -> str:
    try:
        return (urlsplit(url if "://" in url else f"//{url}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _allowed(url: str, hosts: frozenset[str]) -> bool:
    host = _host(url)
    scheme = url.partition("://")[0].lower() if "://" in url else "https"
    return scheme in ("http", "https") and any(host == one or host.endswith(f".{one}") for one in hosts)
