/* SPDX-License-Identifier: MIT */
/*
 * Read models:   read the item --> events after its version, folded in order --> put it, if its version is
 *                     ^                  up to a gap, `limit` at most                still the same
 *                     '------------------ somebody else has written it: wait, again ------------'
 */
#include "log/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <uv.h>

#define LIMIT       1000
#define TRIES       50
#define WAIT_MIN_MS 10
#define WAIT_MAX_MS 1000
#define ITEM_MAX    ((size_t)4 << 20)
#define BODY_MAX    ((size_t)16 << 20)

typedef struct applying {
    tr_client *client;
    const tr_log_apply *in;
    char key[2 * TR_LOG_NAME_MAX + 2];
    tr_view pk, sk;
    const char *version_name;
    uint64_t version, was; /* of the item as folded, and as read */
    uint64_t events, gap;
    tr_buf item, next; /* packed: as folded so far, and after the event at hand */
    tr_error *err;
} applying;

static void write_text(tr_json_writer *w, const char *name, tr_view text)
{
    tr_json_name(w, name);
    tr_json_begin_object(w);
    tr_json_member_string(w, "S", text);
    tr_json_end_object(w);
}

static int call(applying *a, const char *operation, tr_buf *body, tr_buf *ret_answer)
{
    const tr_request request = {.service = TR_DYNAMODB, .operation = operation, .body = tr_buf_view(body)};
    int e = tr_buf_status(body);
    e = e ? tr_fail(a->err, e, "the read model's item is too large")
          : tr_client_call_wait(a->client, &request, ret_answer, a->err);
    tr_buf_done(body);
    return e;
}

static const char *model_table(const tr_log_apply *in)
{
    return in->model ? in->model : TR_LOG_MODEL_TABLE;
}

/* ------------------------------------------------------------------------------------------------- reading
 */

static int read_version(applying *a)
{
    tr_value version;
    int64_t number;
    a->version = 0;
    if (!a->item.len)
        return 0;
    if (tr_item_get(tr_buf_view(&a->item), tr_view_str(a->version_name), &version) || version.type != TR_N ||
        tr_number_to_i64(version.payload, &number) || number < 1)
        return tr_fail(a->err, TR_EINVAL, "the item %.*s of %s has no attribute %s that is a whole number",
                       TR_FMT(a->pk), model_table(a->in), a->version_name);
    a->version = (uint64_t)number;
    return 0;
}

static int read_item(applying *a)
{
    tr_buf body, answer;
    tr_arena arena;
    tr_view raw;
    tr_item item;
    tr_json_writer w;
    tr_buf_init(&body, BODY_MAX);
    tr_buf_init(&answer, BODY_MAX);
    tr_arena_init(&arena, 2 * BODY_MAX);
    tr_json_write_init(&w, &body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "TableName", model_table(a->in));
    tr_json_member_bool(&w, "ConsistentRead", true);
    tr_json_name(&w, "Key");
    tr_json_begin_object(&w);
    write_text(&w, TR_LOG_PK, a->pk);
    write_text(&w, TR_LOG_SK, a->sk);
    tr_json_end_object(&w);
    tr_json_end_object(&w);
    int e = call(a, "GetItem", &body, &answer);
    tr_buf_reset(&a->item);
    if (!e && tr_json_member(tr_buf_view(&answer), "Item", &arena, &raw) == 0) {
        e = tr_item_from_json(raw, &arena, &item, a->err);
        if (!e)
            tr_buf_put_view(&a->item, item);
    }
    tr_arena_done(&arena);
    tr_buf_done(&answer);
    if (!e)
        e = read_version(a);
    a->was = a->version;
    return e;
}

/* ------------------------------------------------------------------------------------------------- folding
 */

static bool is_ours(const applying *a, tr_view name)
{
    return tr_view_is(name, TR_LOG_PK) || tr_view_is(name, TR_LOG_SK) || tr_view_is(name, a->version_name);
}

/* What fold has made, with key and version. */
static int complete(applying *a, tr_item made, uint64_t version)
{
    tr_packer p;
    tr_packed_iter it;
    tr_buf_reset(&a->item);
    tr_packer_init(&p, &a->item);
    tr_pack_item_begin(&p);
    tr_item_iter(&it, made);
    while (tr_packed_next(&it)) {
        if (is_ours(a, it.name))
            continue;
        tr_pack_name(&p, it.name);
        tr_pack_encoded(&p, it.encoded);
    }
    tr_pack_name(&p, TR_VIEW(TR_LOG_PK));
    tr_pack_s(&p, a->pk);
    tr_pack_name(&p, TR_VIEW(TR_LOG_SK));
    tr_pack_s(&p, a->sk);
    tr_pack_name(&p, tr_view_str(a->version_name));
    tr_pack_n_i64(&p, (int64_t)version);
    return tr_pack_item_end(&p);
}

static int on_event(void *ctx, const tr_log_event *event)
{
    applying *a = ctx;
    tr_packer p;
    if (event->version != a->version + 1) {
        a->gap = event->version;
        return TR_ECANCELED;
    }
    tr_buf_reset(&a->next);
    tr_packer_init(&p, &a->next);
    tr_pack_item_begin(&p);
    int e = a->in->fold(a->in->ctx, event, tr_buf_view(&a->item), &p, a->err);
    int ended = tr_pack_item_end(&p);
    if (!e && ended)
        e = tr_fail(a->err, ended, "the item that version %" PRIu64 " makes: %s", event->version,
                    tr_strerror(ended));
    if (!e)
        e = complete(a, tr_buf_view(&a->next), event->version);
    if (e)
        return e;
    a->version = event->version;
    return 0;
}

/* ------------------------------------------------------------------------------------------------- writing
 */

static int write_item(applying *a)
{
    char number[24];
    tr_buf body;
    tr_json_writer w;
    (void)snprintf(number, sizeof number, "%" PRIu64, a->was);
    tr_buf_init(&body, BODY_MAX);
    tr_json_write_init(&w, &body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "TableName", model_table(a->in));
    tr_json_name(&w, "Item");
    tr_item_write(&w, tr_buf_view(&a->item));
    tr_json_member_cstring(&w, "ConditionExpression",
                           a->was ? "#version = :was" : "attribute_not_exists(#version)");
    tr_json_name(&w, "ExpressionAttributeNames");
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "#version", a->version_name);
    tr_json_end_object(&w);
    if (a->was) {
        tr_json_name(&w, "ExpressionAttributeValues");
        tr_json_begin_object(&w);
        tr_json_name(&w, ":was");
        tr_json_begin_object(&w);
        tr_json_member_cstring(&w, "N", number);
        tr_json_end_object(&w);
        tr_json_end_object(&w);
    }
    tr_json_end_object(&w);
    return call(a, "PutItem", &body, NULL);
}

/* One write. *ret_more: there may be more to apply. */
static int apply_some(applying *a, bool *ret_more)
{
    uint64_t limit = a->in->limit ? a->in->limit : LIMIT;
    tr_error why = {0};
    int e = read_item(a);
    if (e)
        return e;
    const tr_log_range range = {
        .table = a->in->table, .log = a->in->log, .id = a->in->id, .after = a->version, .limit = limit};
    a->gap = 0;
    e = tr_log_read(a->client, &range, on_event, a, &why);
    if (e && !a->gap) {
        if (a->err && !a->err->message[0])
            *a->err = why;
        return e;
    }
    uint64_t folded = a->version - a->was;
    if (folded == 0) {
        *ret_more = false;
        return 0;
    }
    e = write_item(a);
    if (!e)
        a->events += folded;
    *ret_more = !e && !a->gap && folded == limit;
    return e;
}

int tr_log_apply_wait(tr_client *client, const tr_log_apply *in, tr_log_applied *ret, tr_error *err)
{
    tr_error ignored;
    applying a = {.client = client, .in = in, .err = err ? err : &ignored};
    tr_rng rng;
    uint64_t seed;
    bool more = true;
    int e = 0;
    if (!in->log.len || !in->id.len || in->log.len > TR_LOG_NAME_MAX || in->id.len > TR_LOG_NAME_MAX)
        return tr_fail(err, TR_EINVAL, "log and id must not be empty or longer than %d bytes",
                       TR_LOG_NAME_MAX);
    *a.err = (tr_error){0};
    (void)snprintf(a.key, sizeof a.key, "%.*s#%.*s", TR_FMT(in->log), TR_FMT(in->id));
    a.pk = in->pk.len ? in->pk : tr_view_str(a.key);
    a.sk = in->sk.len ? in->sk : tr_view_str(a.key);
    a.version_name = in->version ? in->version : TR_LOG_MODEL_VERSION;
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&rng, seed);
    tr_buf_init(&a.item, ITEM_MAX);
    tr_buf_init(&a.next, ITEM_MAX);
    for (unsigned tries = 0; more && !e;) {
        e = apply_some(&a, &more);
        if (e == TR_ECONFLICT && ++tries < TRIES) {
            uv_sleep((unsigned)tr_backoff_ms(&rng, tries, WAIT_MIN_MS, WAIT_MAX_MS));
            *a.err = (tr_error){0};
            more = true;
            e = 0;
        }
    }
    tr_buf_done(&a.item);
    tr_buf_done(&a.next);
    if (!e)
        *ret = (tr_log_applied){.version = a.version, .events = a.events, .gap = a.gap};
    return e;
}
