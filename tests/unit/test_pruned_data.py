"""The layer's part of botocore's data: every call of the code, and the same requests and replies as with all of it."""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import botocore
import pytest
from botocore import xform_name
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel
from botocore.session import Session

from layers.dependencies import prune
from tests.unit.aws_calls import operations
from tests.unit.template import FUNCTIONS
from vidu_relay import aws

FULL = Path(botocore.__file__).parent / "data"
REGIONS = ("eu-central-1", "cn-north-1", "us-east-1", "us-gov-west-1")
MADE_OF = {("s3", "generate_presigned_post"): ("s3", "CreateBucket")}
"""Methods of clients that are no operation themselves, and the operation whose form they take."""
CHANGES = {"x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request", "signature", "x-amz-signature", "policy"}
"""What differs from one moment to the next."""
TEXTS = {"Bucket": "example-videos", "Key": "a b/é+1.mp4", "QueueUrl": "https://sqs.eu-central-1.amazonaws.com/1/q"}
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


@pytest.mark.parametrize("service", sorted(prune.OPERATIONS))
def test_shapes_of_requests_replies_and_errors_are_those_of_full_data(
    service: str, full: Loader, pruned: Loader
) -> None:
    whole, part = model(full, service), model(pruned, service)
    for name in part.operation_names:
        for shapes in (lambda op: [op.input_shape, op.output_shape], lambda op: op.error_shapes):
            ours, theirs = (list(map(described, shapes(one.operation_model(name)))) for one in (part, whole))
            assert ours == theirs
        assert part.operation_model(name).http == whole.operation_model(name).http
    assert [shape.name for shape in part.error_shapes] == [shape.name for shape in whole.error_shapes]


def described(shape: Any, above: tuple[str, ...] = ()) -> Any:
    """Everything of a shape that botocore goes by, and of the shapes that it is made of."""
    if shape is None or shape.name in above:
        return shape and shape.name
    members = getattr(shape, "members", {}) if shape.type_name == "structure" else {}
    parts = [*members.values(), *(getattr(shape, name, None) for name in ("member", "key", "value"))]
    inside = [described(part, (*above, shape.name)) for part in parts]
    fixed = [shape.name, shape.type_name, shape.serialization, shape.metadata, getattr(shape, "enum", None)]
    return [*fixed, list(members), inside]


@pytest.mark.parametrize("region", REGIONS[:2])
@pytest.mark.parametrize(("service", "name"), CASES)
def test_requests_and_answers_are_those_of_full_data(
    service: str, name: str, region: str, full: Loader, pruned: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = model(full, service).operation_model(name)
    arguments = example(operation.input_shape) if operation.input_shape else {}
    with_full, with_pruned = (
        exchanges(client_of(loader, partial(aws.client, service), region, monkeypatch), name, arguments, operation)
        for loader in (full, pruned)
    )
    assert with_pruned == with_full
    assert with_full[0]["answer"].get("ResponseMetadata"), "the first exchange is one that succeeds"


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("upload", [False, True])
def test_links_and_forms_are_those_of_full_data(
    upload: bool, region: str, full: Loader, pruned: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signed(loader: Loader) -> list[Any]:
        make = aws.upload_client if upload else partial(aws.client, "s3")
        client = client_of(loader, make, region, monkeypatch)
        place = {"Bucket": "example-videos", "Key": "a b/é+1.mp4"}
        link = urlsplit(client.generate_presigned_url("get_object", Params=place, ExpiresIn=60))
        form = client.generate_presigned_post(**place, ExpiresIn=60)
        return [link.netloc, link.path, steady(dict(parse_qsl(link.query))), form["url"], steady(form["fields"])]

    assert signed(pruned) == signed(full)


def client_of(loader: Loader, make: Callable[[], Any], region: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client as the functions make it, on other data."""
    session = Session()
    session.register_component("data_loader", loader)
    session.set_config_variable("region", region)
    session.set_credentials("example", "example")
    monkeypatch.setattr(aws, "_session", lambda: boto3.Session(botocore_session=session))
    for cached in (aws.client, aws.upload_client):
        cached.cache_clear()
    try:
        return make()
    finally:
        for cached in (aws.client, aws.upload_client):
            cached.cache_clear()


def exchanges(client: Any, name: str, arguments: Mapping[str, Any], operation: OperationModel) -> list[dict[str, Any]]:
    """What is sent, and what comes of each reply there may be: a good one, each error of the operation, trouble."""
    is_xml = operation.service_model.resolved_protocol == "rest-xml"
    codes = [shape.metadata.get("error", {}).get("code", shape.name) for shape in operation.error_shapes]
    replies = [(200, b"" if is_xml else b"{}"), (500, b""), (503, b"")]
    for code in (*codes, "ThrottlingException", "SlowDown", "Unheard"):
        xml = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
        replies.append((400, (xml if is_xml else json.dumps({"__type": f"x#{code}", "message": "no"})).encode()))
    sent: list[Any] = []
    found = []

    def send(request: Any, **_: Any) -> AWSResponse:
        body = request.body.read() if hasattr(request.body, "read") else request.body
        scope = {key: value.partition("Signature=")[0] for key, value in steady(dict(request.headers)).items()}
        sent.append((request.method, request.url, scope, body))
        status, content = next_reply
        return AWSResponse(request.url, status, HTTPHeaders(), _Raw(content))

    client.meta.events.register("before-send", send)
    for next_reply in replies:  # noqa: B007 - read by `send`
        sent.clear()
        try:
            answer = getattr(client, xform_name(name))(**arguments)
            answer |= {name: answer[name].read() for name in ("Body", "Payload") if name in answer}
        except ClientError as error:
            answer = {"raised": [one.__name__ for one in type(error).__mro__], "text": str(error), **error.response}
        found.append({"sent": list(sent), "answer": answer})
    return found


def steady(fields: Mapping[str, Any]) -> dict[str, str]:
    """Headers or fields of a form without what differs from one moment to the next."""
    texts = ((key, value.decode() if isinstance(value, bytes) else str(value)) for key, value in sorted(fields.items()))
    return {key: value for key, value in texts if key.lower() not in CHANGES}


def example(shape: Any, name: str = "") -> Any:
    """A value of a shape with what is required."""
    match shape.type_name:
        case "structure":
            return {
                member: example(inner, member)
                for member, inner in shape.members.items()
                if member in shape.required_members or inner.metadata.get("idempotencyToken")
            }
        case "list":
            return [example(shape.member, name)]
        case "map":
            return {example(shape.key, name): example(shape.value, name)}
        case "string":
            return TEXTS.get(name) or (shape.enum[0] if shape.enum else "example-of-a-text-that-is-long-enough")
        case "blob":
            return b"x"
    return int(max(shape.metadata.get("min", 1), 1))


class _Raw(io.BytesIO):
    """A reply's body, as urllib3 gives it."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()
