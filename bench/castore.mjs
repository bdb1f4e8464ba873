// SPDX-License-Identifier: MIT
// bench_eventstore.c with castore: pushes with many under way, getEvents of a long aggregate, folding it.
//     node bench/castore.mjs ENDPOINT push IN-FLIGHT SECONDS | get EVENTS SECONDS | aggregate EVENTS SECONDS

import { createRequire } from 'node:module';
const require = createRequire(new URL('../tests/compat/package.json', import.meta.url));
const { DynamoDBClient } = require('@aws-sdk/client-dynamodb');
const { EventStore } = require('@castore/core');
const { DynamoDBSingleTableEventStorageAdapter } = require('@castore/event-storage-adapter-dynamodb');

const [endpoint, what, countText, secondsText] = process.argv.slice(2);
const [count, seconds] = [+countText, +secondsText];
const dynamoDBClient = new DynamoDBClient({
  endpoint, region: 'us-east-1', credentials: { accessKeyId: 'tailrace', secretAccessKey: 'tailrace' },
});
const store = new EventStore({
  eventStoreId: 'BENCH', eventTypes: [],
  reducer: (aggregate, event) => ({ aggregateId: event.aggregateId, version: event.version, n: (aggregate?.n ?? 0) + event.payload.n }),
  eventStorageAdapter: new DynamoDBSingleTableEventStorageAdapter({ tableName: 'events', dynamoDBClient }),
});
const payload = { n: 7, text: 'x'.repeat(128) };
const event = (aggregateId, version) => ({ aggregateId, version, type: 'MOVED', payload });

const samples = [];
let began, cpu;
function begin() {
  samples.length = 0;
  cpu = process.cpuUsage();
  began = process.hrtime.bigint();
}
const now = () => Number(process.hrtime.bigint()) / 1e9;
function report(name, each) {
  const took = Number(process.hrtime.bigint() - began) / 1e9;
  const { user, system } = process.cpuUsage(cpu);
  samples.sort((a, b) => a - b);
  console.log(JSON.stringify({
    name, per_second: samples.length / took, events_per_second: samples.length * each / took,
    cpu_us: (user + system) / samples.length, p50_us: Math.round(samples[samples.length >> 1] * 1e6),
    p99_us: Math.round(samples[samples.length - 1 - Math.floor(samples.length / 100)] * 1e6),
  }));
}

async function pushers(ids, versions, until) {
  begin();
  await Promise.all(ids.map(async (id, i) => {
    for (let since = now(); since < until; since = now()) {
      await store.pushEvent(event(id, ++versions[i]));
      samples.push(now() - since);
    }
  }));
}

async function fill(id, n) {
  let version = 0;
  while (version < n) {
    const batch = [];
    while (batch.length < 100 && version < n) batch.push(store.groupEvent(event(id, ++version)));
    await EventStore.pushEventGroup(...batch);
  }
}

async function repeat(fn) {
  begin();
  const until = now() + seconds;
  do {
    const since = now();
    await fn();
    samples.push(now() - since);
  } while (now() < until);
}

if (what === 'push') {
  const ids = Array.from({ length: count }, (_, i) => `castore-${Date.now()}-${i}`);
  const versions = ids.map(() => 0);
  await pushers(ids, versions, now() + Math.max(1, seconds / 4)); // to warm up
  await pushers(ids, versions, now() + seconds);
  report('push', 1);
} else {
  const id = `castore-long-${Date.now()}`;
  await fill(id, count);
  const get = async () => {
    if (what === 'get') {
      if ((await store.getEvents(id)).events.length !== count) throw new Error('events are missing');
    } else if ((await store.getAggregate(id)).aggregate.n !== count * 7) throw new Error('not the aggregate');
  };
  for (let i = 0; i < 20; i++) await get();
  await repeat(get);
  report(what, count);
}
process.exit(0);
