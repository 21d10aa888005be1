"""`relay provider`: the provider's key, put where the functions read it."""

from __future__ import annotations

import json
import re
import sys
from getpass import getpass
from typing import Any

import click

from cli.answer import Answer, RefusedError
from cli.command import Group, Relay

KEY = re.compile(r"[!-~]{1,4096}")


@click.group(cls=Group)
def provider() -> None:
    """The key that tasks are created with."""


@provider.command(
    examples=[
        "provider set-key",
        "provider set-key                           (from a file: add `< FILE`)",
        "provider set-key --forget-previous         (the previous key has leaked)",
    ]
)
@click.option("--forget-previous", is_flag=True, help="Refuse callbacks that the previous key has signed.")
def set_key(relay: Relay, forget_previous: bool) -> Answer:
    """Store the provider's key. It is read from standard input, or asked for, and printed nowhere.

    The previous key stays beside it to check the signatures of callbacks, and is used for nothing else. Storing the
    same key again changes neither.
    """
    connection = relay.connection
    secret = connection.resource("ProviderSecret")
    key = _read_key()
    if not KEY.fullmatch(key) or key.startswith("{"):
        raise RefusedError(
            "standard input must hold the provider's key and nothing else: one word of printable ASCII, not JSON. "
            "Nothing was changed"
        )
    client = connection.client("secretsmanager")
    content = {"api_key": key}
    previous = None if forget_previous else _previous(client, secret, key)
    if previous is not None:
        content["previous_api_key"] = previous
    reply = client.put_secret_value(SecretId=secret, SecretString=json.dumps(content))
    beside = " Callbacks signed with the previous key are still accepted." if previous is not None else ""
    return Answer(
        f"The provider's key is stored.{beside} Functions that are warm use it within five minutes.",
        {"secret_arn": secret, "version_id": reply["VersionId"], "previous_kept": previous is not None},
    )


def _previous(client: Any, secret: str, key: str) -> str | None:
    """The key that was in use before `key`, if what the secret holds is one."""
    try:
        stored = json.loads(client.get_secret_value(SecretId=secret)["SecretString"])
    except client.exceptions.ResourceNotFoundException:
        return None  # nothing was stored yet
    except (KeyError, ValueError):
        return None  # not what the functions could have read
    if not isinstance(stored, dict):
        return None
    name = "previous_api_key" if stored.get("api_key") == key else "api_key"
    found = stored.get(name)
    return found if isinstance(found, str) and KEY.fullmatch(found) else None


def _read_key() -> str:
    if sys.stdin.isatty():
        return getpass("The provider's key (not shown): ").strip()
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        return ""
