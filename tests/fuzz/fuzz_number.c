/* SPDX-License-Identifier: MIT */
/**
 * Numbers from any text: two of them, parted by a comma. Their forms give them back, their order is that of
 * their doubles, and sums keep the rules of arithmetic or say why they cannot be held. strtod is the oracle.
 */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include <tailrace/item.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct number {
    uint8_t bytes[TR_NUMBER_PACKED_MAX];
    size_t len;
} number;

static tr_view view(const number *n)
{
    return tr_view_of(n->bytes, n->len);
}

static bool same(const number *a, const number *b)
{
    return tr_view_eq(view(a), view(b));
}

static bool parse(tr_view text, number *n)
{
    tr_number_problem problem;
    int e = tr_number_parse(text, n->bytes, &n->len, &problem);
    assert((e == 0) == (problem == TR_NUMBER_OK));
    assert((e == TR_EPARSE) == (problem == TR_NUMBER_MALFORMED));
    return e == 0;
}

static double oracle(tr_view text)
{
    char *copy = malloc(text.len + 1), *end;
    assert(copy);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    double d = strtod(copy, &end);
    assert(end == copy + text.len);
    free(copy);
    return d;
}

static void alone(tr_view text, const number *n)
{
    char out[TR_NUMBER_TEXT_MAX];
    number again;
    int64_t whole;
    assert(n->len >= 1 && n->len <= TR_NUMBER_PACKED_MAX);
    size_t len = tr_number_format(view(n), out);
    assert(len <= TR_NUMBER_TEXT_MAX && parse(tr_view_of(out, len), &again) && same(n, &again));
    len = tr_number_format_js(view(n), out);
    assert(parse(tr_view_of(out, len), &again) && same(n, &again));
    size_t size = tr_number_size(view(n));
    assert(size >= 1 && size <= 22);
    double d = tr_number_to_double(view(n));
    assert(d == oracle(text));
    len = tr_double_format(d, out);
    assert(oracle(tr_view_of(out, len)) == d);
    if (tr_number_to_i64(view(n), &whole) == 0) {
        again.len = tr_number_from_i64(whole, again.bytes);
        assert(same(n, &again));
    }
}

static void together(const number *a, const number *b)
{
    int order = tr_view_cmp(view(a), view(b));
    double x = tr_number_to_double(view(a)), y = tr_number_to_double(view(b));
    assert(x == y || (x < y) == (order < 0));
    assert(order == 0 || (!tr_view_starts(view(a), view(b)) && !tr_view_starts(view(b), view(a))));
    number sum, other;
    tr_number_problem problem, other_problem;
    int e = tr_number_add(view(a), view(b), false, sum.bytes, &sum.len, &problem);
    assert(tr_number_add(view(b), view(a), false, other.bytes, &other.len, &other_problem) == e);
    assert(problem == other_problem);
    if (e == 0) {
        assert(same(&sum, &other));
        assert(tr_number_add(view(&sum), view(b), true, other.bytes, &other.len, NULL) == 0 &&
               same(&other, a));
    }
    e = tr_number_add(view(a), view(b), true, sum.bytes, &sum.len, &problem);
    if (e == 0) {
        number zero = {{2}, 1};
        assert((order == 0) == same(&sum, &zero));
        assert(order == 0 || (tr_view_cmp(view(&sum), view(&zero)) < 0) == (order < 0));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *comma = size ? memchr(data, ',', size) : NULL;
    size_t first = comma ? (size_t)(comma - data) : size;
    tr_view left = tr_view_of(data, first);
    tr_view right = comma ? tr_view_of(comma + 1, size - first - 1) : left;
    number a, b;
    bool is_a = parse(left, &a), is_b = parse(right, &b);
    if (is_a)
        alone(left, &a);
    if (is_b)
        alone(right, &b);
    if (is_a && is_b)
        together(&a, &b);
    if (size == 8) {
        double d;
        char out[33];
        memcpy(&d, data, 8);
        size_t len = tr_double_format(d, out);
        assert(len <= 32 && (!isfinite(d) || oracle(tr_view_of(out, len)) == d));
    }
    return 0;
}
