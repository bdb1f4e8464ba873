/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_YAML_H
#define TAILRACE_CLI_YAML_H

/**
 * yaml.h: a YAML file as a tree of libyaml's nodes, with what reading a configuration takes: members by name,
 * scalars with their variables filled in, parts of it as JSON, and errors that name the line.
 *
 * Limits: a file of 4 MiB, 64 levels, 100,000 nodes in one conversion (an alias counts each time it is used).
 */

#include <tailrace/base.h>
#include <tailrace/json.h>

#include <yaml.h>

#define TR_YAML_FILE_MAX  ((size_t)4 << 20)
#define TR_YAML_DEPTH_MAX 64
#define TR_YAML_NODES_MAX 100000

typedef struct tr_yaml tr_yaml;
/** What "${NAME}" stands for; text on the arena. NULL after setting err. line: where it stands. */
typedef const char *tr_yaml_variable_fn(void *ctx, tr_view name, int line, tr_error *err);

struct tr_yaml {
    const char *path; /* as given; for errors */
    tr_arena *arena;
    tr_yaml_variable_fn *variable; /* NULL: text is taken as it is */
    void *variable_ctx;
    yaml_document_t document;
    unsigned depth; /* of variables within variables */
};

/** Reads a file. Text lives on the arena. TR_ENOTFOUND (no such file), TR_EPARSE with the line, TR_ELIMIT. */
int tr_yaml_open(tr_yaml *yaml, const char *path, tr_arena *arena, tr_error *err);
void tr_yaml_close(tr_yaml *yaml);

/** NULL for an empty file. */
yaml_node_t *tr_yaml_root(tr_yaml *yaml);
/** A member of a mapping; NULL if there is none, the node is NULL or no mapping. */
yaml_node_t *tr_yaml_get(tr_yaml *yaml, yaml_node_t *node, const char *name);
/** Member or element number i; false behind the last. name: NULL for elements. */
bool tr_yaml_at(tr_yaml *yaml, yaml_node_t *node, size_t i, const char **ret_name, yaml_node_t **ret_value);
int tr_yaml_line(const yaml_node_t *node);
/** "FILE:LINE: …" into err; returns TR_EINVAL. */
int tr_yaml_fail(const tr_yaml *yaml, const yaml_node_t *node, tr_error *err, const char *format, ...)
    TR_PRINTF(4, 5);
/** A scalar's text, its variables filled in. TR_EINVAL (no scalar, unknown variable), TR_ENOMEM. */
int tr_yaml_text(tr_yaml *yaml, yaml_node_t *node, const char **ret_text, tr_error *err);
/** Whether a scalar is plain, so that numbers, true, false and null stand for themselves. */
bool tr_yaml_plain(const yaml_node_t *node);
/** Appends the node as JSON. */
int tr_yaml_json(tr_yaml *yaml, yaml_node_t *node, tr_json_writer *writer, tr_error *err);
/** The node as JSON text on the arena. */
int tr_yaml_json_text(tr_yaml *yaml, yaml_node_t *node, const char **ret_json, tr_error *err);
/** Fills the variables of a text in. */
int tr_yaml_expand(tr_yaml *yaml, const char *text, int line, const char **ret_text, tr_error *err);
/**
 * Refuses members that are not among `names` (NULL ends them), naming the nearest that is. where: what the
 * mapping describes, "function thumbs".
 */
int tr_yaml_check(tr_yaml *yaml, yaml_node_t *node, const char *where, const char *const *names,
                  tr_error *err);
/** The nearest of the names to a misspelt one; NULL if none is near. */
const char *tr_nearest(const char *name, const char *const *names);

#endif
