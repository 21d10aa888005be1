"""What anybody sees without a key: routes, headers, errors, and the wire."""

import json
import re
import ssl
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from local.client import RelayClient
from tests.e2e.attempts import send
from tests.unit.template import TEMPLATE, of_type

TELLING = re.compile(
    rb"(?i)arn:|boto|python|pydantic|powertools|traceback|/var/task|/opt/|\.py\b|line \d+, in|/_aws/lambda"
)
"""What would tell a stranger how the house is built."""
ELSEWHERE = (
    "/",
    "/v1",
    "/v1/",
    "/v2/tasks",
    "/v1/task",
    "/v1/tasks/",
    "/v1/openapi.yaml",
    "/v1/docs/",
    "/v1/docs/../tasks",
    "/favicon.ico",
    "/.env",
    "/.git/config",
    "/admin",
    "/health",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/v1/callbacks",
    "/v1/uploads/x",
    "/$default",
    "/?x=<script>alert(1)</script>",
)


@pytest.mark.parametrize("path", ELSEWHERE)
@pytest.mark.parametrize("method", ("GET", "POST"))
def test_unknown_route_says_that_it_is_unknown_and_nothing_else(relay: RelayClient, method: str, path: str) -> None:
    for key in (None, relay.stack.api_key):
        answer = send(relay.stack, method, path, key=key, body=b"{}" if method == "POST" else b"")
        assert (answer.status, answer.body) == (404, b'{"message":"Not Found"}')


@pytest.mark.parametrize("origin", ("https://evil.example", "null", "http://localhost"))
@pytest.mark.parametrize("path", ("/v1/tasks", "/v1/tasks/" + "a" * 26, "/v1/callbacks/" + "a" * 26, "/v1/docs"))
def test_no_page_of_another_origin_may_read_an_answer(relay: RelayClient, path: str, origin: str) -> None:
    """No CORS: a key in a browser is not what this API is for."""
    asked = [("origin", origin), ("access-control-request-method", "POST")]
    preflight = send(
        relay.stack, "OPTIONS", path, headers=[*asked, ("access-control-request-headers", "authorization")]
    )
    answer = send(relay.stack, "GET", path, headers=asked, key=relay.stack.api_key)

    assert preflight.status >= 400
    for one in (preflight, answer):
        assert not [name for name in one.headers if name.startswith("access-control-")]
    assert all("CorsConfiguration" not in api["Properties"] for api in of_type("AWS::ApiGatewayV2::Api").values())


def test_description_runs_nothing_frames_nothing_and_asks_nobody(relay: RelayClient) -> None:
    page = send(relay.stack, "GET", "/v1/docs?x=<script>alert(1)</script>")
    policy = dict(part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";"))

    assert policy["default-src"] == "'none'"
    assert {"base-uri", "form-action", "frame-ancestors"} <= {
        name for name, value in policy.items() if value == "'none'"
    }
    assert "script-src" not in policy
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert b"alert(1)" not in page.body
    assert not re.search(rb"(?i)<script|<iframe|<object|<embed|\son\w+=|javascript:|<link|@import", page.body)
    document = send(relay.stack, "GET", "/v1/openapi.json")
    assert document.headers["x-content-type-options"] == "nosniff"
    assert relay.stack.api_key.encode() not in document.body + page.body
    for name in ("table", "inbox_bucket", "videos_bucket", "bus", "state_machine_arn"):
        assert getattr(relay.stack, name).encode() not in document.body + page.body


SPOOFED = (
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-proto", "http"),
    ("x-real-ip", "10.0.0.1"),
    ("forwarded", "for=127.0.0.1;host=evil.example;proto=http"),
    ("x-original-url", "/v1/tasks"),
    ("x-rewrite-url", "/v1/tasks"),
    ("x-http-method-override", "DELETE"),
    ("x-amzn-requestid", "evil"),
    ("x-amz-cf-id", "evil"),
)


@pytest.mark.parametrize(("name", "value"), SPOOFED, ids=[name for name, _ in SPOOFED])
def test_spoofed_header_changes_no_answer(relay: RelayClient, name: str, value: str) -> None:
    for method, path, key in (
        ("GET", "/v1/tasks", None),
        ("GET", "/v1/tasks", "A" * 43),
        ("GET", "/v1/tasks/" + "a" * 26, relay.stack.api_key),
        ("GET", "/v1/openapi.json", None),
        ("POST", f"/v1/callbacks/{'a' * 26}?token=x", None),
    ):
        plain = send(relay.stack, method, path, key=key)
        assert send(relay.stack, method, path, key=key, headers=[(name, value)]) == plain
        assert b"evil" not in plain.body


def test_errors_tell_nothing_of_how_the_house_is_built(relay: RelayClient) -> None:
    key = relay.stack.api_key
    answers = [
        send(relay.stack, "GET", "/nowhere"),
        send(relay.stack, "GET", "/v1/tasks"),
        send(relay.stack, "GET", "/v1/tasks", key="A" * 43),
        send(relay.stack, "GET", "/v1/tasks/" + "a" * 26, key=key),
        send(relay.stack, "GET", "/v1/tasks?limit=x", key=key),
        send(relay.stack, "GET", "/v1/tasks?cursor=x", key=key),
        send(relay.stack, "POST", "/v1/tasks", key=key, body=b"\xff"),
        send(relay.stack, "POST", "/v1/tasks", key=key, body=b"[" * 100_000),
        send(relay.stack, "POST", "/v1/tasks", key=key, body=b'{"prompt": 1e999999}'),
        send(relay.stack, "POST", "/v1/tasks", key=key, body=b'{"model": null}'),
        send(relay.stack, "POST", "/v1/tasks", key=key, body=json.dumps({"a" * 3000: 1}).encode()),
        send(relay.stack, "POST", "/v1/uploads", key=key, body=b"{"),
        send(relay.stack, "POST", f"/v1/tasks/{'a' * 26}/cancel", key=key),
        send(relay.stack, "POST", f"/v1/callbacks/{'a' * 26}?token=x", body=b"{"),
    ]
    for answer in answers:
        assert 400 <= answer.status < 500, answer
        assert not TELLING.search(answer.body), answer.body
        assert not {"server", "x-powered-by", "via"} & set(answer.headers), answer.headers


def test_nothing_but_tls_is_spoken_and_the_certificate_is_checked(relay: RelayClient) -> None:
    session = requests.Session()
    session.trust_env = False
    for address in (relay.stack.api_url, relay.stack.aws_endpoint_url):
        host = urlsplit(address)
        with pytest.raises(requests.ConnectionError):
            session.get(f"http://{host.netloc}/v1/docs", timeout=40)
        with pytest.raises(requests.exceptions.SSLError):
            session.get(f"https://{host.netloc}/v1/docs", timeout=40)  # an authority that this client does not know
    session.close()
    pinned = ssl.create_default_context(cafile=relay.stack.aws_ca_bundle)
    assert pinned.verify_mode is ssl.CERT_REQUIRED


STATEMENTS_BY_KIND = {
    "AWS::S3::BucketPolicy": ("Bucket", "s3:GetObject"),
    "AWS::SQS::QueuePolicy": ("Queues", "sqs:SendMessage"),
}


def deployed_policies(relay: RelayClient) -> dict[str, tuple[str, str, str]]:
    """Every bucket's and queue's policy as it stands: an action it speaks of, a resource, the document."""
    found = relay.resources()
    policies = {}
    for name in ("InboxBucket", "VideosBucket", "FailuresBucket"):
        document = relay.aws("s3").get_bucket_policy(Bucket=found[name])["Policy"]
        policies[name] = ("s3:GetObject", f"arn:aws:s3:::{found[name]}/x", document)
    for name in (key for key in found if key.endswith(("Queue", "DeadLetters", "UnroutedEvents"))):
        attributes = relay.aws("sqs").get_queue_attributes(QueueUrl=found[name], AttributeNames=["All"])["Attributes"]
        policies[name] = ("sqs:SendMessage", attributes["QueueArn"], attributes["Policy"])
    return policies


def test_deployed_policies_deny_what_comes_in_the_clear(relay: RelayClient) -> None:
    """The emulator speaks TLS only; its simulator of policies takes every call for one without."""
    policies = deployed_policies(relay)
    assert len(policies) == len(of_type("AWS::S3::Bucket")) + len(of_type("AWS::SQS::Queue"))
    everything = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    )

    def decision(action: str, resource: str, *documents: str) -> Any:
        reply = relay.aws("iam").simulate_custom_policy(
            PolicyInputList=[everything, *documents], ActionNames=[action], ResourceArns=[resource]
        )
        return reply["EvaluationResults"][0]["EvalDecision"]

    for name, (action, resource, document) in policies.items():
        assert decision(action, resource) == "allowed"
        assert decision(action, resource, document) == "explicitDeny", name
    assert TEMPLATE["Resources"]
