# Runs an AWS Lambda handler in Python: python3 -c THIS FILE EXPORT. Asks the Lambda runtime API for events.
import http.client
import importlib.util
import json
import os
import sys
import time
import traceback

FILE, PATH = sys.argv[1:3]
HOST, _, PREFIX = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")
BASE = ("/" + PREFIX if PREFIX else "") + "/2018-06-01/runtime"
connection = http.client.HTTPConnection(HOST)


def call(method, path, body=None):
    connection.request(method, BASE + path, body=body, headers={"content-type": "application/json"} if body else {})
    answer = connection.getresponse()
    return answer, answer.read()


def describe(error):
    trace = traceback.format_exception(type(error), error, error.__traceback__)
    return {"errorType": type(error).__name__, "errorMessage": str(error), "trace": trace}


def post(path, value):
    call("POST", path, json.dumps(value, default=str).encode())


class Identity:
    cognito_identity_id = None
    cognito_identity_pool_id = None


class Context:
    def __init__(self, headers):
        self.aws_request_id = headers["lambda-runtime-aws-request-id"]
        self.invoked_function_arn = headers["lambda-runtime-invoked-function-arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = Identity()
        self.client_context = None
        self._deadline_ms = int(headers["lambda-runtime-deadline-ms"])

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - int(time.time() * 1000))


def load():
    sys.path.insert(0, os.getcwd())
    sys.path.insert(0, os.path.dirname(FILE))
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(FILE))[0], FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found = module
    for name in PATH.split("."):
        found = getattr(found, name)
    return found


try:
    handler = load()
except BaseException as error:  # also SystemExit: whatever keeps the module from loading
    traceback.print_exc()
    post("/init/error", describe(error))
    sys.exit(1)
try:
    while True:
        answer, body = call("GET", "/invocation/next")
        if answer.status != 200:
            sys.exit(0)  # no event, nor ever one again: somebody takes this process' place
        context = Context(answer.headers)
        try:
            result = handler(json.loads(body), context)
            encoded = json.dumps(result).encode()
            path = f"/invocation/{context.aws_request_id}/response"
        except Exception as error:
            traceback.print_exc()
            encoded = json.dumps(describe(error)).encode()
            path = f"/invocation/{context.aws_request_id}/error"
        sys.stdout.flush()
        call("POST", path, encoded)
except (ConnectionError, http.client.HTTPException):
    sys.exit(0)  # the runtime API is gone: so is what we work for
