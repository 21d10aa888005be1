"""The provider's models and their limits at each API: the simulator's own copy, `models.json`.

Read from the provider's pages and never taken from the relay's catalogue, so that a test notices where the two
disagree.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Model:
    """A model at one API.

    - `parameters`: each one's type, limits and default; there are no others.
    - `images`: `min_px` of width and height, `pair_resolution_ratio` of the first image to the second.
    - `codes`: the page's error codes by what they refuse, for the one model whose page names some.
    """

    name: str
    parameters: Mapping[str, Any]
    images: Mapping[str, Any]
    codes: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str, params: Mapping[str, Any]) -> Any:
        """A parameter of a request, with its default where it was left out; None where it has none."""
        spec = self.parameters.get(name, {})
        if "by" in spec:
            spec = spec.get(str(self.value(spec["by"], params)), {})
        return params.get(name, spec.get("default"))


@cache
def every() -> Any:
    """The whole copy: `gateway` by model, `vidu` by kind and model."""
    return json.loads(Path(__file__).with_name("models.json").read_text())


def at_gateway(name: object) -> Model | None:
    """The model that the gateway has by this name."""
    return _model(name, every()["gateway"])


def at_vidu(kind: str, name: object, *, unlisted: bool) -> Model | None:
    """The model that the upstream API has by this name at the endpoint of a kind.

    `unlisted`: it also has the gateway's models of the kind, by the gateway's names and with the gateway's limits.
    """
    listed = _model(name, every()["vidu"].get(kind, {}))
    other = at_gateway(name) if unlisted and not listed else None
    if other is None or every()["gateway"][name]["kind"] != kind:
        return listed
    parameters = dict(other.parameters)
    if subjects := parameters.get("subjects"):
        fields = {"name" if key == "id" else key: spec for key, spec in subjects["fields"].items()}
        parameters["subjects"] = {**subjects, "fields": fields}
    return replace(other, parameters=parameters)


def _model(name: object, entries: Mapping[str, Any]) -> Model | None:
    entry = entries.get(name) if isinstance(name, str) else None
    return Model(name, entry["parameters"], entry["images"], entry.get("codes", {})) if entry else None  # type: ignore[arg-type]
