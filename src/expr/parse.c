/* SPDX-License-Identifier: MIT */
/*
 * The grammar of conditions and of SET's right-hand sides, without recursion.
 *
 *   condition = condition OR condition | condition AND condition | NOT condition | "(" condition ")"
 *             | operand comparator operand | operand BETWEEN operand AND operand
 *             | operand IN "(" operand {"," operand} ")" | function
 *   term      = operand [("+" | "-") operand] | "(" term ")"
 *   operand   = path | value | function | "(" operand ")"
 *   function  = identifier "(" operand {"," operand} ")"
 *
 * One loop reads an operand or the begin of something, the other says what may follow it. What is open (a
 * parenthesis, a function, the left side of AND, …) lies on a stack of frames. A parenthesis may hold a
 * condition or an operand, which is seen only behind it: so each finished piece carries what it can be.
 */
#include "internal.h"

#include <stdio.h>

/* -------------------------------------------------------------------------------------------------- nodes */

int tr__parse_fail(const tr__parse *parse, const char *format, ...)
{
    if (!parse->err)
        return TR_EINVAL;
    char text[TR_ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return parse->bare ? tr__expr_fail(parse->err, "%s", text)
                       : tr__expr_fail(parse->err, "Invalid %s: %s", tr_expr_kind_name(parse->kind), text);
}

int tr__parse_init(tr__parse *parse, tr_expr_env *env, tr_expr_kind kind, tr_view text, tr_error *err)
{
    *parse = (tr__parse){.env = env, .kind = kind, .err = err};
    parse->begun_end = &parse->begun;
    parse->ended_end = &parse->ended;
    return tr__lex_init(&parse->lexer, kind, text, err);
}

int tr__parse_syntax(const tr__parse *parse)
{
    return parse->redundant ? tr__parse_fail(parse, "The expression has redundant parentheses;")
                            : tr__lex_fail(&parse->lexer, parse->err);
}

tr__raw *tr__raw_new(const tr__parse *parse, tr__raw_kind kind)
{
    tr__raw *node = tr_arena_calloc(parse->env->arena, 1, sizeof *node);
    if (node)
        node->kind = (uint8_t)kind;
    return node;
}

static void begin(tr__parse *parse, tr__raw *node)
{
    *parse->begun_end = node;
    parse->begun_end = &node->next_begun;
}

static void end(tr__parse *parse, tr__raw *node)
{
    *parse->ended_end = node;
    parse->ended_end = &node->next_ended;
}

void tr__raw_add(tr__raw *node, tr__raw *operand)
{
    operand->next = NULL;
    if (node->last)
        node->last->next = operand;
    else
        node->first = operand;
    node->last = operand;
    node->count++;
}

/* -------------------------------------------------------------------------------------------------- paths */

/* One step more; those beyond the limit are counted only. */
static void add_step(tr__raw *node, tr_path_part *parts, tr_path_part part)
{
    if (node->count < TR_PATH_MAX)
        parts[node->count] = part;
    node->count++;
}

static void refuse(tr__raw *node, tr_view text, bool index)
{
    if (node->bad.ptr)
        return;
    node->bad = text;
    node->bad_index = index;
}

/* .name, .#name; the service's grammar takes .:value too, and finds no such name later */
static int parse_name(tr__parse *parse, tr__raw *node, tr_path_part *parts)
{
    tr__token token = parse->lexer.token;
    bool first = node->count == 0;
    if (token.kind == TR__TOK_IDENT) {
        if (tr_expr_reserved(token.text))
            refuse(node, token.text, false);
    } else if (token.kind != TR__TOK_NAME && (first || token.kind != TR__TOK_VALUE)) {
        return tr__parse_syntax(parse);
    }
    add_step(node, parts, (tr_path_part){.name = token.text});
    tr__lex_next(&parse->lexer);
    return 0;
}

static int parse_index(tr__parse *parse, tr__raw *node, tr_path_part *parts)
{
    tr__lexer *lexer = &parse->lexer;
    uint64_t index = 0;
    if (lexer->token.kind != TR__TOK_NUMBER)
        return tr__parse_syntax(parse);
    if (tr_view_to_u64(lexer->token.text, INT32_MAX, &index) < 0)
        refuse(node, lexer->token.text, true);
    add_step(node, parts, (tr_path_part){.index = (uint32_t)index});
    tr__lex_next(lexer);
    return tr__lex_take(lexer, TR__TOK_RBRACKET) ? 0 : tr__parse_syntax(parse);
}

int tr__parse_path(tr__parse *parse, tr__raw **ret_path)
{
    tr_path_part parts[TR_PATH_MAX];
    tr__raw *node = tr__raw_new(parse, TR__RAW_PATH);
    if (!node)
        return tr__expr_nomem(parse->err);
    int r = parse_name(parse, node, parts);
    while (r == 0) {
        if (tr__lex_take(&parse->lexer, TR__TOK_DOT))
            r = parse_name(parse, node, parts);
        else if (tr__lex_take(&parse->lexer, TR__TOK_LBRACKET))
            r = parse_index(parse, node, parts);
        else
            break;
    }
    if (r < 0)
        return r;
    uint32_t kept = node->count < TR_PATH_MAX ? node->count : TR_PATH_MAX;
    tr_path_part *copy = tr_arena_alloc(parse->env->arena, kept * sizeof *copy);
    if (!copy)
        return tr__expr_nomem(parse->err);
    memcpy(copy, parts, kept * sizeof *copy);
    node->operand = tr_operand_path((tr_path){kept, copy});
    begin(parse, node);
    end(parse, node);
    *ret_path = node;
    return 0;
}

int tr__parse_value(tr__parse *parse, tr__raw **ret_value)
{
    if (parse->lexer.token.kind != TR__TOK_VALUE)
        return tr__parse_syntax(parse);
    tr__raw *node = tr__raw_new(parse, TR__RAW_VALUE);
    if (!node)
        return tr__expr_nomem(parse->err);
    node->text = parse->lexer.token.text;
    tr__lex_next(&parse->lexer);
    begin(parse, node);
    end(parse, node);
    *ret_value = node;
    return 0;
}

/* --------------------------------------------------------------------------------------- what is open yet */

typedef enum frame_kind {
    FRAME_GROUP,         /* "(" of a condition or an operand; in terms, of a term or an operand */
    FRAME_OPERAND_GROUP, /* "(" where only an operand may stand */
    FRAME_FUNC,          /* node: the function */
    FRAME_IN,            /* node: IN with its tested operand */
    FRAME_RIGHT,         /* node: a comparison, + or - that lacks its right operand */
    FRAME_LOWER,         /* node: BETWEEN that lacks its lower bound, then its upper one */
    FRAME_UPPER,
    FRAME_NOT, /* node: NOT, AND or OR that lacks its last operand */
    FRAME_AND,
    FRAME_OR
} frame_kind;

typedef struct frame {
    struct frame *below;
    tr__raw *node;
    frame_kind kind;
} frame;

/* What a finished piece can be. */
typedef enum piece_kind {
    PIECE_OPERAND,
    PIECE_FUNCTION, /* an operand, or a condition */
    PIECE_WHOLE     /* a condition; in terms, a sum or difference */
} piece_kind;

typedef struct builder {
    tr__parse *parse;
    frame *top;
    frame *spare; /* popped ones */
    bool term;    /* a term, not a condition */
    tr__raw *piece;
    piece_kind kind;
    bool grouped; /* the piece was in parentheses */
    bool undecided;
    frame *floor; /* what was open when the undecided began */
} builder;

static int push(builder *b, frame_kind kind, tr__raw *node)
{
    frame *f = b->spare;
    if (f)
        b->spare = f->below;
    else if (!(f = tr_arena_alloc(b->parse->env->arena, sizeof *f)))
        return tr__expr_nomem(b->parse->err);
    *f = (frame){.below = b->top, .node = node, .kind = kind};
    b->top = f;
    return 0;
}

static tr__raw *pop(builder *b)
{
    frame *f = b->top;
    b->top = f->below;
    f->below = b->spare;
    b->spare = f;
    return f->node;
}

/* Whether a whole condition (or term) may stand here, not only an operand. */
static bool takes_whole(const builder *b)
{
    return !b->top || b->top->kind == FRAME_GROUP || b->top->kind >= FRAME_NOT;
}

static int unexpected(const builder *b)
{
    return tr__parse_syntax(b->parse);
}

/*
 * The service's parser looks ahead from where a condition or a right-hand side begins until it knows whether
 * an operand and an operator follow, or a function alone. A syntax error up to there is told before redundant
 * parentheses up to there; behind that, redundant parentheses are told as soon as they are closed.
 */
static void wonder(builder *b)
{
    if (b->undecided)
        return;
    b->undecided = true;
    b->floor = b->top;
    b->parse->redundant_inside = false;
}

static void decide(builder *b)
{
    if (!b->undecided)
        return;
    b->undecided = false;
    b->parse->redundant |= b->parse->redundant_inside;
}

/* The top frame's node got its last operand, and is a piece itself. */
static void finish(builder *b, piece_kind kind)
{
    tr__raw *node = pop(b);
    end(b->parse, node);
    b->piece = node;
    b->kind = kind;
    b->grouped = false;
}

/* -------------------------------------------------------------------------------------- beginning a piece */

static int begin_function(builder *b, tr_view name)
{
    tr__raw *node = tr__raw_new(b->parse, TR__RAW_FUNC);
    if (!node)
        return tr__expr_nomem(b->parse->err);
    node->text = name;
    node->role = takes_whole(b) ? TR__ROLE_TOP : TR__ROLE_OPERAND;
    begin(b->parse, node);
    return push(b, FRAME_FUNC, node);
}

/* A keyword, parenthesis or function that opens a frame: 1; a path or value, which is a piece: 0. */
static int begin_piece(builder *b)
{
    tr__parse *parse = b->parse;
    tr__lexer *lexer = &parse->lexer;
    if (takes_whole(b) && lexer->token.kind != TR__TOK_NOT)
        wonder(b);
    if (lexer->token.kind == TR__TOK_LPAREN) {
        tr__lex_next(lexer);
        int r = push(b, takes_whole(b) ? FRAME_GROUP : FRAME_OPERAND_GROUP, NULL);
        return r < 0 ? r : 1;
    }
    if (lexer->token.kind == TR__TOK_NOT && takes_whole(b) && !b->term) {
        tr__raw *node = tr__raw_new(parse, TR__RAW_NOT);
        decide(b);
        tr__lex_next(lexer);
        int r = node ? push(b, FRAME_NOT, node) : tr__expr_nomem(parse->err);
        return r < 0 ? r : 1;
    }
    if (lexer->token.kind == TR__TOK_IDENT) {
        const char *behind = lexer->at, *end_of_text = lexer->text.ptr + lexer->text.len;
        while (behind < end_of_text &&
               (*behind == ' ' || *behind == '\t' || *behind == '\n' || *behind == '\r'))
            behind++;
        if (behind < end_of_text && *behind == '(') {
            tr_view name = lexer->token.text;
            tr__lex_next(lexer);
            tr__lex_next(lexer);
            int r = begin_function(b, name);
            return r < 0 ? r : 1;
        }
    }
    b->kind = PIECE_OPERAND;
    b->grouped = false;
    return lexer->token.kind == TR__TOK_VALUE ? tr__parse_value(parse, &b->piece)
                                              : tr__parse_path(parse, &b->piece);
}

/* -------------------------------------------------------------------------------------- behind an operand */

/* ")" of a group around the piece, which stays what it is. */
static void close_group(builder *b)
{
    tr__lex_next(&b->parse->lexer);
    (void)pop(b);
    if (b->undecided)
        b->parse->redundant_inside |= b->grouped;
    else
        b->parse->redundant |= b->grouped;
    b->grouped = true;
}

/* Opens a node whose first operand is the piece. */
static int open_with_piece(builder *b, tr__raw_kind kind, frame_kind opened)
{
    tr__raw *node = tr__raw_new(b->parse, kind);
    if (!node)
        return tr__expr_nomem(b->parse->err);
    tr__raw_add(node, b->piece);
    return push(b, opened, node);
}

/* A comparator, BETWEEN, IN, + or - behind an operand: 1 if there was one, 0 if not. */
static int operator_behind(builder *b)
{
    tr__lexer *lexer = &b->parse->lexer;
    tr__tok kind = lexer->token.kind;
    int r = 0;
    bool arithmetic = kind == TR__TOK_PLUS || kind == TR__TOK_MINUS;
    bool test = (kind >= TR__TOK_EQ && kind <= TR__TOK_GE) || kind == TR__TOK_BETWEEN || kind == TR__TOK_IN;
    if (b->term ? !arithmetic : !test)
        return 0;
    if (b->piece->kind == TR__RAW_FUNC)
        b->piece->role = TR__ROLE_OPERAND;
    decide(b);
    tr__lex_next(lexer);
    if (b->term) {
        r = open_with_piece(b, kind == TR__TOK_PLUS ? TR__RAW_PLUS : TR__RAW_MINUS, FRAME_RIGHT);
    } else if (kind == TR__TOK_BETWEEN) {
        r = open_with_piece(b, TR__RAW_BETWEEN, FRAME_LOWER);
    } else if (kind == TR__TOK_IN) {
        r = tr__lex_take(lexer, TR__TOK_LPAREN) ? open_with_piece(b, TR__RAW_IN, FRAME_IN) : unexpected(b);
    } else {
        r = open_with_piece(b, TR__RAW_COMPARE, FRAME_RIGHT);
        if (r == 0)
            b->top->node->op = (uint8_t)(TR_COND_EQ + (kind - TR__TOK_EQ));
    }
    return r < 0 ? r : 1;
}

/* The piece is an operand where only operands stand. Returns 1 if another operand is to be read, 0 if there
 * is a new piece. */
static int operand_behind(builder *b)
{
    tr__lexer *lexer = &b->parse->lexer;
    tr__raw *node = b->top->node;
    bool comma = lexer->token.kind == TR__TOK_COMMA, close = lexer->token.kind == TR__TOK_RPAREN;
    switch (b->top->kind) {
    case FRAME_OPERAND_GROUP:
        if (!close)
            return unexpected(b);
        close_group(b);
        return 0;
    case FRAME_FUNC:
    case FRAME_IN:
        if (!comma && !close)
            return unexpected(b);
        tr__raw_add(node, b->piece);
        tr__lex_next(lexer);
        if (comma)
            return 1;
        finish(b, b->top->kind == FRAME_FUNC ? PIECE_FUNCTION : PIECE_WHOLE);
        return 0;
    case FRAME_LOWER:
        if (!tr__lex_take(lexer, TR__TOK_AND))
            return unexpected(b);
        tr__raw_add(node, b->piece);
        b->top->kind = FRAME_UPPER;
        return 1;
    default: /* FRAME_RIGHT, FRAME_UPPER */
        tr__raw_add(node, b->piece);
        finish(b, PIECE_WHOLE);
        return 0;
    }
}

/* ------------------------------------------------------------------------------------- behind a condition */

/* NOT, and then AND, get the piece; OR too if `all`. */
static void reduce(builder *b, bool all)
{
    while (b->top &&
           (b->top->kind == FRAME_NOT || b->top->kind == FRAME_AND || (all && b->top->kind == FRAME_OR))) {
        tr__raw_add(b->top->node, b->piece);
        finish(b, PIECE_WHOLE);
    }
}

/*
 * The piece is a whole condition or term, or becomes one. Returns 1 if another piece is to be begun, 0 if
 * there is a new piece, 2 at the end.
 */
static int whole_behind(builder *b)
{
    tr__lexer *lexer = &b->parse->lexer;
    tr__tok kind = lexer->token.kind;
    if (kind == TR__TOK_RPAREN && b->top) {
        bool grouped = b->grouped;
        tr__raw *piece = b->piece;
        reduce(b, true);
        if (!b->top || b->top->kind != FRAME_GROUP)
            return unexpected(b);
        b->grouped = grouped && b->piece == piece;
        close_group(b);
        return 0;
    }
    if (!b->term && (kind == TR__TOK_AND || kind == TR__TOK_OR)) {
        decide(b);
        reduce(b, kind == TR__TOK_OR);
        tr__lex_next(lexer);
        int r = open_with_piece(b, kind == TR__TOK_AND ? TR__RAW_AND : TR__RAW_OR,
                                kind == TR__TOK_AND ? FRAME_AND : FRAME_OR);
        return r < 0 ? r : 1;
    }
    reduce(b, true);
    return b->top ? unexpected(b) : 2;
}

/* Says what is done with the piece: as whole_behind. */
static int behind(builder *b)
{
    if (!takes_whole(b))
        return b->kind == PIECE_WHOLE ? unexpected(b) : operand_behind(b);
    if (b->kind == PIECE_WHOLE)
        return whole_behind(b);
    int r = operator_behind(b);
    if (r != 0)
        return r;
    if (b->parse->lexer.token.kind == TR__TOK_RPAREN && b->top && b->top->kind == FRAME_GROUP) {
        close_group(b);
        return 0;
    }
    if (b->kind == PIECE_OPERAND && !b->term)
        return unexpected(b); /* an operand is no condition */
    if (b->top == b->floor)
        decide(b);
    b->kind = PIECE_WHOLE;
    return whole_behind(b);
}

static int build(builder *b, tr__raw **ret_root)
{
    for (;;) {
        int r = begin_piece(b);
        if (r < 0)
            return r;
        while (r == 0)
            r = behind(b);
        if (r < 0)
            return r;
        if (r == 2)
            break;
    }
    decide(b);
    *ret_root = b->piece;
    return 0;
}

int tr__parse_condition(tr__parse *parse, tr__raw **ret_root)
{
    builder b = {.parse = parse};
    return build(&b, ret_root);
}

int tr__parse_term(tr__parse *parse, tr__raw **ret_root)
{
    builder b = {.parse = parse, .term = true};
    return build(&b, ret_root);
}
