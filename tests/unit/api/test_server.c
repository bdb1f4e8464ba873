/* SPDX-License-Identifier: MIT */
#include "../test.h"

#include <tailrace/engine.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct fixture {
    tr_server *server;
    tr_client *client;
    tr_buf body;
    tr_error err;
    unsigned short port;
} fixture;

static const char table[] =
    "{\"TableName\":\"tab\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":[{\"AttributeName\":"
    "\"a\","
    "\"AttributeType\":\"S\"}],\"KeySchema\":[{\"AttributeName\":\"a\",\"KeyType\":\"HASH\"}],"
    "\"StreamSpecification\":{\"StreamEnabled\":true,\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"}}";

static const char *text(fixture *f)
{
    return tr_buf_cstr(&f->body);
}

static int call(fixture *f, tr_service service, const char *operation, const char *body)
{
    const tr_request request = {.service = service, .operation = operation, .body = tr_view_str(body)};
    tr_buf_reset(&f->body);
    return tr_client_call_wait(f->client, &request, &f->body, &f->err);
}

static void must(fixture *f, tr_service service, const char *operation, const char *body)
{
    if (call(f, service, operation, body))
        fail_msg("%s: %s", operation, f->err.message);
}

static void put(fixture *f, int i)
{
    char body[128];
    (void)snprintf(body, sizeof body, "{\"TableName\":\"tab\",\"Item\":{\"a\":{\"S\":\"%d\"}}}", i);
    must(f, TR_DYNAMODB, "PutItem", body);
}

static tr_client *new_client(fixture *f)
{
    tr_transport *transport;
    tr_client *client;
    assert_int_equal(tr_server_transport(f->server, &transport, &f->err), 0);
    const tr_client_options options = {.transport = transport};
    assert_int_equal(tr_client_new(&options, &client, &f->err), 0);
    return client;
}

static int open_with(void **state, const char *dir)
{
    fixture *f = calloc(1, sizeof *f);
    static const char *const listen[] = {"127.0.0.1:0"};
    const tr_server_options options = {
        .data_dir = dir, .listen = listen, .listen_count = 1, .socket = dir != NULL, .stream_shards = 2};
    if (tr_server_new(&options, &f->server, &f->err))
        fail_msg("%s", f->err.message);
    f->port = (unsigned short)atoi(strrchr(tr_server_address(f->server, 0), ':') + 1);
    tr_buf_init(&f->body, 1 << 26);
    f->client = new_client(f);
    must(f, TR_DYNAMODB, "CreateTable", table);
    *state = f;
    return 0;
}

static int open_memory(void **state)
{
    return open_with(state, NULL);
}

static int close_all(void **state)
{
    fixture *f = *state;
    tr_client_free(f->client);
    tr_server_free(f->server);
    tr_buf_done(&f->body);
    free(f);
    return 0;
}

/* --------------------------------------------------------------------------------------------- in process */

static void answers_come_as_over_the_wire(void **state)
{
    fixture *f = *state;
    put(f, 1);
    must(f, TR_DYNAMODB, "GetItem", "{\"TableName\":\"tab\",\"Key\":{\"a\":{\"S\":\"1\"}}}");
    assert_string_equal(text(f), "{\"Item\":{\"a\":{\"S\":\"1\"}}}");
    assert_int_equal(
        call(f, TR_DYNAMODB, "GetItem", "{\"TableName\":\"none\",\"Key\":{\"a\":{\"S\":\"1\"}}}"),
        TR_ENOTFOUND);
    assert_string_equal(f->err.type, "ResourceNotFoundException");
    assert_true(tr_client_is_tailrace(f->client));
}

static atomic_int answered;

static void count_answer(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    (void)err;
    *(int *)ctx = code;
    if (code == 0)
        assert_int_equal(reply->status, 200);
    atomic_fetch_add(&answered, 1);
}

static void await(int count)
{
    for (int i = 0; i < 120000 && atomic_load(&answered) < count; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&answered), count);
}

static void many_requests_at_a_time_are_all_answered(void **state)
{
    fixture *f = *state;
    enum { COUNT = 2000 };
    static int codes[COUNT];
    atomic_store(&answered, 0);
    for (int i = 0; i < COUNT; i++) {
        char body[128];
        codes[i] = 1;
        (void)snprintf(body, sizeof body, "{\"TableName\":\"tab\",\"Item\":{\"a\":{\"S\":\"%d\"}}}", i % 50);
        const tr_request request = {.operation = "PutItem", .body = tr_view_str(body)};
        assert_int_equal(tr_client_call(f->client, &request, count_answer, &codes[i]), 0);
    }
    await(COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(codes[i], 0);
    must(f, TR_DYNAMODB, "Scan", "{\"TableName\":\"tab\",\"Select\":\"COUNT\"}");
    assert_non_null(strstr(text(f), "\"Count\":50"));
}

static void get_iterators(fixture *f, char out[2][512])
{
    char arn[256] = "", ids[2][80], body[512];
    must(f, TR_STREAMS, "ListStreams", "{}");
    (void)sscanf(strstr(text(f), "arn:"), "%255[^\"]", arn);
    (void)snprintf(body, sizeof body, "{\"StreamArn\":\"%s\"}", arn);
    must(f, TR_STREAMS, "DescribeStream", body);
    const char *at = text(f);
    for (int i = 0; i < 2; i++) {
        at = strstr(at, "\"ShardId\":\"") + 11;
        (void)sscanf(at, "%79[^\"]", ids[i]);
    }
    for (int i = 0; i < 2; i++) {
        (void)snprintf(body, sizeof body,
                       "{\"StreamArn\":\"%s\",\"ShardId\":\"%s\",\"ShardIteratorType\":\"LATEST\"}", arn,
                       ids[i]);
        must(f, TR_STREAMS, "GetShardIterator", body);
        (void)sscanf(text(f), "{\"ShardIterator\":\"%511[^\"]", out[i]);
    }
}

static atomic_int records;

static void take_records(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    (void)ctx;
    (void)err;
    if (code == 0)
        for (size_t at = 0; (at = tr_view_find(reply->body, TR_VIEW("\"eventID\""), at)) != SIZE_MAX; at++)
            atomic_fetch_add(&records, 1);
    atomic_fetch_add(&answered, 1);
}

static void wait_for_records(fixture *f, const char *iterator, const char *ms)
{
    char body[600];
    const tr_header header = {TR_VIEW("x-tailrace-wait-ms"), tr_view_str(ms)};
    (void)snprintf(body, sizeof body, "{\"ShardIterator\":\"%s\"}", iterator);
    const tr_request request = {.service = TR_STREAMS,
                                .operation = "GetRecords",
                                .body = tr_view_str(body),
                                .headers = &header,
                                .header_count = 1};
    assert_int_equal(tr_client_call(f->client, &request, take_records, NULL), 0);
}

static void a_waiting_read_is_woken_by_a_write(void **state)
{
    fixture *f = *state;
    char iterators[2][512];
    get_iterators(f, iterators);
    atomic_store(&answered, 0);
    atomic_store(&records, 0);
    int64_t begin = tr_clock_mono_ms();
    for (int i = 0; i < 2; i++)
        wait_for_records(f, iterators[i], "20000");
    usleep(20000);
    assert_int_equal(atomic_load(&answered), 0);
    for (int i = 0; i < 20; i++) /* both shards get some */
        put(f, i);
    await(2);
    assert_true(tr_clock_mono_ms() - begin < 20000);
    assert_true(atomic_load(&records) >= 2);
}

static void a_waiting_read_answers_empty_when_its_time_is_up(void **state)
{
    fixture *f = *state;
    char iterators[2][512];
    get_iterators(f, iterators);
    atomic_store(&answered, 0);
    atomic_store(&records, 0);
    int64_t begin = tr_clock_mono_ms();
    wait_for_records(f, iterators[0], "60");
    await(1);
    assert_in_range(tr_clock_mono_ms() - begin, 50, 120000);
    assert_int_equal(atomic_load(&records), 0);
}

static void freeing_a_client_cancels_what_waits(void **state)
{
    fixture *f = *state;
    char iterators[2][512];
    get_iterators(f, iterators);
    atomic_store(&answered, 0);
    for (int i = 0; i < 10; i++)
        wait_for_records(f, iterators[i % 2], "20000");
    usleep(10000);
    tr_client_free(f->client);
    assert_int_equal(atomic_load(&answered), 10);
    f->client = new_client(f);
    put(f, 1);
}

/* ------------------------------------------------------------------------------------------------ events */

typedef struct listener {
    atomic_int events, done;
    char last_id[128];
    char first[512], kind[16]; /* of the first event: data and type */
    int limit;                 /* events to take */
} listener;

static bool on_event(void *ctx, tr_view id, tr_view event, tr_view data)
{
    listener *l = ctx;
    if (atomic_load(&l->events) == 0) {
        (void)snprintf(l->first, sizeof l->first, "%.*s", TR_FMT(data));
        (void)snprintf(l->kind, sizeof l->kind, "%.*s", TR_FMT(event));
    }
    (void)snprintf(l->last_id, sizeof l->last_id, "%.*s", TR_FMT(id));
    return atomic_fetch_add(&l->events, 1) + 1 != l->limit;
}

static void on_done(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    (void)reply;
    (void)err;
    atomic_store(&((listener *)ctx)->done, code ? code : 1);
}

static void await_events(listener *l, int count)
{
    for (int i = 0; i < 120000 && atomic_load(&l->events) < count; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&l->events), count);
}

static void await_done(listener *l, int code)
{
    for (int i = 0; i < 120000 && !atomic_load(&l->done); i++)
        usleep(1000);
    assert_int_equal(atomic_load(&l->done), code);
}

static void events_are_pushed_in_order_and_resume(void **state)
{
    fixture *f = *state;
    listener first = {.limit = 30}, second = {.limit = 0}, gone = {.limit = 0};
    const tr_view path = TR_VIEW("/streams/tab/events?from=trim-horizon");
    put(f, 0);
    assert_int_equal(tr_client_subscribe(f->client, path, (tr_view){NULL, 0}, on_event, on_done, &first), 0);
    await_events(&first, 1);
    assert_non_null(strstr(first.first,
                           "{\"event\":\"insert\",\"keys\":{\"a\":\"0\"},\"new\":{\"a\":\"0\"},"
                           "\"sequence_number\":\"100000000000000000001\",\"shard\":\"shardId-"));
    for (int i = 1; i < 100; i++)
        put(f, i);
    await_done(&first, 1);
    assert_int_equal(atomic_load(&first.events), 30);
    assert_non_null(strstr(first.last_id, "/100000000000000000030"));
    assert_int_equal(tr_client_subscribe(f->client, TR_VIEW("/streams/tab/events"),
                                         tr_view_str(first.last_id), on_event, on_done, &second),
                     0);
    await_events(&second, 70);
    assert_non_null(strstr(second.last_id, "/100000000000000000100"));
    assert_int_equal(tr_client_subscribe(f->client, TR_VIEW("/streams/none/events"), (tr_view){NULL, 0},
                                         on_event, on_done, &gone),
                     0);
    await_done(&gone, TR_ENOTFOUND);
    /* a number that the stream has not come to, and one above all */
    static const char *const beyond[] = {"/100000000000000000101",
                                         "/999999999999999999999999999999999999999"};
    for (size_t i = 0; i < TR_COUNT(beyond); i++) {
        char id[128];
        listener refused = {.limit = 0};
        size_t label = strcspn(first.last_id, "/");
        (void)snprintf(id, sizeof id, "%.*s%s", (int)label, first.last_id, beyond[i]);
        assert_int_equal(tr_client_subscribe(f->client, TR_VIEW("/streams/tab/events"), tr_view_str(id),
                                             on_event, on_done, &refused),
                         0);
        await_done(&refused, TR_EINVAL);
    }
    /* a stream that is not known: what came in between may be missing, and the client is told first */
    listener stray = {.limit = 101};
    assert_int_equal(tr_client_subscribe(f->client, TR_VIEW("/streams/tab/events"),
                                         TR_VIEW("2020-01-01T00:00:00.000/100000000000000000007"), on_event,
                                         on_done, &stray),
                     0);
    await_done(&stray, 1);
    assert_string_equal(stray.kind, "gap");
    assert_non_null(strstr(stray.first, "{\"event\":\"gap\",\"reason\":\"stream-gone\""));
    tr_client_free(f->client);
    f->client = NULL;
    assert_int_equal(atomic_load(&second.done), TR_ECANCELED);
}

/* -------------------------------------------------------------------------------------------------- HTTP */

static int dial(fixture *f)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(f->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const struct timeval patience = {.tv_sec = 10};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* Sends and reads until `until` has come, or the connection ends. Returns the text. */
static const char *exchange(fixture *f, int fd, const char *send_text, size_t len, const char *until)
{
    tr_buf_reset(&f->body);
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, send_text + at, len - at, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    for (;;) {
        char part[4096];
        ssize_t n = recv(fd, part, sizeof part, 0);
        if (n <= 0)
            return text(f);
        tr_buf_put(&f->body, part, (size_t)n);
        if (until && strstr(text(f), until))
            return text(f);
    }
}

/* Posts an operation; the connection closes afterwards. */
static const char *post(fixture *f, const char *target, const char *type, tr_view body)
{
    tr_buf request;
    tr_buf_init(&request, 1 << 25);
    tr_buf_printf(
        &request,
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n%s%s%s%s%s%sContent-Length: %zu\r\n\r\n",
        target ? "X-Amz-Target: " : "", target ? target : "", target ? "\r\n" : "",
        type ? "Content-Type: " : "", type ? type : "", type ? "\r\n" : "", body.len);
    tr_buf_put_view(&request, body);
    int fd = dial(f);
    const char *answer = exchange(f, fd, request.ptr, request.len, NULL);
    close(fd);
    tr_buf_done(&request);
    return answer;
}

#define AMZ "application/x-amz-json-1.0"

static void http_answers_have_the_services_headers(void **state)
{
    fixture *f = *state;
    const char *answer = post(f, "DynamoDB_20120810.ListTables", AMZ, TR_VIEW("{}"));
    assert_non_null(strstr(answer, "HTTP/1.1 200"));
    assert_non_null(strstr(answer, "Content-Type: application/x-amz-json-1.0\r\n"));
    assert_non_null(strstr(answer, "x-amzn-RequestId: "));
    assert_non_null(strstr(answer, "x-amz-crc32: "));
    assert_non_null(strstr(answer, "x-tailrace-version: "));
    assert_non_null(strstr(answer, "{\"TableNames\":[\"tab\"]}"));
    static const struct {
        const char *target, *type, *body, *want;
    } cases[] = {
        {"DynamoDB_20120810.ListTables", "application/json; charset=utf-8", "{}",
         "Content-Type: application/json\r\n"},
        {"DynamoDB_20120810.ListTables", "text/plain", "{}", "404 Not Found"},
        {"DynamoDB_20120810.ListTables", NULL, "{}", "404 Not Found"},
        {"DynamoDB_20120810.ListTables", AMZ, "", "com.amazon.coral.service#SerializationException"},
        {NULL, AMZ, "", "com.amazon.coral.service#UnknownOperationException"},
        {NULL, AMZ, "{}", "com.amazon.coral.service#UnknownOperationException"},
        {NULL, AMZ, "{", "com.amazon.coral.service#SerializationException"},
        {"DynamoDB_20120810.Nothing", AMZ, "{}", "com.amazon.coral.service#UnknownOperationException"},
        {"Nothing", AMZ, "{}", "com.amazon.coral.service#UnknownOperationException"},
        {"DynamoDBStreams_20120810.ListStreams", AMZ, "{}", "{\"Streams\":[{\"StreamArn\""},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        answer = post(f, cases[i].target, cases[i].type, tr_view_str(cases[i].body));
        if (!strstr(answer, cases[i].want))
            fail_msg("%zu: %s", i, answer);
    }
    static const char get[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    int fd = dial(f);
    assert_non_null(
        strstr(exchange(f, fd, get, sizeof get - 1, "healthy: dynamodb.us-east-1.amazonaws.com "), "200"));
    close(fd);
}

static void no_bytes_give_a_server_error(void **state)
{
    fixture *f = *state;
    static const char *const targets[] = {
        "DynamoDB_20120810.PutItem", "DynamoDB_20120810.Query", "DynamoDB_20120810.CreateTable",
        "DynamoDBStreams_20120810.GetRecords", "DynamoDB_20120810.TransactWriteItems"};
    tr_rng rng;
    tr_rng_seed(&rng, 7);
    static const char letters[] = "{}[]\":,\\ \n0e-STNM\x80\xff"
                                  "ab";
    for (int i = 0; i < 300; i++) {
        char body[600];
        size_t n = (size_t)tr_rng_below(&rng, sizeof body);
        for (size_t k = 0; k < n; k++)
            body[k] = i % 2 ? letters[tr_rng_below(&rng, sizeof letters - 1)] : (char)tr_rng_next(&rng);
        const char *answer = post(f, targets[i % 5], AMZ, tr_view_of(body, n));
        assert_memory_equal(answer, "HTTP/1.1 4", 10);
    }
    tr_buf deep;
    tr_buf_init(&deep, 1 << 23);
    for (int i = 0; i < 1000000; i++)
        tr_buf_put_str(&deep, "{\"M\":");
    assert_memory_equal(post(f, targets[0], AMZ, tr_buf_view(&deep)), "HTTP/1.1 400", 12);
    tr_buf_done(&deep);
    put(f, 1);
}

static void pages_of_other_sites_are_kept_out(void **state)
{
    fixture *f = *state;
    static const char evil_host[] = "POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n";
    static const char evil_origin[] =
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: https://evil.example\r\nContent-Length: 0\r\n\r\n";
    int fd = dial(f);
    assert_memory_equal(exchange(f, fd, evil_host, sizeof evil_host - 1, "\r\n\r\n"), "HTTP/1.1 4", 10);
    close(fd);
    fd = dial(f);
    assert_memory_equal(exchange(f, fd, evil_origin, sizeof evil_origin - 1, "\r\n\r\n"), "HTTP/1.1 403", 12);
    close(fd);
}

static void events_come_over_http_and_end_with_the_server(void **state)
{
    fixture *f = *state;
    static const char get[] = "GET /streams/tab/events?from=trim-horizon HTTP/1.1\r\nHost: localhost\r\n\r\n";
    put(f, 1);
    put(f, 2);
    int fd = dial(f);
    const char *answer = exchange(f, fd, get, sizeof get - 1, "/100000000000000000002\n");
    assert_non_null(strstr(answer, "Content-Type: text/event-stream\r\n"));
    assert_non_null(strstr(answer, "\ndata: {\"event\":\"insert\",\"keys\":{\"a\":\"1\"}"));
    tr_client_free(f->client);
    tr_server_free(f->server);
    f->client = NULL;
    f->server = NULL;
    char part[64];
    ssize_t n;
    while ((n = recv(fd, part, sizeof part, 0)) > 0)
        continue;
    assert_int_equal(n, 0); /* ended, not reset */
    close(fd);
}

/* -------------------------------------------------------------------------------------------- directories */

static void a_directory_keeps_what_was_acknowledged(void **state)
{
    (void)state;
    char dir[] = "/tmp/tailrace-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    void *opened;
    open_with(&opened, dir);
    fixture *f = opened;
    for (int i = 0; i < 20; i++)
        put(f, i);
    const char *socket_address = tr_server_address(f->server, 1);
    assert_non_null(socket_address);
    assert_memory_equal(socket_address, "unix:", 5);
    assert_int_equal(access(socket_address + 5, F_OK), 0);
    /* the directory is taken */
    tr_server *other;
    tr_error err;
    const tr_server_options options = {.data_dir = dir};
    assert_int_equal(tr_server_new(&options, &other, &err), TR_EBUSY);
    tr_client_free(f->client);
    tr_server_free(f->server);
    assert_int_equal(tr_server_new(&options, &f->server, &f->err), 0);
    f->client = new_client(f);
    must(f, TR_DYNAMODB, "Scan", "{\"TableName\":\"tab\",\"Select\":\"COUNT\"}");
    assert_non_null(strstr(text(f), "\"Count\":20"));
    close_all(&opened);
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void an_address_in_use_is_told(void **state)
{
    fixture *f = *state;
    char address[64];
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)f->port);
    const char *const listen[] = {address};
    const tr_server_options options = {.listen = listen, .listen_count = 1};
    tr_server *other;
    tr_error err;
    assert_int_equal(tr_server_new(&options, &other, &err), TR_EBUSY);
    assert_non_null(strstr(err.message, address));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_memory, close_all)
    const struct CMUnitTest tests[] = {
        T(answers_come_as_over_the_wire),
        T(many_requests_at_a_time_are_all_answered),
        T(a_waiting_read_is_woken_by_a_write),
        T(a_waiting_read_answers_empty_when_its_time_is_up),
        T(freeing_a_client_cancels_what_waits),
        T(events_are_pushed_in_order_and_resume),
        T(http_answers_have_the_services_headers),
        T(no_bytes_give_a_server_error),
        T(pages_of_other_sites_are_kept_out),
        T(events_come_over_http_and_end_with_the_server),
        cmocka_unit_test(a_directory_keeps_what_was_acknowledged),
        T(an_address_in_use_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
