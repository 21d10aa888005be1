"""The provider's signature: its published vectors, and everything that is not one."""

from typing import Any

import pytest

from vidu_relay.domain.callback_signature import TOLERANCE_SECONDS, signature_for, verify_signature
from vidu_relay.domain.errors import CallbackRefusedError

KEY = "test-secret"
URL = "http://127.0.0.1:8080/vidu/callback?name=james&age=36"
DATE = "Tue, 06 May 2025 12:09:42 GMT"
NONCE = "123e4567-e89b-12d3-a456-426614174000"
SENT = 1_746_533_382_000
VECTOR = "j5PqAvWXa6OnegZaBR9I0Gw5K+qmyDCNElqvJoJ0my8="
VECTOR_WITHOUT_QUERY = "E9ZvcyWNWJtwgp2P56zLE4QYOgIax2jtQ/QJIdk+p+U="

HEADERS = {
    "date": DATE,
    "x-request-nonce": NONCE,
    "x-hmac-signed-headers": "Date;x-request-nonce",
    "x-hmac-signature": VECTOR,
    "x-hmac-algorithm": "hmac-sha256",
    "x-hmac-access-key": "vidu",
}


def verify(
    *keys: str, url: str = URL, method: str = "POST", now: int = SENT, headers: dict[str, str] | None = None
) -> None:
    verify_signature(keys or (KEY,), method=method, url=url, headers=HEADERS if headers is None else headers, now=now)


def refused(**arguments: Any) -> str:
    keys = arguments.pop("keys", ())
    with pytest.raises(CallbackRefusedError) as caught:
        verify(*keys, **arguments)
    return caught.value.reason


def signed(url: str = URL, *, date: str = DATE, names: str = "Date;x-request-nonce", **more: str) -> dict[str, str]:
    """Headers with a good signature under KEY."""
    headers = {**HEADERS, "date": date, "x-hmac-signed-headers": names, **more}
    pairs = [(name.strip(), headers[name.strip().lower()]) for name in names.split(";") if name.strip()]
    headers["x-hmac-signature"] = signature_for(KEY, method="POST", url=url, date=date, signed_headers=pairs)
    return headers


@pytest.mark.parametrize(("url", "signature"), [(URL, VECTOR), (URL.partition("?")[0], VECTOR_WITHOUT_QUERY)])
def test_the_provider_s_own_vectors_are_reproduced_and_taken(url: str, signature: str) -> None:
    names = [("Date", DATE), ("x-request-nonce", NONCE)]
    assert signature_for(KEY, method="POST", url=url, date=DATE, signed_headers=names) == signature
    verify(url=url, headers={**HEADERS, "x-hmac-signature": signature})

    verify(url="https://api.example/", headers=signed("https://api.example"))  # an empty path is signed as a slash


def test_any_of_several_keys_may_have_signed_but_one_of_them_must() -> None:
    verify("other", KEY)
    verify(KEY, "other")
    assert refused(keys=("other",)) == "signature_wrong"
    with pytest.raises(CallbackRefusedError):
        verify_signature((), method="POST", url=URL, headers=HEADERS, now=SENT)


@pytest.mark.parametrize(
    "changed",
    [
        {"url": URL + "&x=1"},
        {"url": URL.replace("james", "jame%73")},
        {"url": URL.replace("/vidu/", "/Vidu/")},
        {"url": URL.partition("?")[0]},
        {"method": "GET"},
        {"method": "post"},
    ],
    ids=str,
)
def test_a_signature_for_another_call_is_refused(changed: dict[str, str]) -> None:
    assert refused(**changed) == "signature_wrong"


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_a_missing_header_is_never_taken_for_a_good_signature(name: str) -> None:
    assert refused(headers={k: v for k, v in HEADERS.items() if k != name}) == "signature_missing"


WRONG: dict[str, list[dict[str, str]]] = {
    "signature_wrong": [
        *({"x-hmac-signature": text} for text in ("", VECTOR[:-1], VECTOR.lower(), "é", "\ud800")),
        {"x-request-nonce": NONCE[:-1] + "1"},
        {"date": DATE.replace(":42", ":43")},
        *({"x-hmac-signed-headers": names} for names in ("x-request-nonce;Date", "date;x-request-nonce")),
    ],
    "signature_algorithm": [{"x-hmac-algorithm": "none"}, {"x-hmac-algorithm": "hmac-sha1"}],
    "signature_access_key": [{"x-hmac-access-key": "Vidu"}],
    "signature_covers_too_little": [{"x-hmac-signed-headers": names} for names in ("", "Date", "x-request-nonce")],
    "signature_missing": [{"x-hmac-signed-headers": "Date;x-request-nonce;X-Absent"}],
    "signature_malformed": [
        *({"date": text} for text in ("yesterday", "", "Tue, 06 May 99999999999999999999 12:09:42 GMT")),
        {"date": "Tue, 06 May 2025 12:09:42 +999999999999999"},
    ],
}


@pytest.mark.parametrize(
    ("changed", "reason"), [(changed, reason) for reason, several in WRONG.items() for changed in several], ids=ascii
)
def test_a_changed_header_is_refused(changed: dict[str, str], reason: str) -> None:
    assert refused(headers={**HEADERS, **changed}) == reason


def test_further_signed_headers_are_part_of_the_proof() -> None:
    headers = signed(names="Date; x-request-nonce ;X-Trace;", **{"x-trace": "a:b"})
    verify(headers=headers)
    assert refused(headers={**headers, "x-trace": "a:c"}) == "signature_wrong"


@pytest.mark.parametrize("side", [-1, 1])
def test_a_signature_is_good_for_five_minutes_either_way(side: int) -> None:
    verify(now=SENT + side * TOLERANCE_SECONDS * 1000)
    assert refused(now=SENT + side * (TOLERANCE_SECONDS * 1000 + 1)) == "signature_out_of_time"


def test_a_date_without_a_zone_is_read_as_utc_and_another_zone_as_itself() -> None:
    verify(headers=signed(date="Tue, 06 May 2025 12:09:42"))
    verify(headers=signed(date="Tue, 06 May 2025 14:09:42 +0200"))
    assert refused(headers=signed(date="Tue, 06 May 2025 12:09:42 +0200")) == "signature_out_of_time"
