// SPDX-License-Identifier: MIT
// Follows a table with the npm package dynamodb-stream, a poll every INTERVAL-MS as its README does it, and tells how long
// WRITES writes took to come; with 0 writes it only polls for SECONDS.
//     node bench/dynamodb-stream-delay.mjs ENDPOINT STREAM-ARN TABLE INTERVAL-MS WRITES SECONDS

import { createRequire } from 'node:module';
const require = createRequire(new URL('../tests/compat/package.json', import.meta.url));
const { DynamoDB } = require('@aws-sdk/client-dynamodb');
const { DynamoDBStreams } = require('@aws-sdk/client-dynamodb-streams');
const { unmarshall } = require('@aws-sdk/util-dynamodb');
const DynamoDBStream = require('dynamodb-stream');

const [endpoint, arn, TableName, interval, writes, seconds] = process.argv.slice(2);
const options = { endpoint, region: 'us-east-1', credentials: { accessKeyId: 'tailrace', secretAccessKey: 'tailrace' } };
const db = new DynamoDB(options);
const stream = new DynamoDBStream(new DynamoDBStreams(options), arn, unmarshall);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const took = [];
const sent = new Map();
for (const event of ['insert record', 'modify record']) {
  stream.on(event, (item) => took.push(performance.now() - sent.get(item.n)));
}

await stream.fetchStreamState();
let over = false;
const poll = (async () => {
  while (!over) {
    if (+interval) await sleep(+interval);
    await stream.fetchStreamState();
  }
})();
for (let n = 0; n < +writes; n++) {
  sent.set(n, performance.now());
  await db.putItem({ TableName, Item: { pk: { S: String(n % 64) }, sk: { S: 'x' }, n: { N: String(n) }, run: { N: String(process.pid) } } });
  await sleep(+interval ? +interval * 0.37 : 5);
}
const deadline = performance.now() + (+writes ? 3 * interval + 20000 : seconds * 1000);
while (performance.now() < deadline && !(+writes && took.length === +writes)) await sleep(10);
over = true;
await poll;
took.sort((a, b) => a - b);
const at = (share) => (took.length ? took[Math.min(took.length - 1, Math.floor(took.length * share))] * 1000 : null);
console.log(JSON.stringify({ writes: took.length, p50_us: at(0.5), p99_us: at(0.99) }));
process.exit(0);
