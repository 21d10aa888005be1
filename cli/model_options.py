"""The options of `relay submit`: those that every request may have, and those of the model that `--model` names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import click

from cli.command import Command
from cli.models import limits_of, unknown
from vidu_relay.domain.catalogue import DEFAULT_MODEL, Model, Parameter, find_model, models
from vidu_relay.domain.model_schema import parameter_schema

LISTS = ("images", "subjects")
TYPES = {"integer": int, "boolean": bool}
IMAGE = click.Option(
    ["--image"], multiple=True, metavar="IMAGE", help="https://…, s3://…, or a file, which is uploaded; several times."
)
SUBJECT = click.Option(
    ["--subject"],
    multiple=True,
    metavar="ID=IMAGE[,IMAGE]",
    help="A subject and its images, as --image takes them; one with a comma in its name needs a request file.",
)
CALLBACK_URL = click.Option(
    ["--callback-url"], metavar="URL", help="Where the relay sends signed webhooks about the task: https."
)


class ModelCommand(Command):
    """A command whose options depend on `--model`, wherever that stands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["model"] = _named(args)
        if find_model(ctx.meta["model"]) is None and not ctx.resilient_parsing:
            raise click.UsageError(
                f"{unknown(ctx.meta['model'], list(models()))}. A request FILE may name another", ctx
            )
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The options of the model stand first."""
        model = find_model(ctx.meta.get("model", DEFAULT_MODEL))
        return [*(_options(model) if model else ()), CALLBACK_URL, *super().get_params(ctx)]


def _named(args: Sequence[str]) -> str:
    """The value of `--model` among the words of a command line."""
    found = DEFAULT_MODEL
    for word, after in pairwise([*args, ""]):
        if word == "--":
            break
        if word == "--model":
            found = after
        elif word.startswith("--model="):
            found = word.partition("=")[2]
    return found


def parameters_of(model: Model) -> dict[str, dict[str, Parameter]]:
    """What the model takes, by parameter and provider."""
    found: dict[str, dict[str, Parameter]] = {}
    for provider, offer in model.offers.items():
        for name, spec in offer.parameters.items():
            found.setdefault(name, {})[provider] = spec
    return found


def _options(model: Model) -> Iterator[click.Parameter]:
    for name, specs in parameters_of(model).items():
        spec, option = next(iter(specs.values())), f"--{name.replace('_', '-')}"
        if name in LISTS:
            yield IMAGE if name == "images" else SUBJECT
        elif spec.type == "boolean":
            yield click.Option([f"{option}/--no-{option[2:]}"], default=None, help=_help(specs))
        else:
            yield click.Option([option], type=TYPES.get(spec.type, str), help=_help(specs))


def _help(specs: dict[str, Parameter]) -> str:
    """What one option is for, and its limits at each provider where they differ."""
    about = next((spec.about for spec in specs.values() if spec.about), "")
    limits: dict[str, list[str]] = {}
    for provider, spec in specs.items():
        limits.setdefault(_limits(spec), []).append(provider)
    said = [text if len(limits) == 1 else f"{text} at {' and '.join(where)}" for text, where in limits.items() if text]
    text = "; ".join(part for part in (f"{about[:1].upper()}{about[1:]}", *said) if part)
    return f"{text}." if text else ""


def _limits(spec: Parameter) -> str:
    schema: dict[str, Any] = parameter_schema(spec)
    default = "" if spec.default is None or spec.type == "boolean" else f"default {spec.default}"
    default = "on by default" if spec.default is True else default
    return ", ".join(part for part in (limits_of(schema), default) if part)
