"""What callers without a key can see: routes, headers, errors, and the wire."""

import json
import re
from urllib.parse import urlsplit

import pytest
import requests

from local.client import RelayClient
from tests.e2e.attempts import send
from tests.unit.template import of_type

MISSING = "a" * 26
TELLING = re.compile(
    rb"(?i)arn:|boto|python|pydantic|powertools|traceback|/var/task|/opt/|\.py\b|line \d+, in|/_aws/lambda"
)
"""What would show how the relay is built."""
ELSEWHERE = (
    "/",
    "/v2/tasks",
    "/v1/tasks/",
    "/v1/openapi.yaml",
    "/.env",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/v1/callbacks",
    "/v1/uploads/x",
    "/?x=<script>alert(1)</script>",
)
SPOOFED = (
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-host", "evil.example"),
    ("forwarded", "for=127.0.0.1;host=evil.example;proto=http"),
    ("x-original-url", "/v1/tasks"),
    ("x-http-method-override", "DELETE"),
    ("x-amzn-requestid", "evil"),
)


def test_unknown_route_is_answered_404_and_nothing_else(relay: RelayClient) -> None:
    for path in ELSEWHERE:
        for method, key in (("GET", None), ("POST", relay.stack.api_key)):
            answer = send(relay.stack, method, path, key=key, body=b"{}" if method == "POST" else b"")
            assert (answer.status, answer.body) == (404, b'{"message":"Not Found"}'), path


def test_no_page_of_another_origin_may_read_an_answer(relay: RelayClient) -> None:
    """No CORS: the console has the API's own origin, and no other page is to use a key."""
    asked = [("origin", "https://evil.example"), ("access-control-request-method", "POST")]
    for path in ("/v1/tasks", f"/v1/tasks/{MISSING}", f"/v1/callbacks/{MISSING}", "/v1/docs"):
        preflight = send(relay.stack, "OPTIONS", path, headers=[*asked, ("access-control-request-headers", "x")])
        answer = send(relay.stack, "GET", path, headers=asked, key=relay.stack.api_key)
        assert preflight.status >= 400
        assert not [name for name in (*preflight.headers, *answer.headers) if name.startswith("access-control-")]
    assert all("CorsConfiguration" not in api["Properties"] for api in of_type("AWS::ApiGatewayV2::Api").values())


def test_spoofed_header_changes_no_answer(relay: RelayClient) -> None:
    for method, path, key in (
        ("GET", "/v1/tasks", None),
        ("GET", "/v1/tasks", "A" * 43),
        ("GET", f"/v1/tasks/{MISSING}", relay.stack.api_key),
        ("GET", "/v1/openapi.json", None),
        ("POST", f"/v1/callbacks/{MISSING}?token=x", None),
    ):
        plain = send(relay.stack, method, path, key=key)
        assert b"evil" not in plain.body
        for header in SPOOFED:
            assert send(relay.stack, method, path, key=key, headers=[header]) == plain, header


def test_errors_tell_nothing_of_how_the_relay_is_built(relay: RelayClient) -> None:
    key, text = relay.stack.api_key, json.dumps({"a" * 3000: 1}).encode()
    answers = [
        send(relay.stack, "GET", "/nowhere"),
        send(relay.stack, "GET", "/v1/tasks"),
        send(relay.stack, "GET", "/v1/tasks", key="A" * 43),
        send(relay.stack, "GET", f"/v1/tasks/{MISSING}", key=key),
        send(relay.stack, "GET", "/v1/tasks?limit=x", key=key),
        send(relay.stack, "GET", "/v1/tasks?cursor=%00", key=key),
        *(
            send(relay.stack, "POST", "/v1/tasks", key=key, body=body)
            for body in (b"\xff", b"[" * 100_000, b'{"prompt": 1e999999}', b'{"model": null}', text)
        ),
        send(relay.stack, "POST", "/v1/uploads", key=key, body=b"{"),
        send(relay.stack, "POST", f"/v1/tasks/{MISSING}/cancel", key=key),
        send(relay.stack, "POST", f"/v1/callbacks/{MISSING}?token=x", body=b"{"),
    ]
    for answer in answers:
        assert 400 <= answer.status < 500, answer
        assert not TELLING.search(answer.body), answer.body
        assert not {"server", "x-powered-by", "via"} & set(answer.headers), answer.headers


def test_only_tls_is_spoken_with_a_certificate_that_clients_check(relay: RelayClient) -> None:
    session = requests.Session()
    session.trust_env = False
    for address in (relay.stack.api_url, relay.stack.aws_endpoint_url):
        host = urlsplit(address)
        with pytest.raises(requests.ConnectionError):
            session.get(f"http://{host.netloc}/v1/docs", timeout=40)
        with pytest.raises(requests.exceptions.SSLError):
            session.get(f"https://{host.netloc}/v1/docs", timeout=40)  # an authority that this client does not know
    session.close()
