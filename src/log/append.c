/* SPDX-License-Identifier: MIT */
/* An append is one put of client/numbered.h, under the next number or the one behind the expected version;
 * that one must be there, or a gap would come of it. */
#include "client/numbered.h"
#include "client/wait.h"
#include "log/internal.h"

#include <inttypes.h>

#define REQUEST_MAX (16 << 20) /* an item of 400 KB in JSON with every byte escaped, and room */

static const char *const content[] = {TR_LOG_TYPE, TR_LOG_PAYLOAD, NULL};
static const tr__numbered_layout numbering = {
    .pk = TR_LOG_PK, .sk = TR_LOG_SK, .marker = TR_LOG_PK, .content = content};

typedef struct append {
    tr__numbered job;
    tr__numbered_run run;
    tr__numbered_action actions[2]; /* the put, and that the expected version is there */
    tr_log_append_fn *fn;
    void *ctx;
    tr_arena arena;
    tr_view log, id, type, replay_name;
    tr_item payload;
} append;

static void free_append(append *a)
{
    tr_arena_done(&a->arena);
    tr_free(a);
}

static void on_written(void *ctx, int code, const tr__numbered_action *failed, const tr_error *err)
{
    append *a = ctx;
    uint64_t version = a->run.newest + a->actions[0].number;
    tr_error lost;
    if (code && failed && failed->kind == TR__CHECK_THERE) {
        (void)tr_fail(&lost, code, "%.*s %.*s has no event with version %" PRIu64 " yet", TR_FMT(a->log),
                      TR_FMT(a->id), failed->number);
        err = &lost;
    } else if (code && failed) {
        (void)tr_fail(&lost, code, "%.*s %.*s has an event with version %" PRIu64 " already", TR_FMT(a->log),
                      TR_FMT(a->id), version);
        err = &lost;
    }
    a->fn(a->ctx, code, code ? 0 : version, code ? err : NULL);
    free_append(a);
}

/* ---------------------------------------------------------------------------------------------- start */

static int check(const tr_log_append *in, tr_error *err)
{
    if (in->log.len == 0 || in->id.len == 0 || in->type.len == 0)
        return tr_fail(err, TR_EINVAL, "log, id and type must not be empty");
    if (in->log.len > TR_LOG_NAME_MAX || in->id.len > TR_LOG_NAME_MAX ||
        in->log.len + in->id.len + sizeof TR_LOG_PK_SUFFIX > 2048)
        return tr_fail(err, TR_EINVAL,
                       "log and id are too long: <log>#<id>" TR_LOG_PK_SUFFIX
                       " is a key of at most 2,048 bytes");
    if (tr_view_find(in->log, TR_VIEW("#"), 0) != SIZE_MAX)
        return tr_fail(err, TR_EINVAL, "a log's name must not hold '#': '%.*s'", TR_FMT(in->log));
    if (in->expect != TR_LOG_ANY_VERSION && in->expect > (uint64_t)INT64_MAX - 1)
        return tr_fail(err, TR_EINVAL, "the expected version is out of range");
    return 0;
}

/* The payload with its member id. */
static int complete_payload(append *a, tr_item payload, tr_error *err)
{
    tr_value id;
    if (payload.len && tr_item_get(payload, TR_VIEW("id"), &id) == 0) {
        if (id.type != TR_S || !tr_view_eq(id.payload, a->id))
            return tr_fail(err, TR_EINVAL, "the payload's member id must be the id '%.*s', or be left out",
                           TR_FMT(a->id));
        a->payload = tr_arena_copy(&a->arena, payload);
        return a->payload.ptr ? 0 : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    tr_buf packed;
    tr_packer p;
    tr_packed_iter it;
    tr_buf_init(&packed, payload.len + a->id.len + 64);
    tr_packer_init(&p, &packed);
    tr_pack_item_begin(&p);
    tr_pack_name(&p, TR_VIEW("id"));
    tr_pack_s(&p, a->id);
    tr_item_iter(&it, payload);
    while (tr_packed_next(&it)) {
        tr_pack_name(&p, it.name);
        tr_pack_encoded(&p, it.encoded);
    }
    int e = tr_pack_item_end(&p);
    if (!e) {
        a->payload = tr_arena_copy(&a->arena, tr_buf_view(&packed));
        e = a->payload.ptr ? 0 : TR_ENOMEM;
    }
    tr_buf_done(&packed);
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : 0;
}

static void write_text(tr_json_writer *w, const char *name, tr_view text)
{
    tr_json_name(w, name);
    tr_json_begin_object(w);
    tr_json_member_string(w, "S", text);
    tr_json_end_object(w);
}

/* A piece of JSON, kept in the arena. */
static int keep(append *a, tr_buf *text, tr_view *ret_kept)
{
    int e = tr_buf_status(text);
    if (!e) {
        *ret_kept = tr_arena_copy(&a->arena, tr_buf_view(text));
        e = ret_kept->ptr ? 0 : TR_ENOMEM;
    }
    tr_buf_reset(text);
    return e;
}

/* The request's pieces: what client/numbered.h puts together. */
static int write_pieces(append *a, const char *table, tr_error *err)
{
    tr_buf text;
    tr_json_writer w;
    tr_buf_init(&text, REQUEST_MAX);
    tr_json_write_init(&w, &text);
    tr_json_cstring(&w, table);
    int e = keep(a, &text, &a->run.table);
    tr__log_put_pk(&text, a->log, a->id);
    if (!e)
        e = keep(a, &text, &a->run.key);
    tr_json_write_init(&w, &text);
    write_text(&w, TR_LOG_TYPE, a->type);
    write_text(&w, TR_LOG_LOG, a->log);
    if (a->replay_name.len)
        write_text(&w, TR_LOG_REPLAY, a->replay_name);
    tr_json_name(&w, TR_LOG_PAYLOAD);
    tr_json_begin_object(&w);
    tr_json_name(&w, "M");
    tr_item_write(&w, a->payload);
    tr_json_end_object(&w);
    if (!e)
        e = keep(a, &text, &a->actions[0].rest);
    tr_buf_done(&text);
    return e ? tr_fail(err, e, "%s", e == TR_ELIMIT ? "the event is too large" : tr_strerror(e)) : 0;
}

static void set_up(append *a, tr_client *client, const tr_log_append *in)
{
    bool given = in->expect != TR_LOG_ANY_VERSION;
    a->run.layout = &numbering;
    a->run.numbering = given ? TR__NUMBERS_GIVEN : TR__NUMBERS_NEXT;
    a->actions[0].kind = TR__PUT;
    a->actions[0].run = &a->run;
    a->actions[0].number = given ? in->expect + 1 : 1;
    a->actions[1].kind = TR__CHECK_THERE;
    a->actions[1].run = &a->run;
    a->actions[1].number = in->expect;
    a->job.client = client;
    a->job.runs = &a->run;
    a->job.run_count = 1;
    a->job.actions = a->actions;
    a->job.action_count = given && in->expect && !in->out_of_order ? 2 : 1;
    a->job.repeatable = given && in->out_of_order; /* a copy may be there; whoever expects wants to win */
    a->job.patience_ms = in->patience_ms;
    a->job.fn = on_written;
    a->job.ctx = a;
}

int tr_log_append_start(tr_client *client, const tr_log_append *in, tr_log_append_fn *fn, void *ctx,
                        tr_error *err)
{
    int e = check(in, err);
    if (e)
        return e;
    append *a = tr_calloc(1, sizeof *a);
    if (!a)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    tr_arena_init(&a->arena, 2 * REQUEST_MAX);
    a->fn = fn;
    a->ctx = ctx;
    a->log = tr_arena_copy(&a->arena, in->log);
    a->id = tr_arena_copy(&a->arena, in->id);
    a->type = tr_arena_copy(&a->arena, in->type);
    a->replay_name = tr_arena_copy(&a->arena, in->replay_name);
    set_up(a, client, in);
    e = a->log.ptr && a->id.ptr && a->type.ptr && a->replay_name.ptr
            ? complete_payload(a, in->payload, err)
            : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (!e)
        e = write_pieces(a, tr__log_table(in->table), err);
    if (!e)
        e = tr__numbered_start(&a->job, err);
    if (e)
        free_append(a);
    return e;
}

/* ------------------------------------------------------------------------------------------- blocking */

typedef struct appending {
    tr__wait wait;
    uint64_t version;
} appending;

static void on_done(void *ctx, int code, uint64_t version, const tr_error *err)
{
    appending *a = ctx;
    a->version = version;
    tr__wait_done(&a->wait, code, err);
}

int tr_log_append_wait(tr_client *client, const tr_log_append *in, uint64_t *ret_version, tr_error *err)
{
    appending a = {.version = 0};
    int e = tr__wait_begin(&a.wait, client, err);
    if (!e)
        e = tr__wait_end(&a.wait, tr_log_append_start(client, in, on_done, &a, err));
    if (!e)
        *ret_version = a.version;
    return e;
}
