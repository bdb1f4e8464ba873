# SPDX-License-Identifier: MIT
"""Requests on items, made up from a seed: mostly sound, sometimes broken in one place. differ_tables.py has those on tables and streams."""

import random
import re


def keys(*names):
    kinds = ["HASH", "RANGE"]
    return [{"AttributeName": n, "KeyType": kinds[i]} for i, n in enumerate(names)]


def index(name, schema, projection, *include):
    out = {"IndexName": name, "KeySchema": schema, "Projection": {"ProjectionType": projection}}
    if include:
        out["Projection"]["NonKeyAttributes"] = list(include)
    return out


def attributes(**types):
    return [{"AttributeName": n, "AttributeType": t} for n, t in types.items()]


MANY = [{"AttributeName": n, "KeyType": t} for n, t in (("h1", "HASH"), ("h2", "HASH"), ("r1", "RANGE"), ("r2", "RANGE"))]
TABLES = [
    {"TableName": "both-keys", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": attributes(pk="S", sk="S", g="S", l="N"),
     "KeySchema": keys("pk", "sk"),
     "GlobalSecondaryIndexes": [index("gix", keys("g"), "ALL"), index("gis", keys("g", "l"), "INCLUDE", "a", "d")],
     "LocalSecondaryIndexes": [index("lix", keys("pk", "l"), "KEYS_ONLY"), index("lall", keys("pk", "g"), "ALL")]},
    {"TableName": "hash-only", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": attributes(id="N"), "KeySchema": keys("id")},
    {"TableName": "many", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": attributes(id="N", h1="S", h2="N", r1="S", r2="S"),
     "KeySchema": keys("id"), "GlobalSecondaryIndexes": [index("mix", MANY, "ALL")]}]
ITEMS = [{"TableName": "both-keys", "Item": {
    "pk": {"S": p}, "sk": {"S": k}, "a": {"S": "ab"}, "b": {"SS": ["a", "b"]}, "c": {"M": {"y": {"L": [{"N": "1"}, {"N": "2"}]}}},
    "d": {"M": {"x": {"N": "1"}}}, "e": {"L": [{"S": "a"}]}, "n": {"N": "1"}, "g": {"S": "g1"}, "l": {"N": n}}}
    for p in ("p1", "p2") for k, n in (("s1", "1"), ("s2", "2"))]
ITEMS += [{"TableName": "hash-only", "Item": {"id": {"N": "1"}, "a": {"N": "5"}}},
          {"TableName": "hash-only", "Item": {"id": {"N": "3"}, "a": {"S": "x" * 5000}}}]
ITEMS += [{"TableName": "many", "Item": {"id": {"N": str(i)}, "h1": {"S": "h"}, "h2": {"N": "7"}, "r1": {"S": f"r{i}"}, "r2": {"S": "t"}}}
          for i in (1, 2, 3)]


class Requests:
    """A method for each operation; what `next` gives is one request or, of the other class, several that belong together."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def pick(self, *choices):
        return self.r.choice(choices)

    def chance(self, p):
        return self.r.random() < p

    # values, keys and items

    def text(self):
        return self.pick("a", "b", "ab", "abc", "", "x" * 20, "é", "10", " ", "A")

    def number(self):
        return self.pick("0", "1", "2", "-1", "1.5", "10", "100", "1E3", "-0", "007", "1.50", "99999999999999999999999999999999999999")

    def value(self, depth=2):
        kind = self.pick("S", "S", "N", "N", "B", "BOOL", "NULL", "SS", "NS", "L", "M")
        if kind == "S":
            return {"S": self.text()}
        if kind == "N":
            return {"N": self.number()}
        if kind == "B":
            return {"B": self.pick("", "AA==", "AAEC", "////")}
        if kind == "BOOL":
            return {"BOOL": self.chance(0.5)}
        if kind == "NULL":
            return {"NULL": True}
        if kind == "SS":
            return {"SS": self.r.sample(["a", "b", "c", "d"], self.r.randint(1, 3))}
        if kind == "NS":
            return {"NS": self.r.sample(["1", "2", "3", "4.5"], self.r.randint(1, 3))}
        if depth == 0:
            return {"S": "deep"}
        if kind == "L":
            return {"L": [self.value(depth - 1) for _ in range(self.r.randint(0, 3))]}
        return {"M": {n: self.value(depth - 1) for n in self.r.sample(["x", "y", "z"], self.r.randint(0, 3))}}

    def bad_value(self):
        return self.pick({}, {"S": 1}, {"N": "x"}, {"N": "1" * 40}, {"N": "1E200"}, {"SS": []}, {"SS": ["a", "a"]}, {"S": "a", "N": "1"},
                         {"Q": "a"}, {"NULL": False}, {"B": "!"}, {"NS": ["1", "1.0"]}, "text", 5, None, [])

    def key(self, table):
        if table != "both-keys":
            return {"id": {"N": self.pick("1", "2", "3")}}
        return {"pk": {"S": self.pick("p1", "p2")}, "sk": {"S": self.pick("s1", "s2", "s3")}}

    def item(self, table):
        item = self.key(table)
        for name in self.r.sample(["a", "b", "c", "d", "e"], self.r.randint(0, 4)):
            item[name] = self.value()
        if table == "both-keys" and self.chance(0.6):
            item["g"] = {"S": self.pick("g1", "g2")}
        if table == "both-keys" and self.chance(0.6):
            item["l"] = {"N": self.pick("1", "2", "3")}
        if table == "both-keys" and self.chance(0.05):
            item[self.pick("g", "l")] = self.pick({"S": ""}, {"N": "1"}, {"BOOL": True})
        if table == "many":
            item.update(self.r.sample([("h1", {"S": "h"}), ("h2", {"N": "7"}), ("r1", {"S": "r1"}), ("r2", {"S": self.pick("t", "u")})],
                                      self.r.randint(2, 4)))
        if self.chance(0.05):
            item["big"] = {"S": "y" * self.pick(900, 1100, 5000, 409600)}
        return item

    def table(self):
        return self.pick("both-keys", "both-keys", "both-keys", "both-keys", "both-keys", "hash-only", "hash-only", "many")

    # expressions

    def path(self):
        return self.pick("a", "b", "c", "d.x", "e[0]", "#n", "c.y[1]", "nothing")

    def operand(self):
        return self.pick(self.path(), ":s", ":n", ":x", f"size({self.path()})")

    def condition(self, depth=2):
        if depth and self.chance(0.4):
            joined = f"{self.condition(depth - 1)} {self.pick('AND', 'OR')} {self.condition(depth - 1)}"
            return self.pick(joined, f"({joined})", f"NOT ({joined})")
        return self.pick(f"{self.path()} {self.pick('=', '<>', '<', '<=', '>', '>=')} {self.operand()}",
                         f"attribute_exists({self.path()})", f"attribute_not_exists({self.path()})",
                         f"begins_with({self.path()}, :s)", f"contains({self.path()}, {self.pick(':s', ':n')})",
                         f"attribute_type({self.path()}, :t)", f"{self.path()} BETWEEN :n AND :m",
                         f"{self.path()} IN (:s, :n, :x)")

    def right(self):
        return self.pick(":s", ":n", self.path(), f"{self.path()} + :n", f"if_not_exists({self.path()}, :n)",
                         f"list_append({self.path()}, :l)", f"if_not_exists({self.path()}, :n) + :m")

    def update(self):
        sections = []
        if self.chance(0.8):
            sections.append("SET " + ", ".join(f"{self.path()} = {self.right()}" for _ in range(self.r.randint(1, 2))))
        if self.chance(0.3):
            sections.append("REMOVE " + self.path())
        if self.chance(0.2):
            sections.append(f"ADD {self.path()} {self.pick(':n', ':ss')}")
        if self.chance(0.15):
            sections.append(f"DELETE {self.path()} :ss")
        return " ".join(sections) or "SET a = :s"

    def placeholders(self, request, *texts):
        """The maps for what the expressions use, and now and then one more or one less."""
        values = {":s": {"S": self.pick("a", "ab", "")}, ":n": {"N": "1"}, ":m": {"N": "2"}, ":x": self.value(1),
                  ":t": {"S": self.pick("S", "N", "L", "Q")}, ":l": {"L": [{"N": "1"}]}, ":ss": {"SS": ["a"]}, ":p": {"S": "p1"},
                  ":k": {"S": "s1"}, ":g": {"S": "g1"}, ":h1": {"S": "h"}, ":h2": {"N": "7"}, ":r1": {"S": "r1"}, ":r2": {"S": "t"}}
        used = sorted(set(re.findall(r":\w+", " ".join(texts))))
        names = {n: "n" for n in set(re.findall(r"#\w+", " ".join(texts)))}
        if self.chance(0.03) and used:
            used.pop()
        if self.chance(0.03):
            used.append(":unused")
            values[":unused"] = {"S": "x"}
        if used:
            request["ExpressionAttributeValues"] = {v: values[v] for v in used}
        if names and not self.chance(0.03):
            request["ExpressionAttributeNames"] = names
        return request

    # the parameters before expressions

    def comparison(self):
        kind = self.pick("EQ", "NE", "LT", "LE", "GT", "GE", "NULL", "NOT_NULL", "CONTAINS", "NOT_CONTAINS", "BEGINS_WITH", "IN", "BETWEEN")
        count = {"NULL": 0, "NOT_NULL": 0, "IN": self.r.randint(1, 3), "BETWEEN": 2}.get(kind, 1)
        if self.chance(0.1):
            count = self.r.randint(0, 3)
        out = {"ComparisonOperator": kind}
        if count or self.chance(0.1):
            out["AttributeValueList"] = [self.pick({"S": "a"}, {"N": "1"}, {"N": "2"}, self.value(1)) for _ in range(count)]
        return out

    def comparisons(self):
        return {self.pick("a", "b", "d", "n", "l"): self.comparison() for _ in range(self.r.randint(1, 2))}

    def expected(self, request):
        entry = self.pick({"Exists": False}, {"Value": {"S": "ab"}}, {"Value": {"S": "ab"}, "Exists": True}, {"Exists": True},
                          {"Exists": False, "Value": {"S": "a"}}, {}, self.comparison(), self.comparison(), self.comparison())
        request["Expected"] = {self.pick("a", "n", "nothing"): entry}
        if self.chance(0.3):
            request["Expected"]["b"] = self.comparison()
        if self.chance(0.3):
            request["ConditionalOperator"] = self.pick("AND", "OR")
        if self.chance(0.05):
            request["ConditionExpression"] = "attribute_exists(a)"

    def attribute_updates(self):
        out = {}
        for name in self.r.sample(["a", "b", "n", "e", "pk", "z"], self.r.randint(1, 2)):
            out[name] = {"Action": self.pick("PUT", "ADD", "DELETE")} if self.chance(0.9) else {}
            if self.chance(0.8):
                out[name]["Value"] = self.pick({"N": "1"}, {"SS": ["a"]}, {"S": "u"}, {"L": [{"N": "1"}]}, self.value(1))
        return out

    # what several operations have

    def common(self, request, write=False):
        if self.chance(0.4):
            request["ReturnConsumedCapacity"] = self.pick("TOTAL", "INDEXES", "INDEXES", "NONE")
        if write and self.chance(0.15):
            request["ReturnItemCollectionMetrics"] = self.pick("SIZE", "SIZE", "NONE")
        return request

    def conditional(self, request):
        what = self.r.random()
        if what < 0.35:
            request["ConditionExpression"] = self.condition()
        elif what < 0.47:
            self.expected(request)
        if self.chance(0.1):
            request["ReturnValuesOnConditionCheckFailure"] = self.pick("ALL_OLD", "ALL_OLD", "NONE")
        return [request["ConditionExpression"]] if "ConditionExpression" in request and "Expected" not in request else []

    # one method for each operation

    def PutItem(self):
        table = self.table()
        request = self.common({"TableName": table, "Item": self.item(table)}, True)
        self.placeholders(request, *self.conditional(request))
        if self.chance(0.3):
            request["ReturnValues"] = self.pick("ALL_OLD", "NONE", "ALL_NEW")
        return request

    def GetItem(self):
        table = self.table()
        request = self.common({"TableName": table, "Key": self.key(table)})
        if self.chance(0.3):
            request["ProjectionExpression"] = ", ".join(self.path() for _ in range(self.r.randint(1, 3)))
            if "#n" in request["ProjectionExpression"]:
                request["ExpressionAttributeNames"] = {"#n": "n"}
        if self.chance(0.2):
            request["ConsistentRead"] = self.chance(0.5)
        if self.chance(0.1):
            request["AttributesToGet"] = self.pick(["a", "b"], ["a", "a"], [], ["nothing"])
        return request

    def DeleteItem(self):
        table = self.table()
        request = self.common({"TableName": table, "Key": self.key(table)}, True)
        self.placeholders(request, *self.conditional(request))
        if self.chance(0.3):
            request["ReturnValues"] = self.pick("ALL_OLD", "NONE", "UPDATED_OLD")
        return request

    def UpdateItem(self):
        table = self.table()
        request = self.common({"TableName": table, "Key": self.key(table)}, True)
        texts = self.conditional(request)
        if self.chance(0.15) and not texts:
            request["AttributeUpdates"] = self.attribute_updates()
        elif "Expected" not in request or self.chance(0.1):
            request["UpdateExpression"] = self.update()
            texts.append(request["UpdateExpression"])
        self.placeholders(request, *texts)
        if self.chance(0.5):
            request["ReturnValues"] = self.pick("ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW", "NONE")
        return request

    SELECTS = ("COUNT", "ALL_ATTRIBUTES", "SPECIFIC_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES")
    CONDITIONS = {None: ("pk = :p", "pk = :p AND sk = :k", "pk = :p AND sk > :k", "pk = :p AND begins_with(sk, :s)", "sk = :k", "pk > :p",
                         "pk = :p AND sk BETWEEN :k AND :k", "pk = :p AND a = :s", "pk = :p AND sk >= :k", "pk = :p"),
                  "gix": ("g = :g", "g = :g", "g = :g AND l = :n", "pk = :p"), "gis": ("g = :g", "g = :g AND l > :n", "g = :g AND l = :n"),
                  "lix": ("pk = :p", "pk = :p AND l > :n", "pk = :p AND sk = :k"), "lall": ("pk = :p AND g = :g", "pk = :p"),
                  "none": ("pk = :p",),
                  "mix": ("h1 = :h1 AND h2 = :h2", "h1 = :h1 AND h2 = :h2 AND r1 = :r1", "h1 = :h1", "h1 = :h1 AND h2 = :h2 AND r1 >= :r1",
                          "h1 = :h1 AND h2 = :h2 AND r2 = :r2", "h1 = :h1 AND h2 = :h2 AND r1 = :r1 AND begins_with(r2, :r2)",
                          "h1 = :h1 AND h2 = :h2 AND r1 > :r1 AND r2 = :r2")}

    def start_key(self, request):
        where = request.get("IndexName")
        start = self.key(request["TableName"])
        if where in ("gix", "gis", "lall"):
            start["g"] = {"S": "g1"}
        if where in ("lix", "gis"):
            start["l"] = {"N": self.pick("1", "2")}
        if where == "mix":
            start.update({"h1": {"S": "h"}, "h2": {"N": "7"}, "r1": {"S": "r1"}, "r2": {"S": "t"}})
        if self.chance(0.15):
            start.pop(self.r.choice(sorted(start)))
        if self.chance(0.1):
            start["extra"] = {"S": "x"}
        return start

    def reading(self, request, texts):
        """What Query and Scan have in common."""
        if self.chance(0.2):
            request["ProjectionExpression"] = ", ".join(self.path() for _ in range(self.r.randint(1, 2)))
            texts.append(request["ProjectionExpression"])
        elif self.chance(0.1):
            request["AttributesToGet"] = self.pick(["a"], ["pk", "sk"], ["id", "a"], ["n", "d"])
        if self.chance(0.15):
            request["Select"] = self.r.choice(self.SELECTS)
        if self.chance(0.3):
            request["Limit"] = self.pick(1, 2, 3, 100, 0)
        if self.chance(0.15):
            request["ConsistentRead"] = self.chance(0.6)
        if self.chance(0.1):
            request["ExclusiveStartKey"] = self.start_key(request)

    def Query(self):
        where = self.pick(None, None, None, None, "gix", "gis", "lix", "lall", "none", "mix")
        request = self.common({"TableName": "many" if where == "mix" else "both-keys"})
        if where:
            request["IndexName"] = where
        texts = []
        if where != "mix" and self.chance(0.12):
            equal = {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "p1"}]}
            request["KeyConditions"] = {"pk": equal}
            if self.chance(0.5):
                request["KeyConditions"]["sk"] = self.comparison()
            if self.chance(0.4):
                request["QueryFilter"] = self.comparisons()
        else:
            request["KeyConditionExpression"] = self.r.choice(self.CONDITIONS[where])
            texts.append(request["KeyConditionExpression"])
            if self.chance(0.3):
                request["FilterExpression"] = self.condition(1)
                texts.append(request["FilterExpression"])
        self.reading(request, texts)
        self.placeholders(request, *texts)
        if self.chance(0.2):
            request["ScanIndexForward"] = False
        return request

    def Scan(self):
        request = self.common({"TableName": self.table()})
        texts = []
        if request["TableName"] == "both-keys" and self.chance(0.3):
            request["IndexName"] = self.pick("gix", "gis", "lix", "lall", "none")
        if self.chance(0.3):
            request["FilterExpression"] = self.condition()
            texts.append(request["FilterExpression"])
        elif self.chance(0.15):
            request["ScanFilter"] = self.comparisons()
            if self.chance(0.3):
                request["ConditionalOperator"] = self.pick("AND", "OR")
        self.reading(request, texts)
        self.placeholders(request, *texts)
        if self.chance(0.1):
            request["TotalSegments"] = self.pick(1, 2, 0)
            request["Segment"] = self.pick(0, 1, 5)
        return request

    def BatchGetItem(self):
        out = {}
        for _ in range(self.pick(1, 1, 2)):
            table = self.table()
            part = {"Keys": [self.key(table) for _ in range(self.r.randint(1, 3))]}
            if self.chance(0.2):
                part["ConsistentRead"] = True
            if self.chance(0.2):
                part["ProjectionExpression"] = "a, d.x"
            elif self.chance(0.1):
                part["AttributesToGet"] = ["a", "id"]
            out[table] = part
        return self.common({"RequestItems": out})

    def BatchWriteItem(self):
        out = {}
        for _ in range(self.pick(1, 1, 2)):
            table = self.table()
            out[table] = [{"PutRequest": {"Item": self.item(table)}} if self.chance(0.6) else {"DeleteRequest": {"Key": self.key(table)}}
                          for _ in range(self.r.randint(1, 3))]
        return self.common({"RequestItems": out}, True)

    def action(self):
        table = self.table()
        kind = self.pick("Put", "Delete", "Update", "ConditionCheck")
        action = {"TableName": table}
        texts = []
        if kind == "Put":
            action["Item"] = self.item(table)
        else:
            action["Key"] = self.key(table)
        if kind == "Update":
            action["UpdateExpression"] = self.update()
            texts.append(action["UpdateExpression"])
        if kind == "ConditionCheck" or self.chance(0.3):
            action["ConditionExpression"] = self.condition(1)
            texts.append(action["ConditionExpression"])
        self.placeholders(action, *texts)
        if self.chance(0.2):
            action["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return {kind: action}

    def TransactWriteItems(self):
        request = self.common({"TransactItems": [self.action() for _ in range(self.r.randint(1, 3))]}, True)
        if self.chance(0.02):
            request["ClientRequestToken"] = self.pick("t" * 37, "")
        return request

    def TransactGetItems(self):
        gets = []
        for _ in range(self.r.randint(1, 3)):
            table = self.table()
            get = {"TableName": table, "Key": self.key(table)}
            if self.chance(0.2):
                get["ProjectionExpression"] = self.path()
                if "#n" in get["ProjectionExpression"]:
                    get["ExpressionAttributeNames"] = {"#n": "n"}
            gets.append({"Get": get})
        return self.common({"TransactItems": gets})

    # PartiQL

    def literal(self):
        return self.pick("'a'", "'ab'", "1", "2", "-1.5", "TRUE", "NULL", "[1, 'a']", "{'x': 1}", "<<'a', 'b'>>", "<<1>>")

    def where(self):
        key = self.pick("pk = 'p1' AND sk = 's1'", "pk = 'p1' AND sk = 's1'", "pk = 'p1'", "pk IN ['p1', 'p2']", "pk = 'p1' AND sk > 's1'",
                        "pk = 'p1' AND begins_with(sk, 's')", "sk = 's1'", "pk = ? AND sk = ?")
        if self.chance(0.3):
            key += " AND " + self.pick(f"a = {self.literal()}", "size(b) > 1", "contains(c, 'a')", "d IS MISSING", "e IS NOT MISSING",
                                       f"a IN [{self.literal()}, 2]", "n BETWEEN 1 AND 2", "NOT a = 1", "a <> b", "d.x = 1",
                                       "attribute_exists(a)", "attribute_type(a, 'S')")
        return key

    def statement(self):
        text = self.pick(f'SELECT * FROM "both-keys" WHERE {self.where()}', f'SELECT a, d.x FROM "both-keys" WHERE {self.where()}',
                         f"INSERT INTO \"both-keys\" VALUE {{'pk': 'p1', 'sk': 's{self.r.randint(1, 9)}', 'a': {self.literal()}}}",
                         f'UPDATE "both-keys" SET a = {self.literal()} WHERE {self.where()} RETURNING ALL NEW *',
                         f'UPDATE "both-keys" SET n = n + 1 WHERE {self.where()} RETURNING MODIFIED OLD *',
                         f'UPDATE "both-keys" REMOVE b WHERE {self.where()}',
                         f'DELETE FROM "both-keys" WHERE {self.where()} RETURNING ALL OLD *',
                         f'DELETE FROM "both-keys" WHERE {self.where()}',
                         f'SELECT * FROM "both-keys"."{self.pick("gix", "lix", "none")}" WHERE {self.pick("g", "pk")} = {self.pick("?", "?")}',
                         'SELECT * FROM "hash-only" WHERE id = 1', 'SELECT * FROM "hash-only"', 'SELECT * FROM nothing', "SELECT", "garbage text")
        if self.chance(0.03):
            at = self.r.randint(0, len(text))
            text = text[:at] + self.pick("", "(", "'", "?", " x ") + text[at + 1:]
        out = {"Statement": text}
        if "?" in text:
            out["Parameters"] = [self.pick({"S": "p1"}, {"S": "s1"}, {"S": "g1"}) for _ in range(text.count("?"))]
            if self.chance(0.1):
                out["Parameters"] = self.pick([], [{"S": "p1"}], [{"N": "1"}, {"N": "2"}, {"N": "3"}])
        elif self.chance(0.03):
            out["Parameters"] = [{"S": "x"}]
        return out

    def ExecuteStatement(self):
        request = self.statement()
        if self.chance(0.3):
            request["ReturnConsumedCapacity"] = self.pick("TOTAL", "INDEXES", "NONE")
        if self.chance(0.1):
            request["ConsistentRead"] = self.chance(0.5)
        if self.chance(0.1):
            request["Limit"] = self.pick(1, 2, 0)
        return request

    def BatchExecuteStatement(self):
        return self.common({"Statements": [self.statement() for _ in range(self.r.randint(1, 3))]})

    def ExecuteTransaction(self):
        return self.common({"TransactStatements": [self.statement() for _ in range(self.r.randint(1, 2))]})

    # breaking one place

    def spoil(self, node):
        """Breaks one place of a request, anywhere in it."""
        places = []

        def walk(value):
            if isinstance(value, dict):
                places.extend((value, k) for k in value)
                for v in value.values():
                    walk(v)
            elif isinstance(value, list):
                places.extend((value, i) for i in range(len(value)))
                for v in value:
                    walk(v)
        walk(node)
        if not places:
            return
        where, at = self.r.choice(places)
        how = self.r.random()
        if how < 0.25:
            del where[at]
        elif how < 0.5:
            where[at] = self.bad_value()
        elif how < 0.7 and isinstance(where[at], str):
            text = where[at]
            cut = self.r.randint(0, len(text))
            where[at] = text[:cut] + self.pick("", " ", "(", ")", ",", "#", ":", "x" * 300, "AND", "\"", ".") + text[cut + 1:]
        elif how < 0.85 and isinstance(where, dict):
            where[self.pick("Unknown", "TableName", "Limit", "Select", "ReturnValues", "IndexName")] = self.pick("x", 1, None, {}, [], True)
        else:
            where[at] = self.pick(1, "text", True, [], {}, None, 10 ** 12, -1)
