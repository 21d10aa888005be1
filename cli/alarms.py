"""`relay alarms`: the alarms that are raised, each with its section of the runbook."""

from __future__ import annotations

import re
from typing import Any

import click

from cli.answer import Answer, RefusedError, printable
from cli.command import Command, Relay
from cli.connection import Connection
from cli.source import ROOT
from vidu_relay.domain.representation import timestamp

SECTION = re.compile(r"docs/runbook\.md#([\w-]+)")


@click.command(cls=Command, examples=["alarms", "alarms oldest-overdue      (that section of the runbook)"])
@click.argument("section", required=False)
def alarms(relay: Relay, section: str | None) -> Answer:
    """List the alarms that are raised, each with its section of the runbook; or show one section."""
    known = runbook()
    if section is not None:
        if section not in known:
            raise RefusedError(f"the runbook has no section {section!r}: these are {', '.join(known)}")
        return Answer(known[section], {"section": section, "text": known[section]})
    shown = [{**one, "text": known.get(one["section"], "")} for one in raised_alarms(relay.connection)]
    texts = [f"{one['alarm']}, since {one['since']}: {one['reason']}\n\n{one['text']}" for one in shown]
    return Answer(printable("\n\n".join(texts)) or "No alarm is raised.", {"alarms": shown})


def raised_alarms(connection: Connection) -> list[dict[str, Any]]:
    """The stack's alarms, those that notify its topic, in state ALARM: `alarm`, `since`, `reason`, and the `section` of
    the runbook that the alarm's description names, empty if it names none."""
    pages = connection.client("cloudwatch").get_paginator("describe_alarms").paginate(StateValue="ALARM")
    topic = connection.resource("AlarmTopic")
    raised = []
    for one in (one for page in pages for one in page["MetricAlarms"] if topic in one["AlarmActions"]):
        named, at = SECTION.search(one.get("AlarmDescription", "")), one.get("StateUpdatedTimestamp")
        since = timestamp(int(at.timestamp() * 1000)) if at else ""
        raised.append(
            {"alarm": one["AlarmName"], "since": since, "reason": one.get("StateReason", ""),
             "section": named[1] if named else ""}
        )  # fmt: skip
    return raised


def runbook() -> dict[str, str]:
    """The sections of docs/runbook.md, each with its heading, by the anchor that links name."""
    found = re.findall(r"^## .+\n(?:(?!^## ).*\n)*", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    return {text.partition("\n")[0][3:].lower().replace(" ", "-"): text.strip() for text in found}
