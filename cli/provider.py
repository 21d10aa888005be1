"""`relay provider`: the provider's key, put where the functions read it."""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from getpass import getpass
from typing import Any

from cli.answer import Answer, RefusedError
from cli.connection import Connection

__all__ = ["set_key"]

KEY = re.compile(r"[!-~]{1,4096}")


def set_key(arguments: Namespace, connection: Connection) -> Answer:
    """Put the key from standard input into the stack's secret. It is in no argument, no answer and no refusal.

    The one before stays beside it, because callbacks of tasks under way are signed with it, unless it is to be
    forgotten. Storing the same key again changes neither.
    """
    secret = connection.resource("ProviderSecret")
    key = _read_key()
    if not KEY.fullmatch(key) or key.startswith("{"):
        raise RefusedError(
            "standard input must hold the provider's key and nothing else: one word of printable ASCII, not JSON. "
            "Nothing was changed"
        )
    client = connection.client("secretsmanager")
    content = {"api_key": key}
    previous = None if arguments.forget_previous else _previous(client, secret, key)
    if previous is not None:
        content["previous_api_key"] = previous
    reply = client.put_secret_value(SecretId=secret, SecretString=json.dumps(content))
    beside = " The one before it still proves callbacks that it signed." if previous is not None else ""
    return Answer(
        f"The provider's key is stored.{beside} Functions that are warm use it within five minutes.",
        {"secret_arn": secret, "version_id": reply["VersionId"], "previous_kept": previous is not None},
    )


def _previous(client: Any, secret: str, key: str) -> str | None:
    """The key that was in use before `key`, if what the secret holds is one."""
    try:
        there = json.loads(client.get_secret_value(SecretId=secret)["SecretString"])
    except client.exceptions.ResourceNotFoundException:
        return None  # nothing was stored yet
    except (KeyError, ValueError):
        return None  # not what the functions could have read
    if not isinstance(there, dict):
        return None
    name = "previous_api_key" if there.get("api_key") == key else "api_key"
    found = there.get(name)
    return found if isinstance(found, str) and KEY.fullmatch(found) else None


def _read_key() -> str:
    if sys.stdin.isatty():
        return getpass("The provider's key (not shown): ").strip()
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        return ""
