// SPDX-License-Identifier: MIT
// The AWS SDK for JavaScript v3 does every operation of DynamoDB as programs do.

import test from 'node:test';
import assert from 'node:assert/strict';
import {
  paginateListTables, paginateQuery, paginateScan, waitUntilTableNotExists, ReturnValue,
} from '@aws-sdk/client-dynamodb';
import { DynamoDBDocument } from '@aws-sdk/lib-dynamodb';
import { connect, disconnect, eventually, except, makeTable, newName } from './lib.mjs';

const clients = connect();
const { db } = clients;
test.after(disconnect);

const sorted = {
  AttributeDefinitions: [
    { AttributeName: 'pk', AttributeType: 'S' }, { AttributeName: 'sk', AttributeType: 'N' },
    { AttributeName: 'g', AttributeType: 'S' },
  ],
  KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }, { AttributeName: 'sk', KeyType: 'RANGE' }],
  GlobalSecondaryIndexes: [{
    IndexName: 'byG', KeySchema: [{ AttributeName: 'g', KeyType: 'HASH' }], Projection: { ProjectionType: 'ALL' },
  }],
};

test('CreateTable, DescribeTable, ListTables, DeleteTable with their waiters', async (t) => {
  const { name } = await makeTable(t, clients, sorted);
  const { Table } = await db.describeTable({ TableName: name });
  assert.equal(Table.TableStatus, 'ACTIVE');
  assert.ok(Table.CreationDateTime instanceof Date);
  assert.ok(Math.abs(Table.CreationDateTime - Date.now()) < 120_000);
  assert.equal(Table.GlobalSecondaryIndexes[0].IndexStatus, 'ACTIVE');
  assert.match(Table.TableArn, new RegExp(`:table/${name}$`));
  const names = [];
  for await (const page of paginateListTables({ client: db, pageSize: 2 }, {})) names.push(...page.TableNames);
  assert.ok(names.includes(name));
  assert.deepEqual(names, [...names].sort());
  await assert.rejects(db.createTable({ TableName: name, ...sorted, BillingMode: 'PAY_PER_REQUEST' }),
    { name: 'ResourceInUseException' });
  await db.deleteTable({ TableName: name });
  await waitUntilTableNotExists({ client: db, maxWaitTime: 20, minDelay: 0.05, maxDelay: 0.5 }, { TableName: name });
  await assert.rejects(db.describeTable({ TableName: name }), { name: 'ResourceNotFoundException' });
});

test('UpdateTable: billing mode, an index added and removed', async (t) => {
  const { name } = await makeTable(t, clients, {
    BillingMode: 'PROVISIONED', ProvisionedThroughput: { ReadCapacityUnits: 1, WriteCapacityUnits: 1 },
  });
  await db.updateTable({ TableName: name, BillingMode: 'PAY_PER_REQUEST' });
  const active = () => eventually('active', async () => {
    const { Table } = await db.describeTable({ TableName: name });
    const indexes = Table.GlobalSecondaryIndexes ?? [];
    return Table.TableStatus === 'ACTIVE' && indexes.every((i) => i.IndexStatus === 'ACTIVE') ? Table : undefined;
  });
  await active();
  await db.putItem({ TableName: name, Item: { pk: { S: 'a' }, g: { S: 'x' } } });
  await db.updateTable({
    TableName: name,
    AttributeDefinitions: [{ AttributeName: 'pk', AttributeType: 'S' }, { AttributeName: 'g', AttributeType: 'S' }],
    GlobalSecondaryIndexUpdates: [{
      Create: {
        IndexName: 'later', KeySchema: [{ AttributeName: 'g', KeyType: 'HASH' }],
        Projection: { ProjectionType: 'KEYS_ONLY' },
      },
    }],
  });
  assert.equal((await active()).GlobalSecondaryIndexes.length, 1);
  const { Items } = await db.query({
    TableName: name, IndexName: 'later', KeyConditionExpression: 'g = :g', ExpressionAttributeValues: { ':g': { S: 'x' } },
  });
  assert.deepEqual(Items, [{ pk: { S: 'a' }, g: { S: 'x' } }]);
  await db.updateTable({ TableName: name, GlobalSecondaryIndexUpdates: [{ Delete: { IndexName: 'later' } }] });
  await eventually('the index gone', async () =>
    !(await db.describeTable({ TableName: name })).Table.GlobalSecondaryIndexes?.length);
});

test('PutItem, GetItem, DeleteItem; every type through the client and back', async (t) => {
  const { name } = await makeTable(t, clients);
  const Item = {
    pk: { S: 'a' }, n: { N: '3.14' }, b: { B: new Uint8Array([0, 1, 255]) }, yes: { BOOL: true }, nil: { NULL: true },
    ss: { SS: ['x', 'y'] }, ns: { NS: ['1', '2'] }, bs: { BS: [new Uint8Array([1]), new Uint8Array([2])] },
    l: { L: [{ S: '1' }, { M: { k: { N: '2' } } }] }, m: { M: { 'é': { S: '😀' } } },
  };
  assert.equal((await db.putItem({ TableName: name, Item })).Attributes, undefined);
  const back = (await db.getItem({ TableName: name, Key: { pk: { S: 'a' } }, ConsistentRead: true })).Item;
  for (const set of ['ss', 'ns']) back[set][set.toUpperCase()].sort();
  back.bs.BS.sort((a, b) => a[0] - b[0]);
  assert.deepEqual(back, Item);
  const { Attributes } = await db.deleteItem({ TableName: name, Key: { pk: { S: 'a' } }, ReturnValues: 'ALL_OLD' });
  assert.equal(Attributes.n.N, '3.14');
  assert.equal((await db.getItem({ TableName: name, Key: { pk: { S: 'a' } } })).Item, undefined);
  await assert.rejects(db.putItem({ TableName: name, Item: { x: { S: '1' } } }), { name: 'ValidationException' });
});

test('UpdateItem with all ReturnValues', async (t) => {
  const { name } = await makeTable(t, clients);
  await db.putItem({ TableName: name, Item: { pk: { S: 'a' }, n: { N: '0' }, keep: { S: 'k' } } });
  const add = (ReturnValues) => db.updateItem({
    TableName: name, Key: { pk: { S: 'a' } }, UpdateExpression: 'ADD n :one', ReturnValues,
    ExpressionAttributeValues: { ':one': { N: '1' } },
  }).then((r) => r.Attributes);
  assert.equal(await add(ReturnValue.NONE), undefined);
  assert.deepEqual(await add(ReturnValue.ALL_OLD), { pk: { S: 'a' }, n: { N: '1' }, keep: { S: 'k' } });
  assert.deepEqual(await add(ReturnValue.UPDATED_OLD), { n: { N: '2' } });
  assert.deepEqual(await add(ReturnValue.ALL_NEW), { pk: { S: 'a' }, n: { N: '4' }, keep: { S: 'k' } });
  assert.deepEqual(await add(ReturnValue.UPDATED_NEW), { n: { N: '5' } });
});

test('A failed condition is its own error, with the item where asked for', async (t) => {
  const { name } = await makeTable(t, clients);
  await db.putItem({ TableName: name, Item: { pk: { S: 'a' }, n: { N: '1' } } });
  const failing = db.putItem({
    TableName: name, Item: { pk: { S: 'a' } }, ConditionExpression: 'attribute_not_exists(pk)',
    ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
  });
  await assert.rejects(failing, (e) => {
    assert.equal(e.name, 'ConditionalCheckFailedException');
    assert.deepEqual(e.Item, { pk: { S: 'a' }, n: { N: '1' } });
    assert.equal(e.$metadata.httpStatusCode, 400);
    return true;
  });
});

test('Query and Scan by pages, in segments, on an index', async (t) => {
  const { name } = await makeTable(t, clients, sorted);
  const puts = [];
  for (let i = 0; i < 60; i++) {
    puts.push(db.putItem({ TableName: name, Item: { pk: { S: `p${i % 3}` }, sk: { N: String(i) }, g: { S: `g${i % 2}` } } }));
  }
  await Promise.all(puts);
  const found = [];
  const query = {
    TableName: name, KeyConditionExpression: 'pk = :p AND sk >= :from', ScanIndexForward: false,
    ExpressionAttributeValues: { ':p': { S: 'p1' }, ':from': { N: '10' } },
  };
  for await (const page of paginateQuery({ client: db, pageSize: 4 }, query)) found.push(...page.Items.map((i) => +i.sk.N));
  const expected = [];
  for (let i = 58; i >= 10; i -= 3) expected.push(i);
  assert.deepEqual(found, expected);
  const seen = new Set();
  for (let Segment = 0; Segment < 4; Segment++) {
    for await (const page of paginateScan({ client: db, pageSize: 7 }, { TableName: name, Segment, TotalSegments: 4 })) {
      for (const item of page.Items) {
        const id = `${item.pk.S}/${item.sk.N}`;
        assert.ok(!seen.has(id), `${id} twice`);
        seen.add(id);
      }
    }
  }
  assert.equal(seen.size, 60);
  const { Count } = await db.query({
    TableName: name, IndexName: 'byG', KeyConditionExpression: 'g = :g', Select: 'COUNT',
    ExpressionAttributeValues: { ':g': { S: 'g1' } },
  });
  assert.equal(Count, 30);
});

test('BatchWriteItem and BatchGetItem', async (t) => {
  const { name } = await makeTable(t, clients);
  const keys = Array.from({ length: 25 }, (_, i) => ({ pk: { S: `k${i}` } }));
  const { UnprocessedItems } = await db.batchWriteItem({
    RequestItems: { [name]: keys.map((Item) => ({ PutRequest: { Item } })) },
  });
  assert.deepEqual(UnprocessedItems, {});
  const { Responses, UnprocessedKeys } = await db.batchGetItem({
    RequestItems: { [name]: { Keys: [...keys, { pk: { S: 'none' } }] } },
  });
  assert.equal(Responses[name].length, 25);
  assert.deepEqual(UnprocessedKeys, {});
  await db.batchWriteItem({ RequestItems: { [name]: keys.map((Key) => ({ DeleteRequest: { Key } })) } });
  assert.equal((await db.scan({ TableName: name, Select: 'COUNT' })).Count, 0);
});

test('TransactWriteItems and TransactGetItems', async (t) => {
  const { name } = await makeTable(t, clients);
  await db.putItem({ TableName: name, Item: { pk: { S: 'check' } } });
  await db.putItem({ TableName: name, Item: { pk: { S: 'gone' } } });
  const transfer = {
    TransactItems: [
      { Put: { TableName: name, Item: { pk: { S: 'a' } }, ConditionExpression: 'attribute_not_exists(pk)' } },
      {
        Update: {
          TableName: name, Key: { pk: { S: 'b' } }, UpdateExpression: 'ADD n :one',
          ExpressionAttributeValues: { ':one': { N: '1' } },
        },
      },
      { Delete: { TableName: name, Key: { pk: { S: 'gone' } } } },
      { ConditionCheck: { TableName: name, Key: { pk: { S: 'check' } }, ConditionExpression: 'attribute_exists(pk)' } },
    ],
    ClientRequestToken: newName(),
  };
  await db.transactWriteItems(transfer);
  await db.transactWriteItems(transfer); // the same token: done already
  const { Responses } = await db.transactGetItems({
    TransactItems: ['a', 'b', 'gone'].map((pk) => ({ Get: { TableName: name, Key: { pk: { S: pk } } } })),
  });
  assert.deepEqual(Responses.map((r) => r.Item), [{ pk: { S: 'a' } }, { pk: { S: 'b' }, n: { N: '1' } }, undefined]);
  await assert.rejects(db.transactWriteItems({ ...transfer, ClientRequestToken: newName() }), (e) => {
    assert.equal(e.name, 'TransactionCanceledException');
    assert.deepEqual(e.CancellationReasons.map((r) => r.Code), ['ConditionalCheckFailed', 'None', 'None', 'None']);
    return true;
  });
});

test('UpdateTimeToLive and DescribeTimeToLive', async (t) => {
  const { name } = await makeTable(t, clients);
  await db.updateTimeToLive({ TableName: name, TimeToLiveSpecification: { Enabled: true, AttributeName: 'expires' } });
  const { TimeToLiveDescription } = await db.describeTimeToLive({ TableName: name });
  assert.match(TimeToLiveDescription.TimeToLiveStatus, /^ENABL(ED|ING)$/);
  assert.equal(TimeToLiveDescription.AttributeName, 'expires');
});

test('TagResource, ListTagsOfResource, UntagResource', except({ local: 'has no tags' }), async (t) => {
  const { name } = await makeTable(t, clients);
  const ResourceArn = (await db.describeTable({ TableName: name })).Table.TableArn;
  await db.tagResource({ ResourceArn, Tags: [{ Key: 'a', Value: '1' }, { Key: 'b', Value: '2' }] });
  await db.untagResource({ ResourceArn, TagKeys: ['a'] });
  assert.deepEqual((await db.listTagsOfResource({ ResourceArn })).Tags, [{ Key: 'b', Value: '2' }]);
});

test('The document client', async (t) => {
  const { name } = await makeTable(t, clients);
  const document = DynamoDBDocument.from(db, { marshallOptions: { removeUndefinedValues: true } });
  const Item = { pk: 'a', n: 5, list: [1, 'two', { three: null }], set: new Set(['x', 'y']), flag: false, none: undefined };
  await document.put({ TableName: name, Item });
  const back = (await document.get({ TableName: name, Key: { pk: 'a' } })).Item;
  delete Item.none;
  assert.deepEqual(back, Item);
});

test('Errors carry the request id and are told from each other', async () => {
  await assert.rejects(db.getItem({ TableName: newName(), Key: { pk: { S: 'a' } } }), (e) => {
    assert.equal(e.name, 'ResourceNotFoundException');
    assert.ok(e.$metadata.requestId);
    return true;
  });
});
