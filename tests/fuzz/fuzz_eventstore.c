/* SPDX-License-Identifier: MIT */
/** What the event store reads from outside: lines of events, items of a table that others write, declared
 * reducers. The first byte chooses. */
#include <assert.h>
#include <stdlib.h>

#include <tailrace/aggregate.h>

#include "eventstore/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX ((size_t)16 << 20)

static const tr_event_format formats[] = {{TR_NUMBERS_EXACT, TR_SETS_ARRAY},
                                          {TR_NUMBERS_DOUBLE, TR_SETS_ARRAY},
                                          {TR_NUMBERS_WRAPPED, TR_SETS_TYPED}};

static void write_event(const tr_event *event, const tr_event_format *format, tr_buf *out)
{
    tr_json_writer w;
    tr_buf_reset(out);
    tr_json_write_init(&w, out);
    tr_event_write(&w, event, format);
    assert(tr_buf_status(out) == 0);
}

/* What is written is read again, as the same. */
static void read_line(tr_view text, tr_arena *arena)
{
    tr_event event, again;
    tr_error err;
    tr_buf out;
    if (tr_event_from_json(text, arena, &event, &err)) {
        assert(err.message[0]);
        return;
    }
    tr_buf_init(&out, TEXT_MAX);
    write_event(&event, NULL, &out);
    if (event.version) {
        assert(tr_event_from_json(tr_buf_view(&out), arena, &again, &err) == 0);
        assert(event.version == again.version && tr_view_eq(event.aggregate_id, again.aggregate_id));
        assert(tr_view_eq(event.type, again.type) && tr_view_eq(event.timestamp, again.timestamp));
        assert(tr_value_eq(event.payload, again.payload) && tr_value_eq(event.metadata, again.metadata));
    }
    tr_buf_done(&out);
}

static void read_item(tr_view text, tr_arena *arena)
{
    static char a[] = "A", b[] = "B";
    tr_eventstore single = {.id = a}, legacy = {.id = b, .layout = TR_EVENTS_LEGACY};
    const tr_eventstore *stores[] = {&single, &legacy};
    tr_item item;
    tr_event event, same;
    tr_buf out;
    size_t index = 0;
    if (tr_item_from_json(text, arena, &item, NULL))
        return;
    tr_buf_init(&out, TEXT_MAX);
    int is_event = tr_event_from_item(&single, item, &event, NULL);
    int found = tr_event_parse_image(stores, 2, item, &index, &same, NULL);
    assert((is_event == 0) == (found == 0)); /* the legacy store takes any */
    for (size_t i = 0; is_event == 0 && i < TR_COUNT(formats); i++)
        write_event(&same, &formats[i], &out);
    tr_buf_done(&out);
}

/* A reducer, a line feed, and events that it folds. */
static void fold(tr_view text, tr_arena *arena)
{
    tr_rules *rules;
    tr_aggregate *aggregate;
    tr_event event;
    tr_error err;
    size_t lf = tr_view_find(text, TR_VIEW("\n"), 0);
    if (lf == SIZE_MAX || tr_rules_new(tr_view_of(text.ptr, lf), &rules, &err))
        return;
    assert(tr_aggregate_new(tr_rules_reducer(rules), TR_VIEW("a"), &aggregate, &err) == 0);
    for (uint64_t version = 1; lf != SIZE_MAX; version++) {
        size_t from = lf + 1;
        lf = tr_view_find(text, TR_VIEW("\n"), from);
        if (tr_event_from_json(tr_view_of(text.ptr + from, (lf == SIZE_MAX ? text.len : lf) - from), arena,
                               &event, &err))
            break;
        event.version = version;
        if (tr_aggregate_apply(aggregate, &event, &err))
            break;
        assert(tr_item_check(tr_rules_state(aggregate)) == 0);
    }
    tr_aggregate_free(aggregate);
    tr_rules_free(rules);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    /* A copy of exactly the size, so that reading past its end is seen. */
    char *copy = malloc(size - 1 ? size - 1 : 1);
    tr_arena arena;
    memcpy(copy, data + 1, size - 1);
    tr_arena_init(&arena, TEXT_MAX);
    tr_view text = tr_view_of(copy, size - 1);
    if (data[0] % 3 == 0)
        read_line(text, &arena);
    else if (data[0] % 3 == 1)
        read_item(text, &arena);
    else
        fold(text, &arena);
    tr_arena_done(&arena);
    free(copy);
    return 0;
}
