"""Functions run as on Lambda: the real runtime, their own environment and layers, and API Gateway before them."""

import io
import json
import subprocess
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from local.programs import ROOT, venv_program
from tests.local.probe import Emulator, eventually


def invoke(emulator: Emulator, **event: Any) -> tuple[Any, str | None]:
    reply = emulator.client("lambda").invoke(FunctionName=emulator.outputs["Probe"], Payload=json.dumps(event))
    return json.loads(reply["Payload"].read()), reply.get("FunctionError")


def post(emulator: Emulator, body: bytes, content_type: str = "application/json", **headers: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.post(
            emulator.outputs["ApiUrl"] + "/probe",
            data=body,
            headers={"Content-Type": content_type, **headers},
            verify=emulator.ca_bundle,
            timeout=30,
        )


def test_a_function_has_its_own_environment_interpreter_and_layers(emulator: Emulator) -> None:
    answer, error = invoke(emulator)
    assert error is None
    assert answer["layer"] == "from the layer"
    assert answer["prefix"] == venv_program("runtime").removesuffix("/bin/python")
    environment = answer["environment"]
    assert environment["TABLE"] == emulator.outputs["Table"]
    assert environment["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.13"
    assert environment["AWS_CA_BUNDLE"] == emulator.ca_bundle
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert not {"AUTH", "GATEWAY_PORT", "USE_SSL", "MINISTACK_SSL_KEY", "AWS_CONFIG_FILE"} & set(environment)


def test_an_exception_has_its_class_as_error_type_and_leaves_the_process_alive(emulator: Emulator) -> None:
    before, _ = invoke(emulator)
    failure, error = invoke(emulator, do="raise")
    after, _ = invoke(emulator)
    assert (error, failure["errorType"], failure["errorMessage"]) == ("Unhandled", "OutOfLuckError", "asked for")
    assert before["pid"] == after["pid"]


def test_an_update_lets_an_invocation_end_on_the_layers_it_began_with(emulator: Emulator, tmp_path: Path) -> None:
    functions, name, began, end = (
        emulator.client("lambda"),
        emulator.outputs["Probe"],
        tmp_path / "began",
        tmp_path / "end",
    )
    layers = functions.get_function_configuration(FunctionName=name)["Layers"]
    with ThreadPoolExecutor() as pool:
        running = pool.submit(invoke, emulator, do="wait for", began=str(began), end=str(end))
        eventually(began.exists)
        functions.update_function_configuration(FunctionName=name, Layers=[])
        answer, error = invoke(emulator)
        end.touch()
        assert running.result()[0]["layer"] == "from the layer"
    functions.update_function_configuration(FunctionName=name, Layers=[layer["Arn"] for layer in layers])
    assert (error, answer["errorType"]) == ("Unhandled", "ModuleNotFoundError")
    assert invoke(emulator)[0]["layer"] == "from the layer"


def test_an_update_of_a_stack_changes_code_and_configuration_one_after_the_other(emulator: Emulator) -> None:
    functions, cloudformation = emulator.client("lambda"), emulator.client("cloudformation")

    def deploy(how: Callable[..., Any], word: str) -> None:
        code = f"import os\ndef handler(*_): return ['{word}', os.environ['WORD']]"
        role = functions.get_function_configuration(FunctionName=emulator.outputs["Probe"])["Role"]
        properties = {"FunctionName": "steps", "Runtime": "python3.13", "Handler": "index.handler", "Role": role}
        properties |= {"Code": {"ZipFile": code}, "Environment": {"Variables": {"WORD": word}}}
        function = {"Type": "AWS::Lambda::Function", "Properties": properties}
        how(StackName="steps", TemplateBody=json.dumps({"Resources": {"Function": function}}))

    def answer() -> Any:
        return json.loads(functions.invoke(FunctionName="steps")["Payload"].read())

    def renewed() -> bool:
        seen.append(answer())
        return bool(seen[-1] == ["new", "new"])

    deploy(cloudformation.create_stack, "old")
    cloudformation.get_waiter("stack_create_complete").wait(StackName="steps", WaiterConfig={"Delay": 1})
    seen = [answer()]
    deploy(cloudformation.update_stack, "new")
    eventually(renewed)
    assert [one for number, one in enumerate(seen) if one not in seen[:number]] == [
        ["old", "old"],
        ["new", "old"],
        ["new", "new"],
    ]


def test_half_an_answer_of_a_dying_process_is_a_failure(emulator: Emulator) -> None:
    _, error = invoke(emulator, do="die answering")
    assert error == "Unhandled"
    reply = post(emulator, b'{"do": "die answering"}')
    assert (reply.status_code, reply.json()) == (500, {"message": "Internal Server Error"})


def test_state_machines_catch_an_exception_by_its_class(emulator: Emulator) -> None:
    steps = emulator.client("stepfunctions")
    arn = steps.start_execution(stateMachineArn=emulator.outputs["Machine"], input='{"do": "raise"}')["executionArn"]
    ended = eventually(lambda: (found := steps.describe_execution(executionArn=arn))["status"] != "RUNNING" and found)
    assert (ended["status"], ended["output"]) == ("SUCCEEDED", '"caught"')


def test_the_same_name_and_input_is_the_same_execution(emulator: Emulator) -> None:
    steps = emulator.client("stepfunctions")
    request = {"stateMachineArn": emulator.outputs["Machine"], "name": "once", "input": "{}"}
    first, again = steps.start_execution(**request), steps.start_execution(**request)
    assert first["executionArn"] == again["executionArn"]
    with pytest.raises(steps.exceptions.ExecutionAlreadyExists):
        steps.start_execution(**{**request, "input": '{"other": true}'})
    eventually(lambda: steps.describe_execution(executionArn=first["executionArn"])["status"] == "SUCCEEDED")
    with pytest.raises(steps.exceptions.ExecutionAlreadyExists):
        steps.start_execution(**request)


def test_the_api_endpoint_is_an_address_that_answers(emulator: Emulator) -> None:
    reply = post(emulator, b"{}", Cookie="a=1; b=2")
    assert reply.status_code == 200
    answer = reply.json()
    assert answer["environment"]["API_URL"] == emulator.outputs["ApiUrl"]
    event = answer["event"]
    assert event["rawPath"] == "/probe"
    assert event["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in event["headers"]
    assert "pathParameters" not in event
    assert event["requestContext"]["domainName"] in emulator.endpoint_url


def test_a_failing_function_says_nothing_to_the_client(emulator: Emulator) -> None:
    reply = post(emulator, b'{"do": "raise"}')
    assert (reply.status_code, reply.json()) == (500, {"message": "Internal Server Error"})


@pytest.mark.parametrize(
    ("size", "content_type", "status"),
    [
        (4 << 20, "application/octet-stream", 200),
        (5 << 20, "application/octet-stream", 413),
        (11 << 20, "application/json", 413),
    ],
)
def test_a_body_that_is_too_large_for_lambda_or_the_gateway_is_413(
    emulator: Emulator, size: int, content_type: str, status: int
) -> None:
    reply = post(emulator, b"x" * size, content_type)
    assert reply.status_code == status
    if status == 413:
        assert reply.json() == {"message": "Request Entity Too Large"}


@pytest.mark.parametrize(("size", "taken"), [(6_291_456, True), (6_291_457, False)])
def test_an_invocation_takes_6_mib_and_no_byte_more(emulator: Emulator, size: int, taken: bool) -> None:
    frame = json.dumps({"isBase64Encoded": True, "body": ""}).encode()
    payload = frame[:-2] + b"x" * (size - len(frame)) + frame[-2:]
    functions = emulator.client("lambda")
    if taken:
        assert "FunctionError" not in functions.invoke(FunctionName=emulator.outputs["Probe"], Payload=payload)
    else:
        with pytest.raises(ClientError, match="Request must be smaller than 6291456 bytes"):
            functions.invoke(FunctionName=emulator.outputs["Probe"], Payload=payload)


LATE_READER = """
import os
from types import SimpleNamespace
from local.emulator.patches.python_runtime import AwslambdaricWorker

worker = AwslambdaricWorker("probe", {}, b"")
ours, functions = os.pipe()
worker._proc = SimpleNamespace(stdout=os.fdopen(ours, "rb"))
for text in ("one\\ntwo\\r\\n", "", "three\\nunfin", "ished\\n"):
    os.write(functions, text.encode())
    print(repr(worker._drain_stderr_bounded()))
"""


def test_what_a_function_wrote_before_its_answer_is_in_its_log_though_the_reader_is_late() -> None:
    """On a busy machine the thread that reads the lines has not always had its turn: here it never has."""
    command = [venv_program("emulator"), "-c", LATE_READER]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert result.stdout.splitlines() == ["'one\\ntwo'", "''", "'three'", "'unfinished'"]


def test_embedded_metrics_become_metrics(emulator: Emulator) -> None:
    invoke(emulator, do="metric")
    cloudwatch = emulator.client("cloudwatch")
    metrics = eventually(lambda: cloudwatch.list_metrics(Namespace="Probe")["Metrics"])
    assert [(metric["MetricName"], metric["Dimensions"]) for metric in metrics] == [
        ("Seen", [{"Name": "service", "Value": "probe"}])
    ]


def test_links_to_deployed_code_lead_to_it(emulator: Emulator) -> None:
    client = emulator.client("lambda")
    function = client.get_function(FunctionName=emulator.outputs["Probe"])
    name, _, number = function["Configuration"]["Layers"][0]["Arn"].rpartition(":")
    layer = client.get_layer_version(LayerName=name, VersionNumber=int(number))
    for link, file in (
        (function["Code"]["Location"], "handler.py"),
        (layer["Content"]["Location"], "python/layered.py"),
    ):
        reply = requests.get(link, verify=emulator.ca_bundle, timeout=30)
        assert zipfile.ZipFile(io.BytesIO(reply.content)).namelist() == [file]


def test_quotas_are_awss_defaults_and_unknown_ones_are_said_to_be(emulator: Emulator) -> None:
    client = emulator.client("service-quotas")
    assert client.get_service_quota(ServiceCode="events", QuotaCode="L-9B653E91")["Quota"]["Value"] == 10_000
    with pytest.raises(client.exceptions.NoSuchResourceException):
        client.get_service_quota(ServiceCode="events", QuotaCode="L-00000000")
