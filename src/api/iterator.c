/* SPDX-License-Identifier: MIT */
#include "api/iterator.h"

#define NUMBERS (8 + 8 + 4) /* bytes behind the shard's id */

static const char mark[] = "|1|";

static uint32_t checksum(tr_view stream_arn, const char *bytes, size_t len)
{
    return tr_crc32(tr_crc32(0, stream_arn), tr_view_of(bytes, len));
}

void tr__iterator_put(tr_buf *out, tr_view stream_arn, const char *shard_id, uint64_t position,
                      int64_t made_ms)
{
    char bytes[TR_SHARD_ID_SIZE + NUMBERS];
    size_t n = strlen(shard_id) + 1;
    memcpy(bytes, shard_id, n);
    tr_put_be64(bytes + n, position);
    tr_put_be64(bytes + n + 8, (uint64_t)made_ms);
    tr_put_be32(bytes + n + 16, checksum(stream_arn, bytes, n + 16));
    tr_buf_put_view(out, stream_arn);
    tr_buf_put_str(out, mark);
    tr_base64_put(out, tr_view_of(bytes, n + NUMBERS));
}

int tr__iterator_get(tr_view text, tr_iterator *ret_iterator)
{
    char bytes[TR_BASE64_DECODED_MAX(TR_ITERATOR_MAX)];
    size_t len, at = tr_view_find(text, TR_VIEW("|1|"), 0);
    if (text.len > TR_ITERATOR_MAX || at == SIZE_MAX)
        return TR_EPARSE;
    tr_view arn = tr_view_of(text.ptr, at), code = tr_view_of(text.ptr + at + 3, text.len - at - 3);
    if (tr_base64_decode(code, bytes, &len) || len < NUMBERS + 2 || len > TR_SHARD_ID_SIZE + NUMBERS)
        return TR_EPARSE;
    size_t n = len - NUMBERS;
    if (bytes[n - 1] != 0 || memchr(bytes, 0, n) != bytes + n - 1 ||
        tr_get_be32(bytes + n + 16) != checksum(arn, bytes, n + 16))
        return TR_EPARSE;
    ret_iterator->stream_arn = arn;
    memcpy(ret_iterator->shard_id, bytes, n);
    ret_iterator->position = tr_get_be64(bytes + n);
    ret_iterator->made_ms = (int64_t)tr_get_be64(bytes + n + 8);
    return 0;
}
