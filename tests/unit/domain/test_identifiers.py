"""Names that are computed, and stored: what changes them loses what they name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidu_relay.domain.identifiers import (
    TASK_ID,
    api_key_digest,
    is_remote_id,
    link_digest,
    request_digest,
    request_key,
    task_id_for_key,
    task_id_from_random,
    video_key,
)

names = st.text(min_size=1, max_size=20).filter(lambda name: "\0" not in name)


def test_the_id_of_an_idempotent_task_is_stable_across_releases() -> None:
    """Another id for the same key would make, and bill, the same video again."""
    assert task_id_for_key("acme", "order-1") == "v5pu6gcb5chlzlsqeaunkhagfq"


@given(tenant=names, key=names, other_tenant=names, other_key=names)
def test_only_the_same_tenant_with_the_same_key_meets_the_same_task(
    tenant: str, key: str, other_tenant: str, other_key: str
) -> None:
    same = task_id_for_key(tenant, key) == task_id_for_key(other_tenant, other_key)
    assert same is ((tenant, key) == (other_tenant, other_key))
    assert task_id_for_key("a", "bc") != task_id_for_key("ab", "c")


@given(random=st.binary(min_size=16, max_size=16), flipped=st.integers(0, 127), key=names)
def test_an_id_fits_an_execution_name_and_loses_none_of_its_randomness(random: bytes, flipped: int, key: str) -> None:
    other = (int.from_bytes(random, "big") ^ 1 << flipped).to_bytes(16, "big")
    assert task_id_from_random(random) != task_id_from_random(other)
    for task_id in (task_id_from_random(random), task_id_for_key("acme", key)):
        assert TASK_ID.fullmatch(task_id)
        assert len(f"{task_id}-{10**12}") <= 80


def test_what_is_no_id_is_not_taken_for_one() -> None:
    bad = ("", "a" * 25, "a" * 27, "A" * 26, "1" * 26, "a" * 25 + "\n", "a" * 26 + "\n")
    assert not [text for text in bad if TASK_ID.fullmatch(text)]


def test_a_key_is_kept_as_its_sha_256() -> None:
    assert api_key_digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_video_lies_under_the_utc_day_its_task_was_created() -> None:
    last_moment = 1_767_225_599_999  # 2025-12-31T23:59:59.999Z
    assert video_key("acme", "t", last_moment, 1) == "videos/acme/2025/12/31/t/1.mp4"
    assert video_key("acme", "t", last_moment + 1, 2) == "videos/acme/2026/01/01/t/2.mp4"


def test_another_request_of_the_same_task_lies_elsewhere() -> None:
    one, other = request_digest({"prompt": "a"}), request_digest({"prompt": "b"})
    assert request_key("acme", "t", one) != request_key("acme", "t", other)


json_objects = st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4) | st.booleans(), max_size=4)


@given(request=json_objects)
def test_a_digest_is_the_same_whatever_the_order(request: dict[str, object]) -> None:
    turned = dict(reversed(request.items()))
    assert request_digest({"a": request, "b": [1, request]}) == request_digest({"b": [1, turned], "a": turned})


def test_a_digest_tells_values_of_different_types_apart() -> None:
    digests = {request_digest({"v": value}) for value in (1, "1", True, None, [1], {"v": 1}, 1.5)}
    assert len(digests) == 7


@pytest.mark.parametrize(
    "other",
    [
        "https://cdn.example/a/v.mp4?Expires=2&Signature=other",
        "https://another-host.example:8443/a/v.mp4",
        "http://cdn.example/a/v.mp4",
    ],
)
def test_a_link_is_the_same_however_it_is_signed_and_wherever_it_is_served(other: str) -> None:
    assert link_digest("https://cdn.example/a/v.mp4?Expires=1&Signature=secret") == link_digest(other)


def test_links_with_different_paths_are_different_and_show_nothing_of_them() -> None:
    digests = {link_digest(f"https://cdn.example/{path}?s=1") for path in ("a", "b", "a/", "A", "", "\ud83d")}
    assert len(digests) == 6
    assert {len(digest) for digest in digests} == {16}
    assert link_digest("https://cdn.example/a/v.mp4?s=1") == "SRcm1MLRps8XzqH_", "stored: must not change"


def test_a_printable_text_of_at_most_512_bytes_that_is_no_step_in_a_path_can_be_a_remote_id() -> None:
    assert all(map(is_remote_id, ("r", "gen-1/2:3 x", "é" * 256, "r" * 512)))
    bad = ("", ".", "..", "a\nb", "\0", "é" * 257, "r" * 513, "\ud83d", "a\u2028")
    assert not [text for text in bad if is_remote_id(text)]
