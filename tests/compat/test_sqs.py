# SPDX-License-Identifier: MIT
"""Queues through boto3 and the AWS CLI. Debian's speak the query protocol: forms in, XML out."""

import hashlib
import json
import os
import subprocess
import time
import unittest
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT, KIND = os.environ["COMPAT_ENDPOINT"], os.environ["COMPAT_KIND"]
HARD = "a <b> & \"c\" 'd'\r\n\tü + % 🎈 ]]>"


@unittest.skipUnless(KIND == "tailrace", "only tailrace serves SQS")
class Queues(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sqs = boto3.client("sqs", endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id="tailrace",
                               aws_secret_access_key="tailrace", config=Config(retries={"max_attempts": 1}))

    @classmethod
    def tearDownClass(cls):
        cls.sqs.close()

    def queue(self, **attributes):
        self.name = "q" + uuid.uuid4().hex[:12]
        return self.sqs.create_queue(QueueName=self.name, Attributes=attributes)["QueueUrl"]

    def refused(self, code, operation, **parameters):
        with self.assertRaises(ClientError) as caught:
            getattr(self.sqs, operation)(**parameters)
        error = caught.exception.response
        self.assertEqual(error["Error"]["Code"], code)
        self.assertTrue(error["Error"]["Message"])
        return error

    def test_an_answer_holds_a_message_once_though_it_stays_visible(self):
        url = self.queue(VisibilityTimeout="0")
        for number in range(3):
            self.sqs.send_message(QueueUrl=url, MessageBody=str(number))
        for _ in range(2):
            got = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
            self.assertEqual(sorted(m["Body"] for m in got), ["0", "1", "2"])
        got = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)["Messages"]
        self.assertEqual(sorted(m["Body"] for m in got), ["0", "1", "2"])

    def test_a_queue_keeps_its_attributes(self):
        url = self.queue(VisibilityTimeout="7")
        self.assertTrue(url.endswith(f"/000000000000/{self.name}"))
        self.assertEqual(self.sqs.get_queue_url(QueueName=self.name)["QueueUrl"], url)
        self.assertIn(url, self.sqs.list_queues(QueueNamePrefix=self.name)["QueueUrls"])
        policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:x", "maxReceiveCount": 3})
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "0", "RedrivePolicy": policy})
        got = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        self.assertEqual((got["VisibilityTimeout"], got["DelaySeconds"], got["RedrivePolicy"]), ("7", "0", policy))
        self.assertEqual(got["QueueArn"], f"arn:aws:sqs:us-east-1:000000000000:{self.name}")
        only = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "DelaySeconds"])["Attributes"]
        self.assertEqual(sorted(only), ["DelaySeconds", "QueueArn"])
        self.sqs.delete_queue(QueueUrl=url)
        self.refused("AWS.SimpleQueueService.NonExistentQueue", "get_queue_url", QueueName=self.name)

    def test_a_message_comes_back_as_it_was_sent(self):
        url = self.queue()
        attributes = {"KIND": {"DataType": "String", "StringValue": HARD}, "N": {"DataType": "Number", "StringValue": "7"},
                      "BYTES": {"DataType": "Binary", "BinaryValue": bytes(range(256))}}
        sent = self.sqs.send_message(QueueUrl=url, MessageBody=HARD, MessageAttributes=attributes)
        self.assertEqual(sent["MD5OfMessageBody"], hashlib.md5(HARD.encode()).hexdigest())
        got = self.sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"], AttributeNames=["All"])["Messages"]
        self.assertEqual(len(got), 1)
        self.assertEqual((got[0]["Body"], got[0]["MessageId"]), (HARD, sent["MessageId"]))
        self.assertEqual(got[0]["MessageAttributes"], attributes)
        self.assertEqual(got[0]["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"])
        self.assertEqual(got[0]["Attributes"]["ApproximateReceiveCount"], "1")
        self.assertNotIn("Messages", self.sqs.receive_message(QueueUrl=url))
        self.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=got[0]["ReceiptHandle"], VisibilityTimeout=0)
        again = self.sqs.receive_message(QueueUrl=url, AttributeNames=["ApproximateReceiveCount"])["Messages"][0]
        self.assertEqual(again["Attributes"], {"ApproximateReceiveCount": "2"})
        self.sqs.delete_message(QueueUrl=url, ReceiptHandle=again["ReceiptHandle"])
        counts = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        self.assertEqual((counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]), ("0", "0"))

    def test_batches_go_in_and_out(self):
        url = self.queue()
        entries = [{"Id": f"i{n}", "MessageBody": f"m{n}", "MessageAttributes": {
            "n": {"DataType": "Number", "StringValue": str(n)}}} for n in range(10)]
        done = self.sqs.send_message_batch(QueueUrl=url, Entries=entries)
        self.assertEqual([e["Id"] for e in done["Successful"]], [e["Id"] for e in entries])
        got = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["n"])["Messages"]
        self.assertEqual([(m["Body"], m["MessageAttributes"]["n"]["StringValue"]) for m in got],
                         [(f"m{n}", str(n)) for n in range(10)])
        gone = self.sqs.delete_message_batch(QueueUrl=url, Entries=[
            {"Id": m["MessageId"], "ReceiptHandle": m["ReceiptHandle"]} for m in got])
        self.assertEqual(len(gone["Successful"]), 10)
        self.refused("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", "send_message_batch", QueueUrl=url,
                     Entries=[{"Id": str(n), "MessageBody": "x"} for n in range(11)])
        self.refused("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "send_message_batch", QueueUrl=url,
                     Entries=[{"Id": "1", "MessageBody": "x"}] * 2)

    def test_a_receive_waits_for_a_message(self):
        url = self.queue(DelaySeconds="1")
        self.sqs.send_message(QueueUrl=url, MessageBody="later")
        began = time.monotonic()
        self.assertEqual(self.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"][0]["Body"], "later")
        self.assertLess(time.monotonic() - began, 20)  # before its time was up

    def test_refusals_have_the_codes_of_the_query_protocol(self):
        url = self.queue()
        error = self.refused("AWS.SimpleQueueService.NonExistentQueue", "send_message", QueueUrl=url + "x", MessageBody="m")
        self.assertEqual(error["Error"]["Type"], "Sender")
        self.assertTrue(error["ResponseMetadata"]["RequestId"])
        self.refused("ReceiptHandleIsInvalid", "delete_message", QueueUrl=url, ReceiptHandle="nonsense")
        self.refused("InvalidAttributeName", "set_queue_attributes", QueueUrl=url, Attributes={"Nonsense": "1"})
        self.refused("InvalidAction", "list_queue_tags", QueueUrl=url)

    def test_the_cli_works(self):
        env = {**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}

        def cli(*arguments):
            done = subprocess.run(["aws", "sqs", *arguments, "--endpoint-url", ENDPOINT, "--output", "json"], env=env,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            return json.loads(done.stdout) if done.stdout.strip() else {}

        url = cli("create-queue", "--queue-name", "c" + uuid.uuid4().hex[:12])["QueueUrl"]
        cli("send-message", "--queue-url", url, "--message-body", HARD)
        got = cli("receive-message", "--queue-url", url)["Messages"][0]
        self.assertEqual(got["Body"], HARD)
        cli("delete-message", "--queue-url", url, "--receipt-handle", got["ReceiptHandle"])
        self.assertEqual(cli("receive-message", "--queue-url", url), {})
        cli("purge-queue", "--queue-url", url)
        cli("delete-queue", "--queue-url", url)


if __name__ == "__main__":
    unittest.main()
