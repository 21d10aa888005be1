"""Secrets Manager: secrets are read once and kept, so that a warm function seldom reads them again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.domain.errors import ConfigurationError, NoSecretValueError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

__all__ = ["RELEASED_FIELDS", "ProviderAccounts", "Secret", "is_base_address", "provider_entries"]

NEEDS_THE_OPERATOR = {
    "ResourceNotFoundException": "has no value yet",
    "InvalidRequestException": "is marked for deletion",
    "AccessDeniedException": "may not be read by this function",
    "DecryptionFailure": "cannot be decrypted with its key",
}
"""What Secrets Manager refuses until the operator acts, by its code."""
KEEP_SECONDS = 300.0
REREAD_SECONDS = 60.0


class Secret:
    """One secret with a JSON object in it."""

    def __init__(self, client: SecretsManagerClient, arn: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._arn = arn
        self._clock = clock
        self._content: dict[str, Any] | None = None
        self._read_at = 0.0
        self._reread_at: float | None = None

    def get(self) -> dict[str, Any]:
        """The content, at most five minutes old while Secrets Manager answers; an older one serves while it does not.

        Raises `ConfigurationError` if the secret holds no JSON object, or could never be read and the operator must
        act; what boto3 raises if it could never be read for another reason.
        """
        if self._content is None:
            self._content = self._first_read()
        elif self._clock() - self._read_at > KEEP_SECONDS:
            try:
                self._content = self._read()
            except (ClientError, BotoCoreError):
                # an older key is better than none; read again in five minutes
                self._read_at = self._clock()
        return self._content

    def reread(self) -> bool:
        """Read it again, at most once a minute; whether that was done.

        Other reads do not count: a function that has just started may be asked for what was stored a moment later.
        While Secrets Manager does not answer, what is kept goes on serving.
        """
        if self._reread_at is not None and self._clock() - self._reread_at < REREAD_SECONDS:
            return False
        self._reread_at = self._clock()
        try:
            self._content = self._read()
        except (ClientError, BotoCoreError):
            if self._content is None:
                raise
            return False
        return True

    def _first_read(self) -> dict[str, Any]:
        try:
            return self._read()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in NEEDS_THE_OPERATOR:
                raise
            kind = NoSecretValueError if code == "ResourceNotFoundException" else ConfigurationError
            raise kind(f"the secret {self._arn} {NEEDS_THE_OPERATOR[code]}") from error

    def _read(self) -> dict[str, Any]:
        try:
            text = self._client.get_secret_value(SecretId=self._arn)["SecretString"]
            content = json.loads(text)
        except (KeyError, ValueError) as error:
            raise ConfigurationError(f"the secret {self._arn} does not hold a JSON object") from error
        if not isinstance(content, dict):
            raise ConfigurationError(f"the secret {self._arn} does not hold a JSON object")
        self._read_at = self._clock()
        return content


class ProviderAccounts:
    """The provider secret: `{"gateway": {"key": "…", "previous_key"?: "…", "base"?: "https://…"}, "vidu": {…}}`.

    `{"api_key": "…", "previous_api_key"?: "…"}`, which version 1.0.0 wrote, is the key of the provider `default`.
    `default_base` is where that one is asked if the secret does not say so; empty for the provider's own address.
    A malformed entry is a `ConfigurationError` for its provider, and no other's.
    """

    def __init__(self, secret: Secret, default: str, default_base: str = "") -> None:
        self._secret = secret
        self.default = default
        self._default_base = default_base

    def names(self) -> tuple[str, ...]:
        """The providers that the secret has an entry for, known or not, the default one first.

        Raises `ConfigurationError` as `Secret.get` does, and for a secret in both forms.
        """
        return tuple(sorted(self._entries(), key=lambda name: (name != self.default, name)))

    def others(self) -> tuple[str, ...]:
        """Those that the default one is beside; none while the secret has no value. Raises as `names` does."""
        try:
            return tuple(name for name in self.names() if name != self.default)
        except NoSecretValueError:
            return ()

    def account(self, name: str) -> tuple[str, str]:
        """Where a provider is asked, empty for its own address, and its key.

        Raises `ConfigurationError` if the operator has not put the key there, or not as printable ASCII.
        """
        entry = self._entry(name)
        base = entry.get("base", self._default_base if name == self.default else "")
        if not isinstance(base, str) or ("base" in entry and not is_base_address(base)):
            raise ConfigurationError(
                f"the provider secret's `{name}.base` must be an http(s) address without user, query and fragment"
            )
        return base, _printable(entry.get("key"), f"{name}.key")

    def refresh(self, name: str, used: str) -> bool:
        """Reread the secret, at most once a minute; whether the provider's key differs from `used`.

        False, too, while the secret cannot be read or holds no key: there is no other key to call with.
        """
        try:
            self._secret.reread()
            return self.account(name)[1] != used
        except (ConfigurationError, ClientError, BotoCoreError):
            return False

    def signing(self, name: str | None = None) -> tuple[str, ...]:
        """The keys that callbacks of a provider's tasks may be signed with: its key, and the one before it if there is.

        Without a name the default provider's. Raises `ConfigurationError` like `account`.
        """
        name = name or self.default
        key, previous = self.account(name)[1], self._entry(name).get("previous_key")
        return (key,) if previous is None else (key, _printable(previous, f"{name}.previous_key"))

    def fresh_signing(self, name: str) -> tuple[str, ...]:
        """`signing` after the secret was reread; nothing if that was done within the last minute."""
        return self.signing(name) if self._secret.reread() else ()

    def _entries(self) -> dict[str, Any]:
        return provider_entries(self._secret.get(), self.default)

    def _entry(self, name: str) -> dict[str, Any]:
        entries = self._entries()
        entry = entries.get(name)
        if entry is None:
            held = f"; it has {', '.join(sorted(entries))}" if entries else ""
            raise ConfigurationError(f"the provider secret holds no key of `{name}`{held}")
        if not isinstance(entry, dict) or (unknown := sorted(set(entry) - ENTRY_FIELDS)):
            what = f"`{name}` has the field {unknown[0]!r}" if isinstance(entry, dict) else f"`{name}` is no object"
            raise ConfigurationError(f"the provider secret's {what}: it takes key, previous_key and base")
        return entry


ENTRY_FIELDS = frozenset({"key", "previous_key", "base"})
RELEASED_FIELDS = {"key": "api_key", "previous_key": "previous_api_key"}
"""The fields of an entry, and what version 1.0.0 calls them in the only one that it has."""


def provider_entries(content: dict[str, Any], default: str) -> dict[str, Any]:
    """The entries of the provider secret by provider, unchecked; that of version 1.0.0 is the default provider's.

    Raises `ConfigurationError` for both forms in one secret: the key's owner would change with the default.
    """
    released = {new: content[old] for new, old in RELEASED_FIELDS.items() if old in content}
    if not released:
        return content
    if named := sorted(name for name, value in content.items() if isinstance(value, dict)):
        raise ConfigurationError(
            f"the provider secret has `{RELEASED_FIELDS[next(iter(released))]}` beside `{named[0]}`: move each key "
            "into the entry of its provider"
        )
    return {default: released}


def is_base_address(text: str) -> bool:
    """Whether this is an http(s) address with a host, without user, query and fragment."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and not set(text) & set(" ?#@\\")
    return parts.scheme in ("http", "https") and bool(host) and plain


def _printable(key: object, name: str) -> str:
    if not isinstance(key, str) or not key.strip():
        raise ConfigurationError(f"the provider secret holds no `{name}`")
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(f"the provider secret's `{name}` has characters that no key has")
    return key
