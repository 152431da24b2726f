"""Scores of the tuned tasks, and what a program without any model makes of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any

from workshop_utils.corpus.documents import data_dir
from workshop_utils.corpus.records import read_records
from workshop_utils.corpus.tickets import CATEGORIES, DEVICES, TicketRecord
from workshop_utils.evaluation.house_style import BANNED, STOP_WORDS, check_style
from workshop_utils.evaluation.metrics import token_f1
from workshop_utils.tuning.tasks import Item, Task

Scores = dict[str, float]

FIELDS = tuple(field.name for field in fields(TicketRecord))
EXTRACTION = ("device", "error_code")
TRIAGE = ("category", "severity", "action")
# the score by which a task is judged first
MAIN: dict[Task, str] = {"triage": "fields", "style": "rules", "jargon": "checks", "notes": "checks"}

ERROR_CODE = r"\b(?:E-\d{3}|T-\d{2}|Q-\d{4})\b"
FIGURE = r"\d+(?:[.,:]\d+)*"
# units of data/jargon/GUIDE.md, rule 8, as notes write them and in words
UNITS = {
    "mg": "milligrams",
    "mcg": "micrograms",
    "kg": "kilograms",
    "mL": "millilitres",
    "cm": "centimetres",
    "mm": "millimetres",
    "min": "minutes",
    "sec": "seconds",
    "g": "grams",
    "L": "litres",
    "m": "metres",
    "h": "hours",
    "C": "degrees",
}
PER = {"h": " an hour", "min": " a minute", "mL": " in each millilitre", "kg": " for each kilogram"}
EVERY = {"h": "hours", "min": "minutes", "d": "days"}
UNIT = rf"(?<=\d)( ?)({'|'.join(map(re.escape, UNITS))})(?!\w)"
SYMBOL = r"[%/+<>=&~*#|]|->|[^\x00-\x7f]"
TECHNICAL = r"\b(?:infusion|infuse|cannula|occlu|bolus|titrat|intravenous|analgesi|haemoglobin)\w*"
OXYGEN = re.compile(r"\bO2\b")  # the one abbreviation with a figure in it
# abbreviations of the glossary that are also ordinary words
ORDINARY = ("bolus", "sat", "temp", "batt", "stat", "or")


# ---- ticket to record


def parse_fields(text: str) -> dict[str, Any] | None:
    """The first JSON object in a text, whatever stands around it and whatever is in it."""
    decoder = json.JSONDecoder()
    for start in (match.start() for match in re.finditer(r"\{", text)):
        try:
            found, _ = decoder.raw_decode(text, start)
        except ValueError:
            continue
        except RecursionError:
            return None
        if isinstance(found, dict):
            return found
    return None


def parse_record(text: str) -> TicketRecord | None:
    """The record in a text, whatever stands around it; None when it lacks a field or a value is not allowed."""
    return _record(parse_fields(text))


def record_scores(answer: str, gold: TicketRecord | str) -> Scores:
    """How right an answer is as a ticket's record, each score 0 or 1 but for the mean of the fields.

    Returns:
        ``valid_json``: the answer is a record and nothing but a record, with values that the guide allows. Then each
        field; ``extraction``: device and error code; ``triage``: category, severity and action; ``fields``: the mean
        over the five fields; ``all_fields``. Text around the JSON object costs ``valid_json`` alone.
    """
    wanted = asdict(gold) if isinstance(gold, TicketRecord) else json.loads(gold)
    found = parse_fields(answer)
    right = {name: float(_same((found or {}).get(name, ...), wanted[name])) for name in FIELDS}
    try:
        whole = json.loads(answer)
    except (ValueError, RecursionError):
        whole = None
    strict = isinstance(whole, dict) and set(whole) == set(FIELDS) and _record(whole) is not None
    return {
        "valid_json": float(strict),
        **right,
        "extraction": min(right[name] for name in EXTRACTION),
        "triage": min(right[name] for name in TRIAGE),
        "fields": sum(right.values()) / len(FIELDS),
        "all_fields": min(right.values()),
    }


def _same(value: Any, wanted: Any) -> bool:
    # 1 == True == 1.0 in Python, not in a record
    return type(value) is type(wanted) and bool(value == wanted)


def _record(found: dict[str, Any] | None) -> TicketRecord | None:
    if found is None or not set(FIELDS) <= set(found):
        return None
    record = {name: found[name] for name in FIELDS}
    code = record["error_code"]
    if not (code is None or (isinstance(code, str) and re.fullmatch(ERROR_CODE, code))):
        return None
    if type(record["severity"]) is not int:
        return None
    try:
        return TicketRecord(**record)
    except ValueError:
        return None


# ---- message to house-style reply


def style_scores(reply: str, message: str, gold: str) -> Scores:
    """How far a reply keeps the house style, and how far it says what the desk's own reply says.

    Returns:
        the twelve rules by name, 0 or 1; ``rules``: the share kept; ``all_rules``; ``content``: F1 of the body's words
        that carry meaning against those of the desk's reply. A reply can keep all rules and say nothing.
    """
    rules = {name: float(kept) for name, kept in check_style(reply, message).items()}
    return {
        **rules,
        "rules": sum(rules.values()) / len(rules),
        "all_rules": min(rules.values()),
        "content": _overlap(meaning_words(_middle(reply)), meaning_words(_middle(gold))),
    }


def meaning_words(text: str) -> set[str]:
    """The first five letters of each word that carries meaning; codes and numbers whole."""
    words = re.findall(r"[a-z0-9]+(?:[-.:][a-z0-9]+)*", text.lower())
    return {w[:5] for w in words if w not in STOP_WORDS.split() and (len(w) >= 4 or any(c.isdigit() for c in w))}


def template_reply(message: str) -> str:
    """A reply that a program writes: it fills case number and three words of the message into one fixed frame.

    What somebody who has read the style guide programs in an hour. It keeps the rules and answers nobody.
    """
    header = re.match(r"\[(CS-\d{5})\]", message)
    words = re.findall(r"(?<![-\w'])[a-z]{5,}(?![-\w'])", message.partition("]")[2])
    usable = [w for w in dict.fromkeys(words) if w not in STOP_WORDS.split() and w not in BANNED]
    longest = sorted(usable, key=len, reverse=True)[:3]
    named = [w for w in usable if w in longest] or ["your message"]
    about = " and ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else named[0]
    return (
        f"Reference {header[1] if header else 'CS-00000'}\nGood day,\n"
        f"You write to us about {about}. We have read your message and know how much it matters on a ward. "
        "The team in charge has it now.\n"
        "Next step: we send you an answer by Friday.\nWith regards\nClairval Customer Support, Tarrow"
    )


def _middle(reply: str) -> str:
    """The reply without its fixed lines."""
    fixed = ("Reference ", "Good day", "With regards", "Clairval Customer Support")
    return "\n".join(line for line in reply.split("\n") if not line.startswith(fixed)).replace("Next step:", " ")


def _overlap(first: set[str], second: set[str]) -> float:
    return 2 * len(first & second) / (len(first) + len(second)) if first and second else 0.0


# ---- note to plain language


def jargon_scores(answer: str, note: str, gold: str) -> Scores:
    """How far a text keeps the rules of data/jargon/GUIDE.md that a program can see, and its likeness to the gold one.

    Returns:
        ``figures``: every figure of the note is there; ``new_figures``: and no other; ``abbreviations``, ``symbols``,
        ``technical``: there is none; ``units``: they are written out; ``length``: 20 to 50 words;
        ``sentence_length``: no sentence has more than 20 words; ``checks``: the share of these eight; ``all_checks``;
        ``f1``: of the words, against the gold text (SQuAD's). An empty answer fails every check.
    """
    noted, said = (set(re.findall(FIGURE, OXYGEN.sub("", text))) for text in (note, answer))
    sentences = [part for part in re.split(r"(?<=[.!?])\s+", answer.strip()) if part]
    checks = {
        "figures": not noted - said,
        "new_figures": not said - noted,
        "abbreviations": not _abbreviation().search(answer),
        "symbols": not re.search(SYMBOL, answer),
        "technical": not re.search(TECHNICAL, answer, re.IGNORECASE),
        "units": not re.search(UNIT, answer),
        "length": 20 <= len(answer.split()) <= 50,
        "sentence_length": all(len(sentence.split()) <= 20 for sentence in sentences),
    }
    kept = {name: float(bool(sentences) and fine) for name, fine in checks.items()}
    return {
        **kept,
        "checks": sum(kept.values()) / len(kept),
        "all_checks": min(kept.values()),
        "f1": token_f1(answer, [gold]),
    }


@cache
def glossary() -> dict[str, list[str]]:
    """The abbreviations of data/jargon/GUIDE.md with their plain words, the commonest first."""
    guide = (data_dir() / "jargon" / "GUIDE.md").read_text("utf-8")
    rows = re.findall(r"^\| ([^|]+?) \| [^|]+? \| ([^|]+?) \|$", guide, re.MULTILINE)[1:]
    return {short: plain.split(", ") for short, plain in rows if short != "qNh"}


def glossary_text(note: str) -> str:
    """A note with each abbreviation and unit replaced by its plain words: what a program makes of it, word by word."""
    text = re.sub(r"\bx(\d+)\b", r"\1 times", note)
    text = re.sub(r"\bq(\d+)(h|min|d)\b", lambda found: f"every {found[1]} {EVERY[found[2]]}", text)
    text = re.sub(r"(?<=[A-Za-z])/(h|min|mL|kg)\b", lambda found: PER[found[1]], text)
    text = re.sub(UNIT, lambda found: f" {UNITS[found[2]]}", text)
    text = re.sub(r"(?<=\d)/(?=\d)", " over ", text).replace("%", " percent").replace("+", " and ")
    for short, plain in sorted(glossary().items(), key=lambda pair: -len(pair[0])):
        text = re.sub(rf"(?<![\w/]){re.escape(short)}(?![\w/])", plain[0], text, flags=_case(short))
    return text


# ---- plain language to note


def notes_scores(answer: str, plain: str, gold: str) -> Scores:
    """How far a text is a note as nurses write it, as a program can see it, and its likeness to the gold one.

    Returns:
        ``figures``: every figure of the plain text is there; ``new_figures``: and no other; ``short``: it has at most
        three quarters of its words; ``bare``: no article, no "you" and no "we"; ``units``: none is written out;
        ``abbreviations``: there is one; ``checks``: the share of these six; ``all_checks``; ``f1``: of the words,
        against the gold note (SQuAD's). An empty answer fails every check.
    """
    told, noted = (set(re.findall(FIGURE, OXYGEN.sub("", text))) for text in (plain, answer))
    checks = {
        "figures": not told - noted,
        "new_figures": not noted - told,
        "short": len(answer.split()) <= 0.75 * len(plain.split()),
        "bare": not re.search(r"\b(?:the|an?|your?|we|our)\b", answer, re.IGNORECASE),
        "units": not re.search(rf"\b(?:{'|'.join(UNITS.values())})\b", answer),
        "abbreviations": bool(_abbreviation().search(answer)),
    }
    kept = {name: float(bool(answer.strip()) and fine) for name, fine in checks.items()}
    return {
        **kept,
        "checks": sum(kept.values()) / len(kept),
        "all_checks": min(kept.values()),
        "f1": token_f1(answer, [gold]),
    }


def abbreviated_text(plain: str) -> str:
    """A plain text with the words of the glossary and units put back, and its small words left out, by a program."""
    text = plain
    for unit, words in sorted(UNITS.items(), key=lambda pair: -len(pair[1])):
        text = text.replace(f"{words}{PER['h']}", f"{unit}/h").replace(words, unit)
    pairs = [(words, short) for short, many in glossary().items() for words in many]
    for words, short in sorted(pairs, key=lambda pair: -len(pair[0])):
        text = re.sub(rf"\b{re.escape(words)}\b", short, text, flags=re.IGNORECASE)
    return " ".join(re.sub(r"\b(?:the|an?|your?|we|our|is|are|was|were)\b ?", "", text, flags=re.IGNORECASE).split())


@cache
def _abbreviation() -> re.Pattern[str]:
    """Any abbreviation of the glossary that is not also an ordinary word or letter."""
    shorts = [
        short for short in glossary() if short.lower() not in ORDINARY and not (short.isupper() and len(short) < 2)
    ]
    capital = [re.escape(s) for s in shorts if _case(s) == 0]
    small = [re.escape(s) for s in shorts if _case(s)]
    return re.compile(
        rf"(?<![\w/])(?:{'|'.join(capital)}|(?i:{'|'.join(small)})|q\d+(?:h|min|d)|x\d+)(?![\w/])|\bOR\b|\b[LR]\b(?!\.)"
    )


def _case(short: str) -> re.RegexFlag | int:
    """Capitals are meant (OR, RA); an abbreviation in small letters may begin a sentence (Pt)."""
    return re.IGNORECASE if short.islower() or short in ("w/", "w/o") else 0


# ---- a ticket's record without a model

DEVICE_WORDS = {
    "Sorvane 4": r"sorvane 4|\bS4\b|sorvane(?! ?2)|volumetric",
    "Sorvane 2": r"sorvane 2|\bS2\b|previous.generation|old(?:er)? (?:volumetric|sorvane)",
    "Tilvo S": r"tilvo|syringe pump|syringe driver",
    "Quaylink": r"quaylink|gateway|link server",
    "Dosewright": r"dosewright|library editor",
    "Wardboard": r"wardboard|dashboard|ward screen",
}
CATEGORY_WORDS = {
    "power": r"batter|mains|charg|switch on|goes off|plug|power",
    "mechanical": r"latch|crack|broke|bent|fell|leak|stuck|snapp|door|hinge|screw",
    "connectivity": r"network|offline|pairing|server|access point|wifi|wi-fi|connect|cable to",
    "drug-library": r"library|limit|draft|import|approv|drug list|entry",
    "display": r"screen|display|touch|key|lamp|sound|clock|frozen|dark|bright",
    "consumables": r"\bset\b|\bsets\b|box|carton|deliver|lot\b|order|accessor|syringes",
    "documents": r"manual|certificate|training|invoice|account|access right|login|billed|password",
    "alarm": r"alarm|beep|air in line|occlusion|\bE-\d|\bT-\d",
}
SEVERITY_WORDS = {
    1: r"crash|resuscitat|harm(?!less)|by hand|no spare|pressure (?:fell|dropped)|collapsed|danger",
    2: r"interrupt|stood still|stopped (?:while|during)|several|all (?:of )?(?:our|the)|send people home|caught it",
    4: r"cosmetic|runs fine|no effect|nothing depends|taste|everything runs|all in service|harmless|no harm",
}
ACTION_WORDS = {
    "credit": r"credit|refund|money|invoice|charge|paid for|pays",
    "document": r"certificate|manual|bulletin|report|in writing|auditor|document",
    "loan": r"loan|borrow|lend|bridge",
    "parts": r"\bparts?\b|post us|spare part|send us the",
    "replace": r"replace|exchange|swap|new for old|new one",
    "visit": r"visit|come (?:to|and|over|here)|engineer|drive|on site|see this",
    "repair": r"repair|mend|fix|workshop|put right|ship it",
}


def keyword_record(text: str) -> TicketRecord:
    """A record by words that the labelling guide names: the last wish that is mentioned, the category named most."""
    counts = {name: len(re.findall(words, text, re.IGNORECASE)) for name, words in CATEGORY_WORDS.items()}
    devices = {name: re.search(words, text, re.IGNORECASE) for name, words in DEVICE_WORDS.items()}
    first = {name: found.start() for name, found in devices.items() if found}
    wishes = {name: _last(words, text) for name, words in ACTION_WORDS.items()}
    codes = re.findall(ERROR_CODE, text)
    return TicketRecord(
        device=min(first, key=lambda name: first[name]) if first else DEVICES[0],
        error_code=codes[0] if codes else None,
        category=max(CATEGORIES, key=lambda name: counts[name]),
        severity=next((s for s, words in SEVERITY_WORDS.items() if re.search(words, text, re.IGNORECASE)), 3),
        action=max(wishes, key=lambda name: wishes[name]) if max(wishes.values()) >= 0 else "advice",
    )


def _last(words: str, text: str) -> int:
    """Where the last of some words begins; -1 when none is there."""
    return max((found.start() for found in re.finditer(words, text, re.IGNORECASE)), default=-1)


# ---- all of them


def task_scores(task: Task, answers: Sequence[str], items: Sequence[Item]) -> list[Scores]:
    """The scores of each answer: see ``record_scores``, ``style_scores``, ``jargon_scores`` and ``notes_scores``.

    Style has ``own`` too: the share of the reply's sentences, without the fixed lines and case numbers, that no other
    of these replies has.
    """
    pairs = list(zip(answers, items, strict=True))
    if task == "triage":
        return [record_scores(answer, item.answer) for answer, item in pairs]
    if task == "jargon":
        return [jargon_scores(answer, item.text, item.answer) for answer, item in pairs]
    if task == "notes":
        return [notes_scores(answer, item.text, item.answer) for answer, item in pairs]
    bodies = [[s for s in re.split(r"(?<=[.!?])\s+|\n", _middle(answer)) if s.strip()] for answer, _ in pairs]
    uses = Counter(sentence for body in bodies for sentence in set(body))
    return [
        {
            **style_scores(answer, item.text, item.answer),
            "own": sum(uses[sentence] == 1 for sentence in body) / len(body) if body else 0.0,
        }
        for (answer, item), body in zip(pairs, bodies, strict=True)
    ]


# ---- is the coded house style to be trusted?


@dataclass(frozen=True)
class Labelled:
    """A reply whose twelve rules a person has judged by reading.

    ``origin``: ``gold`` (the desk's), ``base`` and ``few-shot`` (the small model's), ``broken`` (changed by hand).
    """

    id: str
    text: str
    reply: str
    origin: str
    labels: Mapping[str, bool]


def load_labelled() -> list[Labelled]:
    """The labelled replies of data/style/labelled.jsonl.

    Raises:
        workshop_utils.corpus.records.CorpusError: a line is not one; the message names it.
    """
    return read_records(data_dir() / "style" / "labelled.jsonl", lambda record: Labelled(**record))


def label_agreement(labelled: Sequence[Labelled]) -> dict[str, Any]:
    """How far ``check_style`` agrees with the labels.

    Returns:
        ``right``: for each reply the share of rules judged alike; ``agreement`` and ``kappa`` over all judgements;
        ``rules``: both by rule, with how often the person found it kept; ``faults``: reply and rule where they differ.
    """
    coded = [check_style(one.reply, one.text) for one in labelled]
    pairs = [
        (name, one.labels[name], found[name]) for one, found in zip(labelled, coded, strict=True) for name in found
    ]
    rules = {}
    for name in coded[0]:
        own = [(person, program) for rule, person, program in pairs if rule == name]
        rules[name] = {"agreement": _alike(own), "kappa": cohen_kappa(own), "kept": sum(p for p, _ in own)}
    every = [(person, program) for _, person, program in pairs]
    return {
        "right": [
            sum(one.labels[k] == v for k, v in c.items()) / len(c) for one, c in zip(labelled, coded, strict=True)
        ],
        "agreement": _alike(every),
        "kappa": cohen_kappa(every),
        "rules": rules,
        "faults": [
            [one.id, name] for one, c in zip(labelled, coded, strict=True) for name in c if c[name] != one.labels[name]
        ],
    }


def cohen_kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    """Agreement of two judges beyond chance (Cohen, 1960); None where both always say the same one thing."""
    n = len(pairs)
    first, second = (sum(pair[i] for pair in pairs) / n for i in (0, 1))
    chance = first * second + (1 - first) * (1 - second)
    return None if chance == 1 else (_alike(pairs) - chance) / (1 - chance)


def _alike(pairs: Sequence[tuple[bool, bool]]) -> float:
    return sum(a == b for a, b in pairs) / len(pairs)
