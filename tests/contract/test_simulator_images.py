"""Reference images: real pictures, and some that the provider's rules refuse."""

import io
from collections.abc import Iterator

import av
import pytest

from local.simulator import Simulator
from local.simulator.validation import image_bytes_fault
from tests.contract.simulator_client import call


@pytest.fixture(scope="module")
def provider() -> Iterator[Simulator]:
    with Simulator(generation_seconds=0) as simulator:
        yield simulator


@pytest.mark.parametrize("name", ["fox.png", "robot.jpg", "garden.webp", "widest.jpeg", "smallest.png"])
def test_good_images_meet_the_providers_rules(provider: Simulator, name: str) -> None:
    answer = call("GET", f"{provider.origin}/images/{name}")
    assert answer.status == 200
    image_format = answer.headers["Content-Type"].removeprefix("image/")
    assert image_bytes_fault(answer.body, image_format) is None
    with av.open(io.BytesIO(answer.body), "r") as container:
        assert next(container.decode(video=0)).width >= 128


@pytest.mark.parametrize("name", ["too_small.png", "too_wide.webp", "broken.png"])
def test_bad_images_do_not(provider: Simulator, name: str) -> None:
    assert image_bytes_fault(call("GET", f"{provider.origin}/images/{name}").body) is not None


def test_unknown_images_are_not_found(provider: Simulator) -> None:
    assert call("GET", f"{provider.origin}/images/nobody.png").status == 404
