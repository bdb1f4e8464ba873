# SPDX-License-Identifier: MIT
"""The AWS CLI of Debian, one command after another on one table."""

import json
import os
import subprocess
import unittest
import uuid

ENDPOINT, KIND = os.environ["COMPAT_ENDPOINT"], os.environ["COMPAT_KIND"]


def aws(service, command, *arguments, fails=False):
    """Runs a command; its parsed output, or its error's text."""
    done = subprocess.run(["/usr/bin/aws", service, command, "--endpoint-url", ENDPOINT, "--region", "us-east-1",
                           "--output", "json", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "AWS_PAGER": ""}, check=False)
    if (done.returncode != 0) != fails:
        raise AssertionError(f"aws {service} {command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stderr if fails else json.loads(done.stdout) if done.stdout.strip() else {}


class Cli(unittest.TestCase):
    """Test methods run in order of their names."""

    table = "t" + uuid.uuid4().hex[:16]

    def test_1_create(self):
        aws("dynamodb", "create-table", "--table-name", self.table, "--billing-mode", "PAY_PER_REQUEST",
            "--attribute-definitions", "AttributeName=pk,AttributeType=S", "--key-schema", "AttributeName=pk,KeyType=HASH",
            "--stream-specification", "StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES")
        aws("dynamodb", "wait", "table-exists", "--table-name", self.table)
        self.assertIn(self.table, aws("dynamodb", "list-tables")["TableNames"])

    def test_2_items(self):
        key = '{"pk": {"S": "a"}}'
        aws("dynamodb", "put-item", "--table-name", self.table, "--item", '{"pk": {"S": "a"}, "n": {"N": "1"}}')
        got = aws("dynamodb", "update-item", "--table-name", self.table, "--key", key, "--update-expression", "ADD n :o",
                  "--expression-attribute-values", '{":o": {"N": "2"}}', "--return-values", "ALL_NEW")
        self.assertEqual(got["Attributes"]["n"], {"N": "3"})
        self.assertEqual(aws("dynamodb", "get-item", "--table-name", self.table, "--key", key)["Item"]["n"], {"N": "3"})
        self.assertIn("ConditionalCheckFailedException", aws(
            "dynamodb", "delete-item", "--table-name", self.table, "--key", key, "--condition-expression",
            "attribute_not_exists(pk)", fails=True))
        self.assertEqual(aws("dynamodb", "scan", "--table-name", self.table)["Count"], 1)
        self.assertEqual(aws("dynamodb", "query", "--table-name", self.table, "--key-condition-expression", "pk = :p",
                             "--expression-attribute-values", '{":p": {"S": "a"}}')["Count"], 1)

    def test_3_batches(self):
        aws("dynamodb", "batch-write-item", "--request-items",
            json.dumps({self.table: [{"PutRequest": {"Item": {"pk": {"S": "b"}}}}]}))
        got = aws("dynamodb", "batch-get-item", "--request-items", json.dumps({self.table: {"Keys": [{"pk": {"S": "b"}}]}}))
        self.assertEqual(got["Responses"][self.table], [{"pk": {"S": "b"}}])
        aws("dynamodb", "transact-write-items", "--transact-items",
            json.dumps([{"Delete": {"TableName": self.table, "Key": {"pk": {"S": "b"}}}}]))
        got = aws("dynamodb", "transact-get-items", "--transact-items",
                  json.dumps([{"Get": {"TableName": self.table, "Key": {"pk": {"S": "b"}}}}]))
        self.assertEqual(got["Responses"], [{}])

    def test_4_settings(self):
        aws("dynamodb", "update-time-to-live", "--table-name", self.table, "--time-to-live-specification",
            "Enabled=true,AttributeName=e")
        got = aws("dynamodb", "describe-time-to-live", "--table-name", self.table)
        self.assertEqual(got["TimeToLiveDescription"]["AttributeName"], "e")
        if KIND != "local":  # has no tags
            arn = aws("dynamodb", "describe-table", "--table-name", self.table)["Table"]["TableArn"]
            aws("dynamodb", "tag-resource", "--resource-arn", arn, "--tags", "Key=a,Value=b")
            self.assertEqual(aws("dynamodb", "list-tags-of-resource", "--resource-arn", arn)["Tags"],
                             [{"Key": "a", "Value": "b"}])
            aws("dynamodb", "untag-resource", "--resource-arn", arn, "--tag-keys", "a")

    def test_5_streams(self):
        [stream] = aws("dynamodbstreams", "list-streams", "--table-name", self.table)["Streams"]
        described = aws("dynamodbstreams", "describe-stream", "--stream-arn", stream["StreamArn"])["StreamDescription"]
        names = []
        for shard in described["Shards"]:
            iterator = aws("dynamodbstreams", "get-shard-iterator", "--stream-arn", stream["StreamArn"], "--shard-id",
                           shard["ShardId"], "--shard-iterator-type", "TRIM_HORIZON")["ShardIterator"]
            records = aws("dynamodbstreams", "get-records", "--shard-iterator", iterator)["Records"]
            names += [(r["dynamodb"]["Keys"]["pk"]["S"], r["eventName"]) for r in records]
        self.assertEqual(sorted(names), [("a", "INSERT"), ("a", "MODIFY"), ("b", "INSERT"), ("b", "REMOVE")])

    def test_6_delete(self):
        aws("dynamodb", "update-table", "--table-name", self.table, "--stream-specification", "StreamEnabled=false")
        aws("dynamodb", "delete-table", "--table-name", self.table)
        aws("dynamodb", "wait", "table-not-exists", "--table-name", self.table)
        self.assertIn("ResourceNotFoundException",
                      aws("dynamodb", "describe-table", "--table-name", self.table, fails=True))


if __name__ == "__main__":
    unittest.main()
