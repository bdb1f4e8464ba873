/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_JSON_H
#define TAILRACE_JSON_H

/**
 * tailrace/json.h: a pull reader and a stream writer of JSON (RFC 8259), without a tree.
 *
 * The reader walks a text that is whole in memory and hands out one token at a time; strings without escapes
 * are views into the text, others are decoded into the reader's arena. It accepts exactly RFC 8259: one
 * value, no trailing commas, no comments, valid UTF-8, surrogate pairs combined and lone ones refused, NUL
 * allowed as \u0000. It never recurses; nesting is limited to TR_JSON_DEPTH_MAX.
 *
 * The writer appends to a tr_buf and places commas itself; mistakes of nesting are the caller's.
 */

#include <tailrace/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Depth of nested objects and arrays that the reader accepts; DynamoDB's 32 levels take 68 of them. */
#define TR_JSON_DEPTH_MAX 256

typedef enum tr_json_token {
    TR_JSON_ERROR,      /**< malformed; sticky. tr_json_error tells what and where */
    TR_JSON_DONE,       /**< the value and the text are at their end */
    TR_JSON_OBJECT,     /**< { ; TR_JSON_KEY or TR_JSON_OBJECT_END follows */
    TR_JSON_OBJECT_END, /**< } */
    TR_JSON_ARRAY,      /**< [ */
    TR_JSON_ARRAY_END,  /**< ] */
    TR_JSON_KEY,        /**< a member's name, in reader->text; its value follows */
    TR_JSON_STRING,     /**< decoded, in reader->text */
    TR_JSON_NUMBER,     /**< as written, in reader->text; grammar checked */
    TR_JSON_TRUE,
    TR_JSON_FALSE,
    TR_JSON_NULL
} tr_json_token;

typedef struct tr_json_reader {
    tr_view text;        /**< of the last KEY, STRING or NUMBER; valid as long as input and arena */
    tr_json_token token; /**< the last token */
    /* private */
    const char *at, *end, *begin, *value;
    tr_arena *arena;
    const char *error;
    int code;
    unsigned depth;
    uint8_t state;
    uint8_t in_object[TR_JSON_DEPTH_MAX / 8]; /* a bit per level */
} tr_json_reader;

/** Starts reading. The input and the arena (for strings with escapes) must outlive the views. */
void tr_json_init(tr_json_reader *reader, tr_view input, tr_arena *arena);
tr_json_token tr_json_next(tr_json_reader *reader);
/** With TR_JSON_OBJECT just read, or a member's value just consumed: true if the next token is a KEY (read
 * now). */
static inline bool tr_json_next_key(tr_json_reader *reader)
{
    return tr_json_next(reader) == TR_JSON_KEY;
}
/**
 * Consumes the rest of the value whose first token was just read (nothing more for scalars). 0 or TR_EPARSE.
 */
int tr_json_skip(tr_json_reader *reader);
/** Like tr_json_skip; gives the value's text, from its first character to its last, as a view into the input.
 */
int tr_json_raw(tr_json_reader *reader, tr_view *ret_text);
/** The offset of the last token's end in the input, bytes. */
size_t tr_json_offset(const tr_json_reader *reader);
/** After TR_JSON_ERROR: what is wrong, static text; else NULL. */
const char *tr_json_error(const tr_json_reader *reader);
/** After TR_JSON_ERROR: TR_EPARSE, TR_ELIMIT (nesting) or TR_ENOMEM. */
int tr_json_error_code(const tr_json_reader *reader);
/** The last token as int64 if it is a whole number without fraction and exponent that fits. TR_EPARSE,
 * TR_ELIMIT. */
int tr_json_int(const tr_json_reader *reader, int64_t *ret_number);

/**
 * Looks a member up in a text that is an object: its value's raw text, a view into `json`. The arena is for
 * names with escapes. TR_ENOTFOUND, TR_EPARSE. Reads from the beginning: for a member or two of an answer,
 * not for whole decoders.
 */
int tr_json_member(tr_view json, const char *name, tr_arena *arena, tr_view *ret_raw);

/* --------------------------------------------------------------------------------------------- writing */

typedef struct tr_json_writer {
    tr_buf *out;
    size_t start; /* of this document in out */
} tr_json_writer;

/** Starts a document at the buffer's end. Errors are the buffer's sticky status. */
static inline void tr_json_write_init(tr_json_writer *writer, tr_buf *out)
{
    writer->out = out;
    writer->start = out->len;
}
/** A comma where one is due. Called by all others; needed only before bytes that you append to the buffer
 * yourself. */
static inline void tr_json_sep(tr_json_writer *writer)
{
    tr_buf *out = writer->out;
    if (out->len > writer->start) {
        char c = out->ptr[out->len - 1];
        /* a finished value ends in " } ] a digit or a letter, so these three tell that none stands before us
         */
        if (c != '{' && c != '[' && c != ':')
            tr_buf_putc(out, ',');
    }
}
void tr_json_begin_object(tr_json_writer *writer);
void tr_json_end_object(tr_json_writer *writer);
void tr_json_begin_array(tr_json_writer *writer);
void tr_json_end_array(tr_json_writer *writer);
/** A member's name. Bytes must be valid UTF-8. */
void tr_json_key(tr_json_writer *writer, tr_view name);
/** A string: escapes ", \, and control characters (short forms where JSON has them, else \u00xx), no others.
 */
void tr_json_string(tr_json_writer *writer, tr_view text);
void tr_json_cstring(tr_json_writer *writer, const char *text);
void tr_json_i64(tr_json_writer *writer, int64_t number);
void tr_json_u64(tr_json_writer *writer, uint64_t number);
void tr_json_bool(tr_json_writer *writer, bool value);
void tr_json_null(tr_json_writer *writer);
/** A value already in JSON. */
void tr_json_value(tr_json_writer *writer, tr_view json);
/** A binary value as a base64 string. */
void tr_json_base64(tr_json_writer *writer, tr_view bytes);

/** "name":value in one call; `name` is a literal of characters that need no escape. */
void tr_json_member_string(tr_json_writer *writer, const char *name, tr_view text);
void tr_json_member_cstring(tr_json_writer *writer, const char *name, const char *text);
void tr_json_member_i64(tr_json_writer *writer, const char *name, int64_t number);
void tr_json_member_u64(tr_json_writer *writer, const char *name, uint64_t number);
void tr_json_member_bool(tr_json_writer *writer, const char *name, bool value);
void tr_json_name(tr_json_writer *writer, const char *name);

#ifdef __cplusplus
}
#endif
#endif
