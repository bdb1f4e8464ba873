// SPDX-License-Identifier: MIT
// Reads a stream from its beginning with the npm package dynamodb-stream until it has COUNT records; prints what it took.
//     node bench/dynamodb-stream.mjs ENDPOINT STREAM-ARN COUNT

import { createRequire } from 'node:module';
const require = createRequire(new URL('../tests/compat/package.json', import.meta.url));
const { DynamoDBStreams } = require('@aws-sdk/client-dynamodb-streams');
const { unmarshall } = require('@aws-sdk/util-dynamodb');
const DynamoDBStream = require('dynamodb-stream');

const [endpoint, arn, count] = process.argv.slice(2);
const client = new DynamoDBStreams({
  endpoint, region: 'us-east-1', credentials: { accessKeyId: 'tailrace', secretAccessKey: 'tailrace' },
});
const stream = new DynamoDBStream(client, arn, unmarshall);
let records = 0;
for (const event of ['insert record', 'modify record', 'remove record']) stream.on(event, () => records++);

// It begins at LATEST by itself, so it is given iterators to where the shards begin.
const state = {};
for (const { ShardId } of (await client.describeStream({ StreamArn: arn })).StreamDescription.Shards) {
  const { ShardIterator } = await client.getShardIterator({ StreamArn: arn, ShardId, ShardIteratorType: 'TRIM_HORIZON' });
  state[ShardId] = { shardId: ShardId, nextShardIterator: ShardIterator };
}
stream.setShardState(state);
const cpu = process.cpuUsage();
const began = process.hrtime.bigint();
let idle = 0;
while (records < +count && idle < 20) {
  const before = records;
  await stream.fetchStreamState();
  idle = records > before ? 0 : idle + 1;
}
const seconds = Number(process.hrtime.bigint() - began) / 1e9;
const { user, system } = process.cpuUsage(cpu);
console.log(JSON.stringify({ records, seconds, cpu_s: (user + system) / 1e6 }));
process.exit(0);
