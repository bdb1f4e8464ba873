// SPDX-License-Identifier: MIT
// The AWS SDK for JavaScript v3 against the bus, and a queue by the JSON protocol that its SQS client speaks.

import { EventBridge } from '@aws-sdk/client-eventbridge';
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { endpoint, kind, newName } from './lib.mjs';

const events = new EventBridge({
  endpoint, region: 'us-east-1', credentials: { accessKeyId: 'tailrace', secretAccessKey: 'tailrace' }, maxAttempts: 1,
});
after(() => events.destroy());
const skip = kind === 'tailrace' ? false : 'only tailrace serves EventBridge';

async function sqs(operation, body) {
  const answer = await fetch(endpoint, {
    method: 'POST', body: JSON.stringify(body),
    headers: { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': `AmazonSQS.${operation}` },
  });
  return answer.json();
}

test('an event reaches a queue, as its target transforms it', { skip }, async () => {
  const name = newName();
  const { EventBusArn } = await events.createEventBus({ Name: name });
  assert.equal(EventBusArn, `arn:aws:events:us-east-1:000000000000:event-bus/${name}`);
  const { QueueUrl } = await sqs('CreateQueue', { QueueName: name });
  await events.putRule({ Name: 'r', EventBusName: name, EventPattern: JSON.stringify({ detail: { state: ['paid'] } }) });
  const answer = await events.putTargets({
    Rule: 'r', EventBusName: name,
    Targets: [{
      Id: '1', Arn: `arn:aws:sqs:us-east-1:000000000000:${name}`,
      InputTransformer: { InputPathsMap: { total: '$.detail.total' }, InputTemplate: '{"total":<total>}' },
    }],
  });
  assert.equal(answer.FailedEntryCount, 0);
  const put = await events.putEvents({
    Entries: [
      { EventBusName: name, Source: 'shop', DetailType: 'order', Detail: JSON.stringify({ state: 'paid', total: 7 }), Time: new Date() },
      { EventBusName: name, Source: 'shop', DetailType: 'order', Detail: '[]' },
    ],
  });
  assert.equal(put.FailedEntryCount, 1);
  assert.match(put.Entries[0].EventId, /^[0-9a-f-]{36}$/);
  assert.equal(put.Entries[1].ErrorCode, 'MalformedDetail');
  const { Messages } = await sqs('ReceiveMessage', { QueueUrl, WaitTimeSeconds: 20 });
  assert.equal(Messages[0].Body, '{"total":7}');
  assert.deepEqual(await sqs('DeleteMessage', { QueueUrl, ReceiptHandle: Messages[0].ReceiptHandle }), {});
});

test('errors have their types', { skip }, async () => {
  await assert.rejects(events.describeRule({ Name: 'nothing' }),
    { name: 'ResourceNotFoundException', message: 'Rule nothing does not exist on EventBus default.' });
  await assert.rejects(events.putRule({ Name: 'r', EventPattern: '{"source":"s"}' }), { name: 'InvalidEventPatternException' });
});

test('a pattern can be tried', { skip }, async () => {
  const event = { id: '1', account: '1', source: 's', time: '2026-01-01T00:00:00Z', region: 'r', 'detail-type': 't', detail: { a: 1 } };
  const tried = await events.testEventPattern({ EventPattern: '{"detail":{"a":[1]}}', Event: JSON.stringify(event) });
  assert.equal(tried.Result, true);
});
