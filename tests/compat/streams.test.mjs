// SPDX-License-Identifier: MIT
// The facts about change streams that consumers rely on, one by one, through the AWS SDK for JavaScript v3.

import test from 'node:test';
import assert from 'node:assert/strict';
import {
  allShards, connect, disconnect, drain, eventually, except, makeTable, onlyTailrace, readStream, recordsOf, sleep,
  startTailrace, withStream,
} from './lib.mjs';

const clients = connect();
const { db, streams } = clients;
test.after(disconnect);

const key = (pk) => ({ pk: { S: pk } });
const put = (table, pk, n, at = db) => at.putItem({ TableName: table.name, Item: { ...key(pk), n: { N: String(n) } } });
const remove = (table, pk, at = db) => at.deleteItem({ TableName: table.name, Key: key(pk) });
const iteratorAt = async (arn, ShardId, type, SequenceNumber, at = streams) => (await at.getShardIterator({
  StreamArn: arn, ShardId, ShardIteratorType: type, SequenceNumber,
})).ShardIterator;

/** The shard that has the records of item `pk`. */
const shardWith = (table, pk, at = clients) => eventually(`a shard with ${pk}`, async () => {
  for (const { ShardId } of await allShards(at, table.arn)) {
    const { records } = await drain(at, await iteratorAt(table.arn, ShardId, 'TRIM_HORIZON', undefined, at.streams));
    if (records.some((r) => r.dynamodb.Keys.pk.S === pk)) return { ShardId, records };
  }
  return undefined;
});

for (const [view, hasNew, hasOld] of [['KEYS_ONLY', false, false], ['NEW_IMAGE', true, false],
  ['OLD_IMAGE', false, true], ['NEW_AND_OLD_IMAGES', true, true]]) {
  test(`${view}: what a record of each kind carries`, except({ dynoxide: 'numbers records 1, 2, 3' }), async (t) => {
    const began = Date.now();
    const table = await makeTable(t, clients, withStream(view));
    await put(table, 'a', 1);
    await put(table, 'a', 2);
    await remove(table, 'a');
    const records = await recordsOf(clients, table.arn, 3);
    assert.deepEqual(records.map((r) => r.eventName), ['INSERT', 'MODIFY', 'REMOVE']);
    const [one, two] = [{ ...key('a'), n: { N: '1' } }, { ...key('a'), n: { N: '2' } }];
    assert.deepEqual(records.map((r) => r.dynamodb.NewImage), hasNew ? [one, two, undefined] : [undefined, undefined, undefined]);
    assert.deepEqual(records.map((r) => r.dynamodb.OldImage), hasOld ? [undefined, one, two] : [undefined, undefined, undefined]);
    for (const { eventID, eventVersion, eventSource, awsRegion, userIdentity, dynamodb } of records) {
      assert.ok(eventID);
      assert.equal(eventVersion, '1.1');
      assert.equal(eventSource, 'aws:dynamodb');
      assert.ok(awsRegion);
      assert.equal(userIdentity, undefined);
      assert.deepEqual(dynamodb.Keys, key('a'));
      assert.equal(dynamodb.StreamViewType, view);
      assert.ok(dynamodb.SizeBytes > 0);
      assert.match(dynamodb.SequenceNumber, /^\d{21,40}$/);
      assert.ok(+dynamodb.ApproximateCreationDateTime > began - 120_000 && +dynamodb.ApproximateCreationDateTime < Date.now() + 120_000);
      assert.equal(dynamodb.ApproximateCreationDateTime.getMilliseconds(), 0);
    }
    assert.equal(new Set(records.map((r) => r.eventID)).size, 3);
  });
}

test('Sequence numbers grow within a shard', async (t) => {
  const table = await makeTable(t, clients, withStream());
  for (let i = 0; i < 20; i++) await put(table, 'a', i);
  const { records } = await shardWith(table, 'a');
  const numbers = records.map((r) => BigInt(r.dynamodb.SequenceNumber));
  for (let i = 1; i < numbers.length; i++) assert.ok(numbers[i] > numbers[i - 1]);
});

test('Each change once, in order for each item, however many write', async (t) => {
  const table = await makeTable(t, clients, withStream());
  await Promise.all(Array.from({ length: 10 }, async (_, w) => {
    for (let i = 0; i < 30; i++) await put(table, `item${w}`, i);
  }));
  const records = await recordsOf(clients, table.arn, 300);
  assert.equal(records.length, 300);
  for (let w = 0; w < 10; w++) {
    const mine = records.filter((r) => r.dynamodb.Keys.pk.S === `item${w}`);
    assert.deepEqual(mine.map((r) => +r.dynamodb.NewImage.n.N), Array.from({ length: 30 }, (_, i) => i));
    assert.deepEqual(mine.map((r) => r.dynamodb.OldImage?.n.N), [undefined, ...Array.from({ length: 29 }, (_, i) => String(i))]);
  }
});

test('A write that changes nothing makes no record', except({ dynoxide: 'makes one' }), async (t) => {
  const table = await makeTable(t, clients, withStream());
  await put(table, 'a', 1);
  await put(table, 'a', 1);
  await remove(table, 'none');
  await put(table, 'a', 2);
  const records = await recordsOf(clients, table.arn, 2);
  assert.deepEqual(records.map((r) => r.dynamodb.NewImage.n.N), ['1', '2']);
});

test('TRIM_HORIZON, AT_SEQUENCE_NUMBER, AFTER_SEQUENCE_NUMBER, LATEST', async (t) => {
  const table = await makeTable(t, clients, withStream());
  for (const n of [1, 2, 3]) await put(table, 'a', n);
  await recordsOf(clients, table.arn, 3);
  const { ShardId, records } = await shardWith(table, 'a');
  const second = records[1].dynamodb.SequenceNumber;
  const read = async (type, number) => {
    const { records: found } = await drain(clients, await iteratorAt(table.arn, ShardId, type, number));
    return found.map((r) => r.dynamodb.NewImage.n.N);
  };
  assert.deepEqual(await read('TRIM_HORIZON'), ['1', '2', '3']);
  assert.deepEqual(await read('AT_SEQUENCE_NUMBER', second), ['2', '3']);
  assert.deepEqual(await read('AFTER_SEQUENCE_NUMBER', second), ['3']);
  const latest = await iteratorAt(table.arn, ShardId, 'LATEST');
  assert.deepEqual((await drain(clients, latest)).records, []);
  await put(table, 'a', 4);
  await eventually('the fourth', async () => (await drain(clients, latest)).records.length === 1);
});

test('The same iterator gives the same records again', async (t) => {
  const table = await makeTable(t, clients, withStream());
  for (const n of [1, 2, 3]) await put(table, 'a', n);
  await recordsOf(clients, table.arn, 3);
  const { ShardId } = await shardWith(table, 'a');
  const iterator = await iteratorAt(table.arn, ShardId, 'TRIM_HORIZON');
  const first = await streams.getRecords({ ShardIterator: iterator, Limit: 2 });
  const again = await streams.getRecords({ ShardIterator: iterator, Limit: 2 });
  assert.deepEqual(again.Records, first.Records);
});

test('Limit cuts pages, and pages put together are the whole', async (t) => {
  const table = await makeTable(t, clients, withStream());
  for (let n = 0; n < 10; n++) await put(table, 'a', n);
  await recordsOf(clients, table.arn, 10);
  const { ShardId } = await shardWith(table, 'a');
  let iterator = await iteratorAt(table.arn, ShardId, 'TRIM_HORIZON');
  const found = [];
  for (let page = 0; page < 5; page++) {
    const answer = await streams.getRecords({ ShardIterator: iterator, Limit: 3 });
    assert.ok(answer.Records.length <= 3);
    found.push(...answer.Records.map((r) => +r.dynamodb.NewImage.n.N));
    iterator = answer.NextShardIterator;
  }
  assert.deepEqual(found, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test('A page ends at 1,000 records', async (t) => {
  const table = await makeTable(t, clients, withStream('KEYS_ONLY'));
  for (let i = 0; i < 48; i++) {
    await db.batchWriteItem({
      RequestItems: { [table.name]: Array.from({ length: 25 }, (_, j) => ({ PutRequest: { Item: key(`k${i}-${j}`) } })) },
    });
  }
  const records = await recordsOf(clients, table.arn, 1200);
  assert.equal(records.length, 1200);
  for (const { ShardId } of await allShards(clients, table.arn)) {
    const answer = await streams.getRecords({ ShardIterator: await iteratorAt(table.arn, ShardId, 'TRIM_HORIZON') });
    assert.ok(answer.Records.length <= 1000);
  }
});

test('A page ends at 1 MB', except({ local: 'has no such limit', dynoxide: 'has no such limit' }), async (t) => {
  const table = await makeTable(t, clients, withStream());
  const fill = 'x'.repeat(300_000);
  for (let n = 0; n < 8; n++) {
    await db.putItem({ TableName: table.name, Item: { ...key('a'), n: { N: String(n) }, fill: { S: fill } } });
  }
  assert.equal((await recordsOf(clients, table.arn, 8)).length, 8);
  const { ShardId } = await shardWith(table, 'a');
  const page = await streams.getRecords({ ShardIterator: await iteratorAt(table.arn, ShardId, 'TRIM_HORIZON') });
  const bytes = page.Records.reduce((sum, r) => sum + r.dynamodb.SizeBytes, 0);
  assert.ok(page.Records.length >= 1 && bytes < 1.7e6, `${page.Records.length} records of ${bytes} bytes`);
});

test('DescribeStream by pages names each shard once', except({ dynoxide: 'does not page' }), async (t) => {
  const table = await makeTable(t, clients, withStream());
  const whole = await allShards(clients, table.arn);
  const paged = await allShards(clients, table.arn, { Limit: 1 });
  assert.deepEqual(paged, whole);
  for (const shard of whole) {
    assert.ok(shard.ShardId.length >= 28 && shard.ShardId.length <= 65);
    assert.match(shard.SequenceNumberRange.StartingSequenceNumber, /^\d{21,40}$/);
    assert.equal(shard.SequenceNumberRange.EndingSequenceNumber, undefined);
  }
});

test('ListStreams names the table\'s stream, by pages too', async (t) => {
  const table = await makeTable(t, clients, withStream());
  const { Streams } = await streams.listStreams({ TableName: table.name });
  assert.deepEqual(Streams.map((s) => [s.StreamArn, s.TableName]), [[table.arn, table.name]]);
  const found = [];
  let last;
  do {
    const page = await streams.listStreams({ Limit: 2, ExclusiveStartStreamArn: last });
    found.push(...page.Streams.map((s) => s.StreamArn));
    last = page.LastEvaluatedStreamArn;
  } while (last);
  assert.ok(found.includes(table.arn));
  assert.equal(new Set(found).size, found.length);
});

test('Switched off: the records stay, the shards are closed and end in null', except({ dynoxide: 'never closes' }), async (t) => {
  const table = await makeTable(t, clients, withStream());
  await put(table, 'a', 1);
  await recordsOf(clients, table.arn, 1);
  await db.updateTable({ TableName: table.name, StreamSpecification: { StreamEnabled: false } });
  const { StreamDescription } = await eventually('disabled', async () => {
    const answer = await streams.describeStream({ StreamArn: table.arn });
    return answer.StreamDescription.StreamStatus === 'DISABLED' ? answer : undefined;
  });
  assert.equal(StreamDescription.StreamArn, table.arn);
  assert.equal((await readStream(clients, table.arn)).length, 1);
});

test('Switched off: every shard has an end and its last page no next iterator',
  except({ local: 'never closes shards', dynoxide: 'never closes shards' }), async (t) => {
    const table = await makeTable(t, clients, withStream());
    await put(table, 'a', 1);
    await db.updateTable({ TableName: table.name, StreamSpecification: { StreamEnabled: false } });
    const shards = await eventually('closed shards', async () => {
      const all = await allShards(clients, table.arn);
      return all.every((s) => s.SequenceNumberRange.EndingSequenceNumber) ? all : undefined;
    });
    let count = 0;
    for (const { ShardId } of shards) {
      const { records, next } = await drain(clients, await iteratorAt(table.arn, ShardId, 'TRIM_HORIZON'));
      count += records.length;
      assert.equal(next, null);
    }
    assert.equal(count, 1);
  });

test('Switched on again: another stream, with its own records', except({ dynoxide: 'replays old records' }), async (t) => {
  const table = await makeTable(t, clients, withStream());
  await put(table, 'a', 1);
  await db.updateTable({ TableName: table.name, StreamSpecification: { StreamEnabled: false } });
  await eventually('off', async () => !(await db.describeTable({ TableName: table.name })).Table.StreamSpecification?.StreamEnabled);
  await put(table, 'a', 2);
  await db.updateTable({ TableName: table.name, ...withStream('NEW_IMAGE') });
  const arn = await eventually('another stream', async () => {
    const { Table } = await db.describeTable({ TableName: table.name });
    return Table.TableStatus === 'ACTIVE' && Table.LatestStreamArn !== table.arn ? Table.LatestStreamArn : undefined;
  });
  await put(table, 'a', 3);
  assert.deepEqual((await recordsOf(clients, arn, 1)).map((r) => r.dynamodb.NewImage.n.N), ['3']);
  assert.deepEqual((await readStream(clients, table.arn)).map((r) => r.dynamodb.NewImage.n.N), ['1']);
});

test('Batches and transactions make a record for each item', async (t) => {
  const table = await makeTable(t, clients, withStream());
  await db.batchWriteItem({ RequestItems: { [table.name]: ['a', 'b', 'c'].map((pk) => ({ PutRequest: { Item: key(pk) } })) } });
  await db.transactWriteItems({
    TransactItems: [
      { Delete: { TableName: table.name, Key: key('a') } },
      { Put: { TableName: table.name, Item: { ...key('d'), n: { N: '1' } } } },
      { ConditionCheck: { TableName: table.name, Key: key('b'), ConditionExpression: 'attribute_exists(pk)' } },
    ],
  });
  const records = await recordsOf(clients, table.arn, 5);
  const names = records.map((r) => `${r.eventName} ${r.dynamodb.Keys.pk.S}`).sort();
  assert.deepEqual(names, ['INSERT a', 'INSERT b', 'INSERT c', 'INSERT d', 'REMOVE a']);
});

test('The stream of a table that is gone can be read on', except({ dynoxide: 'drops it' }), async (t) => {
  const table = await makeTable(t, clients, withStream());
  await put(table, 'a', 1);
  await recordsOf(clients, table.arn, 1);
  await db.deleteTable({ TableName: table.name });
  assert.equal((await readStream(clients, table.arn)).length, 1);
});

test('An unknown stream, shard or iterator is refused by its own error', except({ dynoxide: 'takes anything' }), async (t) => {
  const table = await makeTable(t, clients, withStream());
  const [{ ShardId }] = await allShards(clients, table.arn);
  const elsewhere = table.arn.replace(/\/stream\/.*/, '/stream/2015-01-01T00:00:00.000');
  await assert.rejects(streams.describeStream({ StreamArn: elsewhere }), { name: 'ResourceNotFoundException' });
  await assert.rejects(iteratorAt(table.arn, 'shardId-00000000000000000000-00000000', 'LATEST'),
    { name: 'ResourceNotFoundException' });
  await assert.rejects(iteratorAt(table.arn, ShardId, 'AT_SEQUENCE_NUMBER'), { name: 'ValidationException' });
  await assert.rejects(streams.getRecords({ ShardIterator: 'x'.repeat(100) }), { name: 'ValidationException' });
});

test('Shards roll over: children name their parents, order is kept across', onlyTailrace, async (t) => {
  const at = await startTailrace(t, '--shard-lifetime', '1s', '--stream-shards', '2');
  const table = await makeTable(t, at, withStream());
  const until = Date.now() + 3500;
  let n = 0;
  let shards = [];
  while (Date.now() < until || (shards.filter((s) => s.ParentShardId).length < 2 && Date.now() < until + 120_000)) {
    await Promise.all(['a', 'b', 'c', 'd'].map((pk) => put(table, pk, n, at.db)));
    n++;
    shards = await allShards(at, table.arn);
    await sleep(20);
  }
  shards = await allShards(at, table.arn);
  const children = shards.filter((s) => s.ParentShardId);
  assert.ok(children.length >= 2, `${shards.length} shards, ${children.length} of them children`);
  for (const child of children) {
    const parent = shards.find((s) => s.ShardId === child.ParentShardId);
    assert.ok(parent.SequenceNumberRange.EndingSequenceNumber, 'a parent is closed');
    assert.ok(BigInt(child.SequenceNumberRange.StartingSequenceNumber) > BigInt(parent.SequenceNumberRange.EndingSequenceNumber));
    const { next } = await drain(at, await iteratorAt(table.arn, parent.ShardId, 'TRIM_HORIZON', undefined, at.streams));
    assert.equal(next, null, 'the last page of a closed shard has no next iterator');
  }
  const records = await readStream(at, table.arn);
  assert.equal(records.length, 4 * n);
  for (const pk of ['a', 'b', 'c', 'd']) {
    const mine = records.filter((r) => r.dynamodb.Keys.pk.S === pk);
    assert.deepEqual(mine.map((r) => +r.dynamodb.NewImage.n.N), Array.from({ length: n }, (_, i) => i));
  }
  const parent = children[0].ParentShardId;
  const { StreamDescription } = await at.streams.describeStream({
    StreamArn: table.arn, ShardFilter: { Type: 'CHILD_SHARDS', ShardId: parent },
  });
  assert.deepEqual(StreamDescription.Shards.map((s) => s.ShardId),
    shards.filter((s) => s.ParentShardId === parent).map((s) => s.ShardId));
});

test('An iterator expires', onlyTailrace, async (t) => {
  const at = await startTailrace(t, '--iterator-lifetime', '1s');
  const table = await makeTable(t, at, withStream());
  const [{ ShardId }] = await allShards(at, table.arn);
  const iterator = await eventually('an iterator that was used in time', async () => {
    const asked = Date.now();
    const fresh = await iteratorAt(table.arn, ShardId, 'TRIM_HORIZON', undefined, at.streams);
    try {
      await at.streams.getRecords({ ShardIterator: fresh });
      return fresh;
    } catch (e) {
      if (e.name !== 'ExpiredIteratorException' || Date.now() - asked < 1000) throw e;
      return undefined;
    }
  });
  await sleep(1300);
  await assert.rejects(at.streams.getRecords({ ShardIterator: iterator }), { name: 'ExpiredIteratorException' });
});

test('Records are trimmed after the retention, and asking for them is told', onlyTailrace, async (t) => {
  const at = await startTailrace(t, '--stream-retention', '2s', '--shard-lifetime', '1s', '--stream-shards', '1');
  const table = await makeTable(t, at, withStream());
  /* each record that remains, and its shard, which may leave the stream after it was listed */
  const remaining = async () => {
    try {
      const found = [];
      for (const { ShardId } of await allShards(at, table.arn)) {
        const { records } = await drain(at, await iteratorAt(table.arn, ShardId, 'TRIM_HORIZON', undefined, at.streams));
        found.push(...records.map((record) => ({ ShardId, record })));
      }
      return found;
    } catch (e) {
      if (!['ResourceNotFoundException', 'TrimmedDataAccessException'].includes(e.name)) throw e;
      return undefined;
    }
  };
  let n = 0;
  /* written again where it was trimmed before we came to look */
  const written = () => eventually('a record', async () => {
    await put(table, 'a', ++n, at.db);
    const found = await remaining();
    return found?.length ? found.at(-1) : undefined;
  });
  const { ShardId, record } = await written();
  assert.equal(record.dynamodb.NewImage.n.N, String(n));
  await eventually('nothing remains', async () => (await remaining())?.length === 0);
  await assert.rejects(iteratorAt(table.arn, ShardId, 'AT_SEQUENCE_NUMBER', record.dynamodb.SequenceNumber, at.streams)
    .then((ShardIterator) => at.streams.getRecords({ ShardIterator })),
  (e) => ['TrimmedDataAccessException', 'ResourceNotFoundException'].includes(e.name));
  assert.equal((await written()).record.dynamodb.NewImage.n.N, String(n));
});

test('An expired item is removed by the service, and its record says so', onlyTailrace, async (t) => {
  const at = await startTailrace(t, '--expiry-interval', '1s');
  const table = await makeTable(t, at, withStream());
  await at.db.updateTimeToLive({ TableName: table.name, TimeToLiveSpecification: { Enabled: true, AttributeName: 'e' } });
  await at.db.putItem({ TableName: table.name, Item: { ...key('a'), e: { N: String(Math.floor(Date.now() / 1000) - 10) } } });
  await at.db.putItem({ TableName: table.name, Item: { ...key('b'), e: { N: String(Math.floor(Date.now() / 1000) + 3600) } } });
  const records = await recordsOf(at, table.arn, 3);
  const removed = records.filter((r) => r.eventName === 'REMOVE');
  assert.deepEqual(removed.map((r) => r.dynamodb.Keys), [key('a')]);
  assert.deepEqual({ ...removed[0].userIdentity }, { Type: 'Service', PrincipalId: 'dynamodb.amazonaws.com' });
  assert.ok((await at.db.getItem({ TableName: table.name, Key: key('b') })).Item);
});
