#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes sigv4_vectors.h: requests signed by botocore, which test_sigv4.c signs again and verifies.

Run with Debian's python3-botocore: ./make_sigv4_vectors.py > sigv4_vectors.h
"""
import datetime

import botocore.auth
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 1, 31, 23, 59, 58)


class FixedTime(datetime.datetime):
    @classmethod
    def utcnow(cls):
        return NOW


botocore.auth.datetime.datetime = FixedTime

JSON = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810.PutItem"}
CASES = [
    # method, host, path, query, headers, body, region, service, token
    ("POST", "dynamodb.us-east-1.amazonaws.com", "/", "", JSON, '{"TableName":"T"}', "us-east-1", "dynamodb", None),
    ("POST", "localhost:8000", "/", "", JSON, "{}", "eu-central-1", "dynamodb", "a+session/token=="),
    ("POST", "localhost:8000", "/", "", {}, "", "local", "dynamodb", None),
    ("POST", "x", "/", "", {"X-Amz-Odd": "  many   spaces  within ", "X-Empty": "", "a-lower": "b"}, "é", "r", "events", None),
    ("GET", "lambda.us-east-1.amazonaws.com", "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af/invocations",
     "Qualifier=%24LATEST", {}, "", "us-east-1", "lambda", None),
    ("GET", "h", "/a/./b/../c//d/", "", {}, "", "r", "s", None),
    ("GET", "h", "/a/..", "", {}, "", "r", "s", None),
    ("GET", "h", "/~-._/%20x", "", {}, "", "r", "s", None),
    ("GET", "h", "/", "b=2&a=1&a=0&c&d=&a%2Fb=%20~&Z=z", {}, "", "r", "s", None),
    ("GET", "h", "/", "x=1", {"Host": "h"}, "", "r", "s", None),
    ("PUT", "h:81", "/k%C3%A9y", "A=%C3%A9&a=b", {"Content-Type": "text/plain; charset=utf-8"}, "x" * 100, "us-gov-west-1", "sqs", "t"),
    ("DELETE", "h", "/p", "", {}, "", "ap-southeast-2", "dynamodb", None),
]


def text(s):
    out, hexed = '"', False
    for b in s.encode():
        c = chr(b)
        if 32 <= b < 127 and not (hexed and c in "0123456789abcdefABCDEF"):
            out += "\\" + c if c in '"\\' else c
            hexed = False
        elif 32 <= b < 127:
            out += '" "' + c
            hexed = False
        else:
            out += "\\x%02x" % b
            hexed = True
    return out + '"'


def view(s):
    return "{%s, %d}" % (text(s), len(s.encode()))


def headers_of(pairs):
    return "{%s}, %d" % (", ".join("{%s, %s}" % (view(k), view(v)) for k, v in pairs) or "{{0, 0}, {0, 0}}", len(pairs))


print("/* SPDX-License-Identifier: MIT */")
print("/* Made by make_sigv4_vectors.py with botocore. */")
print("static const struct vector vectors[] = {")
for method, host, path, query, headers, body, region, service, token in CASES:
    creds = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    url = "http://" + host + path + ("?" + query if query else "")
    given = dict(headers)
    given["Host"] = host
    request = AWSRequest(method=method, url=url, headers=given, data=body.encode())
    SigV4Auth(creds, service, region).add_auth(request)
    print("    {%s, %s, %s, %s, %s, %s, %s, %s,\n     %s}," % (
        view(method), view(path), view(query), headers_of(list(given.items())), view(body), view(region), view(service),
        view(token or ""), text(request.headers["Authorization"])))
print("};")
print("static const struct presigned presigned[] = {")
for path, query in [("/streams/T/events", ""), ("/x", "b=2&a=1%2F")]:
    creds = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    request = AWSRequest(method="GET", url="http://localhost:8000" + path + ("?" + query if query else ""))
    SigV4QueryAuth(creds, "dynamodb", "us-east-1", expires=3600).add_auth(request)
    signed = request.url.split("?", 1)[1]
    print("    {%s, %s}," % (view(path), view(signed)))
print("};")
