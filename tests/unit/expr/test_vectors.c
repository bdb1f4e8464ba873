/* SPDX-License-Identifier: MIT */
/*
 * vectors.jsonl: some 1,800 expressions with what the service answers, recorded from DynamoDB Local 3.3
 * (January 2026) and changed where AWS is known to answer otherwise (README.md of the room lists these).
 *
 *   {"define":"A","item":{…}}                                                     an item that cases refer to
 *   {"op":"cond","expr":"…","names":{…},"values":{…},"item":"A","want":true}      or "want":{"error":"…"}
 *   {"op":"update"|"proj",…,"want":{the item}} {"op":"key","schema":"pk:S|sk:N","index":"…",…,"want":"…"}
 */
#include "vector.h"

#include "unit/expr/vectors_path.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct line {
    vector v;
    tr_view want; /* JSON */
} line;

static struct {
    char *text;
    line *lines;
    size_t count;
    tr_arena arena;
} file;

static long allowed = -1; /* allocations until one fails; later ones succeed again */
static long live;         /* blocks not freed yet */

static void *failing_realloc(void *ptr, size_t size)
{
    if (allowed >= 0 && allowed-- == 0)
        return NULL;
    void *got = realloc(ptr, size);
    live += got && !ptr;
    return got;
}

static void counting_free(void *ptr)
{
    live -= ptr != NULL;
    free(ptr);
}

static tr_view member(tr_view json, const char *name)
{
    tr_json_reader r;
    tr_json_init(&r, json, &file.arena);
    assert_int_equal(tr_json_next(&r), TR_JSON_OBJECT);
    while (tr_json_next_key(&r)) {
        bool found = tr_view_is(r.text, name);
        tr_view raw;
        (void)tr_json_next(&r);
        assert_int_equal(tr_json_raw(&r, &raw), 0);
        if (found)
            return raw;
    }
    return (tr_view){NULL, 0};
}

static tr_view text_of(tr_view json)
{
    tr_json_reader r;
    if (!json.len)
        return json;
    tr_json_init(&r, json, &file.arena);
    assert_int_equal(tr_json_next(&r), TR_JSON_STRING);
    return r.text;
}

static tr_item item_of(tr_view json)
{
    static struct {
        tr_view name;
        tr_item item;
    } known[8];
    static size_t count;
    tr_item item = {NULL, 0};
    if (!json.len || json.ptr[0] == 'n')
        return item;
    if (json.ptr[0] == '"') {
        tr_view name = text_of(json);
        for (size_t i = 0; i < count; i++)
            if (tr_view_eq(known[i].name, name))
                return known[i].item;
        fail_msg("no item %.*s", TR_FMT(name));
    }
    tr_view name = member(json, "define");
    if (name.len) {
        known[count].name = text_of(name);
        known[count++].item = item_of(member(json, "item"));
        return item;
    }
    assert_int_equal(tr_item_from_json(json, &file.arena, &item, NULL), 0);
    return item;
}

static void read_line(tr_view json)
{
    if (member(json, "define").len) {
        (void)item_of(json);
        return;
    }
    line *l = &file.lines[file.count++];
    *l = (line){.v = {.op = text_of(member(json, "op")),
                      .expr = text_of(member(json, "expr")),
                      .names = member(json, "names"),
                      .values = member(json, "values"),
                      .item = item_of(member(json, "item")),
                      .schema = text_of(member(json, "schema")),
                      .index = text_of(member(json, "index"))},
                .want = member(json, "want")};
}

static int read_file(void **state)
{
    (void)state;
    FILE *f = fopen(VECTORS_PATH, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0)
        return -1;
    size_t size = (size_t)ftell(f), lines = 0;
    rewind(f);
    file.text = malloc(size);
    if (!file.text || fread(file.text, 1, size, f) != size)
        return -1;
    (void)fclose(f);
    for (size_t i = 0; i < size; i++)
        lines += file.text[i] == '\n';
    file.lines = calloc(lines + 1, sizeof *file.lines);
    tr_arena_init(&file.arena, 64 << 20);
    for (size_t from = 0, to; from < size; from = to + 1) {
        for (to = from; file.text[to] != '\n'; to++)
            ;
        read_line(tr_view_of(file.text + from, to - from));
    }
    return 0;
}

static int drop_file(void **state)
{
    (void)state;
    tr_arena_done(&file.arena);
    free(file.lines);
    free(file.text);
    return 0;
}

static void check_line(const line *l, const outcome *o, tr_arena *arena)
{
    const vector *v = &l->v;
    tr_view error = l->want.ptr[0] == '{' ? member(l->want, "error") : (tr_view){NULL, 0};
    if (error.len && error.ptr[0] == '"') {
        error = text_of(error);
        if (o->code == 0 || !tr_view_eq(tr_view_str(o->err.message), error))
            fail_msg("%.*s\n want %.*s\n got  %s", TR_FMT(v->expr), TR_FMT(error),
                     o->code ? o->err.message : "no error");
        assert_string_equal(o->err.type, "ValidationException");
        assert_int_equal(o->err.http_status, 400);
        assert_int_equal(o->code, TR_EINVAL);
        return;
    }
    if (o->code < 0)
        fail_msg("%.*s\n got %s", TR_FMT(v->expr), o->err.message);
    if (l->want.ptr[0] == '"') {
        assert_view(text_of(l->want), o->text);
    } else if (l->want.ptr[0] == '{') {
        tr_item want;
        assert_int_equal(tr_item_from_json(l->want, arena, &want, NULL), 0);
        assert_int_equal(tr_item_check(o->item), 0);
        if (!tr_view_eq(want, o->item))
            fail_msg("%.*s: another item than %.*s", TR_FMT(v->expr), TR_FMT(l->want));
    } else if ((l->want.ptr[0] == 't') != o->truth) {
        fail_msg("%.*s is %s", TR_FMT(v->expr), o->truth ? "true" : "false");
    }
}

static void answers_as_the_service_does(void **state)
{
    (void)state;
    assert_true(file.count > 1500);
    for (size_t i = 0; i < file.count; i++) {
        tr_arena arena;
        tr_arena_init(&arena, 64 << 20);
        outcome o;
        vector_run(&file.lines[i].v, &arena, &o);
        check_line(&file.lines[i], &o, &arena);
        tr_arena_done(&arena);
    }
}

/* Every size of arena up to the one a case needs: an error comes of it, never a wrong answer. */
static void survives_want_of_memory(void **state)
{
    (void)state;
    size_t failures = 0;
    for (size_t i = 0; i < file.count; i += 7) {
        outcome o;
        for (size_t limit = 0;; limit += 16) {
            tr_arena arena;
            tr_arena_init(&arena, limit);
            vector_run(&file.lines[i].v, &arena, &o);
            bool memory = o.code == TR_ENOMEM || o.code == TR_ELIMIT;
            if (!memory) {
                /* a broken value or key is told with less memory than all of it takes */
                tr_arena wide;
                tr_arena_init(&wide, 64 << 20);
                check_line(&file.lines[i], &o, &wide);
                tr_arena_done(&wide);
            }
            tr_arena_done(&arena);
            failures += memory;
            if (!memory)
                break;
            assert_true(limit < 1 << 20);
        }
    }
    assert_true(failures > 1000);
}

/* Every allocation fails once: TR_ENOMEM or, later ones succeeding, the right answer; and nothing leaks. */
static void survives_failing_allocations(void **state)
{
    (void)state;
    size_t failures = 0;
    for (size_t i = 0; i < file.count; i += 7) {
        for (long n = 0, failed = 1; failed; n++) {
            tr_arena arena;
            outcome o;
            long before = live;
            tr_arena_init(&arena, 64 << 20);
            allowed = n;
            vector_run(&file.lines[i].v, &arena, &o);
            failed = allowed < 0;
            allowed = -1;
            if (o.code != TR_ENOMEM)
                check_line(&file.lines[i], &o, &arena);
            else
                assert_true(failed);
            failures += o.code == TR_ENOMEM;
            tr_arena_done(&arena);
            assert_int_equal(live, before);
            assert_true(n < 1000);
        }
    }
    assert_true(failures > 200);
}

int main(void)
{
    tr_set_allocator(failing_realloc, counting_free);
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers_as_the_service_does),
                                       cmocka_unit_test(survives_want_of_memory),
                                       cmocka_unit_test(survives_failing_allocations)};
    return cmocka_run_group_tests_name("expr_vectors", tests, read_file, drop_file);
}
