"""Checks from outside of AWS: the provider, the callback address, the authorizer, this machine's clock."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import requests

from cli import connection as clock
from cli.doctor.findings import TENANT, Context, Finding, State, secret_fault, worst
from cli.keys import new_key
from cli.tenants import directory_of
from vidu_relay.adapters.provider_gateway import GatewayProvider
from vidu_relay.adapters.provider_vidu import ViduProvider
from vidu_relay.adapters.secret_store import ProviderAccounts, Secret
from vidu_relay.domain.catalogue import PROVIDERS
from vidu_relay.domain.errors import ConfigurationError, ProviderUnavailableError
from vidu_relay.domain.identifiers import task_id_from_random

KEY_NAME = "doctor"
LEFT_AFTER_MS = 600_000
"""An older key belongs to a run that was killed."""
CLOCK_SECONDS = 30
"""AWS refuses requests signed five minutes off; moments in records and signatures are wrong long before."""


def provider(context: Context) -> Finding:
    """Read a task that cannot exist, with the stored key and with a made-up one: only a difference proves the key.

    At each provider that has a key, and at the default one.
    """
    stored = Secret(context.client("secretsmanager"), context.resource("ProviderSecret"))
    accounts = ProviderAccounts(
        stored, context.submitting["PROVIDER_NAME"], context.submitting.get("PROVIDER_BASE_URL", "")
    )
    try:
        names = dict.fromkeys((accounts.default, *accounts.names()))
    except ConfigurationError as error:
        return secret_fault(error, context.again("provider", "set-key"))
    return worst([_provider(name, accounts, context) for name in names if name in PROVIDERS])


def _provider(name: str, accounts: ProviderAccounts, context: Context) -> Finding:
    set_key = context.again("provider", "set-key", "--provider", name)
    try:
        base_url, key = accounts.account(name)
    except ConfigurationError as error:
        return secret_fault(error, set_key)
    own, made_up = (read_unknown_task(name, base_url, each) for each in (key, secrets.token_hex(16)))
    finding = assess_provider(own, made_up, set_key)
    return replace(finding, found=f"{name}: {finding.found}")


def read_unknown_task(name: str, base_url: str, key: str) -> int | None:
    """HTTP's status for an id in the form of the provider's own ones; None without a reply."""
    number = uuid.uuid4()
    try:
        if name == "vidu":
            ViduProvider(lambda: (base_url, key)).read(f"{number.int % 10**18:018}")
        else:
            GatewayProvider(lambda: (base_url, key)).read(number.hex)
    except ProviderUnavailableError as error:
        return error.status
    return 200


def assess_provider(own: int | None, made_up: int | None, set_key: str = "relay provider set-key") -> Finding:
    """By the statuses of both reads. Providers check the key first, and then say 404."""
    found = f"HTTP {own or '?'} with the stored key, {made_up or '?'} with a made-up one"
    refused = (requests.codes.unauthorized, requests.codes.forbidden)
    if own in (*refused, requests.codes.payment_required):
        return Finding(State.NOT, f"the provider refuses the account: {found}", f"{set_key}, or ask the provider")
    if own == requests.codes.not_found and made_up in refused:
        return Finding(State.OK, found)
    return Finding(State.UNKNOWN, f"this proves nothing: {found}", "check the base address; repeat it, or use --spend")


def callback(context: Context) -> Finding:
    """Call back for a task that never was, with a wrong token, where the provider would."""
    base_url = context.submitting["PUBLIC_BASE_URL"].rstrip("/")
    url = f"{base_url}/v1/callbacks/{task_id_from_random(secrets.token_bytes(16))}"
    try:
        reply = context.http("POST", url, params={"token": "relay-doctor"}, json={})
    except requests.RequestException as error:
        remedy = "check PublicBaseUrl, its DNS name and certificate"
        return Finding(State.NOT, f"{base_url} cannot be reached from here ({type(error).__name__})", remedy)
    try:
        code = reply.json().get("code")
    except (ValueError, AttributeError):
        code = None
    return assess_callback(reply.status_code, code)


def assess_callback(status: int, code: object) -> Finding:
    """By the answer: its status, and the code of its problem document."""
    if (status, code) == (requests.codes.forbidden, "callback_refused"):
        return Finding(State.OK, "HTTP 403, callback_refused")
    if status == requests.codes.too_many_requests:
        return Finding(State.UNKNOWN, "HTTP 429: callbacks are throttled", "repeat it")
    if status >= requests.codes.internal_server_error:
        return Finding(State.NOT, f"HTTP {status}", "sam logs --name ReceiveCallback; runbook, Throttles")
    return Finding(
        State.NOT, f"HTTP {status} is not the relay's refusal", "check PublicBaseUrl: another server answers"
    )


def tenant(context: Context) -> None:
    """Make the tenant of checks, which can submit nothing, and revoke the keys of killed runs."""
    directory, now = directory_of(context.connection), clock.now()
    directory.create_tenant(TENANT, now)
    directory.set_disabled(TENANT, False)
    directory.set_daily_cap(TENANT, 0)
    for key in directory.list_keys(TENANT):
        if key.name == KEY_NAME and key.created_at < now - LEFT_AFTER_MS:
            directory.revoke_key(key.digest)


@contextmanager
def temporary_key(context: Context) -> Iterator[str]:
    """A key of the tenant of checks, revoked at the end."""
    directory = directory_of(context.connection)
    api_key, stored = new_key(TENANT, KEY_NAME)
    try:
        directory.add_key(stored)
        yield api_key
    finally:
        directory.revoke_key(stored.digest)


def authorizer(context: Context) -> Finding:
    """Ask for tasks without a key, with a wrong one and with a right one."""
    tenant(context)
    url = f"{context.output('ApiUrl').rstrip('/')}/v1/tasks"
    with temporary_key(context) as right:
        statuses = [
            context.http("GET", url, headers={"Authorization": f"Bearer {key}"} if key else {}).status_code
            for key in (None, secrets.token_urlsafe(32), right)
        ]
    found = "HTTP {} without a key, {} with a wrong one, {} with a right one".format(*statuses)
    if statuses == [requests.codes.unauthorized, requests.codes.forbidden, requests.codes.ok]:
        return Finding(State.OK, found)
    if requests.codes.too_many_requests in statuses:
        return Finding(State.UNKNOWN, found, "the API is throttled: repeat it")
    if max(statuses) >= requests.codes.internal_server_error:
        return Finding(State.NOT, found, "sam logs --name AuthorizeRequest; runbook, Throttles")
    return Finding(State.NOT, found, "must be 401, 403, 200: sam logs --name AuthorizeRequest; deploy again")


def clock_of_this_machine(context: Context) -> Finding:
    """Compare with the date in a reply of DynamoDB's."""
    before = clock.now()
    at_aws = context.connection.time_at_aws()
    apart = abs((before + clock.now()) / 2 - at_aws - 500) / 1000  # AWS says whole seconds
    found = f"{apart:.0f} s apart"
    if apart <= CLOCK_SECONDS:
        return Finding(State.OK, found)
    return Finding(State.NOT, found, "set this machine's clock (NTP)")
