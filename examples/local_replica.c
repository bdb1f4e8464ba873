/* SPDX-License-Identifier: MIT */
/*
 * A small table in this process, kept up to date: the first recipe of dynamodb-stream, step by step on the C
 * API.
 *
 *     local_replica ENDPOINT TABLE KEY [POLLS]
 *
 *   1. one fetch: bookmarks at the tip of every shard; what is written from now on will be seen
 *   2. a scan: the initial copy
 *   3. another fetch: what was changed meanwhile; some of it may be in the copy already, which does no harm
 *   4. polling for ever (or POLLS times), changing the copy as told
 *
 * KEY is the table's partition key, its only key. After the copy and after every poll that has changed it the
 * items are printed, a line of JSON each. This keeps nothing on disk and copies anew at every start.
 *
 * Where that is too simple (large tables, gaps, one thread reading while another follows), use a tr_replica
 * into a tr_memory_table (tailrace/memory_table.h): the same in a dozen lines, and exact.
 *
 *     cc -o local_replica local_replica.c $(pkg-config --cflags --libs tailrace)
 */
#include <tailrace/client.h>
#include <tailrace/stream.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ROWS_MAX  100000
#define PATIENCE  30000 /* ms for one fetch */
#define EVERY_MS  200   /* between polls */
#define REPLY_MAX ((size_t)64 << 20)

/* The copy: rows sorted by the order-preserving form of their keys. */
typedef struct row {
    tr_buf key, item;
} row;

typedef struct copy {
    row rows[ROWS_MAX];
    size_t count;
    tr_view key_name;
} copy;

/* Where the key stands, or would stand. */
static size_t place_of(const copy *c, tr_view key, bool *ret_there)
{
    size_t low = 0, high = c->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (tr_view_cmp(tr_buf_view(&c->rows[middle].key), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_there = low < c->count && tr_view_eq(tr_buf_view(&c->rows[low].key), key);
    return low;
}

static int key_of(const copy *c, tr_item item, tr_buf *key)
{
    tr_value value;
    tr_buf_init(key, 8192);
    int e = tr_item_get(item, c->key_name, &value);
    if (!e)
        tr_key_put(key, value);
    return e ? e : tr_buf_status(key);
}

/* Replaces or adds. */
static int set(copy *c, tr_item item)
{
    tr_buf key;
    bool there;
    int e = key_of(c, item, &key);
    if (e)
        return e;
    size_t at = place_of(c, tr_buf_view(&key), &there);
    if (there) {
        tr_buf_done(&key);
    } else {
        if (c->count == ROWS_MAX)
            return TR_ELIMIT;
        memmove(&c->rows[at + 1], &c->rows[at], (c->count++ - at) * sizeof c->rows[0]);
        c->rows[at].key = key;
        tr_buf_init(&c->rows[at].item, (size_t)1 << 20);
    }
    tr_buf_reset(&c->rows[at].item);
    tr_buf_put_view(&c->rows[at].item, item);
    return tr_buf_status(&c->rows[at].item);
}

static int take_away(copy *c, tr_item keys)
{
    tr_buf key;
    bool there;
    int e = key_of(c, keys, &key);
    if (e)
        return e;
    size_t at = place_of(c, tr_buf_view(&key), &there);
    tr_buf_done(&key);
    if (!there)
        return 0;
    tr_buf_done(&c->rows[at].key);
    tr_buf_done(&c->rows[at].item);
    memmove(&c->rows[at], &c->rows[at + 1], (--c->count - at) * sizeof c->rows[0]);
    return 0;
}

static void print(const copy *c)
{
    tr_buf out;
    tr_json_writer w;
    tr_buf_init(&out, REPLY_MAX);
    for (size_t i = 0; i < c->count; i++) {
        tr_json_write_init(&w, &out);
        tr_item_write_plain(&w, tr_buf_view(&c->rows[i].item));
        tr_buf_putc(&out, '\n');
    }
    (void)printf("# %zu items\n%.*s", c->count, TR_FMT(tr_buf_view(&out)));
    (void)fflush(stdout);
    tr_buf_done(&out);
}

/* One page of the scan into the copy; the key to go on behind, or nothing, in `start`. */
static int take_page(copy *c, tr_view reply, tr_buf *start)
{
    tr_arena arena;
    tr_json_reader reader;
    tr_item_error problem;
    tr_view items, last;
    tr_buf packed;
    tr_arena_init(&arena, REPLY_MAX);
    tr_buf_init(&packed, (size_t)1 << 20);
    int e = tr_json_member(reply, "Items", &arena, &items);
    tr_json_init(&reader, items, &arena);
    if (!e && tr_json_next(&reader) != TR_JSON_ARRAY)
        e = TR_EPARSE;
    while (!e && tr_json_next(&reader) == TR_JSON_OBJECT) {
        tr_buf_reset(&packed);
        e = tr_item_read(&reader, &packed, &problem);
        if (!e)
            e = set(c, tr_buf_view(&packed));
    }
    tr_buf_reset(start);
    if (!e && tr_json_member(reply, "LastEvaluatedKey", &arena, &last) == 0)
        tr_buf_put_view(start, last);
    tr_buf_done(&packed);
    tr_arena_done(&arena);
    return e;
}

static int scan(copy *c, tr_client *client, const char *table, tr_error *err)
{
    tr_buf body, reply, start;
    tr_json_writer w;
    tr_buf_init(&body, 65536);
    tr_buf_init(&reply, REPLY_MAX);
    tr_buf_init(&start, 65536);
    int e;
    do {
        tr_buf_reset(&body);
        tr_buf_reset(&reply);
        tr_json_write_init(&w, &body);
        tr_json_begin_object(&w);
        tr_json_member_cstring(&w, "TableName", table);
        tr_json_member_bool(&w, "ConsistentRead", true);
        if (start.len) {
            tr_json_name(&w, "ExclusiveStartKey");
            tr_json_value(&w, tr_buf_view(&start));
        }
        tr_json_end_object(&w);
        tr_request request = {.service = TR_DYNAMODB, .operation = "Scan", .body = tr_buf_view(&body)};
        e = tr_client_call_wait(client, &request, &reply, err);
        if (!e && (e = take_page(c, tr_buf_view(&reply), &start)))
            (void)tr_fail(err, e, "the scan's answer: %s", tr_strerror(e));
    } while (!e && start.len);
    tr_buf_done(&body);
    tr_buf_done(&reply);
    tr_buf_done(&start);
    return e;
}

/* What one fetch has brought. A gap means that changes were lost: only a new copy helps. */
static int apply(copy *c, const tr_stream_batch *batch, bool *ret_changed, tr_error *err)
{
    int e = 0;
    for (size_t i = 0; i < batch->count && !e; i++) {
        const tr_stream_event *event = batch->events[i];
        if (event->kind == TR_STREAM_GAP)
            return tr_fail(err, TR_ETRIMMED, "the stream has lost changes: start again");
        if (event->kind != TR_STREAM_RECORD)
            continue;
        *ret_changed = true;
        e = event->record->event == TR_REMOVE ? take_away(c, event->record->keys)
                                              : set(c, event->record->new_image);
    }
    return e ? tr_fail(err, e, "a change: %s", tr_strerror(e)) : 0;
}

static int follow(copy *c, tr_client *client, tr_stream *stream, const char *table, long polls, tr_error *err)
{
    tr_stream_batch batch = {0};
    bool changed = true;
    int e = tr_stream_fetch(stream, PATIENCE, &batch, err); /* 1: bookmarks; what it brings is in the scan */
    tr_stream_ack_batch(stream, &batch);
    if (!e)
        e = scan(c, client, table, err); /* 2 */
    for (long n = 0; !e && (polls < 0 || n <= polls); n++) {
        e = tr_stream_fetch(stream, PATIENCE, &batch, err); /* 3, 4 */
        if (!e)
            e = apply(c, &batch, &changed, err);
        tr_stream_ack_batch(stream, &batch);
        if (!e && changed)
            print(c);
        changed = false;
        (void)usleep(EVERY_MS * 1000);
    }
    tr_stream_batch_done(&batch);
    return e;
}

int main(int argc, char **argv)
{
    static copy c;
    tr_client *client = NULL;
    tr_stream *stream = NULL;
    tr_error err = {0};
    if (argc < 4) {
        (void)fprintf(stderr, "usage: local_replica ENDPOINT TABLE KEY [POLLS]\n");
        return 2;
    }
    tr_client_options to = {.endpoint = strcmp(argv[1], "aws") == 0 ? NULL : argv[1]};
    tr_stream_options options = {.table = argv[2], .manual = true, .start = {.at = TR_START_LATEST}};
    c.key_name = tr_view_str(argv[3]);
    int e = tr_client_new(&to, &client, &err);
    if (!e)
        e = tr_stream_new(client, &options, &stream, &err);
    if (!e)
        e = follow(&c, client, stream, argv[2], argc > 4 ? strtol(argv[4], NULL, 10) : -1, &err);
    if (e)
        (void)fprintf(stderr, "local_replica: %s\n", err.message);
    tr_stream_free(stream);
    tr_client_free(client);
    for (size_t i = 0; i < c.count; i++) {
        tr_buf_done(&c.rows[i].key);
        tr_buf_done(&c.rows[i].item);
    }
    return e ? 1 : 0;
}
