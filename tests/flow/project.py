# SPDX-License-Identifier: MIT
"""Projects for the tests of the flow: a copy of an example, `tailrace dev` on it, and what it must come to."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from harness import servers
from harness.http import Closed, Dynamo

LOGS, CORE = "local-dynamodb-logs", "local-core"


def plain(value):
    (kind, inner), = value.items()
    return {"N": lambda: json.loads(inner), "M": lambda: {k: plain(v) for k, v in inner.items()}, "BOOL": lambda: inner,
            "S": lambda: inner, "NULL": lambda: None, "L": lambda: [plain(v) for v in inner]}[kind]()


def scan(client, table):
    items, start = [], None
    while True:
        answer = client.call("Scan", {"TableName": table, **({"ExclusiveStartKey": start} if start else {})})
        items += [{k: plain(v) for k, v in item.items()} for item in answer["Items"]]
        start = answer.get("LastEvaluatedKey")
        if not start:
            return items


def fold(log):
    """The read model that the users' log comes to, by the rules of the contract."""
    model = {}
    for event in sorted(log, key=lambda e: (e["pk"], e["sk"])):
        payload, key = event["payload"], f"users#{event['payload']['id']}"
        user = model.setdefault(key, {"pk": key, "sk": key, "type": "user", "id": payload["id"], "version": 0})
        if event["sk"] != user["version"] + 1:
            continue
        user["version"] = event["sk"]
        user.update({"signup": lambda: {"name": payload["name"], "email": payload["email"]},
                     "addPhoneNumber": lambda: {"phoneNumber": payload["phoneNumber"]},
                     "verifyPhoneNumber": lambda: {"verifiedPhoneNumber": True},
                     "addLocation": lambda: {"location": {"long": payload["long"], "lat": payload["lat"]}}}[event["type"]]())
    return model


def read_model(client):
    return {item["pk"]: item for item in scan(client, CORE)}


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


class Project:
    """A project directory and `tailrace dev` in it."""

    def __init__(self, binary, source, node=None, edit=None, listen=("127.0.0.1:0",)):
        self.binary, self.listen, self.process, self.client = binary, listen, None, None
        self.directory = tempfile.mkdtemp(prefix="tailrace-flow-")
        self.path = os.path.join(self.directory, "project")
        shutil.copytree(source, self.path, ignore=shutil.ignore_patterns(".tailrace", "__pycache__"))
        for name, change in (edit or {}).items():
            with open(os.path.join(self.path, name), encoding="utf-8") as f:
                text = change(f.read())
            self.write(name, text)
        self.log_path = os.path.join(self.directory, "log")
        self.environment = {**os.environ, **servers.CREDENTIALS}
        if node:
            self.environment["PATH"] = os.path.dirname(node) + os.pathsep + os.environ["PATH"]
            os.symlink(servers.MODULES, os.path.join(self.path, "node_modules"))

    def write(self, name, text):
        """At once, as editors do: whoever looks meanwhile finds what was there or what is."""
        path = os.path.join(self.path, name)
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.replace(path + ".new", path)

    def file(self, name):
        try:
            with open(os.path.join(self.path, name), encoding="utf-8") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def start(self, *arguments):
        listen = [x for address in self.listen for x in ("--listen", address)]
        before = len(self.log())
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([self.binary, "dev", *listen, *arguments], cwd=self.path, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=self.environment)
        if not wait_until(lambda: "ready; Ctrl-C" in self.log()[before:] or self.process.poll() is not None) or \
                self.process.poll() is not None:
            raise RuntimeError("tailrace dev did not start:\n" + self.log())
        self.endpoint = re.search(r"listening on (http://\S+)", self.log()[before:]).group(1)
        self.client = Dynamo(self.endpoint)
        return self

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def run(self, *arguments, text=None):
        """Another command beside it: (exit status, output)."""
        done = subprocess.run([self.binary, *arguments], cwd=self.path, input=text, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
                              env={**self.environment, "AWS_ENDPOINT_URL": self.endpoint})
        return done.returncode, done.stdout

    def is_folded(self):
        try:
            return read_model(self.client) == fold(scan(self.client, LOGS))
        except (Closed, TimeoutError):
            return False

    def stop(self):
        """The exit status."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.client:
            self.client.close()
        status, self.process = self.process.returncode, None
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
