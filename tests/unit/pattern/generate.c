/* SPDX-License-Identifier: MIT */
#include "generate.h"

static const char *const keys[] = {"a", "b", "c", "d", "a.b", "b.c"};
static const char *const strings[] = {"",
                                      "x",
                                      "y",
                                      "xy",
                                      "xyx",
                                      "yx",
                                      "X",
                                      "xY",
                                      "aé",
                                      "aÉ",
                                      "xyxy",
                                      "x*y",
                                      "x\\\\y",
                                      "10.0.0.1",
                                      "10.0.0.77",
                                      "10.0.1.1",
                                      "10.0.1.3",
                                      "::1",
                                      "::3",
                                      "0:0::1",
                                      "1",
                                      "null",
                                      "\\u0078y",
                                      "a longer string",
                                      "a longer thing",
                                      "songs"};
static const char *const numbers[] = {"0",  "-0",  "1",  "1.0", "2",   "2.5",
                                      "10", "1e1", "-3", "0.1", "300", "3E2"};
static const char *const words[] = {"true", "false", "null"};
static const char *const wilds[] = {"*",        "x*",        "*y",      "x*y",     "*x*",  "x*x*",  "*yx*",
                                    "a*thing",  "a*er*ing",  "*\\\\**", "xy",      "*xy",  "x*yx*", "*a*e*",
                                    "\\\\*",    "a lo*g",    "*lon*",   "*o*g*i*", "*ng*", "*g*",   "*ong*",
                                    "*longer*", "*onger s*", "*y*x*",   "*x*y*x*", "*n*",  "*er*"};
static const char *const networks[] = {"10.0.0.0/8", "10.0.0.0/24", "10.0.1.1/31", "10.0.0.64/26",
                                       "::/64",      "::1/127",     "1.2.3.4/1"};

static size_t below(tr_rng *rng, size_t n)
{
    return (size_t)tr_rng_below(rng, n);
}
static bool chance(tr_rng *rng, unsigned percent)
{
    return tr_rng_below(rng, 100) < percent;
}
#define PICK(rng, list) (list)[below(rng, TR_COUNT(list))]

static void put_string(tr_rng *rng, tr_buf *out)
{
    tr_buf_printf(out, "\"%s\"", PICK(rng, strings));
}
static void put_nonempty(tr_rng *rng, tr_buf *out)
{
    tr_buf_printf(out, "\"%s\"", strings[1 + below(rng, TR_COUNT(strings) - 1)]);
}
static void put_number(tr_rng *rng, tr_buf *out)
{
    tr_buf_put_str(out, PICK(rng, numbers));
}
static void put_wild(tr_rng *rng, tr_buf *out)
{
    tr_buf_printf(out, "\"%s\"", PICK(rng, wilds));
}

typedef void put_fn(tr_rng *rng, tr_buf *out);

/* One, or a list of some. */
static void put_some(tr_rng *rng, tr_buf *out, put_fn *put)
{
    if (chance(rng, 50)) {
        put(rng, out);
        return;
    }
    tr_buf_putc(out, '[');
    for (size_t n = 1 + below(rng, 3); n; n--) {
        put(rng, out);
        tr_buf_put_str(out, n > 1 ? "," : "]");
    }
}

static void put_anything_but(tr_rng *rng, tr_buf *out)
{
    static const struct {
        const char *op;
        put_fn *put;
    } forms[] = {{"", put_string},
                 {"", put_number},
                 {"prefix", put_nonempty},
                 {"suffix", put_nonempty},
                 {"equals-ignore-case", put_string},
                 {"wildcard", put_wild}};
    size_t i = below(rng, TR_COUNT(forms));
    tr_buf_put_str(out, "{\"anything-but\":");
    if (*forms[i].op)
        tr_buf_printf(out, "{\"%s\":", forms[i].op);
    put_some(rng, out, forms[i].put);
    tr_buf_put_str(out, *forms[i].op ? "}}" : "}");
}

static void put_numeric(tr_rng *rng, tr_buf *out)
{
    static const char *const ops[] = {"=", "<", "<=", ">", ">="};
    static const char *const low[] = {"-4", "0", "1", "2"}, *const high[] = {"2.1", "3", "10", "300"};
    if (chance(rng, 60))
        tr_buf_printf(out, "{\"numeric\":[\"%s\",%s]}", PICK(rng, ops), PICK(rng, numbers));
    else
        tr_buf_printf(out, "{\"numeric\":[\"%s\",%s,\"%s\",%s]}",
                      chance(rng, 50) ? ">" : ">=", PICK(rng, low),
                      chance(rng, 50) ? "<" : "<=", PICK(rng, high));
}

static void put_test(tr_rng *rng, tr_buf *out)
{
    switch (below(rng, 18)) {
    case 0:
        tr_buf_put_str(out, "{\"prefix\":");
        put_string(rng, out);
        break;
    case 1:
        tr_buf_put_str(out, "{\"suffix\":");
        put_string(rng, out);
        break;
    case 2:
        tr_buf_printf(out, "{\"%s\":{\"equals-ignore-case\":", chance(rng, 50) ? "prefix" : "suffix");
        put_string(rng, out);
        tr_buf_putc(out, '}');
        break;
    case 3:
        tr_buf_put_str(out, "{\"equals-ignore-case\":");
        put_string(rng, out);
        break;
    case 4:
    case 5:
        tr_buf_put_str(out, "{\"wildcard\":");
        put_wild(rng, out);
        break;
    case 6:
        tr_buf_printf(out, "{\"cidr\":\"%s\"", PICK(rng, networks));
        break;
    case 7:
    case 8:
    case 16:
        tr_buf_printf(out, "{\"exists\":%s", chance(rng, 50) ? "true" : "false");
        break;
    case 9:
        put_numeric(rng, out);
        return;
    case 10:
    case 11:
    case 17:
        put_anything_but(rng, out);
        return;
    case 12:
        put_number(rng, out);
        return;
    case 13:
        tr_buf_put_str(out, PICK(rng, words));
        return;
    default:
        put_string(rng, out);
        return;
    }
    tr_buf_putc(out, '}');
}

static void put_values(tr_rng *rng, tr_buf *out)
{
    tr_buf_putc(out, '[');
    for (size_t n = chance(rng, 65) ? 1 : 2 + below(rng, 3); n; n--) {
        put_test(rng, out);
        tr_buf_put_str(out, n > 1 ? "," : "]");
    }
}

/* Half of all patterns and events have but three keys, which is when arrays of objects come to matter. */
static size_t key_count(tr_rng *rng)
{
    return chance(rng, 50) ? 3 : TR_COUNT(keys);
}

static void put_pattern_object(tr_rng *rng, tr_buf *out, size_t count, unsigned depth)
{
    size_t first = below(rng, count), n = 1 + below(rng, 3);
    tr_buf_putc(out, '{');
    for (size_t i = 0; i < n; i++) {
        tr_buf_printf(out, "%s\"%s\":", i ? "," : "", keys[(first + i) % count]);
        if (depth < 3 && chance(rng, 35))
            put_pattern_object(rng, out, count, depth + 1);
        else
            put_values(rng, out);
    }
    if (depth < 3 && chance(rng, 12)) {
        tr_buf_put_str(out, ",\"$or\":[");
        for (size_t k = 2 + below(rng, 2); k; k--) {
            put_pattern_object(rng, out, count, depth + 2);
            tr_buf_put_str(out, k > 1 ? "," : "]");
        }
    }
    tr_buf_putc(out, '}');
}

void generate_pattern(tr_rng *rng, tr_buf *out)
{
    put_pattern_object(rng, out, key_count(rng), 0);
}

static void put_event_object(tr_rng *rng, tr_buf *out, size_t keys_used, unsigned depth);

static void put_event_value(tr_rng *rng, tr_buf *out, size_t keys_used, unsigned depth)
{
    if (depth < 5 && chance(rng, 25)) {
        put_event_object(rng, out, keys_used, depth + 1);
    } else if (depth < 5 && chance(rng, 35)) {
        tr_buf_putc(out, '[');
        for (size_t i = 0, n = below(rng, 4); i < n; i++) {
            tr_buf_put_str(out, i ? (chance(rng, 10) ? " , " : ",") : "");
            if (chance(rng, 60))
                put_event_object(rng, out, keys_used, depth + 1);
            else
                put_event_value(rng, out, keys_used, depth + 1);
        }
        tr_buf_putc(out, ']');
    } else if (chance(rng, 70)) {
        put_string(rng, out);
    } else if (chance(rng, 70)) {
        put_number(rng, out);
    } else {
        tr_buf_put_str(out, PICK(rng, words));
    }
}

static void put_event_object(tr_rng *rng, tr_buf *out, size_t keys_used, unsigned depth)
{
    size_t first = below(rng, keys_used), n = chance(rng, 5) ? 0 : 1 + below(rng, 4);
    tr_buf_put_str(out, chance(rng, 10) ? "{ " : "{");
    for (size_t i = 0; i < n; i++) {
        const char *key = keys[(first + i) % keys_used];
        if (chance(rng, 5)) /* the same letter, written otherwise; or the same key again */
            tr_buf_printf(out, "%s\"\\u%04x%s\":", i ? "," : "", (unsigned)key[0], key + 1);
        else
            tr_buf_printf(out, "%s\"%s\"%s:", i ? "," : "", chance(rng, 5) ? keys[first] : key,
                          chance(rng, 5) ? " " : "");
        put_event_value(rng, out, keys_used, depth);
        if (chance(rng, 15))
            tr_buf_printf(out, ",\"other\":{\"a\":[\"}]\\\"{\",{\"b\":\"%s\"}]}", PICK(rng, strings));
    }
    tr_buf_putc(out, '}');
}

void generate_event(tr_rng *rng, tr_buf *out)
{
    put_event_object(rng, out, key_count(rng), 0);
}
