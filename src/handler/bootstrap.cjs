// Runs an AWS Lambda handler in Node: node -e THIS FILE EXPORT. Asks the Lambda runtime API at AWS_LAMBDA_RUNTIME_API for events.
'use strict';
const http = require('http');
const { pathToFileURL } = require('url');
const [file, path] = process.argv.slice(1);
const env = process.env;
const [host, ...rest] = env.AWS_LAMBDA_RUNTIME_API.split('/');
const [hostname, port] = host.split(':');
const base = '/' + rest.concat('2018-06-01', 'runtime').join('/');
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function call(method, path, body, headers) {
  return new Promise((resolve, reject) => {
    const request = http.request({ hostname, port, method, path: base + path, agent, headers }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts).toString('utf8') }));
      answer.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

function describe(error) {
  if (error instanceof Error) {
    const trace = (error.stack || '').split('\n');
    return { errorType: error.name || 'Error', errorMessage: error.message, trace };
  }
  const text = typeof error === 'string' ? error : JSON.stringify(error);
  return { errorType: typeof error === 'object' && error !== null ? 'Error' : typeof error, errorMessage: String(text), trace: [] };
}

function post(path, value) {
  const body = JSON.stringify(value === undefined ? null : value);
  return call('POST', path, body, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
}

function run(handler, event, context) {
  return new Promise((resolve, reject) => {
    const done = (error, result) => (error !== null && error !== undefined ? reject(error) : resolve(result));
    context.done = done;
    context.succeed = resolve;
    context.fail = (error) => reject(error);
    let result;
    try {
      result = handler(event, context, done);
    } catch (error) {
      reject(error);
      return;
    }
    if (result && typeof result.then === 'function') result.then(resolve, reject);
    else if (handler.length < 3) resolve(result);
  });
}

async function load() {
  const module = await import(pathToFileURL(file).href);
  let found = module;
  for (const name of path.split('.')) {
    const next = found && (found[name] !== undefined ? found[name] : found.default && found.default[name]);
    if (next === undefined) {
      const error = new Error(`${file} exports no '${path}'`);
      error.name = 'Runtime.HandlerNotFound';
      throw error;
    }
    found = next;
  }
  if (typeof found !== 'function') {
    const error = new Error(`'${path}' in ${file} is not a function`);
    error.name = 'Runtime.HandlerNotFound';
    throw error;
  }
  return found;
}

async function main() {
  let handler;
  try {
    handler = await load();
  } catch (error) {
    console.error(error);
    await post('/init/error', describe(error));
    process.exit(1);
  }
  for (;;) {
    const { status, headers, body } = await call('GET', '/invocation/next');
    if (status !== 200) process.exit(0); // no event, nor ever one again: somebody takes this process' place
    const id = headers['lambda-runtime-aws-request-id'];
    const deadline = Number(headers['lambda-runtime-deadline-ms']);
    const context = {
      awsRequestId: id,
      functionName: env.AWS_LAMBDA_FUNCTION_NAME,
      functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
      invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
      memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
      logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
      logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
      callbackWaitsForEmptyEventLoop: true,
      getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
    };
    try {
      const result = await run(handler, JSON.parse(body), context);
      await post(`/invocation/${id}/response`, result);
    } catch (error) {
      console.error(error);
      await post(`/invocation/${id}/error`, describe(error));
    }
  }
}

process.on('unhandledRejection', (error) => {
  console.error(error);
  process.exit(1);
});
main().catch(() => process.exit(0)); // the runtime API is gone: so is what we work for
