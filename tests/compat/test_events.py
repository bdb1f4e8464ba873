# SPDX-License-Identifier: MIT
"""EventBridge through boto3 and the AWS CLI: rules, targets, archives and replays as programs use them."""

import http.server
import json
import os
import subprocess
import threading
import time
import unittest
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT, KIND = os.environ["COMPAT_ENDPOINT"], os.environ["COMPAT_KIND"]


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.events.append(json.loads(body))
        self.send_response(503 if len(self.server.events) <= self.server.failures else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@unittest.skipUnless(KIND == "tailrace", "only tailrace serves EventBridge")
class Events(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.events = boto3.client("events", endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id="tailrace",
                                  aws_secret_access_key="tailrace", config=Config(retries={"max_attempts": 1}))

    @classmethod
    def tearDownClass(cls):
        cls.events.close()

    def bus(self):
        name = "b" + uuid.uuid4().hex[:12]
        arn = self.events.create_event_bus(Name=name, Tags=[{"Key": "k", "Value": "v"}])["EventBusArn"]
        return name, arn

    def hook(self, failures=0):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        server.events, server.failures = [], failures
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server, f"http://127.0.0.1:{server.server_port}/"

    def wait(self, condition, seconds=120):
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            time.sleep(0.02)
        self.assertTrue(condition())

    def put(self, bus, detail, source="shop"):
        answer = self.events.put_events(Entries=[
            {"EventBusName": bus, "Source": source, "DetailType": "t", "Detail": json.dumps(detail)}])
        self.assertEqual(answer["FailedEntryCount"], 0)
        return answer["Entries"][0]["EventId"]

    def test_delivered_with_retry(self):
        bus, _ = self.bus()
        server, url = self.hook(failures=1)
        self.events.put_rule(Name="r", EventBusName=bus, EventPattern=json.dumps({"detail": {"n": [{"numeric": [">", 1]}]}}))
        self.events.put_targets(Rule="r", EventBusName=bus, Targets=[{"Id": "1", "Arn": url}])
        self.put(bus, {"n": 1})
        sent = self.put(bus, {"n": 2})
        self.wait(lambda: len(server.events) == 2)
        self.assertEqual([e["id"] for e in server.events], [sent, sent])
        self.assertEqual(server.events[0]["detail"], {"n": 2})

    def test_configuration(self):
        bus, arn = self.bus()
        self.assertEqual(self.events.list_tags_for_resource(ResourceARN=arn)["Tags"], [{"Key": "k", "Value": "v"}])
        self.assertIn(bus, [b["Name"] for b in self.events.list_event_buses(NamePrefix=bus)["EventBuses"]])
        for n in range(5):
            self.events.put_rule(Name=f"r{n}", EventBusName=bus, EventPattern='{"source":["s"]}', State="DISABLED")
        page = self.events.list_rules(EventBusName=bus, Limit=3)
        rest = self.events.list_rules(EventBusName=bus, NextToken=page["NextToken"])
        self.assertEqual([r["Name"] for r in page["Rules"] + rest["Rules"]], [f"r{n}" for n in range(5)])
        self.assertNotIn("NextToken", rest)
        self.events.enable_rule(Name="r1", EventBusName=bus)
        self.assertEqual(self.events.describe_rule(Name="r1", EventBusName=bus)["State"], "ENABLED")
        self.events.put_targets(Rule="r1", EventBusName=bus, Targets=[{"Id": "1", "Arn": arn}])
        self.assertEqual(self.events.list_rule_names_by_target(TargetArn=arn, EventBusName=bus)["RuleNames"], ["r1"])
        with self.assertRaises(ClientError) as caught:
            self.events.put_targets(Rule="r1", EventBusName=bus, Targets=[{"Id": str(n), "Arn": arn} for n in range(2, 8)])
        self.assertEqual(caught.exception.response["Error"]["Code"], "LimitExceededException")
        with self.assertRaises(self.events.exceptions.InvalidEventPatternException):
            self.events.put_rule(Name="bad", EventBusName=bus, EventPattern='{"source":"s"}')
        self.events.remove_targets(Rule="r1", EventBusName=bus, Ids=["1"])
        self.events.delete_rule(Name="r1", EventBusName=bus)
        with self.assertRaises(self.events.exceptions.ResourceNotFoundException):
            self.events.describe_rule(Name="r1", EventBusName=bus)
        self.events.delete_event_bus(Name=bus)
        with self.assertRaises(self.events.exceptions.ResourceNotFoundException):
            self.events.describe_event_bus(Name=bus)

    def test_archive_and_replay(self):
        bus, arn = self.bus()
        name = "a" + bus
        archive = self.events.create_archive(ArchiveName=name, EventSourceArn=arn)
        for n in range(3):
            self.put(bus, {"n": n})
        self.assertEqual(self.events.describe_archive(ArchiveName=name)["EventCount"], 3)
        server, url = self.hook()
        self.events.put_rule(Name="r", EventBusName=bus, EventPattern='{"source":["shop"]}')
        self.events.put_targets(Rule="r", EventBusName=bus, Targets=[{"Id": "1", "Arn": url}])
        now = time.time()
        self.events.start_replay(ReplayName="p" + bus, EventSourceArn=archive["ArchiveArn"], EventStartTime=now - 3600,
                                 EventEndTime=now + 3600, Destination={"Arn": arn})
        self.wait(lambda: len(server.events) == 3)
        self.assertEqual({e["replay-name"] for e in server.events}, {"p" + bus})
        self.wait(lambda: self.events.describe_replay(ReplayName="p" + bus)["State"] == "COMPLETED")
        self.assertEqual(self.events.describe_archive(ArchiveName=name)["EventCount"], 3)

    def test_command_line(self):
        bus, _ = self.bus()
        entries = json.dumps([{"EventBusName": bus, "Source": "shop", "DetailType": "t", "Detail": "{}"}])
        done = subprocess.run(["/usr/bin/aws", "events", "put-events", "--endpoint-url", ENDPOINT, "--region", "us-east-1",
                               "--output", "json", "--entries", entries], stdout=subprocess.PIPE, text=True, check=True,
                              env={**os.environ, "AWS_PAGER": ""})
        self.assertEqual(json.loads(done.stdout)["FailedEntryCount"], 0)


if __name__ == "__main__":
    unittest.main()
