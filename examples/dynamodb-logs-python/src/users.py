# SPDX-License-Identifier: MIT
"""Keeps the read model of users: whatever event comes, the log is read from the model's version on and applied in
order, each step on condition of the one before. An event that comes twice, or late, does no harm."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from dynamodb import ServiceError, call, marshal, unmarshal  # noqa: E402

LOGS, CORE = os.environ["DYNAMODB_LOGS_TABLE"], os.environ["DYNAMODB_CORE_TABLE"]

CHANGES = {
    "addPhoneNumber": lambda p: {"phoneNumber": p["phoneNumber"]},
    "verifyPhoneNumber": lambda p: {"verifiedPhoneNumber": True},
    "addLocation": lambda p: {"location": {"long": p["long"], "lat": p["lat"]}},
}


def version_of(key):
    item = call("GetItem", {"TableName": CORE, "Key": {"pk": {"S": key}, "sk": {"S": key}}, "ConsistentRead": True}).get("Item")
    return int(item["version"]["N"]) if item else 0


def log_after(pk, version):
    request = {"TableName": LOGS, "KeyConditionExpression": "pk = :pk AND sk > :sk", "ConsistentRead": True,
               "ExpressionAttributeValues": {":pk": {"S": pk}, ":sk": {"N": str(version)}}}
    while request:
        page = call("Query", request)
        for item in page["Items"]:
            yield int(item["sk"]["N"]), item["type"]["S"], unmarshal(item["payload"])
        last = page.get("LastEvaluatedKey")
        request = {**request, "ExclusiveStartKey": last} if last else None


def sign_up(key, sk, payload):
    user = {"pk": key, "sk": key, "type": "user", "id": payload["id"], "name": payload["name"],
            "email": payload["email"], "version": sk}
    call("PutItem", {"TableName": CORE, "Item": marshal(user)["M"], "ConditionExpression": "attribute_not_exists(pk)"})


def change(key, sk, kind, payload):
    values = {**CHANGES.get(kind, lambda p: {})(payload), "version": sk}
    names = list(values)
    call("UpdateItem", {
        "TableName": CORE, "Key": {"pk": {"S": key}, "sk": {"S": key}},
        "UpdateExpression": "SET " + ", ".join(f"#n{i} = :v{i}" for i in range(len(names))),
        "ConditionExpression": "#version = :before",
        "ExpressionAttributeNames": {"#version": "version", **{f"#n{i}": n for i, n in enumerate(names)}},
        "ExpressionAttributeValues": {":before": {"N": str(sk - 1)},
                                      **{f":v{i}": marshal(values[n]) for i, n in enumerate(names)}}})


def handler(event, context):
    pk, user = event["detail"]["key"]["pk"], event["detail"]["payload"]["id"]
    key = f"users#{user}"
    version = version_of(key)
    for sk, kind, payload in log_after(pk, version):
        if sk != version + 1:
            break  # a gap: what is missing has an event of its own
        try:
            sign_up(key, sk, payload) if kind == "signup" else change(key, sk, kind, payload)
        except ServiceError as error:
            # unless another run was faster
            if error.name != "ConditionalCheckFailedException" or version_of(key) < sk:
                raise
        version = sk
    print(f"{key} is at version {version}")
