"""The simulator reads reference images as the provider would, when it is told to."""

import base64
import hashlib
from collections.abc import Iterator

import pytest

from local.simulator import Simulator
from local.simulator.images import image
from tests.contract.simulator_client import call, create, created


@pytest.fixture
def provider() -> Iterator[Simulator]:
    with Simulator(generation_seconds=0) as simulator:
        yield simulator


def test_images_are_read_by_link_and_out_of_the_request_in_their_order(provider: Simulator) -> None:
    inside = image("robot", "webp")
    subjects = [
        {"id": "1", "images": [f"{provider.origin}/images/fox.png", f"{provider.origin}/images/nobody.png"]},
        {"id": "2", "images": [f"data:image/webp;base64,{base64.b64encode(inside).decode()}"]},
    ]
    task_id = created(provider, subjects=subjects)

    fox, missing, robot = call("GET", f"{provider.control_url}/tasks/{task_id}/images").json()
    assert (fox["sha256"], fox["fault"]) == (hashlib.sha256(image("fox", "png")).hexdigest(), None)
    assert (missing["location"], missing["sha256"]) == ("subjects[0].images[1]", None)
    assert "404" in missing["fault"]
    assert (robot["form"], robot["size"], robot["fault"]) == ("data", len(inside), None)


@pytest.mark.parametrize(("name", "status"), [("fox.png", 200), ("too_small.png", 400), ("nobody.png", 400)])
def test_create_refuses_what_it_cannot_read_if_told_to_look(provider: Simulator, name: str, status: int) -> None:
    provider.script({"create": {"fetch_images": True}})
    answer = create(provider, subjects=[{"id": "1", "images": [f"{provider.origin}/images/{name}"]}])
    assert answer.status == status
    assert len(provider.tasks()) == (status == 200)
    if status == 400:
        assert answer.json()["error"]["code"] == "ImageDownloadFailure"
