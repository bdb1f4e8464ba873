/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_PROJECT_READER_H
#define TAILRACE_CLI_PROJECT_READER_H

/**
 * reader.h: what both readers of projects use. The first error sticks: from then on everything gives its
 * default, so that a reader looks at `code` once, at its end.
 */

#include "cli/project/project.h"
#include "cli/project/yaml.h"

typedef struct tr_project_reader {
    tr_project *p;
    tr_yaml y;
    tr_error *err;
    int code;
} tr_project_reader;

/** Reads a tailrace.yaml. Sets r->code. */
void tr__project_read_native(tr_project_reader *r);
/** Reads a serverless.yml. */
void tr__project_read_serverless(tr_project_reader *r);

void tr__rd_fail(tr_project_reader *r, const yaml_node_t *node, const char *format, ...) TR_PRINTF(3, 4);
/** Zeroed, on the project's arena; a place that nobody reads after an error. */
void *tr__rd_new(tr_project_reader *r, size_t size);
const char *tr__rd_printf(tr_project_reader *r, const char *format, ...) TR_PRINTF(2, 3);
/** Refuses unknown members. */
void tr__rd_check(tr_project_reader *r, yaml_node_t *node, const char *where, const char *const *names);
yaml_node_t *tr__rd_get(tr_project_reader *r, yaml_node_t *map, const char *name);
/** NULL if it is not there. */
const char *tr__rd_text(tr_project_reader *r, yaml_node_t *map, const char *name);
const char *tr__rd_scalar(tr_project_reader *r, yaml_node_t *node);
const char *tr__rd_json(tr_project_reader *r, yaml_node_t *map, const char *name);
/** The same for an event pattern, which is checked; `what` it is of stands in the error ("rule x"). */
const char *tr__rd_pattern(tr_project_reader *r, yaml_node_t *map, const char *name, const char *what);
int64_t tr__rd_int(tr_project_reader *r, yaml_node_t *map, const char *name, int64_t min, int64_t max,
                   int64_t otherwise);
/** "90s", in milliseconds. */
int64_t tr__rd_duration(tr_project_reader *r, yaml_node_t *map, const char *name, int64_t otherwise);
bool tr__rd_bool(tr_project_reader *r, yaml_node_t *map, const char *name, bool otherwise);
/** A text or a list of texts. */
tr_project_text *tr__rd_texts(tr_project_reader *r, yaml_node_t *node);
/** A pattern or a list of them, as JSON. */
tr_project_text *tr__rd_patterns(tr_project_reader *r, yaml_node_t *node);
tr_project_pair *tr__rd_pairs(tr_project_reader *r, yaml_node_t *node);
void tr__rd_add_text(tr_project_reader *r, tr_project_text **list, const char *text);
/** Whether a name in the file is one of a list; else an error that names the nearest. */
void tr__rd_known(tr_project_reader *r, const yaml_node_t *node, const char *what, const char *name,
                  const char *const *names);

/** Appends to a list of the project's structs, whose first member is `next`. */
#define TR_RD_APPEND(list, item)                                                                             \
    do {                                                                                                     \
        void **at_ = (void **)&(list);                                                                       \
        while (*at_)                                                                                         \
            at_ = (void **)*at_;                                                                             \
        *at_ = (item);                                                                                       \
    } while (0)

#endif
