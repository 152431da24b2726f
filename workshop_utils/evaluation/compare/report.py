"""The comparison as one HTML page: figures with their intervals, verdicts, and the worst failures in full.

It stands by itself, on a phone too and printed. Questions, documents and answers come from anybody, so they are shown
as text only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workshop_utils.evaluation.compare import verdicts_table
from workshop_utils.evaluation.compare.contrasts import PRIMARY
from workshop_utils.evaluation.compare.drawing import Dot, dots
from workshop_utils.evaluation.compare.page import (
    NONE,
    definitions,
    figure_cell,
    number_cell,
    page,
    plain,
    said,
    table,
    text_cell,
)
from workshop_utils.evaluation.compare.verdicts_table import rounded

Result = Mapping[str, Any]
Arm = Mapping[str, Any]

# the level of a test, and how p is told when it is smaller than anybody needs to know
LEVEL, SMALLEST_P = 0.05, 0.001
FINDINGS = 50
SPLITS = {
    "dev": "the development questions, on which all choices were made",
    "test": "the held-out test questions",
    "own": "your own questions",
}
KINDS = {
    "single": "one fact",
    "multi": "several documents",
    "changed": "changed later",
    "unanswerable": "not in the documents",
    "restricted": "not for who asks",
}
METRICS = {
    "correct": "share of answerable questions whose answer has an accepted wording in it",
    "exact": "and nothing else but its citation",
    "f1": "words in common with the right answer, averaged",
    "choice": "share of questions on which the right one of the choices is the likeliest to the model",
    "cited": "share of answerable questions whose answer cites, and only passages with the evidence",
    "citation_precision": "of what is cited, the share with the evidence; over answers that cite",
    "citation_recall": "of the evidence given, the share that is cited",
    "abstained": "share of questions without an answer on which the arm says so",
    "false_abstention": "share of answerable questions on which it says so too",
    "form": "share of answers in the agreed form: a few words, after a citation where passages are given",
    "current": "after all updates, share of changed questions answered as is right then",
    "stale": "after all updates, share of changed questions answered as was right before",
    "leaked": "right answers to questions of somebody who may not know, read in no passage",
}
DRAWN = ("correct", "cited", "abstained")
COSTS = (
    ("training_seconds", "training, seconds", 0),
    ("training_tokens", "training, tokens", 0),
    ("training_peak_mb", "training, memory in MB", 0),
    ("adapter_mb", "adapter, MB", 1),
    ("index_seconds", "index, seconds", 1),
    ("update_seconds", "an update, seconds", 1),
)
SAYS = {"more": "the first is better", "fewer": "the second is better", "not decidable": "not decidable"}
FORGETTING = {
    "knowledge": "general questions answered right, minus the untouched model",
    "logprob_change": "log-probability of a token of general prose, minus the untouched model",
}


def render(result: Result) -> str:
    """The page.

    Args:
        result: of ``workshop compare``, as it is written to JSON.

    Returns:
        HTML in one file, which loads nothing and runs nothing.
    """
    sections = (
        ("asked", "What was asked", _asked(result)),
        ("answer", "The answer", _answer(result)),
        ("arms", f"The {len(result['arms'])} arms", _arms(result)),
        ("kinds", "By kind of question", _kinds(result)),
        ("takes", "What each arm takes", _takes(result)),
        ("advice", "The usual advice, measured", _advice(result)),
        ("ledger", "The ledger of claims", _ledger(result.get("ledger", ()))),
        ("failures", "The worst failures, in full", _failures(result)),
        ("reading", "How to read this", _reading(result)),
    )
    shown = [section for section in sections if section[2]]
    contents = "".join(f'<a href="#{name}">{plain(title)}</a> ' for name, title, _ in shown)
    body = "".join(f'<section id="{name}"><h2>{plain(title)}</h2>{markup}</section>\n' for name, title, markup in shown)
    title = "RAG, fine-tuning, or both?"
    return page(
        title,
        f'<header><h1>{title}</h1>{_warnings(result)}<nav aria-label="Sections">{contents}</nav></header>'
        f"\n<main>\n{body}</main>",
    )


def sentence(row: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """A tested difference in plain words."""
    a, b = titles[row["a"]], titles[row["b"]]
    points = f"{abs(row['value']) * 100:.0f} percentage points"
    tail = f"95% interval {row['low'] * 100:+.0f} to {row['high'] * 100:+.0f} points, {_p(row['p'])}"
    if verdict(row) == "not decidable":
        return (
            f"Whether {a} or {b} answers more questions correctly is not decidable here: the difference is "
            f"{row['value'] * 100:+.0f} percentage points ({tail})."
        )
    return f"{a} answers {points} {verdict(row)} of the questions correctly than {b} ({tail})."


def verdict(row: Mapping[str, Any]) -> str:
    """``more`` or ``fewer`` where interval and test agree that there is a difference, else ``not decidable``."""
    if row["p"] >= LEVEL or row["low"] <= 0 <= row["high"]:
        return "not decidable"
    return "more" if row["value"] > 0 else "fewer"


def _warnings(result: Result) -> str:
    texts = []
    if result["quick"]:
        texts.append(f"A quick look at {result['n']} questions: intervals are wide, and nothing is decided by it.")
    if result["split"] == "dev":
        texts.append("Measured on the questions on which prompts and settings were chosen, so it may flatter.")
    if own := result.get("own"):
        texts.append(own["says"])
    return "".join(f'<p class="warning">{plain(text)}</p>' for text in texts)


def _asked(result: Result) -> str:
    kinds = ", ".join(f"{count} {KINDS.get(kind, kind)}" for kind, count in result["counts"].items())
    facts = [
        ("questions", f"{result['n']}: {kinds}"),
        ("from", SPLITS.get(result["split"], result["split"])),
        ("arms", len(result["arms"])),
        ("computed in", result["dtype"]),
        ("time to answer", f"{result['seconds'] / 60:.0f} minutes, training not counted"),
        ("commit", result["commit"] or "unknown"),
        ("inputs", result["inputs"]),
    ]
    return definitions(facts) + _own(result.get("own"))


def _own(own: Mapping[str, Any] | None) -> str:
    """What there is to know about somebody's own material."""
    if not own:
        return ""
    markup = definitions(
        (
            ("to train on", f"{own['train']['questions']} questions of {own['train']['families']} families"),
            ("asked", f"{own['test']['questions']} questions of {own['test']['families']} families"),
        )
    )
    if own["left_out"]:
        listed = "".join(f"<li>{plain(title)}: {plain(why)}</li>" for title, why in own["left_out"].items())
        markup += f"<h3>Arms left out</h3><ul>{listed}</ul>"
    if own["findings"]:
        shown = "".join(f"<li>{said(finding)}</li>" for finding in own["findings"][:FINDINGS])
        rest = len(own["findings"]) - FINDINGS
        more = f"<li>and {rest} more</li>" if rest > 0 else ""
        markup += (
            f"<details><summary>{len(own['findings'])} findings about files and questions</summary>"
            f"<ul>{shown}{more}</ul></details>"
        )
    return markup


def _answer(result: Result) -> str:
    titles = _titles(result)
    rows = sorted(result["differences"], key=lambda row: row["role"] != "primary")
    first = next((row for row in rows if row["role"] == "primary"), None)
    told = (
        sentence(first, titles) if first else "The primary contrast was not measured: one of its two arms is missing."
    )
    markup = f'<p class="main">{plain(_caution(result) + told)}</p>'
    if not rows:
        return markup
    widest = max(0.1, *(abs(row[end]) for row in rows for end in ("low", "high")))
    reach = min(1.0, -(-widest * 10 // 2) / 5)  # up to the next fifth
    lines = [
        Dot(f"{titles[row['a']]}\n\N{MINUS SIGN} {titles[row['b']]}", row, row["role"] == "primary") for row in rows
    ]
    markup += _figure("Difference in the share answered correctly", dots("Differences", lines, low=-reach, high=reach))
    return markup + table(
        "Differences fixed before the measurement, in the share of answerable questions answered correctly",
        ("arms", "difference, 95% interval", "p", "which test", "what it says"),
        [
            (
                f"{titles[row['a']]} minus {titles[row['b']]}",
                (
                    figure_cell(row),
                    text_cell(plain(_p(row["p"]).removeprefix("p = ").removeprefix("p ")), "number"),
                    text_cell("primary" if row["role"] == "primary" else "secondary, p after Holm"),
                    text_cell(SAYS[verdict(row)]),
                ),
                "strong" if row["role"] == "primary" else "",
            )
            for row in rows
        ],
    )


def _caution(result: Result) -> str:
    """What stands before the main sentence where it may not be taken as a conclusion."""
    if not result.get("own", {"enough": True})["enough"]:
        return "Too few questions to conclude anything. What was measured: "
    return "A quick look, which decides nothing. What was measured: " if result["quick"] else ""


def _arms(result: Result) -> str:
    plots = "".join(
        _figure(_words(metric), dots(f"{_words(metric)}, by arm", _dots(result, metric)), METRICS[metric])
        for metric in DRAWN
    )
    metrics = [metric for metric in METRICS if any(metric in arm for arm in result["arms"].values())]
    rows = [
        (arm["title"], [figure_cell(arm.get(metric)) for metric in metrics], _look(key))
        for key, arm in result["arms"].items()
    ]
    numbers = [f"{_words(metric)} {_counted(result['arms'].values(), metric)}" for metric in metrics]
    return (
        f'<div class="plots">{plots}</div>'
        + table("Every figure with its 95% interval", ("arm", *(_words(metric) for metric in metrics)), rows)
        + f'<p class="soft">Questions counted: {plain(", ".join(numbers))}.</p>'
        + table(
            "What each arm is",
            ("arm", "what it saw", "when it must be made anew", "moving parts"),
            [
                (
                    arm["title"],
                    (
                        text_cell(plain(arm["saw"])),
                        text_cell(plain(arm["redone_when"])),
                        text_cell(f"{len(arm['steps'])}: {plain(', '.join(arm['steps']))}", "wide"),
                    ),
                    _look(key),
                )
                for key, arm in result["arms"].items()
            ],
        )
    )


def _counted(arms: Iterable[Arm], metric: str) -> str:
    """Over how many questions a metric was taken; of citation precision each arm has its own number."""
    numbers = {round(arm[metric]["n"]) for arm in arms if metric in arm}
    return f"{min(numbers)}" if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"


def _kinds(result: Result) -> str:
    plots, tables = [], []
    for kind, count in result["counts"].items():
        found = {key: arm["by_kind"].get(kind, {}) for key, arm in result["arms"].items()}
        metrics = [metric for metric in METRICS if any(metric in row for row in found.values())]
        if not metrics:
            continue
        drawn = next(metric for metric in ("leaked", "correct", "abstained", *metrics) if metric in metrics)
        name = KINDS.get(kind, kind)
        lines = [Dot(_titles(result)[key], row.get(drawn), key in (PRIMARY.a, PRIMARY.b)) for key, row in found.items()]
        plots.append(_figure(f"{name}: {_words(drawn)}", dots(f"{name}: {_words(drawn)}, by arm", lines)))
        tables.append(
            table(
                f"{name}: {count} questions",
                ("arm", *(_words(metric) for metric in metrics)),
                [
                    (_titles(result)[key], [figure_cell(row.get(metric)) for metric in metrics], _look(key))
                    for key, row in found.items()
                ],
            )
        )
    if not tables:
        return ""
    folded = f"<details><summary>All figures by kind of question</summary>{''.join(tables)}</details>"
    return f'<div class="plots">{"".join(plots)}</div>{folded}'


def _takes(result: Result) -> str:
    arms = result["arms"]
    known = [one for one in COSTS if any(one[0] in arm["cost"] for arm in arms.values())]
    rows = [
        (arm["title"], [number_cell(arm["cost"].get(name), digits) for name, _, digits in known], _look(key))
        for key, arm in arms.items()
    ]
    markup = table("To make and to keep up to date", ("arm", *(title for _, title, _ in known)), rows) if known else ""
    timed = next(iter(arms.values()))["latency"]["n"]
    markup += table(
        f"One answer: tokens, and seconds over {timed} questions one by one",
        ("arm", "tokens read", "tokens written", "median seconds", "95th percentile"),
        [
            (
                arm["title"],
                (
                    figure_cell(arm.get("prompt_tokens"), 0),
                    figure_cell(arm.get("answer_tokens"), 1),
                    number_cell(arm["latency"]["p50"]),
                    number_cell(arm["latency"]["p95"]),
                ),
                _look(key),
            )
            for key, arm in arms.items()
        ],
    )
    tuned = {key: arm for key, arm in arms.items() if "forgetting" in arm}
    if tuned:
        markup += table(
            "What tuning made the model forget",
            ("arm", *FORGETTING.values()),
            [
                (arm["title"], [figure_cell(arm["forgetting"].get(name)) for name in FORGETTING], _look(key))
                for key, arm in tuned.items()
            ],
        )
    return markup


def _advice(result: Result) -> str:
    rows = verdicts_table.rows(result)
    usual = table(
        "What is usually said, and whether the figures agree",
        ("row", "RAG", "fine-tuning", "both", "measured here"),
        [
            (_name(row), (*(text_cell(plain(text)) for text in row["usual"].values()), _verdict(row)), "")
            for row in rows
        ],
    )
    statements = table(
        "The statements that the usual verdicts were taken apart into, with the rules that decide them",
        ("row", "it is said that", "measured here", "by these figures", "rule"),
        [
            (
                row["id"],
                (
                    text_cell(plain(part["says"])),
                    text_cell(_state(part["state"]), "number"),
                    text_cell(plain(part["figures"]), "wide"),
                    text_cell(plain(part["rule"]), "wide"),
                ),
                "",
            )
            for row in rows
            for part in row["parts"]
        ],
    )
    measured = table(
        "The same rows for every arm",
        ("arm", *(_name(row) for row in rows)),
        [
            (arm["title"], [text_cell(plain(row["arms"][key]) or NONE) for row in rows], _look(key))
            for key, arm in result["arms"].items()
        ],
    )
    note = (
        "T7 is what earlier lessons measured on the company's documents and tasks, with reader + RAG and with the "
        "adapters of lesson 06."
    )
    return f'{usual}{statements}{measured}<p class="soft">{plain(note)}</p>'


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['id']} {row['what']}"


def _verdict(row: Mapping[str, Any]) -> str:
    """A cell with the verdict on a row, and where only a part of it agrees, that part."""
    agreeing = [part["says"] for part in row["parts"] if part["state"].startswith("agrees")]
    only = f" it says that {plain('; '.join(agreeing))}" if row["verdict"] == "agrees only when" else ""
    return text_cell(f"{_state(row['verdict'])}{only}", "wide")


def _state(state: str) -> str:
    return f'<span class="verdict {state.replace(" ", "-")}">{plain(state)}</span>'


def _ledger(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    gaps = sum(_is_gap(row) for row in rows)
    told = f"{len(rows)} claims, {gaps} without a figure." if gaps else f"{len(rows)} claims, no gap."
    return f"<p>{told}</p>" + table(
        "Every claim with its verdict here and the figure that decides",
        ("claim", "what is said", "verdict", "figure", "95% interval", "what the figure is", "lesson"),
        [
            (
                str(row["claim"]),
                (
                    text_cell(plain(row.get("text") or ""), "wide"),
                    text_cell(f"GAP. {plain(row.get('because') or '')}" if _is_gap(row) else plain(row["verdict"])),
                    text_cell(_shown(row.get("figure")), "number"),
                    text_cell(_ends(row), "number"),
                    text_cell(plain(row.get("measure") or "")),
                    text_cell(plain(row.get("lesson") or NONE), "number"),
                ),
                "gap" if _is_gap(row) else "",
            )
            for row in rows
        ],
    )


def _is_gap(row: Mapping[str, Any]) -> bool:
    return row.get("verdict") in (None, "", "gap")


def _shown(value: float | None) -> str:
    return NONE if value is None else rounded(value)


def _ends(row: Mapping[str, Any]) -> str:
    low, high = row.get("low"), row.get("high")
    return NONE if low is None or high is None else f"{rounded(low)} to {rounded(high)}"


def _failures(result: Result) -> str:
    groups = []
    for key, arm in result["arms"].items():
        if arm["failures"]:
            shown = "".join(_failure(one) for one in arm["failures"])
            opened = " open" if key == PRIMARY.a else ""
            summary = f"<summary>{plain(arm['title'])}: {len(arm['failures'])} answers</summary>"
            groups.append(f"<details{opened}>{summary}{shown}</details>")
    return "".join(groups)


def _failure(one: Mapping[str, Any]) -> str:
    passages = "".join(_passage(passage) for passage in one["passages"])
    return (
        f'<article><p><strong>{said(one["question"])}</strong> <span class="soft">{said(one["id"])}</span></p>'
        f"<dl><dt>answer</dt><dd>{said(one['answer'] or '(nothing)')}</dd><dt>right</dt><dd>{said(one['gold'])}</dd>"
        f"<dt>words in common</dt><dd>{one['score']:.2f}</dd></dl>{passages}</article>"
    )


def _passage(passage: Mapping[str, Any]) -> str:
    look, mark = (' class="gold"', " <strong>(holds the evidence)</strong>") if passage["gold"] else ("", "")
    return f"<blockquote{look}>[{plain(passage['label'])}] {said(passage['text'])}{mark}</blockquote>"


def _reading(result: Result) -> str:
    metrics = [
        metric
        for metric in METRICS
        if any(
            metric in arm or any(metric in row for row in arm["by_kind"].values()) for arm in result["arms"].values()
        )
    ]
    texts = [
        "An interval says how far a figure may be off because only so many questions were asked: in 95 of 100 such "
        "measurements it holds the value that endless questions of this kind would give. Whole families of documents "
        "are drawn, since questions on one document rise and fall together.",
        "'Not decidable' means that these questions cannot tell the two apart: the interval of their difference holds "
        "0, or the test would often show as much by chance. It does not mean that they are alike.",
        "One difference was chosen beforehand as the one that counts. The four others have p after Holm's correction, "
        "which keeps the chance of any false alarm at 5%. All other figures have intervals and no test: among so many, "
        "some differ by chance.",
        "Where none or all of the answers count, the interval is by the rule of three: up to 3 in as many families "
        "could still be otherwise.",
        "Seconds were measured once, on one machine; compare them with each other only.",
    ]
    if result["quick"] or "own" in result:
        texts.insert(
            0,
            f"These are {result['n']} questions. With so few, a difference must be large before it can be told from "
            "chance: read the answers, not only the figures.",
        )
    return "".join(f"<p>{plain(text)}</p>" for text in texts) + definitions(
        (_words(metric), METRICS[metric]) for metric in metrics
    )


def _dots(result: Result, metric: str) -> list[Dot]:
    return [Dot(arm["title"], arm.get(metric), key in (PRIMARY.a, PRIMARY.b)) for key, arm in result["arms"].items()]


def _figure(title: str, drawing: str, explained: str = "") -> str:
    more = f'<span class="soft">{plain(explained)}</span>' if explained else ""
    return f"<figure><figcaption>{plain(title)}</figcaption>{more}{drawing}</figure>"


def _titles(result: Result) -> dict[str, str]:
    return {key: arm["title"] for key, arm in result["arms"].items()}


def _look(key: str) -> str:
    return "strong" if key in (PRIMARY.a, PRIMARY.b) else ""


def _words(metric: str) -> str:
    return metric.replace("_", " ").replace("f1", "F1")


def _p(p: float) -> str:
    return f"p < {SMALLEST_P}" if p < SMALLEST_P else f"p = {p:.3f}"
