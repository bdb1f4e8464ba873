# SPDX-License-Identifier: MIT
"""Writes a server's answers into .wire files, below the `<` that stand alone: how a new case is begun. Read what it
wrote: an answer is a promise only once somebody has agreed with it."""

import json
import re

# What differs from run to run, or between servers that are both right.
GENERAL = {"TableId": "$uuid", "LatestStreamLabel": "$string", "LatestStreamArn": "$re:/stream/",
           "StreamArn": "$re:/stream/", "TableStatus": "$state", "IndexStatus": "$state",
           "TableThroughputModeSummary": "$maybe", "WarmThroughput": "$maybe", "OnDemandThroughput": "$maybe",
           "Backfilling": "$maybe", "LastUpdateToPayPerRequestDateTime": "$maybe", "LastIncreaseDateTime": "$maybe",
           "LastDecreaseDateTime": "$maybe", "TableSizeBytes": "$number", "ItemCount": "$number",
           "IndexSizeBytes": "$number", "CreationDateTime": "$time", "ApproximateCreationDateTime": "$time"}

noted = {}  # path of the file: {line of the `<`: text}


def generalise(value, names, key=None):
    if isinstance(value, dict):
        if value.get("__type", "").endswith("#SerializationException"):  # texts of a parser, another one's differ
            return {"__type": "$error:SerializationException", "$more": 1}
        out = {k.replace(names["T"], "${T}"): generalise(v, names, k) for k, v in value.items()}
        if "TableStatus" in out:
            out.update(TableThroughputModeSummary="$maybe", WarmThroughput="$maybe", DeletionProtectionEnabled="$maybe")
        if "IndexStatus" in out:
            out.update(WarmThroughput="$maybe", OnDemandThroughput="$maybe", Backfilling="$maybe")
        if "NumberOfDecreasesToday" in out:
            out.update(LastIncreaseDateTime="$maybe", LastDecreaseDateTime="$maybe")
        if "BillingMode" in out:
            out.update(LastUpdateToPayPerRequestDateTime="$maybe")
        return out
    if isinstance(value, list):
        return [generalise(v, names) for v in value]
    if key in GENERAL:
        return GENERAL[key]
    if key == "__type":
        return "$error:" + value.split("#")[-1]
    if isinstance(value, str):
        value = value.replace(names["T"], "${T}")
        if value.startswith("arn:aws:dynamodb:"):
            return "$re:^arn:aws:dynamodb:[a-z0-9-]+:000000000000:" + value.split(":", 5)[5] + "$"
        found = re.match(r"1 validation error detected: ((One or more|Input collection).*)", value)
        if found and key == "message":  # the service has changed its mind about the beginning
            return "$re:" + re.escape(found.group(1)).replace("\\ ", " ") + "$"
        value = re.sub(r"(.)\1{24,}", lambda m: f"${{repeat:{len(m.group(0))}:{m.group(1)}}}", value)
        if value.startswith("$") and not value.startswith("${"):
            value = "$literal:" + value
    return value


def short(value, indent=0, width=110):
    """JSON with as much on a line as fits."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + indent <= width or not isinstance(value, (dict, list)) or not value:
        return line
    if isinstance(value, list):
        parts = [short(v, indent + 1, width) for v in value]
    else:
        parts = [json.dumps(k) + ": " + short(v, indent + 1, width) for k, v in value.items()]
    lines = [parts[0]]
    for part in parts[1:]:
        last = lines[-1].rsplit("\n", 1)[-1]
        if "\n" not in part and len(last) + len(part) + 2 + indent <= width:
            lines[-1] += ", " + part
        else:
            lines.append(part)
    opening, closing = "[]" if isinstance(value, list) else "{}"
    return opening + (",\n" + " " * (indent + 1)).join(lines) + closing


def note(step, reply, names):
    if reply is None:
        text = "< closed"
    else:
        text = f"< {reply.status}"
        try:
            body = json.loads(reply.body)
            if "Message" in body and "Transaction" not in body.get("__type", "Transaction"):  # DynamoDB Local's way
                body["message"] = body.pop("Message")
            text += "\n" + short(generalise(body, names))
        except ValueError:
            pass
    noted.setdefault(step.path, {})[step.expected.line] = text


def write():
    for path, texts in noted.items():
        with open(path, encoding="utf-8") as f:
            lines = f.read().split("\n")
        for number, text in texts.items():
            lines[number - 1] = text
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(lines))
