"""What AWS asks in us-east-1, in US dollars, without free tiers: one table, with its date and where it was read.

List prices change: check them against AWS's pricing pages before you rely on a total. No price here was read through
an AWS account.
"""

from __future__ import annotations

__all__ = ["AS_OF", "PRICES", "REGION"]

AS_OF = "2026-11"
REGION = "us-east-1"

_MILLION = 1e-6

PRICES: dict[str, tuple[float, str]] = {
    # what: (US dollars for one, the page that says so)
    "HTTP API request": (1.00 * _MILLION, "aws.amazon.com/api-gateway/pricing, HTTP APIs, first 300 million"),
    "REST API request": (3.50 * _MILLION, "aws.amazon.com/api-gateway/pricing, REST APIs, first 333 million"),
    "Lambda request": (0.20 * _MILLION, "aws.amazon.com/lambda/pricing"),
    "Lambda GB-second, arm64": (13.3334 * _MILLION, "aws.amazon.com/lambda/pricing"),
    "Lambda GB-second, x86": (16.6667 * _MILLION, "aws.amazon.com/lambda/pricing"),
    "DynamoDB write unit": (0.625 * _MILLION, "aws.amazon.com/dynamodb/pricing/on-demand"),
    "DynamoDB read unit": (0.125 * _MILLION, "aws.amazon.com/dynamodb/pricing/on-demand"),
    "S3 PUT": (5.00 * _MILLION, "aws.amazon.com/s3/pricing, S3 Standard"),
    "S3 GET": (0.40 * _MILLION, "aws.amazon.com/s3/pricing, S3 Standard"),
    "EventBridge event": (1.00 * _MILLION, "aws.amazon.com/eventbridge/pricing, custom events of up to 64 KB"),
    "EventBridge archive GB": (0.10, "aws.amazon.com/eventbridge/pricing, archive processing"),
    "SQS request": (0.40 * _MILLION, "aws.amazon.com/sqs/pricing, standard queues"),
    "Step Functions transition": (25.00 * _MILLION, "aws.amazon.com/step-functions/pricing, standard workflows"),
    "Secrets Manager call": (5.00 * _MILLION, "aws.amazon.com/secrets-manager/pricing"),
    "Scheduler invocation": (1.00 * _MILLION, "aws.amazon.com/eventbridge/pricing, Scheduler"),
    "log GB": (0.50, "aws.amazon.com/cloudwatch/pricing, collected logs"),
    "X-Ray trace": (5.00 * _MILLION, "aws.amazon.com/xray/pricing"),
    "internet egress GB": (0.09, "aws.amazon.com/ec2/pricing/on-demand, data transfer out, first 10 TB"),
    # a month
    "S3 storage GB": (0.023, "aws.amazon.com/s3/pricing, S3 Standard, first 50 TB"),
    "DynamoDB storage GB": (0.25, "aws.amazon.com/dynamodb/pricing/on-demand"),
    "DynamoDB continuous backup GB": (0.20, "aws.amazon.com/dynamodb/pricing/on-demand, point-in-time recovery"),
    "log storage GB": (0.03, "aws.amazon.com/cloudwatch/pricing, archived logs, before compression"),
    "dashboard": (3.00, "aws.amazon.com/cloudwatch/pricing, without the three that are free"),
    "secret": (0.40, "aws.amazon.com/secrets-manager/pricing"),
    "alarm metric": (0.10, "aws.amazon.com/cloudwatch/pricing, standard resolution, for each metric an alarm reads"),
    "custom metric": (
        0.30,
        "aws.amazon.com/cloudwatch/pricing, first 10,000, prorated by hours with data",
    ),
}
