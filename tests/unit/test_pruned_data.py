"""The layer's part of botocore's data: every call of the code, and the same requests and replies as with all of it."""

import base64
import io
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import escape

import boto3
import botocore
import pytest
from botocore import xform_name
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.session import Session

from layers.dependencies import prune
from tests.unit.aws_calls import operations
from tests.unit.template import FUNCTIONS
from vidu_relay import aws

FULL = Path(botocore.__file__).parent / "data"
REGIONS = ("us-east-1", "eu-central-1", "ap-southeast-1", "cn-north-1", "us-gov-west-1")
MADE_OF = {("s3", "generate_presigned_post"): ("s3", "CreateBucket")}
"""Methods of clients that are no operation themselves, and the operation whose form they take."""
CHANGES = {"x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request", "signature", "x-amz-signature", "policy"}
"""What differs from one moment to the next."""
TEXTS = {"Bucket": "example-videos", "Key": "a b/é+1.mp4", "QueueUrl": "https://sqs.eu-central-1.amazonaws.com/1/q"}
DEEP = 5
LEFT_OUT = {"EndpointId"}
"""Members that nothing here sets and this installation cannot send: EventBridge's global endpoints need the AWS CRT."""

CALLED = sorted({call for function in FUNCTIONS for call in operations(function)})


def model(loader: Loader, service: str) -> ServiceModel:
    return ServiceModel(loader.load_service_model(service, "service-2"), service)


@pytest.fixture(scope="module")
def full() -> Loader:
    return Loader(extra_search_paths=[str(FULL)], include_default_search_paths=False)


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Loader:
    folder = tmp_path_factory.mktemp("botocore") / "data"
    prune.write_pruned(FULL, folder)
    return Loader(extra_search_paths=[str(folder)], include_default_search_paths=False)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's configuration, and no pause before a retry."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_DATA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)


def test_the_layer_has_the_operations_that_the_code_calls_and_no_other(full: Loader) -> None:
    """A new call without its entry in `prune.OPERATIONS` would be an `AttributeError` in Lambda."""
    called: dict[str, set[str]] = {}
    for service, method in CALLED:
        names = {xform_name(name): name for name in model(full, service).operation_names}
        if (service, method) in MADE_OF:
            taken_from, operation = MADE_OF[service, method]
            assert operation in prune.CALLED_BY_BOTOCORE[taken_from]
            called.setdefault(taken_from, set())
        else:
            assert method in names, f"{service}.{method} is no operation: add it to MADE_OF with what it is made of"
            called.setdefault(service, set()).add(names[method])
    assert called == {service: set(names) for service, names in prune.OPERATIONS.items()}


def test_what_is_not_called_is_gone(pruned: Loader) -> None:
    assert set(pruned.list_available_services("service-2")) == set(prune.OPERATIONS)
    for service in prune.OPERATIONS:
        kept = prune.OPERATIONS[service] | prune.CALLED_BY_BOTOCORE.get(service, frozenset())
        assert set(model(pruned, service).operation_names) == kept


CASES = [
    (service, name)
    for service in sorted(prune.OPERATIONS)
    for name in sorted(prune.OPERATIONS[service] | prune.CALLED_BY_BOTOCORE.get(service, frozenset()))
]


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize(("service", "name"), CASES)
def test_requests_and_replies_are_those_of_full_data(
    service: str, name: str, region: str, full: Loader, pruned: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = model(full, service).operation_model(name)
    for everything in (False, True):
        arguments = example(operation.input_shape, everything=everything) if operation.input_shape else {}
        with_full, with_pruned = (
            exchanges(make(service), name, arguments, operation)
            for loader in (full, pruned)
            for make in clients(loader, region, monkeypatch)
        )
        assert with_pruned == with_full
        assert with_full[0]["answer"].get("ResponseMetadata"), "the first exchange is one that succeeds"


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("upload", [False, True])
def test_links_and_forms_are_those_of_full_data(
    upload: bool, region: str, full: Loader, pruned: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signed(loader: Loader) -> list[Any]:
        (make,) = clients(loader, region, monkeypatch)
        client = aws.upload_client.__wrapped__() if upload else make("s3")
        place = {"Bucket": "example-videos", "Key": "a b/é+1.mp4"}
        link = urlsplit(client.generate_presigned_url("get_object", Params=place, ExpiresIn=60))
        form = client.generate_presigned_post(**place, ExpiresIn=60)
        return [link.netloc, link.path, steady(dict(parse_qsl(link.query))), form["url"], steady(form["fields"])]

    assert signed(pruned) == signed(full)


def clients(loader: Loader, region: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """The way the functions make clients, on other data."""
    session = Session()
    session.register_component("data_loader", loader)
    session.set_config_variable("region", region)
    session.set_credentials("example", "example")
    monkeypatch.setattr(aws, "_session", lambda: boto3.Session(botocore_session=session))
    yield aws.client.__wrapped__


def exchanges(client: Any, name: str, arguments: Mapping[str, Any], operation: OperationModel) -> list[dict[str, Any]]:
    """What is sent, and what comes of each reply there may be: a good one, each error of the operation, trouble."""
    replies = [
        reply(operation),
        *(refusal(operation, code) for code in codes(operation)),
        (500, {}, b""),
        (503, {}, b""),
    ]
    sent: list[Any] = []
    found = []

    def send(request: Any, **_: Any) -> AWSResponse:
        body = request.body.read() if hasattr(request.body, "read") else request.body
        scope = {key: value.partition("Signature=")[0] for key, value in headers(request.headers)}
        sent.append((request.method, request.url, scope, body))
        status, fields, content = next_reply
        return AWSResponse(request.url, status, HTTPHeaders.from_dict(fields), _Raw(content))

    client.meta.events.register("before-send", send)
    for next_reply in replies:  # noqa: B007 - read by `send`
        sent.clear()
        try:
            answer = getattr(client, xform_name(name))(**{key: renewed(value) for key, value in arguments.items()})
            if "Body" in answer:
                answer["Body"] = answer["Body"].read()
        except ClientError as error:
            answer = {"raised": [one.__name__ for one in type(error).__mro__], "text": str(error), **error.response}
        found.append({"sent": list(sent), "answer": answer})
    return found


def headers(given: Any) -> list[tuple[str, str]]:
    return [
        (key, value.decode() if isinstance(value, bytes) else str(value))
        for key, value in sorted(given.items())
        if key.lower() not in CHANGES
    ]


def steady(fields: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in fields.items() if key.lower() not in CHANGES}


def renewed(value: Any) -> Any:
    return io.BytesIO(value.getvalue()) if isinstance(value, io.BytesIO) else value


def example(shape: Any, name: str = "", depth: int = 0, *, everything: bool) -> Any:
    """A value of a shape: with every member there is, down to a depth, or with the required ones only."""
    match shape.type_name:
        case "structure":
            return {
                member: example(inner, member, depth + 1, everything=everything)
                for member, inner in shape.members.items()
                if member in shape.required_members
                or inner.metadata.get("idempotencyToken")  # botocore would make up another each time
                or (
                    everything
                    and member not in LEFT_OUT
                    and (depth < DEEP or inner.type_name not in ("structure", "list", "map"))
                )
            }
        case "list":
            return [example(shape.member, name, depth + 1, everything=everything)]
        case "map":
            key = example(shape.key, name, depth + 1, everything=everything)
            return {key: example(shape.value, name, depth + 1, everything=everything)}
        case "string":
            return TEXTS.get(name) or (shape.enum[0] if shape.enum else "example-of-a-text-that-is-long-enough")
        case "blob":
            return b"x"
        case "boolean":
            return True
        case "timestamp":
            return datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC)
        case "integer" | "long":
            return int(max(shape.metadata.get("min", 1), 1))
    return 0.5


def _is_flat(shape: Shape) -> bool:
    return shape.type_name not in ("structure", "list", "map")


def codes(operation: OperationModel) -> list[str]:
    own = [shape.metadata.get("error", {}).get("code", shape.name) for shape in operation.error_shapes]
    return [*own, "ThrottlingException", "SlowDown", "Unheard"]


Reply = tuple[int, dict[str, str], bytes]


def refusal(operation: OperationModel, code: str) -> Reply:
    if operation.service_model.resolved_protocol == "rest-xml":
        return 400, {}, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    return 400, {}, json.dumps({"__type": f"example#{code}", "message": "no"}).encode()


def reply(operation: OperationModel) -> Reply:
    """A reply with every field there is."""
    shape = operation.output_shape
    if shape is None:
        return 200, {}, b""
    if operation.service_model.resolved_protocol != "rest-xml":
        return 200, {}, json.dumps(example(shape, everything=True), default=_plain).encode()
    fields, content = {}, ""
    for member, inner in shape.members.items():
        value = example(inner, member, everything=True)
        name = inner.serialization.get("name", member)
        if inner.serialization.get("location") == "header":
            if "checksum" not in name:  # it would be compared with the body
                fields[name] = (
                    value.strftime("%a, %d %b %Y %H:%M:%S GMT") if inner.type_name == "timestamp" else _text(value)
                )
        elif inner.serialization.get("location") == "headers":
            fields |= {f"{name}{key}": _text(one) for key, one in value.items()}
        elif inner.type_name != "blob":
            content += _xml(inner, name, value)
    if shape.serialization.get("payload"):
        return 200, fields, b"x"
    return 200, fields, f"<Result>{content}</Result>".encode() if content else b""


def _xml(shape: Shape, name: str, value: Any) -> str:
    match shape.type_name:
        case "structure":
            members = shape.members  # type: ignore[attr-defined]  # of a structure
            names = {key: members[key].serialization.get("name", key) for key in value}
            inner = "".join(_xml(members[key], names[key], one) for key, one in value.items())
        case "list":
            inner = "".join(_xml(shape.member, "member", one) for one in value)  # type: ignore[attr-defined]  # of a list
        case _:
            inner = escape(_text(value))
    return f"<{name}>{inner}</{name}>"


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value.timestamp()


class _Raw(io.BytesIO):
    """A reply's body, as urllib3 gives it."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()
