"""`relay tenants`: who may use the relay, how much, and the event sources and buckets recorded for them."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterable
from typing import Any

from cli.answer import Answer, RefusedError, checked, table
from cli.connection import Connection, now
from cli.doctor.findings import TENANT as DOCTOR
from vidu_relay.adapters.event_bus import SOURCE
from vidu_relay.adapters.tenant_directory import Tenant, TenantDirectory, TenantMapping
from vidu_relay.domain.representation import timestamp

__all__ = [
    "BUCKETS_MEAN",
    "MAX_DAILY_CAP",
    "SOURCES_MEAN",
    "add_bucket",
    "add_source",
    "create",
    "directory_of",
    "disable",
    "enable",
    "known_tenant",
    "list_all",
    "remove_bucket",
    "remove_source",
    "set_cap",
    "show",
]

TENANT_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
EVENT_SOURCE = re.compile(r"[A-Za-z0-9._/-]{1,128}")
SOURCE_RULE = "an event source has 1 to 128 of A-Z, a-z, 0-9, . _ / -"
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
BUCKET_RULE = "a bucket's name has 3 to 63 of a-z, 0-9, inner . and -, and no s3://"
OWN_BUCKETS = ("InboxBucket", "VideosBucket", "FailuresBucket")
NUMBER = re.compile(r"-?[0-9]{1,12}")
MAX_DAILY_CAP = 10_000_000
"""More tasks a day than any provider account takes: a slip of the finger."""
SOURCES_MEAN = "events VideoTaskRequested of this source ask for videos as this tenant"
BUCKETS_MEAN = "this tenant's requests may use its objects as reference images"
_MEANS = {TenantMapping.SOURCE: SOURCES_MEAN, TenantMapping.BUCKET: BUCKETS_MEAN}


def create(arguments: Namespace, connection: Connection) -> Answer:
    """Create a tenant, with event sources if some are given; nothing happens to one that is there."""
    tenant_id = checked(
        arguments.tenant, TENANT_ID, "a tenant id has 1 to 40 of a-z, 0-9 and inner hyphens (it is part of S3 keys)"
    )
    if tenant_id == DOCTOR:
        raise RefusedError(f"{DOCTOR} is the tenant of `relay doctor`: choose another name")
    sources = [_usable_source(source) for source in arguments.event_source]
    directory = directory_of(connection)
    _refuse_taken(directory, TenantMapping.SOURCE, sources, tenant_id)
    created = directory.create_tenant(tenant_id, now())
    for source in sources:
        directory.add_mapping(TenantMapping.SOURCE, source, tenant_id)
    said = f"Tenant {tenant_id} {'created' if created else 'was there already'}."
    if sources:
        said += f"\n{', '.join(sources)}: {SOURCES_MEAN}."
    return Answer(said, {**_json(known_tenant(directory, tenant_id)), "created": created})


def list_all(_: Namespace, connection: Connection) -> Answer:
    """Every tenant, oldest first."""
    tenants = directory_of(connection).list_tenants()
    rows = [("TENANT", "CREATED", "STATE", "DAILY CAP", "SOURCES AND BUCKETS")]
    rows += [
        (
            tenant.tenant_id,
            timestamp(tenant.created_at),
            "disabled" if tenant.disabled else "open",
            _cap(tenant),
            ", ".join((*tenant.event_sources, *(f"s3://{bucket}" for bucket in tenant.buckets))),
        )
        for tenant in tenants
    ]
    text = table(rows) if tenants else "No tenants. `relay tenants create` makes one."
    return Answer(text, {"tenants": [_json(tenant) for tenant in tenants]})


def show(arguments: Namespace, connection: Connection) -> Answer:
    """One tenant and its keys."""
    directory = directory_of(connection)
    tenant = known_tenant(directory, arguments.tenant)
    keys = directory.list_keys(tenant.tenant_id)
    lines = [
        f"Tenant {tenant.tenant_id}, {'disabled' if tenant.disabled else 'open'}",
        f"  created        {timestamp(tenant.created_at)}",
        f"  daily cap      {_cap(tenant)}",
        f"  event sources  {', '.join(tenant.event_sources) or 'none'}",
        f"  buckets        {', '.join(tenant.buckets) or 'none'}",
        f"  keys           {', '.join(f'{key.key_id} ({key.name})' for key in keys) or 'none'}",
    ]
    lines.append(f"Drop request files below requests/{tenant.tenant_id}/ of the inbox bucket.")
    shown = [{"key_id": key.key_id, "name": key.name, "created_at": timestamp(key.created_at)} for key in keys]
    return Answer("\n".join(lines), {**_json(tenant), "keys": shown})


def disable(arguments: Namespace, connection: Connection) -> Answer:
    """Refuse a tenant's requests, and cancel what was not submitted yet. Its keys stay."""
    return _set_disabled(
        arguments,
        connection,
        True,
        "is disabled: its keys open nothing. API Gateway may accept a key for another 60 seconds (its authorizer's "
        "cache). Tasks that were not submitted to the provider yet are canceled at their next check; tasks that the "
        "provider has go on: they are billed already.",
    )


def enable(arguments: Namespace, connection: Connection) -> Answer:
    """Take a disabled tenant's requests again."""
    return _set_disabled(
        arguments,
        connection,
        False,
        "is open. API Gateway may refuse a key for another 60 seconds (its authorizer's cache).",
    )


def set_cap(arguments: Namespace, connection: Connection) -> Answer:
    """Set a tenant's own daily cap, or give it the deployment's default again."""
    cap = _read_cap(arguments.cap, accept_nothing=arguments.accept_nothing)
    directory = directory_of(connection)
    tenant = known_tenant(directory, arguments.tenant)
    directory.set_daily_cap(tenant.tenant_id, cap)
    means = "the default (parameter DailyTaskCap)" if cap is None else f"{cap} tasks a UTC day"
    said = f"The daily cap of {tenant.tenant_id} is {means}. It holds within 60 seconds (the authorizer's cache)."
    return Answer(said, _json(known_tenant(directory, tenant.tenant_id)))


def add_source(arguments: Namespace, connection: Connection) -> Answer:
    """Record an event source as a tenant's, for the intake to come."""
    return _open(arguments, connection, TenantMapping.SOURCE, _usable_source(arguments.source))


def remove_source(arguments: Namespace, connection: Connection) -> Answer:
    """Take an event source away from a tenant; nothing happens if it is gone."""
    return _close(arguments, connection, TenantMapping.SOURCE, checked(arguments.source, EVENT_SOURCE, SOURCE_RULE))


def add_bucket(arguments: Namespace, connection: Connection) -> Answer:
    """Record a bucket as a tenant's, for the intake to come."""
    bucket = checked(arguments.bucket, BUCKET, BUCKET_RULE)
    if bucket in {connection.resource(name) for name in OWN_BUCKETS}:
        raise RefusedError(f"{bucket} is the relay's own bucket: in it the prefix says whose a file is")
    return _open(arguments, connection, TenantMapping.BUCKET, bucket)


def remove_bucket(arguments: Namespace, connection: Connection) -> Answer:
    """Take a bucket away from a tenant; nothing happens if it is gone."""
    return _close(arguments, connection, TenantMapping.BUCKET, checked(arguments.bucket, BUCKET, BUCKET_RULE))


def directory_of(connection: Connection) -> TenantDirectory:
    """The deployment's tenants."""
    return TenantDirectory(connection.client("dynamodb"), connection.resource("TaskTable"))


def known_tenant(directory: TenantDirectory, tenant_id: str) -> Tenant:
    """The tenant. Raises `RefusedError` if there is none of that name."""
    tenant = directory.find_tenant(tenant_id) if TENANT_ID.fullmatch(tenant_id) else None
    if tenant is None:
        raise RefusedError(f"there is no tenant {tenant_id!r}: see `relay tenants list`, or `relay tenants create` it")
    return tenant


def _set_disabled(arguments: Namespace, connection: Connection, disabled: bool, means: str) -> Answer:
    directory = directory_of(connection)
    tenant = known_tenant(directory, arguments.tenant)
    directory.set_disabled(tenant.tenant_id, disabled)
    return Answer(f"Tenant {tenant.tenant_id} {means}", _json(known_tenant(directory, tenant.tenant_id)))


def _open(arguments: Namespace, connection: Connection, mapping: TenantMapping, name: str) -> Answer:
    directory = directory_of(connection)
    tenant = known_tenant(directory, arguments.tenant)
    _refuse_taken(directory, mapping, [name], tenant.tenant_id)
    directory.add_mapping(mapping, name, tenant.tenant_id)
    said = f"The {mapping} {name} is {tenant.tenant_id}'s: {_MEANS[mapping]}."
    return Answer(said, _json(known_tenant(directory, tenant.tenant_id)))


def _close(arguments: Namespace, connection: Connection, mapping: TenantMapping, name: str) -> Answer:
    directory = directory_of(connection)
    tenant = known_tenant(directory, arguments.tenant)
    _refuse_taken(directory, mapping, [name], tenant.tenant_id)
    if directory.remove_mapping(mapping, name, tenant.tenant_id, now()):
        said = f"The {mapping} {name} is nobody's any more."
    else:
        said = f"The {mapping} {name} is already gone, or never was {tenant.tenant_id}'s: see `relay tenants show`."
    return Answer(said, _json(known_tenant(directory, tenant.tenant_id)))


def _refuse_taken(directory: TenantDirectory, mapping: TenantMapping, names: Iterable[str], tenant_id: str) -> None:
    """Say whose a source or bucket is before anything is written; the write itself checks again."""
    for name in names:
        owner = directory.find_owner(mapping, name)
        if owner is not None and owner.tenant_id != tenant_id:
            raise RefusedError(
                f"the {mapping} {name} belongs to another tenant, {owner.tenant_id}: "
                f"`relay tenants remove-{mapping} {owner.tenant_id} {name}` first"
            )


def _usable_source(source: str) -> str:
    checked(source, EVENT_SOURCE, SOURCE_RULE)
    if source == SOURCE or source == "aws" or source.startswith(("aws.", "aws/")):
        raise RefusedError(f"{source!r} speaks for itself: choose a source of the tenant's own, such as acme.orders")
    return source


def _read_cap(text: str, *, accept_nothing: bool) -> int | None:
    """The cap; None for `default`. Raises `RefusedError`."""
    if text == "default":
        return None
    cap = int(text) if NUMBER.fullmatch(text) else -1
    if not 0 <= cap <= MAX_DAILY_CAP:
        raise RefusedError(f"{text!r}: a daily cap is a whole number from 1 to {MAX_DAILY_CAP:,}, or `default`")
    if cap == 0 and not accept_nothing:
        raise RefusedError(
            "a daily cap of 0 accepts nothing: say --accept-nothing if that is meant, or `relay tenants disable`"
        )
    return cap


def _cap(tenant: Tenant) -> str:
    return "default" if tenant.daily_cap is None else str(tenant.daily_cap)


def _json(tenant: Tenant) -> dict[str, Any]:
    return {
        "tenant_id": tenant.tenant_id,
        "created_at": timestamp(tenant.created_at),
        "disabled": tenant.disabled,
        "daily_cap": tenant.daily_cap,
        "event_sources": list(tenant.event_sources),
        "buckets": list(tenant.buckets),
    }
