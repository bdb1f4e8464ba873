# SPDX-License-Identifier: MIT
"""What the parts share: where things run, servers, tables, the load generator, goals."""

import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.dirname(HERE)
ROOT = os.path.dirname(BENCH)
sys.path.insert(0, os.path.join(ROOT, "tests"))

from harness import servers  # noqa: E402

TABLE = "bench"
SERVER_CORE, LOAD_CORE = 0, 1


def say(text):
    print(text, file=sys.stderr, flush=True)


def pinned(command, core=LOAD_CORE):
    return ["taskset", "-c", str(core), *command]


def lines_of(command, env=None):
    """The lines of JSON that a program prints; [] if it fails, with what it said."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, env=env)
    if done.returncode:
        say(f"    {os.path.basename(command[0])} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return []
    return [json.loads(line) for line in done.stdout.split("\n") if line.startswith("{")]


def make_server(name, durable, build):
    if name == "tailrace":
        return servers.Tailrace(os.path.join(build, "tailrace"), durable=durable, core=SERVER_CORE)
    return {"local": servers.DynamoDBLocal, "dynoxide": servers.Dynoxide}[name](durable=durable, core=SERVER_CORE)


def load(build, port, operation, connections, **more):
    command = ["taskset", "-c", str(LOAD_CORE), os.path.join(build, "bench", "load"), "--port", str(port), "--op", operation,
               "--connections", str(connections)]
    for name, value in more.items():
        command += ["--" + name.replace("_", "-"), str(value)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if not done.stdout.strip():
        return {"failed": done.stderr.strip()[:300]}
    return {**json.loads(done.stdout), "said": done.stderr.strip()[:300]}


def create_table(client):
    described = client.call("CreateTable", {
        "TableName": TABLE, "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}})
    while client.call("DescribeTable", {"TableName": TABLE})["Table"]["TableStatus"] != "ACTIVE":
        time.sleep(0.05)
    return described["TableDescription"]["LatestStreamArn"]


class Goals:
    """What was reached, beside what was aimed at."""

    def __init__(self):
        self.lines = []

    def at_least(self, title, value, goal, unit="x"):
        if value is not None:
            self.lines.append((title, f"{value:,.1f}{unit}", f">= {goal:g}{unit}", value >= goal))

    def at_most(self, title, value, goal, unit):
        if value is not None:
            self.lines.append((title, f"{value:,.2f}{unit}", f"<= {goal:g}{unit}", value <= goal))

    def print(self):
        print("\ngoals")
        for title, got, goal, met in self.lines:
            print(f"  {title:<58} {got:>12} {goal:>12}   {'met' if met else 'missed'}")
