/* SPDX-License-Identifier: MIT */
/* Tokens, names and places, faults. */
#include "partiql/internal.h"

#include <stdio.h>

/* What DynamoDB Local refuses as a name unless it is quoted, sorted. `missing`, `null`, `true` and `false`
 * are values. */
static const char *const keywords[] = {
    "all",       "and",      "any",       "as",       "asc",         "at",
    "avg",       "bag",      "between",   "blob",     "bool",        "boolean",
    "by",        "case",     "cast",      "char",     "char_length", "character_length",
    "clob",      "coalesce", "collate",   "conflict", "count",       "cross",
    "date",      "date_add", "date_diff", "decimal",  "delete",      "desc",
    "distinct",  "do",       "double",    "else",     "end",         "escape",
    "except",    "exists",   "extract",   "false",    "first",       "float",
    "from",      "full",     "group",     "having",   "in",          "index",
    "inner",     "insert",   "int",       "integer",  "intersect",   "into",
    "is",        "join",     "last",      "left",     "let",         "like",
    "limit",     "list",     "lower",     "match",    "max",         "min",
    "missing",   "modified", "natural",   "new",      "not",         "nothing",
    "null",      "nullif",   "numeric",   "old",      "on",          "or",
    "order",     "outer",    "pivot",     "position", "precision",   "preserve",
    "real",      "remove",   "returning", "right",    "select",      "set",
    "sexp",      "size",     "smallint",  "some",     "string",      "struct",
    "substring", "sum",      "symbol",    "then",     "time",        "timestamp",
    "trim",      "true",     "tuple",     "union",    "unpivot",     "update",
    "upper",     "using",    "value",     "values",   "varchar",     "when",
    "where"};

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Order of a word, in any case, and a keyword in lower case. */
static int compare(tr_view word, const char *keyword)
{
    for (size_t i = 0; i < word.len; i++) {
        int c = (unsigned char)lower(word.ptr[i]) - (unsigned char)keyword[i];
        if (c || !keyword[i])
            return c ? c : 1;
    }
    return keyword[word.len] ? -1 : 0;
}

static bool is_keyword(tr_view word)
{
    size_t low = 0, high = TR_COUNT(keywords);
    while (low < high) {
        size_t middle = (low + high) / 2;
        int c = compare(word, keywords[middle]);
        if (c == 0)
            return true;
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

/* ------------------------------------------------------------------------------------------------ reading */

static const char *text_end(const tr__ql *q)
{
    return q->text.ptr + q->text.len;
}

/* White space and comments. */
static void skip(tr__ql *q)
{
    const char *p = q->at, *end = text_end(q);
    for (;;) {
        while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
            p++;
        if (end - p >= 2 && p[0] == '-' && p[1] == '-') {
            while (p < end && *p != '\n')
                p++;
        } else if (end - p >= 2 && p[0] == '/' && p[1] == '*') {
            size_t close = tr_view_find(tr_view_of(p, (size_t)(end - p)), TR_VIEW("*/"), 2);
            if (close == SIZE_MAX)
                break;
            p += close + 2;
        } else {
            break;
        }
    }
    q->at = p;
}

/* 'text' or "name"; unknown if it does not end. */
static void read_quoted(tr__ql *q, tr__ql_token *t)
{
    const char *p = q->at + 1, *end = text_end(q);
    char quote = *q->at;
    while (p < end && (*p != quote || (p + 1 < end && p[1] == quote))) {
        if (*p == quote) {
            t->doubled = true;
            p++;
        }
        p++;
    }
    if (p == end)
        return;
    t->kind = quote == '"' ? TR__QL_QUOTED : TR__QL_STRING;
    t->text = tr_view_of(q->at + 1, (size_t)(p - q->at - 1));
    q->at = p + 1;
}

static void read_number(tr__ql *q, tr__ql_token *t)
{
    const char *p = q->at, *end = text_end(q);
    while (p < end && (is_digit(*p) || *p == '.'))
        p++;
    if (p < end && lower(*p) == 'e') {
        const char *e = p + 1;
        if (e < end && (*e == '+' || *e == '-'))
            e++;
        if (e < end && is_digit(*e)) {
            while (e < end && is_digit(*e))
                e++;
            p = e;
        }
    }
    /* 1a is neither a number nor a name */
    t->kind = p < end && is_letter(*p) ? TR__QL_UNKNOWN : TR__QL_NUMBER;
    t->text = tr_view_of(q->at, (size_t)(p - q->at));
    q->at = p;
}

static void read_word(tr__ql *q, tr__ql_token *t)
{
    const char *p = q->at, *end = text_end(q);
    while (p < end && (is_letter(*p) || is_digit(*p)))
        p++;
    t->kind = TR__QL_WORD;
    t->text = tr_view_of(q->at, (size_t)(p - q->at));
    q->at = p;
}

static void read_sign(tr__ql *q, tr__ql_token *t)
{
    /* longer ones first */
    static const struct {
        const char *text;
        tr__ql_tok kind;
    } signs[] = {{"<>", TR__QL_NE},
                 {"!=", TR__QL_NE},
                 {"<=", TR__QL_LE},
                 {">=", TR__QL_GE},
                 {"<<", TR__QL_LBAG},
                 {">>", TR__QL_RBAG},
                 {"||", TR__QL_OTHER_OPERATOR},
                 {"=", TR__QL_EQ},
                 {"<", TR__QL_LT},
                 {">", TR__QL_GT},
                 {"+", TR__QL_PLUS},
                 {"-", TR__QL_MINUS},
                 {"*", TR__QL_STAR},
                 {"/", TR__QL_OTHER_OPERATOR},
                 {"%", TR__QL_OTHER_OPERATOR},
                 {"(", TR__QL_LPAREN},
                 {")", TR__QL_RPAREN},
                 {"[", TR__QL_LBRACKET},
                 {"]", TR__QL_RBRACKET},
                 {"{", TR__QL_LBRACE},
                 {"}", TR__QL_RBRACE},
                 {",", TR__QL_COMMA},
                 {":", TR__QL_COLON},
                 {".", TR__QL_DOT},
                 {";", TR__QL_SEMICOLON},
                 {"?", TR__QL_PARAMETER}};
    tr_view rest = tr_view_of(q->at, (size_t)(text_end(q) - q->at));
    for (size_t i = 0; i < TR_COUNT(signs); i++) {
        tr_view sign = tr_view_str(signs[i].text);
        if (!tr_view_starts(rest, sign))
            continue;
        t->kind = signs[i].kind;
        t->text = tr_view_of(q->at, sign.len);
        q->at += sign.len;
        return;
    }
}

void tr__ql_next(tr__ql *q)
{
    skip(q);
    const char *start = q->at, *end = text_end(q);
    tr__ql_token t = {.kind = TR__QL_UNKNOWN};
    if (start == end)
        t.kind = TR__QL_EOF;
    else if (*start == '\'' || *start == '"')
        read_quoted(q, &t);
    else if (is_digit(*start) || (*start == '.' && end - start > 1 && is_digit(start[1])))
        read_number(q, &t);
    else if (is_letter(*start))
        read_word(q, &t);
    else
        read_sign(q, &t);
    if (t.kind == TR__QL_UNKNOWN) /* nothing goes on from here */
        q->at = end;
    t.whole = tr_view_of(start, (size_t)(q->at - start));
    q->token = t;
}

void tr__ql_begin(tr__ql *q, tr_view text)
{
    q->text = text;
    q->at = text.ptr;
    tr__ql_next(q);
}

bool tr__ql_take(tr__ql *q, tr__ql_tok kind)
{
    if (q->token.kind != kind)
        return false;
    tr__ql_next(q);
    return true;
}

bool tr__ql_is(const tr__ql *q, const char *keyword)
{
    return q->token.kind == TR__QL_WORD && compare(q->token.text, keyword) == 0;
}

bool tr__ql_take_word(tr__ql *q, const char *keyword)
{
    if (!tr__ql_is(q, keyword))
        return false;
    tr__ql_next(q);
    return true;
}

bool tr__ql_is_name(const tr__ql *q)
{
    return q->token.kind == TR__QL_QUOTED || (q->token.kind == TR__QL_WORD && !is_keyword(q->token.text));
}

int tr__ql_text(tr__ql *q, const tr__ql_token *token, tr_view *ret_text)
{
    *ret_text = token->text;
    if (!token->doubled)
        return 0;
    char *to = tr_arena_alloc(q->arena, token->text.len);
    size_t len = 0;
    if (!to)
        return tr__expr_nomem(q->err);
    for (size_t i = 0; i < token->text.len; i++) {
        to[len++] = token->text.ptr[i];
        if (token->text.ptr[i] == token->whole.ptr[0])
            i++;
    }
    *ret_text = tr_view_of(to, len);
    return 0;
}

const char *tr__ql_place(tr__ql *q, const tr__ql_token *token)
{
    size_t line = 1, column = 1;
    for (const char *p = q->text.ptr; p < token->whole.ptr; p++) {
        column = *p == '\n' ? 1 : column + 1;
        line += *p == '\n';
    }
    const char *text = tr_arena_printf(q->arena, "%zu:%zu:%zu", line, column, token->whole.len);
    return text ? text : "";
}

/* ------------------------------------------------------------------------------------------------- errors */

int tr__ql_syntax(tr__ql *q)
{
    return tr__expr_fail(q->err, "Statement wasn't well formed, can't be processed: %.*s", TR_FMT(q->text));
}

int tr__ql_fault(tr__ql *q, const char *format, ...)
{
    if (q->faulted)
        return 0;
    char text[TR_ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)tr__expr_fail(&q->fault, "%s", text);
    q->faulted = true;
    return 0;
}

int tr__ql_refused(tr__ql *q, int code, const tr_error *err)
{
    if (code == TR_ENOMEM)
        return tr__expr_nomem(q->err);
    tr_view text = tr_view_str(err->message);
    static const tr_view prefixes[] = {{"Invalid UpdateExpression: ", 26},
                                       {"Invalid ProjectionExpression: ", 30}};
    for (size_t i = 0; i < TR_COUNT(prefixes); i++)
        if (tr_view_starts(text, prefixes[i]))
            text = tr_view_of(text.ptr + prefixes[i].len, text.len - prefixes[i].len);
    return tr__ql_fault(q, "%.*s", TR_FMT(text));
}

int tr__ql_enter(tr__ql *q)
{
    if (q->depth == TR_QL_DEPTH_MAX)
        return tr__expr_fail(
            q->err, "Statement wasn't well formed, can't be processed: it is nested more than %d levels deep",
            TR_QL_DEPTH_MAX);
    q->depth++;
    return 0;
}
