"""Words and shapes of tasks, the same for both providers."""

from collections.abc import Callable, Mapping
from dataclasses import astuple
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.outbound.replies import PROVIDERS, AnyProvider, Wire, bodies, json_values, replies, reply
from vidu_relay import observability
from vidu_relay.adapters import provider_gateway, provider_vidu
from vidu_relay.domain.errors import ConfigurationError, ProviderUnavailableError, RemoteTaskNotFoundError
from vidu_relay.domain.snapshot import CallbackReport, ProgressState, ProviderSnapshot
from vidu_relay.outbound import provider_calls
from vidu_relay.outbound.exchange import BrokenExchangeError, NotSentError, Reply
from vidu_relay.outbound.reply_fields import json_object

URL = "https://cdn.example/v.mp4?Signature=a%2Bb"
ID = "remote-1"
Read = Callable[[Mapping[str, Any], str], ProviderSnapshot]
READERS = pytest.mark.parametrize("read", [provider_gateway.read_snapshot, provider_vidu.read_snapshot])
CREATIONS = {"creations": [{"id": "c", "url": URL, "cover_url": f"{URL}c", "watermarked_url": f"{URL}w"}]}
OUTPUT = {"output": [{"results": [{"type": "video", "url": URL}]}]}


def provider(kind: type[AnyProvider], monkeypatch: pytest.MonkeyPatch, answer: Reply | Exception) -> AnyProvider:
    Wire(answer, monkeypatch)
    return kind(lambda: ("https://p.example", "key"))


# --- words


@READERS
@pytest.mark.parametrize("video", [CREATIONS, OUTPUT], ids=["upstream's shape", "gateway's shape"])
@pytest.mark.parametrize("field", ["status", "state"])
@pytest.mark.parametrize(
    "word", ["completed", "complete", "succeeded", "success", "succeed", "done", "finished", " SUCCESS\n", "Completed"]
)
def test_every_known_word_of_success_with_a_video_is_success(
    read: Read, video: Mapping[str, Any], field: str, word: str
) -> None:
    snapshot = read({field: word, **video}, ID)
    assert (snapshot.state, snapshot.video_urls) == (ProgressState.SUCCEEDED, (URL,))


@READERS
@pytest.mark.parametrize(
    ("content", "state"),
    [
        *(({"state": word}, ProgressState.PENDING) for word in ("created", "queueing", "pending")),
        *(({"status": word}, ProgressState.PROCESSING) for word in ("in_progress", "processing")),
        *(({"status": word}, ProgressState.FAILED) for word in ("Failure", " failed ")),
        *(({"status": word}, ProgressState.UNKNOWN) for word in ("error", "scheduled", "", None, 5, {"code": 402})),
        ({"status": "success", "state": "processing"}, ProgressState.PROCESSING),
        ({"status": "processing", "state": "success"}, ProgressState.PROCESSING),
        ({"status": "success", "state": "failed"}, ProgressState.FAILED),
        ({"status": "success", "state": "reviewing"}, ProgressState.SUCCEEDED),
        ({"status": "reviewing", **OUTPUT}, ProgressState.UNKNOWN),
        ({"status": ["completed"], **OUTPUT}, ProgressState.UNKNOWN),
        (OUTPUT, ProgressState.UNKNOWN),
        *((body, ProgressState.UNKNOWN) for body in ({}, {"message": "later"}, {"data": None, "status": {"code": 1}})),
    ],
    ids=str,
)
def test_a_success_without_a_video_gives_way_and_unknown_words_end_nothing(
    read: Read, content: Mapping[str, Any], state: ProgressState
) -> None:
    assert read(content, ID).state is state
    assert read({"status": "succeeded", "output": [], "creations": []}, ID).video_urls == ()


@pytest.mark.parametrize("word", ["canceled", "cancelled"])
def test_a_word_of_canceling_ends_a_task_of_the_upstream_only(word: str) -> None:
    assert provider_vidu.read_snapshot({"state": word}, ID).state is ProgressState.CANCELED
    assert provider_gateway.read_snapshot({"status": word}, ID).state is ProgressState.UNKNOWN


@PROVIDERS
def test_an_unknown_word_is_logged_once(kind: type[AnyProvider], monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[tuple[str, str]] = []
    monkeypatch.setattr(observability, "_warned", set())
    monkeypatch.setattr(observability.logger, "warning", lambda event, word: logged.append((event, word)))
    content = {"status": "reviewing https://h/?token=k1.SECRET " + "x" * 99}
    for _ in range(3):
        provider(kind, monkeypatch, reply(200, content)).read(ID)
    provider(kind, monkeypatch, reply(200, {"status": "pending"})).read(ID)
    provider(kind, monkeypatch, reply(200, {})).read(ID)
    ((event, word),) = logged
    assert event == "unknown_provider_state"
    assert word.startswith("reviewing https://h/?token=… ")
    assert len(word) == 64


def test_a_provider_with_endless_words_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(observability, "_warned", set())
    monkeypatch.setattr(observability.logger, "warning", lambda _, word: logged.append(word))
    for number in range(1000):
        observability.warn_once("e", str(number))
    assert len(logged) == observability.MAX_WARNED


# --- videos


@READERS
def test_a_video_listed_in_both_shapes_is_one(read: Read) -> None:
    assert read({"status": "success", **CREATIONS, **OUTPUT}, ID).video_urls == (URL,)


def test_the_upstream_s_shape_names_no_upstream_id_at_the_gateway() -> None:
    snapshot = provider_gateway.read_snapshot({"id": "up", "state": "success", **CREATIONS}, ID)
    assert (snapshot.upstream_id, snapshot.named_ids) == (None, ("up",))


# --- what a read tells besides


@PROVIDERS
@pytest.mark.parametrize(
    ("content", "ids"),
    [
        ({"id": "a", "status": "pending"}, ("a",)),
        ({"id": "a", "task_id": "b"}, ("a", "b")),
        ({"task_id": 7}, ("7",)),
        ({"data": {"id": "a"}}, ("a",)),
        ({"data": {"task_id": "a", "status": "pending"}}, ("a",)),
        ({"id": "a", "data": {"id": "b"}}, ("a",)),
        ({"id": "half \ud83d"}, ()),
        ({"request_id": "r", "error": {"id": "e"}}, ()),
        ({"status": "pending"}, ()),
    ],
    ids=str,
)
def test_a_read_tells_which_ids_the_reply_names_and_keeps_the_one_asked_for(
    kind: type[AnyProvider], monkeypatch: pytest.MonkeyPatch, content: Any, ids: tuple[str, ...]
) -> None:
    snapshot = provider(kind, monkeypatch, reply(200, content)).read(ID)
    assert (snapshot.remote_id, snapshot.named_ids) == (ID, ids)


@PROVIDERS
def test_the_provider_s_clock_comes_with_reads_and_creates(
    kind: type[AnyProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = reply(200, {"id": ID, "task_id": ID}, date="Fri, 15 Jan 2027 08:01:00 GMT")
    for module in (provider_gateway, provider_vidu, provider_calls):
        monkeypatch.setattr(module, "clock_offset_ms", lambda headers: 60_000 if headers == answer.headers else None)
    one = provider(kind, monkeypatch, answer)
    assert one.read(ID).clock_offset_ms == 60_000
    assert one.create("m", {}, "https://cb", tag="m").clock_offset_ms == 60_000


@PROVIDERS
@pytest.mark.parametrize(
    "answer",
    [
        *(BrokenExchangeError("reset"), NotSentError("dns")),
        *(reply(status, {"id": ID, "status": "failed"}) for status in (201, 204, 302, 400, 401, 402, 403, 409, 410)),
        *(reply(status, {"id": ID, "status": "failed"}) for status in (429, 500, 503)),
        *map(partial(reply, 200), (None, b"<html>", [], b"[" * 100_000)),
    ],
    ids=lambda answer: str(answer)[:60],
)
def test_a_read_that_failed_says_nothing_about_the_task(
    kind: type[AnyProvider], monkeypatch: pytest.MonkeyPatch, answer: Reply | Exception
) -> None:
    """A network error while polling is no failure: the video may be made and paid."""
    with pytest.raises(ProviderUnavailableError) as caught:
        provider(kind, monkeypatch, answer).read(ID)
    assert caught.type is ProviderUnavailableError


@PROVIDERS
def test_only_404_says_that_there_is_no_such_task(kind: type[AnyProvider], monkeypatch: pytest.MonkeyPatch) -> None:
    for body in ({"id": ID}, b"<html>", None):
        with pytest.raises(RemoteTaskNotFoundError):
            provider(kind, monkeypatch, reply(404, body)).read(ID)


# --- callbacks


@PROVIDERS
@pytest.mark.parametrize(
    ("body", "report"),
    [
        (b'{"id": "a", "state": "processing"}', CallbackReport(ProgressState.PROCESSING, ("a",))),
        (b'{"task_id": 7, "status": "SUCCESS"}', CallbackReport(ProgressState.SUCCEEDED, ("7",))),
        (b'{"id": "a", "task_id": "b", "status": "failed"}', CallbackReport(ProgressState.FAILED, ("a", "b"))),
        (b'{"data": {"id": "a", "status": "completed"}}', CallbackReport(ProgressState.SUCCEEDED, ("a",))),
        (
            b'{"event": "x", "id": "evt", "data": {"id": "a", "state": "in_progress"}}',
            CallbackReport(ProgressState.PROCESSING, ("evt", "a")),
        ),
        (b'{"status": "cancelled"}', CallbackReport(ProgressState.CANCELED)),
        (b'{"status": "queueing", "state": ["odd"]}', CallbackReport(ProgressState.PENDING)),
        (b'{"id": "a", "status": "reviewing"}', CallbackReport(None, ("a",))),
        (b'{"error": {"id": "e"}, "request_id": "r"}', CallbackReport()),
        (b'{"id": "\\ud83d", "task_id": ".."}', CallbackReport()),
        (
            b'{"data": [{"id": "1"}, {"id": "2"}, {"id": "3"}, {"id": "4"}, {"id": "5"}]}',
            CallbackReport(None, ("1", "2", "3", "4")),
        ),
        (b"", CallbackReport()),
        (b"not json", CallbackReport()),
        (b"\xff\xfe", CallbackReport()),
        (b"[" * 100_000, CallbackReport()),
        (b"null", CallbackReport()),
        (b"5", CallbackReport()),
    ],
    ids=lambda part: str(part)[:60],
)
def test_a_callback_reports_a_state_and_ids(kind: type[AnyProvider], body: bytes, report: CallbackReport) -> None:
    assert kind(lambda: ("https://p.example", "key")).read_callback(body) == report


@PROVIDERS
@given(body=bodies)
@settings(max_examples=200, deadline=None)
def test_no_callback_breaks_the_reader(kind: type[AnyProvider], body: bytes) -> None:
    report = kind(lambda: ("https://p.example", "key")).read_callback(body)
    assert report.state is not ProgressState.UNKNOWN
    assert len(report.ids) <= 4
    "".join(report.ids).encode()


# --- the key


@PROVIDERS
def test_the_key_is_read_at_each_call_and_the_last_one_is_compared_at_a_refresh(
    kind: type[AnyProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = iter(["first", "second", "unused"])
    compared: list[str] = []

    def refresh(used: str) -> bool:
        compared.append(used)
        return True

    wire = Wire(reply(200, {}), monkeypatch)
    one = kind(lambda: ("https://p.example", next(keys)), refresh)
    one.read(ID)
    one.read(ID)
    one.ready()
    assert one.refresh_key()
    assert compared == ["second"]
    sent = [arguments["headers"]["Authorization"].split(" ")[1] for _, _, arguments in wire.asked]
    assert sent == ["first", "second"]
    assert not kind(lambda: ("https://p.example", "key")).refresh_key(), "without a way to read it again"


@PROVIDERS
def test_without_a_key_no_provider_is_ready(kind: type[AnyProvider]) -> None:
    def no_key() -> tuple[str, str]:
        raise ConfigurationError("none")

    with pytest.raises(ConfigurationError):
        kind(no_key).ready()


# --- anything


def every_text(value: Any) -> list[str]:
    if isinstance(value, tuple | list):
        return [text for part in value for text in every_text(part)]
    return [value] if isinstance(value, str) else []


FIELDS = (
    "id", "task_id", "status", "state", "output", "creations", "error", "usage", "metadata", "created_at", "payload",
    "model",
)  # fmt: skip


@READERS
@given(content=st.dictionaries(st.sampled_from(FIELDS), json_values))
@settings(max_examples=200, deadline=None)
def test_every_word_of_a_snapshot_can_be_encoded_and_only_a_failure_fails(
    read: Read, content: Mapping[str, Any]
) -> None:
    body = json_object(reply(200, content).body)
    assert body is not None
    snapshot = read(body, ID)
    "".join(every_text(astuple(snapshot))).encode()
    assert snapshot.state is not ProgressState.FAILED or "failed" in (content.get("status"), content.get("state"))


@PROVIDERS
@given(answer=replies)
@settings(max_examples=150, deadline=None)
def test_no_reply_to_a_read_raises_anything_but_unavailable(kind: type[AnyProvider], answer: Reply) -> None:
    with pytest.MonkeyPatch.context() as patch:
        try:
            snapshot = provider(kind, patch, answer).read(ID)
        except ProviderUnavailableError as error:
            str(error).encode()
        else:
            "".join(every_text(astuple(snapshot))).encode()
