/* SPDX-License-Identifier: MIT */
/* Made by make_sigv4_vectors.py with botocore. */
static const struct vector vectors[] = {
    {{"POST", 4}, {"/", 1}, {"", 0}, {{{"Content-Type", 12}, {"application/x-amz-json-1.0", 26}}, {{"X-Amz-Target", 12}, {"DynamoDB_20120810.PutItem", 25}}, {{"Host", 4}, {"dynamodb.us-east-1.amazonaws.com", 32}}}, 3, {"{\"TableName\":\"T\"}", 17}, {"us-east-1", 9}, {"dynamodb", 8}, {"", 0},
     "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/us-east-1/dynamodb/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=1a768f1a25850ed95a0f67755da76f99d926239a03ac2a55e08e1be5ff0d3a23"},
    {{"POST", 4}, {"/", 1}, {"", 0}, {{{"Content-Type", 12}, {"application/x-amz-json-1.0", 26}}, {{"X-Amz-Target", 12}, {"DynamoDB_20120810.PutItem", 25}}, {{"Host", 4}, {"localhost:8000", 14}}}, 3, {"{}", 2}, {"eu-central-1", 12}, {"dynamodb", 8}, {"a+session/token==", 17},
     "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/eu-central-1/dynamodb/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=81644e4b8bb5dfaf8c2a29720ba52bc4072973efcdcf8f3523075728885305b7"},
    {{"POST", 4}, {"/", 1}, {"", 0}, {{{"Host", 4}, {"localhost:8000", 14}}}, 1, {"", 0}, {"local", 5}, {"dynamodb", 8}, {"", 0},
     "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/local/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=d29dbfe1e3468242e79e24a7ab54591bd01a1b7d78b8a7ab397ea3af493c2197"},
    {{"POST", 4}, {"/", 1}, {"", 0}, {{{"X-Amz-Odd", 9}, {"  many   spaces  within ", 24}}, {{"X-Empty", 7}, {"", 0}}, {{"a-lower", 7}, {"b", 1}}, {{"Host", 4}, {"x", 1}}}, 4, {"\xc3\xa9", 2}, {"r", 1}, {"events", 6}, {"", 0},
     "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/r/events/aws4_request, SignedHeaders=a-lower;host;x-amz-date;x-amz-odd;x-empty, Signature=7a0e9eca0ba1adfd98031c78cd91e58e060d83070995a13029ddfb346e547751"},
    {{"GET", 3}, {"/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af/invocations", 83}, {"Qualifier=%24LATEST", 19}, {{{"Host", 4}, {"lambda.us-east-1.amazonaws.com", 30}}}, 1, {"", 0}, {"us-east-1", 9}, {"lambda", 6}, {"", 0},
     "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=9181f4bf6e34dda6680629f2bedaee55283ca336c1b0d9b4cdb96c352de99d66"},
    {{"GET", 3}, {"/a/./b/../c//d/", 15}, {"", 0}, {{{"Host", 4}, {"h", 1}}}, 1, {"", 0}, {"r", 1}, {"s", 1}, {"", 0},
     "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/r/s/aws4_request, SignedHeaders=host;x-amz-date, Signature=05aab52c966c083f42a0beef8115b1c97bb0c2bd06e8bf4dda0b092389fb2e9f"},
    {{"GET", 3}, {"/a/..", 5}, {"", 0}, {{{"Host", 4}, {"h", 1}}}, 1, {"", 0}, {"r", 1}, {"s", 1}, {"", 0},
     "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/r/s/aws4_request, SignedHeaders=host;x-amz-date, Signature=45a535ed9a978ea04b40f31392dc020d3441bb5d00799bed5b15ba29e6176398"},
    {{"GET", 3}, {"/~-._/%20x", 10}, {"", 0}, {{{"Host", 4}, {"h", 1}}}, 1, {"", 0}, {"r", 1}, {"s", 1}, {"", 0},
     "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/r/s/aws4_request, SignedHeaders=host;x-amz-date, Signature=54f614087a1b7f951ec91f1b26554c870be3701f1d3298cd14fdd90dc88bcb4f"},
    {{"GET", 3}, {"/", 1}, {"b=2&a=1&a=0&c&d=&a%2Fb=%20~&Z=z", 31}, {{{"Host", 4}, {"h", 1}}}, 1, {"", 0}, {"r", 1}, {"s", 1}, {"", 0},
     "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/r/s/aws4_request, SignedHeaders=host;x-amz-date, Signature=08479f7b837233ef733b8aa314022ffc6b3be478f1ab9469cd1a12282f1abac2"},
    {{"GET", 3}, {"/", 1}, {"x=1", 3}, {{{"Host", 4}, {"h", 1}}}, 1, {"", 0}, {"r", 1}, {"s", 1}, {"", 0},
     "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/r/s/aws4_request, SignedHeaders=host;x-amz-date, Signature=dc5a62bb27fc69a92794ebab730b017088444ee4d7d98eb8d937bd337aeb177a"},
    {{"PUT", 3}, {"/k%C3%A9y", 9}, {"A=%C3%A9&a=b", 12}, {{{"Content-Type", 12}, {"text/plain; charset=utf-8", 25}}, {{"Host", 4}, {"h:81", 4}}}, 2, {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 100}, {"us-gov-west-1", 13}, {"sqs", 3}, {"t", 1},
     "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/us-gov-west-1/sqs/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=ebc4dbf501ea0e3542abf46ead52925d579bea15d5519fc72109984294cae46b"},
    {{"DELETE", 6}, {"/p", 2}, {"", 0}, {{{"Host", 4}, {"h", 1}}}, 1, {"", 0}, {"ap-southeast-2", 14}, {"dynamodb", 8}, {"", 0},
     "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/ap-southeast-2/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=9e4d94900f9a823dbb16108c2d1deaffbfa1369a01171d8c77b1e33fca3d498d"},
};
static const struct presigned presigned[] = {
    {{"/streams/T/events", 17}, {"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260131%2Fus-east-1%2Fdynamodb%2Faws4_request&X-Amz-Date=20260131T235958Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=a246215b665dc41f7e16baea8d984422abc6b25c3e3311dde4fe311100f463be", 263}},
    {{"/x", 2}, {"b=2&a=1%2F&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260131%2Fus-east-1%2Fdynamodb%2Faws4_request&X-Amz-Date=20260131T235958Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=7d4215b2a72352748e0b44edce8bcb02285dc9091ca9815a5e17769ffe7457c7", 274}},
};
