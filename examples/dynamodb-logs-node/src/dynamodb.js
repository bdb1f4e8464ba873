// SPDX-License-Identifier: MIT
// DynamoDB with nothing to install: Node's own fetch against the local server, the SDK of Lambda's runtime on AWS.
'use strict';

const offline = Boolean(process.env.IS_OFFLINE);
const endpoint = process.env.AWS_ENDPOINT_URL_DYNAMODB || process.env.AWS_ENDPOINT_URL || 'http://127.0.0.1:8000';

async function local(operation, body) {
  const answer = await fetch(endpoint, {
    method: 'POST',
    headers: { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': `DynamoDB_20120810.${operation}` },
    body: JSON.stringify(body),
  });
  const value = await answer.json();
  if (answer.ok) return value;
  const error = new Error(value.message || value.Message || operation);
  error.name = String(value.__type).split('#').pop();
  throw error;
}

let client;
async function aws(operation, body) {
  const sdk = require('@aws-sdk/client-dynamodb');
  client = client || new sdk.DynamoDBClient({});
  return client.send(new sdk[`${operation}Command`](body));
}

exports.call = offline ? local : aws;

exports.marshal = (value) => (typeof value === 'number' ? { N: String(value) }
  : typeof value === 'boolean' ? { BOOL: value }
    : value && typeof value === 'object'
      ? { M: Object.fromEntries(Object.entries(value).map(([k, v]) => [k, exports.marshal(v)])) }
      : { S: String(value) });

exports.unmarshal = (value) => ('N' in value ? Number(value.N) : 'BOOL' in value ? value.BOOL
  : 'M' in value ? Object.fromEntries(Object.entries(value.M).map(([k, v]) => [k, exports.unmarshal(v)]))
    : 'L' in value ? value.L.map(exports.unmarshal) : 'NULL' in value ? null : value.S);
