"""The catalogue: which models there are, and what each takes at each provider.

An entry is data (`domain.models`). Requests are checked by it (`request_model`), described by it (`model_schema`) and
sent by it (the adapters); no other code knows a model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal

from vidu_relay.domain.errors import ConfigurationError, Fault
from vidu_relay.domain.image_format import ANY_IMAGE, ImageRules

__all__ = [
    "DEFAULT_MODEL",
    "GIVEN",
    "MAX_IMAGES",
    "MAX_IMAGES_PER_SUBJECT",
    "MAX_SUBJECT_ID_CHARACTERS",
    "MAX_URL_BYTES",
    "MAX_VOICE_ID_CHARACTERS",
    "PROVIDERS",
    "Choice",
    "Either",
    "Evidence",
    "ImageRules",
    "Kind",
    "Model",
    "Offer",
    "Offering",
    "Parameter",
    "When",
    "choice_at",
    "find_model",
    "known_ids",
    "models",
]

Kind = Literal["text2video", "img2video", "start-end2video", "reference2video"]
Type = Literal["text", "integer", "boolean", "ratio", "url", "json", "images", "subjects"]
Evidence = Literal["page", "core of page", "copy of page"]
"""How certain an offer is: the provider's whole page was read; its first part with every field that matters; a dated
copy of the page at a third party."""

PROVIDERS = ("gateway", "vidu")
DEFAULT_MODEL = "viduq2_pro_fast_reference2video"
"""The first entry, and what the tool asks for where no model is named."""
MAX_IMAGES = 7
"""Of all subjects together."""
MAX_IMAGES_PER_SUBJECT = 3
MAX_URL_BYTES = 2048  # ours, in UTF-8: the pages give none; what servers and browsers take in common
MAX_SUBJECT_ID_CHARACTERS = 100  # ours
MAX_VOICE_ID_CHARACTERS = 200  # ours
MODEL_ID = re.compile(r"[a-z0-9_]{1,64}")
KINDS: tuple[Kind, ...] = ("reference2video", "text2video", "img2video", "start-end2video")


class _Given:
    def __repr__(self) -> str:
        return "GIVEN"


GIVEN: Any = _Given()
"""In a rule: any value that the client gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a model at one provider.

    - `choices`: the values taken; empty where `least` and `most` bound it.
    - `least` and `most` bound an integer's value, a text's characters, or a list's members.
    - `default`: what the provider takes where the parameter is left out; None where it depends or is not stated. It is
      never sent.
    - `code`: the provider's code for a wrong number of members.
    - `about`: what it does, for people; empty where the name says it.
    """

    type: Type
    required: bool = False
    default: Any = None
    choices: tuple[str | int, ...] = ()
    least: int | None = None
    most: int | None = None
    code: str | None = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class When:
    """A rule between parameters: where `when` holds, each of `then` has one of the values that it lists.

    A parameter that was left out counts with its default; one without a default fits every list of values, but is not
    `GIVEN`. The fault stands at `at`.
    """

    when: Mapping[str, Any]
    then: Mapping[str, tuple[Any, ...]]
    at: str
    text: str
    code: str | None = None

    @property
    def names(self) -> frozenset[str]:
        """The parameters that the rule is about."""
        return frozenset((*self.when, *self.then, self.at))

    def faults(self, values: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> Iterator[Fault]:
        """The fault of a request with these values, if the rule is broken."""
        applies = all(_fits(values, parameters, name, (value,)) is True for name, value in self.when.items())
        if applies and any(_fits(values, parameters, name, allowed) is False for name, allowed in self.then.items()):
            yield Fault(self.at, self.text, self.code)


@dataclass(frozen=True, slots=True)
class Either:
    """A rule: exactly one of two parameters is given."""

    first: str
    second: str
    text: str
    both: str
    code: str | None = None

    @property
    def names(self) -> frozenset[str]:
        """The parameters that the rule is about."""
        return frozenset((self.first, self.second))

    def faults(self, values: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> Iterator[Fault]:  # noqa: ARG002
        """The fault of a request with these values, if the rule is broken."""
        given = [values.get(name) for name in (self.first, self.second)]
        if given[0] is None and given[1] in (None, [], ()):
            yield Fault("", self.text, self.code)
        if all(given):
            yield Fault(self.first, self.both)


def _fits(
    values: Mapping[str, Any], parameters: Mapping[str, Parameter], name: str, allowed: tuple[Any, ...]
) -> bool | None:
    """Whether a value is among those allowed; None where it is not known which value the provider takes."""
    value = values.get(name)
    if allowed == (GIVEN,):
        return bool(value)
    if value is None:
        value = parameters[name].default if name in parameters else None
    return None if value is None else any(type(value) is type(each) and value == each for each in allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A model at one provider: what the provider calls it, what it takes there, and how that is known.

    - `path` is the last part of the create call's path, where a provider has several.
    - `cancel`: whether the provider has a call that cancels its tasks.
    - `evidence`, `source` (an address) and `read_on` (a date) say how certain the limits are.
    - `unseen`: parameters that the source does not show and that are sent all the same.
    """

    model: str
    parameters: Mapping[str, Parameter]
    rules: tuple[When | Either, ...] = ()
    images: ImageRules = ANY_IMAGE
    path: str = ""
    cancel: bool = False
    evidence: Evidence
    source: str
    read_on: str
    unseen: tuple[str, ...] = ()

    @property
    def off_peak(self) -> bool:
        """Whether there is an off-peak mode."""
        return "off_peak" in self.parameters

    @property
    def audio(self) -> bool:
        """Whether videos can have sound."""
        return "audio" in self.parameters


@dataclass(frozen=True, slots=True)
class Model:
    """A model by its public id. `offers` holds what each provider that has it takes; `note` is for people."""

    id: str
    kind: Kind
    offers: Mapping[str, Offer]
    note: str = ""


@cache
def models() -> Mapping[str, Model]:
    """Every model by its id, the first one first. Raises `ConfigurationError` as `by_id` does."""
    return by_id(
        entry for kind in KINDS for entry in import_module(f"vidu_relay.domain.models.{kind.replace('-', '_')}").MODELS
    )


def by_id(entries: Iterable[Model]) -> dict[str, Model]:
    """Entries by their ids. Raises `ConfigurationError` for a malformed entry, and for two with one id."""
    found: dict[str, Model] = {}
    for entry in entries:
        if entry.id in found:
            raise ConfigurationError(f"the catalogue has two entries with the id {entry.id}")
        for fault in _entry_faults(entry):
            raise ConfigurationError(f"the catalogue's entry {entry.id} is malformed: {fault}")
        found[entry.id] = entry
    return found


def _entry_faults(entry: Model) -> Iterator[str]:
    if not MODEL_ID.fullmatch(entry.id):
        yield "its id must be lower-case letters, digits and underscores"
    if not entry.offers or set(entry.offers) - set(PROVIDERS):
        yield f"it must have an offer at one of {', '.join(PROVIDERS)}, and at no other"
    for provider, offer in entry.offers.items():
        if not (offer.model and offer.source and offer.read_on):
            yield f"{provider}: it needs the provider's id of the model, a source and its date"
        if "prompt" not in offer.parameters:
            yield f"{provider}: it needs a prompt"
        for name, spec in offer.parameters.items():
            for fault in _parameter_faults(spec):
                yield f"{provider}: {name} {fault}"
        named = {name for rule in offer.rules for name in rule.names}
        for name in sorted(named - set(offer.parameters)):
            yield f"{provider}: a rule names {name}, which it does not take"


def _parameter_faults(spec: Parameter) -> Iterator[str]:
    python = {"integer": int, "boolean": bool}.get(spec.type, str)
    stated = (*spec.choices, *(() if spec.default is None else (spec.default,)))
    if any(type(value) is not python for value in stated):
        yield f"has a default or a choice that is no {spec.type}"
    elif spec.choices and not set(stated) <= set(spec.choices):
        yield "has a default that is none of its choices"
    elif spec.type == "integer" and not spec.choices:
        if spec.least is None or spec.most is None:
            yield "has no limits"
        elif not spec.least <= (spec.least if spec.default is None else spec.default) <= spec.most:
            yield "has a lower limit above its upper one, or a default outside them"


def find_model(model_id: str) -> Model | None:
    """The model with this public id, or None."""
    return models().get(model_id)


def known_ids(ids: Iterable[str]) -> frozenset[str]:
    """The ids, as a set. Raises `ConfigurationError` naming those that are no model's; no id loads no model."""
    chosen = frozenset(ids)
    if unknown := sorted(one for one in chosen if not find_model(one)):
        raise ConfigurationError(
            f"the parameter Models names {', '.join(unknown)}, which the catalogue does not have: {', '.join(models())}"
        )
    return chosen


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, the provider that is asked for it, and the provider whose limits hold: the same, unless unlisted."""

    model: Model
    provider: str
    limits_of: str

    @property
    def offer(self) -> Offer:
        """What the model takes."""
        return self.model.offers[self.limits_of]


def choice_at(model: Model, provider: str) -> Choice:
    """The model asked for at this provider: by another provider's limits where this one does not list it."""
    return Choice(model, provider, provider if provider in model.offers else next(iter(model.offers)))


@dataclass(frozen=True, slots=True)
class Offering:
    """Which models a deployment offers, and where.

    - `providers` are asked in this order, the default one first, then `also()`, those that have a key by now: the first
      that has a model is asked for it. `also` may raise `ConfigurationError`.
    - `only` are the ids that the operator chose; empty for all.
    - `off_peak`: whether off-peak mode is available.
    - `unlisted`: the operator lets the default provider be asked for a model that it is not known to have.
    """

    providers: tuple[str, ...]
    only: frozenset[str] = frozenset()
    off_peak: bool = False
    unlisted: bool = False
    also: Callable[[], Iterable[str]] = tuple

    def find(self, model_id: object) -> Choice | None:
        """The model, and the provider that is asked for it; None where the deployment does not offer it."""
        model = find_model(model_id) if isinstance(model_id, str) else None
        if model is None or (self.only and model.id not in self.only):
            return None
        for provider in self._asked():
            if provider in model.offers:
                return choice_at(model, provider)
        return choice_at(model, self.providers[0]) if self.unlisted else None

    def why_not(self, model: Model) -> str:
        """Why the deployment does not offer this model, for the client to pass on."""
        if self.only and model.id not in self.only:
            return "this deployment does not offer this model"
        asked, having = " and ".join(self._asked()), " or ".join(model.offers)
        return (
            f"{asked} is not known to have this model. The operator can add a key of {having} (`relay provider set-key "
            f"--provider`), or let {self.providers[0]} be asked all the same (`AllowUnlistedModels`)"
        )

    def _asked(self) -> Iterator[str]:
        yield from self.providers
        yield from self.also()

    def model_ids(self) -> list[str]:
        """The ids of the models that the deployment offers, in the catalogue's order."""
        return [model_id for model_id in models() if self.find(model_id)]
