/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_PATTERN_ORACLE_H
#define TAILRACE_PATTERN_ORACLE_H

/**
 * Event patterns, matched the plain way: one pattern, one event, trees, recursion. It shares nothing with the
 * library but the language, so that a disagreement is a mistake in one of the two. Numbers must keep their
 * digits in a double.
 */

#include <stdbool.h>

#include <cjson/cJSON.h>

/** Whether an event matches a valid pattern. */
bool oracle_match(const cJSON *pattern, const cJSON *event);

#endif
