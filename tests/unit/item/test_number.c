/* SPDX-License-Identifier: MIT */
#include "item_test.h"

#include <stdlib.h>

static const char nines38[] = "99999999999999999999999999999999999999";

static void texts_and_their_normal_form(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"0", "0"},
        {"-0", "0"},
        {"+0.000", "0"},
        {"0e500", "0"},
        {"-0e-500", "0"},
        {"1", "1"},
        {"+1", "1"},
        {"-1", "-1"},
        {".5", "0.5"},
        {"5.", "5"},
        {"-.5e1", "-5"},
        {"007", "7"},
        {"1.500", "1.5"},
        {"10", "10"},
        {"100", "100"},
        {"1e5", "100000"},
        {"1E+5", "100000"},
        {"1e-5", "0.00001"},
        {"12.34e1", "123.4"},
        {"0.0012", "0.0012"},
        {"1e0000000000000000000001", "10"},
        {"123456789012345678901234567890123456780", "123456789012345678901234567890123456780"},
        {"12345678901234567890123456789012345678", "12345678901234567890123456789012345678"},
        {"0.12345678901234567890123456789012345678", "0.12345678901234567890123456789012345678"},
        {"1234567890123456789.0123456789012345678", "1234567890123456789.0123456789012345678"},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        char text[TR_NUMBER_TEXT_MAX];
        number n = number_of(cases[i].in);
        assert_string_equal(number_text(number_view(&n), text), cases[i].out);
        number again = number_of(text);
        assert_true(tr_view_eq(number_view(&n), number_view(&again)));
    }
}

static void what_is_no_number(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        tr_number_problem problem;
    } cases[] = {
        {"", TR_NUMBER_MALFORMED},
        {" ", TR_NUMBER_MALFORMED},
        {" 1", TR_NUMBER_MALFORMED},
        {"1 ", TR_NUMBER_MALFORMED},
        {"1_000", TR_NUMBER_MALFORMED},
        {"0x10", TR_NUMBER_MALFORMED},
        {"Infinity", TR_NUMBER_MALFORMED},
        {"NaN", TR_NUMBER_MALFORMED},
        {"-", TR_NUMBER_MALFORMED},
        {"+", TR_NUMBER_MALFORMED},
        {".", TR_NUMBER_MALFORMED},
        {"-.", TR_NUMBER_MALFORMED},
        {".e1", TR_NUMBER_MALFORMED},
        {"1e", TR_NUMBER_MALFORMED},
        {"1e+", TR_NUMBER_MALFORMED},
        {"e5", TR_NUMBER_MALFORMED},
        {"1e5.5", TR_NUMBER_MALFORMED},
        {"--1", TR_NUMBER_MALFORMED},
        {"1.2.3", TR_NUMBER_MALFORMED},
        {"1,0", TR_NUMBER_MALFORMED},
        {"1d", TR_NUMBER_MALFORMED},
        {"\xd9\xa3", TR_NUMBER_MALFORMED},
        {"1e99999999999", TR_NUMBER_MALFORMED},
        {"1e126", TR_NUMBER_OVERFLOW},
        {"-1e126", TR_NUMBER_OVERFLOW},
        {"1e2147483647", TR_NUMBER_OVERFLOW},
        {"100e124", TR_NUMBER_OVERFLOW},
        {"1e-131", TR_NUMBER_UNDERFLOW},
        {"9.99e-131", TR_NUMBER_UNDERFLOW},
        {"1e-2147483647", TR_NUMBER_UNDERFLOW},
        {"123456789012345678901234567890123456789", TR_NUMBER_PRECISION},
        {"1.00000000000000000000000000000000000001", TR_NUMBER_PRECISION},
        /* the digits are counted before the range is looked at */
        {"123456789012345678901234567890123456789e200", TR_NUMBER_PRECISION},
        {"123456789012345678901234567890123456789e-200", TR_NUMBER_PRECISION},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        uint8_t out[TR_NUMBER_PACKED_MAX];
        size_t len = 77;
        tr_number_problem problem;
        int e = tr_number_parse(tr_view_str(cases[i].text), out, &len, &problem);
        if (problem != cases[i].problem || e != (problem == TR_NUMBER_MALFORMED ? TR_EPARSE : TR_ELIMIT) ||
            len != 77)
            fail_msg("%s: %d, problem %d", cases[i].text, e, problem);
        assert_int_equal(tr_number_parse(tr_view_str(cases[i].text), out, &len, NULL), e);
    }
}

static void bounds_of_the_range(void **state)
{
    (void)state;
    char text[TR_NUMBER_TEXT_MAX];
    char expect[TR_NUMBER_TEXT_MAX];
    number least = number_of("-9.9999999999999999999999999999999999999E+125");
    (void)snprintf(expect, sizeof expect, "-%s%0*d", nines38, 126 - 38, 0);
    assert_string_equal(number_text(number_view(&least), text), expect);
    number tiny = number_of("1E-130");
    number_text(number_view(&tiny), text);
    assert_int_equal(strlen(text), 132);
    assert_int_equal(strspn(text + 2, "0"), 129);
    /* the longest text of all */
    number longest = number_of("-1.2345678901234567890123456789012345678e-130");
    assert_int_equal(strlen(number_text(number_view(&longest), text)), 170);
    assert_true(longest.len <= TR_NUMBER_PACKED_MAX);
    number odd = number_of("1.2345678901234567890123456789012345678");
    assert_int_equal(odd.len, TR_NUMBER_PACKED_MAX);
}

/* Very long texts with few digits are numbers; with many they are refused, whatever their length. */
static void long_texts(void **state)
{
    (void)state;
    static char text[5000];
    memset(text, '0', sizeof text);
    text[4990] = '7';
    uint8_t out[TR_NUMBER_PACKED_MAX];
    char plain[TR_NUMBER_TEXT_MAX];
    size_t len;
    tr_number_problem problem;
    assert_int_equal(tr_number_parse(tr_view_of(text, 4991), out, &len, NULL), 0);
    assert_string_equal(number_text(tr_view_of(out, len), plain), "7");
    text[0] = '1';
    text[1] = '.';
    assert_int_equal(tr_number_parse(tr_view_of(text, 4990), out, &len, NULL), 0);
    assert_int_equal(tr_number_parse(tr_view_of(text, 4991), out, &len, &problem), TR_ELIMIT);
    assert_int_equal(problem, TR_NUMBER_PRECISION);
    text[0] = '0';
    assert_int_equal(tr_number_parse(tr_view_of(text, 4991), out, &len, &problem), TR_ELIMIT);
    assert_int_equal(problem, TR_NUMBER_UNDERFLOW);
    memset(text, '0', sizeof text);
    (void)snprintf(text + 4980, 20, "1e-4900");
    text[0] = '.';
    assert_int_equal(tr_number_parse(tr_view_of(text, 4987), out, &len, &problem), TR_ELIMIT);
    memset(text, '0', sizeof text);
    text[0] = '3';
    memcpy(text + 4900, "e-4899", 6);
    assert_int_equal(tr_number_parse(tr_view_of(text, 4906), out, &len, NULL), 0);
    assert_string_equal(number_text(tr_view_of(out, len), plain), "3");
}

/* ------------------------------------------------------------------------------------------- ordering */

/* A second opinion on a number's text: sign, place of the first digit, digits. */
typedef struct taken_apart {
    int sign; /* -1, 0, 1 */
    int place;
    char digits[48];
} taken_apart;

static taken_apart take_apart(const char *text)
{
    taken_apart t = {.sign = *text == '-' ? -1 : 1};
    const char *p = text + (*text == '-');
    int place = 0;
    size_t n = 0;
    bool point = false;
    for (; *p && *p != 'e'; p++) {
        if (*p == '.') {
            point = true;
        } else if (n > 0 || *p != '0') {
            t.digits[n++] = *p;
            place += !point;
        } else {
            place -= point;
        }
    }
    t.place = place + (*p ? atoi(p + 1) : 0);
    while (n > 0 && t.digits[n - 1] == '0')
        t.digits[--n] = 0;
    if (n == 0)
        t = (taken_apart){.sign = 0};
    return t;
}

static int compare_apart(const taken_apart *a, const taken_apart *b)
{
    if (a->sign != b->sign)
        return a->sign < b->sign ? -1 : 1;
    int order = a->place != b->place ? (a->place < b->place ? -1 : 1) : strcmp(a->digits, b->digits);
    return a->sign * (order > 0 ? 1 : order < 0 ? -1 : 0);
}

static int sign(int x)
{
    return (x > 0) - (x < 0);
}

static void bytes_order_as_numbers_do(void **state)
{
    (void)state;
    tr_rng rng;
    tr_rng_seed(&rng, 38);
    char texts[400][64];
    number numbers[400];
    for (size_t i = 0; i < 400; i++) {
        random_number(&rng, texts[i]);
        numbers[i] = number_of(texts[i]);
    }
    for (size_t i = 0; i < 400; i++) {
        for (size_t j = 0; j < 400; j++) {
            taken_apart a = take_apart(texts[i]), b = take_apart(texts[j]);
            int order = tr_view_cmp(number_view(&numbers[i]), number_view(&numbers[j]));
            if (sign(order) != compare_apart(&a, &b))
                fail_msg("%s and %s", texts[i], texts[j]);
            /* no number's bytes are the beginning of another's */
            if (order != 0)
                assert_false(tr_view_starts(number_view(&numbers[i]), number_view(&numbers[j])));
        }
    }
}

static void known_order(void **state)
{
    (void)state;
    static const char *const rising[] = {
        "-9.9999999999999999999999999999999999999E+125",
        "-1e125",
        "-1001",
        "-1000.5",
        "-1000",
        "-999",
        "-100",
        "-99",
        "-10.1",
        "-10",
        "-9.99",
        "-2",
        "-1.01",
        "-1",
        "-0.99",
        "-0.1",
        "-0.01",
        "-0.001",
        "-1.1e-130",
        "-1e-130",
        "0",
        "1e-130",
        "1.1e-130",
        "1e-129",
        "0.001",
        "0.0099",
        "0.01",
        "0.099",
        "0.1",
        "0.99",
        "1",
        "1.00000000000000000000000000000000000001e0",
        "1.01",
        "2",
        "9.99",
        "10",
        "10.1",
        "99",
        "100",
        "999",
        "1000",
        "1001",
        "1e125",
        "9.9999999999999999999999999999999999999E+125",
    };
    number last = {{0}, 0};
    for (size_t i = 0; i < TR_COUNT(rising); i++) {
        uint8_t out[TR_NUMBER_PACKED_MAX];
        size_t len;
        if (tr_number_parse(tr_view_str(rising[i]), out, &len, NULL))
            continue; /* 39 digits */
        number n = number_of(rising[i]);
        assert_true(i == 0 || tr_view_cmp(number_view(&last), number_view(&n)) < 0);
        last = n;
    }
}

static void normal_form_round_trips(void **state)
{
    (void)state;
    tr_rng rng;
    tr_rng_seed(&rng, 7);
    for (int i = 0; i < 5000; i++) {
        char text[64], plain[TR_NUMBER_TEXT_MAX], js[TR_NUMBER_TEXT_MAX];
        random_number(&rng, text);
        number n = number_of(text);
        number_text(number_view(&n), plain);
        assert_null(strpbrk(plain, "eE+"));
        number again = number_of(plain);
        assert_true(tr_view_eq(number_view(&n), number_view(&again)));
        js[tr_number_format_js(number_view(&n), js)] = 0;
        again = number_of(js);
        assert_true(tr_view_eq(number_view(&n), number_view(&again)));
    }
}

/* ---------------------------------------------------------------------------------------- arithmetic */

static void known_sums(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b, *sum;
        tr_number_problem problem;
    } cases[] = {
        {"1", "2", "3", TR_NUMBER_OK},
        {"5", "-5", "0", TR_NUMBER_OK},
        {"0", "-5", "-5", TR_NUMBER_OK},
        {"0", "0", "0", TR_NUMBER_OK},
        {"-1", "3", "2", TR_NUMBER_OK},
        {"1", "-3", "-2", TR_NUMBER_OK},
        {"999", "1", "1000", TR_NUMBER_OK},
        {"0.1", "0.2", "0.3", TR_NUMBER_OK},
        {"1000", "-0.001", "999.999", TR_NUMBER_OK},
        {"99999999999999999999999999999999999999", "1", "100000000000000000000000000000000000000",
         TR_NUMBER_OK},
        {"99999999999999999999999999999999999999", "2", NULL, TR_NUMBER_PRECISION},
        {"1e37", "1", "10000000000000000000000000000000000001", TR_NUMBER_OK},
        {"1e38", "1", NULL, TR_NUMBER_PRECISION},
        {"1e38", "-1", "99999999999999999999999999999999999999", TR_NUMBER_OK},
        {"12345678901234567890123456789012345678", "0.1", NULL, TR_NUMBER_PRECISION},
        {"1e125", "1e-130", NULL, TR_NUMBER_PRECISION},
        {"9.9999999999999999999999999999999999999E125", "1", NULL, TR_NUMBER_PRECISION},
        {"9.9999999999999999999999999999999999999E125", "1e88", NULL, TR_NUMBER_OVERFLOW},
        {"9e125", "9e125", NULL, TR_NUMBER_OVERFLOW},
        {"-9e125", "-1e125", NULL, TR_NUMBER_OVERFLOW},
        {"1.1e-130", "-1e-130", NULL, TR_NUMBER_UNDERFLOW},
        {"1e-130", "-1e-130", "0", TR_NUMBER_OK},
        {"1.2345678901234567890123456789012345678e-130", "1.2345678901234567890123456789012345678e-130", NULL,
         TR_NUMBER_OK},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        number a = number_of(cases[i].a), b = number_of(cases[i].b), sum;
        tr_number_problem problem;
        char text[TR_NUMBER_TEXT_MAX];
        int e = tr_number_add(number_view(&a), number_view(&b), false, sum.bytes, &sum.len, &problem);
        assert_int_equal(problem, cases[i].problem);
        assert_int_equal(e, problem == TR_NUMBER_OK ? 0 : TR_ELIMIT);
        if (cases[i].sum)
            assert_string_equal(number_text(number_view(&sum), text), cases[i].sum);
    }
}

/* Against integers of 128 bits: a and b with up to 18 digits and a common scale. */
static void sums_agree_with_integers(void **state)
{
    (void)state;
    tr_rng rng;
    tr_rng_seed(&rng, 99);
    for (int i = 0; i < 20000; i++) {
        int64_t x = (int64_t)(tr_rng_next(&rng) >> (1 + tr_rng_below(&rng, 60)));
        int64_t y = (int64_t)(tr_rng_next(&rng) >> (1 + tr_rng_below(&rng, 60)));
        x = tr_rng_below(&rng, 2) ? -x / 4 : x / 4;
        y = tr_rng_below(&rng, 2) ? -y / 4 : y / 4;
        bool subtract = tr_rng_below(&rng, 2);
        int scale = (int)tr_rng_below(&rng, 200) - 100;
        char a_text[64], b_text[64], expect_text[64];
        (void)snprintf(a_text, sizeof a_text, "%llde%d", (long long)x, scale);
        (void)snprintf(b_text, sizeof b_text, "%llde%d", (long long)y, scale);
        (void)snprintf(expect_text, sizeof expect_text, "%llde%d", (long long)(subtract ? x - y : x + y),
                       scale);
        number a = number_of(a_text), b = number_of(b_text), expect = number_of(expect_text), sum;
        assert_int_equal(tr_number_add(number_view(&a), number_view(&b), subtract, sum.bytes, &sum.len, NULL),
                         0);
        if (!tr_view_eq(number_view(&sum), number_view(&expect)))
            fail_msg("%s %c %s", a_text, subtract ? '-' : '+', b_text);
    }
}

/* a + b = b + a; a - b = -(b - a); (a + b) - b = a wherever a + b can be held. */
static void sums_keep_the_rules(void **state)
{
    (void)state;
    tr_rng rng;
    tr_rng_seed(&rng, 5);
    int held = 0;
    for (int i = 0; i < 20000; i++) {
        char at[64], bt[64];
        random_number(&rng, at);
        random_number(&rng, bt);
        number a = number_of(at), b = number_of(bt), x, y;
        int e = tr_number_add(number_view(&a), number_view(&b), false, x.bytes, &x.len, NULL);
        assert_int_equal(tr_number_add(number_view(&b), number_view(&a), false, y.bytes, &y.len, NULL), e);
        if (e == 0) {
            held++;
            assert_true(tr_view_eq(number_view(&x), number_view(&y)));
            assert_int_equal(tr_number_add(number_view(&x), number_view(&b), true, y.bytes, &y.len, NULL), 0);
            assert_true(tr_view_eq(number_view(&y), number_view(&a)));
        }
        e = tr_number_add(number_view(&a), number_view(&b), true, x.bytes, &x.len, NULL);
        assert_int_equal(tr_number_add(number_view(&b), number_view(&a), true, y.bytes, &y.len, NULL), e);
        if (e == 0) {
            number z;
            assert_int_equal(tr_number_add(number_view(&x), number_view(&y), false, z.bytes, &z.len, NULL),
                             0);
            assert_int_equal(z.len, 1); /* zero */
        }
    }
    assert_in_range(held, 2000, 20000);
}

/* --------------------------------------------------------------------------------------- conversions */

static void integers_both_ways(void **state)
{
    (void)state;
    static const int64_t cases[] = {
        0,  1,   -1,  9,         10,        99,        100,       101,
        -7, 255, 256, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 1000000000000000000};
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        number n;
        char text[32];
        int64_t back;
        n.len = tr_number_from_i64(cases[i], n.bytes);
        (void)snprintf(text, sizeof text, "%lld", (long long)cases[i]);
        number same = number_of(text);
        assert_true(tr_view_eq(number_view(&n), number_view(&same)));
        assert_int_equal(tr_number_to_i64(number_view(&n), &back), 0);
        assert_true(back == cases[i]);
    }
    static const char *const not_exact[] = {"9223372036854775808",
                                            "-9223372036854775809",
                                            "1.5",
                                            "0.1",
                                            "1e19",
                                            "99999999999999999999",
                                            "-1e125",
                                            "1e-130"};
    for (size_t i = 0; i < TR_COUNT(not_exact); i++) {
        number n = number_of(not_exact[i]);
        int64_t back = 5;
        assert_int_equal(tr_number_to_i64(number_view(&n), &back), TR_ELIMIT);
        assert_int_equal(back, 5);
    }
    number big = number_of("9.0e18");
    int64_t back;
    assert_int_equal(tr_number_to_i64(number_view(&big), &back), 0);
    assert_true(back == 9000000000000000000);
}

static void doubles_are_the_nearest(void **state)
{
    (void)state;
    tr_rng rng;
    tr_rng_seed(&rng, 17);
    for (int i = 0; i < 5000; i++) {
        char text[64];
        random_number(&rng, text);
        number n = number_of(text);
        double expect = strtod(text, NULL);
        if (expect == 0)
            expect = 0; /* there is no -0 */
        assert_true(tr_number_to_double(number_view(&n)) == expect);
    }
}

static void shortest_doubles_are_javascripts(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "0"},
        {1, "1"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {100, "100"},
        {1e15, "1000000000000000"},
        {123456789012345680000.0, "123456789012345680000"},
        {1e20, "100000000000000000000"},
        {1e21, "1e+21"},
        {1.5e21, "1.5e+21"},
        {1e-6, "0.000001"},
        {1e-7, "1e-7"},
        {1.25e-7, "1.25e-7"},
        {5e-324, "5e-324"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {4.35, "4.35"},
        {9007199254740993.0, "9007199254740992"},
        /* powers of two whose shortest form is not the nearest of its length */
        {0x1p-1017, "7.120236347223045e-307"},
        {0x1p-695, "6.083493012144512e-210"},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        char text[33];
        text[tr_double_format(cases[i].number, text)] = 0;
        assert_string_equal(text, cases[i].text);
    }
    char text[33];
    text[tr_double_format(strtod("inf", NULL), text)] = 0;
    assert_string_equal(text, "Infinity");
    text[tr_double_format(-strtod("inf", NULL), text)] = 0;
    assert_string_equal(text, "-Infinity");
    text[tr_double_format(strtod("nan", NULL), text)] = 0;
    assert_string_equal(text, "NaN");
    tr_rng rng;
    tr_rng_seed(&rng, 3);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = tr_rng_next(&rng);
        double random;
        memcpy(&random, &bits, sizeof random);
        size_t len = tr_double_format(random, text);
        assert_true(len <= 32);
        text[len] = 0;
        if (random == random)
            assert_true(strtod(text, NULL) == random);
    }
}

static void sizes_are_those_of_the_service(void **state)
{
    (void)state;
    /* as DynamoDB Local counts them in SizeBytes of stream records */
    static const struct {
        const char *number;
        size_t size;
    } cases[] = {
        {"0", 1},
        {"1", 2},
        {"12", 2},
        {"100", 2},
        {"123", 3},
        {"1234", 3},
        {"12345", 4},
        {"-1", 3},
        {"-12", 3},
        {"-123", 4},
        {"1e10", 2},
        {"12e10", 2},
        {"12e11", 3},
        {"123e11", 3},
        {"1e-1", 2},
        {"1.2", 3},
        {"12.3", 3},
        {"0.12", 2},
        {"0.012", 3},
        {"0.0012", 2},
        {"10.01", 3},
        {"100.1", 4},
        {"1000001", 5},
        {"1010", 3},
        {"101", 3},
        {"1e125", 2},
        {"1e-130", 2},
        {"-1e-130", 3},
        {"12345678901234567890123456789012345678", 20},
        {"1234567890123456789012345678901234567", 20},
        {"-12345678901234567890123456789012345678", 21},
        {"1.0000000000000000000000000000000000001", 21},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        number n = number_of(cases[i].number);
        if (tr_number_size(number_view(&n)) != cases[i].size)
            fail_msg("%s: %zu", cases[i].number, tr_number_size(number_view(&n)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_and_their_normal_form),
        cmocka_unit_test(what_is_no_number),
        cmocka_unit_test(bounds_of_the_range),
        cmocka_unit_test(long_texts),
        cmocka_unit_test(bytes_order_as_numbers_do),
        cmocka_unit_test(known_order),
        cmocka_unit_test(normal_form_round_trips),
        cmocka_unit_test(known_sums),
        cmocka_unit_test(sums_agree_with_integers),
        cmocka_unit_test(sums_keep_the_rules),
        cmocka_unit_test(integers_both_ways),
        cmocka_unit_test(doubles_are_the_nearest),
        cmocka_unit_test(shortest_doubles_are_javascripts),
        cmocka_unit_test(sizes_are_those_of_the_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
