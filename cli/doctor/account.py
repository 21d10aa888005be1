"""Checks of the account and of what is deployed: concurrency, quotas, versions."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

import vidu_relay
from cli.doctor.findings import Context, Finding, State
from cli.source import ROOT

PACKAGE = Path(vidu_relay.__file__).parent
LEAST_CONCURRENCY, WANTED_CONCURRENCY = 100, 1000
NAMED = 3
"""How many files that differ are named."""


class Quota(NamedTuple):
    """A quota of the account by its code in Service Quotas, and what the stack takes of it as deployed, a second."""

    name: str
    service: str
    code: str
    needed: int


QUOTAS = (
    Quota("API Gateway requests", "apigateway", "L-8A5B8E43", 100),
    Quota("EventBridge PutEvents", "events", "L-9B653E91", 20),
    Quota("EventBridge invocations of targets", "events", "L-5540C5E3", 20),
)
"""The API takes 100 requests a second, and three copies at once are four finished tasks a second, of five events each
(docs/scale.md)."""


def concurrency(context: Context) -> Finding:
    """How many functions the account may run at once, without those that others have reserved."""
    limit = context.client("lambda").get_account_settings()["AccountLimit"]
    return assess_concurrency(limit["UnreservedConcurrentExecutions"])


def assess_concurrency(number: int) -> Finding:
    """By the number of functions at once."""
    found = f"{number} at once"
    if number >= LEAST_CONCURRENCY:
        return Finding(State.OK, found)
    remedy = f"ask for {WANTED_CONCURRENCY:,} concurrent executions: Service Quotas, Lambda, L-B99A9384"
    return Finding(State.NOT, found, remedy)


def quotas(context: Context) -> Finding:
    """What the account's quotas are, against what the stack takes."""
    client = context.client("service-quotas")
    return assess_quotas({quota: _value(client, quota) for quota in QUOTAS})


def _value(client: Any, quota: Quota) -> float | None:
    """The account's quota, or AWS's default where the account has none of its own; None where AWS knows neither."""
    for read in (client.get_service_quota, client.get_aws_default_service_quota):
        try:
            return float(read(ServiceCode=quota.service, QuotaCode=quota.code)["Quota"]["Value"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchResourceException":
                raise
    return None


def assess_quotas(values: Mapping[Quota, float | None]) -> Finding:
    """By each quota's value, a second."""
    known = {quota: value for quota, value in values.items() if value is not None}
    found = ", ".join(f"{quota.name} {value:,.0f}/s" for quota, value in known.items())
    small = [quota for quota, value in known.items() if value < quota.needed]
    if not small and known.keys() == values.keys():
        return Finding(State.OK, found)
    if not small:
        hidden = ", ".join(quota.name for quota in values.keys() - known.keys())
        return Finding(State.UNKNOWN, f"{found}; no value of {hidden}", "see the Service Quotas console")
    remedy = "; ".join(
        f"ask for {quota.needed}/s and more: Service Quotas, {quota.service}, {quota.code}" for quota in small
    )
    return Finding(State.NOT, found, remedy)


def versions(context: Context) -> Finding:
    """Whether the deployed code is this checkout's: our layer and each handler file by file, runtime, architecture."""
    wanted = _runtime()
    differing = []
    layers: set[str] = set()
    client = context.client("lambda")
    for handler in sorted((ROOT / "functions").glob("*/handler.py")):
        name = "".join(part.capitalize() for part in handler.parent.name.split("_"))
        function = client.get_function(FunctionName=context.resource(name))
        configuration = function["Configuration"]
        layers |= {layer["Arn"] for layer in configuration["Layers"]}
        if (configuration["Runtime"], configuration["Architectures"]) != wanted:
            differing.append(f"{name} runs on {configuration['Runtime']}, {configuration['Architectures'][0]}")
        here = {"handler.py": handler.read_bytes()}
        differing += [f"{name}/{path}" for path in different(here, _content(context, function["Code"]["Location"]))]
    differing += _of_layers(context, layers)
    if not differing:
        return Finding(State.OK, f"this checkout's, on {wanted[0]}, {wanted[1][0]}")
    more = f" and {len(differing) - NAMED} more" if len(differing) > NAMED else ""
    remedy = "deploy this checkout, or check out the commit that is deployed"
    return Finding(State.NOT, f"{len(differing)} differ: {', '.join(differing[:NAMED])}{more}", remedy)


def _of_layers(context: Context, arns: set[str]) -> list[str]:
    """What differs in our own layer. The other one holds third-party packages, and is large."""
    here = {
        f"python/vidu_relay/{path.relative_to(PACKAGE).as_posix()}": path.read_bytes() for path in PACKAGE.rglob("*.py")
    }
    deployed: dict[str, bytes] = {}
    for arn in (arn for arn in arns if "SharedLayer" in arn):
        name, _, number = arn.rpartition(":")
        layer = context.client("lambda").get_layer_version(LayerName=name, VersionNumber=int(number))
        deployed |= _content(context, layer["Content"]["Location"])
    return different(here, deployed)


def different(here: Mapping[str, bytes], deployed: Mapping[str, bytes]) -> list[str]:
    """Names of Python files that are not the same in both, or in one only."""
    return sorted(name for name in {**here, **deployed} if here.get(name) != deployed.get(name))


def _content(context: Context, link: str) -> dict[str, bytes]:
    """The Python files behind a link to deployed code."""
    reply = context.http("GET", link)
    reply.raise_for_status()
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name.endswith(".py")}


def _runtime() -> tuple[str, list[str]]:
    """Runtime and architecture, as the template of this checkout has them."""
    template = (ROOT / "template.yaml").read_text()
    runtime, architecture = (
        re.search(rf"^    {name}: \[?([\w.]+)", template, re.MULTILINE) for name in ("Runtime", "Architectures")
    )
    return (runtime[1] if runtime else ""), [architecture[1] if architecture else ""]
