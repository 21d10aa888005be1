"""The token in a callback URL: it proves that the caller got this task's URL from the relay.

`<kid>.<HMAC-SHA256(key, task_id)>`, URL-safe base 64. Several keys are valid at once, so that a rotation refuses
no callback that is under way.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from urllib.parse import quote

from vidu_relay.domain.errors import ConfigurationError

__all__ = ["CallbackKeys", "callback_url"]


class CallbackKeys:
    """The signing keys: `{"active": kid, kid: key, …}`, as the callback secret holds them.

    Raises `ConfigurationError` if the active key is missing or a key is shorter than 32 characters.
    """

    def __init__(self, secret: Mapping[str, object]) -> None:
        keys = {kid: key for kid, key in secret.items() if kid != "active"}
        active = secret.get("active")
        if not isinstance(active, str) or active not in keys:
            raise ConfigurationError("callback secret: `active` must name one of its keys")
        if any(not isinstance(key, str) or len(key) < 32 or "." in kid for kid, key in keys.items()):
            raise ConfigurationError("callback secret: a key needs 32 characters, its name no dot")
        self._keys = {kid: str(key).encode() for kid, key in keys.items()}
        self._active = active

    def sign(self, task_id: str) -> str:
        """The token for a task, under the active key."""
        return f"{self._active}.{self._mac(self._active, task_id)}"

    def knows(self, token: str) -> bool:
        """Whether the key that the token names is one of ours."""
        return token.partition(".")[0] in self._keys

    def verify(self, task_id: str, token: str) -> bool:
        """Whether the token is ours for this task, in time that does not depend on where it differs."""
        kid, _, mac = token.partition(".")
        known = kid in self._keys
        expected = self._mac(kid if known else self._active, task_id)
        return hmac.compare_digest(expected.encode(), mac.encode("utf-8", "surrogatepass")) and known

    def _mac(self, kid: str, task_id: str) -> str:
        digest = hmac.digest(self._keys[kid], task_id.encode("utf-8", "surrogatepass"), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def callback_url(public_base_url: str, task_id: str, token: str) -> str:
    """The URL the provider is given for a task."""
    return f"{public_base_url.rstrip('/')}/v1/callbacks/{task_id}?token={quote(token, safe='', errors='surrogatepass')}"
