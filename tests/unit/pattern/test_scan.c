/* SPDX-License-Identifier: MIT */
/**
 * Getting over JSON: the code with vector instructions and the portable code stop at the same place, which is
 * the one that a walk byte by byte finds; and neither reads a byte behind the end (the text lies at the end
 * of its block, which the sanitizers guard).
 */
#include "../test.h"

#include <stdlib.h>

#include "pattern/scan.h"

/* The portable functions, under other names. */
#define tr__scan_container portable_container
#undef TR__SSE2
const char *portable_container(const char *p, const char *end);
#include "pattern/scan.c" /* NOLINT(bugprone-suspicious-include): the other half of its conditional code */
#undef tr__scan_container
const char *tr__scan_container(const char *p, const char *end);

static const char *plain_container(const char *p, const char *end)
{
    size_t depth = 0;
    bool string = false;
    for (; p < end; p++) {
        if (*p == '\\') {
            /* outside of strings it is no JSON; a quote behind it is passed over all the same */
            p += string || (p + 1 < end && (p[1] == '"' || p[1] == '\\'));
        } else if (*p == '"') {
            string = !string;
        } else if (!string && (*p == '{' || *p == '[')) {
            depth++;
        } else if (!string && (*p == '}' || *p == ']') && --depth == 0) {
            return p + 1;
        }
    }
    return NULL;
}

static void check(const char *text, size_t len)
{
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    const char *expected = plain_container(copy, copy + len);
    assert_ptr_equal(tr__scan_container(copy, copy + len), expected);
    assert_ptr_equal(portable_container(copy, copy + len), expected);
    free(copy);
}

static void all_ways_stop_at_the_same_place(void **state)
{
    (void)state;
    static const char letters[] = "{}[]\"\\\"\\a ,:\xff{[}]";
    tr_rng rng;
    tr_rng_seed(&rng, 5);
    for (int round = 0; round < 20000; round++) {
        char text[300];
        size_t len = 1 + (size_t)tr_rng_below(&rng, sizeof text - 1), plain = (size_t)tr_rng_below(&rng, 20);
        text[0] = tr_rng_below(&rng, 2) ? '{' : '[';
        for (size_t i = 1; i < len; i++)
            text[i] = tr_rng_below(&rng, 20) < plain ? 'x' : letters[tr_rng_below(&rng, sizeof letters - 1)];
        check(text, len);
    }
}

static void escapes_at_every_place_of_a_block(void **state)
{
    (void)state;
    for (size_t at = 0; at < 140; at++) {
        for (size_t slashes = 0; slashes < 5; slashes++) {
            char text[200];
            size_t n = 0;
            text[n++] = '{';
            while (n < at + 1)
                text[n++] = ' ';
            text[n++] = '"';
            for (size_t i = 0; i < slashes; i++)
                text[n++] = '\\';
            memcpy(text + n, "\"}\"}", 4);
            check(text, n + 4);
        }
    }
}

static void strings_end_at_their_quote(void **state)
{
    (void)state;
    for (size_t len = 0; len < 70; len++) {
        for (size_t slash = 0; slash <= len; slash++) {
            char *text = malloc(len + 1);
            bool escaped = false;
            assert_non_null(text);
            memset(text, 'x', len);
            text[len] = '"';
            if (slash < len)
                text[slash] = '\\';
            const char *close = tr__scan_string(text, text + len + 1, &escaped);
            /* a backslash before the quote takes it away */
            assert_ptr_equal(close, slash + 1 == len ? NULL : text + len);
            assert_int_equal(escaped, slash < len);
            escaped = false;
            assert_null(tr__scan_string(text, text + len, &escaped));
            free(text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_ways_stop_at_the_same_place),
                                       cmocka_unit_test(escapes_at_every_place_of_a_block),
                                       cmocka_unit_test(strings_end_at_their_quote)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
