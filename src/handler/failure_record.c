/* SPDX-License-Identifier: MIT */
#include "handler/failure.h"

static void write_time(tr_json_writer *w, const char *name, int64_t ms)
{
    char text[TR_TIME_TEXT_MAX];
    tr_time_format(ms, true, text);
    tr_json_member_cstring(w, name, text);
}

static void write_batch_info(const tr__stream_failure *f, tr_json_writer *w)
{
    tr_json_name(w, "DDBStreamBatchInfo");
    tr_json_begin_object(w);
    tr_json_member_string(w, "shardId", f->first->shard_id);
    tr_json_member_string(w, "startSequenceNumber", f->first->sequence_number);
    tr_json_member_string(w, "endSequenceNumber", f->last->sequence_number);
    write_time(w, "approximateArrivalOfFirstRecord", f->first->time_ms);
    write_time(w, "approximateArrivalOfLastRecord", f->last->time_ms);
    tr_json_member_u64(w, "batchSize", f->count);
    tr_json_member_cstring(w, "streamArn", f->stream_arn);
    tr_json_end_object(w);
}

void tr__failure_of_stream(const tr__stream_failure *f, tr_buf *out)
{
    char id[TR_UUID_LEN + 1];
    tr_json_writer w;
    tr_uuid(id);
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    tr_json_name(&w, "requestContext");
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "requestId", id);
    tr_json_member_string(&w, "functionArn", f->function_arn);
    tr_json_member_cstring(&w, "condition", f->condition);
    tr_json_member_u64(&w, "approximateInvokeCount", f->attempts);
    tr_json_end_object(&w);
    tr_json_name(&w, "responseContext");
    tr_json_begin_object(&w);
    tr_json_member_u64(&w, "statusCode", 200);
    tr_json_member_cstring(&w, "executedVersion", "$LATEST");
    tr_json_member_cstring(&w, "functionError", "Unhandled");
    tr_json_end_object(&w);
    tr_json_member_cstring(&w, "version", "1.0");
    write_time(&w, "timestamp", tr_clock_wall_ms());
    write_batch_info(f, &w);
    tr_json_end_object(&w);
}
