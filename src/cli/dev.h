/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_DEV_H
#define TAILRACE_CLI_DEV_H

/**
 * dev.h: inside of `tailrace dev`: a project in one process.
 *
 *   server (engine, bus, functions) <--- client --- runners: a thread per mapping and per pipe
 *         \______________ lines _______________________/
 *                           |
 *                        output (one lock)            watcher: a thread that looks for changed files
 *
 * Lock order: none is held while another is taken. The output's lock is held for one write.
 */

#include "cli/cli.h"
#include "cli/project/project.h"

#include <tailrace/client.h>
#include <tailrace/engine.h>
#include <tailrace/handler.h>

/* ----------------------------------------------------------------------------------------------- output */

/** Lines on stderr, each with the name of what said it, coloured on a terminal (NO_COLOR is honoured). From
 * any thread. */
void tr_dev_say(const char *source, tr_view line);
void tr_dev_sayf(const char *source, const char *format, ...) TR_PRINTF(2, 3);
/** How wide names are made. Before any thread starts. */
void tr_dev_width(const tr_project *project);
/** Messages of the libraries, as of that source (which must outlive the logger); debug messages only with
 * TAILRACE_DEBUG. */
tr_logger tr_dev_logger(const char *source);

/* ---------------------------------------------------------------------------------------------- runners */

typedef struct tr_dev_runner tr_dev_runner;

/** What runners share. */
typedef struct tr_dev_place {
    tr_project *project;
    tr_server *server;
    const char *endpoint; /**< for handlers */
    const char *state;    /**< directory of positions; NULL: none are kept */
} tr_dev_place;

/** Starts everything that the project maps and pipes. On failure all is stopped again. */
int tr_dev_runners_start(const tr_dev_place *place, tr_dev_runner **ret_runners, tr_error *err);
/** Asks all to end; from any thread. */
void tr_dev_runners_stop(tr_dev_runner *runners);
/** Waits for their ends and frees them. NULL is fine. */
void tr_dev_runners_free(tr_dev_runner *runners);
/** The code of a function has changed. */
void tr_dev_runners_restart(tr_dev_runner *runners, const char *function);

/* ---------------------------------------------------------------------------------------------- watcher */

typedef struct tr_dev_watcher tr_dev_watcher;
/** Calls changed(ctx, function, file) on a thread of its own when a file of a function's code has changed. */
int tr_dev_watch(const tr_project *project,
                 void (*changed)(void *ctx, const char *function, const char *file), void *ctx,
                 tr_dev_watcher **ret_watcher, tr_error *err);
void tr_dev_watch_end(tr_dev_watcher *watcher);

#endif
