# SPDX-License-Identifier: MIT
"""A bare HTTP/1.1 client on one keep-alive socket: fast, and able to send what a proper client would refuse to."""

import json
import socket
import time
from urllib.parse import urlsplit

TARGETS = {"dynamodb": "DynamoDB_20120810", "streams": "DynamoDBStreams_20120810", "events": "AWSEvents",
           "sqs": "AmazonSQS"}
STREAM_OPERATIONS = {"ListStreams", "DescribeStream", "GetShardIterator", "GetRecords"}


class Closed(Exception):
    """The server ended the connection before a whole answer."""


class Reply:
    __slots__ = ("status", "headers", "body")

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Connection:
    """One socket. Header names are lower-cased in replies."""

    def __init__(self, endpoint, timeout=120.0):
        parts = urlsplit(endpoint)
        self.host = parts.netloc
        self.sock = socket.create_connection((parts.hostname, parts.port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b""

    def close(self):
        self.sock.close()

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Closed(str(e)) from e

    def _more(self):
        try:
            data = self.sock.recv(262144)
        except TimeoutError as e:
            raise TimeoutError(f"no answer within {self.sock.gettimeout():g} s") from e
        except ConnectionError as e:
            raise Closed(str(e) or type(e).__name__) from e
        if not data:
            raise Closed("end of stream")
        self.pending += data

    def _line(self):
        while (at := self.pending.find(b"\r\n")) < 0:
            self._more()
        line, self.pending = self.pending[:at], self.pending[at + 2:]
        return line

    def _exactly(self, count):
        while len(self.pending) < count:
            self._more()
        data, self.pending = self.pending[:count], self.pending[count:]
        return data

    def receive(self):
        while (at := self.pending.find(b"\r\n\r\n")) < 0:
            self._more()
        head, self.pending = self.pending[:at], self.pending[at + 4:]
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        status = int(first.split(" ", 2)[1])
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self._line().split(b";")[0], 16):
                body += self._exactly(size)
                self._line()
            while self._line():
                pass
        elif "content-length" in headers:
            body = self._exactly(int(headers["content-length"]))
        elif status in (204, 304) or status < 200:
            body = b""
        else:
            try:
                while True:
                    self._more()
            except Closed:
                body, self.pending = self.pending, b""
        return Reply(status, headers, body)

    def request(self, data):
        self.send(data)
        return self.receive()


def service_of(operation):
    return "streams" if operation in STREAM_OPERATIONS else "dynamodb"


def operation_headers(operation, service=None):
    """The headers every client sends. The signature is a fixed text: servers under test do not verify it."""
    return {
        "x-amz-target": f"{TARGETS[service or service_of(operation)]}.{operation}",
        "content-type": "application/x-amz-json-1.0",
        "x-amz-date": "20260101T000000Z",
        "authorization": "AWS4-HMAC-SHA256 Credential=tailrace/20260101/us-east-1/dynamodb/aws4_request, "
                         "SignedHeaders=host;x-amz-date;x-amz-target, Signature=" + "0" * 64,
    }


def encode(method, path, host, headers, body):
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("utf-8") + body


class ServiceError(Exception):
    def __init__(self, operation, reply):
        self.status = reply.status
        try:
            body = reply.json()
            self.type = body.get("__type", "").split("#")[-1]
            self.message = body.get("message", body.get("Message", ""))
        except (ValueError, AttributeError):
            self.type, self.message = "", reply.body[:200].decode("latin-1")
        super().__init__(f"{operation}: {self.status} {self.type}: {self.message}")


IDLE_S = 10  # servers close what is idle for longer


class Dynamo:
    """Operations by name on one connection, which is made again after it broke. Not for several threads at once."""

    def __init__(self, endpoint, timeout=120.0):
        self.endpoint, self.timeout, self.connection = endpoint, timeout, None
        self.heads, self.used = {}, 0.0

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def try_call(self, operation, body, service=None):
        """The reply, whatever its status. Closed if there was none."""
        if self.connection and time.monotonic() - self.used > IDLE_S:
            self.close()
        if self.connection is None:
            self.connection = Connection(self.endpoint, self.timeout)
        head = self.heads.get(operation)
        if head is None:
            head = self.heads[operation] = operation_headers(operation, service)
        data = encode("POST", "/", self.connection.host, head, json.dumps(body).encode())
        try:
            reply = self.connection.request(data)
            self.used = time.monotonic()
            return reply
        except (Closed, TimeoutError):
            self.close()  # or the next request would read this one's answer
            raise

    def call(self, operation, body, service=None):
        """The parsed answer of a 200, else ServiceError."""
        reply = self.try_call(operation, body, service)
        if reply.status != 200:
            raise ServiceError(operation, reply)
        return reply.json() if reply.body else {}
