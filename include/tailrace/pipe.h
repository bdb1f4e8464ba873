/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_PIPE_H
#define TAILRACE_PIPE_H

/**
 * tailrace/pipe.h: a table's changes become events on a bus.
 *
 *   stream --> patterns --> what is an event --> transform --> publisher --> acknowledged
 *                                                                  '-- given up --> on_failure --^
 *
 * A record is acknowledged once the bus has its event, or the failure destination its failure record: after a
 * crash those that were not come again, so every record becomes an event at least once. Events of one item
 * (of one run of a log: everything under one pk) keep their order; see tailrace/publish.h.
 *
 * What becomes of a record
 *
 *   TR_PIPE_LOG     The contract of dynamodb-logs. INSERT and MODIFY of items whose pk ends in "#stream";
 *                   everything else is skipped, and so is an item with the attribute TR_PIPE_REPLAY_MARK,
 *                   which a replay has written. Source "dynamodb-log", detail type "stream changes", detail
 *                   {"log":…,"key":{"pk":…,"sk":…},"type":…,"payload":…} in plain JSON, without time and
 *                   resources. Above TR_PIPE_DETAIL_MAX UTF-16 units:
 *                   {"log":…,"key":…,"type":…,"partial":true,"payload":{"id":…}}. The events of a batch are
 *                   grouped by log, in the order in which the logs first occur in it.
 *   TR_PIPE_RECORD  As EventBridge Pipes do it: source "Pipe NAME", detail type "Event from aws:dynamodb",
 *                   detail the stream's record in the service's form.
 *   TR_PIPE_PLAIN   The same with plain (unmarshalled) items: {"event":"insert","keys":…,"new":…,…}.
 *
 * Threads: tr_pipe_run works on the calling thread; tr_pipe_stop may be called from any.
 */

#include <tailrace/failure.h>
#include <tailrace/log.h>
#include <tailrace/mapping.h>
#include <tailrace/publish.h>
#include <tailrace/stream.h>
#include <tailrace/transform.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TR_PIPE_SOURCE      "dynamodb-log"
#define TR_PIPE_DETAIL_TYPE "stream changes"
#define TR_PIPE_DETAIL_MAX  10240 /* UTF-16 units of a detail that is sent whole */
/** Attribute of items, and member of details, that came with a replay: the replay's name. */
#define TR_PIPE_REPLAY_MARK TR_LOG_REPLAY

typedef enum tr_pipe_format { TR_PIPE_LOG, TR_PIPE_RECORD, TR_PIPE_PLAIN } tr_pipe_format;

/**
 * Appends the detail of a record. TR_ENOTFOUND (nothing appended): the record is to be skipped. TR_ENOMEM,
 * TR_ELIMIT.
 */
int tr_pipe_detail(tr_pipe_format format, const tr_record *record, tr_buf *out);

/** Zero-initialise, set what you need. Text is copied. */
typedef struct tr_pipe_options {
    const char *name; /**< Optional: for failure records, templates and TR_PIPE_RECORD's source; "pipe" */
    const char *bus;  /**< Required: name or ARN */
    tr_pipe_format format;
    const char *source, *detail_type; /**< Optional: in place of the format's */
    bool with_time;                   /**< Events carry the record's creation time. */
    const tr_transform *transform;  /**< Optional: makes the detail anew out of the format's. Must outlive the
                                       pipe. */
    size_t batch_size;              /**< records that are grouped at most; 0: 25 */
    int64_t window_ms;              /**< how long a batch may wait to fill */
    tr_publisher_options publisher; /**< Optional: retries, age_ms, in_flight, sizes, strict_order … bus,
                                       on_failure and logger are set by the pipe. */
    tr_failure_sink *on_failure;    /**< Optional: owned from success on. Without, what is given up is told to
                                       the logger. */
    tr_logger logger;
} tr_pipe_options;

typedef struct tr_pipe tr_pipe;

typedef struct tr_pipe_stats {
    uint64_t records; /**< taken from the stream */
    uint64_t skipped; /**< of those: no events */
    uint64_t given_up;
    tr_publisher_stats publisher;
} tr_pipe_stats;

/**
 * bus: the client of the bus, which may be another than the stream's; it must outlive the pipe. Fills in what
 * the stream's options need for this pipe (raw records). The pipe must be freed before the stream, whose
 * records it holds. TR_EINVAL, TR_ENOMEM.
 */
int tr_pipe_new(tr_client *bus, const tr_pipe_options *options, tr_stream_options *stream_options,
                tr_pipe **ret_pipe, tr_error *err);
/** What is not published is given back to the stream. NULL is fine. */
void tr_pipe_free(tr_pipe *pipe);
/** Works until tr_pipe_stop (or tr_stream_stop), or with `once` until the stream has caught up (TR_ETIMEOUT
 * after 60 s without progress). */
int tr_pipe_run(tr_pipe *pipe, tr_stream *stream, bool once, tr_error *err);
/** Ends tr_pipe_run soon; requests under way may still end within 2 s. */
void tr_pipe_stop(tr_pipe *pipe);
void tr_pipe_get_stats(tr_pipe *pipe, tr_pipe_stats *ret_stats);

#ifdef __cplusplus
}
#endif
#endif
