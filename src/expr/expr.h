/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_EXPR_H
#define TAILRACE_EXPR_H

/**
 * src/expr/expr.h: DynamoDB's expressions, internal to libtailrace-engine.
 *
 * Conditions and filters, key conditions, projections and updates: parsed and checked as the service does,
 * into small trees that are evaluated on packed items. The legacy parameters (Expected, AttributeUpdates,
 * KeyConditions, QueryFilter, ScanFilter, AttributesToGet) and PartiQL's WHERE and SET build the same trees
 * with the constructors below, without text.
 *
 * How a request goes (the order is the service's: everything up to 4 comes before the table is looked up)
 *   1. tr_expr_env_init; tr_expr_env_read_names, tr_expr_env_read_values
 *   2. tr_expr_env_check: maps given without expressions, empty maps, placeholder syntax
 *   3. tr_…_parse of each expression of the request; placeholders are marked as used
 *   4. tr_expr_env_check_unused, tr_key_expr_check
 *   5. what needs the table: tr_key_condition_resolve, tr_update_attributes, …
 *   6. tr_condition_eval, tr_projection_apply, tr_update_apply, any number of times
 *
 * Memory: everything is allocated in the env's arena (constructors: the arena given), nothing is ever freed
 * one by one. Trees refer to the texts, names and values they were made from, which must live as long as the
 * arena does. Threads: parsed trees do not change; evaluating one from several threads is safe, each with an
 * arena of its own. Errors: 0, TR_ENOMEM, or TR_EINVAL with `err` (may be NULL) worded as the service words
 * it: type "ValidationException", http_status 400. (PutItem and UpdateItem put "1 validation error
 * detected: " before the errors of parsing; that is the caller's.) Nothing here recurses deeper than
 * TR_EXPR_DEPTH_MAX.
 */

#include <tailrace/item.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Limits of the Developer Guide, "Service, account, and table quotas", section on expression parameters. */
#define TR_EXPR_TEXT_MAX      4096              /* bytes of an expression */
#define TR_EXPR_OPERATORS_MAX 300               /* operators or functions in an expression */
#define TR_EXPR_IN_MAX        100               /* operands of IN */
#define TR_EXPR_NAME_MAX      255               /* bytes of a placeholder */
#define TR_EXPR_MAPS_MAX      (2 * 1024 * 1024) /* bytes of all names or all values of a request */
/** Nesting of a condition's tree and of an update's operands; more than the operator limit lets an expression
 * reach. */
#define TR_EXPR_DEPTH_MAX 320
/** Steps of a document path, as levels of an item. */
#define TR_PATH_MAX TR_ITEM_DEPTH_MAX
/** Attributes that make up a partition or sort key of an index (Developer Guide, "Multi-attribute keys"). */
#define TR_KEY_PARTS_MAX 4

typedef enum tr_expr_kind {
    TR_EXPR_CONDITION,
    TR_EXPR_FILTER,
    TR_EXPR_KEY_CONDITION,
    TR_EXPR_PROJECTION,
    TR_EXPR_UPDATE,
    TR_EXPR_SEARCH /**< of SearchVectors; parsed as a condition */
} tr_expr_kind;
/** "ConditionExpression", … Static. */
const char *tr_expr_kind_name(tr_expr_kind kind);

/** Whether the word is one of the service's 573 reserved words, in any case. */
bool tr_expr_reserved(tr_view word);

/* ------------------------------------------------------------------------------------------- placeholders */

typedef struct tr_expr_name {
    tr_view placeholder; /**< "#n", with its sign */
    tr_view name;        /**< of the attribute */
    bool used;
} tr_expr_name;

typedef struct tr_expr_value {
    tr_view placeholder; /**< ":v" */
    tr_value value;
    tr_view json; /**< as it was written, for messages; empty if added by hand */
    bool used;
} tr_expr_value;

/** ExpressionAttributeNames and ExpressionAttributeValues of one request. */
typedef struct tr_expr_env {
    tr_arena *arena;
    tr_expr_name *names; /* in the order read */
    tr_expr_value *values;
    uint32_t name_count, value_count;
    bool names_given, values_given; /**< the parameter was there, be it empty */
    tr_item_error item_error;       /**< what was wrong with the value of item_error_key */
    tr_view item_error_key;         /**< ":v", or empty if no value was at fault */
    /* private */
    uint32_t name_cap, value_cap;
    uint32_t *name_index, *value_index; /* sorted by placeholder, once there are many */
} tr_expr_env;

void tr_expr_env_init(tr_expr_env *env, tr_arena *arena);

/**
 * Reads the map of names, whose first token was just read. Only JSON types are checked
 * ("SerializationException" in err); syntax is checked by tr_expr_env_check. The reader's input and arena
 * must outlive the env.
 */
int tr_expr_env_read_names(tr_expr_env *env, tr_json_reader *reader, tr_error *err);
/**
 * Reads the map of values, whose first token was just read. Values are packed by way of `scratch` (may be
 * NULL; its contents are lost) and copied into the arena. If a value is at fault, the code is that of
 * tr_value_read, and env->item_error and env->item_error_key tell which and how: src/api words it
 * ("ExpressionAttributeValues contains invalid value: … for key :v"); err then holds a rough text. The keys
 * behind it are read all the same, since tr_expr_env_check tells their syntax before any faulty value, and
 * the reader stands behind the map. A caller that must find other faults first keeps the map's text
 * (tr_json_raw) and reads it here when its turn comes.
 */
int tr_expr_env_read_values(tr_expr_env *env, tr_json_reader *reader, tr_buf *scratch, tr_error *err);
/** Adds one by hand. `value` must live as long as the arena. */
int tr_expr_env_add_name(tr_expr_env *env, tr_view placeholder, tr_view name);
int tr_expr_env_add_value(tr_expr_env *env, tr_view placeholder, tr_value value);

/**
 * Checks names and values before anything is parsed. `expressions`: the request's parameters that may use
 * placeholders, as the service lists them in its message, whether given or not.
 */
typedef struct tr_expr_param {
    tr_expr_kind kind;
    bool given; /**< the parameter was there, be it empty */
} tr_expr_param;
int tr_expr_env_check(const tr_expr_env *env, const tr_expr_param *params, uint32_t count, tr_error *err);
/** The first part of it alone, maps given without expressions: the service tells that before other faults. */
int tr_expr_env_check_given(const tr_expr_env *env, const tr_expr_param *params, uint32_t count,
                            tr_error *err);

/** "Value provided in ExpressionAttributeNames unused in expressions: keys: {#x, #y}", and the same for
 * values. */
int tr_expr_env_check_unused(tr_expr_env *env, tr_error *err);

/* -------------------------------------------------------------------------------------------------- paths */

/** A step of a document path: .name or [index]. */
typedef struct tr_path_part {
    tr_view name; /**< name.ptr is NULL for a list index */
    uint32_t index;
} tr_path_part;

/** a.b[3].c ; the first part is always a name. */
typedef struct tr_path {
    uint32_t count;
    const tr_path_part *parts;
} tr_path;

/** A path of one attribute. Errors: TR_ENOMEM. */
int tr_path_of(tr_arena *arena, tr_view attribute, tr_path *ret_path);
/** The value at the path; TR_ENOTFOUND. */
int tr_path_get(const tr_path *path, tr_item item, tr_value *ret_value);
/** "[a, b, [3], c]", as the service prints paths. */
void tr_path_print(const tr_path *path, tr_buf *out);

/* --------------------------------------------------------------------------------------------- conditions */

typedef enum tr_cond_op {
    TR_COND_AND, /**< of one or more children */
    TR_COND_OR,
    TR_COND_NOT, /**< of one child */
    TR_COND_EQ,  /**< EQ to GE: two operands */
    TR_COND_NE,  /**< true if one side is absent */
    TR_COND_LT,
    TR_COND_LE,
    TR_COND_GT,
    TR_COND_GE,
    TR_COND_BETWEEN, /**< three operands: tested, lower, upper */
    TR_COND_IN,      /**< tested, then one or more */
    TR_COND_EXISTS,  /**< one operand, a path */
    TR_COND_NOT_EXISTS,
    TR_COND_TYPE,        /**< path, a value of type S naming a type */
    TR_COND_BEGINS_WITH, /**< two operands */
    TR_COND_CONTAINS,
    TR_COND_TRUE, /**< no operands: for translated parameters */
    TR_COND_FALSE
} tr_cond_op;

typedef enum tr_operand_kind { TR_OPERAND_PATH, TR_OPERAND_VALUE, TR_OPERAND_SIZE } tr_operand_kind;

typedef struct tr_operand {
    tr_operand_kind kind;
    tr_path path;   /**< PATH; SIZE of what is there */
    tr_value value; /**< VALUE; SIZE of this, if path.count is 0 */
} tr_operand;

typedef struct tr_cond {
    tr_cond_op op;
    uint32_t count;
    union {
        const struct tr_cond *const *children; /**< AND, OR, NOT */
        const tr_operand *operands;            /**< the others */
    };
} tr_cond;

/** A condition, ready to be evaluated. */
typedef struct tr_condition {
    const tr_cond *root;
    const tr_view *attributes; /**< top-level attributes it names, each once, in the order of the text */
    uint32_t attribute_count;
} tr_condition;

/** kind: TR_EXPR_CONDITION, TR_EXPR_FILTER or TR_EXPR_SEARCH, which only words the errors. */
int tr_condition_parse(tr_expr_env *env, tr_expr_kind kind, tr_view text, const tr_condition **ret_condition,
                       tr_error *err);
/** Whether the condition holds; an absent item is an empty view. Cannot fail: what does not fit is not true.
 */
bool tr_condition_eval(const tr_condition *condition, tr_item item);
/** Whether it names something inside the attribute (a.b or a[1]), which key attributes do not allow. */
bool tr_condition_nests(const tr_condition *condition, tr_view attribute);

/** Nodes of a tree without text. The arrays are copied; what they point to is not. NULL without memory. */
const tr_cond *tr_cond_logic(tr_arena *arena, tr_cond_op op, const tr_cond *const *children, uint32_t count);
const tr_cond *tr_cond_test(tr_arena *arena, tr_cond_op op, const tr_operand *operands, uint32_t count);
/** Completes a tree. TR_ENOMEM, or TR_ELIMIT if it is nested deeper than TR_EXPR_DEPTH_MAX. */
int tr_condition_of(tr_arena *arena, const tr_cond *root, const tr_condition **ret_condition);

static inline tr_operand tr_operand_value(tr_value value)
{
    return (tr_operand){.kind = TR_OPERAND_VALUE, .value = value};
}
static inline tr_operand tr_operand_path(tr_path path)
{
    return (tr_operand){.kind = TR_OPERAND_PATH, .path = path};
}
static inline tr_operand tr_operand_size(tr_path path)
{
    return (tr_operand){.kind = TR_OPERAND_SIZE, .path = path};
}

/* ----------------------------------------------------------------------------------------- key conditions */

typedef enum tr_key_op {
    TR_KEY_NONE,
    TR_KEY_EQ,
    TR_KEY_LT,
    TR_KEY_LE,
    TR_KEY_GT,
    TR_KEY_GE,
    TR_KEY_BETWEEN,
    TR_KEY_BEGINS_WITH,
    TR_KEY_UNSUPPORTED /**< a legacy operator that no key condition may use (NE, IN, CONTAINS, …) */
} tr_key_op;

/** One test of one attribute: name op values[0] (BETWEEN: AND values[1]). */
typedef struct tr_key_test {
    tr_view name;
    tr_key_op op;
    tr_value values[2];
} tr_key_test;

/** A key condition before the table is known: tests joined by AND, in the order of the text. */
typedef struct tr_key_expr {
    const tr_key_test *tests;
    uint32_t count;
    const char *fault; /* private: what tr_key_expr_check reports */
} tr_key_expr;

typedef struct tr_key_part {
    tr_view name;
    tr_type type; /**< TR_S, TR_N or TR_B */
} tr_key_part;

/** A table's or index's key. */
typedef struct tr_key_schema {
    uint32_t hash_count;  /**< 1 to TR_KEY_PARTS_MAX */
    uint32_t range_count; /**< 0 to TR_KEY_PARTS_MAX */
    tr_key_part hash[TR_KEY_PARTS_MAX], range[TR_KEY_PARTS_MAX];
    tr_view index_name; /**< Optional: of the index, empty for a table's key; named in messages only */
} tr_key_schema;

/**
 * A key condition against a schema: the partition key's values, the values that the first equal_count range
 * attributes must equal, and op (TR_KEY_NONE, or LT to BEGINS_WITH) on the range attribute after these. So
 * `sk = :v` is equal_count 1 with TR_KEY_NONE, and `sk > :v` is equal_count 0 with TR_KEY_GT.
 */
typedef struct tr_key_condition {
    uint32_t hash_count, equal_count;
    tr_value hash[TR_KEY_PARTS_MAX], equal[TR_KEY_PARTS_MAX];
    tr_key_op op;
    tr_value low;  /**< the operand; BETWEEN: the lower bound */
    tr_value high; /**< BETWEEN: the upper bound */
} tr_key_condition;

/**
 * Parses a KeyConditionExpression. What its grammar allows but a key condition does not (OR, NOT, functions,
 * nested paths, …) is only noted: the service tells it after all expressions of the request were parsed and
 * no placeholder was left unused. tr_key_expr_check reports it then; resolving reports it too.
 */
int tr_key_expr_parse(tr_expr_env *env, tr_view text, const tr_key_expr **ret_expr, tr_error *err);
int tr_key_expr_check(const tr_key_expr *expr, tr_error *err);
/**
 * Fits the tests to the schema. `legacy`: they come from KeyConditions, whose errors the service words
 * differently in places. Values are borrowed from the tests.
 */
int tr_key_condition_resolve(const tr_key_expr *expr, const tr_key_schema *schema, bool legacy,
                             tr_key_condition *ret_condition, tr_error *err);

/* -------------------------------------------------------------------------------------------- projections */

typedef struct tr_projection tr_projection;

int tr_projection_parse(tr_expr_env *env, tr_view text, const tr_projection **ret_projection, tr_error *err);
/** From paths (AttributesToGet, PartiQL's SELECT). TR_ENOMEM, or TR_EINVAL if two overlap. */
int tr_projection_of(tr_arena *arena, const tr_path *paths, uint32_t count,
                     const tr_projection **ret_projection, tr_error *err);
/**
 * What the projection leaves of an item, packed in the arena; elements of lists close ranks in their order.
 * An item without any of the attributes gives an empty item. TR_ENOMEM.
 */
int tr_projection_apply(const tr_projection *projection, tr_item item, tr_arena *arena, tr_item *ret_item);
/** The top-level attributes named, each once, in the order of the text. */
const tr_view *tr_projection_attributes(const tr_projection *projection, uint32_t *ret_count);
/** As tr_condition_nests. */
bool tr_projection_nests(const tr_projection *projection, tr_view attribute);

/* ------------------------------------------------------------------------------------------------ updates */

typedef enum tr_update_action {
    TR_UPDATE_SET,
    TR_UPDATE_REMOVE,
    TR_UPDATE_ADD,   /**< a number to a number, a set to a set */
    TR_UPDATE_DELETE /**< a set from a set */
} tr_update_action;

typedef enum tr_term_kind {
    TR_TERM_VALUE,
    TR_TERM_PATH,          /**< the old item's value; an error if there is none */
    TR_TERM_IF_NOT_EXISTS, /**< path's value, or `left` if there is none */
    TR_TERM_LIST_APPEND,   /**< left, right */
    TR_TERM_PLUS,
    TR_TERM_MINUS
} tr_term_kind;

/** The right-hand side of SET. */
typedef struct tr_term {
    tr_term_kind kind;
    tr_path path;
    tr_value value;
    const struct tr_term *left, *right;
} tr_term;

/** One action: path, and what is done with it. */
typedef struct tr_update_step {
    tr_update_action action;
    tr_path path;
    const tr_term *term; /**< SET; ADD and DELETE: of kind TR_TERM_VALUE; REMOVE: NULL */
} tr_update_step;

typedef struct tr_update tr_update;

int tr_update_parse(tr_expr_env *env, tr_view text, const tr_update **ret_update, tr_error *err);
/**
 * From steps (AttributeUpdates, PartiQL's SET and REMOVE), which are copied. TR_ENOMEM, TR_ELIMIT (terms
 * nested deeper than TR_EXPR_DEPTH_MAX), TR_EINVAL if two paths overlap.
 */
int tr_update_of(tr_arena *arena, const tr_update_step *steps, uint32_t count, const tr_update **ret_update,
                 tr_error *err);
/** The top-level attributes it changes, each once, in the order of the text (key attributes may not be among
 * them). */
const tr_view *tr_update_attributes(const tr_update *update, uint32_t *ret_count);
/** As tr_condition_nests, of the paths that are read and of those that are changed. */
bool tr_update_nests(const tr_update *update, tr_view attribute);
/** Whether it makes an item where there was none: REMOVE and DELETE alone do not. */
bool tr_update_creates(const tr_update *update);
/**
 * The item after the update, packed in the arena. `old`: the item before, or an empty view if there is none;
 * the new item then begins with the attributes of `key`. All operands are read from the old item. Sizes and
 * nesting of the result are the caller's to check, except that results beyond a few times TR_ITEM_SIZE_MAX
 * are refused here with the service's words for items too large.
 */
int tr_update_apply(const tr_update *update, tr_item old, tr_item key, tr_arena *arena, tr_item *ret_new,
                    tr_error *err);
/**
 * The touched paths' values: of the old item for ReturnValues UPDATED_OLD, of the new one for UPDATED_NEW.
 * Packed in the arena; empty if nothing is there. TR_ENOMEM.
 */
int tr_update_touched(const tr_update *update, tr_item item, tr_arena *arena, tr_item *ret_item);

#ifdef __cplusplus
}
#endif
#endif
