/* SPDX-License-Identifier: MIT */
/* A replica's row as it is read back: both columns of an item may have been changed by anybody. */
#include "replica/row.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool kept)
{
    if (!kept)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const tr_sink_table table = {.name = {"tab", 3},
                                        .hash_name = {"id", 2},
                                        .range_name = {"n", 1},
                                        .hash_type = TR_S,
                                        .range_type = TR_N};
    tr_view all = tr_view_of(data, size);
    size_t end = tr_view_find(all, TR_VIEW("\n"), 0);
    tr_view plain = end == SIZE_MAX ? all : tr_view_of(all.ptr, end);
    tr_view typed = end == SIZE_MAX ? (tr_view){NULL, 0} : tr_view_of(all.ptr + end + 1, all.len - end - 1);
    tr_arena arena;
    tr_buf packed, key;
    tr_error err;
    tr_arena_init(&arena, (size_t)64 << 20);
    tr_buf_init(&packed, TR__ROW_JSON_MAX);
    tr_buf_init(&key, TR__ROW_JSON_MAX);
    for (int no_nul = 0; no_nul < 2; no_nul++) {
        tr_arena_reset(&arena);
        tr_buf_reset(&packed);
        tr_buf_reset(&key);
        if (tr__row_read(plain, typed, no_nul, &arena, &packed, &err))
            continue;
        expect(tr_item_check(tr_buf_view(&packed)) == 0);
        if (tr__row_key(&table, tr_buf_view(&packed), &key, &err) == 0) {
            expect(tr__row_check_column(&table, tr_buf_view(&key), true, plain, no_nul, &packed, 0, &err) ==
                   0);
            expect(tr_item_check(tr_buf_view(&packed)) == 0);
        }
    }
    tr_buf_done(&packed);
    tr_buf_done(&key);
    tr_arena_done(&arena);
    return 0;
}
