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

from local.programs import ROOT, venv_program
from tests.local.probe import Emulator, eventually


def post(emulator: Emulator, body: bytes, content_type: str = "application/json") -> tuple[int, Any]:
    with requests.Session() as session:
        session.trust_env = False
        url, headers = emulator.outputs["ApiUrl"] + "/probe", {"Content-Type": content_type}
        reply = session.post(url, data=body, headers=headers, verify=emulator.ca_bundle, timeout=60)
    return reply.status_code, reply.json()


def test_a_function_has_its_own_environment_interpreter_and_layers(emulator: Emulator) -> None:
    answer, error = emulator.invoke()
    assert (error, answer["layer"]) == (None, "from the layer")
    assert answer["prefix"] == venv_program("runtime").removesuffix("/bin/python")
    environment = answer["environment"]
    assert environment["TABLE"] == emulator.outputs["Table"]
    assert environment["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.13"
    assert environment["AWS_CA_BUNDLE"] == emulator.ca_bundle
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert not {"AUTH", "GATEWAY_PORT", "USE_SSL", "MINISTACK_SSL_KEY", "AWS_CONFIG_FILE"} & set(environment)


def test_an_exception_has_its_class_as_error_type_and_leaves_the_process_alive(emulator: Emulator) -> None:
    before, _ = emulator.invoke()
    failure, error = emulator.invoke(do="raise")
    after, _ = emulator.invoke()
    assert (error, failure["errorType"], failure["errorMessage"]) == ("Unhandled", "OutOfLuckError", "asked for")
    assert before["pid"] == after["pid"]

    steps = emulator.client("stepfunctions")
    arn = steps.start_execution(stateMachineArn=emulator.outputs["Machine"], input='{"do": "raise"}')["executionArn"]
    ended = eventually(lambda: (found := steps.describe_execution(executionArn=arn))["status"] != "RUNNING" and found)
    assert (ended["status"], ended["output"]) == ("SUCCEEDED", '"caught"')


def test_an_update_lets_an_invocation_end_on_the_layers_it_began_with(emulator: Emulator, tmp_path: Path) -> None:
    functions, name, began, end = emulator.client("lambda"), emulator.outputs["Probe"], tmp_path / "b", tmp_path / "e"
    layers = functions.get_function_configuration(FunctionName=name)["Layers"]
    with ThreadPoolExecutor() as pool:
        running = pool.submit(emulator.invoke, do="wait for", began=str(began), end=str(end))
        eventually(began.exists)
        functions.update_function_configuration(FunctionName=name, Layers=[])
        answer, error = emulator.invoke()
        end.touch()
        assert running.result()[0]["layer"] == "from the layer"
    functions.update_function_configuration(FunctionName=name, Layers=[layer["Arn"] for layer in layers])
    assert (error, answer["errorType"]) == ("Unhandled", "ModuleNotFoundError")
    assert emulator.invoke()[0]["layer"] == "from the layer"


def test_an_update_of_a_stack_changes_code_and_configuration_one_after_the_other(emulator: Emulator) -> None:
    functions, cloudformation = emulator.client("lambda"), emulator.client("cloudformation")
    role = functions.get_function_configuration(FunctionName=emulator.outputs["Probe"])["Role"]
    seen: list[Any] = []

    def deploy(how: Callable[..., Any], word: str) -> None:
        code = f"import os\ndef handler(*_): return ['{word}', os.environ['WORD']]"
        properties = {"FunctionName": "steps", "Runtime": "python3.13", "Handler": "index.handler", "Role": role}
        properties |= {"Code": {"ZipFile": code}, "Environment": {"Variables": {"WORD": word}}}
        function = {"Type": "AWS::Lambda::Function", "Properties": properties}
        how(StackName="steps", TemplateBody=json.dumps({"Resources": {"Function": function}}))

    def is_new() -> bool:
        answer = json.loads(functions.invoke(FunctionName="steps")["Payload"].read())
        seen.extend([answer] if answer not in seen else [])
        return bool(answer == ["new", "new"])

    deploy(cloudformation.create_stack, "old")
    cloudformation.get_waiter("stack_create_complete").wait(StackName="steps", WaiterConfig={"Delay": 1})
    assert not is_new()
    deploy(cloudformation.update_stack, "new")
    eventually(is_new)
    assert seen == [["old", "old"], ["new", "old"], ["new", "new"]]


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
    status, answer = post(emulator, b"{}")
    assert (status, answer["event"]["rawPath"]) == (200, "/probe")
    assert answer["environment"]["API_URL"] == emulator.outputs["ApiUrl"]


@pytest.mark.parametrize("failure", ["raise", "die answering"])
def test_an_api_says_nothing_of_a_function_that_failed(emulator: Emulator, failure: str) -> None:
    assert emulator.invoke(do=failure)[1] == "Unhandled"
    assert post(emulator, json.dumps({"do": failure}).encode()) == (500, {"message": "Internal Server Error"})


@pytest.mark.parametrize(
    ("mebibytes", "content_type", "status"),
    [(4, "application/octet-stream", 200), (5, "application/octet-stream", 413), (11, "application/json", 413)],
)
def test_a_body_that_is_too_large_for_lambda_or_the_gateway_is_413(
    emulator: Emulator, mebibytes: int, content_type: str, status: int
) -> None:
    found, answer = post(emulator, b"x" * (mebibytes << 20), content_type)
    assert found == status
    assert (answer == {"message": "Request Entity Too Large"}) == (status == 413)


LATE_READER = """
import os
from types import SimpleNamespace
from local.emulator.patches.lambda_runtime import AwslambdaricWorker

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
    emulator.invoke(do="metric")
    (metric,) = eventually(lambda: emulator.client("cloudwatch").list_metrics(Namespace="Probe")["Metrics"])
    assert (metric["MetricName"], metric["Dimensions"]) == ("Seen", [{"Name": "service", "Value": "probe"}])


def test_links_to_deployed_code_lead_to_it(emulator: Emulator) -> None:
    client = emulator.client("lambda")
    function = client.get_function(FunctionName=emulator.outputs["Probe"])
    name, _, number = function["Configuration"]["Layers"][0]["Arn"].rpartition(":")
    layer = client.get_layer_version(LayerName=name, VersionNumber=int(number))
    links = {function["Code"]["Location"]: "handler.py", layer["Content"]["Location"]: "python/layered.py"}
    for link, file in links.items():
        reply = requests.get(link, verify=emulator.ca_bundle, timeout=30)
        assert zipfile.ZipFile(io.BytesIO(reply.content)).namelist() == [file]
