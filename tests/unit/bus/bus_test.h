/* SPDX-License-Identifier: MIT */
/** What the tests of the bus share: wire operations in this process, and what they look at. */
#ifndef TAILRACE_TEST_BUS_H
#define TAILRACE_TEST_BUS_H

#include "../embedded.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define EVENTS(op, body)   call(e.client, TR_EVENTS, op, body, &out)
#define SQS(op, body)      call(e.client, TR_SQS, op, body, &out)
#define BUS_ARN(name)      "arn:aws:events:us-east-1:000000000000:event-bus/" name
#define QUEUE_ARN(name)    "arn:aws:sqs:us-east-1:000000000000:" name
#define FUNCTION_ARN(name) "arn:aws:lambda:us-east-1:000000000000:function:" name

/** An event of source "s", and the rule that matches it. */
#define PUT                                                                                                  \
    "{\"Entries\":[{\"Source\":\"s\",\"DetailType\":\"t\",\"Detail\":\"{\\\"log\\\":\\\"users\\\","          \
    "\\\"type\\\":\\\"signup\\\"}\"}]}"
#define RULE "{\"Name\":\"r\",\"EventPattern\":\"{\\\"source\\\":[\\\"s\\\"]}\"}"

static inline void call(tr_client *client, tr_service service, const char *operation, const char *body,
                        tr_buf *out)
{
    tr_request request = {.service = service, .operation = operation, .body = tr_view_str(body)};
    tr_error err = {0};
    tr_buf_reset(out);
    if (tr_client_call_wait(client, &request, out, &err))
        fail_msg("%s %s: %s %s", operation, body, err.type, err.message);
    assert_non_null(tr_buf_cstr(out));
}

static inline void refused(tr_client *client, tr_service service, const char *operation, const char *body,
                           const char *type, const char *message)
{
    tr_request request = {.service = service, .operation = operation, .body = tr_view_str(body)};
    tr_error err = {0};
    assert_int_not_equal(tr_client_call_wait(client, &request, NULL, &err), 0);
    assert_string_equal(err.type, type);
    assert_string_equal(err.message, message);
}

static inline bool has(const tr_buf *out, const char *text)
{
    return tr_view_find(tr_buf_view(out), tr_view_str(text), 0) != SIZE_MAX;
}

static inline void expect(const tr_buf *out, const char *text)
{
    if (!has(out, text))
        fail_msg("'%s' is not in %s", text, out->ptr);
}

/** Receives a message, with all its attributes. */
static inline void receive(tr_client *client, const char *queue, tr_buf *out)
{
    char body[256];
    (void)snprintf(body, sizeof body,
                   "{\"QueueUrl\":\"%s\",\"WaitTimeSeconds\":5,\"MessageAttributeNames\":[\"All\"],"
                   "\"AttributeNames\":[\"All\"]}",
                   queue);
    call(client, TR_SQS, "ReceiveMessage", body, out);
}

static inline size_t lines_of(const char *path)
{
    size_t lines = 0;
    FILE *file = fopen(path, "r");
    for (int c; file && (c = getc(file)) != EOF;)
        lines += c == '\n';
    if (file)
        (void)fclose(file);
    return lines;
}

static inline void wait_for_lines(const char *path, size_t count)
{
    for (int i = 0; i < 12000 && lines_of(path) < count; i++)
        (void)usleep(10000);
    assert_int_equal(lines_of(path), count);
}

/** The file's text, NUL-terminated; freed with tr_buf_done. */
static inline void read_file(const char *path, tr_buf *out)
{
    FILE *file = fopen(path, "r");
    tr_buf_init(out, 1 << 24);
    assert_non_null(file);
    for (int c; (c = getc(file)) != EOF;)
        tr_buf_putc(out, (char)c);
    (void)fclose(file);
    assert_non_null(tr_buf_cstr(out));
}

static inline void remove_tree(const char *dir)
{
    char command[256];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

#endif
