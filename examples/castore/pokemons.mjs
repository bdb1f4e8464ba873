// SPDX-License-Identifier: MIT
// An application on castore, as small as it gets. docs/castore.md runs it beside tailrace on one table.
//     node pokemons.mjs push ID VERSION TYPE [PAYLOAD]    |    get ID    |    list [PAGE-TOKEN]
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { EventStore } from '@castore/core';
import { DynamoDBSingleTableEventStorageAdapter } from '@castore/event-storage-adapter-dynamodb';

const pokemons = new EventStore({
  eventStoreId: 'POKEMONS', eventTypes: [],
  reducer: (pokemon, { aggregateId, version, payload }) => ({ ...pokemon, aggregateId, version, ...payload }),
  eventStorageAdapter: new DynamoDBSingleTableEventStorageAdapter({
    tableName: 'my-table', dynamoDBClient: new DynamoDBClient({}),
  }),
});

const [command, id, version, type, payload] = process.argv.slice(2);
const print = value => console.log(JSON.stringify(value));
try {
  if (command === 'push') {
    const { event } = await pokemons.pushEvent({
      aggregateId: id, version: +version, type, ...(payload && { payload: JSON.parse(payload) }),
    });
    print(event);
  } else if (command === 'get') {
    print((await pokemons.getExistingAggregate(id)).aggregate);
  } else {
    print(await pokemons.listAggregateIds(id ? { pageToken: id } : { limit: 1 }));
  }
} catch (error) {
  console.log(`${error.code}: ${error.message}`);
  process.exitCode = 1;
}
