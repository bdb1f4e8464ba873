/* SPDX-License-Identifier: MIT */
/**
 * The parser of Server-Sent Events on any bytes: it finds the same events whether they come at once or one
 * byte at a time, and keeps its limit.
 */
#include <assert.h>

#include <tailrace/http_client.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool note(void *ctx, tr_view id, tr_view event, tr_view data)
{
    tr_buf *out = ctx;
    tr_view parts[] = {id, event, data};
    for (size_t i = 0; i < 3; i++) {
        tr_buf_put_view(out, parts[i]);
        tr_buf_putc(out, '\1');
    }
    return !tr_view_is(event, "stop");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tr_sse_parser whole, pieces;
    tr_buf a, b;
    int code = 0;
    tr_sse_init(&whole, 200);
    tr_sse_init(&pieces, 200);
    tr_buf_init(&a, SIZE_MAX / 2);
    tr_buf_init(&b, SIZE_MAX / 2);
    int whole_code = tr_sse_feed(&whole, tr_view_of(data, size), note, &a);
    for (size_t i = 0; i < size && code == 0; i++)
        code = tr_sse_feed(&pieces, tr_view_of(data + i, 1), note, &b);
    /* a line that ends in the same piece it began in needs no buffer, and so may be longer than the limit */
    if (code != TR_ELIMIT) {
        assert(code == whole_code);
        assert(tr_view_eq(tr_buf_view(&a), tr_buf_view(&b)));
    }
    tr_sse_done(&whole);
    tr_sse_done(&pieces);
    tr_buf_done(&a);
    tr_buf_done(&b);
    return 0;
}
