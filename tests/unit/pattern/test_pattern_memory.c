/* SPDX-License-Identifier: MIT */
/** Every allocation fails once: nothing may crash, leak, or be wrong without saying so. */
#include "pattern_test.h"

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
    live -= ptr != NULL;
    free(ptr);
}

static const char *const rules[] = {
    "{\"a\":[\"x\",1,true,{\"prefix\":\"p\"},{\"suffix\":\"s\"},{\"wildcard\":\"a*b*c\"},{\"cidr\":\"10.0.0."
    "0/8\"}]}",
    "{\"a\":[{\"prefix\":{\"equals-ignore-case\":\"P\"}},{\"suffix\":{\"equals-ignore-case\":\"S\"}},{"
    "\"numeric\":[\">\",5]}]}",
    "{\"b\":{\"c\":[{\"anything-but\":[\"x\",\"y\"]}],\"d\":[{\"exists\":false}]}}",
    "{\"$or\":[{\"a\":[{\"wildcard\":\"*x*y*\"}]},{\"b.c\":[{\"anything-but\":{\"wildcard\":[\"q*r\",\"*b*\"]"
    "}}]}]}",
    "{\"a\":[{\"wildcard\":\"*tail*end\"},{\"wildcard\":\"head*x*\"}],\"e\":[{\"exists\":true}]}"};
static const char event[] =
    "{\"a\":[\"\\u0070refix\",\"tail and end\",6],\"b\":[{\"c\":\"z\"},{\"c\":\"w\",\"d\":1}],\"e\":null}";

/* What matches, as a bit per rule; or the error of the first call that failed, after repeating it. */
static int run(unsigned *ret_matched, bool *ret_failed)
{
    tr_matcher *m = NULL;
    tr_match_ctx *c = NULL;
    tr_error err;
    const uint64_t *ids = NULL;
    size_t count = 0;
    bool failed = false;
    int e;
    /* each step is tried until it succeeds: a failure must leave all as it was */
#define AGAIN(call)                                                                                          \
    while ((e = (call)) != 0) {                                                                              \
        if (e != TR_ENOMEM)                                                                                  \
            return e;                                                                                        \
        failed = true;                                                                                       \
    }
    AGAIN(tr_matcher_new(NULL, &m));
    AGAIN(tr_match_ctx_new(NULL, &c));
    for (size_t i = 0; i < TR_COUNT(rules); i++) {
        tr_pattern *p = NULL;
        AGAIN(tr_pattern_compile(tr_view_str(rules[i]), NULL, &p, &err));
        AGAIN(tr_matcher_add(m, i, p));
        bool alone;
        AGAIN(tr_pattern_match(p, NULL, tr_view_str(event), &alone, &err));
        tr_pattern_free(p);
    }
    AGAIN(tr_matcher_freeze(m));
    AGAIN(tr_matcher_match(m, c, tr_view_str(event), &ids, &count, &err));
#undef AGAIN
    *ret_matched = 0;
    for (size_t i = 0; i < count; i++)
        *ret_matched |= 1u << ids[i];
    *ret_failed = failed;
    tr_match_ctx_free(c);
    tr_matcher_free(m);
    return 0;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    unsigned expected = 0, matched = 0;
    bool failed = false;
    allowed = -1;
    assert_int_equal(run(&expected, &failed), 0);
    assert_int_equal(live, 0);
    assert_int_equal(expected, 0x1f);
    for (long n = 0;; n++) {
        allowed = n;
        assert_int_equal(run(&matched, &failed), 0);
        assert_int_equal(matched, expected);
        assert_int_equal(live, 0);
        if (!failed) {
            assert_true(n > 100);
            break;
        }
    }
}

int main(void)
{
    tr_set_allocator(failing_realloc, counting_free);
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
