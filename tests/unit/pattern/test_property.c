/* SPDX-License-Identifier: MIT */
/**
 * Promise: whatever rules are in a matcher, however they came there, an event matches exactly those that the
 * plain matcher of oracle.c says, each once; and a pattern alone says the same.
 *
 * TR_TEST_ROUNDS and TR_TEST_SEED change how long and from where.
 */
#include "../test.h"

#include <stdlib.h>

#include <tailrace/pattern.h>

#include "generate.h"
#include "oracle.h"

#define RULES 40

struct rule {
    bool live;
    tr_pattern *pattern;
    cJSON *json;
    char *text;
};

struct world {
    tr_rng rng;
    tr_matcher *matcher;
    tr_match_ctx *ctx;
    struct rule rules[RULES];
    size_t matches;
};

static char *take(tr_buf *buf)
{
    assert_int_equal(tr_buf_status(buf), 0);
    char *text = strdup(tr_buf_cstr(buf));
    assert_non_null(text);
    tr_buf_done(buf);
    return text;
}

static void drop_rule(struct world *w, size_t i)
{
    struct rule *r = &w->rules[i];
    if (!r->live)
        return;
    assert_int_equal(tr_matcher_remove(w->matcher, i), 0);
    tr_pattern_free(r->pattern);
    cJSON_Delete(r->json);
    free(r->text);
    *r = (struct rule){0};
}

static void make_rule(struct world *w, size_t i)
{
    struct rule *r = &w->rules[i];
    const tr_pattern_options options = {.max_complexity = 1000, .max_length = TR_PATTERN_LENGTH_CEILING};
    tr_error err;
    tr_buf buf;
    drop_rule(w, i);
    tr_buf_init(&buf, 1 << 16);
    generate_pattern(&w->rng, &buf);
    r->text = take(&buf);
    if (tr_pattern_compile(tr_view_str(r->text), &options, &r->pattern, &err))
        fail_msg("%s: %s", r->text, err.message);
    r->json = cJSON_Parse(r->text);
    assert_non_null(r->json);
    assert_int_equal(tr_matcher_add(w->matcher, i, r->pattern), 0);
    r->live = true;
}

static void check_event(struct world *w, const char *event)
{
    const uint64_t *ids;
    size_t count;
    tr_error err;
    bool found[RULES] = {false}, alone;
    cJSON *json = cJSON_Parse(event);
    assert_non_null(json);
    if (tr_matcher_match(w->matcher, w->ctx, tr_view_str(event), &ids, &count, &err))
        fail_msg("%s: %s", event, err.message);
    for (size_t i = 0; i < count; i++) {
        assert_true(ids[i] < RULES);
        assert_false(found[ids[i]]); /* each once */
        found[ids[i]] = true;
    }
    w->matches += count;
    for (size_t i = 0; i < RULES; i++) {
        bool expected = w->rules[i].live && oracle_match(w->rules[i].json, json);
        if (found[i] != expected)
            fail_msg("%s\n%s\nmatcher says %d, oracle says %d", w->rules[i].text, event, found[i], expected);
        if (!w->rules[i].live || i % 8)
            continue;
        assert_int_equal(tr_pattern_match(w->rules[i].pattern, w->ctx, tr_view_str(event), &alone, &err), 0);
        assert_int_equal(alone, expected);
    }
    cJSON_Delete(json);
}

static void round_of_changes(struct world *w)
{
    for (size_t n = tr_rng_below(&w->rng, 8); n; n--) {
        size_t i = (size_t)tr_rng_below(&w->rng, RULES);
        if (tr_rng_below(&w->rng, 4))
            make_rule(w, i);
        else
            drop_rule(w, i);
    }
    assert_int_equal(tr_matcher_freeze(w->matcher), 0);
    for (int n = 0; n < 10; n++) {
        tr_buf buf;
        tr_buf_init(&buf, 1 << 20);
        generate_event(&w->rng, &buf);
        char *event = take(&buf);
        check_event(w, event);
        free(event);
    }
}

static unsigned long setting(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    return text ? strtoul(text, NULL, 10) : otherwise;
}

static void agrees_with_the_plain_matcher(void **state)
{
    (void)state;
    struct world w = {0};
    tr_rng_seed(&w.rng, setting("TR_TEST_SEED", 1));
    assert_int_equal(tr_matcher_new(NULL, &w.matcher), 0);
    assert_int_equal(tr_match_ctx_new(NULL, &w.ctx), 0);
    for (size_t i = 0; i < RULES; i++)
        make_rule(&w, i);
    unsigned long rounds = setting("TR_TEST_ROUNDS", 1000);
    for (unsigned long n = 0; n < rounds; n++)
        round_of_changes(&w);
    assert_true(w.matches > rounds * 5); /* the generators still meet */
    for (size_t i = 0; i < RULES; i++)
        drop_rule(&w, i);
    assert_int_equal(tr_matcher_count(w.matcher), 0);
    tr_match_ctx_free(w.ctx);
    tr_matcher_free(w.matcher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_the_plain_matcher)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
