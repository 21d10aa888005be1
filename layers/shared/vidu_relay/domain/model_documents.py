"""What the API says of models, and of the price of a request: types, as in `documents`."""

from typing import Annotated, Any, TypedDict, get_args

from vidu_relay.domain.catalogue import Kind

__all__ = [
    "CreateCall", "Estimate", "ImageLimits", "ModelEvidence", "ModelList", "OfferedModel",
]  # fmt: skip

Amount = Annotated[str, {"pattern": "^[0-9]+([.][0-9]+)?$", "examples": ["0.275"]}]
"""US dollars, exact."""


class ModelEvidence(TypedDict):
    level: Annotated[
        str,
        "`page`: the provider's whole page was read. `core of page`: its first part, with every parameter that is "
        "taken here. `copy of page`: a dated copy at a third party.",
    ]
    source: str
    date: Annotated[str, {"format": "date"}]
    unseen: Annotated[list[str], "Parameters that are sent although the source does not show them."]


class ImageLimits(TypedDict):
    min_pixels: Annotated[int, "Of each side."]
    max_ratio: Annotated[int, "Of the longer side to the shorter."]
    pair: Annotated[list[float] | None, "Least and most of the first image's width and height divided by the second's."]


class OfferedModel(TypedDict):
    """A model of this deployment, as data that a form can be drawn from."""

    id: str
    kind: Annotated[str, {"enum": list(get_args(Kind))}]
    provider: Annotated[str, "Who is asked."]
    listed: Annotated[bool, "False: this provider does not list the model, and the limits are another's."]
    audio: Annotated[bool, "Whether videos can have sound."]
    cancel: Annotated[bool, "Whether a submitted task can be canceled at the provider."]
    off_peak: Annotated[bool, "Whether it has an off-peak mode that the operator has switched on."]
    images: Annotated[ImageLimits | None, "Null where the model takes none."]
    price: Annotated[dict[str, Any] | None, "Null where it is not known."]
    evidence: Annotated[ModelEvidence, "How certain the limits are."]
    note: str
    request: Annotated[dict[str, Any], "The JSON Schema of a request, whole in itself."]


class ModelList(TypedDict):
    models: list[OfferedModel]


class CreateCall(TypedDict):
    """What the provider would be sent, without the address of its callback."""

    path: Annotated[str, "Behind the provider's base address."]
    body: Annotated[
        dict[str, Any],
        "The JSON body. Images stand as the request names them, embedded ones by their hash (RFC 6920).",
    ]


class Estimate(TypedDict):
    """What a request would cost. Nothing was recorded, and the provider was not called."""

    model: str
    provider: Annotated[str, "Who would be asked."]
    off_peak: bool
    usd: Annotated[Amount | None, "US dollars. Null where no price is known."]
    reserved_usd: Annotated[
        Amount, "What a budget counts until the bill is known: more than `usd` where bills differ, and never nothing."
    ]
    basis: Annotated[
        str,
        {"enum": ["list", "learned", "unknown"]},
        "`list`: the operator's price list. `learned`: the median of what the provider billed within 30 days for the "
        "same model and parameters that matter. `unknown`: only `reserved_usd` is a number.",
    ]
    request: CreateCall
