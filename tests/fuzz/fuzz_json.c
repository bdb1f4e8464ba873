/* SPDX-License-Identifier: MIT */
/**
 * The JSON reader on any bytes: it ends with a value or an error, never reads past the text, and what it
 * accepts cJSON accepts too. Written out again and read again, a text gives the same tokens.
 */
#include <assert.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include <tailrace/json.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads to the end, and writes each token to `out` as it comes. Whether the text was a value. */
static bool copy(tr_view text, tr_buf *out)
{
    tr_arena arena;
    tr_arena_init(&arena, 16 << 20);
    tr_json_reader r;
    tr_json_writer w;
    tr_json_init(&r, text, &arena);
    tr_json_write_init(&w, out);
    tr_json_token t;
    while ((t = tr_json_next(&r)) != TR_JSON_DONE && t != TR_JSON_ERROR) {
        switch (t) {
        case TR_JSON_OBJECT:
            tr_json_begin_object(&w);
            break;
        case TR_JSON_OBJECT_END:
            tr_json_end_object(&w);
            break;
        case TR_JSON_ARRAY:
            tr_json_begin_array(&w);
            break;
        case TR_JSON_ARRAY_END:
            tr_json_end_array(&w);
            break;
        case TR_JSON_KEY:
            tr_json_key(&w, r.text);
            break;
        case TR_JSON_STRING:
            assert(tr_utf8_valid(r.text));
            tr_json_string(&w, r.text);
            break;
        case TR_JSON_NUMBER:
            tr_json_value(&w, r.text);
            break;
        case TR_JSON_TRUE:
        case TR_JSON_FALSE:
            tr_json_bool(&w, t == TR_JSON_TRUE);
            break;
        default:
            tr_json_null(&w);
        }
    }
    if (t == TR_JSON_ERROR) {
        assert(tr_json_error(&r) && tr_json_error_code(&r) < 0);
        assert(tr_json_next(&r) == TR_JSON_ERROR);
    }
    assert(tr_json_offset(&r) <= text.len);
    tr_arena_done(&arena);
    return t == TR_JSON_DONE;
}

static void skip_agrees(tr_view text, bool valid)
{
    tr_arena arena;
    tr_arena_init(&arena, 16 << 20);
    tr_json_reader r;
    tr_json_init(&r, text, &arena);
    tr_view raw;
    bool skipped =
        tr_json_next(&r) != TR_JSON_ERROR && tr_json_raw(&r, &raw) == 0 && tr_json_next(&r) == TR_JSON_DONE;
    assert(skipped == valid);
    tr_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tr_view text = tr_view_of(data, size);
    tr_buf once, twice;
    tr_buf_init(&once, 64 << 20);
    tr_buf_init(&twice, 64 << 20);
    bool valid = copy(text, &once);
    if (valid) {
        assert(copy(tr_buf_view(&once), &twice));
        assert(tr_view_eq(tr_buf_view(&once), tr_buf_view(&twice)));
        cJSON *tree = cJSON_ParseWithLength((const char *)data, size);
        assert(tree);
        cJSON_Delete(tree);
    }
    skip_agrees(text, valid);
    tr_buf_done(&once);
    tr_buf_done(&twice);
    return 0;
}
