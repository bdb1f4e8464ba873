/* SPDX-License-Identifier: MIT */
/* What a stream consumer reads from outside: records, pages, saved states, listings, lease rows. What was
 * taken in once must be taken in again when written back. */
#include "stream/core.h"
#include "stream/wire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_record(tr_view json)
{
    tr_arena arena;
    tr_record record, again;
    tr_arena_init(&arena, 64 << 20);
    if (tr_record_from_json(json, &arena, &record, NULL) == 0) {
        tr_buf b;
        tr_json_writer w;
        tr_buf_init(&b, 64 << 20);
        tr_json_write_init(&w, &b);
        record.raw.len = 0;
        tr_record_write(&w, &record);
        if (tr_buf_status(&b) || tr_record_from_json(tr_buf_view(&b), &arena, &again, NULL) ||
            !tr_view_eq(record.new_image, again.new_image) || !tr_view_eq(record.keys, again.keys) ||
            record.time_ms != again.time_ms)
            abort();
        (void)tr_record_write_diff(&w, &record);
        tr_buf_done(&b);
    }
    tr_arena_done(&arena);
}

static void fuzz_state(tr_view json)
{
    tr_stream_options o = {.table = "T", .manual = true};
    tr__core *core;
    if (tr__core_new(&o, false, 1, 0, INT64_C(1700000000000), &core, NULL))
        return;
    if (tr__core_set_state(core, json, NULL) == 0) {
        tr_buf first, second;
        tr_buf_init(&first, 64 << 20);
        tr_buf_init(&second, 64 << 20);
        if (tr__core_get_state(core, &first) == 0 &&
            (tr__core_set_state(core, tr_buf_view(&first), NULL) || tr__core_get_state(core, &second) ||
             !tr_view_eq(tr_buf_view(&first), tr_buf_view(&second))))
            abort();
        tr_buf_done(&first);
        tr_buf_done(&second);
    }
    tr__core_free(core);
}

static void fuzz_answer(tr__req_kind kind, tr_view json)
{
    tr__wire wire;
    tr__answer a = {0};
    tr__wire_init(&wire);
    tr__wire_decode(&wire, kind, TR_VIEW("shard"), true, json, &a);
    tr__page_free(a.page);
    tr__wire_done(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    tr_view json = tr_view_of(data + 1, size - 1);
    switch (data[0] % 6) {
    case 0:
        fuzz_record(json);
        break;
    case 1:
        fuzz_state(json);
        break;
    case 2:
        fuzz_answer(TR__REQ_GET_RECORDS, json);
        break;
    case 3:
        fuzz_answer(TR__REQ_DESCRIBE_STREAM, json);
        break;
    case 4:
        fuzz_answer(TR__REQ_LEASE_SCAN, json);
        break;
    default:
        fuzz_answer(TR__REQ_LIST_STREAMS, json);
        break;
    }
    return 0;
}
