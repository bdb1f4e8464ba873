/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_HANDLER_H
#define TAILRACE_HANDLER_H

/**
 * tailrace/handler.h: runs user code on events: a program that stays, a program per event, a URL, or an AWS
 * Lambda handler in Node or Python, unchanged.
 *
 * A tr_handler takes events (JSON objects, as Lambda would be given them) and gives back what became of each.
 * Whatever the user's code does (crash, hang, flood its output, answer nonsense), the handler goes on: the
 * event's outcome says what happened, processes are ended with everything they started, and started anew with
 * a growing pause.
 *
 *   kind                  an event is                               success is
 *   TR_HANDLER_EXEC       a line {"id":n,…event} on the standard    a line {"id":n,…} on its standard output
 *                         input of one process
 *   TR_HANDLER_EXEC_EACH  the standard input of a fresh process     exit status 0
 *   TR_HANDLER_URL        the body of a POST                        a 2xx answer
 *   TR_HANDLER_LAMBDA     an invocation of the Lambda runtime API   the handler's return
 *
 * A line on the output of TR_HANDLER_EXEC that is no answer to an event it has fails the events it has
 * (TR_EPARSE), and its process is ended.
 *
 * Commands run by /bin/sh. Standard error (and output, where it is not the answer) goes to on_log line by
 * line.
 *
 * Threads: a handler owns one thread, on which results and log lines are delivered. All functions may be
 * called from any thread, but on that one tr_handler_invoke_wait and tr_handler_check are refused
 * (TR_ETHREAD), and tr_handler_free is a programmer's error. Promise: if tr_handler_invoke returns 0 its
 * callback runs exactly once, also when the handler is freed.
 */

#include <tailrace/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_handler_kind {
    TR_HANDLER_EXEC,
    TR_HANDLER_EXEC_EACH,
    TR_HANDLER_URL,
    TR_HANDLER_LAMBDA
} tr_handler_kind;

#define TR_HANDLER_CONCURRENCY_MAX 1000
/** Lambda's time to load code (Developer Guide, "Lambda execution environment", init phase): 10 s. */
#define TR_HANDLER_LOAD_MS 10000
/** Lambda's longest run (Developer Guide, "Lambda quotas"): 15 minutes. */
#define TR_HANDLER_TIMEOUT_MS 900000
/** Lambda's largest answer (same source): 6 MB. */
#define TR_HANDLER_OUTPUT_MAX (6 * 1024 * 1024)

/** Zero-initialise, set what you need. All text is copied. */
typedef struct tr_handler_options {
    tr_handler_kind kind;
    const char *target; /**< Required: the command, the URL, or "src/trigger.handler" (file without ending,
                           function). */
    const char *name;   /**< Optional: the function's name, for AWS_LAMBDA_FUNCTION_NAME; else the target. */
    const char
        *directory; /**< Optional: where commands run and modules are looked for; else the current one. */
    const char *const
        *environment; /**< Optional: "NAME=VALUE" for the user's code, beside this process's own. */
    size_t environment_count;
    const char *endpoint; /**< Optional: the server the code shall use; it gets IS_OFFLINE=true,
                             AWS_ENDPOINT_URL* and dummy credentials. NULL: AWS. */
    const char *region;   /**< Optional: AWS_REGION for the code. */
    unsigned
        concurrency; /**< events at the same time; 0: 1. Processes of that number for EXEC_EACH and LAMBDA. */
    int64_t timeout_ms; /**< of an event, waiting for its turn not included; 0: TR_HANDLER_TIMEOUT_MS */
    size_t output_max;  /**< bytes of an answer; 0: TR_HANDLER_OUTPUT_MAX */
    void (*on_log)(void *ctx, tr_view line); /**< Optional. */
    void *log_ctx;
    tr_logger logger;
} tr_handler_options;

/** What became of an event. Views are valid during the callback. */
typedef struct tr_handler_result {
    /**
     * 0: success. TR_ESERVICE: the code said it failed (an exception, an exit status, a status that is not
     * 2xx). TR_ETIMEOUT. TR_ECLOSED: its process ended without an answer. TR_EPARSE: the answer is not
     * one. TR_ELIMIT: it is too large. TR_ECONNECT: the URL cannot be reached. TR_EINVAL: the code cannot be
     * loaded or started. TR_ECANCELED.
     */
    int code;
    tr_view response;   /**< JSON; empty if there is none */
    tr_view error_type; /**< "Error", "Runtime.ExitError", … ; empty on success */
    tr_view error_message;
    tr_view trace; /**< a JSON array of strings; empty if there is none */
} tr_handler_result;
typedef void tr_handler_fn(void *ctx, const tr_handler_result *result);

typedef struct tr_handler tr_handler;

/** Checks the target (a module's file must exist); processes start with the first event. TR_EINVAL,
 * TR_ENOMEM, TR_EIO. */
int tr_handler_new(const tr_handler_options *options, tr_handler **ret_handler, tr_error *err);
/** Fails what waits with TR_ECANCELED; ends processes: end of input, after 2 s SIGTERM, after 2 more SIGKILL.
 * NULL is fine. */
void tr_handler_free(tr_handler *handler);
/**
 * Whether the code can run at all, before any event: blocks until a TR_HANDLER_LAMBDA's module is loaded (not
 * longer than TR_HANDLER_LOAD_MS, after which the first event will tell) and has the function; looks for the
 * program that a command begins with. TR_ESERVICE: the module cannot be loaded, err says why. TR_ENOTFOUND:
 * there is no such program. TR_EIO, TR_ENOMEM, TR_ETHREAD. Call it at most once, before the first event.
 */
int tr_handler_check(tr_handler *handler, tr_error *err);
/** event: a JSON object; copied. */
int tr_handler_invoke(tr_handler *handler, tr_view event, tr_handler_fn *fn, void *ctx);
/**
 * Blocks until the outcome. Returns its code; on success the response is appended to ret_response, on failure
 * err has the error's type and message, and ret_response gets the trace.
 */
int tr_handler_invoke_wait(tr_handler *handler, tr_view event, tr_buf *ret_response, tr_error *err);
/** Fails all events with TR_ECANCELED, those that wait too, and kills what runs them. The handler can be used
 * on. */
void tr_handler_cancel(tr_handler *handler);
/** Ends the processes, so that the next event meets fresh ones (the code has changed). Events under way are
 * finished first, as far as they end within 2 s. */
void tr_handler_restart(tr_handler *handler);

#ifdef __cplusplus
}
#endif
#endif
