/* SPDX-License-Identifier: MIT */
#include "../http/serving.h"

#include <tailrace/client.h>
#include <tailrace/sigv4.h>

/*
 * A service that does what the operation's name says:
 *   Ok            {"ok":true} and what it was sent
 *   Fail_STATUS_TYPE    an error
 *   Twice_STATUS_TYPE   the same for the first two of three requests
 *   Crc           a right checksum; BadCrc a wrong one; CrcTwice wrong for the first two
 *   Never         no answer
 */
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;

struct service {
    struct serving serving;
    atomic_int count; /* requests */
    tr_buf seen;      /* of the last request: headers and body; the server's thread writes, we read when it
                         answered */
    int signature;    /* of the last: what tr_sigv4_verify said */
};

static int find_secret(void *ctx, tr_view id, tr_view *ret_secret)
{
    (void)ctx;
    (void)id;
    *ret_secret = TR_VIEW("the-secret");
    return 0;
}

static void note_request(struct service *s, tr_http_request *request)
{
    pthread_mutex_lock(&seen_lock);
    tr_buf_reset(&s->seen);
    tr_buf_printf(&s->seen, "%.*s %.*s\n", TR_FMT(request->method), TR_FMT(request->path));
    for (size_t i = 0; i < request->header_count; i++)
        tr_buf_printf(&s->seen, "%.*s: %.*s\n", TR_FMT(request->headers[i].name),
                      TR_FMT(request->headers[i].value));
    tr_buf_put_view(&s->seen, request->body);
    assert_non_null(tr_buf_cstr(&s->seen));
    pthread_mutex_unlock(&seen_lock);
    tr_sigv4 *signer;
    tr_sigv4_identity who;
    tr_sigv4_check check = {.secret = find_secret, .now_ms = tr_clock_wall_ms()};
    tr_sigv4_request signed_request = {request->method,  request->path,         request->query,
                                       request->headers, request->header_count, request->body};
    assert_int_equal(tr_sigv4_new(&signer), 0);
    s->signature = tr_sigv4_verify(signer, &check, &signed_request, &who, NULL);
    tr_sigv4_free(signer);
}

static void answer_error(tr_http_request *request, const char *name)
{
    int status = atoi(name);
    const char *type = strchr(name, '_');
    if (status == 418) { /* no error of the service: bytes of anybody */
        tr_http_respond_bytes(request, status, "text/plain", TR_VIEW("caf\xe9 \xc3\xa9"));
        return;
    }
    if (status == 413) { /* longer than what is kept, cut within a character wherever it begins */
        tr_buf_printf(&request->out, "{\"__type\":\"x#y\",\"message\":\"%s", type);
        for (int i = 0; i < TR_ERROR_MESSAGE_MAX; i++)
            tr_buf_put_str(&request->out, "\xc3\xa9");
        tr_buf_put_str(&request->out, "\"}");
        tr_http_respond(request, status, "application/x-amz-json-1.0", NULL, 0, 0);
        return;
    }
    tr_buf_printf(&request->out,
                  "{\"__type\":\"com.amazonaws.dynamodb.v20120810#%s\",\"message\":\"because \\u00e9\"}",
                  type ? type + 1 : "");
    tr_http_respond(request, status, "application/x-amz-json-1.0", NULL, 0, 0);
}

static void answer_crc(tr_http_request *request, bool right)
{
    static const char body[] = "{\"ok\":true}";
    char crc[16];
    (void)snprintf(crc, sizeof crc, "%u", tr_crc32(0, TR_VIEW(body)) + (right ? 0 : 1));
    tr_header header = {TR_VIEW("X-Amz-Crc32"), tr_view_str(crc)};
    tr_buf_put_str(&request->out, body);
    tr_http_respond(request, 200, NULL, &header, 1, 0);
}

static void handle(void *ctx, tr_http_request *request)
{
    struct service *s = ctx; /* its first member is the serving */
    char operation[200] = "";
    tr_view target = tr_http_header(request, "x-amz-target");
    size_t dot = tr_view_find(target, TR_VIEW("."), 0);
    if (target.ptr && dot != SIZE_MAX)
        memcpy(operation, target.ptr + dot + 1, target.len - dot - 1);
    note_request(s, request);
    int n = s->count++;
    if (strncmp(operation, "Fail_", 5) == 0) {
        answer_error(request, operation + 5);
    } else if (strncmp(operation, "Twice_", 6) == 0 && n % 3 != 2) {
        answer_error(request, operation + 6);
    } else if (strcmp(operation, "Crc") == 0 || strcmp(operation, "BadCrc") == 0) {
        answer_crc(request, operation[0] == 'C');
    } else if (strcmp(operation, "CrcTwice") == 0) {
        answer_crc(request, n % 3 == 2);
    } else if (strcmp(operation, "Never") == 0) {
        request->user = &s->serving;
        request->on_gone = count_gone;
    } else if (tr_view_is(request->path, "/streams/T/events")) {
        static const tr_http_stream_events events = {.on_close = stream_closed};
        assert_int_equal(
            tr_http_stream_begin(request, 200, "text/event-stream", NULL, 0, 0, &events, &s->serving), 0);
        for (int i = 0; i < 3; i++) {
            char event[60];
            (void)snprintf(event, sizeof event, "id: %d\nevent: change\ndata: {\"n\":%d}\n\n", i, i);
            (void)tr_http_stream_write(request, tr_view_str(event));
        }
        if (tr_view_find(s->seen.len ? tr_buf_view(&s->seen) : TR_VIEW(""), TR_VIEW("last-event-id: end"),
                         0) != SIZE_MAX)
            tr_http_stream_end(request);
    } else {
        tr_header header = {TR_VIEW("X-Tailrace-Version"), TR_VIEW("1")};
        tr_buf_put_str(&request->out, "{\"ok\":true}");
        tr_http_respond(request, 200, "application/x-amz-json-1.0", &header, 1, 0);
    }
}

/* A copy of it, so that the server's thread may write the next. */
static const char *seen(struct service *s)
{
    static char text[65536];
    pthread_mutex_lock(&seen_lock);
    assert_true(s->seen.len < sizeof text);
    memcpy(text, s->seen.ptr, s->seen.len + 1);
    pthread_mutex_unlock(&seen_lock);
    return text;
}

static void service_start(struct service *s)
{
    memset(s, 0, sizeof *s);
    tr_buf_init(&s->seen, 1 << 20);
    serving_start_with(&s->serving, (tr_http_options){0}, handle);
}

static void service_stop(struct service *s)
{
    serving_stop(&s->serving);
    tr_buf_done(&s->seen);
}

static tr_client *client_of(struct service *s, tr_client_options options)
{
    static char endpoint[64];
    tr_client *client = NULL;
    tr_error err = {0};
    (void)snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u/", s->serving.port);
    options.endpoint = endpoint;
    options.access_key_id = "AKID";
    options.secret_access_key = "the-secret";
    int code = tr_client_new(&options, &client, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(code, 0);
    return client;
}

static int wait_for(tr_client *client, tr_service service, const char *operation, unsigned attempts,
                    tr_buf *body, tr_error *err)
{
    tr_request request = {
        .service = service, .operation = operation, .body = TR_VIEW("{\"a\":1}"), .attempts = attempts};
    tr_buf_reset(body);
    return tr_client_call_wait(client, &request, body, err);
}

static void requests_look_as_the_services_want_them(void **state)
{
    (void)state;
    struct service s;
    tr_buf body;
    tr_error err;
    service_start(&s);
    tr_buf_init(&body, 10000);
    tr_client *client = client_of(&s, (tr_client_options){.session_token = "tok/en=="});
    assert_false(tr_client_is_tailrace(client));
    static const struct {
        tr_service service;
        const char *target, *type;
    } cases[] = {
        {TR_DYNAMODB, "x-amz-target: DynamoDB_20120810.Ok\n", "content-type: application/x-amz-json-1.0\n"},
        {TR_STREAMS, "x-amz-target: DynamoDBStreams_20120810.Ok\n",
         "content-type: application/x-amz-json-1.0\n"},
        {TR_EVENTS, "x-amz-target: AWSEvents.Ok\n", "content-type: application/x-amz-json-1.1\n"},
        {TR_SQS, "x-amz-target: AmazonSQS.Ok\n", "content-type: application/x-amz-json-1.0\n"}};
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        assert_int_equal(wait_for(client, cases[i].service, "Ok", 0, &body, &err), 0);
        assert_view(tr_buf_view(&body), "{\"ok\":true}");
        assert_non_null(strstr(seen(&s), cases[i].target));
        assert_non_null(strstr(seen(&s), cases[i].type));
        assert_non_null(strstr(seen(&s), "POST /\n"));
        assert_non_null(strstr(seen(&s), "x-amz-security-token: tok/en==\n"));
        assert_non_null(strstr(seen(&s), "{\"a\":1}"));
        assert_int_equal(s.signature, 0);
        assert_int_equal(tr_client_requests(client, cases[i].service), 1);
    }
    tr_header headers[] = {{TR_VIEW("x-tailrace-wait-ms"), TR_VIEW("5")},
                           {TR_VIEW("X-Amz-Extra"), TR_VIEW("e")}};
    tr_request request = {.service = TR_DYNAMODB, .operation = "Ok", .headers = headers, .header_count = 2};
    assert_int_equal(tr_client_call_wait(client, &request, NULL, &err), 0);
    assert_non_null(strstr(seen(&s), "x-tailrace-wait-ms: 5\n"));
    assert_non_null(strstr(seen(&s), "SignedHeaders=content-type;host;x-amz-date;x-amz-extra;"));
    assert_non_null(strstr(seen(&s), "\n{}")); /* no body is an empty object */
    assert_int_equal(s.signature, 0);
    tr_request lambda = {.service = TR_LAMBDA,
                         .operation = "POST /2015-03-31/functions/a%3Ab/invocations?Qualifier=1",
                         .body = TR_VIEW("[]")};
    assert_int_equal(tr_client_call_wait(client, &lambda, NULL, &err), 0);
    assert_non_null(strstr(seen(&s), "POST /2015-03-31/functions/a%3Ab/invocations\n"));
    assert_null(strstr(seen(&s), "x-amz-target"));
    assert_int_equal(s.signature, 0);
    assert_true(tr_client_is_tailrace(client)); /* it said so */
    assert_false(tr_client_is_aws(client));
    assert_string_equal(tr_client_region(client), "us-east-1");
    tr_client_free(client);
    tr_client_free(NULL);
    tr_buf_done(&body);
    service_stop(&s);
}

static void errors_are_told_apart(void **state)
{
    (void)state;
    struct service s;
    tr_buf body;
    service_start(&s);
    tr_buf_init(&body, 10000);
    tr_client *client = client_of(&s, (tr_client_options){.attempts = 1});
    static const struct {
        const char *operation, *type;
        int code;
    } cases[] = {
        {"Fail_400_ValidationException", "ValidationException", TR_ESERVICE},
        {"Fail_400_ResourceNotFoundException", "ResourceNotFoundException", TR_ENOTFOUND},
        {"Fail_400_ConditionalCheckFailedException", "ConditionalCheckFailedException", TR_ECONFLICT},
        {"Fail_400_TransactionCanceledException", "TransactionCanceledException", TR_ECONFLICT},
        {"Fail_400_ResourceInUseException", "ResourceInUseException", TR_ECONFLICT},
        {"Fail_400_ResourceAlreadyExistsException", "ResourceAlreadyExistsException", TR_EEXIST},
        {"Fail_400_TableNotFoundException", "TableNotFoundException", TR_ENOTFOUND},
        {"Fail_400_TrimmedDataAccessException", "TrimmedDataAccessException", TR_ETRIMMED},
        {"Fail_400_ExpiredIteratorException", "ExpiredIteratorException", TR_EEXPIRED},
        {"Fail_400_ThrottlingException", "ThrottlingException", TR_ETHROTTLED},
        {"Fail_400_ProvisionedThroughputExceededException", "ProvisionedThroughputExceededException",
         TR_ETHROTTLED},
        {"Fail_429_", "", TR_ETHROTTLED},
        {"Fail_400_UnrecognizedClientException", "UnrecognizedClientException", TR_EAUTH},
        {"Fail_500_InternalServerError", "InternalServerError", TR_ESERVICE},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        tr_error err;
        assert_int_equal(wait_for(client, TR_DYNAMODB, cases[i].operation, 0, &body, &err), cases[i].code);
        assert_string_equal(err.type, cases[i].type);
        assert_string_equal(err.message, "because \xc3\xa9");
        assert_int_equal(err.http_status, atoi(cases[i].operation + 5));
        assert_int_equal(err.code, cases[i].code);
        assert_non_null(strstr(tr_buf_cstr(&body), "__type")); /* the answer is given too */
    }
    assert_int_equal(s.count, TR_COUNT(cases));
    tr_error err;
    assert_int_equal(wait_for(client, TR_DYNAMODB, "Fail_418", 0, &body, &err), TR_ESERVICE);
    assert_string_equal(err.message, "HTTP status 418: caf? \xc3\xa9");
    static const char *const long_ones[] = {"Fail_413_a", "Fail_413_ab"};
    for (size_t i = 0; i < TR_COUNT(long_ones); i++) {
        assert_int_equal(wait_for(client, TR_DYNAMODB, long_ones[i], 0, &body, &err), TR_ESERVICE);
        assert_true(tr_utf8_valid(tr_view_str(err.message)));
        assert_true(strlen(err.message) >= TR_ERROR_MESSAGE_MAX - 2);
    }
    tr_client_free(client);
    tr_buf_done(&body);
    service_stop(&s);
}

static void what_may_pass_is_tried_again(void **state)
{
    (void)state;
    struct service s;
    tr_buf body;
    tr_error err;
    service_start(&s);
    tr_buf_init(&body, 10000);
    tr_client *client = client_of(&s, (tr_client_options){0});
    static const char *const twice[] = {"Twice_500_InternalServerError",
                                        "Twice_503_ServiceUnavailable",
                                        "Twice_502_",
                                        "Twice_400_ThrottlingException",
                                        "Twice_400_TransactionInProgressException",
                                        "CrcTwice"};
    for (size_t i = 0; i < TR_COUNT(twice); i++) {
        assert_int_equal(wait_for(client, TR_DYNAMODB, twice[i], 0, &body, &err), 0);
        assert_view(tr_buf_view(&body), "{\"ok\":true}");
        assert_int_equal(s.count, 3 * (i + 1));
    }
    assert_int_equal(tr_client_requests(client, TR_DYNAMODB), 3 * TR_COUNT(twice));
    static const struct {
        const char *operation;
        unsigned attempts;
        int requests, code;
    } cases[] = {{"Fail_500_X", 0, 4, TR_ESERVICE},
                 {"Fail_500_X", 2, 2, TR_ESERVICE},
                 {"Fail_500_X", 1, 1, TR_ESERVICE},
                 {"Fail_501_X", 0, 1, TR_ESERVICE},
                 {"Fail_400_ValidationException", 0, 1, TR_ESERVICE},
                 {"Fail_400_ConditionalCheckFailedException", 0, 1, TR_ECONFLICT},
                 {"Fail_400_ExpiredIteratorException", 0, 1, TR_EEXPIRED},
                 {"Fail_400_UnrecognizedClientException", 0, 1, TR_EAUTH},
                 {"Fail_400_ExpiredTokenException", 0, 1, TR_EEXPIRED}, /* these keys will not get better */
                 {"Fail_400_ThrottlingException", 2, 2, TR_ETHROTTLED},
                 {"BadCrc", 2, 2, TR_EIO},
                 {"Crc", 2, 1, 0}};
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        s.count = 0;
        assert_int_equal(wait_for(client, TR_DYNAMODB, cases[i].operation, cases[i].attempts, &body, &err),
                         cases[i].code);
        assert_int_equal(s.count, cases[i].requests);
    }
    tr_client_free(client);
    tr_buf_done(&body);
    service_stop(&s);
}

/* A port of ours on which nobody listens: connections are refused. */
static int bind_only(unsigned *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t in_len = sizeof in;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &in_len), 0);
    *ret_port = ntohs(in.sin_port);
    return fd;
}

static void silent_servers_time_out(void **state)
{
    (void)state;
    struct service s;
    tr_buf body;
    tr_error err;
    service_start(&s);
    tr_buf_init(&body, 10000);
    tr_client *client = client_of(&s, (tr_client_options){.timeout_ms = 1000, .attempts = 2});
    assert_int_equal(wait_for(client, TR_DYNAMODB, "Never", 0, &body, &err), TR_ETIMEOUT);
    assert_int_equal(tr_client_requests(client, TR_DYNAMODB), 2);
    wait_for_count(&s.count, 2);
    assert_int_equal(body.len, 0);
    tr_client_free(client);
    service_stop(&s);
    int nobody = bind_only(&s.serving.port);
    client = client_of(&s, (tr_client_options){.attempts = 2});
    assert_int_equal(wait_for(client, TR_DYNAMODB, "Ok", 0, &body, &err), TR_ECONNECT);
    assert_int_equal(tr_client_requests(client, TR_DYNAMODB), 2);
    tr_client_free(client);
    close(nobody);
    tr_buf_done(&body);
}

/* ------------------------------------------------------------------------------------------------- callbacks
 */

struct counted {
    tr_client *client;
    atomic_int calls, codes[100]; /* codes by -code */
    atomic_bool wrong_thread, closing;
};

static void count_reply(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    struct counted *c = ctx;
    if (!tr_client_on_thread(c->client))
        c->wrong_thread = true;
    assert_true(code == 0 ? reply && !err : err != NULL);
    c->codes[-code]++;
    c->calls++;
}

static void callbacks_run_exactly_once(void **state)
{
    (void)state;
    enum { EACH = 150 };
    struct service s;
    service_start(&s);
    struct counted c = {0};
    c.client = client_of(&s, (tr_client_options){.max_connections = 40, .attempts = 100});
    static const char *const operations[] = {"Ok", "Never", "Fail_400_ThrottlingException"};
    for (int i = 0; i < EACH; i++)
        for (size_t k = 0; k < TR_COUNT(operations); k++) {
            tr_request request = {
                .service = TR_DYNAMODB, .operation = operations[k], .timeout_ms = ANSWER_MS};
            if (k == 1 && i >= 20) /* these hold a connection each */
                continue;
            assert_int_equal(tr_client_call(c.client, &request, count_reply, &c), 0);
        }
    wait_for_count(&c.codes[0], EACH);
    tr_client_free(c.client);
    assert_int_equal(c.calls, 2 * EACH + 20);
    assert_int_equal(c.codes[0], EACH);
    assert_int_equal(c.codes[-TR_ECANCELED] + c.codes[-TR_ETHROTTLED], EACH + 20);
    assert_false(c.wrong_thread);
    service_stop(&s);
}

static void try_to_block(void *ctx)
{
    struct counted *c = ctx;
    tr_error err;
    tr_request request = {.service = TR_DYNAMODB, .operation = "Ok"};
    c->closing = tr_client_closing(c->client);
    if (!tr_client_on_thread(c->client))
        c->wrong_thread = true;
    c->codes[-tr_client_call_wait(c->client, &request, NULL, &err)]++;
    if (c->closing)
        c->codes[-tr_client_call(c->client, &request, count_reply, c)]++;
    c->calls++;
}

static void tasks_run_on_the_io_thread(void **state)
{
    (void)state;
    struct service s;
    service_start(&s);
    struct counted c = {0};
    c.client = client_of(&s, (tr_client_options){0});
    assert_false(tr_client_on_thread(c.client));
    assert_int_equal(tr_client_schedule(c.client, 0, try_to_block, &c), 0);
    assert_int_equal(tr_client_schedule(c.client, 20, try_to_block, &c), 0);
    wait_for_count(&c.calls, 2);
    assert_int_equal(c.codes[-TR_ETHREAD], 2);
    assert_false(c.closing);
    assert_int_equal(tr_client_schedule(c.client, 3600000, try_to_block, &c), 0);
    tr_client_free(c.client); /* runs it early */
    assert_int_equal(c.calls, 3);
    assert_true(c.closing);
    assert_int_equal(c.codes[-TR_ECLOSED], 1);
    assert_false(c.wrong_thread);
    service_stop(&s);
}

struct events {
    tr_buf text;
    int most;
    atomic_int count, done, code, status;
};

static bool take_event(void *ctx, tr_view id, tr_view event, tr_view data)
{
    struct events *e = ctx;
    tr_buf_printf(&e->text, "%.*s %.*s %.*s;", TR_FMT(id), TR_FMT(event), TR_FMT(data));
    return ++e->count < e->most;
}

static void end_events(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    struct events *e = ctx;
    assert_true(code == 0 || err);
    e->status = reply ? reply->status : 0;
    e->code = code;
    e->done++;
}

static void subscriptions_deliver_events(void **state)
{
    (void)state;
    struct service s;
    service_start(&s);
    tr_client *client = client_of(&s, (tr_client_options){0});
    struct events e[4] = {{.most = 2}, {.most = 100}, {.most = 100}, {.most = 100}};
    for (int i = 0; i < 4; i++)
        tr_buf_init(&e[i].text, 10000);
    tr_view path = TR_VIEW("/streams/T/events");
    assert_int_equal(tr_client_subscribe(client, path, TR_VIEW(""), take_event, end_events, &e[0]), 0);
    wait_for_count(&e[0].done, 1); /* ended by the callback */
    assert_int_equal(e[0].code, 0);
    assert_view(tr_buf_view(&e[0].text), "0 change {\"n\":0};1 change {\"n\":1};");
    assert_int_equal(tr_client_subscribe(client, path, TR_VIEW("end"), take_event, end_events, &e[1]), 0);
    wait_for_count(&e[1].done, 1); /* ended by the server */
    assert_int_equal(e[1].code, 0);
    assert_int_equal(e[1].count, 3);
    assert_non_null(strstr(seen(&s), "accept: text/event-stream\n"));
    assert_int_equal(s.signature, 0);
    assert_int_equal(tr_client_subscribe(client, path, TR_VIEW(""), take_event, end_events, &e[2]), 0);
    wait_for_count(&e[2].count, 3);
    assert_int_equal(
        tr_client_subscribe(client, TR_VIEW("no-slash"), TR_VIEW(""), take_event, end_events, &e[3]),
        TR_EINVAL);
    tr_client_free(client); /* ended by us */
    assert_int_equal(e[2].done, 1);
    assert_int_equal(e[2].code, TR_ECANCELED);
    service_stop(&s);
    int nobody = bind_only(&s.serving.port);
    client = client_of(&s, (tr_client_options){0});
    assert_int_equal(tr_client_subscribe(client, path, TR_VIEW(""), take_event, end_events, &e[3]), 0);
    wait_for_count(&e[3].done, 1);
    assert_int_equal(e[3].code, TR_ECONNECT);
    tr_client_free(client);
    close(nobody);
    for (int i = 0; i < 4; i++)
        tr_buf_done(&e[i].text);
}

/* ----------------------------------------------------------------------------------------- a clock that is
 * wrong */

/* Refuses the first request with a Date an hour ahead, then answers; keeps what it was sent. */
struct skewed {
    pthread_t thread;
    int fd;
    unsigned port;
    tr_buf seen;
};

static void *skewed_run(void *arg)
{
    struct skewed *k = arg;
    int fd = accept(k->fd, NULL, NULL);
    static const char *const answers[] = {
        "HTTP/1.1 400 Bad Request\r\nDate: Fri, 01 Jan 2100 00:00:00 GMT\r\nContent-Length: 103\r\n\r\n"
        "{\"__type\":\"com.amazon.coral.service#InvalidSignatureException\",\"message\":\"Signature expired: "
        "2 is now\"}",
        "HTTP/1.1 200 OK\r\nDate: Fri, 01 Jan 2100 00:00:00 GMT\r\nContent-Length: 2\r\n\r\n{}"};
    for (int i = 0; i < 2; i++) {
        tr_buf got = take_until(fd, "\r\n\r\n{}");
        tr_buf_put_view(&k->seen, tr_buf_view(&got));
        tr_buf_done(&got);
        put_text(fd, answers[i]);
    }
    close(fd);
    return NULL;
}

static void a_wrong_clock_is_set_right(void **state)
{
    (void)state;
    struct skewed k = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    struct sockaddr_in in = {.sin_family = AF_INET};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t in_len = sizeof in;
    assert_int_equal(bind(k.fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(k.fd, 1), 0);
    assert_int_equal(getsockname(k.fd, (struct sockaddr *)&in, &in_len), 0);
    tr_buf_init(&k.seen, 100000);
    assert_int_equal(pthread_create(&k.thread, NULL, skewed_run, &k), 0);
    struct service s = {.serving = {.port = ntohs(in.sin_port)}};
    tr_client *client = client_of(&s, (tr_client_options){0});
    tr_request request = {.service = TR_DYNAMODB, .operation = "Ok"};
    tr_error err = {0};
    assert_int_equal(tr_client_call_wait(client, &request, NULL, &err), 0);
    tr_client_free(client);
    assert_int_equal(pthread_join(k.thread, NULL), 0);
    close(k.fd);
    const char *first = strstr(tr_buf_cstr(&k.seen), "X-Amz-Date: "),
               *second = strstr(first + 1, "X-Amz-Date: ");
    assert_memory_not_equal(first + 12, "2100", 4);
    assert_memory_equal(second + 12, "21000101T0000", 13);
    tr_buf_done(&k.seen);
}

/* ------------------------------------------------------------------------------------------- other
 * transports */

struct inline_transport {
    tr_transport base;
    int sends, freed;
};

static int inline_send(tr_transport *t, const tr_request *request, tr_reply_fn *fn, void *ctx)
{
    struct inline_transport *it = (struct inline_transport *)t;
    it->sends++;
    if (strcmp(request->operation, "Refuse") == 0)
        return TR_ENOMEM;
    tr_reply reply = {.status = 200, .body = TR_VIEW("{}")};
    fn(ctx, 0, &reply, NULL); /* a real one would do this later */
    return 0;
}

static bool inline_on_thread(tr_transport *t)
{
    (void)t;
    return false;
}

static void inline_free(tr_transport *t)
{
    ((struct inline_transport *)t)->freed++;
}

static void other_transports_are_served_too(void **state)
{
    (void)state;
    struct inline_transport t = {
        .base = {.send = inline_send, .on_thread = inline_on_thread, .free = inline_free}};
    tr_client *client;
    assert_int_equal(tr_client_new(&(tr_client_options){.transport = &t.base}, &client, NULL), 0);
    tr_request request = {.service = TR_STREAMS, .operation = "Ok"};
    assert_int_equal(tr_client_call_wait(client, &request, NULL, NULL), 0);
    request.operation = "Refuse";
    tr_error err;
    assert_int_equal(tr_client_call_wait(client, &request, NULL, &err), TR_ENOMEM);
    assert_int_equal(tr_client_subscribe(client, TR_VIEW("/"), TR_VIEW(""), NULL, NULL, NULL),
                     TR_EUNSUPPORTED);
    assert_string_equal(tr_client_endpoint(client, TR_DYNAMODB), "embedded");
    assert_true(tr_client_is_tailrace(client));
    assert_false(tr_client_is_aws(client));
    tr_client_free(client);
    assert_int_equal(t.freed, 1);
    assert_int_equal(t.sends, 2);
}

int main(void)
{
    (void)setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    (void)setenv("HOME", "/proc/nowhere", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_look_as_the_services_want_them),
        cmocka_unit_test(errors_are_told_apart),
        cmocka_unit_test(what_may_pass_is_tried_again),
        cmocka_unit_test(silent_servers_time_out),
        cmocka_unit_test(callbacks_run_exactly_once),
        cmocka_unit_test(tasks_run_on_the_io_thread),
        cmocka_unit_test(subscriptions_deliver_events),
        cmocka_unit_test(a_wrong_clock_is_set_right),
        cmocka_unit_test(other_transports_are_served_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
