// SPDX-License-Identifier: MIT
// The npm package dynamodb-stream 1.1.4, which many programs consume streams with, works as it is.

import test from 'node:test';
import assert from 'node:assert/strict';
import DynamoDBStream from 'dynamodb-stream';
import { unmarshall } from '@aws-sdk/util-dynamodb';
import { connect, disconnect, makeTable, withStream } from './lib.mjs';

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
