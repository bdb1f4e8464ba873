/* SPDX-License-Identifier: MIT */
#ifndef TR_STREAM_FILTER_H
#define TR_STREAM_FILTER_H

#include <tailrace/stream.h>

/* Event patterns as a filter of the machine's: those of the options in one matcher, then the user's own
 * filter. */

typedef struct tr__filter tr__filter;

/** Makes the filter if there are patterns, and puts it into the options that the machine is given.
 * *ret_filter stays as it is without patterns. TR_EINVAL, TR_ENOMEM. */
int tr__filter_new(tr_stream_options *options, tr__filter **ret_filter, tr_error *err);
void tr__filter_free(tr__filter *filter);

#endif
