/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_CALL_H
#define TAILRACE_API_CALL_H

/**
 * call.h: what the families of operations share: the call being carried out, its errors, keys, expressions,
 * consumed capacity. Internal to src/api.
 *
 * Functions that can refuse a request return 0, or TR_ESERVICE after they have composed the error answer;
 * handlers pass that on.
 */

#include "api/api.h"
#include "api/shape.h"

typedef struct tr_call tr_call;

/** Writes the answer with call->w, or composes an error and returns TR_ESERVICE. */
typedef int tr_handler(tr_call *call, void *request);

enum {
    TR_OP_READ = 1,     /* its answers depend on synced states only */
    TR_OP_ENVELOPE = 2, /* request errors begin with "1 validation error detected: " */
    TR_OP_NAMED = 4,    /* the request struct begins with TableName, which must be there before all else */
    TR_OP_LENGTH = 8,   /* and have 3 to 255 characters, told in words of their own */
    TR_OP_UNUSED =
        16, /* answers as for an account that does not use it; for the table in docs/compatibility.md */
    TR_OP_REFUSED = 32 /* always refused; the same */
};

typedef struct tr_op {
    const char *name;
    tr_service service;
    unsigned flags;
    const tr_shape *shape;
    tr_handler *run;
} tr_op;

/** All operations, ending with one without a name. */
extern const tr_op tr__ops[];

/** An error that is not the whole answer. */
typedef struct tr_fault {
    const char *type; /* with its prefix; NULL: none */
    tr_view message;  /* in the arena */
} tr_fault;

struct tr_call {
    tr_api *api;
    tr_engine *engine;
    const tr_op *op;
    const tr_api_request *request;
    tr_api_reply *reply;
    tr_arena *arena;
    tr_buf *out;
    tr_buf *text; /* scratch for messages; a handler may use it between calls of functions below */
    tr_json_writer w;
    bool read_only; /* set by handlers whose operation may write, when this call did not: the answer may leave
                       at once */
    tr_fault *fault; /* not NULL: errors go here and leave the answer alone, for parts of a batch */
};

/** What is remembered of past requests, see kept.h. */
typedef enum tr_kept_kind {
    TR_KEPT_BACKUPS,
    TR_KEPT_EXPORTS,
    TR_KEPT_IMPORTS,
    TR_KEPT_RESTORES,
    TR_KEPT_KINDS
} tr_kept_kind;

struct tr_api {
    tr_engine *engine;
    struct tr_bus *bus;
    char *region;
    int64_t iterator_lifetime_ms;
    size_t put_events_bytes;
    tr_arena arena; /* of the request at hand */
    tr_buf scratch; /* packing */
    tr_buf text;    /* messages */
    struct tr_snapshot_slot *snapshots;
    char *dir;     /* of the store; NULL: in memory */
    char *buckets; /* directory in which S3's buckets are directories; NULL: none */
    struct tr_job *jobs;
    uint64_t jobs_ticket;                /* of what their last turn wrote */
    unsigned sources;                    /* that are made, read or cleared on disk */
    struct tr_kept *kept[TR_KEPT_KINDS]; /* of each kind, newest first */
    tr_api_count counts[TR_API_OPS_MAX]; /* in the order of tr__ops */
};

/* --------------------------------------------------------------------------------------------- errors */

#define TR_TYPE_VALIDATION    "com.amazon.coral.validate#ValidationException"
#define TR_TYPE_SERIALIZATION "com.amazon.coral.service#SerializationException"
#define TR_TYPE_UNKNOWN       "com.amazon.coral.service#UnknownOperationException"
#define TR_TYPE(name)         "com.amazonaws.dynamodb.v20120810#" name

/** Drops what was written and composes an error answer. Returns TR_ESERVICE. */
int tr__fail(tr_call *call, int status, const char *type, const char *format, ...) TR_PRINTF(4, 5);
/** The same with "Message" in place of "message", as some errors have it. */
int tr__fail_upper(tr_call *call, const char *type, const char *format, ...) TR_PRINTF(3, 4);
/** ValidationException. */
int tr__invalid(tr_call *call, const char *format, ...) TR_PRINTF(2, 3);
/** ValidationException of the family that PutItem and UpdateItem begin with "1 validation error detected: ".
 */
int tr__invalid_request(tr_call *call, const char *format, ...) TR_PRINTF(2, 3);
/** Of one of tailrace's codes: out of memory, a failed store. */
int tr__fail_code(tr_call *call, int code, const tr_error *err);
/** ResourceNotFoundException: Requested resource not found[: Table: … not found]. */
int tr__no_table(tr_call *call, tr_view name, bool naming);

/** Words what is wrong with an attribute value. Sets ret_request if PutItem and UpdateItem put it in their
 * envelope. */
void tr__item_error_text(const tr_item_error *error, tr_buf *out, bool *ret_request);
/** Refuses the attribute values that were not valid; 0 if they were. `prefix` stands before the text. `item`:
 * they are an item to be put, whose faults may go into the envelope. */
int tr__check_attributes(tr_call *call, const tr_attributes *attributes, const char *prefix, bool item);

/* --------------------------------------------------------------------------------------------- tables */

/** The table of an item operation (a name, or its ARN), or the error. */
int tr__find_table(tr_call *call, tr_view name, tr_table **ret_table);
/** Index of that name or NULL. */
const tr_index *tr__find_index(const tr_table *table, tr_view name);
/** The name in "arn:aws:dynamodb:…:table/NAME[/…]", or the view itself. */
tr_view tr__table_of_arn(tr_view name_or_arn);
/** Writes TableDescription's object. */
void tr__write_table(tr_call *call, const tr_table *table, tr_table_status status);

/* ----------------------------------------------------------------------------------------------- keys */

/** Longest keys (Developer Guide quotas). */
#define TR_HASH_KEY_MAX  2048
#define TR_RANGE_KEY_MAX 1024

/** A Key parameter: exactly the key attributes, of their types. */
int tr__check_key(tr_call *call, const tr_table *table, tr_item key);
/** An item to be put: has the key attributes; index keys are of their types. `batch`: worded as in
 * BatchWriteItem. */
int tr__check_item_keys(tr_call *call, const tr_table *table, tr_item item, bool batch);
/** The key attributes of an item, packed in the arena. TR_ENOMEM. */
int tr__key_of(tr_call *call, const tr_key_schema *schema, tr_item item, tr_item *ret_key);
/** The same outside of a call: into the buffer. */
int tr__key_pack(const tr_key_schema *schema, tr_item item, tr_buf *out);

/** Why a key is not fit; TR_KEY_FIT: it is. For transactions, which word it differently. */
typedef enum tr_key_fault { TR_KEY_FIT, TR_KEY_MISMATCH, TR_KEY_EMPTY, TR_KEY_LARGE } tr_key_fault;
/** Appends the message to `out`. */
tr_key_fault tr__key_fault(const tr_table *table, tr_item key, tr_buf *out);
tr_key_fault tr__item_key_fault(const tr_table *table, tr_item item, bool batch, tr_buf *out);

/* ---------------------------------------------------------------------------------------- expressions */

/** A parameter and whether it was given. */
typedef struct tr_given {
    const char *name;
    bool given;
} tr_given;

/** Refuses expression parameters beside legacy ones. Lists end with a NULL name. */
int tr__check_mixed(tr_call *call, const tr_given *legacy, const tr_given *expressions);
/** Placeholder maps given without expressions. */
int tr__check_given(tr_call *call, const tr_expr_env *env, const tr_expr_param *params, uint32_t count);
/** Empty placeholder maps, their syntax, and values that are not valid. */
int tr__check_env(tr_call *call, const tr_expr_env *env, const tr_expr_param *params, uint32_t count);
/** Of an error of src/expr that PutItem and UpdateItem put in their envelope. */
int tr__fail_expr(tr_call *call, int code, const tr_error *err);
/** Parses if text.ptr is set, else gives NULL. */
int tr__compile_condition(tr_call *call, tr_expr_env *env, tr_expr_kind kind, tr_view text,
                          const tr_condition **ret_condition);
int tr__compile_update(tr_call *call, tr_expr_env *env, tr_view text, const tr_update **ret_update);
int tr__compile_projection(tr_call *call, tr_expr_env *env, tr_view text,
                           const tr_projection **ret_projection);
int tr__check_unused(tr_call *call, tr_expr_env *env);
/** Whether the update changes a key attribute, and if so appends what is wrong with that. */
bool tr__update_fault(const tr_table *table, const tr_update *update, tr_buf *out);
/** Refuses an update of key attributes. */
int tr__check_update_keys(tr_call *call, const tr_table *table, const tr_update *update);
/** Refuses paths that reach into a key attribute of the table or its indexes. */
int tr__check_scalar_keys(tr_call *call, const tr_table *table, const tr_condition *condition,
                          const tr_projection *projection, const tr_update *update);

/* ------------------------------------------------------------------------------------------- capacity */

/** Units are kept in halves: an eventually consistent read of 4 KB is one half. */
typedef struct tr_capacity {
    const tr_table *table;
    int64_t table_halves;
    int64_t index_halves[TR_TABLE_INDEXES_MAX]; /* -1: the index was not touched */
    bool write, transaction;
} tr_capacity;

typedef enum tr_capacity_mode { TR_CAPACITY_NONE, TR_CAPACITY_TOTAL, TR_CAPACITY_INDEXES } tr_capacity_mode;
tr_capacity_mode tr__capacity_mode(tr_view return_consumed_capacity);
void tr__capacity_init(tr_capacity *capacity, const tr_table *table, bool write);
/** Adds what a write costs, by its images; a transaction's costs twice in the table. */
void tr__capacity_write(tr_capacity *capacity, const tr_write *write);
/** Halves for reading that many bytes. */
int64_t tr__read_halves(size_t bytes, bool consistent);
/** The object's members are written into a new object. */
void tr__capacity_put(tr_call *call, const tr_capacity *capacity, tr_capacity_mode mode);
/** "ConsumedCapacity":{…} if asked for. */
void tr__capacity_member(tr_call *call, const tr_capacity *capacity, tr_capacity_mode mode);
/** Bytes that an index holds of an item; 0: the item is not in it. */
size_t tr__index_entry_size(const tr_table *table, const tr_index *index, tr_item item);

/* ------------------------------------------------------------------------------------------ collections */

/** Whether ReturnItemCollectionMetrics asks for what the table can tell. */
bool tr__collection_wanted(tr_view metrics, const tr_table *table);
/** {"ItemCollectionKey":{…},"SizeEstimateRangeGB":[0,1]} of the key's partition. */
int tr__collection_put(tr_call *call, const tr_table *table, tr_item key);
/** "ItemCollectionMetrics":{"TABLE":[…]} of several writes, if asked for. */
int tr__collections_member(tr_call *call, tr_view metrics, const tr_write *writes, uint32_t count);

/* ------------------------------------------------------------------------------------------ snapshots */

/** The snapshot that the request asks to read from (NULL: the newest state), held by a token. Sets the
 * response headers for the table. */
int tr__snapshot(tr_call *call, const tr_table *table, const tr_engine_snapshot **ret_snapshot);
void tr__snapshots_expire(tr_api *api);
void tr__snapshots_done(tr_api *api);

/* ------------------------------------------------------------------------------------------- handlers */

#define TR_HANDLER(name)                                                                                     \
    extern const tr_shape tr__shape_##name;                                                                  \
    tr_handler tr__op_##name
TR_HANDLER(create_table);
TR_HANDLER(describe_table);
TR_HANDLER(list_tables);
TR_HANDLER(delete_table);
TR_HANDLER(update_table);
TR_HANDLER(put_item);
TR_HANDLER(get_item);
TR_HANDLER(delete_item);
TR_HANDLER(update_item);
TR_HANDLER(query);
TR_HANDLER(scan);
TR_HANDLER(search_vectors);
TR_HANDLER(batch_get);
TR_HANDLER(batch_write);
TR_HANDLER(transact_get);
TR_HANDLER(transact_write);
TR_HANDLER(execute);
TR_HANDLER(batch_execute);
TR_HANDLER(execute_transaction);
TR_HANDLER(describe_continuous);
TR_HANDLER(update_continuous);
TR_HANDLER(create_backup);
TR_HANDLER(describe_backup);
TR_HANDLER(list_backups);
TR_HANDLER(delete_backup);
TR_HANDLER(restore_backup);
TR_HANDLER(restore_pitr);
TR_HANDLER(refused);
TR_HANDLER(list_nothing);
TR_HANDLER(no_global_table);
TR_HANDLER(describe_insights);
TR_HANDLER(update_insights);
TR_HANDLER(describe_kinesis);
TR_HANDLER(no_kinesis);
TR_HANDLER(describe_scaling);
TR_HANDLER(no_policy);
TR_HANDLER(delete_policy);
TR_HANDLER(no_bulk);
TR_HANDLER(export_table);
TR_HANDLER(describe_export);
TR_HANDLER(list_exports);
TR_HANDLER(import_table);
TR_HANDLER(describe_import);
TR_HANDLER(list_imports);
TR_HANDLER(update_ttl);
TR_HANDLER(describe_ttl);
TR_HANDLER(tag);
TR_HANDLER(untag);
TR_HANDLER(list_tags);
TR_HANDLER(describe_limits);
TR_HANDLER(describe_endpoints);
TR_HANDLER(list_streams);
TR_HANDLER(describe_stream);
TR_HANDLER(get_iterator);
TR_HANDLER(get_records);
#undef TR_HANDLER

#endif
