"""The template as a whole: valid, refuses wrong parameters, tells consumers what they need."""

import re

import pytest
from cfnlint.api import lint_file  # type: ignore[import-untyped]  # cfn-lint ships no types
from cfnlint.config import ManualArgs  # type: ignore[import-untyped]

from tests.unit.template import FUNCTIONS, ROOT, TEMPLATE, of_type

PARAMETERS = TEMPLATE["Parameters"]


def test_cfn_lint_finds_nothing() -> None:
    matches = lint_file(ROOT / "template.yaml", config=ManualArgs(regions=["us-east-1", "eu-central-1"]))

    assert [f"{match.linenumber}: {match.rule.id} {match.message}" for match in matches] == []


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
        ("ProviderBaseUrl", "", False),
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


def test_what_holds_data_outlives_the_stack() -> None:
    for kind in ("AWS::DynamoDB::Table", "AWS::S3::Bucket"):
        for name, resource in of_type(kind).items():
            assert (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")) == ("Retain", "Retain"), name


def test_every_alarm_reaches_the_topic() -> None:
    alarms = of_type("AWS::CloudWatch::Alarm")

    assert alarms
    for name, alarm in alarms.items():
        assert alarm["Properties"]["AlarmActions"] == [{"Ref": "AlarmTopic"}], name
        assert alarm["Properties"]["AlarmDescription"], name


def test_every_dead_letter_queue_is_watched() -> None:
    redriven = {
        queue["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        for queue in of_type("AWS::SQS::Queue").values()
        if "RedrivePolicy" in queue["Properties"]
    }
    of_rules = {
        target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0]
        for rule in of_type("AWS::Events::Rule").values()
        for target in rule["Properties"]["Targets"]
    }
    watched = {
        dimension["Value"]["Fn::GetAtt"][0]
        for alarm in of_type("AWS::CloudWatch::Alarm").values()
        for dimension in alarm["Properties"]["Dimensions"]
        if dimension["Name"] == "QueueName"
    }

    assert redriven | of_rules == watched


def test_outputs_name_every_function() -> None:
    for name in FUNCTIONS.values():
        assert TEMPLATE["Outputs"][f"{name}Name"]["Value"] == {"Ref": name}
