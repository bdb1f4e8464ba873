/* SPDX-License-Identifier: MIT */
/** Base64, times, durations, varints and UTF-8 on any bytes: what goes out comes back, and what comes in goes
 * out. */
#include <assert.h>
#include <stdlib.h>

#include <tailrace/base.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void base64_goes_both_ways(tr_view bytes)
{
    tr_buf text;
    tr_buf_init(&text, 1 << 24);
    tr_base64_put(&text, bytes);
    assert(tr_buf_status(&text) == 0);
    char *back = malloc(TR_BASE64_DECODED_MAX(text.len) + 1);
    size_t len = 0;
    assert(tr_base64_decode(tr_buf_view(&text), back, &len) == 0);
    assert(tr_view_eq(tr_view_of(back, len), bytes));
    free(back);
    tr_buf_done(&text);
}

/* A text that decodes is the only text of its bytes. */
static void base64_is_strict(tr_view text)
{
    char *bytes = malloc(TR_BASE64_DECODED_MAX(text.len) + 1);
    size_t len = 0;
    if (tr_base64_decode(text, bytes, &len) == 0) {
        tr_buf again;
        tr_buf_init(&again, 1 << 24);
        tr_base64_put(&again, tr_view_of(bytes, len));
        assert(tr_view_eq(tr_buf_view(&again), text));
        tr_buf_done(&again);
    }
    free(bytes);
}

static void times_go_both_ways(tr_view text)
{
    int64_t ms = 0, again = 0;
    if (tr_time_parse(text, &ms) == 0) {
        char out[TR_TIME_TEXT_MAX];
        tr_time_format(ms, true, out);
        assert(tr_time_parse(tr_view_str(out), &again) == 0 && again == ms);
    }
    if (tr_duration_parse(text, &ms) == 0)
        assert(ms >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tr_view bytes = tr_view_of(data, size);
    uint64_t number = 0;
    base64_goes_both_ways(bytes);
    base64_is_strict(bytes);
    times_go_both_ways(bytes);
    size_t used = tr_varint_get(bytes, &number);
    assert(used <= TR_VARINT_MAX && used <= size);
    if (used) {
        uint8_t out[TR_VARINT_MAX];
        uint64_t again = 0;
        size_t wrote = tr_varint_put(out, number);
        assert(wrote <= used && tr_varint_get(tr_view_of(out, wrote), &again) == wrote && again == number);
    }
    (void)tr_utf8_valid(bytes);
    (void)tr_view_to_u64(bytes, UINT64_MAX, &number);
    tr_buf out;
    tr_buf_init(&out, 1 << 24);
    tr_percent_put(&out, bytes, size & 1);
    tr_buf_done(&out);
    return 0;
}
