import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.unit.template import properties
from vidu_relay import aws


@pytest.fixture
def region(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Credentials and a region, and no client left from another test."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    for region in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(region, "eu-west-1")
    for cached in (aws._session, aws.client, aws.upload_client):
        cached.cache_clear()
    yield "eu-west-1"
    for cached in (aws._session, aws.client, aws.upload_client):
        cached.cache_clear()


def test_links_are_signed_for_the_region_in_the_only_way_new_buckets_accept(region: str) -> None:
    link = aws.client("s3").generate_presigned_url("get_object", Params={"Bucket": "videos", "Key": "a/1.mp4"})
    assert urlsplit(link).hostname == f"videos.s3.{region}.amazonaws.com"
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in link


@pytest.mark.usefixtures("region")
def test_a_streamed_upload_is_tried_once() -> None:
    assert aws.upload_client().meta.config.retries["total_max_attempts"] == 1
    config = aws.client("dynamodb", single_try=True).meta.config
    assert config.retries["total_max_attempts"] == 1
    assert config.connect_timeout == aws.client("dynamodb").meta.config.connect_timeout


@pytest.mark.usefixtures("region")
def test_a_client_is_made_once() -> None:
    assert aws.client("dynamodb") is aws.client("dynamodb")


@pytest.mark.usefixtures("region")
@pytest.mark.parametrize("name", ["AuthorizeRequest", "ReadTasks", "CancelTask", "ReceiveCallback"])
def test_a_read_that_hangs_is_repeated_before_its_function_ends(name: str) -> None:
    """Else one dead connection to the table is a 500 to a client who did nothing wrong."""
    config = aws.client("dynamodb").meta.config
    assert properties(name)["Timeout"] > config.connect_timeout + config.read_timeout


def test_api_gateway_waits_for_the_authorizer_as_long_as_it_may_take() -> None:
    assert properties("AuthorizeRequest")["Timeout"] <= 10


@pytest.mark.usefixtures("region")
def test_a_lazy_client_is_made_at_its_first_call() -> None:
    lazy = aws.lazy_s3()
    assert aws.client.cache_info().currsize == 0
    assert lazy.meta is aws.client("s3").meta


@pytest.mark.usefixtures("region")
def test_threads_that_ask_at_once_share_one_client() -> None:
    """Up to seven images are looked at side by side, and a session must not be used by two threads at once."""
    begin, made = threading.Barrier(7), []

    def ask() -> None:
        begin.wait(30)
        made.append(aws.client("s3"))

    threads = [threading.Thread(target=ask) for _ in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 7
    assert all(one is made[0] for one in made)
