"""The simulator's create and poll calls, as the provider's page and the notes about its gateway describe them."""

import base64
import hashlib
import json
from typing import Any, cast

import pytest

from local.simulator import Simulator, images
from local.simulator.models import Model, at_gateway
from local.simulator.validation import Rules, image_bytes_fault, validate
from tests.contract.simulator_client import MODEL, bearer, call, create, created, poll, request_body, wait_for

Body = dict[str, Any]


def test_a_task_is_pending_then_processing_then_completed(provider: Simulator) -> None:
    provider.script({"generation_seconds": 3600, "outcome": {"never_finish": True}})
    reply = create(provider).json()
    assert (reply["status"], reply["model"], type(reply["created_at"])) == ("pending", MODEL, int)
    assert 0 <= reply["progress"] <= 1
    assert reply["metadata"]["remote_task_id"] not in ("", reply["id"])
    assert reply.keys().isdisjoint({"output", "usage"})
    seen = [poll(provider, reply["id"]).json()["status"]]
    for sooner in ({"generation_seconds": 0}, {"outcome": {"never_finish": False}}):
        provider.patch(reply["id"], sooner)
        seen.append(poll(provider, reply["id"]).json()["status"])
    assert seen == ["pending", "processing", "completed"]


def test_time_alone_completes_a_task_with_the_pages_output_and_usage(provider: Simulator) -> None:
    provider.script({"generation_seconds": 0.1})
    task_id = created(provider)
    wait_for(lambda: bool(poll(provider, task_id).json()["status"] == "completed"))
    reply = poll(provider, task_id).json()
    (item,) = reply["output"]
    assert (item["task_id"], item["task_status"]) == (reply["metadata"]["remote_task_id"], "done")
    assert [result["type"] for result in item["results"]] == ["video"]
    assert (type(reply["usage"]["cost"]), type(reply["usage"]["discount"])) == (str, float)


def test_replies_have_the_other_forms_that_were_seen(provider: Simulator) -> None:
    hidden = {"progress", "usage", "metadata"}
    form = {**dict.fromkeys(hidden, False), "output_single": True, "inner_status": "processing", "unknown_fields": True}
    for script in (
        {"reply": {"output": "clients"}},
        {"reply": form},
        {"reply": {"running_status": "in_progress"}, "outcome": {"never_finish": True}},
    ):
        provider.script(script, times=1)
    clients, single, running = (poll(provider, created(provider, seed=number)).json() for number in range(3))
    (content,) = clients["output"][0]["content"]
    assert content["jobId"] == clients["metadata"]["remote_task_id"]
    assert content["url"].startswith(provider.origin)
    assert single["output"]["task_status"] == "processing"
    assert single.keys().isdisjoint(hidden)
    assert "x_internal" in single
    assert running["status"] == "in_progress"


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ({}, {"code": "008017095", "message": "Internal generation error"}),
        ({"code": "008017096", "message": "m", "code_type": "number"}, {"code": 8017096, "message": "m"}),
        ({"message_key": "error_message", "message": "m"}, {"code": "008017095", "error_message": "m"}),
        ({"form": "string", "code": "008017097", "message": "m"}, "008017097: m"),
        ({"form": "absent"}, None),
    ],
)
def test_failed_tasks_word_their_error_as_scripted(provider: Simulator, failure: Body, error: object) -> None:
    provider.script({"outcome": {"fail": failure}})
    reply = poll(provider, created(provider)).json()
    assert (reply["status"], reply.get("error"), "output" in reply) == ("failed", error, False)


@pytest.mark.parametrize(
    ("how", "output"), [("no_output", None), ("empty_results", []), ("null_url", [{"type": "video", "url": None}])]
)
def test_a_reply_can_show_an_unknown_status_or_no_video_first(provider: Simulator, how: str, output: object) -> None:
    script = {"unknown_status": {"value": "reviewing", "n": 2}, "completed_without_url": {"n": 3, "how": how}}
    provider.script({"poll": script})
    task_id = created(provider)
    replies = [poll(provider, task_id).json() for _ in range(4)]
    assert [reply["status"] for reply in replies] == ["reviewing", "reviewing", "completed", "completed"]
    assert "output" not in replies[0]
    assert (replies[2]["output"][0]["results"] if "output" in replies[2] else None) == output
    assert replies[3]["output"][0]["results"][0]["url"]


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Token {key}", "Bearer", "{key}", "Bearer {key}x"])
def test_no_call_without_the_right_key(provider: Simulator, header: str) -> None:
    headers = {"Authorization": header.format(key=provider.api_key)} if header else {}
    for method, path in (("POST", "/generation"), ("GET", "/generation/task/x")):
        answer = call(method, provider.url + path, request_body() if method == "POST" else None, headers)
        assert (answer.status, answer.json()["status"]["code"]) == (401, 401)
    assert provider.tasks() == []


def test_a_task_is_seen_by_its_own_key_and_id_alone() -> None:
    with Simulator(api_keys=["one", "two"], generation_seconds=0) as provider:
        reply = create(provider).json()
        upstream = reply["metadata"]["remote_task_id"]
        for key, name, status in (("one", reply["id"], 200), ("two", reply["id"], 404), ("one", upstream, 404)):
            headers = {"Authorization": f"Bearer {key}"}
            assert call("GET", f"{provider.url}/generation/task/{name}", headers=headers).status == status


PARAMS: Body = {"params": {}}


@pytest.mark.parametrize(
    "body",
    ["", "{", [], {"model": MODEL}, *({"model": MODEL, "input": some} for some in ([], [{"params": 7}], [PARAMS] * 2))],
)
def test_a_body_of_another_shape_creates_nothing(provider: Simulator, body: Any) -> None:
    sent = body if isinstance(body, str) else json.dumps(body)
    assert call("POST", f"{provider.url}/generation", sent.encode(), bearer(provider)).status == 400
    assert provider.tasks() == []


def test_a_body_over_20_mb_is_refused_and_a_chunked_one_is_read(provider: Simulator) -> None:
    limit, small = 20 * 1024 * 1024, request_body()
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (small[:50], small[50:])) + b"0\r\n\r\n"
    for body, headers, status in (
        (small.ljust(limit), {}, 200),
        (small.ljust(limit + 1), {}, 413),
        (chunked, {"Transfer-Encoding": "chunked"}, 200),
    ):
        assert call("POST", f"{provider.url}/generation", body, bearer(provider) | headers).status == status
    assert [json.loads(task["request"]["body"]) for task in provider.tasks()] == [json.loads(small)] * 2


# --- the page's limits: its own reading of what the relay's request model reads. JUST_INSIDE of the model's tests goes
# through the simulator in test_provider_page.py.


URL = "https://example.com/cat.png"
SUBJECT = {"id": "1", "images": [URL]}


def subjects(*counts: int) -> Body:
    return {"subjects": [{"id": str(number), "images": [URL] * count} for number, count in enumerate(counts)]}


def with_image(image: object) -> Body:
    return {"subjects": [{"id": "1", "images": [image]}]}


def embedded(name: str, image_format: str, said: str | None = None) -> Body:
    content = base64.b64encode(images.image(name, image_format)).decode()
    return with_image(f"data:image/{said or image_format};base64,{content}")


INSIDE: list[Body] = [
    *({}, {"model": MODEL}, {"payload": ""}, {"meta_data": ""}, {"callback_url": "http://127.0.0.1:1/x?token=1"}),
    *(embedded("smallest", image_format) for image_format in ("png", "jpeg", "webp")),
    *(embedded("smallest", "jpeg", "jpg"), embedded("widest", "png")),
]
OUTSIDE: dict[str | None, list[Body]] = {
    "008017001": [{"subjects": None, "audio": True}, {"subjects": None, "images": [URL], "audio": True}],
    "008017002": [{"subjects": None}, {"subjects": []}],
    "008017003": [{"subjects": None, "images": []}, {"subjects": None, "images": [URL] * 8}, subjects(3, 3, 2)],
    None: [
        *(subjects(4), subjects(0), subjects(*[1] * 8)),
        *({"subjects": value} for value in ({"id": "1"}, ["1"], [{"images": [URL]}], [{"id": "1"}])),
        *({"subjects": [SUBJECT | change]} for change in ({"id": ""}, {"id": 1}, {"voice_id": 3})),
        *({"prompt": value} for value in (None, "", "é" * 2001, 5)),
        *({"duration": value} for value in (0, 9, 5.0, "5", True)),
        *({"aspect_ratio": ratio} for ratio in ("16x9", "0:1", "16:9 ", "", 1)),
        *({"resolution": value} for value in ("540p", "720P")),
        *({"payload": "x" * 1_048_577}, {"payload": {}}, {"meta_data": "{"}, {"meta_data": {}}),
        *({"wm_position": value} for value in (0, 5)),
        *({"callback_url": value} for value in ("ftp://example.com/", "http://")),
        *({"model": "another"}, {"seed": 1.5}, {"audio": "true"}, {"audio": 1}, {"watermark": 0}, {"wm_url": "a.png"}),
        *({"off_peak": True}, {"off_peak": True, "audio": True}),
        *(with_image(image) for image in ("", "s3://bucket/key", 7, "data:image/gif;base64,R0lGODlh")),
        *(with_image(f"data:image/png{rest}") for rest in (",abc", ";base64,%%%", ";base64,aGVsbG8=")),
        *(embedded("smallest", "png", "webp"), embedded("too_small", "webp"), embedded("too_wide", "jpeg")),
    ],
}
CASES: list[tuple[str | None, Body]] = [(code, change) for code, changes in OUTSIDE.items() for change in changes]


SEED = cast("Model", at_gateway(MODEL))


def faults(change: Body, *, off_peak: bool = False) -> list[Any]:
    merged: Body = {"prompt": "@1 dances", "subjects": [SUBJECT]} | change
    return validate({name: value for name, value in merged.items() if value is not None}, SEED, Rules(off_peak))


@pytest.mark.parametrize(
    ("codes", "change"),
    [*((set(), change) for change in INSIDE), *(({code}, change) for code, change in CASES)],
    ids=lambda part: str(part)[:60],
)
def test_limits_and_codes_are_the_pages(codes: set[str | None], change: Body) -> None:
    assert {fault.code for fault in faults(change)} == codes


def test_off_peak_depends_on_the_account_and_never_goes_with_audio() -> None:
    assert faults({"off_peak": True}, off_peak=True) == []
    assert faults({"off_peak": True, "audio": True}, off_peak=True)


def test_a_refused_request_is_answered_with_the_pages_code_or_every_fault_by_its_place(provider: Simulator) -> None:
    for code, changes in OUTSIDE.items():
        answer = create(provider, **changes[0])
        assert answer.status == 400
        assert (answer.json()["error"]["code"] if code else set(answer.json())) == (code or {"message"})
    assert create(provider, duration=9).json() == {"message": "duration: must be one of 1, 2, 3, 4, 5, 6, 7, 8"}
    assert provider.tasks() == []
    wrong = {"duration": 9, "resolution": "4k", "subjects": [{"id": "", "images": ["x"]}]}
    places = {fault.location for fault in faults(wrong)}
    assert places == {"duration", "resolution", "subjects[0].id", "subjects[0].images[0]"}


# --- reference images


@pytest.mark.parametrize("name", ["fox.png", "robot.jpg", "garden.webp", "widest.jpeg", "smallest.png"])
def test_good_images_meet_the_providers_rules(provider: Simulator, name: str) -> None:
    answer = call("GET", f"{provider.origin}/images/{name}")
    fault, _ = image_bytes_fault(answer.body, SEED, answer.headers["Content-Type"].removeprefix("image/"))
    assert fault is None


@pytest.mark.parametrize(
    ("name", "status"), [("fox.png", 200), *((f"{bad}.png", 400) for bad in ("too_small", "too_wide", "broken", "no"))]
)
def test_create_refuses_images_it_cannot_use_if_a_script_says_so(provider: Simulator, name: str, status: int) -> None:
    provider.script({"create": {"fetch_images": True}})
    answer = create(provider, subjects=[{"id": "1", "images": [f"{provider.origin}/images/{name}"]}])
    assert (answer.status, len(provider.tasks())) == (status, status == 200)
    if status == 400:
        assert answer.json()["error"]["code"] == "ImageDownloadFailure"


def test_images_are_read_by_link_and_out_of_the_request_in_their_order(provider: Simulator) -> None:
    inside = images.image("robot", "webp")
    sent = [
        {"id": "1", "images": [f"{provider.origin}/images/fox.png", f"{provider.origin}/images/missing.png"]},
        {"id": "2", "images": [f"data:image/webp;base64,{base64.b64encode(inside).decode()}"]},
    ]
    task_id = created(provider, subjects=sent)

    fox, missing, robot = call("GET", f"{provider.control_url}/tasks/{task_id}/images").json()
    assert (fox["sha256"], fox["fault"]) == (hashlib.sha256(images.image("fox", "png")).hexdigest(), None)
    assert (missing["location"], missing["sha256"]) == ("subjects[0].images[1]", None)
    assert "404" in missing["fault"]
    assert (robot["form"], robot["size"], robot["fault"]) == ("data", len(inside), None)
