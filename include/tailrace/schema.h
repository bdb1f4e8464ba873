/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_SCHEMA_H
#define TAILRACE_SCHEMA_H

/**
 * tailrace/schema.h: the tables that tailrace works on, for whoever makes them: as JSON, for the AWS CLI,
 * CloudFormation, CDK and Terraform; and the rights that each operation needs.
 *
 * Everything is made from one description per table, which stands on the public constants of
 * tailrace/eventstore.h and tailrace/log.h, and tr_schema_create makes the table from the same one.
 */

#include <tailrace/base.h>
#include <tailrace/client.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_schema_table {
    TR_SCHEMA_EVENTS,        /**< event stores, castore's single-table layout */
    TR_SCHEMA_LEGACY_EVENTS, /**< one event store, castore's legacy layout */
    TR_SCHEMA_SNAPSHOTS,     /**< snapshots of aggregates (tailrace/aggregate.h) */
    TR_SCHEMA_LOG            /**< append-only logs, dynamodb-logs' layout (tailrace/log.h) */
} tr_schema_table;
/** "events", "legacy-events", "snapshots", "log". TR_ENOTFOUND. */
int tr_schema_table_by_name(const char *name, tr_schema_table *ret_table);
/** The name that a table has where none is chosen. Static. */
const char *tr_schema_default_name(tr_schema_table table);

typedef enum tr_schema_format {
    TR_SCHEMA_JSON,    /**< the members of CreateTable's request; of logs also those of UpdateTimeToLive and
                          UpdateContinuousBackups */
    TR_SCHEMA_AWS_CLI, /**< commands for a shell */
    TR_SCHEMA_CLOUDFORMATION, /**< a template */
    TR_SCHEMA_CDK,            /**< a whole app, TypeScript and JavaScript alike */
    TR_SCHEMA_TERRAFORM
} tr_schema_format;
/** "json", "aws-cli", "cloudformation", "cdk", "terraform". TR_ENOTFOUND. */
int tr_schema_format_by_name(const char *name, tr_schema_format *ret_format);

/** Zero-initialise, set what you need. */
typedef struct tr_schema_options {
    const char *table; /**< its name; NULL: the default one */
    bool stream; /**< with the change stream that publishing, subscriptions and projections need; a log's
                    table always has it */
} tr_schema_options;

/** Appends the table's description. TR_EINVAL: no table name. */
int tr_schema_write(tr_schema_table table, tr_schema_format format, const tr_schema_options *options,
                    tr_buf *out, tr_error *err);
/**
 * Creates the table and waits until it and its index are active. TR_EEXIST: it is there already; TR_ETIMEOUT
 * after two minutes. Blocks.
 */
int tr_schema_create(tr_client *client, tr_schema_table table, const tr_schema_options *options,
                     tr_error *err);

/* ------------------------------------------------------------------------------------------------ rights */

/** What an operation needs. */
typedef struct tr_schema_operation {
    const char *name;    /**< "getEvents" */
    const char *alias;   /**< the command's name for it, "events get"; may be NULL */
    const char *actions; /**< on the table, separated by spaces: "dynamodb:Query"; may be empty */
    const char *on_index, *on_stream, *on_bus, *on_snapshots, *on_leases; /**< likewise; NULL: none */
    const char *on_history; /**< the table beside the leases that says who delivers the history */
    const char *on_models;  /**< the table of read models */
    const char *on_target;  /**< the table that events are copied to */
} tr_schema_operation;
/** All of them, ended by one without a name. Static. */
const tr_schema_operation *tr_schema_operations(void);

/** Zero-initialise, set what you need. */
typedef struct tr_schema_iam_options {
    const char *partition, *region, *account; /**< NULL: "aws", "*", "*" */
    const char *table;                        /**< NULL: "events" */
    const char *snapshots;                    /**< NULL: "snapshots" */
    const char *bus;                          /**< NULL: "default" */
    const char *leases;                       /**< lease table of competing consumers; NULL: "leases" */
    const char *models;                       /**< table of read models; NULL: "models" */
    const char *target;                       /**< table that events are copied to; NULL: "target" */
} tr_schema_iam_options;
/** Appends an IAM policy with the least rights for these operations (by name or alias). TR_EINVAL names an
 * unknown one. */
int tr_schema_write_iam(const char *const *operations, size_t count, const tr_schema_iam_options *options,
                        tr_buf *out, tr_error *err);

#ifdef __cplusplus
}
#endif
#endif
