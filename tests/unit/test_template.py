"""The template as a whole: valid, refuses wrong parameters, tells consumers what they need."""

import re

import pytest

from cli.tenants import MAX_DAILY_CAP
from tests.unit.template import FUNCTIONS, ROOT, TEMPLATE, of_type
from vidu_relay.adapters.provider_gateway import GatewayProvider
from vidu_relay.adapters.provider_vidu import ViduProvider

PARAMETERS = TEMPLATE["Parameters"]
TAG = {"Project": "vidu-relay"}
TAGGED = {
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Stage",
    "AWS::DynamoDB::Table",
    "AWS::Events::EventBus",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::SecretsManager::Secret",
    "AWS::Serverless::StateMachine",
}
UNTAGGED = {
    # no tags exist for them
    "AWS::ApiGatewayV2::Authorizer",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::CloudWatch::Dashboard",
    "AWS::Events::Archive",
    "AWS::Events::EventBusPolicy",
    "AWS::Lambda::Permission",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::Schedule",
    "AWS::Serverless::LayerVersion",
    # they hold nothing, cost next to nothing and have the stack's own tags
    "AWS::CloudWatch::Alarm",
    "AWS::Events::Rule",
    "AWS::IAM::Role",
    "AWS::Lambda::EventSourceMapping",
}
HOLD_DATA = {
    # deletion protection would stop the rollback of a failed first deployment: the table stays behind
    "AWS::DynamoDB::Table": "Retain",
    # deleted with a failed first deployment, when they are empty
    "AWS::S3::Bucket": "RetainExceptOnCreate",
    "AWS::SecretsManager::Secret": "RetainExceptOnCreate",
}
"""What outlives the stack, by its `DeletionPolicy`."""
REPEAT_DATA = {
    "AWS::Events::Archive": "what the table's tasks went through; replayed only to its bus, which goes with the stack",
    "AWS::Logs::LogGroup": "what happened, for as long as LogRetentionDays says",
    "AWS::SQS::Queue": "of tasks that are due in the table anyway",
}
"""What keeps something for a while and still goes with the stack, and why."""
LIFECYCLE_ACTIONS = {
    "AbortIncompleteMultipartUpload",
    "ExpirationDate",
    "ExpirationInDays",
    "NoncurrentVersionExpiration",
    "NoncurrentVersionTransition",
    "NoncurrentVersionTransitions",
    "Transition",
    "Transitions",
}
"""One of these is needed. ExpiredObjectDeleteMarker alone is not enough:
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


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_is_used_and_offered_in_a_group(name: str) -> None:
    used = str([TEMPLATE["Resources"], TEMPLATE["Conditions"]])
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]

    assert f"{{'Ref': '{name}'}}" in used
    assert [name in group["Parameters"] for group in groups].count(True) == 1


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("ProviderBaseUrl", "https://cloud.vtrix.ai/model/v1", True),
        ("ProviderBaseUrl", "http://127.0.0.1:9000", True),
        ("ProviderBaseUrl", "https://cloud.vtrix.ai/model/v1/", False),
        ("ProviderBaseUrl", "https://cloud.vtrix.ai/model?v=1", False),
        ("ProviderBaseUrl", "", True),
        ("PublicBaseUrl", "", True),
        ("PublicBaseUrl", "https://127.0.0.1:4566/_aws/execute-api/a1b2c3d4/$default", True),
        ("PublicBaseUrl", "https://videos.example.com/", False),
        ("PublicBaseUrl", "videos.example.com", False),
        ("VideoHosts", "", True),
        ("VideoHosts", "cdn.example.com, *.vidu.com", True),
        ("VideoHosts", "https://cdn.example.com", False),
        ("TrustedOrigins", "", True),
        ("TrustedOrigins", "http://127.0.0.1:9000,https://videos.internal:8443", True),
        ("TrustedOrigins", "http://127.0.0.1:9000/", False),
        ("TrustedOrigins", "127.0.0.1:9000", False),
    ],
)
def test_addresses_are_checked_before_anything_is_deployed(name: str, value: str, accepted: bool) -> None:
    assert bool(re.fullmatch(PARAMETERS[name]["AllowedPattern"], value)) is accepted


def test_requests_stay_longer_than_the_tasks_that_need_them() -> None:
    longest_life_days = (
        PARAMETERS["TaskDeadlineSeconds"]["MaxValue"] / 86_400 + PARAMETERS["LateWatchHours"]["MaxValue"] / 24
    )

    kept_beyond = PARAMETERS["RetainInboxDays"]["Default"] - PARAMETERS["RetainTasksDays"]["Default"]

    assert kept_beyond > longest_life_days
    assert "10 days or more above RetainTasksDays" in PARAMETERS["RetainInboxDays"]["Description"]
    assert longest_life_days < 10


def test_every_log_group_forgets() -> None:
    groups = of_type("AWS::Logs::LogGroup")

    assert len(groups) >= len(FUNCTIONS)
    for group in groups.values():
        assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@pytest.mark.parametrize("bucket", of_type("AWS::S3::Bucket"))
def test_every_lifecycle_rule_has_an_action_that_cloudformation_counts(bucket: str) -> None:
    """Else CloudFormation refuses the bucket, and the whole deployment rolls back. cfn-lint does not check this."""
    for rule in of_type("AWS::S3::Bucket")[bucket]["Properties"]["LifecycleConfiguration"]["Rules"]:
        assert LIFECYCLE_ACTIONS & set(rule), rule["Id"]


@pytest.mark.parametrize("kind", [*HOLD_DATA, *REPEAT_DATA])
def test_what_holds_data_outlives_the_stack(kind: str) -> None:
    replaced = "Retain" if kind in HOLD_DATA else None

    assert of_type(kind)
    for name, resource in of_type(kind).items():
        policies = (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy"))
        assert policies == (HOLD_DATA.get(kind), replaced), name


def test_the_default_cap_is_one_the_operator_could_set() -> None:
    assert PARAMETERS["DailyTaskCap"]["MaxValue"] == MAX_DAILY_CAP


def test_a_table_is_not_deleted_by_mistake() -> None:
    for name, table in of_type("AWS::DynamoDB::Table").items():
        assert table["Properties"]["DeletionProtectionEnabled"] is True, name
        assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}, name


@pytest.mark.parametrize("name", TEMPLATE["Resources"])
def test_what_holds_data_or_is_billed_by_itself_is_tagged(name: str) -> None:
    resource = TEMPLATE["Resources"][name]
    if resource["Type"] == "AWS::Serverless::Function":
        assert TEMPLATE["Globals"]["Function"]["Tags"] == TAG
    elif resource["Type"] in TAGGED:
        tags = resource["Properties"]["Tags"]
        assert (tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}) == TAG
    else:
        assert resource["Type"] in UNTAGGED


def test_outputs_name_every_function() -> None:
    for name in FUNCTIONS.values():
        assert TEMPLATE["Outputs"][f"{name}Name"]["Value"] == {"Ref": name}


def test_outputs_name_whatever_a_consumer_or_the_operator_has_to_reach() -> None:
    told = str([output["Value"] for output in TEMPLATE["Outputs"].values()])

    reached = (
        *of_type("AWS::DynamoDB::Table"),
        *of_type("AWS::Events::Archive"),
        *of_type("AWS::Events::EventBus"),
        *of_type("AWS::S3::Bucket"),
        *of_type("AWS::SNS::Topic"),
        *of_type("AWS::SQS::Queue"),
        *of_type("AWS::SecretsManager::Secret"),
        *of_type("AWS::Serverless::StateMachine"),
    )
    for name in reached:
        assert f"{{'Ref': '{name}'}}" in told, name
    for name, output in TEMPLATE["Outputs"].items():
        assert output["Description"].endswith("."), name


def test_each_provider_has_an_address_of_its_own_which_the_readme_tells() -> None:
    addresses = {name: entry["BaseUrl"] for name, entry in TEMPLATE["Mappings"]["Providers"].items()}

    assert list(addresses) == TEMPLATE["Parameters"]["ProviderName"]["AllowedValues"]
    assert set(addresses) == {GatewayProvider.name, ViduProvider.name}
    for name, address in addresses.items():
        assert f"`{address}` for `{name}`" in (ROOT / "docs" / "configuration.md").read_text()
        assert re.match(TEMPLATE["Parameters"]["ProviderBaseUrl"]["AllowedPattern"], address)
