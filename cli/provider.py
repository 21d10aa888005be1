"""`relay provider`: the provider's key, put where the functions read it."""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from getpass import getpass

from cli.answer import Answer, RefusedError
from cli.connection import Connection

__all__ = ["set_key"]

KEY = re.compile(r"[!-~]{1,4096}")


def set_key(_: Namespace, connection: Connection) -> Answer:
    """Put the key from standard input into the stack's secret. It is in no argument, no answer and no refusal."""
    secret = connection.output("ProviderSecretArn")
    key = _read_key()
    if not KEY.fullmatch(key) or key.startswith("{"):
        raise RefusedError(
            "standard input must hold the provider's key and nothing else: one word of printable ASCII, not JSON. "
            "Nothing was changed"
        )
    reply = connection.client("secretsmanager").put_secret_value(
        SecretId=secret, SecretString=json.dumps({"api_key": key})
    )
    return Answer(
        "The provider's key is stored. Functions that are warm use it within five minutes.",
        {"secret_arn": secret, "version_id": reply["VersionId"]},
    )


def _read_key() -> str:
    if sys.stdin.isatty():
        return getpass("The provider's key (not shown): ").strip()
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        return ""
