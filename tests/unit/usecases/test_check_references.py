"""What is checked before anything is paid for: every rule with the value just inside and just outside."""

import json
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typing_extensions import override

from tests.simulation.simulation import TENANT, Simulation
from tests.unit.pictures import data_uri, jpeg, png, webp
from vidu_relay.adapters.image_source import ImageSource
from vidu_relay.adapters.tenant_directory import TenantDirectory, TenantMapping
from vidu_relay.domain.errors import BadImageError, InvalidRequestError
from vidu_relay.domain.image_format import MAX_IMAGE_BYTES, ImageHead
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.usecases import check_references as module
from vidu_relay.usecases.check_references import ProbeRation, ReferenceCheck, check_references

MIB = 1024 * 1024


class Web(ImageSource):
    """Images on web servers, by URL: bytes, a fault, or something to wait for."""

    def __init__(self) -> None:
        super().__init__(AddressGuard())
        self.images: dict[str, bytes | BadImageError | Callable[[], bytes]] = {}
        self.sizes: dict[str, int | None] = {}
        self.opened: list[str] = []

    @override
    def read_head(
        self, url: str, most: int, enough: Callable[[bytes, int | None], bool], *, deadline: float, start: int = 0
    ) -> ImageHead:
        self.opened.append(url)
        image = self.images[url]
        if isinstance(image, BadImageError):
            raise image
        content = image() if callable(image) else image
        for block in range(16_384, most, 16_384):
            if enough(content[start : start + block], len(content)):
                break
        return ImageHead(content[start : start + most], self.sizes.get(url, len(content)))


def check(sim: Simulation, *images: str, web: ImageSource | None = None, **fields: Any) -> tuple[str, ...]:
    deps = ReferenceCheck(sim.images.bucket, web, sim.images.tenants, sim.images.guard)
    return check_references(sim.request(images=list(images), **fields), TENANT, deps)


def faults(sim: Simulation, *images: str, **more: Any) -> dict[str, str | None]:
    with pytest.raises(InvalidRequestError) as caught:
        check(sim, *images, **more)
    assert caught.value.code == "invalid_image"
    return {fault.loc: fault.code for fault in caught.value.faults}


def put(sim: Simulation, key: str, content: bytes, bucket: str | None = None) -> str:
    bucket = bucket or sim.account.inbox
    sim.account.clients["s3"].put_object(Bucket=bucket, Key=key, Body=content)
    return f"s3://{bucket}/{key}"


INSIDE = {
    "png": png(),
    "jpeg": jpeg(),
    "webp": webp(),
    "smallest": png(128, 128),
    "wide": png(512, 128),
    "high": png(128, 512),
    "jpeg with much metadata": jpeg(metadata=900_000),
}
OUTSIDE = {
    "narrow": (png(127, 128), "image_too_small"),
    "low": (png(128, 127), "image_too_small"),
    "too wide": (png(513, 128), "image_ratio"),
    "too high": (webp(128, 513), "image_ratio"),
    "gif": (b"GIF89a" + bytes(100), "image_format"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' width='200' height='200'/>", "image_format"),
    "bmp": (b"BM" + bytes(100), "image_format"),
    "text": (b"this is not a picture", "image_format"),
    "cut off": (png()[:20], "image_unreadable"),
    "jpeg without a frame": (b"\xff\xd8\xff\xd9" + bytes(20), "image_unreadable"),
}


@pytest.mark.parametrize("name", INSIDE)
def test_usable_image_passes_in_all_three_forms(sim: Simulation, name: str) -> None:
    web = Web()
    web.images["https://a.example/x.txt"] = INSIDE[name]
    check(sim, data_uri(INSIDE[name]), put(sim, f"requests/{TENANT}/deep/x.txt", INSIDE[name]), web=web)
    check(sim, "https://a.example/x.txt", web=web)


@pytest.mark.parametrize("name", OUTSIDE)
def test_unusable_image_is_refused_in_all_three_forms(sim: Simulation, name: str) -> None:
    content, code = OUTSIDE[name]
    web = Web()
    web.images["https://a.example/x.png"] = content
    bad = (data_uri(content), put(sim, f"uploads/{TENANT}/x.png", content), "https://a.example/x.png")
    found = faults(sim, *bad, data_uri(png()), web=web)  # a good one beside them is not complained of
    assert found == dict.fromkeys(("images.0", "images.1", "images.2"), code)


IMG2VIDEO: dict[str, Any] = {"model": "vidu20_img2video", "prompt": None}
START_END: dict[str, Any] = {"model": "viduq2_pro_start_end2video", "prompt": None}


@pytest.mark.parametrize(
    ("model", "sizes", "found"),
    [
        (IMG2VIDEO, [(1, 1)], {}),
        (IMG2VIDEO, [(4, 1)], {}),
        (IMG2VIDEO, [(5, 1)], {"images.0": "image_ratio"}),
        (START_END, [(400, 300), (500, 375)], {}),  # 0.8
        (START_END, [(500, 375), (400, 300)], {}),  # 1.25
        (START_END, [(399, 300), (500, 375)], {"images.1": "image_pair"}),  # width
        (START_END, [(500, 376), (400, 300)], {"images.1": "image_pair"}),  # height
        (START_END, [(450, 360), (500, 300)], {"images.1": "image_pair"}),  # aspect, 0.75
        (START_END, [(500, 100), (500, 500)], {"images.0": "image_ratio"}),
    ],
    ids=str,
)
def test_images_are_held_to_the_rules_of_their_model(
    sim: Simulation, model: dict[str, Any], sizes: list[tuple[int, int]], found: dict[str, str]
) -> None:
    uris = [put(sim, f"uploads/{TENANT}/{number}.png", png(*size)) for number, size in enumerate(sizes)]
    for images in (uris, [data_uri(png(*size)) for size in sizes]):
        if found:
            assert faults(sim, *images, **model) == found
        else:
            check(sim, *images, **model)


def test_fault_of_a_pair_says_what_both_are_and_what_to_change(sim: Simulation) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check(sim, data_uri(png(512, 512)), data_uri(png(640, 480)), **START_END)
    (fault,) = caught.value.faults
    assert fault.msg == (
        "has 640x480 pixels and images.0 512x512: width, height and aspect ratio of the first must be 0.8 to 1.25 "
        "times those of the second: crop or resize one"
    )


def test_pair_is_left_to_the_provider_where_one_image_is_not_opened(sim: Simulation) -> None:
    check(sim, data_uri(png(512, 512)), "https://a.example/x.png", **START_END)


def test_request_without_images_is_checked_without_a_look_at_anything(sim: Simulation) -> None:
    class Untouched:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    nothing: Any = Untouched()
    request = sim.request(images=None, model="viduq2_text2video")
    assert check_references(request, TENANT, ReferenceCheck(nothing, nothing, nothing, nothing)) == ()


@pytest.mark.parametrize("metadata", [MIB, 1_200_000, 3 * MIB, 7 * MIB])
def test_picture_behind_megabytes_of_metadata_is_found(sim: Simulation, metadata: int) -> None:
    """Phones' portrait mode (extended XMP) and content credentials do this; Pillow and FFmpeg open such files."""
    content, web = jpeg(512, 128, metadata=metadata), Web()
    web.images["https://a.example/x.jpg"] = content
    check(sim, put(sim, f"uploads/{TENANT}/x.jpg", content), "https://a.example/x.jpg", web=web)
    assert len(web.opened) <= module.MAX_READS
    small = jpeg(100, 100, metadata=metadata)
    assert faults(sim, put(sim, f"uploads/{TENANT}/x.jpg", small)) == {"images.0": "image_too_small"}


def test_metadata_without_end_is_given_up_after_eight_reads(sim: Simulation) -> None:
    content, web = jpeg(metadata=9 * MIB), Web()
    web.images["https://a.example/x.jpg"] = content
    found = faults(sim, put(sim, f"uploads/{TENANT}/x.jpg", content), "https://a.example/x.jpg", web=web)
    assert found == dict.fromkeys(("images.0", "images.1"), "image_unreadable")
    assert len(web.opened) == module.MAX_READS


DNL = (
    b"\xff\xd8" + b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, 0, 200, 1) + b"\x01\x11\x00" + b"\xff\xda\0\2" + bytes(50)
)
CGBI = png()[:8] + struct.pack(">I", 4) + b"CgBI" + bytes(8) + png()[8:]
REASONS = {
    "CgBI": (CGBI, "iOS"),
    "DNL": (DNL, "DNL"),
    "cut behind its first bytes": (jpeg()[:3], "ends after 3 bytes"),
    "png that is cut": (png()[:20], "ends after 20 bytes"),
    "jpeg without a picture": (b"\xff\xd8\xff\xd9" + bytes(20), "without a picture"),
    "page": (b"\xef\xbb\xbf\r\n<!DOCTYPE html>\n<html><title>x</title>", "web page"),
    "page without a type": (b"<HTML lang=en>" + bytes(20), "web page"),
}


@pytest.mark.parametrize("name", REASONS)
def test_refusal_gives_the_true_reason(sim: Simulation, name: str) -> None:
    content, reason = REASONS[name]
    with pytest.raises(InvalidRequestError) as caught:
        check(sim, put(sim, f"uploads/{TENANT}/x.png", content))
    assert reason in caught.value.faults[0].msg


@pytest.mark.parametrize("entry", ["s3", "url"])
def test_what_has_no_dimensions_is_searched_a_few_times_only(
    sim: Simulation, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []
    original = module._dimensions

    def counted(data: bytes) -> tuple[int, int] | None:
        searched.append(len(data))
        return original(data)

    monkeypatch.setattr(module, "_dimensions", counted)
    content, web = b"\xff\xd8\xff\xe0\0\2" + bytes(2 * MIB), Web()
    if entry == "s3":
        image = put(sim, f"uploads/{TENANT}/x.jpg", content)
    else:
        image = "https://a.example/x.jpg"
        web.images[image] = content
    assert faults(sim, image, web=web) == {"images.0": "image_unreadable"}
    assert 0 < sum(searched) <= 4 * MIB


def test_empty_object_is_no_image(sim: Simulation) -> None:
    assert faults(sim, put(sim, f"uploads/{TENANT}/empty.png", b"")) == {"images.0": "image_format"}


def test_image_of_50_mb_passes_and_one_byte_more_does_not(sim: Simulation) -> None:
    web = Web()
    url = "https://a.example/x.png"
    web.images[url], web.sizes[url] = png(), MAX_IMAGE_BYTES
    check(sim, url, web=web)
    web.sizes[url] = MAX_IMAGE_BYTES + 1
    assert faults(sim, url, web=web) == {"images.0": "image_too_large"}
    head = put(sim, f"uploads/{TENANT}/x.png", png() + bytes(MAX_IMAGE_BYTES + 1 - len(png())))
    assert faults(sim, head) == {"images.0": "image_too_large"}


def test_image_of_unknown_size_is_refused(sim: Simulation) -> None:
    web = Web()
    web.images["https://a.example/x.png"], web.sizes["https://a.example/x.png"] = png(), None
    assert faults(sim, "https://a.example/x.png", web=web) == {"images.0": "image_size_unknown"}


def test_fault_says_where_in_the_subjects_it_is(sim: Simulation) -> None:
    bad, good = data_uri(b"text that is no image"), data_uri(png())
    subjects = [{"id": "1", "images": [good]}, {"id": "2", "images": [good, bad]}]
    with pytest.raises(InvalidRequestError) as caught:
        check_references(sim.request(images=None, subjects=subjects), TENANT, sim.images)
    assert [fault.loc for fault in caught.value.faults] == ["subjects.1.images.1"]


@pytest.mark.parametrize(
    "key",
    [
        "uploads/globex/fox.png",
        f"uploads/{TENANT}-2/fox.png",
        f"uploads/{TENANT}",
        f"tasks/{TENANT}/fox.png",
        f"rejected/{TENANT}/fox.png",
        f"/uploads/{TENANT}/fox.png",
        "fox.png",
    ],
)
def test_everything_else_in_the_inbox_is_answered_like_a_missing_object(sim: Simulation, key: str) -> None:
    uri = put(sim, key, png())
    sim.effects.names.clear()
    with pytest.raises(InvalidRequestError) as theirs:
        check(sim, uri)
    assert not [name for name in sim.effects.names if name.startswith("s3.")], "it is not read at all"
    with pytest.raises(InvalidRequestError) as missing:
        check(sim, f"s3://{sim.account.inbox}/uploads/{TENANT}/missing.png")
    assert theirs.value.faults == missing.value.faults
    assert theirs.value.faults[0].code == "image_not_found"


def test_mapped_bucket_is_its_tenants_until_he_is_disabled(sim: Simulation) -> None:
    directory = TenantDirectory(sim.account.clients["dynamodb"], sim.account.table)
    uri = put(sim, "fox.png", png(), "pictures")
    assert faults(sim, uri) == {"images.0": "image_not_found"}  # mapped to no tenant
    for tenant in (TENANT, "globex"):
        directory.create_tenant(tenant, 1)
    directory.add_mapping(TenantMapping.BUCKET, "pictures", "globex")
    assert faults(sim, uri) == {"images.0": "image_not_found"}  # another's
    directory.remove_mapping(TenantMapping.BUCKET, "pictures", "globex", 1)
    directory.add_mapping(TenantMapping.BUCKET, "pictures", TENANT)
    check(sim, uri)
    directory.set_disabled(TENANT, True)
    assert faults(sim, uri) == {"images.0": "image_not_found"}


@pytest.mark.parametrize("code", ["InvalidObjectState", "KMS.DisabledException"])
def test_object_that_s3_does_not_give_out_is_a_fault_of_its_image(
    sim: Simulation, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = put(sim, f"uploads/{TENANT}/fox.png", png())

    def refuse(*_: object, **__: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "archived"}}, "GetObject")

    monkeypatch.setattr(sim.account.clients["s3"], "get_object", refuse)
    assert faults(sim, uri) == {"images.0": "image_not_found"}


def test_images_are_checked_at_the_same_time(sim: Simulation) -> None:
    web, together = Web(), threading.Barrier(7)

    def arrive() -> bytes:
        together.wait(timeout=60)  # broken, unless all seven are here
        return png()

    urls = [f"https://a.example/{number}.png" for number in range(7)]
    web.images = dict.fromkeys(urls, arrive)
    check(sim, *urls, web=web)


def test_image_that_never_comes_is_refused_in_time_and_the_others_are_named_too(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALL_SECONDS", 0.2)
    web, end = Web(), threading.Event()

    def never() -> bytes:
        end.wait(30)
        return png()

    web.images = {"https://a.example/slow.png": never, "https://a.example/bad.png": b"text that is no image"}
    try:
        found = faults(sim, "https://a.example/slow.png", "https://a.example/bad.png", web=web)
    finally:
        end.set()
    assert found == {"images.0": "image_unreachable", "images.1": "image_format"}


def test_image_named_twice_is_opened_once_and_reported_twice(sim: Simulation) -> None:
    web = Web()
    web.images["https://a.example/x.png"] = BadImageError("image_refused", "no")
    twice = faults(sim, *["https://a.example/x.png"] * 2, web=web)
    assert twice == {"images.0": "image_refused", "images.1": "image_refused"}
    assert len(web.opened) == 1


def test_versions_stand_in_the_order_of_the_images(sim: Simulation) -> None:
    uris = [put(sim, f"uploads/{TENANT}/{n}.png", png()) for n in (0, 1)]
    one, two = (check(sim, uri) for uri in uris)
    assert one != two
    images = [uris[1], data_uri(png()), uris[0], "https://a.example/x.png", uris[1]]
    assert check(sim, *images) == (*two, "", *one, "", *two)
    assert check(sim, *images[3:4]) == ()


def test_failure_of_s3_is_no_fault_of_the_request(sim: Simulation) -> None:
    class DownError(Exception):
        pass

    def down(**_: object) -> None:
        raise DownError

    sim.images.bucket._client.get_object = down  # type: ignore[method-assign, assignment]
    with pytest.raises(DownError):
        check(sim, f"s3://{sim.account.inbox}/uploads/{TENANT}/x.png")


def test_without_probing_urls_are_not_opened_and_all_else_is(sim: Simulation) -> None:
    check(sim, "https://absent.invalid/x.png")
    bad = data_uri(b"text that is no image")
    assert faults(sim, "https://absent.invalid/x.png", bad) == {"images.1": "image_format"}


def test_refused_image_takes_no_quota_slot_and_leaves_nothing(sim: Simulation) -> None:
    with pytest.raises(InvalidRequestError):
        sim.submit(images=[data_uri(png()), data_uri(b"text that is no image")])
    assert [item for item in sim.items() if not item["pk"]["S"].startswith("tenant#")] == []
    assert sim.provider.calls == []
    assert "Contents" not in sim.account.clients["s3"].list_objects_v2(Bucket=sim.account.inbox)


def test_images_of_a_repeated_request_are_not_checked_again(sim: Simulation) -> None:
    uri = put(sim, f"uploads/{TENANT}/fox.png", png())
    first = sim.submit(images=[uri])
    sim.account.clients["s3"].delete_object(Bucket=sim.account.inbox, Key=f"uploads/{TENANT}/fox.png")
    assert sim.submit(images=[uri]) == first
    with pytest.raises(InvalidRequestError):
        sim.submit(key="another", images=[uri])


def test_off_peak_request_must_fit_into_one_create_body(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = put(sim, f"uploads/{TENANT}/fox.png", png(comment=30_000))
    monkeypatch.setattr(module, "MAX_SENT_BYTES", 60_000)
    check(sim, uri, off_peak=True)
    with pytest.raises(InvalidRequestError) as caught:
        check(sim, uri, off_peak=True, payload="p" * 20_000)
    assert caught.value.code == "off_peak_too_large"
    check(sim, uri, payload="p" * 20_000)  # as a link it has no weight


def test_counted_body_is_never_smaller_than_the_one_that_is_sent(sim: Simulation) -> None:
    pictures = [png(comment=n) for n in (0, 1, 2, 1000)]
    uris = [put(sim, f"uploads/{TENANT}/{n}.png", content) for n, content in enumerate(pictures)]
    fields: dict[str, Any] = {"images": [*uris, uris[0]], "off_peak": True, "payload": 'ä"\\' * 100}
    inside = {f"images.{number}": len(pictures[number % len(pictures)]) for number in range(len(fields["images"]))}
    counted = sim.request(**fields).largest_body_bytes(inside)
    sim.submit(**fields)
    (call,) = sim.provider.calls
    sent = json.dumps({"model": call.model, "input": [{"params": {**call.params, "callback_url": call.callback_url}}]})
    assert len(sent.encode()) <= counted <= len(sent.encode()) + 9000


HOOK = "https://client.example.com/hook?key=1"


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("http://client.example.com/hook", ["93.184.216.34"]),
        ("https://user:word@client.example.com/hook", ["93.184.216.34"]),
        ("https://client.example.com:8443/hook", ["93.184.216.34"]),
        ("https://127.0.0.1/hook", ["127.0.0.1"]),
        ("https://[::1]/hook", ["::1"]),
        ("https://2130706433/hook", ["127.0.0.1"]),
        ("https://localhost/hook", ["127.0.0.1", "::1"]),
        ("https://inward.example.com/hook", ["93.184.216.34", "10.0.0.1"]),
        ("https://inward.example.com/hook", ["169.254.169.254"]),
        ("https://inward.example.com/hook", ["fd00:ec2::254"]),
        ("https://absent.example.com/hook", []),
    ],
)
def test_unusable_callback_url_is_refused_before_anything_is_recorded(
    sim: Simulation, url: str, addresses: list[str]
) -> None:
    sim.addresses = addresses
    with pytest.raises(InvalidRequestError) as caught:
        sim.submit(callback_url=url)
    assert caught.value.code == "invalid_callback_url"
    assert [(fault.loc, fault.code) for fault in caught.value.faults] == [("callback_url", "invalid_callback_url")]
    assert "word" not in caught.value.faults[0].msg
    assert sim.stream == []


def test_faults_of_images_and_of_the_callback_url_are_reported_together(sim: Simulation) -> None:
    sim.addresses = ["127.0.0.1"]
    missing = f"s3://{sim.account.inbox}/uploads/{TENANT}/gone.png"
    with pytest.raises(InvalidRequestError) as caught:
        check(sim, missing, callback_url=HOOK)
    assert caught.value.code == "invalid_image"
    assert [fault.loc for fault in caught.value.faults] == ["images.0", "callback_url"]


def test_callback_url_of_a_repeated_request_is_not_resolved_again(sim: Simulation) -> None:
    first = sim.submit(callback_url=HOOK)
    sim.addresses = ["127.0.0.1"]
    assert sim.submit(callback_url=HOOK).task_id == first.task_id


def test_trusted_origin_may_be_http_and_local(sim: Simulation) -> None:
    guard = AddressGuard(trusted_origins=["http://127.0.0.1:9000"], resolve=lambda *_: ["127.0.0.1"])
    deps = ReferenceCheck(sim.images.bucket, None, sim.images.tenants, guard)
    check_references(sim.request(callback_url="http://127.0.0.1:9000/hook"), TENANT, deps)


def test_rationed_tenant_is_served_without_opening_its_urls(sim: Simulation) -> None:
    opened: list[str] = []

    class Source(ImageSource):
        def read_head(self, url: str, *_: Any, **__: Any) -> ImageHead:
            opened.append(url)
            return ImageHead(png(), len(png()))

    ration = ProbeRation()
    deps = replace(sim.images, source=Source(AddressGuard()), ration=ration)
    check_references(sim.request(), TENANT, deps)
    ration.used(TENANT, 8.0)
    check_references(sim.request(), TENANT, deps)
    check_references(sim.request(), "globex", deps)
    assert len(opened) == 2


def test_ration_lasts_four_times_as_long_as_a_slow_check_took_and_is_its_tenants_own() -> None:
    now = [100.0]
    ration = ProbeRation(clock=lambda: now[0])
    ration.used("acme", 8.0)
    assert (ration.allows("acme"), ration.allows("globex")) == (False, True)
    now[0] += 31.9
    assert not ration.allows("acme")
    now[0] += 0.2
    assert ration.allows("acme")
    ration.used("acme", 1.9)
    assert ration.allows("acme")
