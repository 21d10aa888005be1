"""Links that expire and that only work exactly as they were given out.

The signature contains escapes (`%2F`, `%3D`, `%2B`, and `%7E` for a character that needs none) and is checked
against the raw query: a client that decodes and encodes it again gets 403, as from the provider's CDN.
"""

import base64
import hashlib
import hmac
import secrets
import time
from urllib.parse import quote


class UrlSigner:
    """Signs paths with a key of its own. `lifetime` may be negative: the link has then expired when it is made."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def query(self, path: str, lifetime: float) -> str:
        """The query that makes `path` a working link for `lifetime` seconds."""
        return self._query(path, int(time.time() + lifetime))

    def refusal(self, path: str, raw_query: str) -> str | None:
        """Why a request is refused, or None: its query must be, byte for byte, one that was given out and is fresh."""
        expires = raw_query.partition("&")[0].removeprefix("Expires=")
        if not expires.lstrip("-").isdecimal():
            return "Missing Key"
        if not hmac.compare_digest(raw_query.encode(), self._query(path, int(expires)).encode()):
            return "Signature mismatch"
        return "Request has expired" if int(expires) <= time.time() else None

    def _query(self, path: str, expires: int) -> str:
        digest = hmac.new(self._key, f"{path}\n{expires}".encode(), hashlib.sha256).digest()
        signature = quote("v1/+" + base64.b64encode(digest).decode(), safe="") + "%7E"
        return f"Expires={expires}&Signature={signature}"
