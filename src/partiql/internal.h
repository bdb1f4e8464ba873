/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_PARTIQL_INTERNAL_H
#define TAILRACE_PARTIQL_INTERNAL_H

/**
 * What the files of src/partiql share.
 *
 *   lex.c    tokens
 *   value.c  literals: numbers, texts, lists, tuples, bags, parameters
 *   cond.c   conditions and right-hand sides, out of src/expr's raw nodes
 *   parse.c  statements
 *   plan.c   what a statement reads and writes, given a table's keys
 *
 * Two kinds of errors. Syntax errors end the parsing: the function returns TR_EINVAL. What the grammar allows
 * but the service refuses is a fault: the first one is kept, parsing goes on, and it is told only if no
 * syntax error follows, since the service parses the whole statement before it looks at what it means.
 */

#include "expr/internal.h"
#include "partiql/partiql.h"

typedef enum tr__ql_tok {
    TR__QL_EOF,
    TR__QL_WORD,   /* an identifier or a keyword */
    TR__QL_QUOTED, /* "identifier" */
    TR__QL_STRING, /* 'text' */
    TR__QL_NUMBER,
    TR__QL_PARAMETER,
    TR__QL_EQ, /* EQ to GE in the order of tr_cond_op */
    TR__QL_NE,
    TR__QL_LT,
    TR__QL_LE,
    TR__QL_GT,
    TR__QL_GE,
    TR__QL_PLUS,
    TR__QL_MINUS,
    TR__QL_STAR,
    TR__QL_OTHER_OPERATOR, /* / % || */
    TR__QL_LPAREN,
    TR__QL_RPAREN,
    TR__QL_LBRACKET,
    TR__QL_RBRACKET,
    TR__QL_LBRACE,
    TR__QL_RBRACE,
    TR__QL_LBAG,
    TR__QL_RBAG,
    TR__QL_COMMA,
    TR__QL_COLON,
    TR__QL_DOT,
    TR__QL_SEMICOLON,
    TR__QL_UNKNOWN
} tr__ql_tok;

typedef struct tr__ql_token {
    tr__ql_tok kind;
    tr_view whole; /* as it stands in the statement */
    tr_view text;  /* without quotes */
    bool doubled;  /* there are doubled quotes in the text */
} tr__ql_token;

typedef struct tr__ql {
    tr__parse parse; /* for src/expr: arena, kind of expression, where errors go */
    tr_expr_env env;
    tr_arena *arena;
    tr_buf *scratch;
    tr_view text;
    const char *at; /* behind `token` */
    tr__ql_token token;
    const tr_value *parameters;
    uint32_t parameter_count, parameters_used;
    unsigned depth;
    bool faulted;
    tr_error fault; /* the first */
    tr_error *err;
} tr__ql;

/* ------------------------------------------------------------------------------------------------- tokens */

/** Reads the first token. */
void tr__ql_begin(tr__ql *q, tr_view text);
void tr__ql_next(tr__ql *q);
bool tr__ql_take(tr__ql *q, tr__ql_tok kind);
/** Whether the token is that keyword, in any case. */
bool tr__ql_is(const tr__ql *q, const char *keyword);
bool tr__ql_take_word(tr__ql *q, const char *keyword);
/** Whether the token may be the name of a table or an attribute: quoted, or no keyword. */
bool tr__ql_is_name(const tr__ql *q);
/** The token's text, doubled quotes made single. TR_ENOMEM. */
int tr__ql_text(tr__ql *q, const tr__ql_token *token, tr_view *ret_text);
/** "line:column:length" of a token, in the arena; "" without memory. */
const char *tr__ql_place(tr__ql *q, const tr__ql_token *token);

/** Fails with a syntax error. Returns TR_EINVAL. */
int tr__ql_syntax(tr__ql *q);
/** Keeps the first fault. Returns 0. */
int tr__ql_fault(tr__ql *q, const char *format, ...) TR_PRINTF(2, 3);
/** Keeps what a function of src/expr has refused, without its prefix; passes other codes on. */
int tr__ql_refused(tr__ql *q, int code, const tr_error *err);
/** One level deeper; a syntax error at TR_QL_DEPTH_MAX. */
int tr__ql_enter(tr__ql *q);
static inline void tr__ql_leave(tr__ql *q)
{
    q->depth--;
}

/* ------------------------------------------------------------------------------------------------- values */

/** Whether a literal or a parameter begins here. */
bool tr__ql_is_value(const tr__ql *q);
/** A literal or a parameter, packed in the arena. After a fault it may be NULL of DynamoDB. */
int tr__ql_value(tr__ql *q, tr_value *ret_value);
/** INSERT's {'name': value, …}, packed in the arena. */
int tr__ql_item(tr__ql *q, tr_item *ret_item);

/* -------------------------------------------------------------------------------------------- expressions */

/** A path: a name and steps behind it. ret_name: its last part, as SELECT names it. */
int tr__ql_path(tr__ql *q, tr_path *ret_path, tr_view *ret_name);
/** A condition of WHERE. ret_cond: NULL after a fault. */
int tr__ql_condition(tr__ql *q, const tr_cond **ret_cond);
/** SET path = …: the step that it is. */
int tr__ql_set(tr__ql *q, tr_update_step *ret_step);
/** EXISTS(SELECT …) and plain SELECT, for what contains one. */
int tr__ql_select(tr__ql *q, tr_ql_statement *statement);

#endif
