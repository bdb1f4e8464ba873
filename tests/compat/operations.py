#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The table of operations in docs/compatibility.md: every operation and parameter of the API's models, and its state in this server.

    tests/compat/operations.py BUILD [--write]

The models are the union of Debian's botocore and of the pinned npm SDK's types, where tests/compat/node_modules (or COMPAT_MODULES) has
them; without the SDK, what the table holds already stands for it. The state comes from the server's own tables (BUILD/tests/operations).
Without --write the table is compared; a difference fails.
"""

import glob
import gzip
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = os.path.join(os.path.dirname(os.path.dirname(HERE)), "docs", "compatibility.md")
BEGIN, END = "<!-- operations: begin -->\n", "<!-- operations: end -->\n"
STATES = {"answered": "answered", "unused": "as for an account that does not use it", "refused": "refused"}


def botocore(service):
    import botocore  # Debian's
    folder = os.path.join(os.path.dirname(botocore.__file__), "data", service)
    path = sorted(glob.glob(os.path.join(folder, "*", "service-2.json*")))[-1]
    with (gzip.open if path.endswith(".gz") else open)(path) as file:
        model = json.load(file)
    return {name: set(model["shapes"][o["input"]["shape"]].get("members", {})) if "input" in o else set()
            for name, o in model["operations"].items()}


def sdk(package):
    modules = os.environ.get("COMPAT_MODULES") or os.path.join(HERE, "node_modules")
    types = os.path.join(modules, "@aws-sdk", package, "dist-types")
    if not os.path.isdir(types):
        return None
    models = ""
    for path in sorted(glob.glob(os.path.join(types, "models", "models_*.d.ts"))):
        with open(path, encoding="utf-8") as file:
            models += file.read()
    operations = {}
    for path in glob.glob(os.path.join(types, "commands", "*Command.d.ts")):
        name = os.path.basename(path)[:-len("Command.d.ts")]
        with open(path, encoding="utf-8") as file:
            found = re.search(r"CommandInput extends (\w+)", file.read())
        body = found and re.search(r"export interface " + found.group(1) + r" \{\n(.*?)^\}", models, re.S | re.M)
        operations[name] = set(re.findall(r"^    (\w+)\??:", body.group(1), re.M)) if body else set()
    return operations


def in_page(text):
    """What the table holds now."""
    operations = {}
    for row in re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", text, re.M):
        operations[row[0]] = set(re.findall(r"\w+", " ".join(row[1:]).replace("–", "")))
    return operations


def server(build):
    done = subprocess.run([os.path.join(build, "tests", "operations")], stdout=subprocess.PIPE, text=True, check=True)
    operations = {}
    for line in done.stdout.splitlines():
        service, name, state, *parameters = line.split()
        operations[service, name] = state, parameters
    return operations


def table(build, text):
    ours = server(build)
    rows, unknown = [], []
    for service, data, package in (("dynamodb", "dynamodb", "client-dynamodb"),
                                   ("streams", "dynamodbstreams", "client-dynamodb-streams")):
        model = botocore(data)
        newer = sdk(package)
        if newer is None:
            known = in_page(text)
            newer = {name: known[name] for name in known if name in model or (service, name) in ours}
        for name, parameters in newer.items():
            model.setdefault(name, set()).update(parameters)
        for name in sorted(model):
            state, read = ours.get((service, name), ("missing", []))
            not_there = {r[1:] for r in read if r[0] == "!"}
            taken = model[name] & set(read)
            if state == "refused":
                taken, not_there = set(), model[name]
            columns = taken, model[name] & not_there, model[name] - taken - not_there
            lists = (", ".join(sorted(names)) or "–" for names in columns)
            rows.append(f"| `{name}` | {STATES.get(state, '**missing**')} | {' | '.join(lists)} |")
        unknown += [name for s, name in ours if s == service and name not in model]
    if unknown:
        sys.exit("the server has operations that no model has: " + ", ".join(unknown))
    return "\n".join(["| operation | state | parameters read | refused | passed over |", "|---|---|---|---|---|", *rows]) + "\n"


def main():
    build, write = sys.argv[1], "--write" in sys.argv[2:]
    with open(PAGE, encoding="utf-8") as file:
        text = file.read()
    if BEGIN not in text or END not in text:
        sys.exit(f"{PAGE} has no place for the table")
    head, rest = text.split(BEGIN)
    old, tail = rest.split(END)
    new = table(build, text)
    if write:
        with open(PAGE, "w", encoding="utf-8") as file:
            file.write(head + BEGIN + new + END + tail)
        return
    wrong = sorted(set(old.splitlines()) ^ set(new.splitlines()))
    for line in wrong:
        print(line)
    print(f"{len(new.splitlines()) - 2 if not wrong else 0} passed, {1 if wrong else 0} failed")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
