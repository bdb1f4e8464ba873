/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_PROJECT_H
#define TAILRACE_CLI_PROJECT_H

/**
 * project.h: what a tailrace.yaml (docs/config.md) or a serverless.yml describes: where commands work, and a
 * project's tables, buses, archives, queues, functions, rules, stream mappings and pipes.
 *
 * Both files become the same structs; everything lives on the project's arena. Lists are linked, in the
 * file's order; texts are NULL where nothing was said; counts and times are 0 unless stated otherwise.
 */

#include <tailrace/base.h>

/** Where commands look for it, unless TAILRACE_CONFIG or --config names another. */
#define TR_PROJECT_FILE "tailrace.yaml"

typedef struct tr_project_pair {
    struct tr_project_pair *next;
    const char *name, *value;
} tr_project_pair;

typedef struct tr_project_text {
    struct tr_project_text *next;
    const char *text;
} tr_project_text;

typedef struct tr_project_table {
    struct tr_project_table *next;
    const char *name;
    /** The members AttributeDefinitions, KeySchema and those of indexes, as CreateTable and CloudFormation
     * have them alike: a JSON object. */
    const char *members;
    const char *stream; /**< StreamViewType; NULL: no stream */
    const char *ttl;    /**< the attribute */
    tr_project_pair *tags;
    bool guarded; /**< encryption and point-in-time recovery on AWS */
} tr_project_table;

typedef struct tr_project_archive {
    struct tr_project_archive *next;
    const char *name, *bus, *pattern, *description; /**< pattern: JSON */
    const char *path;                               /**< where its file is, if it has a place of its own */
    bool path_found;                                /**< the path was not said, but a file was there */
    int64_t retention_days;
} tr_project_archive;

typedef struct tr_project_function {
    struct tr_project_function *next;
    const char *name, *target; /**< as in tr_server_function: "handler:src/a.handler" */
    const char *directory, *on_failure, *runtime;
    tr_project_pair *environment;
    const char *const *variables; /**< the same as "NAME=VALUE" */
    size_t variable_count;
    unsigned concurrency;
    int64_t timeout_ms;
    const char *error; /**< for files of a foreign kind: why it cannot run here; NULL: it can */
} tr_project_function;

typedef enum tr_project_kind {
    TR_TO_FUNCTION,
    TR_TO_QUEUE,
    TR_TO_TABLE,
    TR_TO_BUS,
    TR_TO_URL
} tr_project_kind;

typedef struct tr_project_target {
    struct tr_project_target *next;
    const char *id, *to;
    tr_project_kind kind;
    const char *input, *input_path, *transformer; /**< JSON; a path; JSON */
    const char *dead_letters;                     /**< a queue */
    int64_t retries;                              /**< -1: not said */
    int64_t age_ms, concurrency, rate, retry_delay_ms, retry_max_delay_ms;
    const char *order_by;
} tr_project_target;

typedef struct tr_project_rule {
    struct tr_project_rule *next;
    const char *name, *bus, *pattern, *description; /**< pattern: JSON */
    bool disabled;
    tr_project_target *targets;
} tr_project_rule;

/** An event source mapping: a function on a table's changes. */
typedef struct tr_project_mapping {
    struct tr_project_mapping *next;
    const char *name, *table, *function, *from, *on_failure;
    int64_t batch_size, window_ms, parallelism, record_age_ms;
    int64_t retries; /**< -1: for ever */
    bool bisect;
    tr_project_text *filters; /**< JSON patterns */
} tr_project_mapping;

/** A table's changes to a bus, as dynamodb-logs' trigger does it. */
typedef struct tr_project_pipe {
    struct tr_project_pipe *next;
    const char *name, *table, *bus, *from, *on_failure, *source, *detail_type;
    int64_t batch_size, window_ms, parallelism;
    tr_project_text *filters;
} tr_project_pipe;

typedef struct tr_project {
    tr_arena arena;
    const char *path, *directory; /**< the file, and where it lies */
    bool serverless;              /**< a serverless.yml */
    const char *name, *stage;
    /* where commands work */
    const char *endpoint, *data, *region, *profile;
    const char *bucket; /**< of S3: where deploying puts functions' code */
    /* the server */
    tr_project_text *listen, *cors;
    int64_t stream_shards, shard_lifetime_ms, iterator_lifetime_ms, stream_retention_ms, put_events_bytes;
    /* deliveries of the whole project; retries -1: not said */
    int64_t retries, event_age_ms, retry_delay_ms, retry_max_delay_ms;
    /* what it is made of */
    tr_project_table *tables;
    tr_project_text *buses, *queues;
    tr_project_archive *archives;
    tr_project_function *functions;
    tr_project_rule *rules;
    tr_project_mapping *mappings;
    tr_project_pipe *pipes;
    tr_project_text *ignored; /**< of a serverless.yml: what means nothing here */
} tr_project;

/** stage: replaces the file's own; NULL: "local" unless the file says otherwise. TR_ENOTFOUND: no such file;
 * TR_EINVAL and TR_EPARSE name file and line. Free with tr_project_free. */
int tr_project_read(const char *path, const char *stage, tr_project **ret_project, tr_error *err);
/** The file given, else the one that TAILRACE_CONFIG names, else ./tailrace.yaml, else ./serverless.yml.
 * TR_ENOTFOUND: there is none. */
int tr_project_open(const char *given, const char *stage, tr_project **ret_project, tr_error *err);
/** As tr_project_open without a file given, but "none" in TAILRACE_CONFIG means none; *ret_project is NULL if
 * there is none. */
int tr_project_find(tr_project **ret_project, tr_error *err);
void tr_project_free(tr_project *project);

/** By name; NULL. */
tr_project_table *tr_project_table_of(const tr_project *project, const char *name);
tr_project_function *tr_project_function_of(const tr_project *project, const char *name);
bool tr_project_has(const tr_project_text *list, const char *text);

#endif
