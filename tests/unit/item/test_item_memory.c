/* SPDX-License-Identifier: MIT */
/** Every allocation fails once: nothing may crash, leak, or be wrong without saying so. */
#include "item_test.h"

#include <stdlib.h>

static long allowed; /* allocations until the next fails; later ones succeed again */
static long live;    /* blocks not freed yet */

static void *failing_realloc(void *ptr, size_t size)
{
    if (allowed-- == 0)
        return NULL;
    void *got = realloc(ptr, size);
    if (got && !ptr)
        live++;
    return got;
}

static void counting_free(void *ptr)
{
    live--;
    free(ptr);
}

/* Wide enough for all allocations: escapes, a set and a map too large for the stack, base64. */
static char *large_json(void)
{
    char *json = malloc(1 << 16);
    assert_non_null(json);
    size_t n = (size_t)sprintf(
        json, "{\"esc\\u0061pe\":{\"S\":\"\\n\"},\"b\":{\"B\":\"AAECAwQF\"},\"set\":{\"SS\":[");
    for (int i = 100; i > 0; i--)
        n += (size_t)sprintf(json + n, "\"element number %d\"%s", i, i > 1 ? "," : "]}");
    n += (size_t)sprintf(json + n, ",\"map\":{\"M\":{");
    for (int i = 100; i > 0; i--)
        n += (size_t)sprintf(json + n, "\"name number %d\":{\"N\":\"%d\"}%s", i, i, i > 1 ? "," : "}}}");
    return json;
}

static int try_all(const char *json, tr_buf *ret_text)
{
    tr_arena arena;
    tr_item item;
    tr_error err;
    tr_arena_init(&arena, 1 << 20);
    int e = tr_item_from_json(tr_view_str(json), &arena, &item, &err);
    if (e == 0) {
        tr_json_writer writer;
        tr_json_write_init(&writer, ret_text);
        tr_item_write(&writer, item);
        tr_item_write_plain(&writer, item);
        e = tr_buf_status(ret_text);
    }
    tr_arena_done(&arena);
    return e;
}

static void torture(const char *json, int expect)
{
    tr_buf text, good;
    tr_buf_init(&good, 1 << 20);
    allowed = -1;
    assert_int_equal(try_all(json, &good), expect);
    long failures = 0;
    for (long n = 0;; n++) {
        tr_buf_init(&text, 1 << 20);
        long before = live;
        allowed = n;
        int e = try_all(json, &text);
        bool failed = allowed < 0;
        allowed = -1;
        if (failed) {
            assert_int_equal(e, TR_ENOMEM);
            failures++;
        } else {
            assert_int_equal(e, expect);
            assert_true(tr_view_eq(tr_buf_view(&text), tr_buf_view(&good)));
        }
        tr_buf_done(&text);
        assert_int_equal(live, before);
        if (!failed)
            break;
    }
    assert_true(failures > 3);
    tr_buf_done(&good);
}

static void out_of_memory_is_told(void **state)
{
    (void)state;
    char *json = large_json();
    torture(json, 0);
    free(json);
}

static void out_of_memory_while_wording_an_error(void **state)
{
    (void)state;
    char json[3000];
    int n = snprintf(json, sizeof json, "{\"a\":{\"SS\":[");
    for (int i = 0; i < 100; i++)
        n += snprintf(json + n, sizeof json - (size_t)n, "\"element %d\",", i % 99);
    (void)snprintf(json + n, sizeof json - (size_t)n, "\"\"]}}");
    torture(json, TR_EEXIST);
}

static void plain_json_without_memory(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        tr_arena arena;
        tr_buf packed;
        tr_json_reader reader;
        tr_item_error error;
        long before = live;
        allowed = n;
        tr_arena_init(&arena, 1 << 20);
        tr_buf_init(&packed, 1 << 20);
        tr_json_init(&reader, TR_VIEW("{\"\\n\":[\"\\t\",1,{\"b\":null,\"a\":\"\\n\"}],\"A\":true}"), &arena);
        tr_json_next(&reader);
        int e = tr_item_read_plain(&reader, TR_PLAIN_EXACT, &packed, &error);
        bool failed = allowed < 0;
        allowed = -1;
        assert_int_equal(e, failed ? TR_ENOMEM : 0);
        if (failed)
            assert_int_equal(error.problem, TR_ITEM_MEMORY);
        tr_arena_done(&arena);
        tr_buf_done(&packed);
        assert_int_equal(live, before);
        if (!failed)
            break;
    }
}

int main(void)
{
    tr_set_allocator(failing_realloc, counting_free);
    allowed = -1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(out_of_memory_is_told),
        cmocka_unit_test(out_of_memory_while_wording_an_error),
        cmocka_unit_test(plain_json_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
