"""`relay provider`: the providers' keys, put where the functions read them."""

from __future__ import annotations

import json
import re
import sys
from getpass import getpass
from typing import Any

import click

from cli.answer import Answer, RefusedError
from cli.command import Group, Relay
from vidu_relay.adapters.secret_store import RELEASED_FIELDS, is_base_address, provider_entries
from vidu_relay.domain.catalogue import PROVIDERS
from vidu_relay.domain.errors import ConfigurationError

SEVERAL = "ALLOW_UNLISTED_MODELS"
"""A variable of functions that read the keys of several providers; those of version 1.0.0 do not have it."""
KEY = re.compile(r"[!-~]{1,4096}")


@click.group(cls=Group)
def provider() -> None:
    """The keys that tasks are created with."""


@provider.command(
    examples=[
        "provider set-key",
        "provider set-key                           (from a file: add `< FILE`)",
        "provider set-key --provider vidu           (also offers the models that vidu has)",
        "provider set-key --forget-previous         (the previous key has leaked)",
    ]
)
@click.option("--provider", "name", type=click.Choice(PROVIDERS), help="Whose key it is; without it ProviderName's.")
@click.option(
    "--base", metavar="URL", help="Where it is asked with this key, if not at its own address; '' forgets it."
)
@click.option("--forget-previous", is_flag=True, help="Refuse callbacks that the previous key has signed.")
def set_key(relay: Relay, name: str | None, base: str | None, forget_previous: bool) -> Answer:
    """Store a provider's key. It is read from standard input, or asked for, and printed nowhere.

    The previous key stays beside it to check the signatures of callbacks, and is used for nothing else. Storing the
    same key again changes neither. The keys of other providers stay.
    """
    connection = relay.connection
    secret = connection.resource("ProviderSecret")
    if base and not is_base_address(base):
        raise RefusedError("--base must be an http(s) address without user, query and fragment. Nothing was changed")
    key = _read_key()
    if not KEY.fullmatch(key) or key.startswith("{"):
        raise RefusedError(
            "standard input must hold the provider's key and nothing else: one word of printable ASCII, not JSON. "
            "Nothing was changed"
        )
    client, deployed = connection.client("secretsmanager"), connection.submitting
    default = deployed["PROVIDER_NAME"]
    name, several = name or default, SEVERAL in deployed
    if not several and (name != default or base):
        raise RefusedError(f"the deployed version takes the key of {default} alone: deploy this one first")
    try:
        entries = provider_entries(_stored(client, secret), default)
    except ConfigurationError as error:
        raise RefusedError(f"{error}. Nothing was changed") from error
    before = found if isinstance(found := entries.get(name), dict) else {}
    entry = {"key": key}
    previous = None if forget_previous else _previous(before, key)
    if previous is not None:
        entry["previous_key"] = previous
    if base := before.get("base") if base is None else base:
        entry["base"] = base
    content = {**entries, name: entry} if several else {RELEASED_FIELDS[field]: entry[field] for field in entry}
    reply = client.put_secret_value(SecretId=secret, SecretString=json.dumps(content))
    beside = " Callbacks signed with the previous key are still accepted." if previous is not None else ""
    return Answer(
        f"The key of {name} is stored.{beside} Functions that are warm use it within five minutes.",
        {
            "secret_arn": secret,
            "provider": name,
            "version_id": reply["VersionId"],
            "previous_kept": previous is not None,
        },
    )


def _stored(client: Any, secret: str) -> dict[str, Any]:
    """What the secret holds; empty if it has no value yet, or none that the functions could have read."""
    try:
        stored = json.loads(client.get_secret_value(SecretId=secret)["SecretString"])
    except client.exceptions.ResourceNotFoundException:
        return {}
    except (KeyError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _previous(entry: dict[str, Any], key: str) -> str | None:
    """The key that was in use before `key`, if the entry holds one."""
    found = entry.get("previous_key" if entry.get("key") == key else "key")
    return found if isinstance(found, str) and KEY.fullmatch(found) else None


def _read_key() -> str:
    if sys.stdin.isatty():
        return getpass("The provider's key (not shown): ").strip()
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        return ""
