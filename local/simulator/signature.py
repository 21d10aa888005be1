"""The provider's callback signature (HMAC-SHA256 over method, URL, access key, Date and chosen headers).

It does not cover the body: a receiver that trusts the body because this signature is right is wrong.
"""

import base64
import hashlib
import hmac
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import urlsplit

ACCESS_KEY = "vidu"
ALGORITHM = "hmac-sha256"
SIGNED_HEADERS = ("Date", "x-request-nonce")


def signing_string(method: str, url: str, date: str, signed_headers: Sequence[str], headers: Mapping[str, str]) -> str:
    """The string that is signed, for a callback to `url` exactly as it is sent.

    `headers` are looked up without regard to case (a missing one counts as empty); the string keeps the spelling of
    `signed_headers` and their order.
    """
    parts = urlsplit(url)
    values = {name.lower(): value for name, value in headers.items()}
    signed = "".join(f"{name}:{values.get(name.lower(), '')}\n" for name in signed_headers)
    return "\n".join((method.upper(), parts.path or "/", parts.query, ACCESS_KEY, date, "")) + signed


def sign(secret_key: str, text: str) -> str:
    """Base64 of HMAC-SHA256 of `text`, keyed by the API key that created the task."""
    return base64.b64encode(hmac.new(secret_key.encode(), text.encode(), hashlib.sha256).digest()).decode()


def signature_headers(
    secret_key: str, method: str, url: str, *, now: datetime | None = None, nonce: str | None = None
) -> dict[str, str]:
    """The six headers of a signed callback. `now` (default: the present) must be an aware time."""
    date = format_datetime((now or datetime.now(UTC)).astimezone(UTC), usegmt=True)
    headers = {"Date": date, "x-request-nonce": nonce or str(uuid.uuid4())}
    signature = sign(secret_key, signing_string(method, url, date, SIGNED_HEADERS, headers))
    return headers | {
        "X-HMAC-SIGNED-HEADERS": ";".join(SIGNED_HEADERS),
        "X-HMAC-SIGNATURE": signature,
        "X-HMAC-ALGORITHM": ALGORITHM,
        "X-HMAC-ACCESS-KEY": ACCESS_KEY,
    }
