# SPDX-License-Identifier: MIT
"""DynamoDB with nothing to install: urllib against the local server, the boto3 of Lambda's runtime on AWS."""

import json
import os
import urllib.error
import urllib.request

ENDPOINT = (os.environ.get("AWS_ENDPOINT_URL_DYNAMODB") or os.environ.get("AWS_ENDPOINT_URL")
            or "http://127.0.0.1:8000")


class ServiceError(Exception):
    def __init__(self, name, message):
        super().__init__(f"{name}: {message}")
        self.name = name


def _local(operation, body):
    request = urllib.request.Request(ENDPOINT, json.dumps(body).encode(), {
        "content-type": "application/x-amz-json-1.0", "x-amz-target": f"DynamoDB_20120810.{operation}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        value = json.load(error)
        raise ServiceError(value["__type"].split("#")[-1], value.get("message", "")) from None


def _aws(operation, body):
    import boto3
    from botocore.exceptions import ClientError
    from botocore import xform_name
    try:
        return getattr(boto3.client("dynamodb"), xform_name(operation))(**body)
    except ClientError as error:
        raise ServiceError(error.response["Error"]["Code"], error.response["Error"]["Message"]) from None


call = _local if os.environ.get("IS_OFFLINE") else _aws


def marshal(value):
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, (int, float)):
        return {"N": repr(value)}
    if isinstance(value, dict):
        return {"M": {k: marshal(v) for k, v in value.items()}}
    return {"S": str(value)}


def unmarshal(value):
    (kind, inner), = value.items()
    if kind == "N":
        return float(inner) if any(c in inner for c in ".eE") else int(inner)
    if kind == "M":
        return {k: unmarshal(v) for k, v in inner.items()}
    if kind == "L":
        return [unmarshal(v) for v in inner]
    return None if kind == "NULL" else inner
