// SPDX-License-Identifier: MIT
// The npm package dynamodb-stream 1.1.4, which many programs consume streams with, works as it is.

import test from 'node:test';
import assert from 'node:assert/strict';
import DynamoDBStream from 'dynamodb-stream';
import { unmarshall } from '@aws-sdk/util-dynamodb';
import { spawn, execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connect, disconnect, endpoint, eventually, makeTable, newName, withStream } from './lib.mjs';

const clients = connect();
const { db, streams } = clients;
test.after(disconnect);

/** A consumer and what it emitted, in order. */
function consume(arn) {
  const stream = new DynamoDBStream(streams, arn, unmarshall);
  const events = [];
  stream.on('insert record', (item, keys) => events.push(['insert', item, keys]));
  stream.on('modify record', (now, before, keys) => events.push(['modify', now, before, keys]));
  stream.on('remove record', (item, keys) => events.push(['remove', item, keys]));
  stream.on('new shards', (ids) => events.push(['shards', ids.length > 0]));
  return { stream, events };
}

const put = (table, pk, n) => db.putItem({ TableName: table.name, Item: { pk: { S: pk }, n: { N: String(n) } } });
const remove = (table, pk) => db.deleteItem({ TableName: table.name, Key: { pk: { S: pk } } });

test('insert, modify and remove are emitted in order, unmarshalled', async (t) => {
  const table = await makeTable(t, clients, withStream());
  const { stream, events } = consume(table.arn);
  await stream.fetchStreamState(); // marks where LATEST is, in each shard
  assert.deepEqual(events, [['shards', true]]);
  await put(table, 'a', 1);
  await put(table, 'a', 2);
  await remove(table, 'a');
  for (let i = 0; i < 10 && events.length < 4; i++) await stream.fetchStreamState();
  assert.deepEqual(events.slice(1), [
    ['insert', { pk: 'a', n: 1 }, { pk: 'a' }],
    ['modify', { pk: 'a', n: 2 }, { pk: 'a', n: 1 }, { pk: 'a' }],
    ['remove', { pk: 'a', n: 2 }, { pk: 'a' }],
  ]);
});

test('its state is taken over by another instance, and nothing is missed or told twice', async (t) => {
  const table = await makeTable(t, clients, withStream());
  const first = consume(table.arn);
  await first.stream.fetchStreamState();
  for (let i = 0; i < 20; i++) await put(table, `item${i}`, i);
  for (let i = 0; i < 10 && first.events.length < 21; i++) await first.stream.fetchStreamState();
  const state = JSON.parse(JSON.stringify(first.stream.getShardState())); // as it would be kept in a file
  for (let i = 0; i < 20; i++) await put(table, `item${i}`, i + 100);
  const second = consume(table.arn);
  second.stream.setShardState(state);
  for (let i = 0; i < 10 && second.events.length < 20; i++) await second.stream.fetchStreamState();
  const inserts = first.events.filter((e) => e[0] === 'insert').map((e) => e[1].n).sort((a, b) => a - b);
  assert.deepEqual(inserts, Array.from({ length: 20 }, (_, i) => i));
  const modifies = second.events.filter((e) => e[0] === 'modify').map((e) => [e[2].n, e[1].n]).sort((a, b) => a[0] - b[0]);
  assert.deepEqual(modifies, Array.from({ length: 20 }, (_, i) => [i, i + 100]));
  assert.equal(second.events.filter((e) => e[0] !== 'modify').length, 0);
});

test('a subclass transforms records its own way', async (t) => {
  class Raw extends DynamoDBStream {
    _transformRecord(record) {
      return record;
    }
  }
  const table = await makeTable(t, clients, withStream());
  const stream = new Raw(streams, table.arn);
  const seen = [];
  stream.on('insert record', (item) => seen.push(item));
  await stream.fetchStreamState();
  await put(table, 'a', 1);
  for (let i = 0; i < 10 && !seen.length; i++) await stream.fetchStreamState();
  assert.deepEqual(seen, [{ pk: { S: 'a' }, n: { N: '1' } }]);
});

// ------------------------------------------------------------------------------- from it to tailrace, and back

const binary = process.env.COMPAT_BINARY;
const tailrace = async (...options) => (await promisify(execFile)(binary, [...options, '--endpoint', endpoint])).stdout;
const lines = (text) => text.split('\n').filter(Boolean).map((line) => JSON.parse(line));

async function directory(t) {
  const path = await mkdtemp(join(tmpdir(), 'handover-'));
  t.after(() => rm(path, { recursive: true }));
  return path;
}

/** What an instance emits from now on until it has `count` changes: [item, n] each. */
async function changesOf({ stream, events }, count) {
  const changes = () => events.filter((e) => e[0] !== 'shards');
  for (let i = 0; i < 20 && changes().length < count; i++) await stream.fetchStreamState();
  await stream.fetchStreamState(); // and nothing more
  const emitted = changes().map((e) => [e[1].pk, e[1].n]);
  events.length = 0;
  return emitted;
}

const inOrder = (changes) => [...changes].sort((a, b) => a[1] - b[1]);
/** Changes number from to to, each of another item than the one before. */
async function write(table, from, to) {
  for (let n = from; n < to; n++) await put(table, `item${n % 7}`, n);
}
const expected = (from, to) => Array.from({ length: to - from }, (_, i) => [`item${(from + i) % 7}`, from + i]);

test('a consumer is handed to tailrace and back, again and again: nothing is lost, nothing comes twice', async (t) => {
  const table = await makeTable(t, clients, withStream());
  const state = join(await directory(t), 'state');
  const iterators = state + '.iterators';
  const first = consume(table.arn);
  await first.stream.fetchStreamState();
  let done = 0;
  const seen = [];
  let mine = first;
  for (let round = 0; round < 3; round++) {
    await write(table, done, done + 10);
    seen.push(...await changesOf(mine, 10));
    await write(table, done + 10, done + 25); // while nobody looks
    await writeFile(state, JSON.stringify(mine.stream.getShardState()));
    const printed = lines(await tailrace('tail', table.name, '--once', '--state', state, '--iterators', iterators));
    seen.push(...printed.map((line) => [line.keys.pk, line.new.n]));
    assert.deepEqual(inOrder(seen), expected(0, done + 25), `round ${round}, to tailrace`);
    await write(table, done + 25, done + 40);
    mine = consume(table.arn);
    mine.stream.setShardState(JSON.parse(await readFile(iterators, 'utf8')));
    seen.push(...await changesOf(mine, 15));
    assert.deepEqual(inOrder(seen), expected(0, done + 40), `round ${round}, back`);
    done += 40;
  }
});

test('a consumer becomes a fleet of tailrace: nothing is lost, nothing comes twice', async (t) => {
  const table = await makeTable(t, clients, withStream());
  const state = join(await directory(t), 'state');
  const leases = newName();
  t.after(() => db.deleteTable({ TableName: leases }).catch(() => {}));
  const mine = consume(table.arn);
  await mine.stream.fetchStreamState();
  await write(table, 0, 20);
  const seen = await changesOf(mine, 20);
  await write(table, 20, 50);
  await writeFile(state, JSON.stringify(mine.stream.getShardState()));
  await tailrace('leases', 'import', leases, state);
  const workers = [0, 1].map(() => {
    const child = spawn(binary, ['tail', table.name, '--name', leases, '--endpoint', endpoint], { stdio: ['ignore', 'pipe', 'ignore'] });
    const worker = { child, text: '' };
    child.stdout.on('data', (part) => { worker.text += part; });
    t.after(() => child.kill());
    return worker;
  });
  const printed = () => workers.flatMap((w) => lines(w.text.slice(0, w.text.lastIndexOf('\n') + 1)));
  await eventually('the rest is printed', () => printed().length >= 30);
  seen.push(...printed().map((line) => [line.keys.pk, line.new.n]));
  assert.deepEqual(inOrder(seen), expected(0, 50));
});
