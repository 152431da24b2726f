"""The decision helper: a situation, the rules that speak, what was measured about each, what would change it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workshop_utils.evaluation.deciding import FACTORS, OPTIONS, RULES, Advice, Option, Rule, Spoken, advise
from workshop_utils.messages import say

# readable on white and on black, and apart from each other without colours seen
COLOURS: dict[Option, str] = {"rag": "#56b4e9", "fine-tuning": "#e69f00", "both": "#009e73"}
MOST = 10.0
CONTRARY = ("does not hold", "does not fit")
CELL = "text-align:left;vertical-align:top;padding:4px 8px;border-bottom:1px solid rgba(128,128,128,.35)"

# by claim id: "verdict" and, where there is one, "figure" (a text, or a number with "low" and "high" beside it)
Evidence = Mapping[str, Mapping[str, Any]]


@dataclass
class Decision:
    """What the helper shows; no display.

    Attributes:
        evidence: what was measured, by claim.
        levels: of the factors, as the team has set them.
        weights: of the rules, as they were moved.
    """

    evidence: Evidence = field(default_factory=dict)
    levels: dict[str, int] = field(default_factory=lambda: {name: factor.default for name, factor in FACTORS.items()})
    weights: dict[str, float] = field(default_factory=lambda: {rule.id: rule.weight for rule in RULES})

    @property
    def advice(self) -> Advice:
        """What the rules say of the situation.

        Raises:
            workshop_utils.errors.InputError: a factor, level, rule or weight that cannot be.
        """
        return advise(self.levels, self.weights)

    def sentence(self) -> str:
        """The advice in one sentence."""
        advice = self.advice
        second = max((one for one in OPTIONS if one != advice.option), key=lambda one: advice.scores[one])
        values = {"option": _option(advice.option), "second": _option(second), "score": advice.scores[advice.option]}
        if advice.lead < 0.05:
            return say("decision_helper.tie", **values)
        return say("decision_helper.sentence", **values, lead=advice.lead)

    def change(self) -> str:
        """What would change it, in one sentence."""
        change = self.advice.change
        if change is None:
            return say("decision_helper.no_change")
        return say(
            "decision_helper.change",
            factor=factor_name(change.factor),
            level=level_name(change.factor, change.level),
            now=level_name(change.factor, self.levels[change.factor]),
            option=_option(change.option),
        )

    def as_html(self) -> str:
        """The state as HTML; texts of the evidence are escaped."""
        advice = self.advice
        speaking = [one for one in advice.rules if one.contribution > 0]
        silent = [one for one in advice.rules if one.contribution == 0]
        parts = [
            f"<p style='font-size:1.15em'><b>{html.escape(self.sentence())}</b></p>",
            f"<p>{html.escape(self.change())}</p>",
            _bars(advice),
            f"<p><b>{_text('speaking')}</b></p>{self._rules(speaking)}",
        ]
        if silent:
            parts.append(f"<details><summary>{_text('silent')}</summary>{self._rules(silent)}</details>")
        return f"<div style='max-width:1000px'>{''.join(parts)}</div>"

    def _rules(self, spoken: list[Spoken]) -> str:
        head = "".join(f"<th style='{CELL}'>{_text(name)}</th>" for name in ("rule", "for", "counts", "evidence"))
        rows = []
        for one in spoken:
            counted = say(
                "decision_helper.product",
                applies=one.applies,
                weight=self.weights[one.rule.id],
                contribution=one.contribution,
            )
            text = f"<b>{_group(one.rule)}</b> {html.escape(say(f'decision_helper.rules.{one.rule.id}'))}"
            found = "<br>".join(self._measured(claim) for claim in one.rule.evidence)
            counted = f"<span style='white-space:nowrap'>{html.escape(counted)}</span>"
            cells = (text, _chip(one.rule.speaks_for), counted, found)
            rows.append("<tr>" + "".join(f"<td style='{CELL}'>{cell}</td>" for cell in cells) + "</tr>")
        return f"<table style='border-collapse:collapse'><tr>{head}</tr>{''.join(rows)}</table>"

    def _measured(self, claim: str) -> str:
        row = self.evidence.get(claim)
        if row is None:
            return html.escape(say("decision_helper.unmeasured", claim=claim))
        values = {"claim": claim, "verdict": row["verdict"]}
        figure = _figure(row)
        if figure:
            told = html.escape(say("decision_helper.claim_with_figure", **values, figure=figure))
        else:
            told = html.escape(say("decision_helper.claim", **values))
        return f"{told} <b>({_text('against')})</b>" if str(row["verdict"]).startswith(CONTRARY) else told


def factor_name(factor: str) -> str:
    """A factor as the team reads it."""
    return say(f"decision_helper.factors.{factor}.name")


def level_name(factor: str, level: int) -> str:
    """One of its levels."""
    return say(f"decision_helper.factors.{factor}.levels.{level + 1}")


def _bars(advice: Advice) -> str:
    most = max(*advice.scores.values(), 1.0)
    rows = []
    for option in OPTIONS:
        score = advice.scores[option]
        label = html.escape(say("decision_helper.bar", option=_option(option), score=score))
        rows.append(
            f"<div style='display:flex;align-items:center;margin:3px 0'><div style='width:14em'>{label}</div>"
            f"<div style='flex:1'><div style='height:14px;width:{score / most:.1%};background:{COLOURS[option]}'></div>"
            "</div></div>"
        )
    return f"<div role='group' aria-label='{_text('scores')}'>{''.join(rows)}</div>"


def _chip(option: Option) -> str:
    style = f"border-left:10px solid {COLOURS[option]};padding-left:6px;white-space:nowrap"
    return f"<span style='{style}'>{html.escape(_option(option))}</span>"


def _figure(row: Mapping[str, Any]) -> str:
    figure: Any = row.get("figure")
    bounds = row
    if isinstance(figure, Mapping):
        figure, bounds = figure.get("value"), figure
    if figure is None or isinstance(figure, str):
        return figure or ""
    if bounds.get("low") is None or bounds.get("high") is None:
        return f"{figure:.2f}"
    return say("decision_helper.interval", value=figure, low=bounds["low"], high=bounds["high"])


def _group(rule: Rule) -> str:
    """The rule of the workshop's list that it is a part of."""
    group = rule.id.partition(".")[0]
    return html.escape(say("decision_helper.added")) if group == "M" else group


def _option(option: Option) -> str:
    return say(f"decision_helper.options.{option.replace('-', '_')}")


def _text(name: str) -> str:
    return html.escape(say(f"decision_helper.{name}"), quote=True)


def decision_helper(evidence: Evidence | None = None) -> Any:
    """The widget: an ``ipywidgets.VBox``.

    Args:
        evidence: by claim, its measured verdict and figure; see ``Evidence``.
    """
    import ipywidgets as widgets

    state = Decision(evidence or {})
    factors = {name: _choice(widgets, name) for name in FACTORS}
    sliders = {
        rule.id: widgets.FloatSlider(
            rule.weight,
            min=0,
            max=MOST,
            step=0.5,
            readout_format=".1f",
            description=f"{_group(rule)}: {_option(rule.speaks_for)}",
            continuous_update=False,
            style={"description_width": "130px"},
        )
        for rule in RULES
    }
    reset = widgets.Button(description=say("decision_helper.reset"), layout=widgets.Layout(width="auto"))
    shown = widgets.HTML()

    def show(_: object) -> None:
        state.levels = {name: int(control.value) for name, control in factors.items()}
        state.weights = {name: slider.value for name, slider in sliders.items()}
        shown.value = state.as_html()

    def restore(_: object) -> None:
        for rule in RULES:
            sliders[rule.id].value = rule.weight

    for control in (*factors.values(), *sliders.values()):
        control.observe(show, names="value")
    reset.on_click(restore)
    show(None)
    situation = [_row(widgets, factor_name(name), "260px", control) for name, control in factors.items()]
    rows = [_row(widgets, say(f"decision_helper.rules.{name}"), "560px", slider) for name, slider in sliders.items()]
    moved = widgets.Accordion([widgets.VBox([*rows, reset])], titles=(say("decision_helper.weights"),))
    moved.selected_index = None
    title = widgets.HTML(f"<b>{_text('situation')}</b>")
    return widgets.VBox([title, widgets.VBox(situation), moved, shown])


def _row(widgets: Any, label: str, width: str, control: Any) -> Any:
    return widgets.HBox([widgets.HTML(html.escape(label), layout=widgets.Layout(width=width)), control])


def _choice(widgets: Any, name: str) -> Any:
    """Buttons with the levels in words."""
    return widgets.ToggleButtons(
        options=[(level_name(name, level), level) for level in range(FACTORS[name].levels)],
        value=FACTORS[name].default,
        style={"button_width": "115px"},
    )
