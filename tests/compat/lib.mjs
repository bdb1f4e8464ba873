// SPDX-License-Identifier: MIT
// What the JavaScript tests share: clients of the server under test, tables of their own, and waiting.

import { DynamoDB, waitUntilTableExists } from '@aws-sdk/client-dynamodb';
import { DynamoDBStreams } from '@aws-sdk/client-dynamodb-streams';
import { randomUUID } from 'node:crypto';

export const endpoint = process.env.COMPAT_ENDPOINT;
export const kind = process.env.COMPAT_KIND;
if (!endpoint || !kind) throw new Error('run by tests/compat/run, which says where the server is');

const credentials = { accessKeyId: 'tailrace', secretAccessKey: 'tailrace' };
const clients = [];

export function connect(at = endpoint) {
  const options = { endpoint: at, region: 'us-east-1', credentials, maxAttempts: 2 };
  const made = { db: new DynamoDB(options), streams: new DynamoDBStreams(options) };
  clients.push(made.db, made.streams);
  return made;
}

/** Lets node end: idle connections would keep it for a while. */
export function disconnect() {
  for (const client of clients) client.destroy();
}

export const newName = () => 't' + randomUUID().replaceAll('-', '').slice(0, 16);
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** The first value of fn that is not undefined or false, asked for every 50 ms. */
export async function eventually(what, fn, withinMs = 120000) {
  const until = Date.now() + withinMs;
  for (;;) {
    const value = await fn();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > until) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(50);
  }
}

/** A table with the string key pk, or pk and sk, that is gone after the test. */
export async function makeTable(t, { db }, more = {}) {
  const TableName = newName();
  const { TableDescription } = await db.createTable({
    TableName,
    BillingMode: 'PAY_PER_REQUEST',
    AttributeDefinitions: [{ AttributeName: 'pk', AttributeType: 'S' }],
    KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }],
    ...more,
  });
  t.after(() => db.deleteTable({ TableName }).catch(() => {}));
  await waitUntilTableExists({ client: db, maxWaitTime: 180, minDelay: 0.05, maxDelay: 0.5 }, { TableName });
  return { name: TableName, arn: TableDescription.LatestStreamArn };
}

export const withStream = (view = 'NEW_AND_OLD_IMAGES') => ({
  StreamSpecification: { StreamEnabled: true, StreamViewType: view },
});

export async function allShards({ streams }, arn, more = {}) {
  const shards = [];
  let last;
  do {
    const { StreamDescription } = await streams.describeStream({
      StreamArn: arn, ExclusiveStartShardId: last, ...more,
    });
    shards.push(...StreamDescription.Shards);
    last = StreamDescription.LastEvaluatedShardId;
  } while (last);
  return shards;
}

/** Everything from an iterator to where there is nothing more now. next is null if the shard is closed. */
export async function drain({ streams }, iterator, limit) {
  const records = [];
  let next = iterator;
  let empty = 0;
  while (next && empty < 2) {
    const answer = await streams.getRecords({ ShardIterator: next, Limit: limit });
    records.push(...answer.Records);
    empty = answer.Records.length ? 0 : empty + 1;
    next = answer.NextShardIterator ?? null;
  }
  return { records, next };
}

/** All records of a stream from its beginning, parents before children, each shard's in its order. */
export async function readStream(clients_, arn) {
  const shards = await allShards(clients_, arn);
  const known = new Set(shards.map((s) => s.ShardId));
  const done = new Set();
  const records = [];
  while (done.size < shards.length) {
    const ready = shards.filter((s) => !done.has(s.ShardId) &&
      (!s.ParentShardId || !known.has(s.ParentShardId) || done.has(s.ParentShardId)));
    if (!ready.length) throw new Error('shards are each others parents');
    for (const { ShardId } of ready) {
      const { ShardIterator } = await clients_.streams.getShardIterator({
        StreamArn: arn, ShardId, ShardIteratorType: 'TRIM_HORIZON',
      });
      records.push(...(await drain(clients_, ShardIterator)).records);
      done.add(ShardId);
    }
  }
  return records;
}

/** Waits until a stream has that many records, and gives them. */
export const recordsOf = (clients_, arn, count) => eventually(`${count} records`, async () => {
  const records = await readStream(clients_, arn);
  return records.length >= count ? records : undefined;
});

/** Skips a test on servers that are known to be otherwise: { local: 'why' }. */
export const except = (why) => (why[kind] ? { skip: why[kind] } : {});
/** Only on tailrace: what no other server offers, or not within a test's time. */
export const onlyTailrace = kind === 'tailrace' ? {} : { skip: 'tailrace only' };

/** Another tailrace server with its own options: { at, stop }. */
export async function startTailrace(t, ...options) {
  const { spawn } = await import('node:child_process');
  const child = spawn(process.env.COMPAT_BINARY, ['serve', '--memory', '--listen', '127.0.0.1:0', ...options], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.after(() => child.kill());
  return new Promise((done, failed) => {
    let text = '';
    child.stderr.on('data', (part) => {
      text += part;
      const found = /listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(text);
      if (found) done(connect(found[1]));
    });
    child.on('exit', () => failed(new Error('it ended: ' + text)));
  });
}
