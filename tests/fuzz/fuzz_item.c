/* SPDX-License-Identifier: MIT */
/**
 * Items from any bytes. What is read as DynamoDB JSON is canonical, and written and read again it is the
 * same, with white space between its tokens too; cJSON takes what we take. What passes the check as packed
 * bytes has a JSON form that gives them back. Plain JSON keeps what it says it keeps.
 */
#include <assert.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include <tailrace/item.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LIMIT (64 << 20)

enum form { DYNAMODB, PLAIN_EXACT, PLAIN_JAVASCRIPT };

static int read_item(tr_view json, enum form form, tr_buf *packed, tr_item_problem *ret_problem)
{
    tr_arena arena;
    tr_arena_init(&arena, LIMIT);
    tr_json_reader reader;
    tr_item_error error = {.problem = TR_ITEM_OK};
    tr_json_init(&reader, json, &arena);
    tr_json_next(&reader);
    int e = form == DYNAMODB
                ? tr_item_read(&reader, packed, &error)
                : tr_item_read_plain(&reader, form == PLAIN_EXACT ? TR_PLAIN_EXACT : TR_PLAIN_JAVASCRIPT,
                                     packed, &error);
    /* a name that is empty or too long is told, and packed */
    assert((e == 0) == (error.problem == TR_ITEM_OK || error.problem == TR_ITEM_NAME));
    if (e == 0 && tr_json_next(&reader) != TR_JSON_DONE) {
        e = TR_EPARSE;
        error.problem = TR_ITEM_JSON;
    }
    if (e) {
        tr_error words;
        assert(tr_item_error_to(&error, e, &reader, &words) == e && words.message[0]);
    }
    *ret_problem = error.problem;
    tr_arena_done(&arena);
    return e;
}

static void write_item(tr_item item, bool plain, tr_buf *out)
{
    tr_json_writer writer;
    tr_json_write_init(&writer, out);
    if (plain)
        tr_item_write_plain(&writer, item);
    else
        tr_item_write(&writer, item);
    assert(tr_buf_status(out) == 0);
}

static void reads_back(tr_item item, enum form form)
{
    tr_item_problem problem;
    tr_buf text, again;
    tr_buf_init(&text, LIMIT);
    tr_buf_init(&again, LIMIT);
    write_item(item, form != DYNAMODB, &text);
    if (form == DYNAMODB || tr_item_plain_lossless(item)) {
        assert(read_item(tr_buf_view(&text), form, &again, &problem) == 0);
        assert(tr_view_eq(tr_buf_view(&again), item));
    }
    tr_buf_done(&text);
    tr_buf_done(&again);
}

static void keys_read_back(tr_item item)
{
    tr_packed_iter it;
    tr_item_iter(&it, item);
    while (tr_packed_next(&it)) {
        tr_value found, back;
        size_t len;
        assert(tr_item_get(item, it.name, &found) == 0 && tr_value_eq(found, it.value));
        if (it.value.type > TR_B)
            continue;
        tr_arena arena;
        tr_buf key;
        tr_arena_init(&arena, LIMIT);
        tr_buf_init(&key, LIMIT);
        tr_key_put(&key, it.value);
        assert(tr_key_get(tr_buf_view(&key), it.value.type, &arena, &back, &len) == 0);
        assert(len == key.len && tr_value_eq(back, it.value));
        tr_buf_done(&key);
        tr_arena_done(&arena);
    }
}

static void good_item(tr_item item)
{
    assert(tr_item_check(item) == 0);
    assert(tr_item_depth(item) <= TR_ITEM_DEPTH_MAX);
    assert(tr_item_size(item) <= item.len);
    reads_back(item, DYNAMODB);
    reads_back(item, PLAIN_EXACT);
    reads_back(item, PLAIN_JAVASCRIPT);
    keys_read_back(item);
}

/* The same text with a space around every mark outside strings, which keeps it off the reader's fast path. */
static void with_spaces(tr_view json, tr_buf *out)
{
    bool string = false;
    for (size_t i = 0; i < json.len; i++) {
        char c = json.ptr[i];
        bool mark = !string && c && strchr("{}[]:,", c);
        if (mark)
            tr_buf_putc(out, ' ');
        tr_buf_putc(out, c);
        if (string && c == '\\' && i + 1 < json.len)
            tr_buf_putc(out, json.ptr[++i]);
        else if (c == '"')
            string = !string;
        if (mark)
            tr_buf_putc(out, '\n');
    }
}

static void from_json(tr_view json)
{
    tr_item_problem problem, spaced_problem;
    tr_buf packed, spaced, again;
    tr_buf_init(&packed, LIMIT);
    tr_buf_init(&spaced, LIMIT);
    tr_buf_init(&again, LIMIT);
    int e = read_item(json, DYNAMODB, &packed, &problem);
    with_spaces(json, &spaced);
    assert(read_item(tr_buf_view(&spaced), DYNAMODB, &again, &spaced_problem) == e);
    assert(spaced_problem == problem);
    if (e == 0) {
        assert(tr_view_eq(tr_buf_view(&packed), tr_buf_view(&again)));
        good_item(tr_buf_view(&packed));
        cJSON *tree = cJSON_ParseWithLength(json.ptr, json.len);
        assert(cJSON_IsObject(tree));
        assert((uint32_t)cJSON_GetArraySize(tree) == tr_packed_count(tr_buf_view(&packed)));
        cJSON_Delete(tree);
    }
    tr_buf_done(&packed);
    tr_buf_done(&spaced);
    tr_buf_done(&again);
}

static void from_plain(tr_view json, enum form form)
{
    tr_item_problem problem;
    tr_buf packed;
    tr_buf_init(&packed, LIMIT);
    if (read_item(json, form, &packed, &problem) == 0) {
        assert(tr_item_plain_lossless(tr_buf_view(&packed)));
        good_item(tr_buf_view(&packed));
    }
    tr_buf_done(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tr_view bytes = tr_view_of(data, size);
    from_json(bytes);
    from_plain(bytes, PLAIN_EXACT);
    from_plain(bytes, PLAIN_JAVASCRIPT);
    if (size > 0 &&
        tr_item_check(bytes) == 0) /* no bytes are an item too, but not the form that is written */
        good_item(bytes);
    tr_arena arena;
    tr_arena_init(&arena, LIMIT);
    for (tr_type type = TR_S; type <= TR_B; type++) {
        tr_value value;
        size_t len;
        if (tr_key_get(bytes, type, &arena, &value, &len))
            continue;
        tr_buf key;
        tr_buf_init(&key, LIMIT);
        tr_key_put(&key, value);
        assert(tr_view_eq(tr_buf_view(&key), tr_view_of(data, len)));
        tr_buf_done(&key);
    }
    tr_arena_done(&arena);
    return 0;
}
