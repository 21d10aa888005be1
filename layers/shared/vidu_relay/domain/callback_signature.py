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

__all__ = ["SIGNATURE_HEADER", "TOLERANCE_SECONDS", "is_signed", "signature_for", "verify_signature"]

SIGNATURE_HEADER = "x-hmac-signature"
TOLERANCE_SECONDS = 300
_ACCESS_KEY = "vidu"
_PREFIX = "x-hmac-"
_REQUIRED = frozenset({"date", "x-request-nonce"})
_NEEDED = _REQUIRED | {SIGNATURE_HEADER, "x-hmac-signed-headers", "x-hmac-algorithm", "x-hmac-access-key"}


def signature_for(
    secret_key: str, *, method: str, url: str, date: str, signed_headers: Iterable[tuple[str, str]]
) -> str:
    """The signature of a call to `url`, base 64. Header names keep the spelling they are listed with."""
    parts = urlsplit(url)
    lines = [method, parts.path or "/", parts.query, _ACCESS_KEY, date]
    text = "".join(f"{line}\n" for line in lines) + "".join(f"{name}:{value}\n" for name, value in signed_headers)
    return base64.b64encode(hmac.digest(secret_key.encode(), text.encode("utf-8", "surrogatepass"), "sha256")).decode()


def is_signed(headers: Mapping[str, str]) -> bool:
    """Whether a call has any part of a signature: one that lacks the others is refused, not taken as unsigned."""
    return any(name.lower().startswith(_PREFIX) for name in headers)


def verify_signature(
    secret_keys: Iterable[str], *, method: str, url: str, headers: Mapping[str, str], now: int
) -> None:
    """Check a callback's signature against every key that may have signed it.

    `url` is the callback URL exactly as the provider was given it, `headers` are in any case, `now` is in
    milliseconds. Raises `CallbackRefusedError` on anything short of a good signature of at most ±300 s; the work done
    is the same whichever part is at fault, and `reason` names the first.
    """
    values = _by_lower_case(headers)
    names = [name.strip() for name in values.get("x-hmac-signed-headers", "").split(";") if name.strip()]
    date = values.get("date", "")
    signed = [(name, values.get(name.lower(), "")) for name in names]
    given = values.get(SIGNATURE_HEADER, "").encode("utf-8", "surrogatepass")
    good = False
    for key in secret_keys:
        expected = signature_for(key, method=method, url=url, date=date, signed_headers=signed)
        good |= hmac.compare_digest(expected.encode(), given)
    faults = {
        "signature_missing": any(name not in values for name in _NEEDED.union(name.lower() for name in names)),
        "signature_covers_too_little": not {name.lower() for name in names} >= _REQUIRED,
        "signature_algorithm": values.get("x-hmac-algorithm", "").lower() != "hmac-sha256",
        "signature_access_key": values.get("x-hmac-access-key") != _ACCESS_KEY,
        **_faults_of_date(date, now),
        "signature_wrong": not good,
    }
    fault = next((reason for reason, present in faults.items() if present), None)
    if fault:
        raise CallbackRefusedError(fault)


def _faults_of_date(date: str, now: int) -> dict[str, bool]:
    try:
        sent = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return {"signature_malformed": True}
    sent = sent if sent.tzinfo else sent.replace(tzinfo=UTC)
    return {"signature_out_of_time": abs(sent.timestamp() - now / 1000) > TOLERANCE_SECONDS}


def _by_lower_case(headers: Mapping[str, str]) -> dict[str, str]:
    """Values by lower-case name; names that differ only in case count as one header sent twice: joined by a comma."""
    values: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        values[lower] = f"{values[lower]},{value}" if lower in values else value
    return values
