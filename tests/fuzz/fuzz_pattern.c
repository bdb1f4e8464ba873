/* SPDX-License-Identifier: MIT */
/**
 * Event patterns on any bytes. The input is lines: patterns, and an event in the last one. Nothing crashes; a
 * pattern matches alone as it does among others; an event that the strict reader takes is taken here too.
 */
#include <assert.h>
#include <stdlib.h>

#include <tailrace/json.h>
#include <tailrace/pattern.h>

#define RULES_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_object(tr_view text)
{
    tr_arena arena;
    tr_json_reader r;
    tr_arena_init(&arena, 16 << 20);
    tr_json_init(&r, text, &arena);
    bool object =
        tr_json_next(&r) == TR_JSON_OBJECT && tr_json_skip(&r) == 0 && tr_json_next(&r) == TR_JSON_DONE;
    tr_arena_done(&arena);
    return object;
}

static void check_event(const tr_matcher *m, tr_pattern *const *patterns, unsigned count, tr_view event)
{
    tr_match_ctx *c;
    tr_error err;
    const uint64_t *ids = NULL;
    size_t matched = 0;
    unsigned among = 0;
    assert(tr_match_ctx_new(NULL, &c) == 0);
    int e = tr_matcher_match(m, c, event, &ids, &matched, &err);
    assert(e == 0 || e == TR_EPARSE || e == TR_ELIMIT);
    assert(e != TR_EPARSE || !is_object(event));
    for (size_t i = 0; e == 0 && i < matched; i++) {
        assert(ids[i] < count && !(among >> ids[i] & 1));
        among |= 1u << ids[i];
    }
    for (unsigned i = 0; e == 0 && i < count; i++) {
        bool alone = false;
        int f = tr_pattern_match(patterns[i], c, event, &alone, &err);
        /* alone, a pattern looks at less of the event, so that it may overlook damage, but not find more */
        assert(f == 0 && alone == (among >> i & 1));
    }
    tr_match_ctx_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const tr_pattern_options options = {.max_length = 8192, .max_combinations = 64, .max_complexity = 1000};
    tr_pattern *patterns[RULES_MAX];
    unsigned count = 0;
    tr_matcher *m;
    tr_view rest = tr_view_of(data, size);
    assert(tr_matcher_new(NULL, &m) == 0);
    for (size_t end; (end = tr_view_find(rest, TR_VIEW("\n"), 0)) != SIZE_MAX && count < RULES_MAX;) {
        tr_error err;
        int e = tr_pattern_compile(tr_view_of(rest.ptr, end), &options, &patterns[count], &err);
        assert(e == 0 || (e == TR_EINVAL && err.http_status == 400));
        if (e == 0) {
            e = tr_matcher_add(m, count, patterns[count]);
            assert(e == 0);
            count++;
        }
        rest = tr_view_of(rest.ptr + end + 1, rest.len - end - 1);
    }
    assert(tr_matcher_freeze(m) == 0);
    check_event(m, patterns, count, rest);
    for (unsigned i = 0; i < count; i++)
        tr_pattern_free(patterns[i]);
    tr_matcher_free(m);
    return 0;
}
