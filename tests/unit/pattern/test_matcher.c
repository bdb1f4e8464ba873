/* SPDX-License-Identifier: MIT */
/** Many rules: coming and going, limits, threads; and events that are damaged, deep, large or made to be
 * slow. */
#include "pattern_test.h"

#include <pthread.h>

#include "pattern/match.h"

struct fixture {
    tr_matcher *m;
    tr_match_ctx *c;
    const uint64_t *ids;
    size_t count;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(tr_matcher_new(NULL, &f->m), 0);
    assert_int_equal(tr_match_ctx_new(NULL, &f->c), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tr_match_ctx_free(f->c);
    tr_matcher_free(f->m);
    free(f);
    return 0;
}

static int match(struct fixture *f, const char *event)
{
    tr_error err;
    return tr_matcher_match(f->m, f->c, tr_view_str(event), &f->ids, &f->count, &err);
}

static bool found(const struct fixture *f, uint64_t id)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->ids[i] == id)
            return true;
    return false;
}

static void gives_the_ids_of_matching_rules(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(match(f, "{\"a\":1}"), 0);
    assert_int_equal(f->count, 0); /* no rules yet */
    add_rule(f->m, 7, "{\"a\":[\"x\"]}");
    add_rule(f->m, 0, "{\"a\":[{\"prefix\":\"x\"}],\"b\":[{\"exists\":false}]}");
    add_rule(f->m, UINT64_MAX - 1, "{\"$or\":[{\"a\":[\"x\"]},{\"c\":[1]},{\"a\":[{\"suffix\":\"x\"}]}]}");
    assert_int_equal(match(f, "{\"a\":\"x\"}"), TR_EINVAL); /* not frozen */
    assert_int_equal(tr_matcher_freeze(f->m), 0);
    assert_int_equal(match(f, "{\"a\":\"x\"}"), 0);
    assert_int_equal(f->count, 3);
    assert_int_equal(match(f, "{\"a\":\"xx\",\"b\":null}"), 0);
    assert_int_equal(f->count, 1);
    assert_true(found(f, UINT64_MAX - 1));
    assert_true(tr_matcher_bytes(f->m) > 100);
}

static void ids_are_taken_once(void **state)
{
    struct fixture *f = *state;
    tr_pattern *p = compiled("{\"a\":[1]}");
    assert_int_equal(tr_matcher_add(f->m, 1, p), 0);
    assert_int_equal(tr_matcher_add(f->m, 1, p), TR_EEXIST);
    assert_int_equal(tr_matcher_add(f->m, UINT64_MAX, p), TR_EINVAL);
    assert_int_equal(tr_matcher_remove(f->m, 2), TR_ENOTFOUND);
    assert_int_equal(tr_matcher_remove(f->m, UINT64_MAX), TR_ENOTFOUND);
    assert_int_equal(tr_matcher_remove(f->m, 1), 0);
    assert_int_equal(tr_matcher_remove(f->m, 1), TR_ENOTFOUND);
    assert_int_equal(tr_matcher_add(f->m, 1, p), 0);
    assert_int_equal(tr_matcher_count(f->m), 1);
    tr_pattern_free(p);
}

static void removed_rules_match_no_more_and_give_back_memory(void **state)
{
    struct fixture *f = *state;
    char text[128];
    add_rule(f->m, 1000000, "{\"k\":[{\"wildcard\":\"v*e*\"}]}");
    for (int round = 0; round < 20; round++) {
        for (uint64_t i = 0; i < 300; i++) {
            (void)snprintf(text, sizeof text, "{\"k%d\":[\"value-%d-%d\"],\"k\":[\"value\"]}", (int)i % 7,
                           round, (int)i);
            add_rule(f->m, i, text);
        }
        assert_int_equal(tr_matcher_freeze(f->m), 0);
        (void)snprintf(text, sizeof text, "{\"k0\":\"value-%d-14\",\"k\":\"value\"}", round);
        assert_int_equal(match(f, text), 0);
        assert_int_equal(f->count, 2);
        assert_true(found(f, 14) && found(f, 1000000));
        for (uint64_t i = 0; i < 300; i++)
            assert_int_equal(tr_matcher_remove(f->m, i), 0);
        assert_int_equal(match(f, text), 0); /* removing needs no freeze */
        assert_int_equal(f->count, 1);
    }
    assert_int_equal(tr_matcher_freeze(f->m), 0);
    assert_int_equal(match(f, text), 0);
    assert_int_equal(f->count, 1);
    assert_true(tr_matcher_bytes(f->m) < 16384);
}

static void a_context_serves_several_matchers(void **state)
{
    struct fixture *f = *state;
    tr_matcher *other;
    const uint64_t *ids;
    size_t count;
    assert_int_equal(tr_matcher_new(NULL, &other), 0);
    add_rule(f->m, 1, "{\"a\":[1]}");
    add_rule(other, 2, "{\"b\":[1],\"a\":[{\"anything-but\":2}]}");
    add_rule(other, 3, "{\"b\":[1]}");
    assert_int_equal(tr_matcher_freeze(f->m), 0);
    assert_int_equal(tr_matcher_freeze(other), 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(match(f, "{\"a\":1,\"b\":1}"), 0);
        assert_int_equal(f->count, 1);
        assert_int_equal(tr_matcher_match(other, f->c, TR_VIEW("{\"a\":2,\"b\":1}"), &ids, &count, NULL), 0);
        assert_int_equal(count, 1);
        assert_int_equal(ids[0], 3);
    }
    tr_matcher_free(other);
}

static void limits_of_matchers(void **state)
{
    (void)state;
    const tr_matcher_options few = {.max_rules = 2, .max_conditions = 5, .max_bytes = 100000};
    tr_matcher *m;
    assert_int_equal(tr_matcher_new(&few, &m), 0);
    tr_pattern *one = compiled("{\"a\":[1]}"), *six = compiled("{\"$or\":[{\"a\":[1],\"b\":[1],\"c\":[1]},"
                                                               "{\"d\":[1],\"e\":[1],\"f\":[1]}]}");
    assert_int_equal(tr_matcher_add(m, 1, six), TR_ELIMIT);
    assert_int_equal(tr_matcher_add(m, 1, one), 0);
    assert_int_equal(tr_matcher_add(m, 2, one), 0);
    assert_int_equal(tr_matcher_add(m, 3, one), TR_ELIMIT);
    assert_int_equal(tr_matcher_remove(m, 1), 0);
    assert_int_equal(tr_matcher_add(m, 3, one), 0);
    tr_pattern_free(one);
    tr_pattern_free(six);
    tr_matcher_free(m);
}

static void the_bytes_limit_refuses_rules_and_harms_none(void **state)
{
    struct fixture *f = *state;
    const tr_matcher_options small = {.max_bytes = 20000};
    tr_matcher *m;
    const uint64_t *ids;
    size_t count;
    char text[256];
    uint64_t added = 0;
    assert_int_equal(tr_matcher_new(&small, &m), 0);
    for (;; added++) {
        (void)snprintf(text, sizeof text, "{\"a\":[\"a text of some length, number %d\"]}", (int)added);
        tr_pattern *p = compiled(text);
        int e = tr_matcher_add(m, added, p);
        tr_pattern_free(p);
        if (e) {
            assert_int_equal(e, TR_ELIMIT);
            break;
        }
    }
    assert_true(added > 10 && added < 1000);
    assert_int_equal(tr_matcher_freeze(m), 0);
    (void)snprintf(text, sizeof text, "{\"a\":\"a text of some length, number %d\"}", (int)added - 1);
    assert_int_equal(tr_matcher_match(m, f->c, tr_view_str(text), &ids, &count, NULL), 0);
    assert_int_equal(count, 1);
    tr_matcher_free(m);
}

static void events_that_are_not_objects_are_refused(void **state)
{
    struct fixture *f = *state;
    add_rule(f->m, 1, "{\"a\":[1],\"b\":{\"c\":[\"x\"]}}");
    assert_int_equal(tr_matcher_freeze(f->m), 0);
    static const char *const bad[] = {"",
                                      " ",
                                      "1",
                                      "[]",
                                      "\"a\"",
                                      "{",
                                      "{\"a\"",
                                      "{\"a\":",
                                      "{\"a\":1",
                                      "{\"a\":1,",
                                      "{\"a\":1,}",
                                      "{\"a\":}",
                                      "{\"a\" 1}",
                                      "{\"a\":1}}",
                                      "{\"a\":1} x",
                                      "{a:1}",
                                      "{\"a\":01}",
                                      "{\"a\":1.}",
                                      "{\"a\":-}",
                                      "{\"a\":1e}",
                                      "{\"a\":tru}",
                                      "{\"a\":[1}",
                                      "{\"a\":[1,}",
                                      "{\"a\":[,1]}",
                                      "{\"a\":\"x}",
                                      "{\"a\":\"\\x\"}",
                                      "{\"a\":\"\\ud800\"}",
                                      "{\"a\":\"\\u12\"}",
                                      "{\"a\":\"\\",
                                      "{\"b\":{\"c\":\"x\"}",
                                      "{\"b\":{\"c\":\"x\"]}",
                                      "{\"z\":{\"y\":[}",
                                      "{\"z\":\"",
                                      "{\"z\":\"\\",
                                      "{\"\\q\":1}",
                                      "{\"z\":}",
                                      "{\"z\":[[[\"]\"]]}"};
    for (size_t i = 0; i < TR_COUNT(bad); i++) {
        tr_error err;
        int e = tr_matcher_match(f->m, f->c, tr_view_str(bad[i]), &f->ids, &f->count, &err);
        if (e != TR_EPARSE)
            fail_msg("%s: %d", bad[i], e);
        assert_string_equal(err.message, "the event is not a JSON object");
    }
    assert_int_equal(match(f, " { \"z\" : [ ] , \"a\" : 1 , \"b\" : { \"c\" : \"x\" } } \n"), 0);
    assert_int_equal(f->count, 1);
}

/* {"a":{"a":…}} or {"a":[[…]]} of so many levels */
static char *nested(const char *open, const char *close, int levels)
{
    tr_buf buf;
    tr_buf_init(&buf, 1 << 20);
    tr_buf_put_str(&buf, "{\"a\":");
    for (int i = 0; i < levels; i++)
        tr_buf_put_str(&buf, open);
    tr_buf_put_str(&buf, "1");
    for (int i = 0; i < levels; i++)
        tr_buf_put_str(&buf, close);
    tr_buf_put_str(&buf, "}");
    char *text = strdup(tr_buf_cstr(&buf));
    assert_non_null(text);
    tr_buf_done(&buf);
    return text;
}

static void limits_of_events(void **state)
{
    struct fixture *f = *state;
    const tr_match_options small = {.max_event_bytes = 100, .max_values = 3};
    tr_match_ctx *c;
    add_rule(f->m, 1, "{\"a\":[1]}");
    assert_int_equal(tr_matcher_freeze(f->m), 0);
    char *deep = nested("[", "]", 255), *deeper = nested("[", "]", 256),
         *skipped = nested("{\"z\":[", "]}", 20000);
    assert_int_equal(match(f, deep), 0);
    assert_int_equal(f->count, 1);
    assert_int_equal(match(f, deeper), TR_ELIMIT);
    assert_int_equal(match(f, skipped), 0); /* what is passed over may be as deep as it likes */
    assert_int_equal(f->count, 0);
    assert_int_equal(tr_match_ctx_new(&small, &c), 0);
    assert_int_equal(tr_matcher_match(f->m, c, TR_VIEW("{\"a\":[1,2,3]}"), &f->ids, &f->count, NULL), 0);
    assert_int_equal(tr_matcher_match(f->m, c, TR_VIEW("{\"a\":[1,2,3,4]}"), &f->ids, &f->count, NULL),
                     TR_ELIMIT);
    assert_int_equal(tr_matcher_match(f->m, c, tr_view_str(deep), &f->ids, &f->count, NULL), TR_ELIMIT);
    tr_match_ctx_free(c);
    free(deep);
    free(deeper);
    free(skipped);
}

/* {"a":[{"x":1},…,{"y":1},…],"b":[…the same…]} */
static tr_buf split_arrays(int n)
{
    tr_buf buf;
    tr_buf_init(&buf, 16 << 20);
    for (int array = 0; array < 2; array++) {
        tr_buf_printf(&buf, "%s:[", array ? ",\"b\"" : "{\"a\"");
        for (int i = 0; i < n; i++)
            tr_buf_printf(&buf, "%s{\"x\":1,\"z\":%d}", i ? "," : "", i);
        for (int i = 0; i < n; i++)
            tr_buf_put_str(&buf, ",{\"y\":1}");
        tr_buf_put_str(&buf, "]");
    }
    tr_buf_put_str(&buf, "}");
    return buf;
}

static void arrays_take_time_in_their_length_not_its_square(void **state)
{
    struct fixture *f = *state;
    add_rule(f->m, 1, "{\"a\":{\"x\":[1],\"y\":[1]}}");
    add_rule(f->m, 2, "{\"a\":{\"x\":[1],\"z\":[{\"anything-but\":-1}]},\"b\":{\"x\":[1],\"y\":[1]}}");
    add_rule(f->m, 3, "{\"a\":{\"x\":[1],\"y\":[{\"exists\":false}]},\"b\":{\"x\":[1],\"z\":[19999]}}");
    assert_int_equal(tr_matcher_freeze(f->m), 0);
    /* 20,000 elements: a product of two lengths would be 4e8 steps, and the limit is 1.6e7 */
    tr_buf event = split_arrays(20000);
    tr_error err;
    assert_int_equal(tr_matcher_match(f->m, f->c, tr_buf_view(&event), &f->ids, &f->count, &err), 0);
    assert_int_equal(f->count, 1);
    assert_true(found(f, 3));
    tr_buf_done(&event);
}

static void steps_are_limited(void **state)
{
    struct fixture *f = *state;
    const tr_match_options few = {.max_steps = 100};
    tr_match_ctx *c;
    add_rule(f->m, 1, "{\"a\":{\"x\":[1],\"y\":[1]}}");
    assert_int_equal(tr_matcher_freeze(f->m), 0);
    assert_int_equal(tr_match_ctx_new(&few, &c), 0);
    tr_buf event = split_arrays(100);
    assert_int_equal(tr_matcher_match(f->m, c, tr_buf_view(&event), &f->ids, &f->count, NULL), TR_ELIMIT);
    assert_int_equal(
        tr_matcher_match(f->m, c, TR_VIEW("{\"a\":[{\"x\":1,\"y\":1}]}"), &f->ids, &f->count, NULL), 0);
    assert_int_equal(f->count, 1);
    tr_buf_done(&event);
    tr_match_ctx_free(c);
}

static void wildcards_made_to_be_slow_are_not(void **state)
{
    struct fixture *f = *state;
    tr_buf buf;
    tr_buf_init(&buf, 1 << 20);
    tr_buf_put_str(&buf, "{\"a\":[{\"wildcard\":\"");
    for (int i = 0; i < 400; i++)
        tr_buf_put_str(&buf, "*a");
    tr_buf_put_str(&buf, "*b\"}]}");
    add_rule(f->m, 1, tr_buf_cstr(&buf));
    assert_int_equal(tr_matcher_freeze(f->m), 0);
    tr_buf_reset(&buf);
    tr_buf_put_str(&buf, "{\"a\":\"");
    for (int i = 0; i < 100000; i++)
        tr_buf_putc(&buf, 'a');
    tr_buf_put_str(&buf, "\"}");
    int64_t start = tr_clock_mono_ms();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(tr_matcher_match(f->m, f->c, tr_buf_view(&buf), &f->ids, &f->count, NULL), 0);
        assert_int_equal(f->count, 0);
    }
    assert_true(tr_clock_mono_ms() - start <
                60000); /* it takes some 50 ms; following all ways would take for ever */
    tr_buf_done(&buf);
}

/* {"a":[VALUE,VALUE,…]} */
static tr_buf repeated(const char *value, int n)
{
    tr_buf buf;
    tr_buf_init(&buf, 16 << 20);
    for (int i = 0; i < n; i++)
        tr_buf_printf(&buf, "%s%s", i ? "," : "{\"a\":[", value);
    tr_buf_put_str(&buf, "]}");
    return buf;
}

/* Many rules' tests true of each of many values: the work is cut off, with an error that says so. */
static void events_made_to_be_slow_are_refused(void **state)
{
    struct fixture *f = *state;
    char text[1200], xs[1001] = "";
    for (int i = 0; i < 1000; i++) {
        xs[i] = 'x';
        xs[i + 1] = 0;
        (void)snprintf(text, sizeof text, "{\"a\":[{\"anything-but\":{\"prefix\":\"%s\"}}]}", xs);
        add_rule(f->m, (uint64_t)i, text);
        (void)snprintf(text, sizeof text, "{\"a\":[{\"numeric\":[\">\",%d]}]}", i);
        add_rule(f->m, 10000 + (uint64_t)i, text);
    }
    assert_int_equal(tr_matcher_freeze(f->m), 0);
    (void)snprintf(text, sizeof text, "\"%s\"", xs);
    tr_buf strings = repeated(text, 3000), numbers = repeated("5000", 100000), few = repeated("5000", 1000);
    tr_error err;
    tr_buf *slow[] = {&strings, &numbers};
    for (size_t i = 0; i < TR_COUNT(slow); i++) {
        int e = tr_matcher_match(f->m, f->c, tr_buf_view(slow[i]), &f->ids, &f->count, &err);
        assert_int_equal(e, i == 0 ? 0 : TR_ELIMIT); /* 6 million steps; 100 million */
    }
    assert_non_null(strstr(err.message, "steps"));
    assert_int_equal(tr_matcher_match(f->m, f->c, tr_buf_view(&few), &f->ids, &f->count, &err), 0);
    assert_int_equal(f->count, 2000);
    tr_buf_done(&strings);
    tr_buf_done(&numbers);
    tr_buf_done(&few);
}

/* After 2^32 events the context's stamps begin again. */
static void stamps_may_wrap(void **state)
{
    struct fixture *f = *state;
    add_rule(f->m, 1, "{\"a\":[\"x\",{\"anything-but\":{\"wildcard\":\"y*z*\"}}]}");
    add_rule(f->m, 2, "{\"b\":[{\"exists\":true}],\"a\":[{\"wildcard\":\"y*z*\"}]}");
    assert_int_equal(tr_matcher_freeze(f->m), 0);
    assert_int_equal(match(f, "{\"a\":\"x\"}"), 0);
    f->c->epoch = f->c->serial = UINT32_MAX - 3;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(match(f, i % 2 ? "{\"a\":\"yz\",\"b\":1}" : "{\"a\":\"x\"}"), 0);
        assert_int_equal(f->count, 1);
        assert_int_equal(f->ids[0], i % 2 ? 2 : 1);
    }
}

static void many_keys_are_found(void **state)
{
    struct fixture *f = *state;
    char text[64];
    for (int i = 0; i < 500; i++) {
        (void)snprintf(text, sizeof text, "{\"key-number-%d\":[%d]}", i, i);
        add_rule(f->m, (uint64_t)i, text);
    }
    assert_int_equal(tr_matcher_freeze(f->m), 0);
    assert_int_equal(
        match(f, "{\"key-number-499\":499,\"key-number-4\":4,\"key-number-5\":6,\"\\u006bey-number-6\":6}"),
        0);
    assert_int_equal(f->count, 3);
    assert_true(found(f, 499) && found(f, 4) && found(f, 6));
}

struct work {
    const tr_matcher *m;
    const tr_pattern *p;
    int wrong;
};

static void *match_often(void *arg)
{
    struct work *w = arg;
    tr_match_ctx *c;
    if (tr_match_ctx_new(NULL, &c))
        return NULL;
    for (int i = 0; i < 2000; i++) {
        const uint64_t *ids;
        size_t count = 0;
        bool alone = false;
        char event[64];
        (void)snprintf(event, sizeof event, "{\"a\":\"v%d\",\"b\":[{\"c\":%d}]}", i % 50, i % 3);
        int e = tr_matcher_match(w->m, c, tr_view_str(event), &ids, &count, NULL);
        w->wrong += e != 0 || count != (size_t)(i % 3 == 1 ? 2 : 1);
        e = tr_pattern_match(w->p, c, tr_view_str(event), &alone, NULL);
        w->wrong += e != 0 || alone != (i % 50 == 7);
    }
    tr_match_ctx_free(c);
    return NULL;
}

static void threads_share_a_matcher_and_a_pattern(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[4];
    struct work work[4];
    char text[64];
    for (int i = 0; i < 50; i++) {
        (void)snprintf(text, sizeof text, "{\"a\":[\"v%d\"]}", i);
        add_rule(f->m, (uint64_t)i, text);
    }
    add_rule(f->m, 100, "{\"b\":{\"c\":[1]}}");
    assert_int_equal(tr_matcher_freeze(f->m), 0);
    tr_pattern *p = compiled("{\"a\":[\"v7\"]}");
    for (int i = 0; i < 4; i++) {
        work[i] = (struct work){.m = f->m, .p = p};
        assert_int_equal(pthread_create(&threads[i], NULL, match_often, &work[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(work[i].wrong, 0);
    }
    tr_pattern_free(p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(gives_the_ids_of_matching_rules),
                                       TEST(ids_are_taken_once),
                                       TEST(removed_rules_match_no_more_and_give_back_memory),
                                       TEST(a_context_serves_several_matchers),
                                       TEST(limits_of_matchers),
                                       TEST(the_bytes_limit_refuses_rules_and_harms_none),
                                       TEST(events_that_are_not_objects_are_refused),
                                       TEST(limits_of_events),
                                       TEST(arrays_take_time_in_their_length_not_its_square),
                                       TEST(steps_are_limited),
                                       TEST(wildcards_made_to_be_slow_are_not),
                                       TEST(events_made_to_be_slow_are_refused),
                                       TEST(stamps_may_wrap),
                                       TEST(many_keys_are_found),
                                       TEST(threads_share_a_matcher_and_a_pattern)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
