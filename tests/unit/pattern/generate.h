/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_PATTERN_GENERATE_H
#define TAILRACE_PATTERN_GENERATE_H

/** Patterns and events of few letters and few keys, so that they meet often. */

#include <tailrace/base.h>

/** Appends a valid pattern of every operator. */
void generate_pattern(tr_rng *rng, tr_buf *out);
/** Appends an event. */
void generate_event(tr_rng *rng, tr_buf *out);

#endif
