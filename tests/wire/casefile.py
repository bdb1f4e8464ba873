# SPDX-License-Identifier: MIT
"""Reads .wire files: cases made of requests and the answers they must get. tests/wire/README.md tells the format."""

import re


class Step:
    """kind: op (an operation with a JSON body), http (any request), bytes (sent as written),
    more (nothing: reads the next answer), records (everything in a stream), cut, wait."""

    def __init__(self, kind, argument, line):
        self.kind, self.argument, self.line = kind, argument, line
        self.path = None
        self.lines = []       # what stands below `>`: headers and body
        self.expected = None  # an Expectation, None for cut and wait
        self.repeat = 0       # how often to try again until the answer fits, a tenth of a second apart


class Expectation:
    def __init__(self, statuses, line):
        self.statuses, self.line = statuses, line
        self.headers = []
        self.body = None   # text, None where it is not compared
        self.flags = {}    # kind of server: why its answer may differ
        self.filled = True


class Case:
    def __init__(self, title, line):
        self.title, self.line = title, line
        self.steps, self.flags, self.only = [], {}, None


class WireFile:
    def __init__(self, path):
        self.path = path
        self.setup, self.cases, self.flags = None, [], {}


class FormatError(Exception):
    pass


HEADER = re.compile(r"^[a-z0-9-]+: ?")


def flags_of(text):
    """"local: why ! dynoxide: why" -> {"local": "why", "dynoxide": "why"}"""
    flags = {}
    for part in text.split(" ! "):
        kind, _, why = part.partition(":")
        if not why.strip():
            raise FormatError("a deviation needs its reason: ! local: why")
        flags[kind.strip()] = why.strip()
    return flags


def parse(path):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    wire, case, into = WireFile(path), None, None
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.startswith("=== "):
                case, into = Case(line[4:].strip(), number), None
                if case.title == "setup":
                    wire.setup = case
                else:
                    wire.cases.append(case)
            elif line.startswith("! ") and case is None:
                wire.flags.update(flags_of(line[2:]))
            elif line.startswith("#") or case is None:
                if line.strip() and not line.startswith("#"):
                    raise FormatError("text before the first case")
            elif line.startswith("! "):
                case.flags.update(flags_of(line[2:]))
            elif line.startswith("only "):
                case.only = line[5:].split()
            elif line.startswith("> "):
                kind, _, argument = line[2:].partition(" ")
                if kind not in ("http", "bytes", "more", "records", "cut", "wait"):
                    kind, argument = "op", line[2:].strip()
                into = Step(kind, argument.strip(), number)
                case.steps.append(into)
            elif line.startswith("<"):
                step = case.steps[-1]
                words, _, flag = line[1:].partition("!")
                statuses, _, again = words.strip().partition(" within ")
                step.expected = into = Expectation(statuses.strip().split("|"), number)
                into.filled = bool(statuses.strip())
                step.repeat = int(float(again.rstrip("s")) * 10) if again else 0
                into.flags = flags_of(flag) if flag.strip() else {}
            elif isinstance(into, Expectation):
                if into.body is None and HEADER.match(line):
                    into.headers.append(line)
                elif line.strip() or into.body:
                    into.body = (into.body or "") + line + "\n"
            elif isinstance(into, Step):
                into.lines.append(line)
            elif line.strip():
                raise FormatError("neither a step nor part of one")
        except (FormatError, IndexError) as e:
            raise FormatError(f"{path}:{number}: {e}") from e
    for case in wire.cases + ([wire.setup] if wire.setup else []):
        case.flags = {**wire.flags, **case.flags}
        for step in case.steps:
            step.path = path
            while step.lines and not step.lines[-1].strip():
                step.lines.pop()
            if step.expected is None and step.kind not in ("cut", "wait"):
                raise FormatError(f"{path}:{step.line}: a request without its expected answer")
    return wire
