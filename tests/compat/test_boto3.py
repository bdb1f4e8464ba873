# SPDX-License-Identifier: MIT
"""boto3 does every operation as programs do: the client, the resource, paginators and waiters."""

import os
import time
import unittest
import uuid
from decimal import Decimal

import boto3
from boto3.dynamodb.conditions import Attr, Key
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT, KIND = os.environ["COMPAT_ENDPOINT"], os.environ["COMPAT_KIND"]


def make(service):
    return boto3.client(service, endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id="tailrace",
                        aws_secret_access_key="tailrace", config=Config(retries={"max_attempts": 1}))


class Boto3(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.db, cls.streams = make("dynamodb"), make("dynamodbstreams")
        cls.resource = boto3.resource("dynamodb", endpoint_url=ENDPOINT, region_name="us-east-1",
                                      aws_access_key_id="tailrace", aws_secret_access_key="tailrace")

    @classmethod
    def tearDownClass(cls):
        for client in (cls.db, cls.streams, cls.resource.meta.client):
            client.close()

    def table(self, **more):
        name = "t" + uuid.uuid4().hex[:16]
        options = {
            "BillingMode": "PAY_PER_REQUEST", "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}], **more}
        self.db.create_table(TableName=name, **options)
        self.db.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 180})
        self.addCleanup(lambda: self.quietly_delete(name))
        return name

    def quietly_delete(self, name):
        try:
            self.db.delete_table(TableName=name)
        except ClientError:
            pass

    def sorted_table(self):
        return self.table(
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "N"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}])

    def assert_error(self, code, call, *args, **kwargs):
        with self.assertRaises(ClientError) as caught:
            call(*args, **kwargs)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        return caught.exception.response

    def test_tables(self):
        name = self.table()
        described = self.db.describe_table(TableName=name)["Table"]
        self.assertEqual(described["TableStatus"], "ACTIVE")
        names = [n for page in self.db.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 3})
                 for n in page["TableNames"]]
        self.assertIn(name, names)
        self.db.update_table(TableName=name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})
        self.db.delete_table(TableName=name)
        self.db.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 180})
        self.assert_error("ResourceNotFoundException", self.db.describe_table, TableName=name)

    def test_items_through_the_resource(self):
        table = self.resource.Table(self.table())
        item = {"pk": "a", "n": Decimal("1.5"), "big": Decimal("12345678901234567890123456789012345678"), "s": {"x", "y"},
                "l": [1, "two", None, True], "m": {"k": b"\x00\xff"}}
        table.put_item(Item=item)
        back = table.get_item(Key={"pk": "a"}, ConsistentRead=True)["Item"]
        back["m"]["k"] = bytes(back["m"]["k"])
        self.assertEqual(back, item)
        answer = table.update_item(Key={"pk": "a"}, UpdateExpression="SET n = n + :d REMOVE m", ReturnValues="UPDATED_NEW",
                                   ExpressionAttributeValues={":d": Decimal("0.25")})
        self.assertEqual(answer["Attributes"], {"n": Decimal("1.75")})
        for values, expected in (("NONE", None), ("ALL_OLD", 2), ("UPDATED_OLD", 3), ("ALL_NEW", 5), ("UPDATED_NEW", 6)):
            with self.subTest(values):
                table.update_item(Key={"pk": "a"}, UpdateExpression="SET c = if_not_exists(c, :zero) + :one",
                                  ExpressionAttributeValues={":zero": 0, ":one": 1})
                if values == "NONE":
                    continue
                got = table.update_item(Key={"pk": "a"}, UpdateExpression="SET #t = :t", ReturnValues=values,
                                        ExpressionAttributeNames={"#t": "t"}, ExpressionAttributeValues={":t": expected})
                self.assertTrue(values == "UPDATED_OLD" or got["Attributes"])
        self.assert_error("ConditionalCheckFailedException", table.delete_item, Key={"pk": "a"},
                          ConditionExpression=Attr("n").gt(100) | Attr("none").exists())
        self.assertEqual(table.delete_item(Key={"pk": "a"}, ReturnValues="ALL_OLD")["Attributes"]["pk"], "a")

    def test_query_and_scan(self):
        table = self.resource.Table(self.sorted_table())
        with table.batch_writer() as batch:
            for i in range(100):
                batch.put_item(Item={"pk": f"p{i % 2}", "sk": i, "even": i % 4 == 0})
        answer = table.query(KeyConditionExpression=Key("pk").eq("p0") & Key("sk").between(10, 30),
                             FilterExpression=Attr("even").eq(True), ScanIndexForward=False)
        self.assertEqual([int(i["sk"]) for i in answer["Items"]], [28, 24, 20, 16, 12])
        pages = self.db.get_paginator("scan").paginate(TableName=table.name, PaginationConfig={"PageSize": 7})
        self.assertEqual(sum(p["Count"] for p in pages), 100)
        pages = self.db.get_paginator("query").paginate(
            TableName=table.name, KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": "p1"}},
            PaginationConfig={"PageSize": 9})
        self.assertEqual([int(i["sk"]["N"]) for p in pages for i in p["Items"]], list(range(1, 100, 2)))

    def test_batches(self):
        name = self.table()
        self.assertEqual(self.db.batch_write_item(RequestItems={name: [
            {"PutRequest": {"Item": {"pk": {"S": str(i)}}}} for i in range(10)]})["UnprocessedItems"], {})
        answer = self.resource.batch_get_item(RequestItems={name: {"Keys": [{"pk": str(i)} for i in range(12)]}})
        self.assertEqual(len(answer["Responses"][name]), 10)

    def test_transactions(self):
        name = self.table()
        item = {"Put": {"TableName": name, "Item": {"pk": {"S": "a"}}, "ConditionExpression": "attribute_not_exists(pk)"}}
        self.db.transact_write_items(TransactItems=[item])
        response = self.assert_error("TransactionCanceledException", self.db.transact_write_items, TransactItems=[
            item, {"Put": {"TableName": name, "Item": {"pk": {"S": "b"}}}}])
        self.assertEqual([r["Code"] for r in response["CancellationReasons"]], ["ConditionalCheckFailed", "None"])
        got = self.db.transact_get_items(TransactItems=[{"Get": {"TableName": name, "Key": {"pk": {"S": k}}}} for k in "ab"])
        self.assertEqual([r.get("Item") for r in got["Responses"]], [{"pk": {"S": "a"}}, None])

    def test_time_to_live(self):
        name = self.table()
        self.db.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "e"})
        described = self.db.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        self.assertEqual(described["AttributeName"], "e")

    @unittest.skipIf(KIND == "local", "has no tags")
    def test_tags(self):
        arn = self.db.describe_table(TableName=self.table())["Table"]["TableArn"]
        self.db.tag_resource(ResourceArn=arn, Tags=[{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d"}])
        self.db.untag_resource(ResourceArn=arn, TagKeys=["a"])
        self.assertEqual(self.db.list_tags_of_resource(ResourceArn=arn)["Tags"], [{"Key": "c", "Value": "d"}])

    def test_streams(self):
        for view in ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"):
            with self.subTest(view):
                name = self.table(StreamSpecification={"StreamEnabled": True, "StreamViewType": view})
                table = self.resource.Table(name)
                table.put_item(Item={"pk": "a", "n": 1})
                table.put_item(Item={"pk": "a", "n": 2})
                table.delete_item(Key={"pk": "a"})
                [stream] = self.streams.list_streams(TableName=name)["Streams"]
                records = self.read(stream["StreamArn"], 3)
                self.assertEqual([r["eventName"] for r in records], ["INSERT", "MODIFY", "REMOVE"])
                images = [("NewImage" in r["dynamodb"], "OldImage" in r["dynamodb"]) for r in records]
                new, old = view.startswith("NEW"), "OLD" in view
                self.assertEqual(images, [(new, False), (new, old), (False, old)])
                self.resume(stream["StreamArn"], records)

    def read(self, arn, count):
        until = time.monotonic() + 120
        while True:
            records = []
            for shard in self.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
                iterator = self.streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"],
                                                           ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
                found = self.streams.get_records(ShardIterator=iterator)["Records"]
                if found:
                    self.shard = shard["ShardId"]
                records += found
            if len(records) >= count or time.monotonic() > until:
                return records
            time.sleep(0.1)

    @unittest.skipIf(KIND == "dynoxide", "numbers records 1, 2, 3")
    def resume(self, arn, records):
        second = records[1]["dynamodb"]["SequenceNumber"]
        for kind, more, expected in (("AT_SEQUENCE_NUMBER", {"SequenceNumber": second}, 2),
                                     ("AFTER_SEQUENCE_NUMBER", {"SequenceNumber": second}, 1),
                                     ("LATEST", {}, 0), ("TRIM_HORIZON", {}, 3)):
            iterator = self.streams.get_shard_iterator(StreamArn=arn, ShardId=self.shard, ShardIteratorType=kind,
                                                       **more)["ShardIterator"]
            self.assertEqual(len(self.streams.get_records(ShardIterator=iterator)["Records"]), expected, kind)


if __name__ == "__main__":
    unittest.main()
