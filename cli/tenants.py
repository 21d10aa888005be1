"""`relay tenants`: who may use the relay, how much, and the event sources and buckets recorded for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import click

from cli.answer import Answer, RefusedError, checked, table
from cli.command import Group, Relay
from cli.connection import Connection, now
from cli.doctor.findings import TENANT as DOCTOR
from vidu_relay.adapters.event_bus import SOURCE
from vidu_relay.adapters.tenant_directory import Tenant, TenantDirectory, TenantMapping
from vidu_relay.domain.budget import BUDGET_FIELDS, Budget, budget_fields
from vidu_relay.domain.money import money_text, parse_money
from vidu_relay.domain.representation import timestamp

TENANT_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_RULES = {
    TenantMapping.SOURCE: (
        re.compile(r"[A-Za-z0-9._/-]{1,128}"),
        "an event source has 1 to 128 of A-Z, a-z, 0-9, . _ / -",
    ),
    TenantMapping.BUCKET: (
        re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
        "a bucket's name has 3 to 63 of a-z, 0-9, inner . and -, and no s3://",
    ),
}
OWN_BUCKETS = ("InboxBucket", "VideosBucket", "FailuresBucket")
NUMBER = re.compile(r"-?[0-9]{1,12}")
MAX_DAILY_CAP = 10_000_000
"""More tasks a day than any provider account takes."""
SOURCES_MEAN = "its events VideoTaskRequested request videos as this tenant"
BUCKETS_MEAN = "this tenant's requests may use its objects as reference images"


@click.group(cls=Group)
def tenants() -> None:
    """Who may use the relay, how much, and which event sources and buckets are theirs."""


@tenants.command(examples=["tenants create acme", "tenants create acme --event-source acme.orders"])
@click.argument("tenant")
@click.option("--event-source", multiple=True, metavar="SOURCE", help=f"An EventBridge source: {SOURCES_MEAN}.")
def create(relay: Relay, tenant: str, event_source: tuple[str, ...]) -> Answer:
    """Create a tenant, unless it exists. Its name has 1 to 40 of a-z, 0-9 and inner hyphens; it is part of S3 keys."""
    checked(tenant, TENANT_ID, "a tenant id has 1 to 40 of a-z, 0-9 and inner hyphens (it is part of S3 keys)")
    if tenant == DOCTOR:
        raise RefusedError(f"{DOCTOR} is the tenant of `relay doctor`: choose another name")
    for source in event_source:
        _check_source(relay, source)
    directory = directory_of(relay.connection)
    _refuse_taken(relay, directory, TenantMapping.SOURCE, event_source, tenant)
    created = directory.create_tenant(tenant, now())
    for source in event_source:
        directory.add_mapping(TenantMapping.SOURCE, source, tenant)
    text = f"Tenant {tenant} {'created' if created else 'exists already'}."
    if event_source:
        text += f"\n{', '.join(event_source)}: {SOURCES_MEAN}."
    return Answer(text, {**_json(known_tenant(relay, tenant)[1]), "created": created})


@tenants.command("list", examples=["tenants list"])
def list_all(relay: Relay) -> Answer:
    """List every tenant, oldest first."""
    found = directory_of(relay.connection).list_tenants()
    rows = [("TENANT", "CREATED", "STATE", "DAILY CAP", "SOURCES AND BUCKETS")]
    rows += [
        (
            tenant.tenant_id,
            timestamp(tenant.created_at),
            "disabled" if tenant.disabled else "open",
            _cap(tenant),
            ", ".join((*tenant.event_sources, *(f"s3://{bucket}" for bucket in tenant.buckets))),
        )
        for tenant in found
    ]
    text = table(rows) if found else f"No tenants. `{relay.again('tenants', 'create', 'NAME')}` makes one."
    return Answer(text, {"tenants": [_json(tenant) for tenant in found]})


@tenants.command(examples=["tenants show acme"])
@click.argument("tenant")
def show(relay: Relay, tenant: str) -> Answer:
    """Show one tenant and its keys."""
    directory, found = known_tenant(relay, tenant)
    keys = directory.list_keys(found.tenant_id)
    lines = [
        f"Tenant {found.tenant_id}, {'disabled' if found.disabled else 'open'}",
        f"  created        {timestamp(found.created_at)}",
        f"  daily cap      {_cap(found)}",
        f"  event sources  {', '.join(found.event_sources) or 'none'}",
        f"  buckets        {', '.join(found.buckets) or 'none'}",
        f"  keys           {', '.join(f'{key.key_id} ({key.name})' for key in keys) or 'none'}",
        f"Drop request files below requests/{found.tenant_id}/ of the inbox bucket.",
    ]
    shown = [{"key_id": key.key_id, "name": key.name, "created_at": timestamp(key.created_at)} for key in keys]
    return Answer("\n".join(lines), {**_json(found), "keys": shown})


@tenants.command(examples=["tenants disable acme"])
@click.argument("tenant")
def disable(relay: Relay, tenant: str) -> Answer:
    """Refuse a tenant's new requests and cancel what is not submitted; submitted tasks continue, keys stay."""
    return _set_disabled(
        relay,
        tenant,
        True,
        "is disabled: its keys are refused. API Gateway may accept a key for another 60 seconds (its authorizer's "
        "cache). Tasks that were not submitted to the provider yet are canceled at their next check; tasks that the "
        "provider has continue: they are billed already.",
    )


@tenants.command(examples=["tenants enable acme"])
@click.argument("tenant")
def enable(relay: Relay, tenant: str) -> Answer:
    """Accept requests of a disabled tenant again."""
    means = "is open. API Gateway may refuse a key for another 60 seconds (its authorizer's cache)."
    return _set_disabled(relay, tenant, False, means)


@tenants.command(
    examples=[
        "tenants set-cap acme 500",
        "tenants set-cap acme default               (the parameter DailyTaskCap again)",
        "tenants set-cap acme 0 --accept-nothing    (reads still work; `tenants disable` refuses all)",
    ]
)
@click.argument("tenant")
@click.argument("cap")
@click.option("--accept-nothing", is_flag=True, help="Confirm a cap of 0.")
def set_cap(relay: Relay, tenant: str, cap: str, accept_nothing: bool) -> Answer:
    """Set how many tasks a UTC day a tenant may have accepted: 1 to 10,000,000, or `default`."""
    number = _read_cap(relay, cap, tenant, accept_nothing=accept_nothing)
    directory, _ = known_tenant(relay, tenant)
    directory.set_daily_cap(tenant, number)
    means = "the default (parameter DailyTaskCap)" if number is None else f"{number} tasks a UTC day"
    text = f"The daily cap of {tenant} is {means}. It applies within 60 seconds (the authorizer's cache)."
    return Answer(text, _json(known_tenant(relay, tenant)[1]))


@tenants.command(
    examples=[
        "tenants set-budget acme --daily 20 --monthly 300",
        "tenants set-budget acme --monthly none     (no bound for the month; the day's stays)",
    ]
)
@click.argument("tenant")
@click.option("--daily", metavar="USD", help="The most for a UTC day, or `none`. 0 accepts nothing.")
@click.option("--monthly", metavar="USD", help="The most for a UTC month, or `none`. 0 accepts nothing.")
def set_budget(relay: Relay, tenant: str, daily: str | None, monthly: str | None) -> Answer:
    """Set what a tenant's tasks may cost, in US dollars. What is not given stays as it is."""
    if daily is None and monthly is None:
        raise RefusedError("say --daily USD, --monthly USD, or both; `none` takes a bound away")
    directory, current = known_tenant(relay, tenant)
    budget = Budget(
        _read_bound(daily, "--daily", current.budget.daily), _read_bound(monthly, "--monthly", current.budget.monthly)
    )
    directory.set_budget(tenant, budget)
    shown = ", ".join(f"{_bound(bound)} a {period}" for bound, period in _bounds(budget))
    text = f"The budget of {tenant} in US dollars: {shown}. It applies within 60 seconds (the authorizer's cache)."
    return Answer(text, _json(known_tenant(relay, tenant)[1]))


def _read_bound(text: str | None, option: str, current: Decimal | None) -> Decimal | None:
    """The bound that an option names; `current` where it was not given. Raises `RefusedError`."""
    if text is None:
        return current
    try:
        return None if text == "none" else parse_money(text, option)
    except ValueError as error:
        raise RefusedError(str(error)) from error


def _bounds(budget: Budget) -> tuple[tuple[Decimal | None, str], tuple[Decimal | None, str]]:
    return (budget.daily, "UTC day"), (budget.monthly, "UTC month")


def _bound(bound: Decimal | None) -> str:
    return "no bound" if bound is None else money_text(bound)


def _mapping_commands(mapping: TenantMapping, example: str, means: str, check: Callable[[Relay, str], None]) -> None:
    """The commands that map a source or a bucket to a tenant, and that take it away."""

    @tenants.command(
        f"add-{mapping}",
        help=f"Map a {mapping} to a tenant: {means}.",
        examples=[f"tenants add-{mapping} acme {example}"],
    )
    @click.argument("tenant")
    @click.argument("name", metavar=mapping.upper())
    def add(relay: Relay, tenant: str, name: str) -> Answer:
        check(relay, name)
        directory, _ = known_tenant(relay, tenant)
        _refuse_taken(relay, directory, mapping, [name], tenant)
        directory.add_mapping(mapping, name, tenant)
        text = f"The {mapping} {name} is mapped to {tenant}: {means}."
        return Answer(text, _json(known_tenant(relay, tenant)[1]))

    @tenants.command(
        f"remove-{mapping}",
        help=f"Take a {mapping} away from a tenant, unless it is gone.",
        examples=[f"tenants remove-{mapping} acme {example}"],
    )
    @click.argument("tenant")
    @click.argument("name", metavar=mapping.upper())
    def remove(relay: Relay, tenant: str, name: str) -> Answer:
        checked(name, *_RULES[mapping])
        directory, _ = known_tenant(relay, tenant)
        _refuse_taken(relay, directory, mapping, [name], tenant)
        text = f"The {mapping} {name} is mapped to no tenant."
        if not directory.remove_mapping(mapping, name, tenant, now()):
            show = relay.again("tenants", "show", tenant)
            text = f"The {mapping} {name} is already gone, or never was {tenant}'s: see `{show}`."
        return Answer(text, _json(known_tenant(relay, tenant)[1]))


def directory_of(connection: Connection) -> TenantDirectory:
    """The deployment's tenants."""
    return TenantDirectory(connection.client("dynamodb"), connection.resource("TaskTable"))


def known_tenant(relay: Relay, tenant_id: str) -> tuple[TenantDirectory, Tenant]:
    """The deployment's tenants, and the one of that name. Raises `RefusedError` if there is none."""
    directory = directory_of(relay.connection)
    tenant = directory.find_tenant(tenant_id) if TENANT_ID.fullmatch(tenant_id) else None
    if tenant is None:
        see, make = relay.again("tenants", "list"), relay.again("tenants", "create", "NAME")
        raise RefusedError(f"there is no tenant {tenant_id!r}: see `{see}`, or create it: `{make}`")
    return directory, tenant


def _set_disabled(relay: Relay, tenant_id: str, disabled: bool, means: str) -> Answer:
    directory, _ = known_tenant(relay, tenant_id)
    directory.set_disabled(tenant_id, disabled)
    return Answer(f"Tenant {tenant_id} {means}", _json(known_tenant(relay, tenant_id)[1]))


def _refuse_taken(
    relay: Relay, directory: TenantDirectory, mapping: TenantMapping, names: Iterable[str], tenant_id: str
) -> None:
    """Refuse another tenant's source or bucket before anything is written; the write itself checks again."""
    for name in names:
        owner = directory.find_owner(mapping, name)
        if owner is not None and owner.tenant_id != tenant_id:
            remove = relay.again("tenants", f"remove-{mapping}", owner.tenant_id, name)
            raise RefusedError(f"the {mapping} {name} belongs to another tenant, {owner.tenant_id}: `{remove}` first")


def _check_source(_: Relay, source: str) -> None:
    checked(source, *_RULES[TenantMapping.SOURCE])
    if source == SOURCE or source == "aws" or source.startswith(("aws.", "aws/")):
        raise RefusedError(
            f"{source!r} is a source of AWS or of the relay: choose one of the tenant's own, such as acme.orders"
        )


def _check_bucket(relay: Relay, bucket: str) -> None:
    checked(bucket, *_RULES[TenantMapping.BUCKET])
    if bucket in {relay.connection.resource(name) for name in OWN_BUCKETS}:
        raise RefusedError(f"{bucket} is the relay's own bucket: there the prefix decides the tenant")


_mapping_commands(TenantMapping.SOURCE, "acme.orders", SOURCES_MEAN, _check_source)
_mapping_commands(TenantMapping.BUCKET, "acme-images", BUCKETS_MEAN, _check_bucket)


def _read_cap(relay: Relay, text: str, tenant: str, *, accept_nothing: bool) -> int | None:
    """The cap; None for `default`. Raises `RefusedError`."""
    if text == "default":
        return None
    cap = int(text) if NUMBER.fullmatch(text) else -1
    if not 0 <= cap <= MAX_DAILY_CAP:
        raise RefusedError(f"{text!r}: a daily cap is a whole number from 1 to {MAX_DAILY_CAP:,}, or `default`")
    if cap == 0 and not accept_nothing:
        disable = relay.again("tenants", "disable", tenant)
        raise RefusedError(f"a daily cap of 0 accepts nothing: say --accept-nothing if that is meant, or `{disable}`")
    return cap


def _cap(tenant: Tenant) -> str:
    return "default" if tenant.daily_cap is None else str(tenant.daily_cap)


def _json(tenant: Tenant) -> dict[str, Any]:
    return {
        "tenant_id": tenant.tenant_id,
        "created_at": timestamp(tenant.created_at),
        "disabled": tenant.disabled,
        "daily_cap": tenant.daily_cap,
        **{name: budget_fields(tenant.budget).get(name) for name in BUDGET_FIELDS},
        "event_sources": list(tenant.event_sources),
        "buckets": list(tenant.buckets),
    }
