"""The template as a whole: it refuses wrong parameters, and what holds data outlives it."""

import re

import pytest

from cli.tenants import MAX_DAILY_CAP
from tests.unit.template import ROOT, TEMPLATE, of_type
from vidu_relay.adapters import provider_gateway, provider_vidu
from vidu_relay.adapters.provider_gateway import GatewayProvider
from vidu_relay.adapters.provider_vidu import ViduProvider
from vidu_relay.domain.catalogue import PROVIDERS

PARAMETERS = TEMPLATE["Parameters"]
HOLD_DATA = {
    # deletion protection would stop the rollback of a failed first deployment: the table stays behind
    "AWS::DynamoDB::Table": "Retain",
    # deleted with a failed first deployment, when they are empty
    "AWS::S3::Bucket": "RetainExceptOnCreate",
    "AWS::SecretsManager::Secret": "RetainExceptOnCreate",
}
"""What outlives the stack, by its `DeletionPolicy`."""
LIFECYCLE_ACTIONS = {"AbortIncompleteMultipartUpload", "ExpirationInDays", "NoncurrentVersionExpiration"}
"""Of those that we use one is needed. ExpiredObjectDeleteMarker alone is not enough:
https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/1124"""


def test_no_address_is_bound_to_a_partition() -> None:
    """GovCloud and China have partitions of their own; service principals are the same everywhere."""
    assert re.findall("arn:aws|amazonaws\\.com\\.cn", (ROOT / "template.yaml").read_text()) == []


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_explains_itself_and_refuses_nonsense(name: str) -> None:
    parameter = PARAMETERS[name]
    assert parameter["Description"].endswith(".")
    assert "Default" in parameter
    assert {"AllowedValues", "AllowedPattern", "MinValue"} & set(parameter)
    if parameter["Type"] == "Number" and "AllowedValues" not in parameter:
        assert parameter["MinValue"] <= parameter["Default"] <= parameter["MaxValue"]


ACCEPTED = {
    "ProviderBaseUrl": ["", "https://cloud.vtrix.ai/model/v1", "http://127.0.0.1:9000"],
    "PublicBaseUrl": ["", "https://127.0.0.1:4566/_aws/execute-api/a1b2c3d4/$default"],
    "VideoHosts": ["", "cdn.example.com, *.vidu.com"],
    "Models": ["", "viduq2_text2video", "viduq2_text2video, vidu20_img2video,viduq1_img2video"],
    "TrustedOrigins": ["", "http://127.0.0.1:9000,https://videos.internal:8443"],
}
REFUSED = {
    "ProviderBaseUrl": ["https://cloud.vtrix.ai/model/v1/", "https://cloud.vtrix.ai/model?v=1"],
    "PublicBaseUrl": ["https://videos.example.com/", "videos.example.com"],
    "VideoHosts": ["https://cdn.example.com"],
    "Models": ["viduq2-text2video", "viduq2_text2video,", "viduq2_text2video vidu20_img2video"],
    "TrustedOrigins": ["http://127.0.0.1:9000/", "127.0.0.1:9000"],
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_addresses_are_checked_before_anything_is_deployed(name: str) -> None:
    values = [*ACCEPTED[name], *REFUSED[name]]
    assert [v for v in values if re.fullmatch(PARAMETERS[name]["AllowedPattern"], v)] == ACCEPTED[name]


def test_requests_stay_longer_than_the_tasks_that_need_them() -> None:
    longest_life_days = (
        PARAMETERS["TaskDeadlineSeconds"]["MaxValue"] / 86_400 + PARAMETERS["LateWatchHours"]["MaxValue"] / 24
    )
    kept_beyond = PARAMETERS["RetainInboxDays"]["Default"] - PARAMETERS["RetainTasksDays"]["Default"]
    assert kept_beyond > longest_life_days
    assert "10 days or more above RetainTasksDays" in PARAMETERS["RetainInboxDays"]["Description"]
    assert longest_life_days < 10


@pytest.mark.parametrize("bucket", of_type("AWS::S3::Bucket"))
def test_every_lifecycle_rule_has_an_action_that_cloudformation_counts(bucket: str) -> None:
    """Else CloudFormation refuses the bucket, and the whole deployment rolls back. cfn-lint does not check this."""
    for rule in of_type("AWS::S3::Bucket")[bucket]["Properties"]["LifecycleConfiguration"]["Rules"]:
        assert LIFECYCLE_ACTIONS & set(rule), rule["Id"]
        assert not {"ExpiredObjectDeleteMarker", "ExpirationInDays"} <= set(rule), "S3 refuses both in one rule"
    ids = [rule["Id"] for rule in of_type("AWS::S3::Bucket")[bucket]["Properties"]["LifecycleConfiguration"]["Rules"]]
    assert len(set(ids)) == len(ids), "S3 refuses two rules of one id"


def test_the_task_table_can_be_recovered() -> None:
    recovery = of_type("AWS::DynamoDB::Table")["TaskTable"]["Properties"]["PointInTimeRecoverySpecification"]
    assert recovery["PointInTimeRecoveryEnabled"]


def test_what_holds_data_outlives_the_stack_and_nothing_else_does() -> None:
    for name, resource in TEMPLATE["Resources"].items():
        replaced = "Retain" if resource["Type"] in HOLD_DATA else None
        policies = (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy"))
        assert policies == (HOLD_DATA.get(resource["Type"]), replaced), name
    assert HOLD_DATA.keys() <= {resource["Type"] for resource in TEMPLATE["Resources"].values()}


def test_table_is_not_deleted_by_mistake() -> None:
    assert TEMPLATE["Resources"]["TaskTable"]["Properties"]["DeletionProtectionEnabled"] is True


def test_the_default_cap_is_one_the_operator_could_set() -> None:
    assert PARAMETERS["DailyTaskCap"]["MaxValue"] == MAX_DAILY_CAP


def test_each_provider_has_an_address_of_its_own_which_the_docs_tell() -> None:
    addresses = {GatewayProvider.name: provider_gateway.OWN_BASE, ViduProvider.name: provider_vidu.OWN_BASE}
    assert set(addresses) == set(PROVIDERS) == set(TEMPLATE["Parameters"]["ProviderName"]["AllowedValues"])
    for name, address in addresses.items():
        assert f"`{address}` for `{name}`" in (ROOT / "docs" / "configuration.md").read_text()
        assert re.match(TEMPLATE["Parameters"]["ProviderBaseUrl"]["AllowedPattern"], address)
