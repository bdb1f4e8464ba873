# SPDX-License-Identifier: MIT
"""A proxy in front of a server that keeps what passes, and can lose answers."""

import json
import threading
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


class Recorded:
    def __init__(self, operation, body):
        self.operation, self.body = operation, body

    def json(self):
        return json.loads(self.body)


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # with the usual 5, connections that come together are put off by a second


class Proxy:
    """Use as a context manager; `endpoint` is where to send requests. take() gives and forgets what was recorded."""

    def __init__(self, target):
        self.target = urlsplit(target)
        self.lock = threading.Lock()
        self.recorded = []
        self.lose = {}  # operation -> how many of the next answers are lost
        self.spoil = None  # called with the operation: "lose" (the answer), "drop" (the request), "throttle" or None
        self.keep = True  # whether what passes is kept

    def __enter__(self):
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def do_POST(self):
                proxy.handle(self)

        self.server = Listener(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def take(self):
        with self.lock:
            taken, self.recorded = self.recorded, []
        return taken

    def handle(self, request):
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        operation = request.headers.get("x-amz-target", "").partition(".")[2]
        with self.lock:
            if self.keep:
                self.recorded.append(Recorded(operation, body))
            lost = self.lose.get(operation, 0) > 0
            if lost:
                self.lose[operation] -= 1
        what = "lose" if lost else self.spoil(operation) if self.spoil else None
        if what == "throttle":
            self.answer(request, 400, [("Content-Type", "application/x-amz-json-1.0")],
                        b'{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slow down"}')
            return
        try:
            status, headers, reply = self.forward(request, body) if what != "drop" else (0, [], b"")
        except (OSError, HTTPException):
            what = "lose"
        if what in ("lose", "drop"):
            request.close_connection = True
            return
        self.answer(request, status, headers, reply)

    def forward(self, request, body):
        # a connection per request: who loses one loses no other
        there = HTTPConnection(self.target.hostname, self.target.port, timeout=120)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP}
        there.request("POST", request.path, body, {**headers, "Host": f"{self.target.hostname}:{self.target.port}"})
        reply = there.getresponse()
        data = reply.read()
        there.close()
        return reply.status, [(k, v) for k, v in reply.getheaders() if k.lower() not in HOP], data

    @staticmethod
    def answer(request, status, headers, body):
        try:
            request.send_response_only(status)
            for name, value in headers:
                request.send_header(name, value)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
        except OSError:
            request.close_connection = True
