// SPDX-License-Identifier: MIT
// castore itself, driven line by line: a command as JSON on stdin, its outcome as JSON on stdout.
import { createInterface } from 'node:readline';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { ConnectedEventStore, EventStore, NotificationMessageBus, StateCarryingMessageBus } from '@castore/core';
import {
  DynamoDBSingleTableEventStorageAdapter, ImageParser, LegacyDynamoDBEventStorageAdapter,
} from '@castore/event-storage-adapter-dynamodb';
import { EventBridgeMessageBusAdapter } from '@castore/message-bus-adapter-event-bridge';

const config = {
  endpoint: process.argv[2], region: 'us-east-1', credentials: { accessKeyId: 'tailrace', secretAccessKey: 'tailrace' },
};
const dynamoDBClient = new DynamoDBClient(config);
const messageBusAdapter = new EventBridgeMessageBusAdapter({
  eventBusName: 'default', eventBridgeClient: new EventBridgeClient(config),
});
const reducer = (aggregate, event) =>
  ({ ...aggregate, aggregateId: event.aggregateId, version: event.version, ...event.payload });

const stores = new Map();
const storeOf = ({ store, table, legacy }) => {
  const key = JSON.stringify([store, table, legacy]);
  if (!stores.has(key)) {
    const Adapter = legacy ? LegacyDynamoDBEventStorageAdapter : DynamoDBSingleTableEventStorageAdapter;
    stores.set(key, new EventStore({
      eventStoreId: store, eventTypes: [], reducer,
      eventStorageAdapter: new Adapter({ tableName: table, dynamoDBClient }),
    }));
  }
  return stores.get(key);
};

const publishing = (c) => {
  const store = storeOf(c);
  const Bus = c.kind === 'state-carrying' ? StateCarryingMessageBus : NotificationMessageBus;
  return new ConnectedEventStore(store, new Bus({ messageBusId: 'bus', sourceEventStores: [store], messageBusAdapter }));
};

const operations = {
  publish: c => publishing(c).pushEvent(c.event, c.previous ? { prevAggregate: c.previous } : {}),
  message: c => messageBusAdapter.publishMessage(c.message, { replay: c.replay }),
  push: c => storeOf(c).pushEvent(c.event, c.force === undefined ? {} : { force: c.force }),
  get: c => storeOf(c).getEvents(c.aggregate, c.options),
  list: c => storeOf(c).listAggregateIds(c.options),
  aggregate: c => storeOf(c).getExistingAggregate(c.aggregate, c.options),
  simulate: c => ({ aggregate: storeOf(c).simulateAggregate(c.events, c.options) }),
  group: c => EventStore.pushEventGroup(c.force === undefined ? {} : { force: c.force },
    ...c.members.map(m => storeOf(m).groupEvent(m.event))),
  image: c => new ImageParser({ sourceEventStores: c.stores.map(store => storeOf({ ...c, store })) }).parseImage(c.image),
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let outcome;
  try {
    outcome = { ok: await operations[command.op](command) };
  } catch (e) {
    outcome = { error: { name: e.name, code: e.code, message: e.message } };
  }
  process.stdout.write(`${JSON.stringify(outcome, (_, v) => (typeof v === 'bigint' ? Number(v) : v))}\n`);
}
