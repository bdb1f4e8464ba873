/* SPDX-License-Identifier: MIT */
#include "client/table.h"

#include <time.h>

#define POLL_MS  100
#define POLLS    600 /* a minute */
#define BODY_MAX 4096

static int call(tr_client *client, const char *operation, tr_buf *body, tr_buf *answer, tr_error *err)
{
    if (tr_buf_status(body))
        return tr_fail(err, TR_EINVAL, "a table's name is too long");
    tr_request request = {.service = TR_DYNAMODB, .operation = operation, .body = tr_buf_view(body)};
    return tr_client_call_wait(client, &request, answer, err);
}

static bool is_active(tr_view answer, tr_arena *arena)
{
    tr_view table, status;
    return tr_json_member(answer, "Table", arena, &table) == 0 && table.ptr[0] == '{' &&
           tr_json_member(table, "TableStatus", arena, &status) == 0 && tr_view_is(status, "\"ACTIVE\"");
}

static int ask(tr_client *client, const char *table, bool *ret_active, tr_error *err)
{
    tr_buf body, answer;
    tr_json_writer w;
    tr_arena arena;
    tr_buf_init(&body, BODY_MAX);
    tr_buf_init(&answer, 1 << 20);
    tr_arena_init(&arena, 1 << 20);
    tr_json_write_init(&w, &body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "TableName", table);
    tr_json_end_object(&w);
    int code = call(client, "DescribeTable", &body, &answer, err);
    if (code == 0)
        *ret_active = is_active(tr_buf_view(&answer), &arena);
    tr_buf_done(&body);
    tr_buf_done(&answer);
    tr_arena_done(&arena);
    return code;
}

static int make(tr_client *client, const char *table, tr_error *err)
{
    tr_buf body;
    tr_json_writer w;
    tr_buf_init(&body, BODY_MAX);
    tr_json_write_init(&w, &body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "TableName", table);
    tr_json_name(&w, "KeySchema");
    tr_json_value(&w, TR_VIEW("[{\"AttributeName\":\"id\",\"KeyType\":\"HASH\"}]"));
    tr_json_name(&w, "AttributeDefinitions");
    tr_json_value(&w, TR_VIEW("[{\"AttributeName\":\"id\",\"AttributeType\":\"S\"}]"));
    tr_json_member_cstring(&w, "BillingMode", "PAY_PER_REQUEST");
    tr_json_end_object(&w);
    int code = call(client, "CreateTable", &body, NULL, err);
    tr_buf_done(&body);
    return code == TR_ECONFLICT ? 0 : code; /* somebody else has just made it */
}

int tr__table_ready(tr_client *client, const char *table, bool create, tr_error *err)
{
    for (int i = 0; i < POLLS; i++) {
        bool active = false;
        int code = ask(client, table, &active, err);
        if (code == TR_ENOTFOUND && create)
            code = make(client, table, err);
        if (code || active)
            return code;
        (void)nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000}, NULL);
    }
    return tr_fail(err, TR_ETIMEOUT, "table %s does not become active", table);
}
