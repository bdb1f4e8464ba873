/* SPDX-License-Identifier: MIT */
/** What a 400-byte item costs: DynamoDB JSON in and out, plain JSON out, lookups. Nanoseconds each, best of
 * some rounds. */
#include <tailrace/item.h>

#include <stdio.h>
#include <time.h>

#define ROUNDS 20
#define CALLS  20000

static const char json[] =
    "{\"pk\":{\"S\":\"user#1f0c2a6e-9d34-4b8e-8f5e-2f5f0a7c1b90\"},\"sk\":{\"S\":\"order#2026-01-16T12:34:56."
    "789Z\"},"
    "\"status\":{\"S\":\"shipped\"},\"total\":{\"N\":\"1234.56\"},\"count\":{\"N\":\"3\"},\"paid\":{\"BOOL\":"
    "true},"
    "\"note\":{\"S\":\"Leave the parcel with the neighbours if nobody opens, and ring twice; "
    "the dog is friendly but hears badly, the bell is to the left of the blue door, and the gate sticks in "
    "wet "
    "weather\"},"
    "\"tags\":{\"SS\":[\"express\",\"gift\"]},\"address\":{\"M\":{\"street\":{\"S\":\"12 Mill Lane\"},"
    "\"city\":{\"S\":\"Bristol\"},\"zip\":{\"S\":\"BS1 4QA\"}}},\"updatedAt\":{\"N\":\"1768566896789\"}}";

static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

typedef struct bench {
    tr_arena arena;
    tr_buf packed, out;
    size_t sum; /* so that no work can be left out */
} bench;

static void parse(bench *b)
{
    tr_json_reader reader;
    tr_item_error error;
    tr_arena_reset(&b->arena);
    tr_json_init(&reader, TR_VIEW(json), &b->arena);
    tr_json_next(&reader);
    tr_buf_reset(&b->packed);
    if (tr_item_read(&reader, &b->packed, &error))
        b->sum = SIZE_MAX / 2;
    b->sum += b->packed.len;
}

static void tokens(bench *b)
{
    tr_json_reader reader;
    tr_json_init(&reader, TR_VIEW(json), &b->arena);
    while (tr_json_next(&reader) > TR_JSON_DONE)
        b->sum += reader.text.len;
}

static void print(bench *b)
{
    tr_json_writer writer;
    tr_buf_reset(&b->out);
    tr_json_write_init(&writer, &b->out);
    tr_item_write(&writer, tr_buf_view(&b->packed));
    b->sum += b->out.len;
}

static void print_plain(bench *b)
{
    tr_json_writer writer;
    tr_buf_reset(&b->out);
    tr_json_write_init(&writer, &b->out);
    tr_item_write_plain(&writer, tr_buf_view(&b->packed));
    b->sum += b->out.len;
}

static void check(bench *b)
{
    b->sum += (size_t)(tr_item_check(tr_buf_view(&b->packed)) == 0);
}

static void size(bench *b)
{
    b->sum += tr_item_size(tr_buf_view(&b->packed));
}

static void get(bench *b)
{
    tr_value value;
    if (tr_item_get(tr_buf_view(&b->packed), TR_VIEW("status"), &value) == 0)
        b->sum += value.payload.len;
}

static void key(bench *b)
{
    tr_value value;
    tr_buf_reset(&b->out);
    if (tr_item_get(tr_buf_view(&b->packed), TR_VIEW("pk"), &value) == 0)
        tr_key_put(&b->out, value);
    b->sum += b->out.len;
}

static void build(bench *b)
{
    tr_packer p;
    tr_buf_reset(&b->out);
    tr_packer_init(&p, &b->out);
    tr_pack_item_begin(&p);
    tr_pack_name(&p, TR_VIEW("pk"));
    tr_pack_s(&p, TR_VIEW("user#1f0c2a6e-9d34-4b8e-8f5e-2f5f0a7c1b90"));
    tr_pack_name(&p, TR_VIEW("count"));
    tr_pack_n_i64(&p, 3);
    tr_pack_name(&p, TR_VIEW("total"));
    (void)tr_pack_n(&p, TR_VIEW("1234.56"));
    (void)tr_pack_item_end(&p);
    b->sum += b->out.len;
}

static void add(bench *b)
{
    static const uint8_t one[] = {3, 65, 2, 0}, price[] = {3, 66, 13, 35, 57, 0};
    uint8_t out[TR_NUMBER_PACKED_MAX];
    size_t len = 0;
    (void)tr_number_add(tr_view_of(price, sizeof price), tr_view_of(one, sizeof one), false, out, &len, NULL);
    b->sum += len;
}

static void run(bench *b, const char *name, void (*fn)(bench *))
{
    double best = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (int i = 0; i < CALLS; i++)
            fn(b);
        double each = (now_ns() - start) / CALLS;
        best = each < best ? each : best;
    }
    printf("%-24s %8.1f ns\n", name, best);
}

/* With an argument, only what has it in its name. */
int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(bench *);
    } benches[] = {{"JSON tokens only", tokens},
                   {"JSON to packed", parse},
                   {"packed to JSON", print},
                   {"packed to plain JSON", print_plain},
                   {"check", check},
                   {"size", size},
                   {"get one attribute", get},
                   {"get and encode key", key},
                   {"build three attributes", build},
                   {"add two numbers", add}};
    bench b = {.sum = 0};
    tr_arena_init(&b.arena, 1 << 20);
    tr_buf_init(&b.packed, 1 << 20);
    tr_buf_init(&b.out, 1 << 20);
    parse(&b);
    printf("item: %zu bytes as the service counts, %zu packed, %zu of JSON\n",
           tr_item_size(tr_buf_view(&b.packed)), b.packed.len, sizeof json - 1);
    for (size_t i = 0; i < TR_COUNT(benches); i++)
        if (argc < 2 || strstr(benches[i].name, argv[1]))
            run(&b, benches[i].name, benches[i].fn);
    tr_buf_done(&b.packed);
    tr_buf_done(&b.out);
    tr_arena_done(&b.arena);
    return b.sum == 0;
}
