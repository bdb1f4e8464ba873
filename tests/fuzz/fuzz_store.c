/* SPDX-License-Identifier: MIT */
/** Whatever a disk gives back: logs, change records, tables and streams read from any bytes. The first byte
 * chooses. */
#include <assert.h>
#include <stdlib.h>

#include "engine/engine_private.h"
#include "kv/kv_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is before the flaw has none. */
static void look_at_log(tr_view file)
{
    size_t at = 0, again = 0;
    bool check_crc = file.len % 2;
    if (!tr__kv_log_torn(file, check_crc, &at))
        return;
    assert(at <= file.len);
    assert(!tr__kv_log_torn(tr_view_of(file.ptr, at), check_crc, &again));
}

static void read_change(tr_view value)
{
    tr_key_schema schema = {.hash_count = 1, .hash = {{TR_VIEW("pk"), TR_S}}};
    tr_stream stream = {.schema = schema, .view = TR_NEW_AND_OLD_IMAGES};
    char key[TR__CHANGE_KEY];
    tr_stream_change change;
    tr_buf keys;
    tr_buf_init(&keys, 1 << 20);
    tr__record_key(1, 2, 3, 4, key);
    if (tr__record_decode(&stream, tr_view_of(key, sizeof key), value, &keys, &change) == 0) {
        assert(change.sequence == 4);
        assert(change.new_image.len + change.old_image.len <= value.len);
    }
    tr_buf_done(&keys);
}

static void read_table(tr_view record)
{
    tr_arena arena;
    tr_table table = {0};
    uint32_t stream;
    tr_buf out;
    tr_arena_init(&arena, 1 << 24);
    tr_buf_init(&out, 1 << 24);
    if (tr__table_decode(record, &arena, &table, &stream) == 0)
        (void)tr__table_encode(&table, &out);
    tr_buf_done(&out);
    tr_arena_done(&arena);
}

static void read_stream(tr_view record)
{
    tr__stream *stream;
    if (tr__stream_from_record(record, &stream) == 0)
        tr__stream_free(stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    /* A copy of exactly the size, so that reading past its end is seen. */
    char *copy = malloc(size - 1 ? size - 1 : 1);
    memcpy(copy, data + 1, size - 1);
    tr_view bytes = tr_view_of(copy, size - 1);
    switch (data[0] % 4) {
    case 0:
        look_at_log(bytes);
        break;
    case 1:
        read_change(bytes);
        break;
    case 2:
        read_table(bytes);
        break;
    default:
        read_stream(bytes);
    }
    free(copy);
    return 0;
}
