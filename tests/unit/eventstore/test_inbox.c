/* SPDX-License-Identifier: MIT */
#include "eventstore/inbox.h"

#include "../test.h"

#include <stdlib.h>
#include <tailrace/item.h>

typedef struct box {
    char directory[64], path[128];
    tr__selection select;
    tr__inbox *inbox;
    tr_sink *sink;
    tr_error err;
} box;

static void open_box(box *b)
{
    if (tr__inbox_open(b->path, &b->select, &b->inbox, &b->err))
        fail_msg("%s", b->err.message);
    assert_int_equal(tr__inbox_sink(b->inbox, &b->sink), 0);
}

static void close_box(box *b)
{
    b->sink->free(b->sink);
    tr__inbox_close(b->inbox, false);
}

static int setup(void **state)
{
    box *b = calloc(1, sizeof *b);
    assert_non_null(b);
    (void)snprintf(b->directory, sizeof b->directory, "/tmp/tailrace-inbox-XXXXXX");
    assert_non_null(mkdtemp(b->directory));
    (void)snprintf(b->path, sizeof b->path, "%s/inbox", b->directory);
    assert_int_equal(tr__selection_init(&b->select, &(tr_event_selection){0}, &b->err), 0);
    open_box(b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    box *b = *state;
    char command[128];
    close_box(b);
    tr__selection_done(&b->select);
    (void)snprintf(command, sizeof command, "rm -rf %s", b->directory);
    free(b);
    return system(command);
}

/* The event as an item of the table; later versions have earlier timestamps here, which must not matter. */
static void make_item(const char *aggregate, unsigned version, tr_buf *item)
{
    char json[256];
    tr_arena arena;
    tr_json_reader r;
    tr_item_error problem;
    (void)snprintf(json, sizeof json,
                   "{\"aggregateId\":{\"S\":\"S#%s\"},\"version\":{\"N\":\"%u\"},\"type\":{\"S\":\"T\"},"
                   "\"timestamp\":{\"S\":\"2026-01-01T00:00:%02u.000Z\"}}",
                   aggregate, version, 50 - version);
    tr_arena_init(&arena, 65536);
    tr_buf_init(item, 65536);
    tr_json_init(&r, tr_view_str(json), &arena);
    assert_int_equal(tr_json_next(&r), TR_JSON_OBJECT);
    assert_int_equal(tr_item_read(&r, item, &problem), 0);
    tr_arena_done(&arena);
}

static void scanned(box *b, const char *aggregate, unsigned version)
{
    tr_buf item;
    make_item(aggregate, version, &item);
    const tr_sink_row row = {.item = tr_buf_view(&item)};
    assert_int_equal(b->sink->scanned(b->sink, &row, &b->err), 0);
    tr_buf_done(&item);
}

static void streamed(box *b, const char *aggregate, unsigned version)
{
    tr_buf item;
    make_item(aggregate, version, &item);
    const tr_record record = {.event = TR_INSERT};
    const tr_sink_row row = {.item = tr_buf_view(&item), .record = &record};
    assert_int_equal(b->sink->apply(b->sink, &row, &b->err), 0);
    tr_buf_done(&item);
}

static void begin(box *b)
{
    assert_int_equal(b->sink->begin(b->sink, &b->err), 0);
}

static void commit(box *b)
{
    assert_int_equal(b->sink->commit(b->sink, &b->err), 0);
}

static void scan(box *b, bool on, bool again)
{
    uint64_t deleted;
    assert_int_equal(on ? b->sink->scan_begin(b->sink, again, &b->err)
                        : b->sink->scan_end(b->sink, again, &deleted, &b->err),
                     0);
}

/* Takes all: "a1 b1 …". */
static void expect(box *b, const char *wanted)
{
    const tr_subscribed *events;
    size_t count;
    tr_buf text;
    tr_buf_init(&text, 4096);
    assert_int_equal(tr__inbox_take(b->inbox, 100, &events, &count, &b->err), 0);
    for (size_t i = 0; i < count; i++)
        tr_buf_printf(&text, "%s%.*s%u", i ? " " : "", TR_FMT(events[i].event.aggregate_id),
                      (unsigned)events[i].event.version);
    assert_view(tr_buf_view(&text), wanted);
    tr_buf_done(&text);
    assert_int_equal(tr__inbox_done(b->inbox, count, &b->err), 0);
}

static void what_the_scan_finds_after_the_stream_follows_it(void **state)
{
    box *b = *state;
    begin(b);
    scan(b, true, false);
    streamed(b, "a", 2);
    scanned(b, "a", 1);
    scanned(b, "a", 2);
    scanned(b, "a", 3);
    scanned(b, "b", 1);
    scanned(b, "a", 4);
    commit(b);
    expect(b, ""); /* held back */
    begin(b);
    streamed(b, "a", 3);
    streamed(b, "a", 4);
    streamed(b, "b", 2);
    streamed(b, "a", 5);
    scan(b, false, false);
    streamed(b, "b", 3);
    commit(b);
    expect(b, "a1 b1 a2 a3 a4 b2 a5 b3");
}

static void what_the_scan_found_before_the_stream_follows_it(void **state)
{
    box *b = *state;
    begin(b);
    scan(b, true, false);
    scanned(b, "a", 1);
    scanned(b, "a", 3); /* pages are no snapshots: 2 and 3 were written while this one was read */
    scanned(b, "a", 4);
    scanned(b, "b", 1);
    commit(b);
    close_box(b); /* and it is known after a restart */
    open_box(b);
    begin(b);
    streamed(b, "a", 2);
    scanned(b, "a", 5);
    streamed(b, "a", 3);
    streamed(b, "b", 2);
    streamed(b, "a", 6);
    scan(b, false, false);
    commit(b);
    expect(b, "a1 b1 a2 a3 a4 a5 b2 a6");
}

static void by_aggregate_only_what_follows_the_stream_is_held_back(void **state)
{
    box *b = *state;
    close_box(b);
    (void)snprintf(b->path, sizeof b->path, "%s/other", b->directory);
    b->select.by_aggregate = true;
    open_box(b);
    begin(b);
    scan(b, true, false);
    streamed(b, "a", 2);
    scanned(b, "b", 1);
    scanned(b, "a", 1);
    scanned(b, "a", 3);
    commit(b);
    expect(b, "b1 a1");
    begin(b);
    streamed(b, "b", 2);
    scanned(b, "b", 3);
    scan(b, false, false);
    commit(b);
    expect(b, "a2 a3 b2 b3");
}

static void a_repeated_scan_begins_anew(void **state)
{
    box *b = *state;
    begin(b);
    scan(b, true, false);
    scanned(b, "a", 1);
    scan(b, false, false);
    streamed(b, "a", 2);
    commit(b);
    expect(b, "a1 a2");
    begin(b);
    scan(b, true, true);
    scanned(b, "a", 3); /* what a gap has swallowed comes before what the stream brings */
    streamed(b, "b", 2);
    scanned(b, "b", 1);
    scanned(b, "b", 3);
    b->sink->rollback(b->sink);
    expect(b, "");
    begin(b);
    scan(b, true, true);
    streamed(b, "b", 2);
    scanned(b, "b", 1);
    scanned(b, "b", 3);
    scanned(b, "a", 3);
    scan(b, false, true);
    commit(b);
    expect(b, "a3 b1 b2 b3");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_the_scan_finds_after_the_stream_follows_it),
        T(what_the_scan_found_before_the_stream_follows_it),
        T(by_aggregate_only_what_follows_the_stream_is_held_back),
        T(a_repeated_scan_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
