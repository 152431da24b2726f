"""The twelve rules of data/style/GUIDE.md, coded: what a program can see of the house style."""

from __future__ import annotations

import re

BANNED = (
    "sorry",
    "unfortunately",
    "apologise",
    "apologies",
    "kindly",
    "please note",
    "asap",
    "inconvenience",
    "rest assured",
    "feel free",
    "hopefully",
    "obviously",
    "simply",
    "valued",
    "hesitate",
)
MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
DATE = rf"(?<!\d)(?:[1-9]|[12]\d|3[01]) (?:{MONTHS}) \d{{4}}\b"
TIME = r"\b(?:[01]\d|2[0-3]):[0-5]\d\b"
UNIT = (
    r"(?:ml/h|ml|mg|kg|g|mm|cm|km|m|mA|VA|V|W|Hz|kHz|MHz|GHz|kB|MB|GB|TB|dB|Nm|mmHg|h|min|s|%|percent|°C"
    r"|(?:degree|litre|metre|second|minute|hour|day|week|month|year|euro)s?)(?![\w/])"
)
NUMBER_WORD = (
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|fifty|sixty"
    r"|half an?)"
)
STOP_WORDS = (
    "about after again also because been before being could does doing from have here into just like more most much"
    " only other ours over said same should some such than that their them then there these they this those very want"
    " were what when where whether which while will with would your yours"
)


def check_style(reply: str, message: str) -> dict[str, bool]:
    """Whether a reply to a customer's message keeps each rule, by the rule's name, in the order of the guide.

    Args:
        message: as it came in, with its case number in brackets at the start.
    """
    return {
        "reference": _reference(reply, message),
        "greeting": _greeting(reply),
        "opening": _opening(reply, message),
        "body length": _body_length(reply),
        "sentence length": _sentence_length(reply),
        "marks": _marks(reply),
        "banned words": _banned(reply),
        "person": _person(reply),
        "numbers": _numbers(reply),
        "next step": _next_step(reply),
        "plain text": _plain(reply),
        "close": _close(reply),
    }


def _body(reply: str) -> str:
    """The text between the greeting and the next-step line."""
    lines = reply.split("\n")[2:-2]
    return " ".join(line for line in lines if not line.startswith("Next step:"))


def _sentences(text: str) -> list[str]:
    """The parts of a text, split at full stops, exclamation marks and question marks that are followed by a space."""
    return [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]


def _next_steps(reply: str) -> list[str]:
    """The lines that start with "Next step:"."""
    return [line for line in reply.split("\n") if line.startswith("Next step:")]


def _stems(text: str) -> set[str]:
    """The first five letters of each word that carries meaning, and codes and numbers whole."""
    words = re.findall(r"[a-z0-9]+(?:[-.:][a-z0-9]+)*", text.lower())
    return {w[:5] for w in words if w not in STOP_WORDS.split() and (len(w) >= 4 or any(c.isdigit() for c in w))}


def _reference(reply: str, message: str) -> bool:
    """Rule 1: the first line is "Reference CS-ddddd", with the number of the message."""
    header = re.match(r"\[(CS-\d{5})\] ", message)
    return header is not None and reply.split("\n")[0] == f"Reference {header[1]}"


def _greeting(reply: str) -> bool:
    """Rule 2: the second line is "Good day,"."""
    return reply.split("\n")[1:2] == ["Good day,"]


def _opening(reply: str, message: str) -> bool:
    """Rule 3: the first sentence starts with "You" and shares two or more words with the message."""
    first = (_sentences(_body(reply)) or [""])[0]
    return first.startswith("You ") and len(_stems(first) & _stems(message)) >= 2


def _body_length(reply: str) -> bool:
    """Rule 4: the body has 3 to 6 sentences."""
    return 3 <= len(_sentences(_body(reply))) <= 6


def _sentence_length(reply: str) -> bool:
    """Rule 5: no sentence, that of the next step included, has more than 25 words."""
    return all(len(s.split()) <= 25 for text in (_body(reply), *_next_steps(reply)) for s in _sentences(text))


def _marks(reply: str) -> bool:
    """Rule 6: there is no exclamation mark and no question mark."""
    return not re.search(r"[!?]", reply)


def _banned(reply: str) -> bool:
    """Rule 7: none of the fifteen banned words occurs."""
    return not re.search(rf"\b(?:{'|'.join(BANNED)})\b", reply, re.IGNORECASE)


def _person(reply: str) -> bool:
    """Rule 8: the body says "we", and the reply never "I", "me", "my" or "the customer"."""
    wrong = re.search(r"\bI\b|\b(?:[Mm]e|[Mm]y|[Mm]ine|[Mm]yself)\b|\b[Tt]he customers?\b", reply)
    return re.search(r"\bwe\b", _body(reply), re.IGNORECASE) is not None and not wrong


def _numbers(reply: str) -> bool:
    """Rule 9: digit, space and unit; times as 14:30; dates as 7 March 2025."""
    text = re.sub(DATE, "", reply)
    wrong = (
        rf"\d-?{UNIT}",  # 50ml, 2-hour
        rf"\b(?i:{NUMBER_WORD})[ -]{UNIT}",  # two hours
        r"\d ?(?i:am|pm|o'clock)\b|\b(?i:noon|midnight)\b",
        rf"\b(?:{MONTHS})\b",  # a month that is not part of a full date
        r"\d{1,4}[/.-]\d{1,2}[/.-]\d{2,4}",
    )
    times = re.findall(r"(?<![\d:])\d{1,2}:\d+", text)
    return not any(re.search(w, text) for w in wrong) and all(re.fullmatch(TIME, t) for t in times)


def _next_step(reply: str) -> bool:
    """Rule 10: one line before the close says "Next step:", who, what, and by which day or time."""
    steps = _next_steps(reply)
    pattern = rf"Next step: (?:we|you|our|your) .*\bby (?:{DAYS}|{DATE}|{TIME})(?: .*)?\."
    return len(steps) == 1 and reply.split("\n")[-3:-2] == steps and re.fullmatch(pattern, steps[0]) is not None


def _plain(reply: str) -> bool:
    """Rule 11: there is no bold, no heading, no list and no link."""
    return not re.search(r"\*|__|^\s*(?:[-•#]|\d+[.)])|https?:|www\.|\]\(|\w@\w", reply, re.MULTILINE)


def _close(reply: str) -> bool:
    """Rule 12: the last two lines are the fixed close."""
    return reply.split("\n")[-2:] == ["With regards", "Clairval Customer Support, Tarrow"]
