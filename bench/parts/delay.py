# SPDX-License-Identifier: MIT
"""How long a write takes to come to a consumer's callback, and how many calls an idle stream of 100 shards costs: tailrace
beside npm's dynamodb-stream."""

import os
import subprocess
import tempfile
import time

from harness import servers
from harness.http import Dynamo
from harness.proxy import Proxy
from parts.common import BENCH, TABLE, create_table, lines_of, say

SHARDS = 100
ENVIRONMENT = {**os.environ, **servers.CREDENTIALS, "NODE_NO_WARNINGS": "1"}


class PlainProxy(Proxy):
    """In front of tailrace, as a server would look that has nothing but the service's protocol."""

    def forward(self, request, body):
        del request.headers["x-tailrace-wait-ms"]  # nothing happens if it is not there
        status, headers, reply = super().forward(request, body)
        return status, [(k, v) for k, v in headers if not k.lower().startswith("x-tailrace-")], reply


def npm(options, endpoint, arn, interval_ms, writes):
    got = lines_of([options.node, os.path.join(BENCH, "dynamodb-stream-delay.mjs"), endpoint, arn, TABLE, str(interval_ms),
                    str(writes), "0"], ENVIRONMENT)
    return got[0] if got and got[0]["writes"] == writes else None


def own(options, *arguments):
    got = lines_of([os.path.join(options.build, "bench", "bench_delay"), *arguments])
    return got[0] if got else None


def measure_delay(options):
    """{who: {"p50_us", "p99_us"}}: from the write to the callback."""
    result = {}
    with servers.Tailrace(os.path.join(options.build, "tailrace")) as server:
        got = own(options, "--endpoint", server.endpoint)
        if got:
            result["tailrace, from sending the write"], result["tailrace, from its answer"] = got["write"], got["commit"]
        arn = create_table(Dynamo(server.endpoint))
        for interval_ms, writes in ((0, 500), (1000, 15)):
            got = npm(options, server.endpoint, arn, interval_ms, writes)
            if got:
                result["dynamodb-stream, a poll a second" if interval_ms else "dynamodb-stream, polling without a pause"] = got
    got = own(options, "--embedded")
    if got:
        result["tailrace in one process, from the answer"] = got["commit"]
    return result


def calls_an_hour(proxy, child, settle_s, seconds):
    """Of a consumer, once it has settled. Ends it."""
    try:
        time.sleep(settle_s)
        proxy.take()
        time.sleep(seconds)
        return len(proxy.take()) * 3600 / seconds
    finally:
        child.terminate()
        child.wait()


def idle_tailrace(options, proxy, settle_s, seconds):
    with tempfile.TemporaryDirectory() as directory:
        return calls_an_hour(proxy, subprocess.Popen(
            [os.path.join(options.build, "tailrace"), "tail", TABLE, "--endpoint", proxy.endpoint, "--state",
             os.path.join(directory, "state")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT),
            settle_s, seconds)


def idle_npm(options, proxy, arn, interval_ms, seconds):
    return calls_an_hour(proxy, subprocess.Popen(
        [options.node, os.path.join(BENCH, "dynamodb-stream-delay.mjs"), proxy.endpoint, arn, TABLE, str(interval_ms), "0",
         "100000"], stdout=subprocess.DEVNULL, env=ENVIRONMENT), 3, seconds)


def measure_idle(options):
    """{who: calls an hour}"""
    result = {}
    with servers.Tailrace(os.path.join(options.build, "tailrace"), arguments=["--stream-shards", str(SHARDS)]) as server:
        arn = create_table(Dynamo(server.endpoint))
        with Proxy(server.endpoint) as proxy:
            result["tailrace, pushed by its engine"] = idle_tailrace(options, proxy, 6, 60)
        with PlainProxy(server.endpoint) as proxy:
            result["tailrace, on any other server"] = idle_tailrace(options, proxy, 10, 12)
            result["dynamodb-stream, a poll a second"] = idle_npm(options, proxy, arn, 1000, 12)
    return result


def measure(options):
    say("  from write to callback, and idle streams")
    return {"delay": measure_delay(options), "idle": measure_idle(options)}


def print_table(result):
    print(f"\n{'from write to callback':<46}{'p50':>14}{'p99':>14}")
    for who, got in result["delay"].items():
        print(f"  {who:<44}{got['p50_us'] / 1000:>11,.2f} ms{got['p99_us'] / 1000:>11,.2f} ms")
    print(f"{f'an idle stream of {SHARDS} shards':<46}{'calls/hour':>14}")
    for who, calls in result["idle"].items():
        print(f"  {who:<44}{calls:>14,.0f}")


def add_goals(goals, result):
    got = result["delay"].get("tailrace, from its answer")
    if got:
        goals.at_most("from commit to callback over HTTP, median", got["p50_us"] / 1000, 1, " ms")
        goals.at_most("from commit to callback over HTTP, p99", got["p99_us"] / 1000, 5, " ms")
