# SPDX-License-Identifier: MIT
"""Writers that remember what was acknowledged, and readers that remember what they were shown."""

import random
import threading

from harness.http import Closed, Dynamo, ServiceError

TABLE = "crash"
ITEMS_EACH = 8


class Operation:
    """One request. changes: [(key, version or None for a deletion)]; atomic: all of them or none."""

    __slots__ = ("changes", "atomic")

    def __init__(self, changes, atomic=True):
        self.changes, self.atomic = changes, atomic


def key_of(name):
    return {"pk": {"S": name}}


def item_of(name, version):
    # as long as its version says, so that sizes of log records vary
    return {"pk": {"S": name}, "v": {"N": str(version)}, "fill": {"S": "x" * (version * 37 % 700)}}


def request_of(operation, random_):
    """(operation's name, body) by one of the ways there are to make these changes."""
    name, version = operation.changes[0]
    if len(operation.changes) == 1:
        if version is None:
            return "DeleteItem", {"TableName": TABLE, "Key": key_of(name)}
        if random_.random() < 0.3:
            item = item_of(name, version)
            return "UpdateItem", {"TableName": TABLE, "Key": key_of(name), "UpdateExpression": "SET v = :v, fill = :f",
                                  "ExpressionAttributeValues": {":v": item["v"], ":f": item["fill"]}}
        return "PutItem", {"TableName": TABLE, "Item": item_of(name, version)}
    if operation.atomic:
        return "TransactWriteItems", {"TransactItems": [
            {"Delete": {"TableName": TABLE, "Key": key_of(k)}} if v is None else
            {"Put": {"TableName": TABLE, "Item": item_of(k, v)}} for k, v in operation.changes]}
    return "BatchWriteItem", {"RequestItems": {TABLE: [
        {"DeleteRequest": {"Key": key_of(k)}} if v is None else
        {"PutRequest": {"Item": item_of(k, v)}} for k, v in operation.changes]}}


class Writer(threading.Thread):
    """Writes to items of its own until the server is gone. acknowledged: its operations in order; pending: the one whose
    answer never came, or None."""

    def __init__(self, number, endpoint, first_version, seed):
        super().__init__(daemon=True)
        self.endpoint, self.version = endpoint, first_version
        self.random = random.Random(seed * 1000 + number)
        self.names = [f"w{number:02}-{i}" for i in range(ITEMS_EACH)]
        self.acknowledged, self.pending, self.error = [], None, None

    def next_operation(self):
        self.version += 1
        count = 1 if self.random.random() < 0.8 else self.random.randint(2, 4)
        names = self.random.sample(self.names, count)
        changes = [(name, None if self.random.random() < 0.15 else self.version) for name in names]
        return Operation(changes, atomic=count == 1 or self.random.random() < 0.5)

    def run(self):
        client = Dynamo(self.endpoint, timeout=20)
        try:
            while True:
                self.pending = self.next_operation()
                client.call(*request_of(self.pending, self.random))
                self.acknowledged.append(self.pending)
                self.pending = None
        except (Closed, OSError):
            pass
        except (ServiceError, ValueError) as e:
            self.error = str(e)
        finally:
            client.close()


class Reader(threading.Thread):
    """Reads items at random until the server is gone; seen: {(name, version)} it was shown."""

    def __init__(self, endpoint, writers, seed):
        super().__init__(daemon=True)
        self.endpoint, self.seen, self.error = endpoint, set(), None
        self.random = random.Random(seed)
        self.names = [name for w in writers for name in w.names]

    def run(self):
        client = Dynamo(self.endpoint, timeout=20)
        try:
            while True:
                name = self.random.choice(self.names)
                item = client.call("GetItem", {"TableName": TABLE, "Key": key_of(name)}).get("Item")
                if item:
                    self.seen.add((name, int(item["v"]["N"])))
        except (Closed, OSError):
            pass
        except (ServiceError, ValueError) as e:
            self.error = str(e)
        finally:
            client.close()


class Follower(threading.Thread):
    """Follows the stream from where the positions stand until the server is gone; seen: sequence number -> record."""

    def __init__(self, endpoint, arn, positions):
        super().__init__(daemon=True)
        self.endpoint, self.arn, self.positions = endpoint, arn, positions
        self.seen, self.error = {}, None

    def run(self):
        client = Dynamo(self.endpoint, timeout=20)
        try:
            iterators = {}
            while True:
                for shard in shards_of(client, self.arn):
                    name = shard["ShardId"]
                    if name not in iterators:
                        iterators[name] = iterator_at(client, self.arn, name, self.positions.get(name))
                for name, iterator in list(iterators.items()):
                    if iterator:
                        answer = client.call("GetRecords", {"ShardIterator": iterator})
                        iterators[name] = answer.get("NextShardIterator")
                        for record in answer["Records"]:
                            self.seen[record["dynamodb"]["SequenceNumber"]] = record
        except (Closed, OSError):
            pass
        except (ServiceError, ValueError) as e:
            self.error = str(e)
        finally:
            client.close()


def shards_of(client, arn):
    shards, page = [], {"StreamArn": arn}
    while page:
        answer = client.call("DescribeStream", page)["StreamDescription"]
        shards += answer["Shards"]
        last = answer.get("LastEvaluatedShardId")
        page = {"StreamArn": arn, "ExclusiveStartShardId": last} if last else None
    return shards


def iterator_at(client, arn, shard, position):
    where = ({"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": position} if position else
             {"ShardIteratorType": "TRIM_HORIZON"})
    return client.call("GetShardIterator", {"StreamArn": arn, "ShardId": shard, **where})["ShardIterator"]
