"""What of a request goes to the provider, and how large that gets."""

import json
from typing import Any

import pytest

from tests.unit.builders import NOW
from vidu_relay.domain.image_reference import name_data_uri
from vidu_relay.domain.submission import (
    MARK_PREFIX,
    MAX_BODY_BYTES,
    attempt_mark,
    body_bytes,
    provider_params,
    sent_bytes,
    shared_token,
)
from vidu_relay.domain.task import Attempt
from vidu_relay.usecases.ports import new_token

REQUEST: dict[str, Any] = {
    "model": "m",
    "prompt": "狐 🦊",
    "images": ["https://images.example/one.png"],
    "callback_url": "https://client.example/hook",
}


def test_the_provider_is_sent_what_the_client_gave_but_its_callback_address() -> None:
    assert provider_params(REQUEST) == {"prompt": "狐 🦊", "images": ["https://images.example/one.png"]}


@pytest.mark.parametrize("size", [1, 2, 3, 100, 1_000_003])
def test_an_image_that_travels_in_the_body_is_counted_in_base_64(size: int) -> None:
    image = name_data_uri("data:image/jpeg;base64,/9j/")
    request = {**REQUEST, "images": [image]}
    most = body_bytes(request, {image: size})
    sent = provider_params({**request, "images": ["data:image/jpeg;base64," + "A" * (-(-size // 3) * 4)]})
    assert len(json.dumps(sent, ensure_ascii=False).encode()) <= most <= sent_bytes(sent) + 10


def test_the_size_of_a_body_counts_bytes_not_characters() -> None:
    params = provider_params({**REQUEST, "prompt": "🦊" * 500})
    assert len(json.dumps(params, ensure_ascii=False).encode()) <= sent_bytes(params) < MAX_BODY_BYTES


def test_the_tokens_of_all_attempts_of_a_task_share_the_first_and_differ() -> None:
    task_token = new_token()
    first, second, third = (Attempt(new_token(task_token), NOW) for _ in range(3))
    assert shared_token(first) == shared_token(second) == shared_token(third) == task_token
    assert len({first.token, second.token, third.token}) == 3
    assert attempt_mark("t", first) == attempt_mark("t", third)
    assert attempt_mark("t", first) != attempt_mark("t", Attempt(new_token(), NOW))


def test_a_mark_names_the_task_and_hides_the_token() -> None:
    attempt = Attempt(new_token(), NOW)
    mark = attempt_mark("task-1", attempt)
    assert mark.startswith(f"{MARK_PREFIX}task-1:")
    assert attempt.token not in mark
