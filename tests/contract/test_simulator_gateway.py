"""The simulator's create and poll calls, as the provider's page and the notes about its gateway describe them."""

import base64
import hashlib
import json
from typing import Any

import pytest

from local.simulator import Simulator, images
from local.simulator.validation import Rules, image_bytes_fault, validate
from tests.contract.simulator_client import MODEL, bearer, call, create, created, poll, request_body, wait_for


def test_create_answers_with_the_pages_envelope(provider: Simulator) -> None:
    provider.script({"generation_seconds": 60})
    reply = create(provider).json()
    assert (reply["status"], reply["model"]) == ("pending", MODEL)
    assert isinstance(reply["created_at"], int)
    assert 0 <= reply["progress"] <= 1
    assert reply["metadata"]["remote_task_id"] not in ("", reply["id"])
    assert reply.keys().isdisjoint({"output", "usage"})


def test_a_task_is_pending_then_processing_then_completed(provider: Simulator) -> None:
    provider.script({"generation_seconds": 3600, "outcome": {"never_finish": True}})
    task_id = created(provider)
    seen = [poll(provider, task_id).json()["status"]]
    for sooner in ({"generation_seconds": 0}, {"outcome": {"never_finish": False}}):
        provider.patch(task_id, sooner)
        seen.append(poll(provider, task_id).json()["status"])
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
    provider.script({"reply": {"output": "clients"}}, times=1)
    reply = poll(provider, created(provider)).json()
    (content,) = reply["output"][0]["content"]
    assert content["jobId"] == reply["metadata"]["remote_task_id"]
    assert content["url"].startswith(provider.origin)
    provider.reset()
    form = {"output_single": True, "inner_status": "processing", "progress": False, "usage": False, "metadata": False}
    provider.script({"reply": {**form, "unknown_fields": True}}, times=1)
    reply = poll(provider, created(provider)).json()
    assert reply["output"]["task_status"] == "processing"
    assert reply.keys().isdisjoint({"progress", "usage", "metadata"})
    assert "x_internal" in reply
    provider.reset()
    provider.script({"reply": {"running_status": "in_progress"}, "outcome": {"never_finish": True}})
    assert poll(provider, created(provider)).json()["status"] == "in_progress"


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
def test_failed_tasks_word_their_error_as_asked(provider: Simulator, failure: dict[str, Any], error: object) -> None:
    provider.script({"outcome": {"fail": failure}})
    reply = poll(provider, created(provider)).json()
    assert (reply["status"], reply.get("error"), "output" in reply) == ("failed", error, False)


@pytest.mark.parametrize(
    ("how", "output"), [("no_output", None), ("empty_results", []), ("null_url", [{"type": "video", "url": None}])]
)
def test_a_reply_can_say_an_unknown_word_or_show_no_video_before_the_truth(
    provider: Simulator, how: str, output: object
) -> None:
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
        url = f"{provider.url}/generation/task/"
        for name, key, status in (
            (reply["id"], "one", 200),
            (reply["id"], "two", 404),
            (reply["metadata"]["remote_task_id"], "one", 404),
            ("nobody", "one", 404),
        ):
            assert call("GET", url + name, headers={"Authorization": f"Bearer {key}"}).status == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/generation", 405), ("POST", "/generation/task/x", 405), ("GET", "/elsewhere", 404)],
)
def test_other_calls_are_refused(provider: Simulator, method: str, path: str, status: int) -> None:
    assert call(method, provider.url + path, headers=bearer(provider)).status == status


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"not json", b"[]", b'{"model": "%b"}' % MODEL.encode(), b'{"model": "x", "input": [{"params": {}}]}'),
        *(b'{"model": "%b", "input": %b}' % (MODEL.encode(), part) for part in (b"[]", b'[{"params": 7}]')),
        b'{"model": "%b", "input": [{"params": {}}, {"params": {}}]}' % MODEL.encode(),
    ],
)
def test_a_body_of_another_shape_creates_nothing(provider: Simulator, body: bytes) -> None:
    assert call("POST", f"{provider.url}/generation", body, bearer(provider)).status == 400
    assert provider.tasks() == []


def test_a_body_over_20_mb_is_refused_and_a_chunked_one_is_read(provider: Simulator) -> None:
    limit, small = 20 * 1024 * 1024, request_body()
    exact = small + b" " * (limit - len(small))
    assert call("POST", f"{provider.url}/generation", exact, bearer(provider)).status == 200
    assert call("POST", f"{provider.url}/generation", exact + b" ", bearer(provider)).status == 413
    provider.reset()
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (small[:50], small[50:])) + b"0\r\n\r\n"
    headers = bearer(provider) | {"Transfer-Encoding": "chunked"}
    assert call("POST", f"{provider.url}/generation", chunked, headers).status == 200
    (task,) = provider.tasks()
    assert json.loads(task["request"]["body"]) == json.loads(small)


# --- the page's limits: its own reading, which the relay's tests go by


URL = "https://example.com/cat.png"
SUBJECT = {"id": "1", "images": [URL]}
GOOD = {"prompt": "@1 dances", "subjects": [SUBJECT]}


def subjects(*counts: int) -> dict[str, Any]:
    return {"subjects": [{"id": str(number), "images": [URL] * count} for number, count in enumerate(counts)]}


def with_image(image: object) -> dict[str, Any]:
    return {"subjects": [{"id": "1", "images": [image]}]}


def embedded(name: str, image_format: str, said: str | None = None) -> dict[str, Any]:
    content = base64.b64encode(images.image(name, image_format)).decode()
    return with_image(f"data:image/{said or image_format};base64,{content}")


INSIDE: list[dict[str, Any]] = [
    *({}, {"model": MODEL}, {"prompt": "x"}, {"prompt": "é" * 2000}, {"duration": 1}, {"duration": 8}, {"seed": -1}),
    *({"aspect_ratio": ratio} for ratio in ("16:9", "9:16", "1:1", "21:9")),
    *({"resolution": "1080p"}, {"payload": "x" * 1_048_576}, {"payload": ""}, {"audio": True}, {"off_peak": False}),
    *({"watermark": True, "wm_position": 1, "wm_url": URL}, {"wm_position": 4}, {"meta_data": '{"Label": "x"}'}),
    *({"meta_data": ""}, {"callback_url": "http://127.0.0.1:1/x?token=1"}, subjects(*[1] * 7), subjects(3, 3, 1)),
    *({"subjects": [SUBJECT | {"voice_id": "v"}]}, {"subjects": None, "images": [URL] * 7}),
    *(embedded("smallest", image_format) for image_format in ("png", "jpeg", "webp")),
    *(embedded("smallest", "jpeg", "jpg"), embedded("widest", "png")),
]
OUTSIDE: dict[str | None, list[dict[str, Any]]] = {
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


def faults(change: dict[str, Any], *, off_peak: bool = False) -> list[Any]:
    merged = {name: value for name, value in (GOOD | change).items() if value is not None}
    return validate(merged, Rules(off_peak_available=off_peak))


@pytest.mark.parametrize("change", INSIDE, ids=lambda change: str(change)[:60])
def test_inside_the_limits_is_taken(change: dict[str, Any]) -> None:
    assert faults(change) == []


@pytest.mark.parametrize(
    ("code", "change"),
    [(code, change) for code, changes in OUTSIDE.items() for change in changes],
    ids=lambda part: str(part)[:60],
)
def test_outside_the_limits_is_refused(code: str | None, change: dict[str, Any]) -> None:
    assert {fault.code for fault in faults(change)} == {code}


def test_off_peak_depends_on_the_account_and_never_goes_with_audio() -> None:
    assert faults({"off_peak": True}, off_peak=True) == []
    assert faults({"off_peak": True, "audio": True}, off_peak=True)


def test_a_refused_request_is_answered_with_the_pages_code_or_every_fault_by_its_place(provider: Simulator) -> None:
    for code, changes in OUTSIDE.items():
        answer = create(provider, **changes[0])
        assert answer.status == 400
        assert (answer.json()["error"]["code"] if code else set(answer.json())) == (code or {"message"})
    assert create(provider, duration=9).json() == {"message": "duration: must be 1 to 8"}
    assert provider.tasks() == []
    wrong = {"duration": 9, "resolution": "4k", "subjects": [{"id": "", "images": ["x"]}]}
    places = {fault.location for fault in faults(wrong)}
    assert places == {"duration", "resolution", "subjects[0].id", "subjects[0].images[0]"}


# --- reference images


@pytest.mark.parametrize("name", ["fox.png", "robot.jpg", "garden.webp", "widest.jpeg", "smallest.png"])
def test_good_images_meet_the_providers_rules(provider: Simulator, name: str) -> None:
    answer = call("GET", f"{provider.origin}/images/{name}")
    assert image_bytes_fault(answer.body, answer.headers["Content-Type"].removeprefix("image/")) is None


def test_bad_images_do_not_and_unknown_ones_are_not_found(provider: Simulator) -> None:
    for name in ("too_small.png", "too_wide.webp", "broken.png"):
        assert image_bytes_fault(call("GET", f"{provider.origin}/images/{name}").body) is not None
    assert call("GET", f"{provider.origin}/images/nobody.png").status == 404


def test_images_are_read_by_link_and_out_of_the_request_in_their_order(provider: Simulator) -> None:
    inside = images.image("robot", "webp")
    sent = [
        {"id": "1", "images": [f"{provider.origin}/images/fox.png", f"{provider.origin}/images/nobody.png"]},
        {"id": "2", "images": [f"data:image/webp;base64,{base64.b64encode(inside).decode()}"]},
    ]
    task_id = created(provider, subjects=sent)

    fox, missing, robot = call("GET", f"{provider.control_url}/tasks/{task_id}/images").json()
    assert (fox["sha256"], fox["fault"]) == (hashlib.sha256(images.image("fox", "png")).hexdigest(), None)
    assert (missing["location"], missing["sha256"]) == ("subjects[0].images[1]", None)
    assert "404" in missing["fault"]
    assert (robot["form"], robot["size"], robot["fault"]) == ("data", len(inside), None)


@pytest.mark.parametrize(("name", "status"), [("fox.png", 200), ("too_small.png", 400), ("nobody.png", 400)])
def test_create_refuses_images_it_cannot_read_if_a_script_says_so(provider: Simulator, name: str, status: int) -> None:
    provider.script({"create": {"fetch_images": True}})
    answer = create(provider, subjects=[{"id": "1", "images": [f"{provider.origin}/images/{name}"]}])
    assert (answer.status, len(provider.tasks())) == (status, status == 200)
    if status == 400:
        assert answer.json()["error"]["code"] == "ImageDownloadFailure"
