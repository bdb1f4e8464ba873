# SPDX-License-Identifier: MIT
"""Requests per second over HTTP, start and memory, of each server, durable and in memory."""

import time

from harness.http import Dynamo
from parts.common import create_table, load, make_server, say

# (key, title, operation of the load generator, connections)
LOADS = [("put1", "PutItem, 1 connection", "put", 1), ("put32", "PutItem, 32", "put", 32),
         ("get1", "GetItem, 1 connection", "get", 1), ("get32", "GetItem, 32", "get", 32),
         ("query1", "Query of 10, 1 connection", "query", 1), ("query32", "Query of 10, 32", "query", 32),
         ("update32", "UpdateItem, 32", "update", 32), ("putif32", "PutItem on condition, 32", "put-if", 32),
         ("batchw32", "BatchWriteItem of 25, 32", "batch-write", 32),
         ("batchg32", "BatchGetItem of 100, 32", "batch-get", 32),
         ("transact32", "TransactWriteItems of 2, 32", "transact", 32),
         ("transact4", "TransactWriteItems of 4, 32", "transact-4", 32),
         ("updateif32", "UpdateItem on condition, 32", "update-if", 32),
         ("scan1", "Scan, 1,250 items a page, 1", "scan", 1)]


def best_start(name, durable, build):
    """The quickest of five starts, seconds; and the resident bytes a second after the last."""
    times = []
    for i in range(5 if name != "local" else 2):
        server = make_server(name, durable, build)
        server.start()
        times.append(server.start_s)
        time.sleep(1 if i == 0 else 0)
        rss = server.rss_bytes() if i == 0 else rss
        server.stop()
    return min(times), rss


def measure_server(name, durable, options):
    result = {"items": options.items}
    result["start_s"], result["idle_bytes"] = best_start(name, durable, options.build)
    with make_server(name, durable, options.build) as server:
        client = Dynamo(server.endpoint, timeout=120)
        create_table(client)
        port = int(server.endpoint.rsplit(":", 1)[1])
        filled = load(options.build, port, "batch-write", 4, items=options.items, requests=options.items // 25)
        if "failed" in filled:
            return {**result, "failed": filled["failed"]}
        for key, title, operation, connections in LOADS:
            if options.loads and key not in options.loads:
                continue
            cpu, began = server.cpu_s(), time.monotonic()
            got = load(options.build, port, operation, connections, items=options.items, seconds=options.seconds,
                       warm_up=options.warm_up)
            if "failed" in got:
                result[key] = got
                continue
            share = options.seconds / (time.monotonic() - began)  # what was used in the warm-up is not counted
            got["server_us"] = (server.cpu_s() - cpu) * share / max(got["answers"], 1) * 1e6
            result[key] = got
            say(f"    {title:<28} {got['per_second']:>10,.0f}/s  p50 {got['p50_us']:>8,.0f} us  p99 {got['p99_us']:>9,.0f} us  "
                  f"server {got['server_us']:>7.1f} us" + (f"  {got['errors']} errors: {got['said']}" if got["errors"] else ""))
        result["loaded_bytes"] = server.rss_bytes()
    return result


def rate(result, key):
    got = result.get(key) or {}
    return got.get("per_second") if not got.get("errors") else None


def cell(result, key):
    got = result.get(key)
    if not got:
        return "-"
    if "failed" in got or got.get("errors"):
        return "failed"
    return f"{got['per_second']:,.0f} ({got['server_us']:.0f})"


def print_table(results):
    names = list(results)
    width = max(20, *(len(n) + 2 for n in names))
    print(f"\n{'requests/s (server us)':<30}" + "".join(f"{n:>{width}}" for n in names))
    for key, title, _, _ in LOADS:
        if any(key in results[n] for n in names):
            print(f"{title:<30}" + "".join(f"{cell(results[n], key):>{width}}" for n in names))
    for key, title, unit, scale in (("start_s", "start", "ms", 1000), ("idle_bytes", "memory idle", "MB", 1e-6),
                                    ("loaded_bytes", "memory loaded", "MB", 1e-6)):
        print(f"{title:<30}" + "".join(
            f"{(f'{results[n][key] * scale:,.1f} {unit}' if key in results[n] else '-'):>{width}}" for n in names))


def ratio(results, key, mine, others):
    a, best = rate(results.get(mine, {}), key), max((rate(results.get(o, {}), key) or 0 for o in others), default=0)
    return a / best if a and best else None


def measure(options):
    results = {}
    for name in options.servers:
        for durable in (True, False):
            kind = {"tailrace": ("durable", "memory")}.get(name, ("file", "memory"))[0 if durable else 1]
            say(f"  {name} {kind}")
            results[f"{name} {kind}"] = measure_server(name, durable, options)
    return results


def add_goals(goals, results):
    durable, memory = "tailrace durable", "tailrace memory"
    scanned = next((r["items"] for r in results.values() if "items" in r), 0)
    files, memories = ("local file", "dynoxide file"), ("local memory", "dynoxide memory")
    goals.at_least("durable PutItem at 32, times the better peer with a file", ratio(results, "put32", durable, files), 40)
    goals.at_least("GetItem at 32, times dynoxide", ratio(results, "get32", durable, ("dynoxide file", "dynoxide memory")), 3)
    for key, title in (("query32", "Query"), ("batchw32", "BatchWriteItem"), ("batchg32", "BatchGetItem"),
                       ("transact32", "TransactWriteItems"), ("transact4", "TransactWriteItems of 4"), ("update32", "UpdateItem"),
                       ("updateif32", "conditional UpdateItem"), ("scan1", f"Scan of {scanned:,} items")):
        goals.at_least(f"{title} at 32, durable, times the better peer with a file", ratio(results, key, durable, files), 5)
        goals.at_least(f"{title} at 32, in memory, times the better peer", ratio(results, key, memory, memories), 5)
    for name, title in ((durable, "start, durable, in a new directory"), (memory, "start, in memory")):
        start = results.get(name, {}).get("start_s")
        goals.at_most(title, start and start * 1000, 15, " ms")
    idle = max((results[n]["idle_bytes"] for n in (durable, memory) if "idle_bytes" in results.get(n, {})), default=None)
    goals.at_most("memory idle", idle and idle / 1e6, 20, " MB")
