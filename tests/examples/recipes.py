# SPDX-License-Identifier: MIT
"""The examples that keep replicas and positions: examples/local_replica.c, state_persistence.c, browser_replica."""

import http.server
import json
import os
import subprocess
import tempfile
import threading

from harness import servers
from harness.http import Dynamo

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PATIENCE_S = 300


def create(db, table):
    db.call("CreateTable", {
        "TableName": table, "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}})


def put(db, table, i, value):
    db.call("PutItem", {"TableName": table, "Item": {"pk": {"S": f"k{i}"}, "v": {"N": str(value)}}})


def take_away(db, table, i):
    db.call("DeleteItem", {"TableName": table, "Key": {"pk": {"S": f"k{i}"}}})


def contents(db, table):
    return {i["pk"]["S"]: int(i["v"]["N"]) for i in db.call("Scan", {"TableName": table})["Items"]}


def start(command, env):
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_copy(child):
    """The next copy that local_replica prints."""
    head = child.stdout.readline().split()
    return dict((i["pk"], i["v"]) for i in (json.loads(child.stdout.readline()) for _ in range(int(head[1]))))


def local_replica(tally, endpoint, env):
    db, table = Dynamo(endpoint), "recipe-one"
    create(db, table)
    for i in range(40):
        put(db, table, i, i)
    child = start(["local_replica", endpoint, table, "pk"], env)
    watchdog = threading.Timer(PATIENCE_S, child.kill)
    watchdog.start()
    try:
        tally.check("local_replica: the first copy", read_copy(child) == contents(db, table))
        for i in range(10):
            put(db, table, i, 1000 + i)
            take_away(db, table, 20 + i)
        want, copies = contents(db, table), []
        while not copies or copies[-1] != want:
            copies.append(read_copy(child))
        tally.check("local_replica: follows changes and deletions", copies[-1] == want, str(copies[-1]))
    except (IndexError, ValueError) as e:
        tally.check("local_replica", False, f"{e} {child.stderr.read()}")
    finally:
        watchdog.cancel()
        child.kill()
        child.communicate()


def state_persistence(tally, endpoint, env, work):
    db, table, state = Dynamo(endpoint), "recipe-two", os.path.join(work, "state.json")
    create(db, table)
    printed = []

    def run(polls):
        child = start(["state_persistence", endpoint, table, state, str(polls)], env)
        out, err = child.communicate(timeout=PATIENCE_S)
        tally.check("state_persistence ends well", child.returncode == 0, err)
        return [(c["keys"]["pk"], c.get("new", {}).get("v")) for c in map(json.loads, out.splitlines())]

    for i in range(20):
        put(db, table, i, i)
    printed += run(3)
    tally.check("state_persistence: from the stream's beginning", sorted(printed) == sorted((f"k{i}", i) for i in range(20)),
                str(printed))
    for i in range(20, 30):
        put(db, table, i, i)
    take_away(db, table, 0)
    second = run(3)
    tally.check("state_persistence: then only what is new",
                sorted(second, key=str) == sorted([(f"k{i}", i) for i in range(20, 30)] + [("k0", None)], key=str),
                str(second))
    child = start(["state_persistence", endpoint, table, state], env)
    put(db, table, 50, 50)
    line = child.stdout.readline()
    child.kill()  # perhaps before the state was saved
    child.communicate()
    put(db, table, 51, 51)
    third = run(3)
    tally.check("state_persistence: killed, it misses nothing", '"k50"' in line and ("k51", 51) in third and
                set(third) <= {("k50", 50), ("k51", 51)}, f"{line} {third}")
    tally.check("state_persistence: and does not begin anew", run(2) == [])


class Quiet(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments):
        super().__init__(*arguments, directory=os.path.join(ROOT, "examples", "browser_replica"))

    def log_message(self, *_):
        pass


def browser_replica(tally, binary, env):
    """The page in Debian's Chromium, driven by browser.mjs; and the same stream by curl."""
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    site.daemon_threads = True
    threading.Thread(target=site.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{site.server_address[1]}"
    port = servers.free_port()  # the page goes on there
    server = servers.Tailrace(binary, durable=True, arguments=["--cors", origin, "--stream-shards", "2"], port=port)
    with server:
        db, table = Dynamo(server.endpoint), "recipe-three"
        create(db, table)
        for i in range(30):
            put(db, table, i, i)
        curl, seen = start(["curl", "-sN", "--max-time", str(PATIENCE_S),
                            f"{server.endpoint}/streams/{table}/events?from=trim-horizon"], env), []
        while len(seen) < 30 and (line := curl.stdout.readline()):
            if line.startswith("data: "):
                seen.append(json.loads(line[6:])["keys"]["pk"])
        curl.kill()
        curl.communicate()
        tally.check("curl reads the events", seen == [f"k{i}" for i in range(30)], str(seen))
        node = subprocess.run([os.path.join(ROOT, "tests", "compat", "setup.sh")], stdout=subprocess.PIPE, text=True,
                              check=True).stdout.strip()
        child = subprocess.Popen([node, os.path.join(HERE, "browser.mjs"), f"{origin}/?table={table}&endpoint={server.endpoint}"],
                                 env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        watchdog = threading.Timer(PATIENCE_S, child.kill)
        watchdog.start()

        def shown(want, what):
            """Has the page show what the table holds."""
            child.stdin.write(json.dumps(want) + "\n")
            child.stdin.flush()
            answer = child.stdout.readline()
            tally.check(f"browser_replica: {what}", answer == "equal\n", answer + ("" if answer else child.stderr.read()))

        try:
            shown(contents(db, table), "the page shows the table")
            for i in range(5):
                put(db, table, i, 1000 + i)
                take_away(db, table, 10 + i)
            put(db, table, 100, 100)
            shown(contents(db, table), "it shows changes and deletions")
            server.kill()
            server.start()
            again = Dynamo(server.endpoint)
            take_away(again, table, 20)
            put(again, table, 21, 2100)
            shown(contents(again, table), "it goes on after the server was killed")
        finally:
            watchdog.cancel()
            child.stdin.close()
            child.wait(PATIENCE_S)
    site.shutdown()
    site.server_close()


def run(tally, binary, env):
    with servers.Tailrace(binary, arguments=["--stream-shards", "2"]) as server, \
            tempfile.TemporaryDirectory(prefix="tailrace-recipes-") as work:
        local_replica(tally, server.endpoint, env)
        state_persistence(tally, server.endpoint, env, work)
    browser_replica(tally, binary, env)
