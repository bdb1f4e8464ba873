# SPDX-License-Identifier: MIT
"""The bus: patterns, PutEvents, from an event to its handler, replays."""

import os
import re
import subprocess

from parts.common import LOAD_CORE, SERVER_CORE, lines_of, pinned, say


def measure(options):
    say("  the bus")
    done = subprocess.run(pinned([os.path.join(options.build, "bench", "bench_pattern")]), stdout=subprocess.PIPE, text=True, check=False)
    patterns = []
    for line in done.stdout.splitlines():
        found = re.match(r"^(\S.*?)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([\d.]+)x", line)
        if found:
            patterns.append({"kind": found[1], "rules_5": int(found[2]), "rules_10": int(found[3]), "rules_100": int(found[4]),
                             "rules_10000": int(found[5]), "slower": float(found[6])})
    bus = lines_of(["taskset", "-c", f"{SERVER_CORE},{LOAD_CORE}", os.path.join(options.build, "bench", "bench_bus")])
    return {"patterns": patterns, "bus": bus}


def print_table(results):
    print(f"\n{'patterns (900-byte events/s, one core)':<40}{'5 rules':>12}{'10':>12}{'100':>12}{'10,000':>12}{'slower':>9}")
    for p in results["patterns"]:
        print(f"{p['kind']:<40}{p['rules_5']:>12,}{p['rules_10']:>12,}{p['rules_100']:>12,}{p['rules_10000']:>12,}{p['slower']:>8.2f}x")
    print("\nbus, durable, called in the process")
    for line in results["bus"]:
        value = f"{line['per_second']:,}/s" if "per_second" in line else f"{line['p50_ms']} ms, p99 {line['p99_ms']} ms"
        print(f"{line['what']:<58}{value:>30}")


def add_goals(goals, results):
    exact = next((p for p in results["patterns"] if p["kind"] == "exact"), None)
    if exact:
        goals.at_least("events/s against 5 exact rules, one core", exact["rules_5"] / 1000, 500, "k")
        goals.at_most("10,000 exact rules, slower than 10", exact["rules_10"] / exact["rules_10000"], 2, "x")
