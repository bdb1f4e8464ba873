# SPDX-License-Identifier: MIT
"""Where whole families of answers of a peer differ from the service's, so that cases need not say it each time. What
differs in one case only is flagged there (`! local: why`)."""

import json


def local(reply):
    """DynamoDB Local: "Message" for "message", and texts of its own in errors; tables have no id;
    consumed capacity comes unasked."""
    body = json.loads(reply.body)
    if "Message" in body and "TransactionCanceled" not in body.get("__type", "TransactionCanceled"):
        body["message"] = body.pop("Message")
    own = "Expression" not in str(body.get("message", ""))  # those about expressions are the service's
    return body, {"TableId", "ProvisionedThroughput", "ConsumedCapacity"} | ({"message"} if own else set())


def dynoxide(reply):
    """dynoxide: its expression parser words errors its own way."""
    body = json.loads(reply.body)
    own = "Expression" in str(body.get("message", "")) or "xpression attribute" in str(body.get("message", ""))
    return body, {"message"} if own else set()


def read(kind, reply):
    """The parsed body, and the names of members that are not compared for this kind of server."""
    return {"local": local, "dynoxide": dynoxide}.get(kind, lambda r: (json.loads(r.body), set()))(reply)
