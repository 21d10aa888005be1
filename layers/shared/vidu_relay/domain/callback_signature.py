"""The provider's own signature on a callback (upstream's scheme; its public document and test vectors).

It covers method, path, query, the date and the headers it lists. It does **not** cover the body, so a good
signature proves who rang, never what happened.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from vidu_relay.domain.errors import CallbackRefusedError

__all__ = ["SIGNATURE_HEADER", "TOLERANCE_SECONDS", "signature_for", "verify_signature"]

SIGNATURE_HEADER = "x-hmac-signature"
TOLERANCE_SECONDS = 300
_ACCESS_KEY = "vidu"
_REQUIRED = frozenset({"date", "x-request-nonce"})


def signature_for(
    secret_key: str, *, method: str, url: str, date: str, signed_headers: Iterable[tuple[str, str]]
) -> str:
    """The signature of a call to `url`, base 64. Header names keep the spelling they are listed with."""
    parts = urlsplit(url)
    lines = [method, parts.path or "/", parts.query, _ACCESS_KEY, date]
    text = "".join(f"{line}\n" for line in lines) + "".join(f"{name}:{value}\n" for name, value in signed_headers)
    return base64.b64encode(hmac.digest(secret_key.encode(), text.encode("utf-8", "surrogatepass"), "sha256")).decode()


def verify_signature(
    secret_keys: Iterable[str], *, method: str, url: str, headers: Mapping[str, str], now: int
) -> None:
    """Check a callback's signature against every key that may have signed it.

    `url` is the callback URL exactly as the provider was given it, `headers` has lower-case names, `now` is in
    milliseconds. Raises `CallbackRefusedError` on anything short of a good signature of at most ±300 s.
    """
    given = _header(headers, SIGNATURE_HEADER)
    date = _header(headers, "date")
    names = [name.strip() for name in _header(headers, "x-hmac-signed-headers").split(";") if name.strip()]
    if not {name.lower() for name in names} >= _REQUIRED:
        raise CallbackRefusedError("signature_covers_too_little")
    if _header(headers, "x-hmac-algorithm").lower() != "hmac-sha256":
        raise CallbackRefusedError("signature_algorithm")
    if _header(headers, "x-hmac-access-key") != _ACCESS_KEY:
        raise CallbackRefusedError("signature_access_key")
    try:
        sent = parsedate_to_datetime(date)
    except (ValueError, OverflowError) as fault:
        raise CallbackRefusedError("signature_malformed") from fault
    sent = sent if sent.tzinfo else sent.replace(tzinfo=UTC)
    if abs(sent.timestamp() - now / 1000) > TOLERANCE_SECONDS:
        raise CallbackRefusedError("signature_out_of_time")
    signed = [(name, _header(headers, name.lower())) for name in names]
    good = False
    for key in secret_keys:
        expected = signature_for(key, method=method, url=url, date=date, signed_headers=signed)
        good |= hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass"))
    if not good:
        raise CallbackRefusedError("signature_wrong")


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if value is None:
        raise CallbackRefusedError("signature_missing")
    return value
