# SPDX-License-Identifier: MIT
"""Compares an answer with what a case expects. Wildcards are strings: tests/wire/README.md lists them."""

import re
import zlib

UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.I)
# Members whose order means nothing.
UNORDERED = {"SS", "NS", "BS", "AttributeDefinitions", "GlobalSecondaryIndexes", "LocalSecondaryIndexes",
             "NonKeyAttributes", "Tags"}
# The service puts this before many messages of PutItem and UpdateItem, and did not always.
ENVELOPE = "1 validation error detected: "
STATES = {"CREATING", "ACTIVE", "UPDATING", "DELETING"}


def show(value):
    text = repr(value)
    return text if len(text) <= 300 else text[:300] + "…"


def scalar(expected, actual, names):
    """A wildcard against a value: None if it fits, else what is wrong. False if `expected` is no wildcard."""
    if not isinstance(expected, str) or not expected.startswith("$"):
        return False
    word, _, rest = expected[1:].partition(":")
    if word == "any":
        ok = True
    elif word == "string":
        ok = isinstance(actual, str) and actual != ""
    elif word in ("number", "time"):
        ok = isinstance(actual, (int, float)) and not isinstance(actual, bool)
        ok = ok and (word == "number" or 1_500_000_000 < actual < 5_000_000_000)
    elif word == "bool":
        ok = isinstance(actual, bool)
    elif word == "state":  # of a table, index or stream that may change at once or soon
        ok = actual in STATES
    elif word == "uuid":
        ok = isinstance(actual, str) and UUID.match(actual) is not None
    elif word == "sequence":
        ok = isinstance(actual, str) and re.fullmatch(r"\d{21,40}", actual) is not None
    elif word == "re":
        ok = isinstance(actual, str) and re.search(rest, actual, re.S) is not None
    elif word == "error":  # an error's __type, whatever namespace stands before the #
        ok = isinstance(actual, str) and actual.split("#")[-1] == rest and "#" in actual
    elif word == "capture":
        ok = isinstance(actual, (str, int, float))
        if ok:
            names[rest] = str(actual)
    elif word == "literal":  # for a text that itself begins with $
        ok = actual == rest
    else:
        raise ValueError(f"unknown wildcard {expected!r}")
    return None if ok else f"{show(actual)} is not {expected}"


def unordered(expected, actual, names, path, apart):
    if not isinstance(actual, list) or len(actual) != len(expected):
        return [f"{path}: {show(actual)} has not {len(expected)} elements"]
    left = list(actual)
    for e in expected:
        found = next((i for i, a in enumerate(left) if not differences(e, a, names, path, apart=apart)), None)
        if found is None:
            return [f"{path}: no {show(e)} in {show(left)}"]
        left.pop(found)
    return []


def differences(expected, actual, names, path="", in_set=False, apart=frozenset()):
    """Lines that tell where `actual` is not as expected; empty if it is. Members named in `apart` are not compared."""
    verdict = scalar(expected, actual, names)
    if verdict is not False:
        return [f"{path}: {verdict}"] if verdict else []
    if isinstance(expected, dict) and "$unordered" in expected:
        return unordered(expected["$unordered"], actual, names, path, apart)
    if isinstance(expected, dict):
        if not isinstance(actual, dict):
            return [f"{path}: {show(actual)} is not an object"]
        out = []
        for key, value in expected.items():
            if key == "$more" or key in apart:
                continue
            at = f"{path}.{key}" if path else key
            if value == "$maybe":
                continue
            if value == "$absent":
                out += [f"{at} is there: {show(actual[key])}"] if key in actual else []
            elif key not in actual:
                out.append(f"{at} is missing")
            else:
                out += differences(value, actual[key], names, at, key in UNORDERED, apart)
        if "$more" not in expected:
            out += [f"{path}.{key}".lstrip(".") + f" is not expected: {show(value)}"
                    for key, value in actual.items() if key not in expected and key not in apart]
        return out
    if isinstance(expected, list):
        if in_set:
            return unordered(expected, actual, names, path, apart)
        if not isinstance(actual, list):
            return [f"{path}: {show(actual)} is not a list"]
        out = [d for i, (e, a) in enumerate(zip(expected, actual)) for d in differences(e, a, names, f"{path}[{i}]", apart=apart)]
        if len(expected) != len(actual):
            out.append(f"{path}: {len(actual)} elements, not {len(expected)}: {show(actual)}")
        return out
    if path == "message" and isinstance(actual, str) and actual == ENVELOPE + str(expected):
        return []
    if isinstance(expected, bool) != isinstance(actual, bool) or expected != actual:
        return [f"{path}: {show(actual)}, not {show(expected)}"]
    return []


def header_differences(lines, reply, names):
    out = []
    for line in lines:
        name, _, expected = line.partition(":")
        expected = expected.strip()
        actual = reply.headers.get(name)
        if expected == "$absent":
            if actual is not None:
                out.append(f"header {name} is there: {actual}")
        elif actual is None:
            out.append(f"header {name} is missing")
        elif expected == "$crc32":
            if actual != str(zlib.crc32(reply.body)):
                out.append(f"header {name}: {actual} is not the body's CRC-32, {zlib.crc32(reply.body)}")
        else:
            verdict = scalar(expected, actual, names)
            if verdict:
                out.append(f"header {name}: {verdict}")
            elif verdict is False and actual != expected:
                out.append(f"header {name}: {actual}, not {expected}")
    return out
