"""The whole stack on this machine, from start to stop."""

import dataclasses
import fcntl
import json
import secrets
import shutil
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from local.build import BUCKET, find_or_build
from local.consumers import create_alarms_queue, create_events_queue
from local.errors import CommandFailedError, LocalStackError, PortTakenError
from local.programs import ROOT, Program, program_environment, run, running, venv_program

STACK_NAME = "vidu-relay-local"
TENANT = "demo"
EVENT_SOURCE = "demo.app"
LOCK = "lock"
"""The file in a stack's folder that is locked while it runs."""
DEFAULT_PORT = 4566
EMULATOR_PORT_TAKEN = 98
READY_SECONDS = 60.0
DEPLOY_SECONDS = 120

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Aws:
    """The emulated AWS of a stack."""

    aws_endpoint_url: str
    aws_ca_bundle: str | None
    region: str

    def client(self, service: str) -> Any:
        """A boto3 client with the operator's rights, whatever AWS settings and proxies this process was given."""
        session = boto3.Session(
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - the emulator's well-known credentials
            region_name=self.region,
        )
        config = Config(proxies={}, retries={"total_max_attempts": 2}, connect_timeout=5, read_timeout=60)
        return session.client(  # type: ignore[call-overload]  # the name is not a literal here
            service, endpoint_url=self.aws_endpoint_url, verify=self.aws_ca_bundle, config=config
        )


@dataclass(frozen=True)
class Stack(Aws):
    """What ``stack.json`` says: everything a program needs to use the stack."""

    api_url: str
    api_key: str
    tenant_id: str
    event_source: str
    """Source of events that act for the tenant."""
    stack_name: str
    provider_url: str
    """Base address of the provider, as `ProviderBaseUrl` has it."""
    bus: str
    events_queue_url: str
    """A queue that gets every event of the bus, whole."""
    videos_bucket: str
    inbox_bucket: str
    table: str
    state_machine_arn: str
    functions: dict[str, str]
    """Folder of each function, and its name in AWS."""

    @property
    def console_url(self) -> str:
        """Where a tenant sees its tasks, with an API key."""
        return f"{self.api_url}/v1/console"

    def write(self, path: Path) -> None:
        """Write ``stack.json``: it appears whole, or not at all. It holds the API key: only its owner can read it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        unfinished.touch(mode=0o600, exist_ok=False)
        unfinished.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")
        unfinished.rename(path)


class LocalStack:
    """The stack: AWS, the provider (unless another one is given), and the deployed template.

    A context manager. Entering starts everything and returns the `Stack` when it can be used; leaving ends every
    process and removes everything temporary. The logs stay in `logs`. Raises `LocalStackError` when a part fails.

    Parameters
    ----------
    work_dir
        A folder for this stack alone: logs, certificates, everything temporary.
    port
        Where AWS answers on 127.0.0.1; None for a free one.
    provider_url
        Base address of another provider server, for `ProviderName`; None starts the simulator, for every provider.
    provider_key
        The key to call the providers with.
    parameters
        Template parameters that differ from their defaults.
    generation_seconds
        How long the simulator takes for a video.
    progress
        Gets what happens, one short line at a time.
    """

    def __init__(
        self,
        work_dir: Path,
        *,
        port: int | None = None,
        provider_url: str | None = None,
        provider_key: str | None = None,
        parameters: Mapping[str, str] | None = None,
        generation_seconds: float | None = None,
        progress: Progress = lambda _: None,
    ) -> None:
        self.logs = work_dir / "logs"
        self.outputs: dict[str, str] = {}
        """The template's outputs."""
        self.resources: dict[str, str] = {}
        """The physical id of each resource, by its name in the template."""
        self._work_dir = work_dir
        self._port = port
        self._provider_url = provider_url
        self._provider_key = provider_key or secrets.token_urlsafe(24)
        self._parameters = dict(parameters or {})
        self._generation_seconds = generation_seconds
        self._progress = progress
        self._default = self._parameters.get("ProviderName", "gateway")
        self._bases: dict[str, str] = {}
        """The providers that can be asked, and where."""
        self._cleanup = ExitStack()
        self._emulator: Aws | None = None
        self._programs: list[Program] = []

    def client(self, service: str) -> Any:
        """A boto3 client for the stack's AWS. Only while the stack runs."""
        if self._emulator is None:
            raise LocalStackError("The stack is not running.")
        return self._emulator.client(service)

    def __enter__(self) -> Stack:
        with ExitStack() as cleanup:
            try:
                stack = self._start(cleanup)
            except (BotoCoreError, ClientError) as error:
                log = self.logs / "emulator.log"
                raise LocalStackError(f"The stack could not be set up: {error} The emulator's log: {log}") from error
            self._cleanup = cleanup.pop_all()
        return stack

    def __exit__(self, *_: object) -> None:
        self._emulator = None
        self._cleanup.close()

    def check(self) -> None:
        """Raise `CommandFailedError` if a program of the stack has ended by itself."""
        for program in self._programs:
            if program.status is not None:
                raise CommandFailedError(program.what, f"ended with status {program.status}", program.log)

    @contextmanager
    def without_stack(self) -> Iterator[tuple[dict[str, str], str]]:
        """AWS and the provider alone: the environment in which programs find AWS, and the provider's base address."""
        with ExitStack() as cleanup:
            _, environment, provider_url = self._start_programs(cleanup)
            yield environment, provider_url

    def _start(self, cleanup: ExitStack) -> Stack:
        emulator, environment, provider_url = self._start_programs(cleanup)
        s3 = emulator.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        artefacts = find_or_build(s3, environment, self.logs / "build.log", self._progress)
        self._progress("Deploying the template")
        trusted = [origin_of(provider_url), *filter(None, [self._parameters.get("TrustedOrigins")])]
        parameters = {"ProviderBaseUrl": provider_url, **self._parameters, "TrustedOrigins": ",".join(trusted)}
        self.outputs = _deploy(emulator, s3, artefacts.template, artefacts.objects, parameters)
        self.resources = resources_of(emulator.client("cloudformation"), STACK_NAME)
        self._progress("Creating a tenant, a key and the queue that gets every event")
        return self._furnish(emulator, environment, provider_url)

    def _start_programs(self, cleanup: ExitStack) -> tuple[Aws, dict[str, str], str]:
        cleanup.enter_context(_exclusive(self._work_dir, self._port))
        temporary = self._work_dir / "tmp"
        for leftover in (self._work_dir / "emulator", temporary, self.logs):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary.mkdir(parents=True)
        self.logs.mkdir()
        cleanup.callback(shutil.rmtree, temporary, ignore_errors=True)
        cleanup.callback(shutil.rmtree, self._work_dir / "emulator", ignore_errors=True)

        self._progress("Starting the emulated AWS: nothing leaves this machine")
        emulator = self._emulator = self._start_emulator(cleanup, temporary)
        environment = program_environment(
            temporary,
            PATH=f"{venv_program('sam', '')}:{program_environment(temporary)['PATH']}",
            AWS_ENDPOINT_URL=emulator.aws_endpoint_url,
            AWS_CA_BUNDLE=str(emulator.aws_ca_bundle),
            AWS_DEFAULT_REGION=emulator.region,
            SAM_CLI_TELEMETRY="0",
        )
        given = {self._default: self._provider_url} if self._provider_url else None
        self._bases = given or self._start_simulator(cleanup, environment, emulator)
        return emulator, environment, self._bases[self._default]

    def _start_emulator(self, cleanup: ExitStack, temporary: Path) -> Aws:
        command = [venv_program("emulator"), "-m", "local.emulator", "--port", str(self._port or 0)]
        command += ["--work-dir", str(self._work_dir / "emulator"), "--function-python", venv_program("runtime")]
        log = self.logs / "emulator.log"
        program = cleanup.enter_context(running("The AWS emulator", command, program_environment(temporary), log))
        try:
            ready = json.loads(program.first_line(READY_SECONDS))
        except CommandFailedError:
            if self._port and program.status == EMULATOR_PORT_TAKEN:
                raise PortTakenError(self._port) from None
            raise
        self._programs.append(program)
        return Aws(ready["endpoint_url"], ready["ca_bundle"], ready["region"])

    def _start_simulator(self, cleanup: ExitStack, environment: Mapping[str, str], emulator: Aws) -> dict[str, str]:
        command = [venv_program("dev"), "-m", "local.simulator", "--port=0", f"--ca-bundle={emulator.aws_ca_bundle}"]
        if self._parameters.get("OffPeakAvailable") == "true":  # the relay's setting says what the account can do
            command += ["--off-peak-available"]
        if self._parameters.get("AllowUnlistedModels") == "true":
            command += ["--unlisted-models"]
        if self._generation_seconds is not None:
            command += [f"--generation-seconds={self._generation_seconds}"]
        log = self.logs / "simulator.log"
        environment = {**environment, "SIMULATOR_API_KEY": self._provider_key}
        program = cleanup.enter_context(running("The provider simulator", command, environment, log))
        ready = json.loads(program.first_line(READY_SECONDS))
        self._programs.append(program)
        return {"gateway": ready["url"], "vidu": ready["vidu_url"]}

    def _furnish(self, emulator: Aws, environment: Mapping[str, str], provider_url: str) -> Stack:
        """Put in place what an operator would: provider key, a tenant with a key, consumers of events and alarms."""
        unfinished = Stack(
            api_url=self.outputs["ApiUrl"],
            api_key="",
            tenant_id=TENANT,
            event_source=EVENT_SOURCE,
            **dataclasses.asdict(emulator),
            stack_name=STACK_NAME,
            provider_url=provider_url,
            bus=self.outputs["EventBusName"],
            events_queue_url="",
            videos_bucket=self.outputs["VideosBucket"],
            inbox_bucket=self.outputs["InboxBucket"],
            table=self.outputs["TableName"],
            state_machine_arn=self.resources["PollTask"],
            functions=_function_names(self.resources),
        )
        with ThreadPoolExecutor() as pool:
            key = pool.submit(self._create_key, unfinished, environment)
            # the default provider's base is `ProviderBaseUrl`; it is alone where it may be asked for another's models
            others = {} if self._parameters.get("AllowUnlistedModels") == "true" else self._bases
            entries = {name: {"key": self._provider_key, "base": base} for name, base in others.items()}
            entries[self._default] = {"key": self._provider_key}
            emulator.client("secretsmanager").put_secret_value(
                SecretId=self.outputs["ProviderSecretArn"], SecretString=json.dumps(entries)
            )
            events_queue_url = create_events_queue(emulator.client, f"{STACK_NAME}-events", unfinished.bus)
            create_alarms_queue(emulator.client, f"{STACK_NAME}-alarms", self.outputs["AlarmTopicArn"])
            return dataclasses.replace(unfinished, api_key=key.result(), events_queue_url=events_queue_url)

    def _create_key(self, description: Stack, environment: Mapping[str, str]) -> str:
        """Create the tenant and its key with the operator's own tool."""
        stack_file = self._work_dir / "emulator" / "stack.json"
        description.write(stack_file)
        relay, log = [str(ROOT / "cli" / "relay"), "--local-file", str(stack_file), "--json"], self.logs / "relay.log"
        tenant = [*relay, "tenants", "create", TENANT, "--event-source", EVENT_SOURCE]
        run("`relay tenants create`", tenant, environment, log)
        key = [*relay, "keys", "create", "--tenant", TENANT]
        with running("`relay keys create`", key, environment, log) as program:
            return str(json.loads(program.first_line(READY_SECONDS))["api_key"])


def origin_of(url: str) -> str:
    """The origin of a base address, as `TrustedOrigins` has it."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@contextmanager
def _exclusive(work_dir: Path, port: int | None) -> Iterator[None]:
    """Keep two stacks out of one folder; the lock ends with the process at the latest."""
    work_dir.mkdir(parents=True, exist_ok=True)
    with (work_dir / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if port:
                raise PortTakenError(port) from None
            raise LocalStackError(f"Another stack runs in {work_dir}.") from None
        yield


def _deploy(
    emulator: Aws, s3: Any, template: Path, objects: Mapping[str, Path], parameters: Mapping[str, str]
) -> dict[str, str]:
    """Create the stack from a packaged template, as `sam deploy` does, and return its outputs."""
    with ThreadPoolExecutor() as pool:
        uploads = [
            pool.submit(s3.upload_file, str(path), BUCKET, key)
            for key, path in {**objects, "template": template}.items()
        ]
        for upload in uploads:
            upload.result()
    cloudformation = emulator.client("cloudformation")
    cloudformation.create_stack(
        StackName=STACK_NAME,
        TemplateURL=f"{emulator.aws_endpoint_url}/{BUCKET}/template",
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    waiter = cloudformation.get_waiter("stack_create_complete")
    try:
        waiter.wait(StackName=STACK_NAME, WaiterConfig={"Delay": 0.05, "MaxAttempts": 20 * DEPLOY_SECONDS})
    except WaiterError as error:
        events = cloudformation.describe_stack_events(StackName=STACK_NAME)["StackEvents"]
        reasons = [
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in reversed(events)
            if event["ResourceStatus"].endswith("_FAILED") and event.get("ResourceStatusReason")
        ]
        raise LocalStackError(f"The template could not be deployed. {' '.join(reasons[:3]) or error}") from error
    stack = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def resources_of(cloudformation: Any, stack_name: str) -> dict[str, str]:
    """The physical id of each resource by its name in the template: of a queue its URL, of a secret its ARN."""
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack_name)
    found = [resource for page in pages for resource in page["StackResourceSummaries"]]
    return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found}


def _function_names(resources: Mapping[str, str]) -> dict[str, str]:
    """The functions, by folder: `submit_task` is `SubmitTask` in the template."""
    folders = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))
    return {folder: resources["".join(word.capitalize() for word in folder.split("_"))] for folder in folders}
