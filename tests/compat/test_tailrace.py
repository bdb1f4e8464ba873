# SPDX-License-Identifier: MIT
"""tailrace's own consumers against the server under test: what `tail` prints and `replicate` keeps is what boto3 sees."""

import base64
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest
import uuid

import boto3
from botocore.config import Config

ENDPOINT, BINARY = os.environ["COMPAT_ENDPOINT"], os.environ["COMPAT_BINARY"]
OURS = os.environ.get("COMPAT_KIND", "tailrace") == "tailrace"


def connect():
    return boto3.client("dynamodb", endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id="tailrace",
                        aws_secret_access_key="tailrace", config=Config(retries={"max_attempts": 1}))


def plain(value):
    """An attribute value as plain JSON, numbers as their text."""
    (kind, v), = value.items()
    if kind == "L":
        return [plain(e) for e in v]
    if kind == "M":
        return {k: plain(e) for k, e in v.items()}
    if kind == "NS":
        return sorted(v)
    if kind == "SS":
        return sorted(v)
    if kind == "B":
        return base64.b64encode(v).decode()
    if kind == "BS":
        return sorted(base64.b64encode(e).decode() for e in v)
    return None if kind == "NULL" else v


def read_plain(text):
    return json.loads(text, parse_int=str, parse_float=str)


def sort_sets(value, shape):
    """Sets come in an order of ours in plain JSON: as `shape`, the service's value, says which lists are sets."""
    (kind, v), = shape.items()
    if kind in ("NS", "SS", "BS"):
        return sorted(value)
    if kind == "L":
        return [sort_sets(a, b) for a, b in zip(value, v)]
    if kind == "M":
        return {k: sort_sets(a, v[k]) for k, a in value.items()}
    return value


class Tailrace(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.db = connect()

    @classmethod
    def tearDownClass(cls):
        cls.db.close()

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="tailrace-compat-")
        self.addCleanup(shutil.rmtree, self.directory, True)

    def make(self, name, view):
        self.db.create_table(
            TableName=name, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": view})

    def table(self, view="NEW_AND_OLD_IMAGES"):
        name = "t" + uuid.uuid4().hex[:16]
        self.make(name, view)
        self.db.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 180})
        self.addCleanup(self.quietly_delete, name)
        return name

    def quietly_delete(self, name):
        try:
            self.db.delete_table(TableName=name)
        except self.db.exceptions.ResourceNotFoundException:
            pass

    def put(self, table, pk, **attributes):
        self.db.put_item(TableName=table, Item={"pk": {"S": pk}, **attributes})

    def start(self, *arguments):
        return subprocess.Popen([BINARY, *arguments, "--endpoint", ENDPOINT], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, cwd=self.directory,
                                env={**os.environ, "XDG_STATE_HOME": self.directory})

    def run_once(self, *arguments, status=0):
        child = self.start(*arguments)
        out, err = child.communicate(timeout=300)
        self.assertEqual(child.returncode, status, err)
        return out

    def lines(self, *arguments):
        return [read_plain(line) for line in self.run_once("tail", *arguments, "--once").splitlines()]

    def test_tail_prints_every_change(self):
        began, table = time.time(), self.table()
        self.put(table, "a", n={"N": "1.50"}, b={"B": b"\x00"}, s={"NS": ["2", "1"]})
        self.put(table, "a", n={"N": "2"})
        self.db.delete_item(TableName=table, Key={"pk": {"S": "a"}})
        found = self.lines(table, "--from", "trim-horizon")
        self.assertEqual([f["event"] for f in found], ["insert", "modify", "remove"])
        first = {"pk": "a", "n": "1.5", "b": "AA==", "s": ["1", "2"]}
        self.assertEqual(found[0]["new"], first)
        self.assertNotIn("old", found[0])
        self.assertEqual((found[1]["old"], found[1]["new"]), (first, {"pk": "a", "n": "2"}))
        self.assertEqual(found[2]["old"], {"pk": "a", "n": "2"})
        self.assertNotIn("new", found[2])
        for f in found:
            self.assertEqual(f["keys"], {"pk": "a"})
            self.assertRegex(f["sequence_number"], r"^\d{21,40}$")
            self.assertFalse(f["expired"])
            self.assertGreater(float(f["time"]), began - 120)
            self.assertLess(float(f["time"]), time.time() + 120)

    def test_tail_goes_on_where_it_ended(self):
        table = self.table()
        for i in range(10):
            self.put(table, f"k{i}")
        first = self.lines(table, "--from", "trim-horizon")
        self.assertEqual(len(first), 10)
        for i in range(10, 15):
            self.put(table, f"k{i}")
        second = self.lines(table)
        self.assertEqual(sorted(f["keys"]["pk"] for f in second), [f"k{i}" for i in range(10, 15)])
        self.assertEqual(self.lines(table), [])

    def make_again(self, table):
        self.db.delete_table(TableName=table)
        self.db.get_waiter("table_not_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 180})
        self.make(table, "KEYS_ONLY")

    def switch_stream(self, table):
        self.db.update_table(TableName=table, StreamSpecification={"StreamEnabled": False})
        self.db.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 180})
        self.db.update_table(TableName=table,
                             StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
        self.db.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 180})

    @unittest.skipUnless(OURS, "elsewhere some seconds go by before a stream is believed to be over")
    def test_tail_goes_on_in_the_stream_that_came_meanwhile(self):
        table = self.table()
        self.put(table, "before")
        self.assertEqual(len(self.lines(table, "--from", "trim-horizon")), 1)
        for n in range(2):  # the second time, the position was found in another stream than it began in
            self.put(table, f"last{n}")
            self.switch_stream(table)
            self.put(table, f"first{n}")
            self.assertEqual([f["keys"]["pk"] for f in self.lines(table)], [f"last{n}", f"first{n}"])
        self.put(table, "after")
        self.assertEqual([f["keys"]["pk"] for f in self.lines(table)], ["after"])

    @unittest.skipUnless(OURS, "elsewhere some seconds go by before a stream is believed to be over")
    def test_a_table_that_was_made_again_is_another_one_but_to_a_named_position(self):
        table = self.table()
        named = ("--state", os.path.join(self.directory, "position"))
        self.put(table, "before")
        for more in ((), named):
            self.assertEqual(len(self.lines(table, "--from", "trim-horizon", *more)), 1)
        self.make_again(table)
        self.put(table, "after")
        self.assertEqual(self.lines(table), [])
        self.assertEqual([f["keys"]["pk"] for f in self.lines(table, *named)], ["after"])

    @unittest.skipUnless(OURS, "elsewhere some seconds go by before a stream is believed to be over")
    def test_who_follows_into_a_table_that_is_made_again_goes_on_there(self):
        table = self.table()
        self.put(table, "before")
        child = self.start("tail", table, "--from", "trim-horizon")
        self.addCleanup(child.stderr.close)
        self.addCleanup(child.stdout.close)
        try:
            self.assertIn('"before"', child.stdout.readline())
            self.make_again(table)
            self.put(table, "after")
            self.assertIn('"after"', child.stdout.readline())
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(20)
        self.put(table, "meanwhile")
        self.assertEqual([f["keys"]["pk"] for f in self.lines(table)], ["meanwhile"])
        self.assertEqual(self.lines(table), [])

    def test_tail_refuses_what_is_no_whole_position(self):
        table = self.table()
        path = os.path.join(self.directory, "position")
        self.put(table, "a")
        self.lines(table, "--from", "trim-horizon", "--state", path)
        with open(path, encoding="utf-8") as f:
            whole = f.read()
        self.put(table, "b")
        for text in ("", whole[:len(whole) // 2], "[]", "\0" * len(whole)):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            self.run_once("tail", table, "--once", "--state", path, status=2)
            with open(path, encoding="utf-8") as f:
                self.assertEqual(f.read(), text)
        with open(path, "w", encoding="utf-8") as f:
            f.write(whole)
        self.assertEqual([f["keys"]["pk"] for f in self.lines(table, "--state", path)], ["b"])

    def test_a_position_in_use_is_not_taken_away(self):
        table = self.table()
        path = os.path.join(self.directory, "position")
        self.put(table, "a")
        self.lines(table, "--from", "trim-horizon", "--state", path)
        child = self.start("tail", table, "--state", path)
        self.addCleanup(child.stderr.close)
        self.addCleanup(child.stdout.close)
        try:
            self.put(table, "b")
            self.assertIn('"b"', child.stdout.readline())
            self.run_once("tail", table, "--once", "--from", "latest", "--state", path, status=4)
            self.assertTrue(os.path.exists(path))
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(180)

    def test_tail_follows(self):
        table = self.table()
        child = self.start("tail", table, "--from", "trim-horizon")
        self.addCleanup(child.stderr.close)
        self.addCleanup(child.stdout.close)
        try:
            for i in range(5):
                self.put(table, "a", n={"N": str(i)})
                line = read_plain(child.stdout.readline())
                self.assertEqual(line["new"]["n"], str(i))
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(180)

    def test_tail_of_a_table_that_is_not_there(self):
        child = self.start("tail", "not-there-" + uuid.uuid4().hex, "--once")
        _, err = child.communicate(timeout=300)
        self.assertEqual(child.returncode, 3, err)
        self.assertIn("not-there-", err)

    def test_replicate_a_table_that_changes_meanwhile(self):
        table, chance = self.table(), random.Random(1)
        for i in range(300):
            self.put(table, f"k{i:03}", n={"N": str(i)})
        stop = threading.Event()

        def write():
            db, i = connect(), 0
            while not stop.is_set():
                i += 1
                pk = {"S": f"k{chance.randrange(400):03}"}
                if chance.random() < 0.3:
                    db.delete_item(TableName=table, Key={"pk": pk})
                else:
                    db.put_item(TableName=table, Item={"pk": pk, "n": {"N": str(i)}, "l": {"L": [{"S": "x"}, {"NULL": True}]},
                                                       "s": {"SS": ["b", "a"]}, "m": {"M": {"k": {"BOOL": True}}}})
            db.close()

        writer = threading.Thread(target=write)
        writer.start()
        file = os.path.join(self.directory, "replica.sqlite")
        try:
            self.run_once("replicate", table, "--to", f"sqlite:{file}", "--once")
            time.sleep(0.5)
        finally:
            stop.set()
            writer.join()
        self.run_once("replicate", table, "--to", f"sqlite:{file}", "--once", "--verify")
        self.compare(table, file)

    def test_replicate_goes_on_after_a_kill(self):
        table, file = self.table(), os.path.join(self.directory, "replica.sqlite")
        for i in range(200):
            self.put(table, f"k{i:03}", n={"N": str(i)})
        for pause in (0.02, 0.1, 0.3):
            child = self.start("replicate", table, "--to", f"sqlite:{file}")
            time.sleep(pause)
            self.put(table, "k000", n={"N": str(1000 + int(pause * 100))})
            self.db.delete_item(TableName=table, Key={"pk": {"S": f"k{int(pause * 100):03}"}})
            child.kill()
            child.communicate()
        self.run_once("replicate", table, "--to", f"sqlite:{file}", "--once", "--verify")
        self.compare(table, file)

    def compare(self, table, file):
        shapes, page = {}, {"TableName": table, "ConsistentRead": True}
        while page:
            answer = self.db.scan(**page)
            shapes.update({item["pk"]["S"]: item for item in answer["Items"]})
            last = answer.get("LastEvaluatedKey")
            page = {**page, "ExclusiveStartKey": last} if last else None
        with sqlite3.connect(file) as replica:
            rows = replica.execute(f'SELECT pk, item FROM "{table}"').fetchall()
        replica.close()
        self.assertGreater(len(rows), 0)
        self.assertEqual({pk for pk, _ in rows}, set(shapes))
        for pk, item in rows:
            shape = {"M": shapes[pk]}
            self.assertEqual(sort_sets(read_plain(item), shape), plain(shape))


if __name__ == "__main__":
    unittest.main()
