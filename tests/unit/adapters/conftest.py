"""An account in memory for each test, and nothing of the machine's own in its way."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from tests.unit.template import properties

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

REGION: Final = "eu-central-1"
TABLE = "tasks"
TABLE_FIELDS = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")
BUCKET = "vidu-relay-videos"


# one session, because reading botocore's service data takes longer than the tests; nothing of the machine's own in it
SESSION = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with mock_aws():
        yield


@pytest.fixture
def dynamodb(account: None) -> "DynamoDBClient":
    """A client, and the table as the template makes it."""
    client = SESSION.client("dynamodb")
    definition = {name: value for name, value in properties("TaskTable").items() if name in TABLE_FIELDS}
    client.create_table(TableName=TABLE, **definition)
    return client


@pytest.fixture
def s3(account: None) -> "S3Client":
    """A client without retries, as uploads have it, and the videos bucket."""
    client = SESSION.client("s3", config=Config(retries={"total_max_attempts": 1}))
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return client
