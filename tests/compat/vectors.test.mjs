// SPDX-License-Identifier: MIT
// The AWS SDK for JavaScript v3 with vector indexes: created with a table and later, searched, deleted.

import test from 'node:test';
import assert from 'node:assert/strict';
import { SearchVectorsCommand } from '@aws-sdk/client-dynamodb';
import { connect, disconnect, eventually, kind, makeTable } from './lib.mjs';

const clients = connect();
const { db } = clients;
test.after(disconnect);

// the other local servers of these tests have no vector indexes
const only = { skip: kind !== 'tailrace' && 'no vector indexes' };

const numbers = (...list) => list.map((n) => ({ N: String(n) }));
const index = (IndexName, DistanceFunction, more = {}) => ({
  IndexName, DistanceFunction, VectorAttribute: { AttributeName: 'v' }, Dimensions: 2,
  Projection: { ProjectionType: 'ALL' }, ...more,
});
const AttributeDefinitions = ['pk', 'tenant'].map((AttributeName) => ({ AttributeName, AttributeType: 'S' }));
const SearchSchema = [{ AttributeName: 'tenant', SearchSchemaElementType: 'HASH' }];

const search = async (TableName, IndexName, vector, more = {}) => {
  const { SearchResults, ConsumedCapacity } = await db.send(new SearchVectorsCommand({
    TableName, IndexName, SearchVector: numbers(...vector), TopK: 10, ...more,
  }));
  return { found: SearchResults.map(({ Item }) => Item.pk.S).join(' '), SearchResults, ConsumedCapacity };
};

async function fill(TableName) {
  for (const [pk, tenant, v] of [['a', 't1', [1, 0]], ['b', 't1', [0, 1]], ['c', 't2', [-1, 0]], ['d', 't1', [0.6, 0.8]]])
    await db.putItem({ TableName, Item: { pk: { S: pk }, tenant: { S: tenant }, v: { L: numbers(...v) } } });
}

test('indexes made with the table: distances, partitions, capacity', only, async (t) => {
  const { name } = await makeTable(t, clients, {
    AttributeDefinitions,
    VectorIndexes: [index('cosine', 'COSINE'), index('dot', 'DOT_PRODUCT'), index('split', 'EUCLIDEAN', { SearchSchema })],
  });
  const { Table } = await db.describeTable({ TableName: name });
  assert.deepEqual(Table.VectorIndexes.map((i) => [i.IndexName, i.IndexStatus]),
    [['cosine', 'ACTIVE'], ['dot', 'ACTIVE'], ['split', 'ACTIVE']]);
  assert.deepEqual(Table.VectorIndexes[2].SearchSchema, SearchSchema);
  assert.match(Table.VectorIndexes[0].IndexArn, /\/index\/cosine$/);
  await fill(name);
  const { found, SearchResults } = await search(name, 'cosine', [1, 0]);
  assert.equal(found, 'a d b c');
  assert.equal(SearchResults[0].Score, 0);
  assert.equal(SearchResults[3].Score, 2);
  assert.equal(SearchResults[0].Item.v, undefined);
  assert.equal((await search(name, 'dot', [1, 0], { TopK: 2 })).found, 'a d');
  const scoped = await search(name, 'split', [1, 0], {
    SearchConditionExpression: '#t = :t', ExpressionAttributeNames: { '#t': 'tenant' },
    ExpressionAttributeValues: { ':t': { S: 't1' } }, ReturnConsumedCapacity: 'TOTAL',
  });
  assert.equal(scoped.found, 'a d b');
  assert.ok(scoped.ConsumedCapacity.VectorSearchRequestBytes >= 1024);
  const { ConsumedCapacity } = await db.putItem({
    TableName: name, ReturnConsumedCapacity: 'INDEXES', Item: { pk: { S: 'e' }, v: { L: numbers(1, 1) } },
  });
  assert.deepEqual(ConsumedCapacity.VectorIndexes,
    { cosine: { VectorWriteRequestBytes: 1024 }, dot: { VectorWriteRequestBytes: 1024 } });
  await assert.rejects(search(name, 'split', [1, 0]), { name: 'ValidationException', message: /must be provided/ });
  await assert.rejects(search(name, 'cosine', [1]), { name: 'ValidationException', message: /dimension 1 does not match/ });
  await assert.rejects(db.putItem({ TableName: name, Item: { pk: { S: 'x' }, v: { L: numbers(1) } } }),
    { name: 'ValidationException', message: /Expected: 2, Actual: 1/ });
});

test('an index of a live table is filled, searched and deleted', only, async (t) => {
  const { name } = await makeTable(t, clients);
  await fill(name);
  await db.updateTable({ TableName: name, VectorIndexUpdates: [{ Create: index('late', 'EUCLIDEAN') }] });
  const of = async () => (await db.describeTable({ TableName: name })).Table.VectorIndexes?.[0];
  await eventually('the index is active', async () => {
    const { IndexStatus, Backfilling } = await of();
    return IndexStatus === 'ACTIVE' && !Backfilling;
  });
  assert.equal((await search(name, 'late', [1, 0])).found, 'a d b c');
  await db.updateItem({
    TableName: name, Key: { pk: { S: 'a' } }, UpdateExpression: 'SET v[0] = :x', ExpressionAttributeValues: { ':x': { N: '-3' } },
  });
  assert.equal((await search(name, 'late', [1, 0])).found, 'd b c a');
  const { SearchResults } = await search(name, 'late', [-3, 0], { TopK: 1, ProjectionExpression: 'pk, v' });
  assert.deepEqual(SearchResults[0], { Item: { pk: { S: 'a' }, v: { L: numbers(-3, 0) } }, Score: 0 });
  await db.updateTable({ TableName: name, VectorIndexUpdates: [{ Delete: { IndexName: 'late' } }] });
  await eventually('the index is gone', async () => !await of());
  await assert.rejects(search(name, 'late', [1, 0]), { name: 'ValidationException', message: /does not have the specified index/ });
});
