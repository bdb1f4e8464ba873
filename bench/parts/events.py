# SPDX-License-Identifier: MIT
"""The event store: tailrace's client beside castore (npm) on one server, and within the process."""

import os
import shutil
import tempfile

from harness import servers
from parts.common import BENCH, LOAD_CORE, SERVER_CORE, lines_of, pinned, say

IN_FLIGHT, LONG, LONGER = 32, 1000, 10000


def run_both(results, options, endpoint, what, count, name=None):
    """One after the other, twice each, so that what else the machine does falls on both; the better of each counts."""
    programs = {"tailrace": [os.path.join(options.build, "bench", "bench_eventstore"), endpoint],
                "castore": [options.node, os.path.join(BENCH, "castore.mjs"), endpoint]}
    env = {**os.environ, **servers.CREDENTIALS, "NODE_NO_WARNINGS": "1"}
    for _ in range(2):
        for who, program in programs.items():
            for line in lines_of(pinned([*program, what, str(count), str(options.seconds)]), env):
                key = (name or line["name"])
                best = results.setdefault(key, {}).get(who)
                if not best or line["per_second"] > best["per_second"]:
                    results[key][who] = line


def in_process(results, options, key, title, *arguments):
    directory = tempfile.mkdtemp(prefix="tailrace-bench-")
    try:
        for line in lines_of(["taskset", "-c", f"{SERVER_CORE},{LOAD_CORE}",
                              os.path.join(options.build, "bench", "bench_eventstore"), os.path.join(directory, "data"),
                              *map(str, arguments)]):
            results[f"{key} {line['name']}" if key == "within" else key] = {"within": {**line, "title": title}}
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def measure(options):
    results = {}
    say("  event store, over HTTP")
    with servers.Tailrace(os.path.join(options.build, "tailrace"), durable=True, core=SERVER_CORE) as server:
        run_both(results, options, server.endpoint, "push", IN_FLIGHT)
        run_both(results, options, server.endpoint, "get", LONG)
        run_both(results, options, server.endpoint, "aggregate", LONGER)
    say("  event store, in the process")
    for count in (32, 256, 1024):
        in_process(results, options, f"push{count}", f"pushes in the process, {count} under way", "push", count,
                   options.seconds)
    in_process(results, options, "push10", "the same, 10 events each, 256 under way", "push", 256, options.seconds, 10)
    in_process(results, options, "within", f"aggregate of {LONGER:,} events in the process", "aggregate", LONGER,
               options.seconds)
    return results


TITLES = {"push": f"pushes, {IN_FLIGHT} under way", "get": f"getEvents of {LONG:,}",
          "aggregate": f"aggregate of {LONGER:,}", "aggregate-snapshot": "the same from a snapshot"}


def print_table(results):
    print(f"\n{'event store (per second)':<46}{'tailrace':>12}{'castore':>12}{'times':>8}{'median us':>11}{'castore us':>12}{'cpu us':>9}")
    for key, got in results.items():
        if "within" in got:
            line = got["within"]
            title = line["title"] + (" from a snapshot" if line["name"] == "aggregate-snapshot" else "")
            rate, other, times, median = line["events_per_second" if key == "push10" else "per_second"], "", "", ""
        else:
            line, title = got.get("tailrace"), TITLES[key]
            theirs = got.get("castore")
            if not line:
                continue
            rate, other = line["per_second"], f"{theirs['per_second']:,.1f}" if theirs else "-"
            median = f"{theirs['p50_us']:,}" if theirs else ""
            times = f"{line['per_second'] / theirs['per_second']:,.1f}" if theirs else ""
        print(f"{title:<46}{rate:>12,.1f}{other:>12}{times:>8}{line['p50_us']:>11,}{median:>12}{line['cpu_us']:>9.1f}")


def add_goals(goals, results):
    push, get = results.get("push", {}), results.get("get", {})
    if len(push) == 2:
        goals.at_least(f"event store: pushes at {IN_FLIGHT}, times castore's rate",
                       push["tailrace"]["per_second"] / push["castore"]["per_second"], 15)
    if len(get) == 2:  # one at a time, so the median time is the rate of a machine that does nothing else
        goals.at_least(f"event store: getEvents of {LONG:,}, castore's median time over ours",
                       get["castore"]["p50_us"] / get["tailrace"]["p50_us"], 10)
    rates = [line["within"]["events_per_second"] for key, line in results.items() if key.startswith("push") and "within" in line]
    if rates:
        goals.at_least("event store: durable events/s in the process", max(rates), 60000, "/s")
