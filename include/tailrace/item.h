/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_ITEM_H
#define TAILRACE_ITEM_H

/**
 * tailrace/item.h: DynamoDB's attribute values.
 *
 * Items are kept packed: one run of bytes that is stored, sent between rooms and compared as it is. Packed
 * form is canonical: two items are equal exactly if their bytes are (map members sorted by name bytewise, set
 * elements sorted and distinct, numbers in normal form).
 *
 *   item, map = count:u32 { name_len:varint name value }*          an item is the payload of a map
 *   value     = type:u8 payload_len payload                        payload_len: varint for S N B BOOL NULL,
 *                                                                   u32 little-endian for M L SS NS BS
 *   list      = count:u32 value*
 *   set       = count:u32 { len:varint bytes }*                     elements as in S, N, B
 *   S, B      = the bytes            BOOL = one byte 0 or 1          NULL = nothing
 *   N         = order-preserving number, see tr_number
 * (count:u32 is little-endian.)
 *
 * All views that readers return point into the packed bytes. Readers of packed bytes trust them (they come
 * from the functions below or from the store); tr_item_check verifies bytes from elsewhere.
 */

#include <tailrace/base.h>
#include <tailrace/json.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_type {
    TR_NONE = 0, /**< no value: an absent attribute */
    TR_S = 1,
    TR_N = 2,
    TR_B = 3,
    TR_BOOL = 4,
    TR_NULL = 5,
    TR_M = 6,
    TR_L = 7,
    TR_SS = 8,
    TR_NS = 9,
    TR_BS = 10
} tr_type;

/** "S", "N", … as in DynamoDB JSON. Static. */
const char *tr_type_name(tr_type type);

/** Levels of values in an item (Developer Guide, "Service, account, and table quotas"): an attribute stands
 * at level 1, what is in its list or map at level 2. 31 lists around a string are allowed, 32 are not. */
#define TR_ITEM_DEPTH_MAX 32
/** Bytes of an item with its names (same source). */
#define TR_ITEM_SIZE_MAX (400 * 1024)
/** Bytes of an attribute's name, at the top and within maps (same source); one at least. */
#define TR_ITEM_NAME_MAX 65535

/** A packed value, taken apart. `payload` is borrowed. */
typedef struct tr_value {
    tr_type type;
    tr_view payload;
} tr_value;

/** A packed item: the payload of a map. An empty view (len 0) counts as an item without attributes. */
typedef tr_view tr_item;

/* ------------------------------------------------------------------------------------------- reading */

/** The attribute of that name; TR_ENOTFOUND. */
int tr_item_get(tr_item item, tr_view name, tr_value *ret_value);
static inline uint32_t tr_packed_count(tr_view payload)
{
    const uint8_t *p = (const uint8_t *)payload.ptr;
    return payload.len < 4
               ? 0
               : (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/** Walks a map's members (an item's attributes), a list's values, or a set's elements, in packed order. */
typedef struct tr_packed_iter {
    const char *at, *end;
    tr_type of;      /* TR_M, TR_L, or the set's type */
    tr_view name;    /**< of the current member, maps only */
    tr_value value;  /**< current; elements of sets appear as TR_S, TR_N, TR_B */
    tr_view encoded; /**< the current value with its type and length (maps and lists) */
} tr_packed_iter;
void tr_item_iter(tr_packed_iter *iter, tr_item item);
/** For values of type M, L, SS, NS, BS. */
void tr_value_iter(tr_packed_iter *iter, tr_value container);
/** Moves to the first or next one; false at the end. */
bool tr_packed_next(tr_packed_iter *iter);
/** The list's value at index; TR_ENOTFOUND past its end. */
int tr_list_at(tr_value list, uint32_t index, tr_value *ret_value);
/** The value whose packed form (type, length, payload) starts the view; its packed length. TR_ECORRUPT. */
int tr_value_decode(tr_view packed, tr_value *ret_value, size_t *ret_len);

static inline bool tr_value_eq(tr_value a, tr_value b)
{
    return a.type == b.type && tr_view_eq(a.payload, b.payload);
}
/** Order of two values of one type out of S, N, B: <0, 0, >0. Bytewise, which orders numbers too. */
static inline int tr_value_cmp(tr_value a, tr_value b)
{
    return tr_view_cmp(a.payload, b.payload);
}
static inline bool tr_value_bool(tr_value v)
{
    return v.payload.len == 1 && v.payload.ptr[0] != 0;
}
/** Whether a set holds the element (of the set's element type). */
bool tr_set_has(tr_value set, tr_value element);

/** Verifies bytes from outside: lengths, order, types, depth, UTF-8, numbers. 0 or TR_ECORRUPT. */
int tr_item_check(tr_item item);

/* ------------------------------------------------------------------------------------------- building */

/**
 * Builds packed values into a buffer. Members and elements may come in any order; they are sorted when their
 * container ends. Errors of the buffer are sticky there; misuse is asserted.
 *
 *   tr_packer p; tr_packer_init(&p, &buf);
 *   tr_pack_map_begin(&p); tr_pack_name(&p, TR_VIEW("id")); tr_pack_s(&p, id); tr_pack_map_end(&p);
 *
 * The outermost container of an item is begun with tr_pack_item_begin, so that the buffer holds the bare
 * payload.
 */
typedef struct tr_packer {
    tr_buf *out;
    unsigned depth;
    struct tr_packer_level {
        uint8_t type; /* TR_M, TR_L, TR_SS, … ; 0 for the bare item */
        bool sorted;  /* so far in strict order */
        bool named;   /* a member's name stands there, its value does not yet */
        uint32_t count;
        size_t start; /* of the container's count field */
        size_t last;  /* of the last member's name or element, to compare the next with */
        size_t last_len;
        uint64_t last_head; /* its first eight bytes, big-endian */
    } level[TR_ITEM_DEPTH_MAX + 4];
} tr_packer;

void tr_packer_init(tr_packer *packer, tr_buf *out);
void tr_pack_item_begin(tr_packer *packer);
/** Sorts. TR_EEXIST if two members have one name, else the buffer's status. */
int tr_pack_item_end(tr_packer *packer);
void tr_pack_map_begin(tr_packer *packer);
int tr_pack_map_end(tr_packer *packer);
void tr_pack_list_begin(tr_packer *packer);
int tr_pack_list_end(tr_packer *packer);
/** type: TR_SS, TR_NS or TR_BS. Elements by tr_pack_element. */
void tr_pack_set_begin(tr_packer *packer, tr_type type);
/** Sorts. TR_EEXIST if an element is there twice. */
int tr_pack_set_end(tr_packer *packer);
void tr_pack_element(tr_packer *packer, tr_view payload);
/** Name of the next member of a map or item. */
void tr_pack_name(tr_packer *packer, tr_view name);
/** Any value, copied as it is. */
void tr_pack_value(tr_packer *packer, tr_value value);
/** A value in its encoded form (tr_packed_iter.encoded). */
void tr_pack_encoded(tr_packer *packer, tr_view encoded);
void tr_pack_s(tr_packer *packer, tr_view text);
void tr_pack_b(tr_packer *packer, tr_view bytes);
/** A number from its text; TR_EPARSE or TR_ELIMIT as tr_number_parse. */
int tr_pack_n(tr_packer *packer, tr_view text);
void tr_pack_n_i64(tr_packer *packer, int64_t number);
void tr_pack_bool(tr_packer *packer, bool value);
void tr_pack_null(tr_packer *packer);

/* ------------------------------------------------------------------------------------------- numbers */

/**
 * A DynamoDB number: up to 38 significant digits, magnitude 1E-130
 * to 9.9999999999999999999999999999999999999E+125, or zero. Packed so that bytewise order is numeric order
 * and no number's bytes are another's prefix:
 *
 *   zero      02
 *   positive  03 e d… 00      e = exponent of 100 + 65 (0 to 127); d = a pair of digits + 1 (01 to 64)
 *   negative  01 ~e ~d… FF    the same, every byte complemented
 */
#define TR_NUMBER_PACKED_MAX 23  /* sign, exponent, at most 20 pairs, terminator */
#define TR_NUMBER_TEXT_MAX   200 /* longest plain decimal form, 1E-130 with 38 digits, and room */
#define TR_NUMBER_DIGITS_MAX 38

/** Why a text is no number, as the service distinguishes it. */
typedef enum tr_number_problem {
    TR_NUMBER_OK,
    TR_NUMBER_MALFORMED, /**< TR_EPARSE: "The parameter cannot be converted to a numeric value: …" */
    TR_NUMBER_PRECISION, /**< TR_ELIMIT: more than 38 significant digits; told before the range is looked at
                          */
    TR_NUMBER_OVERFLOW,  /**< TR_ELIMIT: magnitude larger than supported */
    TR_NUMBER_UNDERFLOW  /**< TR_ELIMIT: magnitude smaller than supported */
} tr_number_problem;

/**
 * Packs a number in decimal or scientific notation (as the service accepts it: optional sign, digits,
 * optional fraction and exponent). `out` has room for TR_NUMBER_PACKED_MAX. ret_problem may be NULL.
 */
int tr_number_parse(tr_view text, uint8_t *out, size_t *ret_len, tr_number_problem *ret_problem);
/** The service's normal form: plain decimal without leading or trailing zeros, never an exponent. `out` has
 * room for TR_NUMBER_TEXT_MAX; returns the length. */
size_t tr_number_format(tr_view packed, char *out);
/** All digits, laid out as JavaScript does: plain decimal from 1e-6 up to, not including, 1e21, else
 * "1.5e-7", "1e+21". */
size_t tr_number_format_js(tr_view packed, char *out);
/** All digits, as plain JSON has them: the same, but plain decimal already from 1e-7, "0.00000015". */
size_t tr_number_format_plain(tr_view packed, char *out);
/** Sum or difference of packed numbers; TR_ELIMIT if the result leaves the range or needs more than 38
 * digits. */
int tr_number_add(tr_view a, tr_view b, bool subtract, uint8_t *out, size_t *ret_len,
                  tr_number_problem *ret_problem);
/** Exact conversion: TR_ELIMIT if it has a fraction or does not fit. */
int tr_number_to_i64(tr_view packed, int64_t *ret_number);
size_t tr_number_from_i64(int64_t number, uint8_t *out);
/** Nearest double. */
double tr_number_to_double(tr_view packed);
/** Bytes as the service counts them for item sizes and limits: one for each pair of digits, in powers of 100,
 * one for the exponent, one more for negative numbers; 1 for zero. (As DynamoDB Local counts them; the
 * Developer Guide says "approximately".) */
size_t tr_number_size(tr_view packed);
/** A double as JavaScript's Number.prototype.toString prints it; `out` has room for 32. Returns the length.
 */
size_t tr_double_format(double number, char *out);

/* --------------------------------------------------------------------------------------------- sizes */

/** Bytes of a value as the service counts them (Developer Guide, "DynamoDB item sizes and formats"). */
size_t tr_value_size(tr_value value);
/** Bytes of an item: names and values. */
size_t tr_item_size(tr_item item);
/** Level of the item's deepest value: 0 without attributes; at most TR_ITEM_DEPTH_MAX is allowed. */
unsigned tr_item_depth(tr_item item);

/* ---------------------------------------------------------------------------------------------- keys */

/**
 * Appends the order-preserving, self-delimiting key form of a value of type S, N or B: numbers as packed,
 * strings and binaries with 00 escaped as 00 FF and ended by 00 00.
 */
void tr_key_put(tr_buf *out, tr_value value);
/** As tr_key_put without the terminator of S and B: the bytes with which the key forms of all values begin
 * that begin with this one. */
void tr_key_put_prefix(tr_buf *out, tr_value value);
/** Reads a key form back; S and B are unescaped into the arena where needed. Bytes consumed in ret_len.
 * TR_ECORRUPT. */
int tr_key_get(tr_view key, tr_type type, tr_arena *arena, tr_value *ret_value, size_t *ret_len);

/* --------------------------------------------------------------------------------------- DynamoDB JSON */

/**
 * What was wrong with an attribute value in JSON, in the service's terms (src/api words it). As the service
 * does, the reader looks past members of an attribute value whose name is no type or whose value is null.
 * Unlike the service, which takes the last, it refuses two members of one name.
 */
typedef enum tr_item_problem {
    TR_ITEM_OK,
    TR_ITEM_JSON,            /**< not JSON: see the reader */
    TR_ITEM_NOT_OBJECT,      /**< an attribute value that is not an object; `token` tells what it is */
    TR_ITEM_NO_TYPE,         /**< {} or {"S": null}: no type has a value */
    TR_ITEM_MANY_TYPES,      /**< more than one type; what is wrong inside any of them is told before */
    TR_ITEM_WRONG_JSON_TYPE, /**< {"S": 1}, {"SS": [null]}: `token` tells what stood there (if a number,
                                `text` too), `type` what was wanted: the set's type for a set, S, N or B for
                                what is in one */
    TR_ITEM_NUMBER,          /**< `number` says which problem; `text` is the number */
    TR_ITEM_BASE64,          /**< `text` is the text that is not base64 */
    TR_ITEM_NULL_FALSE,      /**< {"NULL": false} */
    TR_ITEM_EMPTY_SET,       /**< `type` is the set's; empty elements are allowed */
    TR_ITEM_SET_DUPLICATE, /**< `type` is the set's, `text` lists the elements in the order they came: [a, b,
                              a] */
    TR_ITEM_DEPTH,         /**< past TR_ITEM_DEPTH_MAX levels */
    TR_ITEM_DUPLICATE_NAME,
    TR_ITEM_NAME,  /**< `text`, the name, is empty or longer than TR_ITEM_NAME_MAX; not a failure: the item is
                      packed nevertheless, for whoever has one already */
    TR_ITEM_MEMORY /**< the code tells: TR_ENOMEM, or TR_ELIMIT if the buffer's limit was reached */
} tr_item_problem;

typedef struct tr_item_error {
    tr_item_problem problem;
    tr_number_problem number;
    tr_type type;        /**< the type named, where it is known */
    tr_json_token token; /**< what was found */
    tr_view text;        /**< what was found, in the reader's arena or input */
} tr_item_error;

/**
 * Reads a map of attribute values, whose TR_JSON_OBJECT token was just read, into `out` as a packed item.
 * Errors: TR_EPARSE, TR_ELIMIT, TR_EEXIST, TR_ENOMEM, with the details in ret_error (required). After an
 * error the reader's place is undefined. Where it returns 0, ret_error's problem is TR_ITEM_OK or
 * TR_ITEM_NAME.
 */
int tr_item_read(tr_json_reader *reader, tr_buf *out, tr_item_error *ret_error);
/** Reads one attribute value, whose first token was just read; appends its encoded form. */
int tr_value_read(tr_json_reader *reader, tr_packer *packer, tr_item_error *ret_error);
/** Writes {"name":{"S":…},…}. */
void tr_item_write(tr_json_writer *writer, tr_item item);
/** Writes {"S":…}. */
void tr_value_write(tr_json_writer *writer, tr_value value);
/** As tr_item_write and tr_value_write, with numbers as tr_number_format_js lays them out: the same values,
 * in the text that requests of the AWS SDK for JavaScript hold. */
void tr_item_write_js(tr_json_writer *writer, tr_item item);
void tr_value_write_js(tr_json_writer *writer, tr_value value);
/** What a problem means, for people. Static. */
const char *tr_item_problem_text(tr_item_problem problem);
/** Words an error of tr_item_read or tr_item_read_plain for people, with its place in the input. Returns
 * `code`. */
int tr_item_error_to(const tr_item_error *error, int code, const tr_json_reader *reader, tr_error *ret_err);
/** From a text: convenience over tr_item_read. The packed item lives in the arena. */
int tr_item_from_json(tr_view json, tr_arena *arena, tr_item *ret_item, tr_error *err);

/* ------------------------------------------------------------------------------------------ plain JSON */

/**
 * Plain (unmarshalled) JSON: {"name":"text","n":1.5,…}. Numbers keep their exact digits
 * (tr_number_format_plain): plain decimal from 1e-7 up to, not including, 1e21, an exponent outside. B is
 * base64; sets are arrays in sorted order.
 */
void tr_item_write_plain(tr_json_writer *writer, tr_item item);
void tr_value_write_plain(tr_json_writer *writer, tr_value value);
/** Whether plain JSON loses no type: neither B nor sets anywhere inside. */
bool tr_item_plain_lossless(tr_item item);

/** How plain JSON numbers are read. */
typedef enum tr_plain_numbers {
    TR_PLAIN_EXACT,     /**< all digits kept; refused beyond 38 */
    TR_PLAIN_JAVASCRIPT /**< all digits kept up to 38; beyond, the shortest form of the nearest double, which
                           is what JavaScript would print. Out of range is refused by both. */
} tr_plain_numbers;
/**
 * Reads plain JSON, whose TR_JSON_OBJECT token was just read, into a packed item: strings S, numbers N,
 * booleans BOOL, null NULL, arrays L, objects M. Duplicate names are refused (TR_EEXIST).
 */
int tr_item_read_plain(tr_json_reader *reader, tr_plain_numbers numbers, tr_buf *out,
                       tr_item_error *ret_error);

#ifdef __cplusplus
}
#endif
#endif
