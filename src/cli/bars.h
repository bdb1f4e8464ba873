/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_BARS_H
#define TAILRACE_CLI_BARS_H

/**
 * bars.h: lines at the bottom of the terminal that are drawn anew as work goes on, one for each of several
 * things. Messages come above them. Safe from any thread.
 */

#include "cli/cli.h"

#include <pthread.h>

#define TR_CLI_BARS_MAX  64
#define TR_CLI_BAR_BYTES 512

typedef struct tr_cli_bars {
    pthread_mutex_t lock;
    size_t count, drawn; /* drawn: lines that stand on the terminal */
    bool on;             /* stderr is a terminal */
    char text[TR_CLI_BARS_MAX][TR_CLI_BAR_BYTES];
} tr_cli_bars;

void tr_cli_bars_init(tr_cli_bars *bars, size_t count);
/** Leaves what is drawn where it is. */
void tr_cli_bars_done(tr_cli_bars *bars);
/** Draws line `which`, text cut to the terminal's width. `part` (0 to 1) is how much of the bar is filled.
 * Without a terminal nothing happens. */
void tr_cli_bars_set(tr_cli_bars *bars, size_t which, double part, const char *text);
/** A message as tr_cli_message writes it. */
void tr_cli_bars_message(tr_cli_bars *bars, tr_log_level level, const char *format, ...) TR_PRINTF(3, 4);
/** The same as a callback for the libraries, as tr_cli_logger. */
tr_logger tr_cli_bars_logger(tr_cli_bars *bars);

#endif
