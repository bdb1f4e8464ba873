/* SPDX-License-Identifier: MIT */
#include "engine_test.h"

#define A  "{\"pk\":{\"S\":\"a\"}}"
#define A1 "{\"pk\":{\"S\":\"a\"},\"n\":{\"N\":\"1\"}}"
#define A2 "{\"pk\":{\"S\":\"a\"},\"n\":{\"N\":\"2\"}}"

typedef struct seen {
    fixture *f;
    size_t count, max;
    struct {
        uint64_t sequence;
        tr_change_kind kind;
        bool expired;
        size_t size;
        const char *keys, *old, *new;
    } change[1000];
} seen;

static const char *maybe(fixture *f, tr_item packed)
{
    return packed.len ? json_of(f, packed) : NULL;
}

static bool see(void *ctx, const tr_stream_change *c)
{
    seen *s = ctx;
    assert_true(s->count < TR_COUNT(s->change));
    s->change[s->count].sequence = c->sequence;
    s->change[s->count].kind = c->kind;
    s->change[s->count].expired = c->expired;
    s->change[s->count].size = c->size_bytes;
    s->change[s->count].keys = maybe(s->f, c->keys);
    s->change[s->count].new = maybe(s->f, c->new_image);
    s->change[s->count].old = maybe(s->f, c->old_image);
    s->count++;
    return s->max == 0 || s->count < s->max;
}

static seen *read_all(fixture *f, tr_stream *stream, uint64_t from, uint64_t *ret_next)
{
    seen *s = tr_arena_calloc(&f->arena, 1, sizeof *s);
    s->f = f;
    uint64_t next;
    CHECK(f, tr_engine_read_stream(f->engine, stream, from, see, s, &next, &f->err));
    if (ret_next)
        *ret_next = next;
    return s;
}

static void assert_text(const char *a, const char *b)
{
    if (a && b)
        assert_string_equal(a, b);
    else
        assert_ptr_equal(a, b);
}

/** Each view holds what its name says; nothing is recorded of what changes nothing. */
static void test_views(void **state)
{
    fixture *f = *state;
    for (tr_view_type view = TR_KEYS_ONLY; view <= TR_NEW_AND_OLD_IMAGES; view++) {
        char name[16];
        snprintf(name, sizeof name, "table-%d", view);
        tr_table *t = make_table(f, name, false, view);
        put(f, t, A1);
        put(f, t, A1);
        put(f, t, A2);
        do_write(f, (tr_write){.kind = TR_WRITE_DELETE, .table = t, .key = item(f, A), .expired = true});
        del(f, t, A);
        uint64_t next;
        assert_int_equal(read_all(f, t->stream, 0, NULL)->count, 0); /* not synced yet */
        settle(f);
        seen *s = read_all(f, t->stream, 0, &next);
        assert_int_equal(s->count, 3);
        assert_int_equal(next, s->change[2].sequence + 1);
        bool new = view == TR_NEW_IMAGE || view == TR_NEW_AND_OLD_IMAGES;
        bool old = view == TR_OLD_IMAGE || view == TR_NEW_AND_OLD_IMAGES;
        const char *a1 = json_of(f, item(f, A1)), *a2 = json_of(f, item(f, A2));
        assert_int_equal(s->change[0].kind, TR_CHANGE_INSERT);
        assert_text(s->change[0].new, new ? a1 : NULL);
        assert_text(s->change[0].old, NULL);
        assert_int_equal(s->change[1].kind, TR_CHANGE_MODIFY);
        assert_text(s->change[1].new, new ? a2 : NULL);
        assert_text(s->change[1].old, old ? a1 : NULL);
        assert_false(s->change[1].expired);
        assert_int_equal(s->change[2].kind, TR_CHANGE_REMOVE);
        assert_text(s->change[2].new, NULL);
        assert_text(s->change[2].old, old ? a2 : NULL);
        assert_true(s->change[2].expired);
        size_t image = tr_item_size(item(f, A1)), keys = tr_item_size(item(f, A));
        assert_int_equal(s->change[1].size, keys + (size_t)(new + old) * image);
        for (size_t i = 0; i < 3; i++)
            assert_text(s->change[i].keys, json_of(f, item(f, A)));
    }
}

/** Shards hold the changes between them, each in order; merged they come in the order of writing; a reader
 * that stops goes on behind what it took. */
static void test_shards(void **state)
{
    fixture *f = *state;
    tr_table *t = make_table(f, "t", false, TR_KEYS_ONLY);
    assert_int_equal(t->stream->shard_count, 4);
    for (int i = 0; i < 500; i++) {
        char json[64];
        snprintf(json, sizeof json, "{\"pk\":{\"S\":\"p%d\"}}", i);
        put(f, t, json);
    }
    settle(f);
    reopen(f);
    tr_stream *stream = tr_engine_table(f->engine, TR_VIEW("t"))->stream;
    seen *s = read_all(f, stream, 0, NULL);
    assert_int_equal(s->count, 500);
    for (size_t i = 0; i < 500; i++)
        assert_int_equal(s->change[i].sequence, i + 1);
    size_t total = 0;
    for (size_t k = 0; k < stream->shard_count; k++) {
        const tr_shard *shard = &stream->shards[k];
        assert_int_equal(strlen(shard->id), 37);
        seen *one = tr_arena_calloc(&f->arena, 1, sizeof *one);
        uint64_t next = 0, last = 0;
        one->f = f;
        for (;;) {
            size_t before = one->count;
            one->max = before + 7;
            CHECK(f, tr_engine_read_shard(f->engine, stream, shard, next, see, one, &next, &f->err));
            if (one->count == before)
                break;
        }
        assert_int_equal(next, 501);
        for (size_t i = 0; i < one->count; i++) {
            assert_true(one->change[i].sequence > last);
            last = one->change[i].sequence;
        }
        assert_true(one->count > 80);
        total += one->count;
    }
    assert_int_equal(total, 500);
}

static void count_call(tr_listener *listener)
{
    (*(int *)listener->ctx)++;
}

static void test_listeners(void **state)
{
    fixture *f = *state;
    tr_table *t = make_table(f, "t", false, TR_KEYS_ONLY), *u = make_table(f, "u", false, TR_KEYS_ONLY);
    CHECK(f, tr_engine_poll(f->engine, &f->err));
    int all = 0, of_t = 0;
    tr_listener l1 = {.fn = count_call, .ctx = &all},
                l2 = {.stream = t->stream, .fn = count_call, .ctx = &of_t};
    tr_engine_listen(f->engine, &l1);
    tr_engine_listen(f->engine, &l2);
    put(f, u, A1);
    settle(f);
    assert_int_equal(all, 1);
    assert_int_equal(of_t, 0);
    put(f, t, A1);
    settle(f);
    CHECK(f, tr_engine_poll(f->engine, &f->err));
    assert_int_equal(all, 2);
    assert_int_equal(of_t, 1);
    tr_engine_unlisten(f->engine, &l2);
    put(f, t, A2);
    settle(f);
    assert_int_equal(all, 3);
    assert_int_equal(of_t, 1);
    tr_engine_unlisten(f->engine, &l1);
}

static void test_sequence_text(void **state)
{
    (void)state;
    char out[TR_SEQUENCE_TEXT_MAX];
    tr_sequence_format(7, out);
    assert_string_equal(out, "100000000000000000007");
    tr_sequence_format(UINT64_MAX, out);
    assert_string_equal(out, "118446744073709551615");
    static const struct {
        const char *text;
        int rc;
        uint64_t sequence;
    } cases[] = {
        {"100000000000000000007", 0, 7},
        {"118446744073709551615", 0, UINT64_MAX},
        {"118446744073709551616", 0, UINT64_MAX},
        {"900000000000000000000", 0, UINT64_MAX},
        {"000000000000000000012", 0, 0},
        {"0000000000000000000100000000000000000009", 0, 9},
        {"1000000000000000000000000000000000000000", 0, UINT64_MAX},
        {"10000000000000000000", TR_EPARSE, 0},
        {"10000000000000000000x", TR_EPARSE, 0},
        {"10000000000000000000000000000000000000000", TR_EPARSE, 0},
        {"", TR_EPARSE, 0},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        uint64_t sequence = 1;
        assert_int_equal(tr_sequence_parse(tr_view_str(cases[i].text), &sequence), cases[i].rc);
        if (!cases[i].rc)
            assert_int_equal(sequence, cases[i].sequence);
    }
}

/* ------------------------------------------------------------------------------ rollover, split, trimming */

static void put_some(fixture *f, tr_table *t, int from, int count)
{
    for (int i = from; i < from + count; i++) {
        char json[64];
        snprintf(json, sizeof json, "{\"pk\":{\"S\":\"p%d\"}}", i);
        put(f, t, json);
    }
    settle(f);
}

/* Time goes by in steps, as it does for a server that ticks. */
static void advance(fixture *f, int64_t ms)
{
    while (ms > 0) {
        int64_t step = ms < 600 * 1000 ? ms : 600 * 1000;
        f->now_ms += step;
        ms -= step;
        while (tr_engine_tick(f->engine) == 0)
            continue;
    }
    settle(f);
}

static size_t open_shards(const tr_stream *stream)
{
    size_t n = 0;
    uint64_t covered = 0; /* the open ones cover all hashes */
    for (size_t i = 0; i < stream->shard_count; i++)
        if (!stream->shards[i].closed_ms) {
            covered += stream->shards[i].hash_to - stream->shards[i].hash_from + 1;
            n++;
        }
    assert_true(covered == 0);
    return n;
}

static const tr_shard *shard_by_id(const tr_stream *stream, const char *id)
{
    for (size_t i = 0; i < stream->shard_count; i++)
        if (strcmp(stream->shards[i].id, id) == 0)
            return &stream->shards[i];
    return NULL;
}

/** Each shard's records lie within its bounds; together with its parents' they are all, once. */
static void check_graph(fixture *f, tr_stream *stream, size_t expected)
{
    size_t total = 0;
    for (size_t i = 0; i < stream->shard_count; i++) {
        const tr_shard *shard = &stream->shards[i], *parent = shard_by_id(stream, shard->parent);
        if (parent) {
            assert_true(parent->closed_ms != 0);
            assert_true(parent->end < shard->start);
            assert_true(parent->hash_from <= shard->hash_from && shard->hash_to <= parent->hash_to);
        }
        seen *s = tr_arena_calloc(&f->arena, 1, sizeof *s);
        uint64_t next;
        s->f = f;
        CHECK(f, tr_engine_read_shard(f->engine, stream, shard, 0, see, s, &next, &f->err));
        for (size_t k = 0; k < s->count; k++) {
            assert_true(s->change[k].sequence >= shard->start);
            assert_true(!shard->closed_ms || s->change[k].sequence <= shard->end);
        }
        total += s->count;
    }
    assert_int_equal(total, expected);
    assert_int_equal(read_all(f, stream, 0, NULL)->count, expected);
}

static void test_rollover(void **state)
{
    fixture *f = *state;
    tr_table *t = make_table(f, "t", false, TR_KEYS_ONLY);
    int changes = 0;
    tr_listener listener = {.stream = t->stream, .fn = count_call, .ctx = &changes};
    put_some(f, t, 0, 100);
    tr_engine_listen(f->engine, &listener);
    advance(f, 3600 * 1000);
    assert_int_equal(t->stream->shard_count, 4);
    advance(f, 3 * 3600 * 1000);
    assert_int_equal(t->stream->shard_count, 8);
    assert_int_equal(changes, 1);
    tr_engine_unlisten(f->engine, &listener);
    assert_int_equal(open_shards(t->stream), 4);
    put_some(f, t, 100, 100);
    check_graph(f, t->stream, 200);
    reopen(f);
    t = tr_engine_table(f->engine, TR_VIEW("t"));
    put_some(f, t, 200, 100);
    check_graph(f, t->stream, 300);
}

/* Shards that are closed without a record: no later record bears the number at which they start and end. */
static void test_idle_shards_end_before_what_follows(void **state)
{
    fixture *f = *state;
    tr_table *t = make_table(f, "t", false, TR_KEYS_ONLY);
    advance(f, (int64_t)9 * 3600 * 1000);
    assert_true(t->stream->shard_count >= 12);
    put_some(f, t, 0, 10);
    check_graph(f, t->stream, 10);
    for (size_t i = 0; i < t->stream->shard_count; i++)
        assert_true(t->stream->shards[i].start <= t->stream->shards[i].end ||
                    !t->stream->shards[i].closed_ms);
    seen *all = read_all(f, t->stream, 0, NULL);
    for (size_t i = 0; i < t->stream->shard_count; i++)
        for (size_t k = 0; k < all->count && t->stream->shards[i].closed_ms; k++)
            assert_true(all->change[k].sequence > t->stream->shards[i].end);
    reopen(f);
    t = tr_engine_table(f->engine, TR_VIEW("t"));
    put_some(f, t, 10, 10);
    check_graph(f, t->stream, 20);
}

static void test_split(void **state)
{
    fixture *f = *state;
    f->options.shard_split_rate = 10;
    f->options.shard_split_after_ms = 3000;
    reopen(f);
    tr_table *t = make_table(f, "t", false, TR_KEYS_ONLY);
    int at = 0;
    for (int second = 0; second < 2; second++, at += 100) {
        put_some(f, t, at, 100);
        advance(f, 1000);
    }
    advance(f, 1000); /* a quiet second: starts anew */
    assert_int_equal(open_shards(t->stream), 4);
    for (int second = 0; second < 3; second++, at += 100) {
        put_some(f, t, at, 100);
        advance(f, 1000);
    }
    assert_int_equal(open_shards(t->stream), 8);
    assert_int_equal(t->stream->shard_count, 12);
    put_some(f, t, at, 100);
    check_graph(f, t->stream, 600);
}

/** Records go when they are past retention, not before; who asks for them is told; closed shards and a
 * disabled stream go with their last records. */
static void test_trim(void **state)
{
    fixture *f = *state;
    f->options.stream_retention_ms = 24 * 3600 * 1000;
    f->options.shard_lifetime_ms = 1000 * 24 * 3600 * (int64_t)1000;
    reopen(f);
    tr_table *t = make_table(f, "t", false, TR_KEYS_ONLY), *u = make_table(f, "u", false, TR_KEYS_ONLY);
    put_some(f, u, 0, 1);
    put_some(f, t, 0, 100);
    assert_int_equal(tr_engine_trim_horizon(f->engine, t->stream), 1);
    advance(f, 23 * 3600 * 1000);
    put_some(f, t, 100, 100);
    advance(f, 59 * 60 * 1000);
    assert_int_equal(read_all(f, t->stream, 0, NULL)->count, 200);
    advance(f, 25 * 3600 * 1000 - 59 * 60 * 1000 - 22 * 3600 * 1000);
    seen *s = read_all(f, t->stream, tr_engine_trim_horizon(f->engine, t->stream), NULL);
    assert_int_equal(s->count, 100);
    assert_int_equal(s->change[0].sequence, 102);
    uint64_t next;
    assert_int_equal(tr_engine_read_stream(f->engine, t->stream, 101, see, s, &next, &f->err), TR_ETRIMMED);
    /* A shard of another stream that had its only record elsewhere has lost nothing. */
    reopen(f);
    t = tr_engine_table(f->engine, TR_VIEW("t"));
    u = tr_engine_table(f->engine, TR_VIEW("u"));
    unsigned trimmed = 0;
    for (size_t i = 0; i < 4; i++) {
        int rc = tr_engine_read_shard(f->engine, u->stream, &u->stream->shards[i], 1, see, s, &next, &f->err);
        assert_true(rc == 0 || rc == TR_ETRIMMED);
        trimmed += rc == TR_ETRIMMED;
    }
    assert_int_equal(trimmed, 1);
    int told = 0;
    tr_listener listener = {.stream = u->stream, .fn = count_call, .ctx = &told};
    CHECK(f, tr_engine_poll(f->engine, &f->err));
    tr_engine_listen(f->engine, &listener);
    char *arn = tr_arena_str(&f->arena, u->stream->arn);
    CHECK(f, tr_engine_delete_table(f->engine, u, &f->err));
    CHECK(f, tr_engine_poll(f->engine, &f->err));
    assert_int_equal(told, 1);
    assert_non_null(tr_engine_stream(f->engine, tr_view_str(arn)));
    assert_true(tr_engine_stream(f->engine, tr_view_str(arn))->disabled_ms != 0);
    advance(f, 23 * 3600 * 1000);
    assert_non_null(tr_engine_stream(f->engine, tr_view_str(arn)));
    advance(f, 3 * 3600 * 1000);
    assert_null(tr_engine_stream(f->engine, tr_view_str(arn)));
    assert_int_equal(told, 2);
    tr_engine_unlisten(f->engine, &listener);
    assert_int_equal(read_all(f, t->stream, tr_engine_trim_horizon(f->engine, t->stream), NULL)->count, 0);
    put_some(f, t, 200, 5);
    s = read_all(f, t->stream, tr_engine_trim_horizon(f->engine, t->stream), NULL);
    assert_int_equal(s->count, 5);
    assert_true(s->change[0].sequence == 202);
}

/** A stream enabled anew has another ARN; the old one stays to be read. */
static void test_toggle(void **state)
{
    fixture *f = *state;
    tr_table *t = make_table(f, "t", false, TR_KEYS_ONLY);
    put_some(f, t, 0, 10);
    tr_table_change off = {.set_stream = true, .stream_view = TR_VIEW_NONE},
                    on = {.set_stream = true, .stream_view = TR_NEW_IMAGE};
    assert_int_equal(tr_engine_update_table(f->engine, t, &on, &f->err), TR_EEXIST);
    CHECK(f, tr_engine_update_table(f->engine, t, &off, &f->err));
    tr_stream *old = t->stream;
    assert_true(old->disabled_ms != 0);
    put_some(f, t, 10, 10);
    assert_int_equal(read_all(f, old, 0, NULL)->count, 10);
    CHECK(f, tr_engine_update_table(f->engine, t, &on, &f->err));
    assert_ptr_not_equal(t->stream, old);
    assert_false(tr_view_eq(t->stream->arn, old->arn));
    put_some(f, t, 20, 10);
    assert_int_equal(read_all(f, old, 0, NULL)->count, 10);
    assert_int_equal(read_all(f, t->stream, 0, NULL)->count, 10);
    assert_int_equal(t->stream->view, TR_NEW_IMAGE);
    reopen(f);
    t = tr_engine_table(f->engine, TR_VIEW("t"));
    assert_int_equal(t->stream->view, TR_NEW_IMAGE);
    tr_stream *first = tr_engine_next_stream(f->engine, (tr_view){NULL, 0});
    assert_int_equal(first->view, TR_KEYS_ONLY);
    assert_int_equal(open_shards(t->stream), 4);
    assert_ptr_equal(tr_engine_next_stream(f->engine, first->arn), t->stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_views, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_views, setup_memory, teardown),
        cmocka_unit_test_setup_teardown(test_shards, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_listeners, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_listeners, setup_memory, teardown),
        cmocka_unit_test(test_sequence_text),
        cmocka_unit_test_setup_teardown(test_rollover, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_idle_shards_end_before_what_follows, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_split, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_trim, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_toggle, setup_dir, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
