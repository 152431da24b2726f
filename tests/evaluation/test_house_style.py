"""Each rule of the house style is kept by a good reply and broken by the change that breaks it."""

from __future__ import annotations

import pytest

from workshop_utils.evaluation.house_style import check_style

MESSAGE = "[CS-48213] The Sorvane 4 in theatre 3 lost its charge after 40 min, twice this week!! what now?"
REPLY = """Reference CS-48213
Good day,
You report that a Sorvane 4 lost its charge after 40 min, twice this week. \
We read the battery log of such a pump first. \
A battery that is older than 3 years is replaced at 14:30 on the day of the visit.
Next step: we call theatre 3 by 7 March 2025.
With regards
Clairval Customer Support, Tarrow"""


def test_a_good_reply_keeps_every_rule() -> None:
    assert check_style(REPLY, MESSAGE) == dict.fromkeys(check_style(REPLY, MESSAGE), True)
    assert len(check_style(REPLY, MESSAGE)) == 12


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("CS-48213", "CS-48214", "reference"),
        ("Reference CS-48213\n", "", "reference"),
        ("Good day,", "Hello,", "greeting"),
        ("You report", "It is reported", "opening"),
        ("that a Sorvane 4 lost its charge after 40 min, twice this week", "a problem", "opening"),
        (" We read the battery log of such a pump first.", "", "body length"),
        ("first. ", "first. We do. We can. We will. We may. ", "body length"),
        ("such a pump first", "such a pump first " + "and then again " * 8, "sentence length"),
        ("first.", "first!", "marks"),
        ("first.", "first?", "marks"),
        ("We read", "Unfortunately we read", "banned words"),
        ("We read", "I read", "person"),
        ("such a pump", "the customer", "person"),
        ("40 min", "40min", "numbers"),
        ("3 years", "three years", "numbers"),
        ("14:30", "2:30 pm", "numbers"),
        ("7 March 2025", "7/3/2025", "numbers"),
        ("by 7 March 2025", "soon", "next step"),
        ("Next step:", "Next:", "next step"),
        ("battery log", "**battery log**", "plain text"),
        ("first.", "first.\n- a list", "plain text"),
        ("With regards", "Regards", "close"),
    ],
)
def test_each_rule_can_be_broken(old: str, new: str, rule: str) -> None:
    assert old in REPLY
    assert check_style(REPLY.replace(old, new), MESSAGE)[rule] is False


@pytest.mark.parametrize("reply", ["", "\n\n\n", "Good day,", "ok"])
def test_anything_can_be_checked(reply: str) -> None:
    assert not all(check_style(reply, MESSAGE).values())
    assert not check_style(REPLY, "no case number")["reference"]
