// SPDX-License-Identifier: MIT
// Keeps the read model of users: whatever event comes, the log is read from the model's version on and applied in
// order, each step on condition of the one before. An event that comes twice, or late, does no harm.
'use strict';

const { call, marshal, unmarshal } = require('./dynamodb');

const { DYNAMODB_LOGS_TABLE, DYNAMODB_CORE_TABLE } = process.env;

const changes = {
  addPhoneNumber: ({ phoneNumber }) => ({ phoneNumber }),
  verifyPhoneNumber: () => ({ verifiedPhoneNumber: true }),
  addLocation: ({ long, lat }) => ({ location: { long, lat } }),
};

async function versionOf(key) {
  const { Item } = await call('GetItem', {
    TableName: DYNAMODB_CORE_TABLE,
    Key: { pk: { S: key }, sk: { S: key } },
    ConsistentRead: true,
    ProjectionExpression: '#version',
    ExpressionAttributeNames: { '#version': 'version' },
  });
  return Item && Item.version ? Number(Item.version.N) : 0;
}

async function* logAfter(pk, version) {
  let ExclusiveStartKey;
  do {
    const page = await call('Query', {
      TableName: DYNAMODB_LOGS_TABLE,
      KeyConditionExpression: 'pk = :pk AND sk > :sk',
      ExpressionAttributeValues: { ':pk': { S: pk }, ':sk': { N: String(version) } },
      ConsistentRead: true,
      ExclusiveStartKey,
    });
    for (const item of page.Items) {
      yield { sk: Number(item.sk.N), type: item.type.S, payload: unmarshal(item.payload) };
    }
    ExclusiveStartKey = page.LastEvaluatedKey;
  } while (ExclusiveStartKey);
}

async function signUp(key, { sk, payload: { id, name, email } }) {
  await call('PutItem', {
    TableName: DYNAMODB_CORE_TABLE,
    Item: marshal({ pk: key, sk: key, type: 'user', id, name, email, version: sk }).M,
    ConditionExpression: 'attribute_not_exists(pk)',
  });
}

async function change(key, { sk, type, payload }) {
  const values = { ...(changes[type] ? changes[type](payload) : {}), version: sk };
  const names = Object.keys(values);
  await call('UpdateItem', {
    TableName: DYNAMODB_CORE_TABLE,
    Key: { pk: { S: key }, sk: { S: key } },
    UpdateExpression: `SET ${names.map((_, i) => `#n${i} = :v${i}`).join(', ')}`,
    ConditionExpression: '#version = :before',
    ExpressionAttributeNames: { '#version': 'version', ...Object.fromEntries(names.map((n, i) => [`#n${i}`, n])) },
    ExpressionAttributeValues: {
      ':before': { N: String(sk - 1) }, ...Object.fromEntries(names.map((n, i) => [`:v${i}`, marshal(values[n])])),
    },
  });
}

exports.handler = async (event) => {
  const { key: { pk }, payload: { id } } = event.detail;
  const key = `users#${id}`;
  let version = await versionOf(key);
  for await (const step of logAfter(pk, version)) {
    if (step.sk !== version + 1) break; // a gap: what is missing has an event of its own
    try {
      await (step.type === 'signup' ? signUp(key, step) : change(key, step));
    } catch (error) {
      if (error.name !== 'ConditionalCheckFailedException') throw error;
      if ((await versionOf(key)) < step.sk) throw error; // else another run was faster
    }
    version = step.sk;
  }
  console.log(`${key} is at version ${version}`);
};
