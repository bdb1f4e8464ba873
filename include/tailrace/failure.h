/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_FAILURE_H
#define TAILRACE_FAILURE_H

/**
 * tailrace/failure.h: where events go that a handler could not handle.
 *
 * A failure destination is given failure records, in the shapes that AWS Lambda gives its own destinations.
 * One that can be read is a queue of dead letters as well: its entries can be looked at, tried again, and
 * removed.
 *
 *   destination                          what is put there                                        readable
 *   file:PATH                            a line of JSON                                                yes
 *   sqlite:PATH                          a row of the table dead_letters                               yes
 *   table:NAME                           an item; the table is made if missing                         yes
 *   a table's ARN                        an item; the table must be there                              yes
 *   queue:NAME, queue:URL, an SQS ARN,   a message                                                     yes
 *   https://sqs.REGION.amazonaws.com/…
 *   http://…, https://…                  a POST; 2xx is success                                         no
 *   bus:NAME, an event bus' ARN          an event: source "lambda", detail-type "Lambda Function        no
 *                                        Invocation Result - Failure"
 *   lambda:NAME, a function's ARN        an asynchronous invocation, on AWS                             no
 *   exec:COMMAND, exec-each:COMMAND,     an event of that handler (tailrace/handler.h)                  no
 *   handler:MODULE.EXPORT
 *
 * What is put is the failure record. That of a stream's batch gets one more member, Records: the full records
 * of the batch, as the handler was given them. Where a destination limits what it takes (queue, bus, lambda:
 * 256 KB), a batch is put in several parts, each with the record and some of the Records; one record that
 * alone is too large is left out, so that the failure record names it only.
 *
 * Threads: a destination is used by one thread at a time. All functions may block.
 */

#include <tailrace/client.h>
#include <tailrace/handler.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_failure_kind {
    TR_FAILURE_FILE,
    TR_FAILURE_SQLITE,
    TR_FAILURE_TABLE,
    TR_FAILURE_QUEUE,
    TR_FAILURE_BUS,
    TR_FAILURE_LAMBDA,
    TR_FAILURE_EXEC,
    TR_FAILURE_EXEC_EACH,
    TR_FAILURE_HANDLER,
    TR_FAILURE_URL
} tr_failure_kind;

/** A destination's text, taken apart. Views and pointers are into the text. */
typedef struct tr_failure_place {
    tr_failure_kind kind;
    const char *at; /**< what stands behind the kind: a path, a command, a name; the whole of an ARN or URL */
    tr_view name;   /**< the name alone of a table, queue, bus or function, also where an ARN or URL has it */
    tr_view account; /**< of an ARN; else empty */
} tr_failure_place;
/** The grammar above, for all who take a destination. TR_EINVAL: err tells what would be right. */
int tr_failure_parse(const char *destination, tr_failure_place *ret_place, tr_error *err);

/** What was given up. Views are valid during the call. */
typedef struct tr_failure {
    tr_view source;                    /**< for lists: the name of the handler, or of its mapping */
    tr_view record;                    /**< the failure record: a JSON object */
    tr_view event;                     /**< what the handler was given, JSON: enough to try it again */
    tr_view error_type, error_message; /**< of the last attempt; what is no UTF-8 is put as '?' */
    uint64_t attempts;
} tr_failure;

/** What is kept of it. Views are valid during the callback. */
typedef struct tr_failure_entry {
    tr_view id;    /**< what tr_failure_remove takes */
    tr_view time;  /**< RFC 3339 */
    tr_view event; /**< empty where it was too large to be kept */
    tr_view source, record, error_type, error_message;
    uint64_t attempts;
} tr_failure_entry;
/** Returns nonzero to stop with that code. May remove the entry it was given. */
typedef int tr_failure_fn(void *ctx, const tr_failure_entry *entry);

/** A destination: one of those above, or yours. */
typedef struct tr_failure_sink tr_failure_sink;
struct tr_failure_sink {
    /** 0 once the failure would survive a crash. After an error it is put again, so it may come twice. */
    int (*put)(tr_failure_sink *sink, const tr_failure *failure, tr_error *err);
    /** Optional, all three or none: see the functions below. */
    int (*each)(tr_failure_sink *sink, tr_failure_fn *fn, void *ctx, tr_error *err);
    int (*remove)(tr_failure_sink *sink, tr_view id, tr_error *err);
    int (*purge)(tr_failure_sink *sink, uint64_t *ret_count, tr_error *err);
    void (*free)(tr_failure_sink *sink);
};

/** Zero-initialise, set what you need. All text is copied. */
typedef struct tr_failure_options {
    const char *destination; /**< Required. */
    bool existing;           /**< For reading: a file or table that is not there is TR_ENOTFOUND. */
    bool
        check; /**< What can be told now is told now: a queue or bus that is not there, a program that is not,
                  a module that cannot be loaded (TR_ENOTFOUND, TR_ESERVICE …). Blocks, so not on the client's
                  I/O thread. A function on AWS is not asked for, which would take a further right. */
    /**
     * For tables, queues and buses: where they are; must outlive the destination. Without, and for an ARN or
     * URL of another region while the client talks to AWS: as tr_client_new finds it.
     */
    tr_client *client;
    const char *region, *profile; /**< Optional: for clients of its own (lambda: always). */
    /** Optional: directory, environment, endpoint, region, time limit, log of code that it runs. `kind`,
     * `target` and `name` are ignored. */
    const tr_handler_options *handler;
    tr_logger logger;
} tr_failure_options;

/** TR_EINVAL where the destination is none of the above (err tells them), TR_ENOTFOUND, TR_EIO, … */
int tr_failure_sink_open(const tr_failure_options *options, tr_failure_sink **ret_sink, tr_error *err);
/** NULL is fine. */
void tr_failure_sink_free(tr_failure_sink *sink);
/** Whether a destination, as text, needs `client`. */
bool tr_failure_needs_client(const char *destination);

int tr_failure_put(tr_failure_sink *sink, const tr_failure *failure, tr_error *err);
/**
 * Calls fn for each entry, the oldest first (queues: in the order in which they give their messages, which
 * are invisible to others meanwhile). TR_EUNSUPPORTED if the destination cannot be read.
 */
int tr_failure_each(tr_failure_sink *sink, tr_failure_fn *fn, void *ctx, tr_error *err);
/** TR_ENOTFOUND, TR_EUNSUPPORTED. */
int tr_failure_remove(tr_failure_sink *sink, tr_view id, tr_error *err);
/** Removes all, and counts them. */
int tr_failure_purge(tr_failure_sink *sink, uint64_t *ret_count, tr_error *err);

/**
 * Gives an entry's event to a handler again, and removes the entry where that succeeds. An answer that names
 * batchItemFailures is no success (TR_ESERVICE): the entry stays as it is, and the whole of it comes again.
 * TR_EUNSUPPORTED: the entry does not hold its event. Blocks.
 */
int tr_failure_redrive(tr_failure_sink *sink, const tr_failure_entry *entry, tr_handler *handler,
                       tr_error *err);

#ifdef __cplusplus
}
#endif
#endif
