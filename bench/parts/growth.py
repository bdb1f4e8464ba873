# SPDX-License-Identifier: MIT
"""The cost of an operation with 10^4, 10^6 and 10^7 items of 400 bytes, any of them as likely as any other, durable, in the
default memory: the engine alone, within a process, and a server's requests over HTTP, which the goal is about. The items are
loaded within a process; what the store then still has to sort in the background is waited for. The directories are kept
between runs if --growth-dir names a place for them."""

import os
import re
import shutil
import subprocess
import tempfile
import time

from harness import servers
from parts.common import LOAD_CORE, SERVER_CORE, load, say

SETTLED_S, SETTLE_AT_MOST_S = 2, 600  # without work in the background
SIZES = [10**4, 10**6, 10**7]
ROWS = [("gets", "GetItem"), ("queries of 10", "Query of 10"), ("queries of 10, backward", "Query of 10, backward"),
        ("puts, durable", "PutItem, 32 under way")]
REQUESTS = [("get", "GetItem over HTTP, 32"), ("query", "Query of 10 over HTTP, 32"), ("put", "PutItem over HTTP, 32")]
LINE = re.compile(r"^(.+?)\s+(\d+) /s\s+([\d.]+) us wall\s+([\d.]+) us cpu$", re.M)


def bench_engine(options, directory, items, seconds, only, connections=32):
    """{name: {"wall_us":…, "cpu_us":…}}; of what is measured twice the quicker."""
    done = subprocess.run(["taskset", "-c", f"{SERVER_CORE},{LOAD_CORE}", os.path.join(options.build, "bench", "bench_engine"),
                           directory, str(items), str(seconds), str(connections)], stdout=subprocess.PIPE, text=True,
                          check=True, env={**os.environ, "ONLY": only})
    rows = {}
    for name, rate, wall, cpu in LINE.findall(done.stdout):
        row = {"per_second": float(rate), "wall_us": float(wall), "cpu_us": float(cpu)}
        if name not in rows or row["cpu_us"] < rows[name]["cpu_us"]:
            rows[name] = row
    return rows


class Loaded(servers.Tailrace):
    """A server on a directory that is there and stays."""

    def __init__(self, options, directory):
        super().__init__(os.path.join(options.build, "tailrace"), durable=True, core=SERVER_CORE)
        self.data = directory

    def settle(self):
        """Waits until files are sorted in the background no more: that is part of having written, not of reading."""
        until, quiet = time.monotonic() + SETTLE_AT_MOST_S, 0
        while quiet < SETTLED_S and time.monotonic() < until:
            cpu = self.cpu_s()
            time.sleep(0.5)
            quiet = quiet + 0.5 if self.cpu_s() - cpu < 0.02 else 0


def requests(options, directory, items):
    rows = {}
    with Loaded(options, directory) as server:
        port = int(server.endpoint.rsplit(":", 1)[1])
        server.settle()
        for operation, _ in REQUESTS:
            cpu = server.cpu_s()
            got = load(options.build, port, operation, 32, items=items, requests=20000 if operation == "put" else 50000)
            rows[operation] = {"wall_us": 1e6 / got["per_second"], "cpu_us": (server.cpu_s() - cpu) / got["answers"] * 1e6}
    return rows


def measure(options):
    results, home = {}, options.growth_dir or tempfile.mkdtemp(prefix="tailrace-growth-")
    try:
        for items in SIZES:
            directory = os.path.join(home, str(items))
            if not os.path.exists(directory):
                say(f"  growth: loading {items:,} items")
                bench_engine(options, directory, items, 1, "-", 1024)
            say(f"  growth: {items:,} items")
            results[items] = {**bench_engine(options, directory, items, options.seconds * 2, "gqp"),
                              **requests(options, directory, items)}
    finally:
        if not options.growth_dir:
            shutil.rmtree(home, ignore_errors=True)
    return results


def print_table(results):
    print(f"\n{'cost, us of time (of processor)':<34}" + "".join(f"{items:>18,}" for items in results) + f"{'growth':>10}")
    for name, title in ROWS + REQUESTS:
        cells = [f"{got[name]['wall_us']:.2f} ({got[name]['cpu_us']:.2f})" for got in results.values()]
        print(f"{title:<34}" + "".join(f"{cell:>18}" for cell in cells) + f"{growth(results, name):>9.2f}x")


def growth(results, name):
    return results[max(results)][name]["cpu_us"] / results[min(results)][name]["cpu_us"]


def add_goals(goals, results):
    for name, title in REQUESTS:
        goals.at_most(f"{title}: cost with 10^7 items over 10^4", growth(results, name), 1.5, "x")
