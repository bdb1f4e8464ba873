/* SPDX-License-Identifier: MIT */
/**
 * Events per second through the pattern matcher, one thread, JSON parsing included: events of some 900 bytes,
 * no two alike, against 5, 10, 100 and 10,000 rules of each kind. Rules are made so that an event matches
 * about one of the 10,000, but for the kinds "…, wide", where it matches half of them or all.
 *
 *     bench_pattern [KIND]       only kinds whose name begins so
 */
#include <tailrace/pattern.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define EVENTS  1024
#define DOMAIN  20000 /* values of the fields that rules look at */
#define ROUNDS  5     /* best of */
#define SECONDS 0.15  /* per round */

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void put_event(tr_buf *out, tr_rng *rng)
{
    char id[TR_UUID_LEN + 1], other[TR_UUID_LEN + 1];
    unsigned n = (unsigned)tr_rng_below(rng, DOMAIN);
    tr_uuid(id);
    tr_uuid(other);
    tr_buf_printf(out,
                  "{\"version\":\"0\",\"id\":\"%s\",\"detail-type\":\"Order %s\",\"source\":\"shop.%s\",", id,
                  n % 3 ? "Placed" : "Shipped", n % 5 ? "orders" : "returns");
    tr_buf_printf(
        out,
        "\"account\":\"123456789012\",\"time\":\"2026-01-16T%02u:%02u:56Z\",\"region\":\"eu-west-1\","
        "\"resources\":[\"arn:aws:dynamodb:eu-west-1:123456789012:table/orders\"],",
        n % 24, n % 60);
    tr_buf_printf(out,
                  "\"detail\":{\"order\":\"order-%s\",\"customer\":\"customer-%05u\",\"email\":\"User.%05u@"
                  "Example.com\",",
                  other, n, n);
    tr_buf_printf(
        out,
        "\"state\":\"%s\",\"total\":%u,\"currency\":\"EUR\",\"address\":{\"street\":\"12 Mill Lane\","
        "\"city\":\"Bristol\",\"zip\":\"BS1 4QA\",\"geo\":[51.4545,-2.5879]},",
        n % 2 ? "paid" : "open", n);
    tr_buf_printf(
        out,
        "\"lines\":[{\"sku\":\"sku-%05u\",\"count\":2,\"price\":12.5},{\"sku\":\"sku-gift\",\"count\":1,"
        "\"price\":0}],\"path\":\"s3://bucket/%05u/invoices/%05u.pdf\",",
        n, n, (n * 7) % DOMAIN);
    tr_buf_printf(out,
                  "\"ip\":\"10.%u.%u.%u\",\"note\":\"Leave it \\\"with\\\" the "
                  "neighbours\",\"tags\":[\"express\",\"gift\"],"
                  "\"updatedAt\":1768566896789,\"paid\":true,\"coupon\":null,\"trace\":{\"id\":\"1-67891233-"
                  "abcdef012345678912345678\",\"parent\":\"53995c3f42cd8ad8\",\"sampled\":0}}}",
                  n >> 8, n & 255, n % 250);
}

struct kind {
    const char *name;
    void (*put)(tr_buf *out, unsigned i);
};

#define RULE(name, ...)                                                                                      \
    static void put_##name(tr_buf *out, unsigned i)                                                          \
    {                                                                                                        \
        tr_buf_printf(out, __VA_ARGS__);                                                                     \
    }

RULE(exact, "{\"detail\":{\"customer\":[\"customer-%05u\"]}}", i)
RULE(exact3,
     "{\"source\":[\"shop.orders\"],\"detail-type\":[\"Order "
     "Placed\"],\"detail\":{\"customer\":[\"customer-%05u\"]}}",
     i)
RULE(exact_list,
     "{\"source\":[\"shop.orders\"],\"detail\":{\"customer\":[\"customer-%05u\",\"nobody\",\"none\"]}}", i)
RULE(keys, "{\"detail\":{\"key-%u\":[\"x\"],\"customer\":[\"customer-%05u\"]}}", i % 500, i)
RULE(prefix, "{\"detail\":{\"path\":[{\"prefix\":\"s3://bucket/%05u\"}]}}", i)
RULE(suffix, "{\"detail\":{\"path\":[{\"suffix\":\"%05u.pdf\"}]}}", i)
RULE(ignore_case, "{\"detail\":{\"email\":[{\"equals-ignore-case\":\"uSER.%05u@eXAMPLE.com\"}]}}", i)
RULE(prefix_fold, "{\"detail\":{\"email\":[{\"prefix\":{\"equals-ignore-case\":\"uSER.%05u\"}}]}}", i)
RULE(wildcard, "{\"detail\":{\"path\":[{\"wildcard\":\"s3://*/%05u/*.pdf\"}]}}", i)
RULE(wildcard_tail, "{\"detail\":{\"path\":[{\"wildcard\":\"s3://*/invoices/%05u.pdf\"}]}}", i)
RULE(number, "{\"detail\":{\"total\":[%u]}}", i)
RULE(range, "{\"detail\":{\"total\":[{\"numeric\":[\">=\",%u,\"<\",%u]}]}}", i, i + 2)
RULE(range_wide, "{\"detail\":{\"total\":[{\"numeric\":[\">\",%u]}]}}", i)
RULE(cidr, "{\"detail\":{\"ip\":[{\"cidr\":\"10.%u.%u.0/24\"}]}}", i >> 8, i & 255)
RULE(but, "{\"detail\":{\"state\":[{\"anything-but\":\"draft-%u\"}],\"customer\":[\"customer-%05u\"]}}", i, i)
RULE(but_prefix,
     "{\"detail\":{\"state\":[{\"anything-but\":{\"prefix\":\"d%u\"}}],\"path\":[{\"prefix\":\"s3://bucket/"
     "%05u\"}]}}",
     i, i)
RULE(but_wide, "{\"detail\":{\"customer\":[{\"anything-but\":\"customer-%05u\"}]}}", i)
RULE(exists,
     "{\"detail\":{\"coupon\":[{\"exists\":true}],\"refund\":[{\"exists\":false}],\"customer\":[\"customer-%"
     "05u\"]}}",
     i)
RULE(or, "{\"$or\":[{\"detail\":{\"customer\":[\"customer-%05u\"]}},{\"detail\":{\"total\":[%u]}}]}", i, i)
RULE(array, "{\"detail\":{\"lines\":{\"sku\":[\"sku-%05u\"],\"count\":[2]}}}", i)

static void put_mixed(tr_buf *out, unsigned i)
{
    static void (*const all[])(tr_buf *, unsigned) = {put_exact3,   put_prefix, put_suffix, put_ignore_case,
                                                      put_wildcard, put_number, put_range,  put_cidr,
                                                      put_but,      put_array};
    all[i % TR_COUNT(all)](out, i);
}

static const struct kind kinds[] = {{"exact", put_exact},
                                    {"exact, 3 fields", put_exact3},
                                    {"exact, lists", put_exact_list},
                                    {"exact, 500 keys", put_keys},
                                    {"prefix", put_prefix},
                                    {"suffix", put_suffix},
                                    {"equals-ignore-case", put_ignore_case},
                                    {"prefix ignoring case", put_prefix_fold},
                                    {"wildcard, middle", put_wildcard},
                                    {"wildcard, end", put_wildcard_tail},
                                    {"number", put_number},
                                    {"numeric range", put_range},
                                    {"numeric range, wide", put_range_wide},
                                    {"cidr", put_cidr},
                                    {"anything-but", put_but},
                                    {"anything-but prefix", put_but_prefix},
                                    {"anything-but, wide", put_but_wide},
                                    {"exists", put_exists},
                                    {"$or", put_or},
                                    {"array of objects", put_array},
                                    {"mixed", put_mixed}};

static tr_view events[EVENTS];
static tr_buf event_store;

static void make_events(void)
{
    size_t ends[EVENTS];
    tr_rng rng;
    tr_rng_seed(&rng, 1);
    tr_buf_init(&event_store, 64 << 20);
    for (int i = 0; i < EVENTS; i++) {
        put_event(&event_store, &rng);
        ends[i] = event_store.len;
    }
    for (int i = 0; i < EVENTS; i++) {
        size_t from = i ? ends[i - 1] : 0;
        events[i] = tr_view_of(event_store.ptr + from, ends[i] - from);
    }
    printf("events of %zu bytes on average\n", event_store.len / EVENTS);
}

static void die(const char *what, int e)
{
    (void)fprintf(stderr, "%s: %s\n", what, tr_strerror(e));
    exit(1);
}

static tr_matcher *make_matcher(const struct kind *kind, unsigned rules, double *ret_seconds)
{
    tr_matcher *m;
    tr_buf buf;
    int e = tr_matcher_new(NULL, &m);
    double start = now();
    tr_buf_init(&buf, 1 << 20);
    for (unsigned i = 0; i < rules && !e; i++) {
        tr_pattern *p = NULL;
        tr_buf_reset(&buf);
        /* few rules are spread over the values that many would have */
        kind->put(&buf, (unsigned)((uint64_t)i * 7919 % 10000));
        e = tr_pattern_compile(tr_buf_view(&buf), NULL, &p, NULL);
        if (!e)
            e = tr_matcher_add(m, i, p);
        tr_pattern_free(p);
    }
    if (!e)
        e = tr_matcher_freeze(m);
    if (e)
        die(kind->name, e);
    tr_buf_done(&buf);
    *ret_seconds = now() - start;
    return m;
}

static double measure(const tr_matcher *m, tr_match_ctx *c, double *ret_matches)
{
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        size_t done = 0, matched = 0;
        double start = now(), took;
        do {
            for (int i = 0; i < EVENTS; i++) {
                const uint64_t *ids;
                size_t count;
                int e = tr_matcher_match(m, c, events[i], &ids, &count, NULL);
                if (e)
                    die("match", e);
                matched += count;
            }
            done += EVENTS;
        } while ((took = now() - start) < SECONDS);
        if ((double)done / took > best)
            best = (double)done / took;
        *ret_matches = (double)matched / (double)done;
    }
    return best;
}

static void run(const struct kind *kind, tr_match_ctx *c)
{
    static const unsigned sizes[] = {5, 10, 100, 10000};
    double few = 0;
    printf("%-22s", kind->name);
    for (size_t i = 0; i < TR_COUNT(sizes); i++) {
        double seconds, matches;
        tr_matcher *m = make_matcher(kind, sizes[i], &seconds);
        double rate = measure(m, c, &matches);
        if (sizes[i] == 10)
            few = rate;
        printf(" %10.0f", rate);
        if (sizes[i] == 10000)
            printf("   %6.2fx %8.2f %7.1f ms %6zu KiB", few / rate, matches, seconds * 1e3,
                   tr_matcher_bytes(m) >> 10);
        (void)fflush(stdout);
        tr_matcher_free(m);
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    tr_match_ctx *c;
    int e = tr_match_ctx_new(NULL, &c);
    if (e)
        die("context", e);
    make_events();
    printf("%-22s %10s %10s %10s %10s   %7s %8s %10s %10s\n", "events/s against rules:", "5", "10", "100",
           "10,000", "slower", "matches", "building", "memory");
    for (size_t i = 0; i < TR_COUNT(kinds); i++)
        if (argc < 2 || tr_view_starts(tr_view_str(kinds[i].name), tr_view_str(argv[1])))
            run(&kinds[i], c);
    tr_match_ctx_free(c);
    tr_buf_done(&event_store);
    return 0;
}
