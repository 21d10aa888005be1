"""`relay models`: what a relay offers, or what the catalogue has."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from cli.answer import Answer, RefusedError, printable, table
from cli.command import Command, Relay

Described = Mapping[str, Any]


@click.command("models", cls=Command, examples=["models", "models viduq2_text2video", "models --json"])
@click.argument("model_id", required=False, metavar="[ID]")
def models(relay: Relay, model_id: str | None) -> Answer:
    """List the models that tasks can ask for, or show the parameters, limits and rules of one.

    Those of the relay that is named; without one, all that this tool knows, at each provider.
    """
    listed = relay.api.models() if relay.named else known_models()
    if model_id is None:
        rows = [("MODEL", "KIND", "PROVIDER", "SECONDS", "RESOLUTION", "EVIDENCE"), *(_row(one) for one in listed)]
        return Answer(printable(table(rows)), {"models": listed})
    found = [one for one in listed if one["id"] == model_id]
    if not found:
        raise RefusedError(unknown(model_id, [one["id"] for one in listed]))
    return Answer(printable("\n\n".join(_page(one) for one in found)), {"models": found})


def known_models() -> list[Described]:
    """Every model of the catalogue at every provider that has it, as `GET /v1/models` describes it."""
    from vidu_relay.domain.catalogue import PROVIDERS, Offering
    from vidu_relay.domain.model_schema import describe_models

    found: list[Described] = [
        one for provider in PROVIDERS for one in describe_models(Offering((provider,), off_peak=True))
    ]
    return sorted(found, key=lambda one: [one["kind"], one["id"]])


def unknown(model_id: str, ids: Sequence[str]) -> str:
    """What to say of a model that is not among these."""
    ids = list(dict.fromkeys(ids))
    near = difflib.get_close_matches(model_id, ids, n=1)
    suggestion = f": did you mean {near[0]}?" if near else ":"
    return f"there is no model {model_id!r}{suggestion} The models are {', '.join(ids)}"


def _row(model: Described) -> tuple[str, ...]:
    taken = model["request"]["properties"]
    limits = (limits_of(taken.get(name, {})) for name in ("duration", "resolution"))
    return (model["id"], model["kind"], model["provider"], *limits, model["evidence"]["level"])


def _page(model: Described) -> str:
    evidence, request = model["evidence"], model["request"]
    rows = [("PARAMETER", "TYPE", "LIMITS", "DEFAULT", "ABOUT")]
    for name, schema in request["properties"].items():
        if name != "model":
            default = "required" if name in request["required"] else _text(schema.get("default"))
            rows.append((name, schema["type"], limits_of(schema), default, schema.get("description", "")))
    lines = [
        f"{model['id']}, {model['kind']} at {model['provider']}",
        f"limits: {evidence['level']}, {evidence['source']}, {evidence['date']}",
        *([model["note"]] if model["note"] else []),
        "",
        table(rows),
        *(f"- {rule}" for rule in _rules(model)),
    ]
    return "\n".join(lines)


def _rules(model: Described) -> Iterator[str]:
    for rule in model["request"].get("allOf", ()):
        either = [one for choice in rule.get("oneOf", ()) for one in choice["required"]]
        yield f"either {' or '.join(either)}" if either else rule["description"]
    if images := model["images"]:
        least = f"{images['min_pixels']} pixels or more each side, " if images["min_pixels"] > 1 else ""
        yield f"images: {least}1:{images['max_ratio']} to {images['max_ratio']}:1"
        if pair := images["pair"]:
            yield f"images: width and height of the first {pair[0]} to {pair[1]} times the second's"


def limits_of(schema: Described) -> str:
    """The limits of a parameter in words: `1 to 8`, `720p, 1080p`, `up to 2,000 characters`."""
    if "enum" in schema:
        return ", ".join(_text(value) for value in schema["enum"])
    if "maximum" in schema:
        least, most = schema["minimum"], schema["maximum"]
        return "64 bits" if most == 2**63 - 1 else f"{least:,} to {most:,}"
    if "maxItems" in schema:
        least, most = schema.get("minItems", 0), schema["maxItems"]
        return f"{most}" if least == most else f"{least} to {most}"
    if "maxLength" in schema:
        return f"up to {schema['maxLength']:,} characters"
    return ""


def _text(value: object) -> str:
    """A value as a request has it."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
