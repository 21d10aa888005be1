"""Canaries: secrets and signed links are put everywhere a secret can be, and searched for in all that a run wrote.

The run meets every kind of trouble: refused requests, a provider that quotes our secrets in its errors, lost replies,
links that fail, functions that crash in the middle of their work. What may stand where is the table in
docs/security.md, and nothing else may; what it says may be there must be there, or the search would prove nothing.
"""

import base64
import gzip
import json
import secrets
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import requests

from local.client import RelayClient
from local.stack import LocalStack
from tests.canaries import Searcher
from tests.documents import table
from tests.e2e.attempts import as_function, send
from tests.e2e.conftest import GENERATION_SECONDS, PARAMETERS
from tests.e2e.waiting import wait_until
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.domain.identifiers import TASK_ID, task_id_for_key

DOCUMENT, MARK = "docs/security.md", "<!-- secrets: a test looks for each of them everywhere -->"
MODEL = "viduq2_pro_fast_reference2video"
METADATA_SERVICE = "http://169.254.169.254/latest/"
PLACES = {
    "records",
    "inbox",
    "videos bucket",
    "failures bucket",
    "events",
    "dead letters",
    "other queues",
    "logs",
    "executions",
    "metrics",
    "stack",
    "answers to its tenant",
    "refusals",
    "answers to strangers",
}

Body = dict[str, Any]


def canary(name: str) -> str:
    """A secret nobody else has, with characters that each encoding writes in its own way."""
    return f'{secrets.token_hex(8)}/+{name}&é"<{secrets.token_hex(8)}'


@dataclass
class Story:
    """A run, the secrets in it, and what it answered."""

    relay: RelayClient
    secrets: dict[str, str | bytes]
    contents: dict[str, list[str | bytes]] = field(default_factory=lambda: {place: [] for place in PLACES})
    tasks: dict[str, str] = field(default_factory=dict)

    def keep(self, place: str, content: object) -> None:
        """Note something that was written or answered."""
        text = content if isinstance(content, str | bytes) else json.dumps(content, default=_bytes, ensure_ascii=False)
        self.contents[place].append(text)

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """A call with the tenant's key, its answer kept."""
        reply = self.relay.call(method, path, **arguments)
        place = "answers to its tenant" if reply.ok else "refusals"
        self.keep(place, reply.content)
        self.keep(place, dict(reply.headers))
        return reply

    def submit(self, name: str, script: Body, *, key: str | None = None, **more: Any) -> str:
        """Submit a task whose prompt is scripted; its id."""
        prompt = f"{name} {self.secrets['the prompt']}"  # type: ignore[str-bytes-safe]  # a text
        self.relay.script(name, script)
        body = {"model": MODEL, "images": [self.relay.image("fox.png")], "prompt": prompt, "duration": 1, **more}
        reply = self.call(
            "POST", "/v1/tasks", json=body, headers={"Idempotency-Key": key or f"{name}-{canary('key')!a}"}
        )
        assert reply.status_code == 202, reply.text
        task_id: str = reply.json()["task_id"]
        self.tasks[name] = task_id
        return task_id

    def status(self, name: str, status: str) -> None:
        """Wait for the end of a task, sweeping meanwhile."""
        ends = ("completed", "failed", "expired")
        task = self.relay.wait(self.tasks[name], *ends, meanwhile=self.relay.sweep)
        assert task["status"] == status, (name, task["error"])
        self.call("GET", f"/v1/tasks/{self.tasks[name]}")


def _bytes(value: Any) -> str:
    return base64.b64encode(bytes(value)).decode() if isinstance(value, bytes | bytearray) else str(value)


@contextmanager
def denied(relay: RelayClient, folder: str, *actions: str) -> Iterator[None]:
    """Meanwhile a function may not do something it needs, and fails in the middle of its work."""
    function = relay.aws("lambda").get_function_configuration(FunctionName=relay.stack.functions[folder])
    name = {"RoleName": function["Role"].rpartition("/")[2], "PolicyName": "denied-by-a-test"}
    statement = {"Effect": "Deny", "Action": list(actions), "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    relay.aws("iam").put_role_policy(**name, PolicyDocument=document)
    try:
        yield
    finally:
        relay.aws("iam").delete_role_policy(**name)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The whole run on a stack of its own, everything that it wrote gathered."""
    provider_key = f"sk-{secrets.token_urlsafe(32)}"
    local_stack = LocalStack(
        tmp_path_factory.mktemp("leaks"),
        parameters={**PARAMETERS, "CallbackSignature": "verify-if-present"},
        provider_key=provider_key,
        generation_seconds=GENERATION_SECONDS,
    )
    with local_stack as stack:
        relay = RelayClient(stack)
        found = relay.resources()
        secret = relay.aws("secretsmanager").get_secret_value
        callback_keys = json.loads(secret(SecretId=found["CallbackSecret"])["SecretString"])
        webhook_secret = json.loads(secret(SecretId=found["WebhookSecret"])["SecretString"])
        webhook_key = next(value for value in webhook_secret.values() if len(value) > 20)
        made = Story(
            relay,
            {
                "the provider's API key": provider_key,
                "the callback keys": callback_keys["k1"],
                "the webhooks' master key": webhook_key,
                "API keys": stack.api_key,
                "what strangers take for keys and tokens": secrets.token_urlsafe(32),
                "the provider's signed links": "Signature=v1/+",
                "our presigned links": "X-Amz-Signature=",
                "idempotency keys": f"key-{secrets.token_hex(12)}",
                "the prompt": canary("prompt"),
                "a short payload": canary("payload"),
                "a long payload": canary("long") + "." * 300,
                "a short meta_data": secrets.token_hex(16),
                "a long meta_data": secrets.token_hex(16),
                "image bytes": secrets.token_bytes(64),
                "what makes a client's image link work": secrets.token_hex(16),
                "the client's callback_url": secrets.token_hex(16),
                "an uploaded image": secrets.token_bytes(64),
                "what a dropped file holds": canary("dropped"),
                "what an event asks for": canary("event"),
                "what a refused file or event holds": canary("rejected"),
                "what was refused": canary("refused"),
                "what somebody puts into a queue": canary("queue"),
                "a broken secret": canary("broken"),
            },
        )
        live(made, found, callback_keys)
        gather(made, found)
        yield made
        relay.close()


def live(story: Story, found: dict[str, str], callback_keys: Body) -> None:
    """What happens."""
    everything_is_well(story)
    other_doors_are_used(story)
    requests_are_refused(story)
    strangers_knock(story)
    the_provider_quotes_our_secrets(story, CallbackKeys(callback_keys))
    calls_and_copies_fail(story)
    functions_crash(story, found)


def everything_is_well(story: Story) -> None:
    image, link = story.secrets["image bytes"], story.secrets["what makes a client's image link work"]
    assert isinstance(image, bytes)
    fox, back = story.relay.image("fox.png"), story.secrets["the client's callback_url"]
    png = requests.get(fox, timeout=40).content  # what comes behind its end is no picture's
    more: Body = {
        "payload": story.secrets["a short payload"],
        "meta_data": json.dumps({"Label": story.secrets["a short meta_data"]}),
        "images": [f"{fox}?signature={link}"],  # type: ignore[str-bytes-safe]  # a text
        "wm_url": f"{fox}?signature={link}",  # type: ignore[str-bytes-safe]  # a text
        "callback_url": f"{fox}?key={back}",  # type: ignore[str-bytes-safe]  # a text
    }
    story.submit("small", {}, key=str(story.secrets["idempotency keys"]), **more)
    more["payload"] = story.secrets["a long payload"]
    more["meta_data"] = json.dumps({"Label": story.secrets["a long meta_data"], "more": "." * 300})
    more["images"] = ["data:image/png;base64," + base64.b64encode(png + image).decode(), *more["images"]]
    story.submit("large", {}, **more)
    for name in ("small", "large"):
        story.status(name, "completed")
    listed = story.call("GET", "/v1/tasks", params={"limit": "1"}).json()
    story.call("GET", "/v1/tasks", params={"cursor": listed["next_cursor"]})
    assert story.call("POST", f"/v1/tasks/{story.tasks['small']}/cancel").status_code == 409


def other_doors_are_used(story: Story) -> None:
    """An upload; a dropped file and an event, good ones and bad ones."""
    relay, content = story.relay, story.secrets["an uploaded image"]
    assert isinstance(content, bytes)
    form = story.call("POST", "/v1/uploads", json={"content_type": "image/png"}).json()
    story.secrets["forms of uploads"] = form["fields"]["x-amz-signature"]
    fox = requests.get(relay.image("fox.png"), timeout=40).content
    sent = requests.post(
        form["url"],
        data=form["fields"],
        files={"file": ("image", fox + content)},
        verify=relay.stack.aws_ca_bundle,
        timeout=30,
    )
    assert sent.ok
    story.submit("uploaded", {}, images=[form["uri"]])
    story.status("uploaded", "completed")
    good: Body = {"model": MODEL, "images": [form["uri"]], "duration": 1}
    dropped, asked = (str(story.secrets[name]) for name in ("what a dropped file holds", "what an event asks for"))
    relay.drop("good.json", good | {"prompt": "a dropped fox", "payload": dropped})
    relay.put_event(
        {"request": good | {"prompt": "a fox by event", "payload": asked}, "idempotency_key": canary("key")[:16]}
    )
    for name in ("a dropped fox", "a fox by event"):
        wait_until(lambda name=name: len(relay.seen_by_provider(name)) == 1, name)  # type: ignore[misc]
    rejected = str(story.secrets["what a refused file or event holds"])
    for number, content_ in enumerate(
        (f"not JSON {rejected}", json.dumps(good | {"prompt": "x", "meta_data": rejected}))
    ):
        relay.drop(f"bad-{number}.json", content_.encode())
        relay.rejection(f"s3://{relay.stack.inbox_bucket}/requests/{relay.stack.tenant_id}/bad-{number}.json")
    for detail, source in (
        ({"request": rejected}, None),
        ({"request": good | {"prompt": rejected * 100}}, None),
        ({"request": good | {"payload": rejected}, "unknown": rejected}, None),
        ({"request": good | {"prompt": "x", "images": [f"s3://{relay.stack.inbox_bucket}/uploads/{rejected}"]}}, None),
        ({"request": good | {"payload": rejected}}, "nobodys.app"),
    ):
        event_id = relay.put_event(detail, source)
        relay.rejection(source or relay.stack.event_source, event_id)


def requests_are_refused(story: Story) -> None:
    refused = str(story.secrets["what was refused"])
    good: Body = {"model": MODEL, "images": [story.relay.image("fox.png")], "prompt": "a fox", "duration": 1}
    bad: list[Body] = [
        {"payload": [refused]},
        {"payload": {"a": refused}},
        {"meta_data": refused},
        {"meta_data": json.dumps([refused])},
        {"prompt": refused * 200},
        {"callback_url": f"ftp://user:{refused}@client.example"},
        {"callback_url": f"https://[{refused}"},
        {"images": [f"data:image/png;base64,{refused}"]},
        {"images": [f"data:image/svg;base64,{refused}"]},
        {"images": [f"https://{refused} {refused}/x.png"]},
        {"images": [{"url": refused}]},
        {"images": [f"{story.relay.image('none.png')}?signature={quote(refused, safe='')}"]},
        {"images": [f"http://user:{quote(refused, safe='')}@127.0.0.1:1/x.png"]},
        {"images": [f"https://10.0.0.1/x.png?signature={quote(refused, safe='')}"]},
        {"images": [f"s3://somebody-elses/{quote(refused, safe='')}"]},
        {"subjects": [{"id": "a", "images": [refused]}]},
        {"wm_url": refused},
        {"model": refused},
        {"aspect_ratio": refused},
        {"resolution": refused},
        {"seed": refused},
        {"duration": refused},
        {"unknown": refused},
    ]
    for fault in bad:
        reply = story.call("POST", "/v1/tasks", json=good | fault, headers={"Idempotency-Key": "refused"})
        assert reply.status_code == 422, (fault, reply.text)
    for body in (f'{{"payload": "{refused}', f'"{refused}"', f"[{refused}]"):
        assert story.call("POST", "/v1/tasks", data=body.encode()).status_code in (400, 422)
    key = refused.encode().decode("latin-1")
    assert story.call("POST", "/v1/tasks", json=good, headers={"Idempotency-Key": key}).status_code == 422
    for query in ({"cursor": refused}, {"status": refused}, {"limit": refused}):
        assert story.call("GET", "/v1/tasks", params=query).status_code == 400
    assert story.call("GET", "/v1/tasks/" + quote(refused, safe="")).status_code == 404


def strangers_knock(story: Story) -> None:
    guess, stack = str(story.secrets["what strangers take for keys and tokens"]), story.relay.stack
    task_id = story.tasks["small"]
    for answer in (
        send(stack, "GET", "/v1/tasks", key=guess),
        send(stack, "GET", "/v1/tasks", headers=[("authorization", f"Basic {guess}")]),
        send(stack, "GET", f"/v1/tasks?api_key={guess}"),
        send(stack, "GET", f"/v1/tasks/{task_id}", headers=[("x-api-key", guess)]),
        send(stack, "POST", f"/v1/callbacks/{task_id}?token=k1.{guess}", body=b"{}"),
        send(stack, "POST", f"/v1/callbacks/{task_id}?token={guess}.{guess}", body=guess.encode()),
        send(stack, "POST", f"/v1/callbacks/{guess}?token=k1.{guess}", body=b"{}"),
        send(
            stack,
            "POST",
            f"/v1/callbacks/{task_id}?token=k1.{guess}",
            headers=[("x-hmac-signature", guess), ("x-hmac-access-key", guess), ("cookie", guess)],
            body=guess.encode(),
        ),
        send(stack, "GET", f"/{guess}?x={guess}"),
        send(stack, "GET", f"/v1/docs?x={guess}"),
    ):
        story.keep("answers to strangers", answer.body)
        story.keep("answers to strangers", dict(answer.headers))


def the_provider_quotes_our_secrets(story: Story, keys: CallbackKeys) -> None:
    """In a refusal and in a failure: our callback address, our key, a signed link of its own."""
    relay, tenant = story.relay, story.relay.stack.tenant_id
    key = str(story.secrets["the provider's API key"])
    done = relay.seen_by_provider("small")[0]
    reply = requests.get(
        f"{relay.stack.provider_url}/generation/task/{done['id']}",
        headers={"Authorization": f"Bearer {key}"},
        timeout=40,
    )
    link = reply.json()["output"][0]["results"][0]["url"]
    assert "Signature=" in link
    for number, (quoted, where) in enumerate((q, w) for q in range(3) for w in ("create", "poll")):
        idempotency_key = f"quoted-{number}"
        token = keys.sign(task_id_for_key(tenant, idempotency_key))
        story.secrets[f"callback tokens ({number})"] = token.partition(".")[2]
        address = f"{relay.stack.api_url}/v1/callbacks/{task_id_for_key(tenant, idempotency_key)}?token={token}"
        message = (
            f"Invalid key {key}; cannot call <{address}> (token={token}), nor fetch '{link}'",
            json.dumps({"Authorization": f"Bearer {key}", "url": address, "video": link}),
            f"{quote(address, safe='')} {quote(link, safe='')} key={key}.",
        )[quoted]
        fault = {"code": (key[:64], token, "008017099")[quoted], "message": message}
        script = {"create": {"reject": fault}} if where == "create" else {"outcome": {"fail": fault}}
        name = f"quoting {number}"
        story.submit(name, script, key=idempotency_key)
        story.status(name, "failed")


def calls_and_copies_fail(story: Story) -> None:
    once: dict[str, Body] = {
        "reply is lost": {"create": {"lose_reply": {"how": "close"}}},
        "reply is HTML": {"create": {"html": {"created": True}}},
        "reply is half": {"create": {"lose_reply": {"how": "half_body"}}},
        "throttled": {"create": {"throttle": {"n": 1, "retry_after": 1}}},
        "link expires": {"videos": {"expire_first": 2}},
        "video is truncated": {"videos": {"fault": {"kind": "truncate", "times": 1, "after_bytes": 20_000}}},
        "video is HTML": {"videos": {"fault": {"kind": "html_200", "times": 1}}},
        "video is reset": {"videos": {"fault": {"kind": "reset", "times": 1, "after_bytes": 20_000}}},
        "video is redirected": {"videos": {"fault": {"kind": "redirect", "times": 1, "to": METADATA_SERVICE}}},
        "video is missing": {"videos": {"fault": {"kind": "status", "status": 503, "times": 1}}},
        "poll flaps": {"callbacks": {"drop": True}, "poll": {"flap": [{"kind": "html"}, {"kind": "half_body"}]}},
        "forged callbacks": {"callbacks": {"forge": [{"kind": "nonsense", "wrong_token": True, "n": 2}]}},
    }
    for name, script in once.items():
        story.submit(name, script)
    story.submit("create fails", {"create": {"server_error": {"status": 500, "n": None}}})
    for name in once:
        story.status(name, "completed")
    story.call("GET", f"/v1/tasks/{story.tasks['create fails']}")


def functions_crash(story: Story, found: dict[str, str]) -> None:
    relay = story.relay
    body: Body = {
        "model": MODEL,
        "images": [relay.image("fox.png")],
        "prompt": f"crash {story.secrets['the prompt']!r}",
    }
    body |= {"payload": story.secrets["a short payload"], "duration": 1}
    long = body | {"payload": story.secrets["a long payload"]}
    small = story.tasks["small"]

    with denied(relay, "submit_task", "dynamodb:PutItem"):
        assert story.call("POST", "/v1/tasks", json=body).status_code == 500
    with denied(relay, "submit_task", "s3:PutObject"):
        assert story.call("POST", "/v1/tasks", json=long).status_code == 500
    with denied(relay, "authorize_request", "dynamodb:GetItem"):
        fresh = send(
            relay.stack, "GET", "/v1/tasks", key=str(story.secrets["what strangers take for keys and tokens"]) + "-"
        )
        assert fresh.status == 500
        story.keep("answers to strangers", fresh.body)
    with denied(relay, "read_tasks", "s3:GetObject"):
        assert story.call("GET", f"/v1/tasks/{story.tasks['large']}").status_code == 500
    (seen,) = relay.seen_by_provider("small")
    address = seen["request"]["params"]["callback_url"]
    story.secrets["callback tokens"] = address.partition("token=")[2].partition(".")[2]
    with denied(relay, "receive_callback", "dynamodb:GetItem"):
        answer = send(relay.stack, "POST", address.removeprefix(relay.stack.api_url), body=b"{}")
        assert answer.status == 500
        story.keep("answers to strangers", answer.body)
    with denied(relay, "deliver_videos", "s3:PutObject", "dynamodb:PutItem"):
        task_id = story.submit("delivery crashes", {})
        relay.wait(task_id, "generated")
        wait_until(lambda: crashed(relay, "deliver_videos"), "the crash")
    with denied(relay, "check_task", "dynamodb:GetItem"):
        arn = relay.aws("stepfunctions").start_execution(
            stateMachineArn=relay.stack.state_machine_arn, input=json.dumps({"task_id": small, "lease": 1})
        )["executionArn"]
        wait_until(lambda: crashed(relay, "check_task"), "the crash")
    relay.aws("stepfunctions").stop_execution(executionArn=arn)

    a_record_cannot_be_read(story, found)
    a_message_cannot_be_read(story, found)
    a_secret_is_broken(story, found)


def a_record_cannot_be_read(story: Story, found: dict[str, str]) -> None:
    """What could not be published is kept whole; reading it fails in the reader's face."""
    relay, task_id = story.relay, story.tasks["large"]
    key = {"pk": {"S": f"task#{task_id}"}}
    item = relay.aws("dynamodb").get_item(TableName=relay.stack.table, Key=key)["Item"]
    broken = "b" * 26
    assert TASK_ID.fullmatch(broken)
    small = relay.aws("dynamodb").get_item(
        TableName=relay.stack.table, Key={"pk": {"S": f"task#{story.tasks['small']}"}}
    )["Item"]
    relay.aws("dynamodb").put_item(
        TableName=relay.stack.table,
        Item={**small, "pk": {"S": f"task#{broken}"}, "status": {"S": "unheard-of"}},
    )
    assert story.call("GET", f"/v1/tasks/{broken}").status_code == 500
    relay.aws("dynamodb").put_item(
        TableName=relay.stack.table,
        Item={**item, "pk": {"S": f"task#{broken[:-1]}c"}, "request": {"B": b"not deflated"}, "version": {"N": "9"}},
    )
    assert story.call("GET", f"/v1/tasks/{broken[:-1]}c").status_code == 500
    bucket = found["FailuresBucket"]
    wait_until(lambda: relay.aws("s3").list_objects_v2(Bucket=bucket)["KeyCount"] >= 1, "the failed record")
    for one in (broken, f"{broken[:-1]}c"):
        relay.aws("dynamodb").delete_item(TableName=relay.stack.table, Key={"pk": {"S": f"task#{one}"}})


def a_message_cannot_be_read(story: Story, found: dict[str, str]) -> None:
    sqs, queue = story.relay.aws("sqs"), found["DeliveriesQueue"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "0"})
    put = str(story.secrets["what somebody puts into a queue"])
    for body in (put, json.dumps({"task_id": put}), json.dumps([put])):
        sqs.send_message(QueueUrl=queue, MessageBody=body)

    def buried() -> bool:
        reply = sqs.receive_message(
            QueueUrl=found["DeliveriesDeadLetters"], MaxNumberOfMessages=10, VisibilityTimeout=600
        )
        story.contents["dead letters"] += [message["Body"] for message in reply.get("Messages", [])]
        return len(story.contents["dead letters"]) >= 3

    wait_until(buried, "the dead letters")


def a_secret_is_broken(story: Story, found: dict[str, str]) -> None:
    """Last, for nothing works any more: new functions meet a secret with a slip of the operator in it."""
    relay, broken = story.relay, str(story.secrets["a broken secret"])
    put = relay.aws("secretsmanager").put_secret_value
    for text in (broken, json.dumps([broken]), json.dumps({"api_key": f"{broken}\n{broken}"})):
        put(SecretId=found["ProviderSecret"], SecretString=text)
        restart(relay, "submit_task")
        body = {"model": MODEL, "images": [relay.image("fox.png")], "prompt": "a fox", "duration": 1}
        assert story.call("POST", "/v1/tasks", json=body).status_code == 503
    for text in (broken, json.dumps({"active": broken}), json.dumps({"active": "k1", "k1": broken[:30]})):
        put(SecretId=found["CallbackSecret"], SecretString=text)
        restart(relay, "receive_callback")
        answer = send(relay.stack, "POST", f"/v1/callbacks/{story.tasks['small']}?token=k1.x", body=b"{}")
        assert answer.status == 500
        story.keep("answers to strangers", answer.body)


def restart(relay: RelayClient, folder: str) -> None:
    """The next call of a function is a cold start."""
    aws, function = relay.aws("lambda"), relay.stack.functions[folder]
    memory = aws.get_function_configuration(FunctionName=function)["MemorySize"]
    aws.update_function_configuration(FunctionName=function, MemorySize=memory)


def crashed(relay: RelayClient, use_case: str) -> bool:
    """Whether a call of AWS was denied to a use case, by the traceback of its function."""
    logs = relay.aws("logs").get_paginator("filter_log_events")
    pages = logs.paginate(logGroupName=relay.resources()["FunctionLogs"])
    lines = [event["message"] for page in pages for event in page["events"]]
    return any("AccessDenied" in line and f"usecases/{use_case}.py" in line for line in lines)


def gather(story: Story, found: dict[str, str]) -> None:
    """Everything that the run wrote, by the kind of place."""
    relay, keep = story.relay, story.keep
    replay(story, found)
    for group in relay.aws("logs").describe_log_groups()["logGroups"]:
        keep("logs", group["logGroupName"])
        pages = relay.aws("logs").get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
        for page in pages:
            for event in page["events"]:
                keep("logs", event["message"])
    for page in relay.aws("dynamodb").get_paginator("scan").paginate(TableName=relay.stack.table):
        for item in page["Items"]:
            keep("records", item)
    for place, bucket in (
        ("inbox", relay.stack.inbox_bucket),
        ("videos bucket", relay.stack.videos_bucket),
        ("failures bucket", found["FailuresBucket"]),
    ):
        gather_bucket(story, place, bucket)
    gather_queues(story, found)
    gather_executions(story)
    for metric in relay.aws("cloudwatch").get_paginator("list_metrics").paginate():
        keep("metrics", metric["Metrics"])
    cloudformation = relay.aws("cloudformation")
    keep("stack", cloudformation.describe_stacks(StackName=relay.stack.stack_name)["Stacks"])
    keep("stack", cloudformation.describe_stack_events(StackName=relay.stack.stack_name)["StackEvents"])
    for name in relay.stack.functions.values():
        keep("stack", relay.aws("lambda").get_function_configuration(FunctionName=name))
    for alarm in relay.aws("cloudwatch").describe_alarms()["MetricAlarms"]:
        keep("stack", alarm)


def gather_queues(story: Story, found: dict[str, str]) -> None:
    relay = story.relay
    for url in relay.aws("sqs").list_queues()["QueueUrls"]:
        place = "dead letters" if url == found["DeliveriesDeadLetters"] else "other queues"
        place = "events" if url == relay.stack.events_queue_url else place
        for message in messages_of(relay, url):
            if place != "events" or json.loads(message["Body"])["source"] == "vidu-relay":  # the others are not ours
                story.keep(place, message)


def gather_bucket(story: Story, place: str, bucket: str) -> None:
    s3 = story.relay.aws("s3")
    versions = s3.list_object_versions(Bucket=bucket)
    for one in versions.get("Versions", []):
        reply = s3.get_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
        story.keep(place, one["Key"])
        story.keep(place, {name: value for name, value in reply.items() if name != "Body"})
        story.keep(place, reply["Body"].read())


def gather_executions(story: Story) -> None:
    states = story.relay.aws("stepfunctions")
    for execution in states.list_executions(stateMachineArn=story.relay.stack.state_machine_arn)["executions"]:
        story.keep("executions", states.describe_execution(executionArn=execution["executionArn"]))
        story.keep("executions", states.get_execution_history(executionArn=execution["executionArn"])["events"])


def messages_of(relay: RelayClient, url: str) -> Iterator[Body]:
    """Every message of a queue, whole; they are taken out."""
    while (
        messages := relay.aws("sqs")
        .receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"])
        .get("Messages", [])
    ):
        for message in messages:
            relay.aws("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            yield message


def replay(story: Story, found: dict[str, str]) -> None:
    """What the archive holds comes out of it once more, onto the bus's queue."""
    events, name = story.relay.aws("events"), f"replay-{secrets.token_hex(4)}"
    archive = events.describe_archive(ArchiveName=found["EventArchive"])
    assert archive["EventCount"] > 0
    events.start_replay(
        ReplayName=name,
        EventSourceArn=archive["ArchiveArn"],
        EventStartTime=datetime.now(UTC) - timedelta(hours=1),
        EventEndTime=datetime.now(UTC) + timedelta(minutes=1),
        Destination={"Arn": archive["EventSourceArn"]},
    )
    wait_until(lambda: events.describe_replay(ReplayName=name)["State"] == "COMPLETED", "the end of the replay")


def search(story: Story) -> dict[str, set[str]]:
    """Where each secret stands; several of one kind under one name."""
    searcher = Searcher(story.secrets)
    found: dict[str, set[str]] = {kind(name): set() for name in story.secrets}
    for place, contents in story.contents.items():
        for content in dict.fromkeys(contents):
            for name in searcher.find(place, content):
                found[kind(name)].add(place)
    return found


def kind(name: str) -> str:
    """What a secret is, without its number."""
    return name.partition(" (")[0]


def test_each_secret_stands_where_the_document_says_and_nowhere_else(story: Story) -> None:
    said = {name: set(cell.split(", ")) - {"nowhere"} for name, (cell, *_) in table(DOCUMENT, MARK).items()}

    assert set().union(*said.values()) <= PLACES
    found = search(story)

    assert found == said


def test_run_met_the_troubles_it_tells_of_and_wrote_to_every_place(story: Story) -> None:
    logs = "\n".join(str(line) for line in story.contents["logs"])
    for sign in (
        "submission_unconfirmed",
        "submission_not_created",
        "delivery_failed",
        "callback_refused",
        "request_refused",
        "record_unreadable",
        "check_read_failed",
        "key_refused",
        "AccessDenied",
        "ConfigurationError",
        "the message names no task",
        "stackTrace",
    ):
        assert sign in logs, sign
    assert {place for place, contents in story.contents.items() if not contents} <= {"other queues"}
    assert len(story.contents["refusals"]) > 50


def test_planted_leak_is_found_in_each_kind_of_place(story: Story) -> None:
    """The search can fail: the provider's key is put where it must not be, each time in another form."""
    relay, found = story.relay, story.relay.resources()
    key = str(story.secrets["the provider's API key"])
    stream = {"logGroupName": found["FunctionLogs"], "logStreamName": "planted"}
    relay.aws("logs").create_log_stream(**stream)
    line = {
        "timestamp": int(time.time() * 1000),
        "message": json.dumps({"reason": base64.b64encode(key.encode()).decode()}),
    }
    relay.aws("logs").put_log_events(**stream, logEvents=[line])
    deflated = zlib.compress(json.dumps({"prompt": key}).encode())
    relay.aws("dynamodb").put_item(TableName=relay.stack.table, Item={"pk": {"S": "planted"}, "x": {"B": deflated}})
    relay.aws("s3").put_object(Bucket=found["FailuresBucket"], Key="planted", Metadata={"x": key.encode().hex()})
    relay.aws("s3").put_object(Bucket=relay.stack.videos_bucket, Key=f"videos/{key[:20]}.mp4", Body=b"")
    relay.aws("s3").put_object(Bucket=relay.stack.inbox_bucket, Key="planted", Body=gzip.compress(key.encode()))
    relay.aws("sqs").send_message(QueueUrl=found["UnroutedEvents"], MessageBody=json.dumps(json.dumps(f'"{key}"')))
    planted = {"EventBusName": relay.stack.bus, "Source": "vidu-relay", "DetailType": "Planted"}
    events = as_function(relay, "publish_events", "events")
    events.put_events(Entries=[{**planted, "Detail": json.dumps({"url": f"https://x/?k={quote(key)}"})}])
    relay.aws("cloudwatch").put_metric_data(Namespace="Planted", MetricData=[{"MetricName": key, "Value": 1}])
    relay.aws("stepfunctions").start_execution(
        stateMachineArn=relay.stack.state_machine_arn, input=json.dumps({"task_id": key, "lease": 0})
    )

    again = Story(relay, {"the provider's API key": key})
    gather(again, found)

    assert search(again)["the provider's API key"] == {
        "logs",
        "records",
        "failures bucket",
        "videos bucket",
        "inbox",
        "other queues",
        "events",
        "metrics",
        "executions",
    }
