"""What a function reads from its environment, and what it says when that cannot be read."""

from dataclasses import fields
from decimal import Decimal
from typing import Any

import pytest

from vidu_relay import settings
from vidu_relay.domain.errors import ConfigurationError
from vidu_relay.domain.polling import PollingPolicy
from vidu_relay.settings import DeliverVideosSettings, SubmitTaskSettings, load, polling_policy, variables

CLASSES = [getattr(settings, name) for name in settings.__all__ if name.endswith("Settings")]
TEXT: dict[object, str] = {
    int: "7",
    bool: "true",
    str: "text",
    str | None: "text",
    tuple[str, ...]: "a, b",
    Decimal: "0.5",
}
VALUE: dict[object, object] = {
    int: 7,
    bool: True,
    str: "text",
    str | None: "text",
    tuple[str, ...]: ("a", "b"),
    Decimal: Decimal("0.5"),
}


def environment(kind: type) -> dict[str, str]:
    """A value for each variable of a settings class."""
    return {name: TEXT[type_] for name, type_ in variables(kind).items()}


@pytest.mark.parametrize("kind", CLASSES)
def test_each_variable_arrives_in_its_field(kind: type) -> None:
    loaded: Any = load(kind, environment(kind))
    assert loaded.__dict__ == {name.lower(): VALUE[type_] for name, type_ in variables(kind).items()}


@pytest.mark.parametrize("kind", CLASSES)
def test_everything_missing_is_named_at_once(kind: type) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(kind, {})
    for name in variables(kind):
        assert f"{name} is not set" in str(raised.value)


@pytest.mark.parametrize("text", ["", "two", "1.5", "0x10", "1 2"])
def test_number_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match="FIRST_CHECK_SECONDS"):
        load(SubmitTaskSettings, {**environment(SubmitTaskSettings), "FIRST_CHECK_SECONDS": text})


@pytest.mark.parametrize("text", ["", "0", "-1", "NaN", "1 USD"])
def test_amount_that_is_none_or_nothing_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match="ASSUMED_TASK_USD"):
        load(SubmitTaskSettings, {**environment(SubmitTaskSettings), "ASSUMED_TASK_USD": text})


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), (" TRUE ", True), ("false", False)])
def test_flag_is_true_or_false(text: str, value: bool) -> None:
    loaded = load(SubmitTaskSettings, {**environment(SubmitTaskSettings), "OFF_PEAK_AVAILABLE": text})
    assert loaded.off_peak_available is value


@pytest.mark.parametrize("text", ["", "yes", "1", "0", "on"])
def test_flag_that_is_neither_is_named_and_never_guessed(text: str) -> None:
    with pytest.raises(ConfigurationError, match="OFF_PEAK_AVAILABLE"):
        load(SubmitTaskSettings, {**environment(SubmitTaskSettings), "OFF_PEAK_AVAILABLE": text})


@pytest.mark.parametrize("text", ["", "   "])
def test_empty_text_is_refused(text: str) -> None:
    """But where a setting has a value of its own for it."""
    with pytest.raises(ConfigurationError, match="TABLE_NAME"):
        load(SubmitTaskSettings, {**environment(SubmitTaskSettings), "TABLE_NAME": text})
    assert not load(
        SubmitTaskSettings, {**environment(SubmitTaskSettings), "PROVIDER_BASE_URL": text}
    ).provider_base_url


@pytest.mark.parametrize(
    ("text", "value"), [("", ()), (" ", ()), ("a", ("a",)), (" a ,, b,", ("a", "b")), ("*.x.example", ("*.x.example",))]
)
def test_list_may_be_empty(text: str, value: tuple[str, ...]) -> None:
    loaded = load(DeliverVideosSettings, {**environment(DeliverVideosSettings), "VIDEO_HOSTS": text})
    assert loaded.video_hosts == value


def test_refusal_names_variables_and_never_shows_a_secret_one() -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(SubmitTaskSettings, {"PROVIDER_SECRET_ARN": "arn:of:the:secret", "FIRST_CHECK_SECONDS": "x"})
    assert "arn:of:the:secret" not in str(raised.value)


def test_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in environment(settings.AuthorizeRequestSettings).items():
        monkeypatch.setenv(name, text)
    assert load(settings.AuthorizeRequestSettings).table_name == "text"


def test_timing_keeps_its_places() -> None:
    names = [field.name for field in fields(PollingPolicy)]
    numbers = {name.upper(): str(number) for number, name in enumerate(names, 1)}
    policy = polling_policy(load(SubmitTaskSettings, {**environment(SubmitTaskSettings), **numbers}))
    assert [getattr(policy, name) for name in names] == list(range(1, len(names) + 1))
