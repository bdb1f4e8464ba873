/* SPDX-License-Identifier: MIT */
/** Failure records, with any bytes: read into an entry or refused; put in parts that fit, each of which is
 * read again where the whole was. */
#include "handler/failure.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct parts {
    size_t limit, count;
    bool whole; /* the record is an object that can be read */
} parts;

static int look(void *ctx, tr_view body, tr_error *err)
{
    parts *p = ctx;
    tr_arena arena;
    tr_failure_entry entry = {0};
    (void)err;
    p->count++;
    tr_arena_init(&arena, 64 << 20);
    int e = tr__failure_read(body, &arena, &entry);
    size_t depth = 0; /* at most: the Records stand a level deeper than where they were read */
    for (size_t i = 0; i < body.len; i++)
        depth += body.ptr[i] == '[' || body.ptr[i] == '{';
    assert(!p->whole || e == 0 || depth >= TR_JSON_DEPTH_MAX);
    assert(tr_view_find(body, TR_VIEW("\n"), 0) == SIZE_MAX);
    tr_arena_done(&arena);
    return 0;
}

/* {"a":1} and the like: an object with at least one member, so that a further one can be put behind it. */
static bool is_record(tr_view text)
{
    tr_arena arena;
    tr_json_reader r;
    tr_arena_init(&arena, 16 << 20);
    tr_json_init(&r, text, &arena);
    bool object = tr_json_next(&r) == TR_JSON_OBJECT && tr_json_next(&r) == TR_JSON_KEY;
    while (object && tr_json_next(&r) != TR_JSON_DONE)
        object = r.token != TR_JSON_ERROR;
    tr_arena_done(&arena);
    return object;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t cut = size ? (size_t)data[0] * (size - 1) / 255 : 0;
    tr_view rest = tr_view_of(size ? data + 1 : data, size ? size - 1 : 0);
    const tr_failure f = {.record = tr_view_of(rest.ptr, cut),
                          .event = tr_view_of(rest.ptr + cut, rest.len - cut),
                          .error_type = TR_VIEW("E")};
    tr_arena arena;
    tr_buf out;
    tr_failure_entry entry = {0};
    tr_arena_init(&arena, 64 << 20);
    tr_buf_init(&out, 16 << 20);
    (void)tr__failure_read(rest, &arena, &entry);
    const tr_logger logger = {0};
    parts p = {.limit = size % 64 + 16, .whole = is_record(f.record)};
    if (f.record.len) {
        (void)tr__failure_parts(&f, p.limit, &logger, look, &p, NULL);
        assert(p.count > 0);
        tr__failure_compose(&f, &out);
    }
    tr_buf_done(&out);
    tr_arena_done(&arena);
    return 0;
}
