/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_IMPORT_H
#define TAILRACE_API_IMPORT_H

/** import.h: items out of the text of an object. Internal to import.c and import_lines.c. */

#include "api/call.h"

typedef struct tr_import_format {
    bool csv;
    bool given, delimiter_given; /* told: that there are options, and which */
    char delimiter;
    bool has_header; /* the names below were given, so an object's first line is data */
    tr_view *header; /* names; of the first line otherwise */
    uint32_t header_count;
} tr_import_format;

/** An object's text, read line by line. Zero-initialise, set text and format. */
typedef struct tr_import_lines {
    tr_view text;
    size_t at;
    const tr_import_format *format;
    tr_view *names; /* of CSV's columns, for this object */
    uint32_t name_count;
    tr_arena *names_arena;
} tr_import_lines;

/**
 * The next item, in the arena, for a table with these attribute definitions. TR_ENOTFOUND: the end.
 * TR_EPARSE: a line that holds no item, which was passed over; err says why.
 */
int tr__import_next(tr_import_lines *lines, const tr_table *table, tr_arena *arena, tr_buf *scratch,
                    tr_item *ret_item, tr_error *err);

#endif
