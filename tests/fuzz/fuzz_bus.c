/* SPDX-License-Identifier: MIT */
/**
 * The bus: the first byte chooses.
 *
 * - Operations with any bytes, one a line: "PutRule {…}", and forms of SQS' query protocol. Whatever comes,
 * the answer is JSON (or XML of it) and its status 200, one of the 400s, or 500 for what a broken store would
 * be.
 * - A store with any bytes in the bus' keys: it opens, or says why not; what opened runs and closes.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/sqs_query.h"
#include "bus/bus.h"

#include <tailrace/json.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OPERATIONS_MAX 32 /* of an input */

static void check_json(tr_view text)
{
    tr_arena arena;
    tr_json_reader json;
    tr_json_token token;
    tr_arena_init(&arena, (size_t)256 << 20);
    tr_json_init(&json, text, &arena);
    while ((token = tr_json_next(&json)) != TR_JSON_DONE)
        if (token == TR_JSON_ERROR)
            abort();
    tr_arena_done(&arena);
}

static void flush(tr_engine *engine)
{
    tr_error err;
    if (tr_engine_flush(engine, &err) || tr_engine_poll(engine, &err))
        abort();
}

static void open_all(tr_engine **engine, tr_bus **bus, tr_api **api)
{
    static const tr_server_function function = {.name = "f", .target = "file:/nowhere/at/all"};
    const tr_engine_options options = {.stream_shards = 1};
    if (tr_engine_open(&options, engine, NULL))
        abort();
    const tr_bus_options bus_options = {.engine = *engine, .functions = &function, .function_count = 1};
    if (tr_bus_open(&bus_options, bus, NULL))
        abort();
    const tr_api_options api_options = {.engine = *engine, .bus = *bus};
    if (tr_api_new(&api_options, api))
        abort();
}

static void call(tr_api *api, tr_service service, tr_view operation, tr_view text, tr_buf *body,
                 tr_api_reply *reply)
{
    const tr_api_request request = {
        .service = service, .operation = operation, .body = text, .expired = true};
    tr_api_call(api, &request, body, reply);
    if (reply->status != 200 && (reply->status < 400 || reply->status > 500))
        abort();
    if (body->len)
        check_json(tr_buf_view(body));
}

/* A form, as it would come over HTTP. */
static void query(tr_api *api, tr_view form, tr_buf *body)
{
    tr_arena arena;
    tr_buf json, xml;
    tr_view action;
    tr_api_reply reply;
    tr_arena_init(&arena, (size_t)64 << 20);
    tr_buf_init(&json, TR_API_BODY_MAX);
    tr_buf_init(&xml, TR_API_REPLY_MAX);
    if (tr__query_decode(form, TR_VIEW("/000000000000/q"), &arena, &action, &json) == 0) {
        check_json(tr_buf_view(&json));
        call(api, TR_SQS, action, tr_buf_view(&json), body, &reply);
        if (tr__query_encode(action, reply.status, tr_buf_view(body), TR_VIEW("id"), &arena, &xml))
            abort(); /* whatever is answered can be said in XML */
    }
    tr_buf_done(&json);
    tr_buf_done(&xml);
    tr_arena_done(&arena);
}

static void operations(tr_view text)
{
    tr_engine *engine;
    tr_bus *bus;
    tr_api *api;
    tr_buf body;
    tr_api_reply reply;
    open_all(&engine, &bus, &api);
    tr_buf_init(&body, TR_API_REPLY_MAX);
    for (unsigned n = 0; text.len && n < OPERATIONS_MAX; n++) {
        size_t end = tr_view_find(text, TR_VIEW("\n"), 0), len = end == SIZE_MAX ? text.len : end;
        tr_view line = tr_view_of(text.ptr, len);
        size_t used = end == SIZE_MAX ? len : len + 1, space = tr_view_find(line, TR_VIEW(" "), 0);
        text = tr_view_of(text.ptr + used, text.len - used);
        if (space == SIZE_MAX) {
            query(api, line, &body);
        } else {
            tr_view name = tr_view_of(line.ptr, space),
                    json = tr_view_of(line.ptr + space + 1, len - space - 1);
            call(api, TR_EVENTS, name, json, &body, &reply);
            call(api, TR_SQS, name, json, &body, &reply);
        }
        flush(engine);
        (void)tr_bus_run(bus);
    }
    flush(engine);
    tr_api_free(api);
    tr_bus_close(bus);
    tr_engine_close(engine);
    tr_buf_done(&body);
}

/* Entries: length of the key, key, length of the value (two bytes), value. */
static void stored(tr_view text)
{
    tr_engine *engine;
    tr_bus *bus;
    tr_error err;
    const tr_engine_options options = {.stream_shards = 1};
    if (tr_engine_open(&options, &engine, NULL))
        abort();
    while (text.len > 3) {
        size_t key = (uint8_t)text.ptr[0];
        if (!key || key + 3 > text.len)
            break;
        size_t value = tr_get_be16(text.ptr + 1 + key), rest = text.len - key - 3;
        if (value > rest)
            value = rest;
        tr_view k = tr_view_of(text.ptr + 1, key), v = tr_view_of(text.ptr + 3 + key, value);
        tr_kv_batch_putv(tr_engine_batch(engine), TR_KV_BUS, &k, 1, &v, 1);
        text = tr_view_of(v.ptr + value, rest - value);
    }
    flush(engine);
    const tr_bus_options bus_options = {.engine = engine};
    if (tr_bus_open(&bus_options, &bus, &err) == 0) {
        flush(engine);
        (void)tr_bus_run(bus);
        flush(engine);
        tr_bus_close(bus);
    } else if (!err.message[0]) {
        abort();
    }
    flush(engine);
    tr_engine_close(engine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    tr_view text = tr_view_of(data + 1, size - 1);
    if (data[0] & 1)
        stored(text);
    else
        operations(text);
    return 0;
}
