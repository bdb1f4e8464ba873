# SPDX-License-Identifier: MIT
"""Where whole families of answers of a peer differ from the service's, so that cases need not say it each time. What
differs in one case only is flagged there (`! local: why`)."""

import json


def local(reply):
    """DynamoDB Local: "Message" for "message", and texts of its own in errors; tables have no id."""
    body = json.loads(reply.body)
    if "Message" in body:
        body["message"] = body.pop("Message")
    return body, {"message", "TableId", "ProvisionedThroughput"}


def dynoxide(reply):
    return json.loads(reply.body), set()


def read(kind, reply):
    """The parsed body, and the names of members that are not compared for this kind of server."""
    return {"local": local, "dynoxide": dynoxide}.get(kind, dynoxide)(reply)
