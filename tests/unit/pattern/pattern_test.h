/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_PATTERN_TEST_H
#define TAILRACE_PATTERN_TEST_H

/** What the tests of this room share. */

#include "../test.h"

#include <stdlib.h>

#include <tailrace/pattern.h>

/** Compiles a pattern that must be valid. */
static inline tr_pattern *compiled(const char *text)
{
    const tr_pattern_options options = {.max_complexity = TR_PATTERN_COMPLEXITY_CEILING,
                                        .max_length = TR_PATTERN_LENGTH_CEILING};
    tr_pattern *pattern;
    tr_error err;
    if (tr_pattern_compile(tr_view_str(text), &options, &pattern, &err))
        fail_msg("%s: %s", text, err.message);
    return pattern;
}

/** Whether one event matches one pattern, both valid. */
static inline bool matches(const char *pattern_text, const char *event)
{
    tr_pattern *pattern = compiled(pattern_text);
    bool match;
    tr_error err;
    if (tr_pattern_match(pattern, NULL, tr_view_str(event), &match, &err))
        fail_msg("%s: %s", event, err.message);
    tr_pattern_free(pattern);
    return match;
}

/** Adds a rule to a matcher. */
static inline void add_rule(tr_matcher *matcher, uint64_t id, const char *text)
{
    tr_pattern *pattern = compiled(text);
    assert_int_equal(tr_matcher_add(matcher, id, pattern), 0);
    tr_pattern_free(pattern);
}

#endif
