/* SPDX-License-Identifier: MIT */
#include "log/internal.h"

#include <stdio.h>
#include <time.h>

#define WAIT_MS 120000

static int call(tr_client *client, const char *operation, tr_buf *body, tr_buf *ret_reply, tr_error *err)
{
    tr_request request = {.service = TR_DYNAMODB, .operation = operation, .body = tr_buf_view(body)};
    return tr_client_call_wait(client, &request, ret_reply, err);
}

static bool is_active(tr_view reply, tr_arena *arena)
{
    tr_view table, status;
    return tr_json_member(reply, "Table", arena, &table) == 0 &&
           tr_json_member(table, "TableStatus", arena, &status) == 0 && tr_view_is(status, "\"ACTIVE\"");
}

static int wait_active(tr_client *client, const char *table, tr_error *err)
{
    int64_t give_up = tr_clock_mono_ms() + WAIT_MS;
    tr_buf body, reply;
    tr_arena arena;
    tr_buf_init(&body, 4096);
    tr_buf_init(&reply, 1 << 20);
    tr_arena_init(&arena, 1 << 20);
    tr_buf_printf(&body, "{\"TableName\":\"%s\"}", table);
    int e;
    for (;;) {
        tr_buf_reset(&reply);
        tr_arena_reset(&arena);
        e = call(client, "DescribeTable", &body, &reply, err);
        if (e || is_active(tr_buf_view(&reply), &arena))
            break;
        if (tr_clock_mono_ms() > give_up) {
            e = tr_fail(err, TR_ETIMEOUT, "table %s is not active after %d s", table, WAIT_MS / 1000);
            break;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    tr_buf_done(&body);
    tr_buf_done(&reply);
    tr_arena_done(&arena);
    return e;
}

int tr_log_create_table(tr_client *client, const char *name, tr_error *err)
{
    const char *table = tr__log_table(name);
    if (strlen(table) > 255 ||
        strspn(table, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") != strlen(table))
        return tr_fail(err, TR_EINVAL,
                       "'%.255s' is no table name: A-Z a-z 0-9 _ . - are allowed, 3 to 255 of them", table);
    tr_buf body;
    tr_buf_init(&body, 4096);
    tr_buf_printf(
        &body,
        "{\"TableName\":\"%s\",\"BillingMode\":\"PAY_PER_REQUEST\","
        "\"AttributeDefinitions\":[{\"AttributeName\":\"" TR_LOG_PK "\",\"AttributeType\":\"S\"},"
        "{\"AttributeName\":\"" TR_LOG_SK "\",\"AttributeType\":\"N\"}],"
        "\"KeySchema\":[{\"AttributeName\":\"" TR_LOG_PK "\",\"KeyType\":\"HASH\"},"
        "{\"AttributeName\":\"" TR_LOG_SK "\",\"KeyType\":\"RANGE\"}],"
        "\"StreamSpecification\":{\"StreamEnabled\":true,\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"},"
        "\"SSESpecification\":{\"Enabled\":true},"
        "\"Tags\":[{\"Key\":\"dynamodb-table\",\"Value\":\"%s\"}]}",
        table, table);
    tr_error local;
    int e = call(client, "CreateTable", &body, NULL, &local);
    if (e == TR_ECONFLICT && strcmp(local.type, "ResourceInUseException") == 0)
        e = local.code = TR_EEXIST;
    if (e && err)
        *err = local;
    if (!e)
        e = wait_active(client, table, err);
    if (!e) {
        tr_buf_reset(&body);
        tr_buf_printf(&body,
                      "{\"TableName\":\"%s\",\"TimeToLiveSpecification\":{\"Enabled\":true,\"AttributeName\":"
                      "\"" TR_LOG_TTL "\"}}",
                      table);
        e = call(client, "UpdateTimeToLive", &body, NULL, err);
    }
    tr_buf_done(&body);
    return e;
}
