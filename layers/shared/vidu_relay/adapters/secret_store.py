"""Secrets Manager: secrets are read once and kept, so that a warm function seldom reads them again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

__all__ = ["ProviderKey", "Secret"]

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
            what = NEEDS_THE_OPERATOR.get(error.response["Error"]["Code"])
            if what is None:
                raise
            raise ConfigurationError(f"the secret {self._arn} {what}") from error

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


class ProviderKey:
    """The provider's API key: the field `api_key` of a secret, and the one before it, `previous_api_key`."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret

    def __call__(self) -> str:
        """The key. Raises `ConfigurationError` if the operator has not put it there, or not as printable ASCII."""
        return _printable(self._secret.get().get("api_key"), "api_key")

    def refresh(self, used: str) -> bool:
        """Reread the secret, at most once a minute; whether the key differs from `used`, which a call was made with.

        False, too, while the secret cannot be read or holds no key: there is no other key to call with.
        """
        try:
            self._secret.reread()
            return self() != used
        except (ConfigurationError, ClientError, BotoCoreError):
            return False

    def signing(self) -> tuple[str, ...]:
        """The keys that callbacks of tasks under way may be signed with: the key, and the one before it if there is.

        Raises `ConfigurationError` like a call.
        """
        previous = self._secret.get().get("previous_api_key")
        return (self(),) if previous is None else (self(), _printable(previous, "previous_api_key"))

    def fresh_signing(self) -> tuple[str, ...]:
        """`signing` after the secret was reread; nothing if that was done within the last minute."""
        return self.signing() if self._secret.reread() else ()


def _printable(key: object, name: str) -> str:
    if not isinstance(key, str) or not key.strip():
        raise ConfigurationError(f"the provider secret holds no `{name}`")
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(f"the provider secret's `{name}` has characters that no key has")
    return key
