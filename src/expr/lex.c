/* SPDX-License-Identifier: MIT */
/* Tokens of expressions, and the service's wording of syntax errors. */
#include "internal.h"

#include <stdio.h>

int tr__expr_fail(tr_error *err, const char *format, ...)
{
    if (!err)
        return TR_EINVAL;
    char text[TR_ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return tr_fail_service(err, TR_EINVAL, 400, "ValidationException", "%s", text);
}

int tr__expr_nomem(tr_error *err)
{
    return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
}

const char *tr_expr_kind_name(tr_expr_kind kind)
{
    static const char *const names[] = {"ConditionExpression",    "FilterExpression",
                                        "KeyConditionExpression", "ProjectionExpression",
                                        "UpdateExpression",       "SearchConditionExpression"};
    return names[kind];
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_letter(c) || is_digit(c) || c == '_';
}

static const char *skip_word(const char *at, const char *end)
{
    while (at < end && is_word(*at))
        at++;
    return at;
}

/* Keywords are the same in every kind of expression, in any case. */
static tr__tok word_kind(tr_view word)
{
    static const struct {
        const char *word;
        tr__tok kind;
    } keywords[] = {{"AND", TR__TOK_AND},         {"OR", TR__TOK_OR},   {"NOT", TR__TOK_NOT},
                    {"BETWEEN", TR__TOK_BETWEEN}, {"IN", TR__TOK_IN},   {"SET", TR__TOK_SET},
                    {"REMOVE", TR__TOK_REMOVE},   {"ADD", TR__TOK_ADD}, {"DELETE", TR__TOK_DELETE}};
    if (word.len < 2 || word.len > 7)
        return TR__TOK_IDENT;
    for (size_t i = 0; i < TR_COUNT(keywords); i++) {
        const char *k = keywords[i].word;
        size_t n = 0;
        while (n < word.len && k[n] == (word.ptr[n] & ~0x20))
            n++;
        if (n == word.len && !k[n])
            return keywords[i].kind;
    }
    return TR__TOK_IDENT;
}

/* One character of UTF-8, or one byte of what is none. */
static size_t char_len(const char *at, const char *end)
{
    uint8_t c = (uint8_t)*at;
    size_t want = c < 0xc2 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 1;
    size_t n = 1;
    while (n < want && at + n < end && ((uint8_t)at[n] & 0xc0) == 0x80)
        n++;
    return n;
}

static tr__tok operator_kind(char c, char second, size_t *ret_len)
{
    *ret_len = 1;
    switch (c) {
    case '=':
        return TR__TOK_EQ;
    case '<':
        *ret_len = second == '=' || second == '>' ? 2 : 1;
        return second == '=' ? TR__TOK_LE : second == '>' ? TR__TOK_NE : TR__TOK_LT;
    case '>':
        *ret_len = second == '=' ? 2 : 1;
        return second == '=' ? TR__TOK_GE : TR__TOK_GT;
    case '+':
        return TR__TOK_PLUS;
    case '-':
        return TR__TOK_MINUS;
    case '(':
        return TR__TOK_LPAREN;
    case ')':
        return TR__TOK_RPAREN;
    case '[':
        return TR__TOK_LBRACKET;
    case ']':
        return TR__TOK_RBRACKET;
    case '.':
        return TR__TOK_DOT;
    case ',':
        return TR__TOK_COMMA;
    default:
        return TR__TOK_UNKNOWN;
    }
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

/* The token at or after `at`. */
static tr__token scan(const char *at, const char *end)
{
    at = skip_space(at, end);
    tr__token token = {TR__TOK_EOF, {at, 0}};
    if (at == end)
        return token;
    char c = *at;
    const char *to = at + 1;
    if (is_letter(c)) {
        to = skip_word(to, end);
        token.kind = word_kind(tr_view_of(at, (size_t)(to - at)));
    } else if (is_digit(c)) {
        token.kind = TR__TOK_NUMBER;
        while (c != '0' && to < end && is_digit(*to))
            to++;
    } else if ((c == '#' || c == ':') && to < end && is_word(*to)) {
        to = skip_word(to, end);
        token.kind = c == '#' ? TR__TOK_NAME : TR__TOK_VALUE;
    } else {
        size_t len;
        token.kind = operator_kind(c, to < end ? *to : 0, &len);
        to = at + (token.kind == TR__TOK_UNKNOWN ? char_len(at, end) : len);
    }
    token.text.len = (size_t)(to - at);
    return token;
}

void tr__lex_next(tr__lexer *lexer)
{
    if (lexer->token.kind == TR__TOK_EOF)
        return;
    lexer->before = lexer->token.text.ptr;
    lexer->token = scan(lexer->at, lexer->text.ptr + lexer->text.len);
    lexer->at = lexer->token.text.ptr + lexer->token.text.len;
}

int tr__lex_init(tr__lexer *lexer, tr_expr_kind kind, tr_view text, tr_error *err)
{
    if (text.len == 0)
        return tr__expr_fail(err, "Invalid %s: The expression can not be empty;", tr_expr_kind_name(kind));
    if (text.len > TR_EXPR_TEXT_MAX)
        return tr__expr_fail(
            err, "Invalid %s: Expression size has exceeded the maximum allowed size; expression size: %zu",
            tr_expr_kind_name(kind), text.len);
    tr__token token = scan(text.ptr, text.ptr + text.len);
    *lexer = (tr__lexer){.text = text,
                         .kind = kind,
                         .token = token,
                         .at = token.text.ptr + token.text.len,
                         .before = text.ptr};
    return 0;
}

/* `near` reaches from the token before to the token behind, with the space between. */
int tr__lex_fail(const tr__lexer *lexer, tr_error *err)
{
    const char *end = lexer->text.ptr + lexer->text.len;
    tr__token behind = scan(lexer->at, end);
    const char *to = behind.kind == TR__TOK_EOF ? end : behind.text.ptr + behind.text.len;
    if (lexer->token.kind == TR__TOK_UNKNOWN && lexer->token.text.len == 4)
        to = lexer->at; /* two characters of UTF-16, the second of which is the token behind */
    tr_view token = lexer->token.kind == TR__TOK_EOF ? TR_VIEW("<EOF>") : lexer->token.text;
    return tr__expr_fail(err, "Invalid %s: Syntax error; token: \"%.*s\", near: \"%.*s\"",
                         tr_expr_kind_name(lexer->kind), TR_FMT(token), (int)(to - lexer->before),
                         lexer->before);
}
