"""What happens while canaries are searched: everything goes well, and then everything goes wrong."""

import base64
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import requests

from local.client import RelayClient
from tests.contract.socket_server import SocketServer, says
from tests.e2e.attempts import log_lines, record, restart, send
from tests.e2e.queues import messages_until, retried
from tests.e2e.waiting import wait_until
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.domain.identifiers import task_id_for_key

MODEL = "viduq2_pro_fast_reference2video"
PLACES = {
    *("records", "ledger", "inbox", "videos bucket", "failures bucket", "events", "dead-letter queue", "other queues"),
    *("logs", "executions", "metrics", "stack", "answers to its tenant", "refusals", "answers to strangers"),
}

Body = dict[str, Any]


def canary(name: str) -> str:
    """A unique secret, with characters that each encoding writes in its own way."""
    return f'{secrets.token_hex(8)}/+{name}&é"<{secrets.token_hex(8)}'


@dataclass
class Run:
    """A stack in use, the secrets in it, and what it answered and wrote, by the kind of place."""

    relay: RelayClient
    secrets: dict[str, str | bytes]
    contents: dict[str, list[str | bytes]] = field(default_factory=lambda: {place: [] for place in PLACES})
    tasks: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.secrets[name]

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

    def refused(self, status: int, method: str, path: str, **arguments: Any) -> None:
        """A call with the tenant's key that must be answered so."""
        reply = self.call(method, path, **arguments)
        assert reply.status_code == status, (arguments, reply.text)

    def stranger(self, method: str, target: str, status: int, **arguments: Any) -> None:
        """A call without the tenant's key that must be answered so; its answer is kept."""
        answer = send(self.relay.stack, method, target, **arguments)
        assert answer.status == status, (target, answer)
        self.keep("answers to strangers", answer.body)
        self.keep("answers to strangers", dict(answer.headers))

    def good(self, **more: Any) -> Body:
        """A request that is taken."""
        return {"model": MODEL, "images": [self.relay.image("fox.png")], "prompt": "a fox", "duration": 1, **more}

    def submit(self, name: str, script: Body, *, key: str | None = None, **more: Any) -> str:
        """Submit a task whose prompt is scripted; its id."""
        self.relay.script(name, script)
        body = self.good(prompt=f"{name} {self['the prompt']}", **more)
        headers = {"Idempotency-Key": key or f"{name}-{canary('key')!a}"}
        reply = self.call("POST", "/v1/tasks", json=body, headers=headers)
        assert reply.status_code == 202, reply.text
        self.tasks[name] = str(reply.json()["task_id"])
        return self.tasks[name]

    def ends(self, status: str, *names: str) -> None:
        """Wait for the end of tasks, sweeping meanwhile."""
        for name in names:
            task = self.relay.wait(self.tasks[name], "completed", "failed", "expired", meanwhile=self.relay.sweep)
            assert task["status"] == status, (name, task["error"])
            self.call("GET", f"/v1/tasks/{self.tasks[name]}")


def _bytes(value: Any) -> str:
    return base64.b64encode(bytes(value)).decode() if isinstance(value, bytes | bytearray) else str(value)


def everything_happens(run: Run, found: dict[str, str], callback_keys: Body) -> None:
    """The whole scenario; `found` are the stack's resources. Afterwards the stack is of no use."""
    _all_goes_well(run)
    _webhooks(run)
    _files_and_events(run)
    _refused_requests(run)
    _strangers(run)
    _provider_quotes_secrets(run, CallbackKeys(callback_keys))
    _calls_and_copies_fail(run)
    _functions_crash(run)
    _unreadable_records(run, found)
    _unreadable_messages(run, found)
    _broken_secrets(run, found)


def _all_goes_well(run: Run) -> None:
    fox = run.relay.image("fox.png")
    signed = f"{fox}?signature=" + run["what makes a client's image link work"]
    png = requests.get(fox, timeout=40).content  # what comes behind its end is no part of the picture
    more: Body = {
        "payload": run["a short payload"],
        "meta_data": json.dumps({"Label": run["a short meta_data"]}),
        "images": [signed],
        "wm_url": signed,
        "callback_url": f"{fox}?key=" + run["the client's callback_url"],
    }
    run.submit("small", {}, key=run["idempotency keys"], **more)
    more["payload"] = run["a long payload"]
    more["meta_data"] = json.dumps({"Label": run["a long meta_data"], "more": "." * 300})
    inside = base64.b64encode(png + run["image bytes"]).decode()
    run.submit("large", {}, **{**more, "images": [f"data:image/png;base64,{inside}", signed]})
    run.ends("completed", "small", "large")
    listed = run.call("GET", "/v1/tasks", params={"limit": "1"}).json()
    run.call("GET", "/v1/tasks", params={"cursor": listed["next_cursor"]})
    run.refused(409, "POST", f"/v1/tasks/{run.tasks['small']}/cancel")


def _webhooks(run: Run) -> None:
    """A receiver that answers with a text, which its tenant reads; a replay and a test message."""
    with SocketServer(says("200 OK", body=run["what a webhook's receiver answers"].encode())) as server:
        task_id = run.submit("notified", {}, callback_url=f"{server.origin}/")
        run.ends("completed", "notified")
        path = f"/v1/tasks/{task_id}/notifications"
        (one, *_) = wait_until(lambda: run.call("GET", path).json()["notifications"], "an attempt")
        assert run.call("POST", f"{path}/{one['version']}/replay").ok
        assert run.call("POST", "/v1/webhooks/test", json={"callback_url": f"{server.origin}/"}).json()["answer"]
        name = one["webhook_id"].encode()
        wait_until(lambda: sum(name in request for request in server.requests) > 1, "the replay")


def _files_and_events(run: Run) -> None:
    """An upload; a dropped file and an event, good ones and bad ones."""
    relay = run.relay
    form = run.call("POST", "/v1/uploads", json={"content_type": "image/png"}).json()
    run.secrets["forms of uploads"] = form["fields"]["x-amz-signature"]
    content = requests.get(relay.image("fox.png"), timeout=40).content + run["an uploaded image"]
    upload = {"data": form["fields"], "files": {"file": ("image", content)}, "verify": relay.stack.aws_ca_bundle}
    assert requests.post(form["url"], timeout=30, **upload).ok
    run.submit("uploaded", {}, images=[form["uri"]])
    run.ends("completed", "uploaded")
    relay.drop("good.json", run.good(prompt="a dropped fox", payload=run["what a dropped file holds"]))
    asked = run.good(prompt="a fox by event", payload=run["what an event asks for"])
    relay.put_event({"request": asked, "idempotency_key": canary("key")[:16]})
    line = run.good(prompt="a fox of a batch", payload=run["what a line of a batch holds"])
    relay.drop("night.jsonl", json.dumps(line).encode())
    for name in ("a dropped fox", "a fox by event", "a fox of a batch"):
        wait_until(lambda name=name: len(relay.seen_by_provider(name)) == 1, name)  # type: ignore[misc]
    rejected, inbox = run["what a refused file or event holds"], relay.stack.inbox_bucket
    for number, text in enumerate((f"not JSON {rejected}", json.dumps(run.good(meta_data=rejected)))):
        relay.drop(f"bad-{number}.json", text.encode())
        relay.rejection(f"s3://{inbox}/requests/{relay.stack.tenant_id}/bad-{number}.json")
    for detail, source in (
        ({"request": rejected}, None),
        ({"request": run.good(prompt=rejected * 100)}, None),
        ({"request": run.good(payload=rejected), "unknown": rejected}, None),
        ({"request": run.good(images=[f"s3://{inbox}/uploads/{rejected}"])}, None),
        ({"request": run.good(payload=rejected)}, "unmapped.app"),
    ):
        event_id = relay.put_event(detail, source)
        relay.rejection(source or relay.stack.event_source, event_id)


def _refused_requests(run: Run) -> None:
    refused = run["what was refused"]
    quoted, image = quote(refused, safe=""), run.relay.image("none.png")
    bad: list[Body] = [
        *({name: refused} for name in ("meta_data", "wm_url", "model", "aspect_ratio", "resolution", "seed")),
        *({name: refused} for name in ("duration", "unknown")),
        {"payload": [refused]},
        {"payload": {"a": refused}},
        {"meta_data": json.dumps([refused])},
        {"prompt": refused * 200},
        {"callback_url": f"ftp://user:{refused}@client.example"},
        {"callback_url": f"https://[{refused}"},
        {"images": [f"data:image/png;base64,{refused}"]},
        {"images": [f"https://{refused} {refused}/x.png"]},
        {"images": [{"url": refused}]},
        {"images": [f"{image}?signature={quoted}"]},
        {"images": [f"http://user:{quoted}@127.0.0.1:1/x.png"]},
        {"images": [f"https://10.0.0.1/x.png?signature={quoted}"]},
        {"images": [f"s3://another-bucket/{quoted}"]},
        {"subjects": [{"id": "a", "images": [refused]}]},
    ]
    for fault in bad:
        run.refused(422, "POST", "/v1/tasks", json=run.good(**fault), headers={"Idempotency-Key": "refused"})
    key = refused.encode().decode("latin-1")
    run.refused(422, "POST", "/v1/tasks", json=run.good(), headers={"Idempotency-Key": key})
    run.refused(400, "POST", "/v1/tasks", data=f'{{"payload": "{refused}'.encode())
    for name in ("cursor", "status", "limit"):
        run.refused(400, "GET", "/v1/tasks", params={name: refused})
    run.refused(404, "GET", f"/v1/tasks/{quoted}")
    run.refused(422, "POST", "/v1/webhooks/test", json={"callback_url": f"ftp://user:{refused}@client.example"})
    run.refused(404, "POST", f"/v1/tasks/{run.tasks['small']}/notifications/{quoted}/replay")


def _strangers(run: Run) -> None:
    guess = run["what strangers take for keys and tokens"]
    callback = f"/v1/callbacks/{run.tasks['small']}?token=k1.{guess}"
    signed = [(name, guess) for name in ("x-hmac-signature", "x-hmac-access-key", "cookie")]
    run.stranger("GET", "/v1/tasks", 403, key=guess)
    run.stranger("GET", "/v1/tasks", 403, headers=[("authorization", f"Basic {guess}")])
    run.stranger("GET", f"/v1/tasks?api_key={guess}", 401, headers=[("x-api-key", guess)])
    run.stranger("POST", callback, 403, headers=signed, body=guess.encode())
    run.stranger("POST", f"/v1/callbacks/{guess}?token={guess}.{guess}", 403, body=guess.encode())
    run.stranger("GET", f"/{guess}?x={guess}", 404)
    run.stranger("GET", f"/v1/docs?x={guess}", 200)


def _provider_quotes_secrets(run: Run, keys: CallbackKeys) -> None:
    """In a refusal and in a failure: our callback address, our key, a signed link of its own."""
    relay, key = run.relay, run["the provider's API key"]
    done = relay.seen_by_provider("small")[0]
    url = f"{relay.stack.provider_url}/generation/task/{done['id']}"
    shown = requests.get(url, headers={"Authorization": f"Bearer {key}"}, timeout=40).json()
    link = shown["output"][0]["results"][0]["url"]
    assert "Signature=" in link
    names = []
    for number in range(6):
        task_id = task_id_for_key(relay.stack.tenant_id, f"quoted-{number}")
        token = keys.sign(task_id)
        run.secrets[f"callback tokens ({number})"] = token.partition(".")[2]
        address = f"{relay.stack.api_url}/v1/callbacks/{task_id}?token={token}"
        message = (
            f"Invalid key {key}; cannot call <{address}> (token={token}), nor fetch '{link}'",
            json.dumps({"Authorization": f"Bearer {key}", "url": address, "video": link}),
            f"{quote(address, safe='')} {quote(link, safe='')} key={key}.",
        )[number % 3]
        fault = {"code": (key[:64], token, "008017099")[number % 3], "message": message}
        names.append(f"quoting {number}")
        script = {"create": {"reject": fault}} if number < 3 else {"outcome": {"fail": fault}}
        run.submit(names[-1], script, key=f"quoted-{number}")
    run.ends("failed", *names)


def _calls_and_copies_fail(run: Run) -> None:
    def once(kind: str, **more: Any) -> Body:
        return {"videos": {"fault": {"kind": kind, "times": 1, **more}}}

    scripts: dict[str, Body] = {
        "reply is lost": {"create": {"lose_reply": {"how": "close"}}},
        "reply is HTML": {"create": {"html": {"created": True}}},
        "throttled": {"create": {"throttle": {"n": 1, "retry_after": 1}}},
        "link expires": {"videos": {"expire_first": 2}},
        "video is truncated": once("truncate", after_bytes=20_000),
        "video is HTML": once("html_200"),
        "video is reset": once("reset", after_bytes=20_000),
        "video is redirected": once("redirect", to="http://169.254.169.254/latest/"),
        "video is missing": once("status", status=503),
        "poll flaps": {"callbacks": {"drop": True}, "poll": {"flap": [{"kind": "html"}, {"kind": "half_body"}]}},
        "forged callbacks": {"callbacks": {"forge": [{"kind": "nonsense", "wrong_token": True, "n": 2}]}},
    }
    for name, script in scripts.items():
        run.submit(name, script)
    run.submit("create fails", {"create": {"server_error": {"status": 500, "n": None}}})
    run.ends("completed", *scripts)
    run.call("GET", f"/v1/tasks/{run.tasks['create fails']}")


@contextmanager
def _denied(relay: RelayClient, folder: str, *actions: str) -> Iterator[None]:
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


def _functions_crash(run: Run) -> None:
    relay, prompt = run.relay, f"crash {run['the prompt']}"
    (seen,) = relay.seen_by_provider("small")
    address = seen["request"]["params"]["callback_url"].removeprefix(relay.stack.api_url)
    run.secrets["callback tokens"] = address.partition("token=")[2].partition(".")[2]
    guess = run["what strangers take for keys and tokens"]

    with _denied(relay, "submit_task", "dynamodb:PutItem"):
        run.refused(500, "POST", "/v1/tasks", json=run.good(prompt=prompt, payload=run["a short payload"]))
    with _denied(relay, "submit_task", "s3:PutObject"):
        run.refused(500, "POST", "/v1/tasks", json=run.good(prompt=prompt, payload=run["a long payload"]))
    with _denied(relay, "authorize_request", "dynamodb:GetItem"):
        run.stranger("GET", "/v1/tasks", 500, key=f"{guess}-")  # not answered before
    with _denied(relay, "read_tasks", "s3:GetObject"):
        run.refused(500, "GET", f"/v1/tasks/{run.tasks['large']}")
    with _denied(relay, "receive_callback", "dynamodb:GetItem"):
        run.stranger("POST", address, 500, body=b"{}")
    with _denied(relay, "deliver_videos", "s3:PutObject", "dynamodb:PutItem"):
        relay.wait(run.submit("delivery crashes", {}), "generated")
        wait_until(lambda: _crashed(relay, "deliver_videos"), "the crash")
    with _denied(relay, "check_task", "dynamodb:GetItem"):
        lease, states = json.dumps({"task_id": run.tasks["small"], "lease": 1}), relay.aws("stepfunctions")
        check = states.start_execution(stateMachineArn=relay.stack.state_machine_arn, input=lease)
        wait_until(lambda: _crashed(relay, "check_task"), "the crash")
    states.stop_execution(executionArn=check["executionArn"])


def _crashed(relay: RelayClient, use_case: str) -> bool:
    """Whether a call of AWS was denied to a use case, by the traceback of its function."""
    return any("AccessDenied" in line and f"usecases/{use_case}.py" in line for line in log_lines(relay))


def _unreadable_records(run: Run, found: dict[str, str]) -> None:
    """What cannot be published is kept whole; a read of it fails."""
    relay, ids = run.relay, ("b" * 26, "b" * 25 + "c")
    small, large = (record(relay, run.tasks[name]) for name in ("small", "large"))
    small["status"] = {"S": "unheard-of"}
    large |= {"request": {"B": b"not deflated"}, "version": {"N": "9"}}
    for task_id, item in zip(ids, (small, large), strict=True):
        relay.aws("dynamodb").put_item(TableName=relay.stack.table, Item={**item, "pk": {"S": f"task#{task_id}"}})
        run.refused(500, "GET", f"/v1/tasks/{task_id}")
    listed = relay.aws("s3").list_objects_v2
    wait_until(lambda: listed(Bucket=found["FailuresBucket"])["KeyCount"], "the failed record")
    for task_id in ids:
        relay.aws("dynamodb").delete_item(TableName=relay.stack.table, Key={"pk": {"S": f"task#{task_id}"}})


def _unreadable_messages(run: Run, found: dict[str, str]) -> None:
    put = run["what a message holds"]
    with retried(run.relay, found["DeliveriesQueue"], receives=1):
        for body in (put, json.dumps({"task_id": put}), json.dumps([put])):
            run.relay.aws("sqs").send_message(QueueUrl=found["DeliveriesQueue"], MessageBody=body)
        dead = messages_until(
            run.relay, found["DeliveriesDeadLetters"], lambda body: put[:16] in body, lambda bodies: len(bodies) >= 3
        )
    run.contents["dead-letter queue"].extend(dead)


def _broken_secrets(run: Run, found: dict[str, str]) -> None:
    """Last, for afterwards nothing works: new functions read a secret that the operator wrote wrongly."""
    broken, put = run["a broken secret"], run.relay.aws("secretsmanager").put_secret_value
    for text in (broken, json.dumps({"api_key": f"{broken}\n{broken}"})):
        put(SecretId=found["ProviderSecret"], SecretString=text)
        restart(run.relay, "submit_task")
        run.refused(503, "POST", "/v1/tasks", json=run.good())
    for text in (broken, json.dumps({"active": "k1", "k1": broken[:30]})):
        put(SecretId=found["CallbackSecret"], SecretString=text)
        restart(run.relay, "receive_callback")
        run.stranger("POST", f"/v1/callbacks/{run.tasks['small']}?token=k1.x", 500, body=b"{}")
