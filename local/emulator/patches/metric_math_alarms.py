"""Stands in for alarms on metric math (``Metrics`` of ``AWS::CloudWatch::Alarm``).

MiniStack refuses them. Here such an alarm is kept with its expression and described like any other, but no expression
is computed: it stays without data.
"""

from typing import Any

from ministack.services.cloudformation import provisioners

from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    record = provisioners._cw_metric_alarm_record

    def alarm_record(name: str, properties: dict[str, Any]) -> dict[str, Any]:
        metrics = properties.get("Metrics")
        if not metrics:
            alarm: dict[str, Any] = record(name, properties)
            return alarm
        # A name and a namespace are demanded; without them afterwards, MiniStack has nothing to evaluate.
        stand_in = {**properties, "Metrics": None, "MetricName": "Expression", "Namespace": "MetricMath"}
        alarm = record(name, stand_in)
        return {**alarm, "MetricName": "", "Namespace": "", "Metrics": metrics}

    provisioners._cw_metric_alarm_record = alarm_record
