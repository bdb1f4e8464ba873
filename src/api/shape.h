/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_SHAPE_H
#define TAILRACE_API_SHAPE_H

/**
 * shape.h: requests described as data, and what reads them.
 *
 * A shape lists the members of a JSON structure: name, kind, where it goes in a C struct, and the constraints
 * of the service's model. One reader walks the body once and fills the struct; one checker then collects the
 * constraints that are broken. Nothing builds a tree: attribute values go straight into packed items.
 *
 *   body --tr__shape_read--> struct --tr__shape_check--> "2 validation errors detected: …"
 *            |
 *            wrong JSON type anywhere: SerializationException, the first in the text
 *
 * The service works in the same two steps, so which error comes first follows from the tables. A value that
 * is well-formed JSON but no valid attribute value is not refused here: the field keeps what was wrong, and
 * the operation tells it when its turn comes.
 */

#include "expr/expr.h"

#include <tailrace/item.h>

typedef enum tr_kind {
    TR_K_STRING,     /* tr_view; ptr NULL: absent */
    TR_K_INTEGER,    /* tr_int */
    TR_K_LONG,       /* tr_int; only the service's word for it differs */
    TR_K_TIME,       /* tr_int in milliseconds, from seconds with a fraction */
    TR_K_BOOLEAN,    /* tr_bool */
    TR_K_STRINGS,    /* tr_list of tr_view */
    TR_K_STRUCT,     /* pointer to the shape's struct; NULL: absent */
    TR_K_STRUCTS,    /* tr_list of the shape's struct */
    TR_K_STRUCT_MAP, /* tr_list of the shape's struct, which begins with a tr_view, the key */
    TR_K_LIST_MAP,   /* tr_list of tr_named_list, each of the shape's struct */
    TR_K_ITEM,       /* tr_attributes: a map of attribute values */
    TR_K_ITEMS,      /* tr_list of tr_attributes */
    TR_K_VALUE,      /* tr_attribute: one attribute value */
    TR_K_VALUES,     /* tr_list of tr_attribute */
    TR_K_ENV_NAMES,  /* ExpressionAttributeNames, into a tr_expr_env */
    TR_K_ENV_VALUES, /* ExpressionAttributeValues, into a tr_expr_env */
    TR_K_RAW,        /* tr_view of the JSON text of a structure */
    TR_K_REFUSED /* const char *: the member's name, if anything but null was given. Several may share it. */
} tr_kind;

typedef struct tr_int {
    int64_t value;
    bool given;
} tr_int;

typedef struct tr_bool {
    bool given, value;
} tr_bool;

/** A list or map. */
typedef struct tr_list {
    void *items;
    uint32_t count;
    bool given;
    tr_view raw; /**< its JSON text */
} tr_list;

typedef struct tr_named_list {
    tr_view name;
    tr_list list;
} tr_named_list;

/** A map of attribute values. If error.problem is not TR_ITEM_OK, `item` is empty. */
typedef struct tr_attributes {
    bool given;
    tr_item item; /* in the arena */
    tr_item_error error;
    tr_view raw;
} tr_attributes;

/** One attribute value; the same. */
typedef struct tr_attribute {
    bool given;
    tr_value value;
    tr_item_error error;
} tr_attribute;

/** Constraints of the service's model. */
enum {
    TR_R_NOT_NULL = 1,
    TR_R_NAME = 2,    /* pattern [a-zA-Z0-9_.-]+ */
    TR_R_MIN = 4,     /* value or length >= min */
    TR_R_MAX = 8,     /* value or length <= max */
    TR_R_FIRST = 16,  /* its errors are told alone, before those of the others */
    TR_R_LISTS = 64,  /* no list of the map has more than 25 elements */
    TR_R_TABLE = 128, /* a table's name where the table need not be new: 1 to 1,024 characters, or its ARN */
    TR_R_EVENTS_NAME = 1024, /* pattern [\.\-_A-Za-z0-9]+ */
    TR_R_BUS_NAME = 2048,    /* the same with '/' */
    TR_R_BUS_ARN = 4096,     /* such a name, or the ARN of a bus */
    TR_R_UNNAMED = 512,      /* told as "Value at 'Limit'", as Query does */
    TR_R_LONE = 256          /* of the members with this mark only the first one's error is told */
};

typedef struct tr_shape tr_shape;

typedef struct tr_member {
    const char *name;
    uint8_t name_len;
    uint8_t kind; /* tr_kind */
    uint16_t offset;
    uint16_t rules;
    int64_t min, max;
    const char *values;    /* enumeration as the service prints it: "[HASH, RANGE]"; NULL: any text */
    const tr_shape *shape; /* of STRUCT and its kin */
    const char *java; /* class name in messages about a wrong type; NULL: the shape's or AttributeValue */
} tr_member;

struct tr_shape {
    const char *java; /* "KeySchemaElement" */
    const tr_member *members;
    uint16_t count;
    uint16_t size; /* of the struct */
    int16_t env;   /* offset of its tr_expr_env; -1: none */
};

/** M(struct, field, "Name", KIND, …): a member with further designated fields. */
#define TR_MEMBER(type, field, text, k, ...)                                                                 \
    {                                                                                                        \
        .name = (text), .name_len = sizeof(text) - 1, .kind = (k), .offset = offsetof(type, field),          \
        __VA_ARGS__                                                                                          \
    }
#define TR_SHAPE(type, class, list)                                                                          \
    {                                                                                                        \
        .java = (class), .members = (list), .count = TR_COUNT(list), .size = sizeof(type), .env = -1         \
    }
#define TR_SHAPE_ENV(type, class, list, field)                                                               \
    {                                                                                                        \
        .java = (class), .members = (list), .count = TR_COUNT(list), .size = sizeof(type),                   \
        .env = offsetof(type, field)                                                                         \
    }

/** Elements that a list of a request may have; the service's own limits are far below. */
#define TR_LIST_MAX 100000
/** Broken constraints that the service tells at most. */
#define TR_CHECK_ERRORS_MAX 10
/** Bytes of a list or map that are shown in an error. */
#define TR_SHOWN_MAX (1024 * 1024)

#define TR_JAVA_PREFIX "com.amazonaws.dynamodb.v20120810."

/** One reading of a body. */
typedef struct tr_shape_reader {
    tr_json_reader json;
    tr_arena *arena;
    tr_buf *scratch;   /* items are packed here and then copied into the arena */
    char problem[320]; /* after TR_EPARSE: which type is wrong, in the service's words; empty: not JSON */
} tr_shape_reader;

/**
 * Reads the body into `out` (shape->size bytes, cleared here). The caller sets arena and scratch. TR_EPARSE:
 * the body is not JSON (problem is empty), or a value has the wrong JSON type (problem tells). TR_ELIMIT,
 * TR_ENOMEM: too large. Views point into the body or the arena.
 */
int tr__shape_read(tr_shape_reader *reader, const tr_shape *shape, tr_view body, void *out);

/**
 * Appends the broken constraints to `out`, at most 10, in the service's order:
 * "Value '…' at 'tableName' failed to satisfy constraint: …", joined by "; ". Returns how many.
 */
unsigned tr__shape_check(const tr_shape *shape, const void *in, tr_buf *out);

/**
 * Goes through one attribute value, whose first token was just read, for wrong JSON types only; `field` tells
 * a member's own value from an element's, for the wording. 0, or TR_EPARSE with `problem` as above.
 */
int tr__shape_check_value(tr_shape_reader *reader, bool field);
/** The same for a map of attribute values, whose TR_JSON_OBJECT was just read. */
int tr__shape_check_values(tr_shape_reader *reader);
/** Sets the problem for a scalar that is no String, Long, … ; TR_EPARSE. */
int tr__shape_wrong_scalar(tr_shape_reader *reader, const char *java);
int tr__shape_problem(tr_shape_reader *reader, const char *format, ...) TR_PRINTF(2, 3);

/** Whether the text is one of a printed enumeration's words: "[HASH, RANGE]". */
bool tr__enum_has(const char *values, tr_view text);
/** Whether all characters are letters, digits, '_', '-', '.', and there is at least one. */
bool tr__name_valid(tr_view name);

#endif
