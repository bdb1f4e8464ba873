/* SPDX-License-Identifier: MIT */
/* Records per second through the stream consumer's machine: decoding of pages, delivery, acknowledgement; no
 * network. */
#include "stream/core.h"

#include <stdio.h>
#include <stdlib.h>

#define PAGE 1000

static void write_page(tr_buf *b, uint64_t from)
{
    char pad[401];
    memset(pad, 'x', 400);
    pad[400] = 0;
    tr_buf_reset(b);
    tr_buf_put_str(b, "{\"Records\":[");
    for (unsigned i = 0; i < PAGE; i++)
        tr_buf_printf(
            b,
            "%s{\"eventID\":\"%llu\",\"eventName\":\"MODIFY\",\"eventVersion\":\"1.1\",\"eventSource\":"
            "\"aws:dynamodb\",\"awsRegion\":\"us-east-1\",\"dynamodb\":{\"ApproximateCreationDateTime\":"
            "1700000000,"
            "\"Keys\":{\"pk\":{\"S\":\"k%llu\"}},\"NewImage\":{\"pk\":{\"S\":\"k%llu\"},\"pad\":{\"S\":\"%"
            "s\"}},"
            "\"OldImage\":{\"pk\":{\"S\":\"k%llu\"},\"pad\":{\"S\":\"%s\"}},\"SequenceNumber\":\"1%020llu\","
            "\"SizeBytes\":800,\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"}}",
            i ? "," : "", (unsigned long long)(from + i), (unsigned long long)(from + i),
            (unsigned long long)(from + i), pad, (unsigned long long)(from + i), pad,
            (unsigned long long)(from + i));
    tr_buf_put_str(b, "],\"NextShardIterator\":\"it\"}");
}

static double seconds(int64_t since_ns)
{
    return (double)(tr_clock_mono_ns() - since_ns) / 1e9;
}

int main(int argc, char **argv)
{
    uint64_t pages = argc > 1 ? strtoull(argv[1], NULL, 10) : 500, done = 0, made = 0;
    tr_stream_options o = {
        .stream_arn = "arn", .start = {.at = TR_START_TRIM_HORIZON}, .checkpoint_ms = 1000};
    tr__core *core;
    tr_buf body, next;
    tr_buf_init(&body, 64 << 20);
    tr_buf_init(&next, 8192);
    if (tr__core_new(&o, false, 1, 0, 0, &core, NULL))
        return 1;
    double decoding = 0, generating = 0;
    int64_t start = tr_clock_mono_ns();
    for (int64_t now = 1; done < pages * PAGE; now++) {
        tr__req req;
        tr__core_time(core, now, now);
        while (made <= pages && tr__core_request(core, &req)) {
            tr__listed_shard shard = {.id = TR_VIEW("shardId-00000000000000000000-00000001")};
            tr__answer a = {
                .id = req.id, .service_ms = -1, .iterator = TR_VIEW("it"), .status = TR_VIEW("ENABLED")};
            if (req.kind == TR__REQ_DESCRIBE_STREAM) {
                a.shards = &shard;
                a.count = 1;
            } else if (req.kind == TR__REQ_GET_RECORDS) {
                int64_t t = tr_clock_mono_ns();
                write_page(&body, made++ * PAGE);
                generating += seconds(t);
                t = tr_clock_mono_ns();
                if (tr__page_decode(NULL, tr_buf_view(&body), shard.id, false, &a.page, &next, NULL))
                    return 1;
                decoding += seconds(t);
                a.body_bytes = body.len;
            }
            tr__core_answer(core, &a);
        }
        for (tr_stream_event *e; (e = tr__core_take(core)) != NULL; tr__core_ack(core, e))
            done += e->kind == TR_STREAM_RECORD;
    }
    double total = seconds(start) - generating;
    (void)printf(
        "%llu records of two 400-byte images: %.0f records/s, %.2f us each (decoding %.2f, machine %.2f)\n",
        (unsigned long long)done, (double)done / total, total / (double)done * 1e6,
        decoding / (double)done * 1e6, (total - decoding) / (double)done * 1e6);
    tr__core_free(core);
    tr_buf_done(&body);
    tr_buf_done(&next);
    return 0;
}
