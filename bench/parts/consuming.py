# SPDX-License-Identifier: MIT
"""Reading a stream of 100,000 records from its beginning: tailrace's consumer beside npm's dynamodb-stream."""

import os
import subprocess
import tempfile
import time

from harness import servers
from harness.http import Dynamo
from parts.common import BENCH, TABLE, create_table, lines_of, load, make_server, pinned, say


NAMES = {"npm": "dynamodb-stream", "tailrace": "tr_stream_next_batch", "tail": "tailrace tail to a file"}


def consume_npm(endpoint, arn, count, node):
    got = lines_of(pinned([node, os.path.join(BENCH, "dynamodb-stream.mjs"), endpoint, arn, str(count)]),
                   {**os.environ, "NODE_NO_WARNINGS": "1"})
    return got[0] if got else None


def consume_stream(build, endpoint, count):
    """The C API, counting records as dynamodb-stream.mjs does."""
    got = lines_of(pinned([os.path.join(build, "bench", "bench_consume"), endpoint, TABLE, str(count)]),
                   {**os.environ, **servers.CREDENTIALS})
    return got[0] if got else None


def consume_tail(build, endpoint, count, directory):
    """`tailrace tail --once` from the beginning into a file."""
    out = os.path.join(directory, "records.jsonl")
    began = time.monotonic()
    with open(out, "wb") as f:
        child = subprocess.Popen(pinned([os.path.join(build, "tailrace"), "tail", TABLE, "--from", "trim-horizon", "--once",
                                         "--endpoint", endpoint, "--state", os.path.join(directory, "state")]), stdout=f, stderr=subprocess.PIPE,
                                 env={**os.environ, **servers.CREDENTIALS})
        error = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = status
    seconds = time.monotonic() - began
    with open(out, "rb") as f:
        records = sum(1 for _ in f)
    os.remove(out)
    if status or records < count:
        say(f"    tailrace tail gave {records} of {count} records: {error.decode()[:300]}")
        return None
    return {"records": records, "seconds": seconds, "cpu_s": usage.ru_utime + usage.ru_stime}


def measure_on(server_name, options):
    """records/s and processor time for each record, of both consumers, on one kind of server."""
    result = {}
    records = options.records if server_name == "tailrace" else options.records // 5  # they take their time
    with make_server(server_name, False, options.build) as server, tempfile.TemporaryDirectory() as directory:
        client = Dynamo(server.endpoint, timeout=120)
        arn = create_table(client)
        port = int(server.endpoint.rsplit(":", 1)[1])
        filled = load(options.build, port, "batch-write", 4, items=records, requests=records // 25)
        if "failed" in filled:
            return result
        for name, fn in (("npm", lambda: consume_npm(server.endpoint, arn, records, options.node)),
                         ("tailrace", lambda: consume_stream(options.build, server.endpoint, records)),
                         ("tail", lambda: consume_tail(options.build, server.endpoint, records, directory))):
            got = fn()
            if got and got["records"] >= records:
                result[name] = got
                say(f"    {name:<28} {got['records'] / got['seconds']:>10,.0f} records/s, "
                      f"{got['cpu_s'] / got['records'] * 1e6:.2f} us of processor time each")
    return result


def print_table(consuming):
    for server, got in consuming.items():
        for consumer, c in got.items():
            print(f"consuming from {server:<12} by {NAMES[consumer]:<24} "
                  f"{c['records'] / c['seconds']:>12,.0f} records/s {c['cpu_s'] / c['records'] * 1e6:>8.2f} us each")


def measure(options):
    consuming = {}
    for name in options.servers:
        say(f"  consuming from {name}")
        consuming[name] = measure_on(name, options)
    return consuming


def add_goals(goals, consuming):
    for server, got in consuming.items():
        if "npm" in got and "tailrace" in got:
            npm, mine = got["npm"], got["tailrace"]
            goals.at_least(f"consuming from {server}, times dynamodb-stream's records/s",
                           (mine["records"] / mine["seconds"]) / (npm["records"] / npm["seconds"]), 20)
            goals.at_least(f"consuming from {server}, dynamodb-stream's processor time over ours",
                           (npm["cpu_s"] / npm["records"]) / (mine["cpu_s"] / mine["records"]), 20)
