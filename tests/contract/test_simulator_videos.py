"""The simulator's videos: files that show their prompt and seconds, and links that work only as they were given out."""

import hashlib
import io
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote

import av
import pytest
from av.video.frame import VideoFrame

from local.simulator import Simulator, signed_urls
from local.simulator.encoder import FRAMES_PER_SECOND, Picture, encode, frame_size
from local.simulator.lettering import COLUMNS, FONT, Line
from tests.contract.simulator_client import call, created, observed, poll, task_under, video_link

PROMPT = '@fox eats hotpot, 3 bowls (~1/2 l) & leaves; "Snow!" says @robot, and it\'s [quite] cold: 0 C #7 *'
TOP_LEVEL = {
    "moov_last": ["ftyp", "free", "mdat", "moov"],
    "moov_first": ["ftyp", "moov", "free", "mdat"],
    "fragmented": ["ftyp", "moov", "moof", "mdat", "mfra"],
}


def frames(data: bytes) -> list[VideoFrame]:
    with av.open(io.BytesIO(data), "r") as container:
        return list(container.decode(video=0))


def read(frame: VideoFrame, line: Line) -> str:
    """The text that stands in a frame where the line is."""
    luma, pitch = bytes(frame.planes[0]), frame.planes[0].line_size

    def column(number: int) -> int:
        at = (line.top + line.dot // 2) * pitch + line.left + number * line.dot + line.dot // 2
        return sum((luma[at + row * line.dot * pitch] > 128) << row for row in range(8))

    glyphs = [bytes(column(COLUMNS * n + x) for x in range(COLUMNS)) for n in range(len(line.text))]
    known = {FONT[5 * n : 5 * n + 5] + b"\0": chr(32 + n) for n in range(95)}
    return "".join(known.get(glyph, "\0") for glyph in glyphs)


def boxes(data: bytes) -> list[str]:
    """The types of the top-level boxes; their sizes must add up."""
    found, at = [], 0
    while at < len(data):
        short, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        found.append(name.decode("ascii"))
        at += max(8, int.from_bytes(data[at + 8 : at + 16], "big") if short == 1 else short)
    assert at == len(data)
    return found


@pytest.mark.parametrize(
    ("params", "size", "seconds"),
    [
        ({"duration": None}, (1280, 720), 5),
        ({"aspect_ratio": "9:16", "duration": 8, "audio": True}, (720, 1280), 8),
        ({"aspect_ratio": "1:1", "duration": 1}, (720, 720), 1),
        ({"resolution": "1080p", "duration": 2}, (1920, 1080), 2),
        ({"aspect_ratio": "4:3", "duration": 3, "audio": True}, (960, 720), 3),
    ],
)
def test_the_file_is_what_was_requested(
    provider: Simulator, params: dict[str, Any], size: tuple[int, int], seconds: int
) -> None:
    task_id = created(provider, prompt=PROMPT, **params)
    data = call("GET", video_link(provider, task_id)).body
    with av.open(io.BytesIO(data), "r") as container:
        (video,) = container.streams.video
        assert (video.width, video.height) == size
        assert container.duration is not None
        assert container.duration / av.time_base == pytest.approx(seconds, abs=0.05)
        assert len(container.streams.audio) == (1 if params.get("audio") else 0)
        assert task_id in container.metadata["comment"]
    shown = frames(data)
    assert len(shown) == FRAMES_PER_SECOND * seconds
    for number, frame in enumerate(shown):
        second = number // FRAMES_PER_SECOND
        lines = Picture(*size, seconds, 0, audio=False, layout="moov_last", prompt=PROMPT).lines(second)
        *prompt, count = (read(frame, line) for line in lines)
        assert (" ".join(prompt), count) == (PROMPT, f"{second} s")


@pytest.mark.parametrize("ratio", ["100:1", "1:99999", "21:9"])
def test_extreme_ratios_stay_encodable(ratio: str) -> None:
    width, height = frame_size("1080p", ratio)
    assert 64 <= min(width, height) <= max(width, height) <= 2880
    assert width % 2 == height % 2 == 0
    assert frames(encode(Picture(width, height, 1, 0, audio=False, layout="moov_last", prompt=PROMPT * 20)))


def test_a_prompt_is_cut_where_it_is_too_long_and_not_ascii_is_a_question_mark() -> None:
    picture = Picture(1280, 720, 1, 0, audio=False, layout="moov_last", prompt="狐 " + "é word " * 200)
    text = " ".join(read(frames(encode(picture))[0], line) for line in picture.lines(0)[:-1])
    assert text.startswith("? ? word ? word")
    assert text.endswith("...")


def test_equal_requests_get_different_files_one_task_always_the_same_and_the_seed_changes_the_picture(
    provider: Simulator,
) -> None:
    one, two, seeded = created(provider, seed=7), created(provider, seed=7), created(provider, seed=8)
    first, again, other = (call("GET", video_link(provider, task_id)).body for task_id in (one, one, two))
    assert first == again == provider.video(one) != other
    assert len(first) == len(other)
    (video,) = provider.task(one)["videos"]
    assert video == {"size": len(first), "sha256": hashlib.sha256(first).hexdigest()}
    pictures = [bytes(frames(data)[0].planes[0]) for data in (first, provider.video(seeded))]
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("layout", TOP_LEVEL)
def test_layouts(provider: Simulator, layout: str) -> None:
    data = provider.video(task_under(provider, {"layout": layout}))
    assert boxes(data) == TOP_LEVEL[layout]


def test_several_videos_padded_to_a_size(provider: Simulator) -> None:
    task_id = task_under(provider, {"count": 3, "size_bytes": 3_000_000})
    links = [result["url"] for result in poll(provider, task_id).json()["output"][0]["results"]]
    files = [call("GET", link).body for link in links]
    digests = [hashlib.sha256(data).hexdigest() for data in files]
    assert len(set(digests)) == 3
    assert [len(data) for data in files] == [3_000_000] * 3
    assert digests == [video["sha256"] for video in provider.task(task_id)["videos"]]
    assert boxes(files[0])[-1] == "free"
    assert len(frames(files[0])) == FRAMES_PER_SECOND


# Links


def test_a_link_works_only_as_it_was_given_out(provider: Simulator) -> None:
    link = video_link(provider, created(provider))
    assert {"%2F", "%3D", "%7E"} <= {link[at : at + 3] for at in range(len(link))}
    path, _, query = link.partition("?")
    expires = int(query.removeprefix("Expires=").partition("&")[0])
    broken = [
        path,
        f"{path}?{unquote(query)}",
        f"{path}?{quote(unquote(query), safe='=&~')}",
        link.replace("%2F", "%2f"),
        link.replace("%7E", "~"),
        link + "&x=1",
        link.replace(str(expires), str(expires + 1)),
        link.replace("-0.mp4", "-1.mp4"),
    ]
    assert [call("GET", url).status for url in (*broken, link)] == [403] * 7 + [404, 200]


def test_a_link_expires(provider: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(time=lambda: 1_000.0)
    monkeypatch.setattr(signed_urls, "time", clock)
    link = video_link(provider, task_under(provider, {"url_lifetime_seconds": 2.0}))
    assert link.partition("Expires=")[2].partition("&")[0] == "1002"
    for now, status in ((1_001.9, 200), (1_002.0, 403)):
        monkeypatch.setattr(clock, "time", lambda now=now: now)
        assert call("GET", link).status == status


def test_the_first_links_can_be_expired_from_the_start(provider: Simulator) -> None:
    task_id = task_under(provider, {"expire_first": 2})
    assert [call("GET", video_link(provider, task_id)).status for _ in range(3)] == [403, 403, 200]
    assert [entry["status"] for entry in observed(provider, task_id)["downloads"]] == [403, 403, 200]


@pytest.mark.parametrize(
    ("header", "start", "stop"), [("bytes=0-0", 0, 1), ("bytes=100-", 100, None), ("bytes=-5", -5, None)]
)
def test_ranges(provider: Simulator, header: str, start: int, stop: int | None) -> None:
    task_id = created(provider)
    link, data = video_link(provider, task_id), provider.video(task_id)
    answer = call("GET", link, headers={"Range": header})
    first = start % len(data)
    assert (answer.status, answer.body) == (206, data[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(answer.body) - 1}/{len(data)}"
    assert call("GET", link, headers={"Range": "bytes=99999999-"}).status == 416
