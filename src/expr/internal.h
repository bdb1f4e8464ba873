/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_EXPR_INTERNAL_H
#define TAILRACE_EXPR_INTERNAL_H

/**
 * What the files of src/expr share: tokens, the raw tree between parsing and checking, tries of document
 * paths, and the wording of errors.
 *
 * From text to tree
 *   lex.c     tokens, and the `near` of syntax errors
 *   parse.c   the grammar of conditions and of SET's right-hand sides: raw nodes in two orders, that in which
 * they begin (what is refused by name is told in this order) and that in which they end (operands before
 *             operators, which is how the rest is checked)
 *   check.c   names, values and operands of raw nodes
 *   cond.c    conditions out of checked nodes; update.c and projection.c the same for theirs
 * None of this recurses: an expression may open some 4,000 parentheses.
 */

#include "expr/expr.h"

/* ------------------------------------------------------------------------------------------------- errors */

/** Fails with a ValidationException of this text. */
int tr__expr_fail(tr_error *err, const char *format, ...) TR_PRINTF(2, 3);
int tr__expr_nomem(tr_error *err);

/* ------------------------------------------------------------------------------------------------- tokens */

typedef enum tr__tok {
    TR__TOK_EOF,
    TR__TOK_IDENT,
    TR__TOK_NAME,  /* #n */
    TR__TOK_VALUE, /* :v */
    TR__TOK_NUMBER,
    TR__TOK_EQ, /* EQ to GE in the order of tr_cond_op */
    TR__TOK_NE,
    TR__TOK_LT,
    TR__TOK_LE,
    TR__TOK_GT,
    TR__TOK_GE,
    TR__TOK_PLUS,
    TR__TOK_MINUS,
    TR__TOK_LPAREN,
    TR__TOK_RPAREN,
    TR__TOK_LBRACKET,
    TR__TOK_RBRACKET,
    TR__TOK_DOT,
    TR__TOK_COMMA,
    TR__TOK_AND,
    TR__TOK_OR,
    TR__TOK_NOT,
    TR__TOK_BETWEEN,
    TR__TOK_IN,
    TR__TOK_SET,
    TR__TOK_REMOVE,
    TR__TOK_ADD,
    TR__TOK_DELETE,
    TR__TOK_UNKNOWN /* any other character */
} tr__tok;

typedef struct tr__token {
    tr__tok kind;
    tr_view text;
} tr__token;

/** A cursor: `token` is the one to be consumed next. */
typedef struct tr__lexer {
    tr_view text;
    const char *at; /* behind `token` */
    tr__token token;
    const char *before; /* where the token before `token` begins; the text's beginning if there is none */
    tr_expr_kind kind;
} tr__lexer;

/** Checks the text's length and reads the first token. */
int tr__lex_init(tr__lexer *lexer, tr_expr_kind kind, tr_view text, tr_error *err);
void tr__lex_next(tr__lexer *lexer);
/** Consumes the token if it is of that kind. */
static inline bool tr__lex_take(tr__lexer *lexer, tr__tok kind)
{
    if (lexer->token.kind != kind)
        return false;
    tr__lex_next(lexer);
    return true;
}
/** "Syntax error; token: "…", near: "…"" of the token. Returns TR_EINVAL. */
int tr__lex_fail(const tr__lexer *lexer, tr_error *err);

/* ---------------------------------------------------------------------------------------------- raw nodes */

typedef enum tr__raw_kind {
    TR__RAW_PATH,
    TR__RAW_VALUE,
    TR__RAW_FUNC,
    TR__RAW_COMPARE,
    TR__RAW_BETWEEN,
    TR__RAW_IN,
    TR__RAW_NOT,
    TR__RAW_AND,
    TR__RAW_OR,
    TR__RAW_PLUS,
    TR__RAW_MINUS
} tr__raw_kind;

/** The functions, of conditions and updates. */
typedef enum tr__func {
    TR__FUNC_UNKNOWN,
    TR__FUNC_EXISTS,
    TR__FUNC_NOT_EXISTS,
    TR__FUNC_TYPE,
    TR__FUNC_BEGINS_WITH,
    TR__FUNC_CONTAINS,
    TR__FUNC_SIZE,
    TR__FUNC_IF_NOT_EXISTS,
    TR__FUNC_LIST_APPEND
} tr__func;

/** Where a function stands. */
typedef enum tr__role {
    TR__ROLE_TOP,    /* as a condition, or as the whole right-hand side of SET */
    TR__ROLE_OPERAND /* of a comparison, of arithmetic, of another function */
} tr__role;

typedef struct tr__raw {
    uint8_t kind;                 /* tr__raw_kind */
    uint8_t op;                   /* COMPARE: tr_cond_op */
    uint8_t role;                 /* FUNC: tr__role */
    uint8_t func;                 /* FUNC: tr__func */
    bool bad_index;               /* PATH: `bad` is a list index, else a reserved word */
    uint32_t count;               /* of operands; PATH: of steps, those beyond TR_PATH_MAX included */
    tr_view text;                 /* FUNC: its name; VALUE: its placeholder */
    tr_view bad;                  /* PATH: the first step that is refused by name; ptr NULL if none is */
    struct tr__raw *first, *last; /* operands, linked by `next` */
    struct tr__raw *next;
    struct tr__raw *next_begun, *next_ended;
    /* filled by checking */
    tr_operand operand;           /* PATH, VALUE; FUNC size */
    const tr_expr_value *literal; /* VALUE */
    const void *made;             /* the condition (tr_cond) or term (tr_term) */
} tr__raw;

/** What is being parsed: the nodes so far, in both orders. */
typedef struct tr__parse {
    tr_expr_env *env;
    tr_expr_kind kind;
    tr__lexer lexer;
    tr__raw *begun, **begun_end;
    tr__raw *ended, **ended_end;
    bool redundant;        /* parentheses directly in parentheses were seen */
    bool redundant_inside; /* the same in what the service's parser has not decided about, see parse.c */
    uint32_t operators;
    bool bare; /* errors are told without "Invalid ConditionExpression: ", as PartiQL's are */
    tr_error *err;
} tr__parse;

/** A raw node, cleared, or NULL without memory; and one operand more for it. For src/partiql too, which makes
 * the same nodes out of another grammar. */
tr__raw *tr__raw_new(const tr__parse *parse, tr__raw_kind kind);
void tr__raw_add(tr__raw *node, tr__raw *operand);

int tr__parse_init(tr__parse *parse, tr_expr_env *env, tr_expr_kind kind, tr_view text, tr_error *err);
/** A document path; the token is an identifier or a #name. */
int tr__parse_path(tr__parse *parse, tr__raw **ret_path);
/** A :value. */
int tr__parse_value(tr__parse *parse, tr__raw **ret_value);
/** A condition, up to the token that cannot belong to it. */
int tr__parse_condition(tr__parse *parse, tr__raw **ret_root);
/** A right-hand side of SET. */
int tr__parse_term(tr__parse *parse, tr__raw **ret_root);
/** The syntax error of the current token, or that of redundant parentheses before it. Returns TR_EINVAL. */
int tr__parse_syntax(const tr__parse *parse);
/** The error of a prefix, "Invalid ConditionExpression: " and so on. */
int tr__parse_fail(const tr__parse *parse, const char *format, ...) TR_PRINTF(2, 3);

/* ----------------------------------------------------------------------------------------------- checking */

/** After the text is parsed: redundant parentheses, then what is refused by name, in the order of the text.
 */
int tr__check_names(const tr__parse *parse);
/** Resolves a path or a value, or checks the operands of a function or operator; counts operators. */
int tr__check_node(tr__parse *parse, tr__raw *node);
/** The function of that name; ret_update: it is one of updates, not of conditions. */
tr__func tr__func_of(tr_view name, bool *ret_update);
/** Makes node->made, a condition or a term, out of a checked node whose operands have theirs. */
int tr__cond_make(tr__parse *parse, tr__raw *node);
int tr__term_make(tr__parse *parse, tr__raw *node);
/** The last value of that placeholder, or NULL. Marks it as used. */
const tr_expr_value *tr__env_value(tr_expr_env *env, tr_view placeholder);
const tr_expr_name *tr__env_name(tr_expr_env *env, tr_view placeholder);

/** Java's String.hashCode of UTF-8 text, spread as java.util.HashMap does. */
uint32_t tr__java_hash(tr_view text);

/* --------------------------------------------------------------------------------------------- path tries */

/**
 * Document paths that do not overlap, sorted: children of a node are all names (bytewise) or all indexes
 * (ascending).
 */
typedef struct tr__trie {
    tr_path_part part;
    uint32_t id;      /* counts nodes from 0 (the root) */
    int32_t leaf;     /* number of the path that ends here, -1 in between */
    uint32_t made_by; /* number of the path for which the node was made */
    struct tr__trie *children, *next;
    struct tr__trie *last_child; /* hint for insertion */
} tr__trie;

/** What is being built: paths are inserted by their number, the last first, as the service does. */
typedef struct tr__trie_builder {
    tr_arena *arena;
    const tr_path *const *paths;
    const char *prefix; /* of the error of an overlap or conflict: "Invalid UpdateExpression: " */
    tr_error *err;
    tr__trie *root;
    uint32_t nodes; /* with the root */
} tr__trie_builder;

int tr__trie_begin(tr__trie_builder *builder);
int tr__trie_insert(tr__trie_builder *builder, uint32_t number);
/** The numbers of the paths in the order in which the service walks them; `leaves` has room for all. Their
 * count. */
uint32_t tr__trie_in_order(const tr__trie *node, uint32_t *leaves);
/** What the paths leave of an item, packed in the arena. */
int tr__trie_project(const tr__trie *root, uint32_t nodes, tr_item item, tr_arena *arena, tr_item *ret_item);

/** First parts of paths, each once, in order. */
typedef struct tr__names {
    tr_view *names;
    uint32_t count, cap;
} tr__names;
int tr__names_add(tr__names *list, tr_arena *arena, tr_view name);

/* ------------------------------------------------------------------------------------------- packed bytes */

static inline char *tr__emit(char *at, tr_view bytes)
{
    if (bytes.ptr && bytes.len)
        memcpy(at, bytes.ptr, bytes.len);
    return at + bytes.len;
}
static inline char *tr__emit_u32(char *at, uint32_t x)
{
    at[0] = (char)x;
    at[1] = (char)(x >> 8);
    at[2] = (char)(x >> 16);
    at[3] = (char)(x >> 24);
    return at + 4;
}
static inline size_t tr__varint_len(uint64_t x)
{
    size_t n = 1;
    while (x >= 0x80) {
        x >>= 7;
        n++;
    }
    return n;
}
static inline bool tr__is_wide(tr_type type)
{
    return type >= TR_M;
}
/** Bytes of a value with its type and length. */
static inline size_t tr__value_len(tr_type type, size_t payload)
{
    return 1 + (tr__is_wide(type) ? 4 : tr__varint_len(payload)) + payload;
}
static inline char *tr__emit_head(char *at, tr_type type, size_t payload)
{
    *at++ = (char)type;
    return tr__is_wide(type) ? tr__emit_u32(at, (uint32_t)payload) : at + tr_varint_put(at, payload);
}
static inline char *tr__emit_value(char *at, tr_value value)
{
    return tr__emit(tr__emit_head(at, value.type, value.payload.len), value.payload);
}
static inline size_t tr__name_len(tr_view name)
{
    return tr__varint_len(name.len) + name.len;
}
static inline char *tr__emit_name(char *at, tr_view name)
{
    return tr__emit(at + tr_varint_put(at, name.len), name);
}

#endif
