# SPDX-License-Identifier: MIT
"""Requests on tables, tags and streams, made up from a seed. Those that change a table come as several that belong together."""

from differ_requests import Requests, attributes, index, keys


class Maker(Requests):
    """All requests. In a text, `$arn NAME` stands for the ARN of a table and `$stream NAME` for that of its stream, as each server tells them."""

    def __init__(self, seed):
        super().__init__(seed)
        self.suffix = 0

    def DescribeTable(self):
        return {"TableName": self.pick("both-keys", "hash-only", "many", "nothing", "x")}

    def ListTables(self):
        return self.pick({}, {"Limit": 1}, {"Limit": 0}, {"Limit": 101}, {"ExclusiveStartTableName": "both-keys"},
                         {"ExclusiveStartTableName": "x"})

    def UpdateTimeToLive(self):
        return {"TableName": self.pick("both-keys", "nothing"),
                "TimeToLiveSpecification": {"AttributeName": self.pick("ttl", "", "x" * 300), "Enabled": self.chance(0.5)}}

    def DescribeTimeToLive(self):
        return {"TableName": self.pick("both-keys", "nothing")}

    def DescribeLimits(self):
        return {}

    def DeleteTable(self):
        return {"TableName": self.pick("nothing", "x")}

    def ListTagsOfResource(self):
        return {"ResourceArn": self.pick("$arn both-keys", "$arn hash-only", "arn:aws:dynamodb:us-east-1:000000000000:table/nothing", "x")}

    def repeated(self):
        """A transaction that comes again by its token, and another of the same token, which no other has: tokens outlive tables."""
        self.suffix += 1
        token = {"ClientRequestToken": f"token-{self.suffix}"}
        first = ("TransactWriteItems", {**Requests.TransactWriteItems(self), **token})
        return [first, first, ("TransactWriteItems", {**Requests.TransactWriteItems(self), **token})]

    def other(self):
        """What is asked of a table now and then, and of what few accounts use."""
        table = self.pick("both-keys", "hash-only", "nothing", "x")
        arn = "arn:aws:dynamodb:us-east-1:000000000000:table/nothing"
        on_table = {"TableName": table}
        operation, request = self.pick(
            ("CreateBackup", {"TableName": "nothing", "BackupName": self.pick("one", "x", "a b")}), ("ListBackups", {}),
            ("ListBackups", {"Limit": self.pick(1, 0, 101)}), ("DescribeBackup", {"BackupArn": self.pick("x" * 37, "x", arn + "/backup/1")}),
            ("DeleteBackup", {"BackupArn": arn + "/backup/01489602797149-73d8d5bc"}),
            ("RestoreTableFromBackup", {"TargetTableName": "made-new", "BackupArn": arn + "/backup/01489602797149-73d8d5bc"}),
            ("RestoreTableToPointInTime", {"SourceTableName": "nothing", "TargetTableName": "made-new", "UseLatestRestorableTime": True}),
            ("DescribeContinuousBackups", on_table),
            ("UpdateContinuousBackups", {**on_table, "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": self.chance(0.5)}}),
            ("ListExports", {}), ("ListImports", {}), ("DescribeExport", {"ExportArn": arn + "/export/1"}),
            ("DescribeImport", {"ImportArn": arn + "/import/1"}), ("DescribeEndpoints", {}), ("ListGlobalTables", {}),
            ("DescribeGlobalTable", {"GlobalTableName": table}), ("DescribeGlobalTableSettings", {"GlobalTableName": table}),
            ("CreateGlobalTable", {"GlobalTableName": table, "ReplicationGroup": [{"RegionName": "eu-west-1"}]}),
            ("UpdateGlobalTable", {"GlobalTableName": table, "ReplicaUpdates": []}), ("DescribeTableReplicaAutoScaling", on_table),
            ("ListContributorInsights", {}), ("DescribeContributorInsights", on_table),
            ("UpdateContributorInsights", {**on_table, "ContributorInsightsAction": self.pick("ENABLE", "DISABLE", "OTHER")}),
            ("DescribeKinesisStreamingDestination", on_table),
            ("EnableKinesisStreamingDestination", {**on_table, "StreamArn": "arn:aws:kinesis:us-east-1:000000000000:stream/one"}),
            ("GetResourcePolicy", {"ResourceArn": f"$arn {table}"}), ("DeleteResourcePolicy", {"ResourceArn": f"$arn {table}"}),
            ("PutResourcePolicy", {"ResourceArn": f"$arn {table}", "Policy": "{}"}), ("NoSuchOperation", on_table))
        if self.chance(0.1):
            self.spoil(request)
        return [(operation, request)]

    # what tables are made of

    def billing(self, request):
        if self.chance(0.5):
            request["BillingMode"] = "PAY_PER_REQUEST"
        else:
            if self.chance(0.5):
                request["BillingMode"] = "PROVISIONED"
            request["ProvisionedThroughput"] = {"ReadCapacityUnits": self.pick(1, 5, 5), "WriteCapacityUnits": self.pick(1, 5)}
        if self.chance(0.05):
            request["ProvisionedThroughput"] = {"ReadCapacityUnits": self.pick(1, 0, -1), "WriteCapacityUnits": 1}
        if self.chance(0.05):
            request.pop("BillingMode", None)
        return "BillingMode" not in request or request["BillingMode"] == "PROVISIONED"

    def projection(self):
        if self.chance(0.05):
            return self.pick(("INCLUDE",), ("KEYS_ONLY", "a"), ("INCLUDE", "a", "a"))
        return self.pick(("ALL",), ("KEYS_ONLY",), ("INCLUDE", "a", "b"))

    def wanted(self, name, good=False):
        request = {"TableName": name, "AttributeDefinitions": attributes(k=self.pick("S", "N", "B") if good or self.chance(0.95) else "Q"),
                   "KeySchema": keys("k")}
        metered = self.billing(request)
        if self.chance(0.4):
            request["KeySchema"] = keys("k", "s")
            request["AttributeDefinitions"] += attributes(s="N")
        if self.chance(0.3):
            request["GlobalSecondaryIndexes"] = [index("g1", keys("v"), *self.projection())]
            request["AttributeDefinitions"] += attributes(v="S")
            if metered != self.chance(0.05):
                request["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"] = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
        if len(request["KeySchema"]) == 2 and self.chance(0.4) or self.chance(0.02):
            request["LocalSecondaryIndexes"] = [index("l1" if self.chance(0.9) else "g1", keys("k", "w"), *self.projection())]
            request["AttributeDefinitions"] += attributes(w="N")
        if self.chance(0.2):
            request["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": self.pick("NEW_IMAGE", "KEYS_ONLY", "OLD_IMAGE")}
        if self.chance(0.15):
            request["Tags"] = self.tags()
        if self.chance(0.1):
            request["DeletionProtectionEnabled"] = self.chance(0.5)
        if self.chance(0.1):
            request["TableClass"] = self.pick("STANDARD", "STANDARD_INFREQUENT_ACCESS")
        if self.chance(0.05):
            request["SSESpecification"] = {"Enabled": self.chance(0.5)}
        return request

    def tags(self):
        return [{"Key": self.pick("one", "two", "three", "a b", "aws:x"), "Value": self.pick("1", "", "two")}
                for _ in range(self.pick(1, 1, 2, 3))]

    def name(self):
        self.suffix += 1
        return f"made-{self.suffix}"

    def CreateTable(self):
        request = self.wanted(self.name())
        if self.chance(0.15):
            request["KeySchema"] = self.pick(keys("other"), keys("k", "k"), [{"AttributeName": "k", "KeyType": "RANGE"}], [],
                                             keys("k", "other"))
        if self.chance(0.1):
            request["AttributeDefinitions"] += attributes(unused="S")
        if self.chance(0.03):
            request["TableName"] = self.pick("both-keys", "x", "a b", "n" * 256, "")
        return request

    def update_table(self, name):
        request = {"TableName": name}
        if self.chance(0.25):
            self.billing(request)
        if self.chance(0.4):
            change = self.pick(
                {"Create": index(self.pick("g2", "g1"), keys("u"), *self.projection())}, {"Create": index("g2", keys("u"), "ALL")},
                {"Delete": {"IndexName": self.pick("g1", "g2", "none")}},
                {"Update": {"IndexName": "g1", "ProvisionedThroughput": {"ReadCapacityUnits": 2, "WriteCapacityUnits": 2}}})
            request["GlobalSecondaryIndexUpdates"] = [change]
            if "Create" in change or self.chance(0.05):
                request["AttributeDefinitions"] = attributes(u="S") if self.chance(0.9) else attributes(k="S", z="N")
            if "Create" in change and self.chance(0.4):
                change["Create"]["ProvisionedThroughput"] = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
        if self.chance(0.2):
            request["StreamSpecification"] = self.pick({"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
                                                       {"StreamEnabled": False}, {"StreamEnabled": True})
        if self.chance(0.1):
            request["DeletionProtectionEnabled"] = self.chance(0.5)
        if self.chance(0.1):
            request["TableClass"] = self.pick("STANDARD", "STANDARD_INFREQUENT_ACCESS", "OTHER")
        return request

    # several that belong together: the first makes the table, the last takes it away

    def changes(self):
        """A table's life."""
        name = self.name()
        steps = [("CreateTable", self.wanted(name, True))]
        for _ in range(self.r.randint(2, 5)):
            steps.append(self.pick(
                ("UpdateTable", self.update_table(name)), ("UpdateTable", self.update_table(name)), ("DescribeTable", {"TableName": name}),
                ("TagResource", {"ResourceArn": f"$arn {name}", "Tags": self.tags()}),
                ("UntagResource", {"ResourceArn": f"$arn {name}", "TagKeys": [self.pick("one", "two", "none")]}),
                ("ListTagsOfResource", {"ResourceArn": f"$arn {name}"}),
                ("UpdateTimeToLive", {"TableName": name, "TimeToLiveSpecification": {"AttributeName": self.pick("ttl", "t"),
                                                                                  "Enabled": self.chance(0.7)}}),
                ("DescribeTimeToLive", {"TableName": name}),
                ("PutItem", {"TableName": name, "Item": {"k": self.pick({"S": "x"}, {"N": "1"}), "s": {"N": "1"}, "v": {"S": "w"}, "u": {"S": "q"}},
                             "ReturnConsumedCapacity": "INDEXES"}),
                ("Scan", {"TableName": name, "IndexName": "g1", "ReturnConsumedCapacity": "INDEXES"})))
        for operation, request in steps[1:]:
            if self.chance(0.08):
                self.spoil(request)
        return steps + [("DeleteTable", {"TableName": name})]

    def streamed(self):
        """Writes, and what its stream tells of them."""
        name = self.name()
        view = self.pick("NEW_AND_OLD_IMAGES", "NEW_AND_OLD_IMAGES", "NEW_IMAGE", "OLD_IMAGE", "KEYS_ONLY")
        steps = [("CreateTable", {"TableName": name, "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": attributes(id="N"),
                                  "KeySchema": keys("id"), "StreamSpecification": {"StreamEnabled": True, "StreamViewType": view}})]
        for _ in range(self.r.randint(2, 6)):
            operation = self.pick("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem")
            table, self.table = self.table, lambda: "hash-only"
            request = getattr(self, operation)()
            self.table = table
            if operation == "BatchWriteItem":
                request["RequestItems"] = {name: request["RequestItems"]["hash-only"]}
            else:
                request["TableName"] = name
            steps.append((operation, request))
        steps.append(("(read the stream)", {"StreamArn": f"$stream {name}"}))
        if self.chance(0.5):
            steps.append(self.pick(
                ("Streams.DescribeStream", {"StreamArn": f"$stream {name}"}),
                ("Streams.DescribeStream", {"StreamArn": f"$stream {name}", "Limit": self.pick(1, 0, 101)}),
                ("Streams.DescribeStream", {"StreamArn": self.pick("x", f"$arn {name}", f"$arn {name}/stream/2020-01-01T00:00:00.000")}),
                ("Streams.ListStreams", {"TableName": self.pick(name, "nothing"), "Limit": self.pick(1, 100, 0)}),
                ("Streams.GetShardIterator", {"StreamArn": f"$stream {name}", "ShardId": self.pick("x", "shardId-00000000000000000000-00000000"),
                                              "ShardIteratorType": self.pick("LATEST", "AT_SEQUENCE_NUMBER", "OTHER")}),
                ("Streams.GetRecords", {"ShardIterator": self.pick("x", "", f"$stream {name}|1|AAAA"), "Limit": self.pick(1, 0, 1001)})))
        return steps + [("DeleteTable", {"TableName": name})]

    WEIGHTS = {"PutItem": 14, "GetItem": 10, "DeleteItem": 8, "UpdateItem": 16, "Query": 18, "Scan": 10, "BatchGetItem": 5,
               "BatchWriteItem": 6, "TransactWriteItems": 7, "TransactGetItems": 3, "ExecuteStatement": 8, "BatchExecuteStatement": 3,
               "ExecuteTransaction": 3, "DescribeTable": 2, "ListTables": 2, "UpdateTimeToLive": 1, "DescribeTimeToLive": 1,
               "CreateTable": 3, "DeleteTable": 1, "DescribeLimits": 1, "ListTagsOfResource": 1, "changes": 3, "streamed": 1, "repeated": 1, "other": 1}

    def next(self):
        """A list of (operation, request)."""
        operation = self.r.choices(list(self.WEIGHTS), list(self.WEIGHTS.values()))[0]
        made = getattr(self, operation)()
        if isinstance(made, list):
            return made
        if self.chance(0.2):
            self.spoil(made)
        out = [(operation, made)]
        if operation == "CreateTable" and str(made.get("TableName")).startswith("made-"):
            out.append(("DeleteTable", {"TableName": made["TableName"]}))
        return out
