"""Usage: replay_to_one.py ARCHIVE RULE_ARN HOURS"""

import sys
from datetime import UTC, datetime, timedelta

import boto3

archive_name, rule, hours = sys.argv[1:]
events = boto3.client("events")
archive = events.describe_archive(ArchiveName=archive_name)
now = datetime.now(UTC)
name = f"to-one-{now:%Y%m%dT%H%M%S}"
events.start_replay(
    ReplayName=name,
    EventSourceArn=archive["ArchiveArn"],
    Destination={"Arn": archive["EventSourceArn"], "FilterArns": [rule]},
    EventStartTime=now - timedelta(hours=float(hours)),
    EventEndTime=now,
)
print(name)
