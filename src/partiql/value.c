/* SPDX-License-Identifier: MIT */
/*
 * Literals: 'text', numbers, TRUE, FALSE, NULL, [list], {'name': tuple}, <<bag>>, and parameters. They are
 * packed as they are read. A fault leaves NULL in place of what was refused, so that packing goes on.
 */
#include "partiql/internal.h"

/* Where a value stands, for messages: the name of the tuple's member, "root" outside of all. */
typedef struct place {
    tr_view key;
    unsigned level; /* levels of an item above the value */
} place;

static int put_single(tr__ql *q, tr_packer *p, const place *at);
static int put_value(tr__ql *q, tr_packer *p, const place *at);

bool tr__ql_is_value(const tr__ql *q)
{
    switch (q->token.kind) {
    case TR__QL_STRING:
    case TR__QL_NUMBER:
    case TR__QL_PARAMETER:
    case TR__QL_LBRACKET:
    case TR__QL_LBRACE:
    case TR__QL_LBAG:
    case TR__QL_PLUS:
    case TR__QL_MINUS:
        return true;
    default:
        return tr__ql_is(q, "true") || tr__ql_is(q, "false") || tr__ql_is(q, "null");
    }
}

/* ------------------------------------------------------------------------------------------------ scalars */

static int number_fault(tr__ql *q, tr_number_problem problem, tr_view text)
{
    switch (problem) {
    case TR_NUMBER_PRECISION:
        return tr__ql_fault(q, "DynamoDB only supports precision up to %d digits", TR_NUMBER_DIGITS_MAX);
    case TR_NUMBER_OVERFLOW:
        return tr__ql_fault(
            q, "Number overflow. Attempting to store a number with magnitude larger than supported range");
    case TR_NUMBER_UNDERFLOW:
        return tr__ql_fault(
            q, "Number underflow. Attempting to store a number with magnitude smaller than supported range");
    default:
        return tr__ql_fault(q, "The parameter cannot be converted to a numeric value: %.*s", TR_FMT(text));
    }
}

/* A number with its sign; `out` has room for TR_NUMBER_PACKED_MAX. ret_len 0: a fault. */
static int read_number(tr__ql *q, uint8_t *out, size_t *ret_len)
{
    bool negative = q->token.kind == TR__QL_MINUS;
    tr_number_problem problem;
    *ret_len = 0;
    if (negative || q->token.kind == TR__QL_PLUS)
        tr__ql_next(q);
    if (q->token.kind != TR__QL_NUMBER)
        return tr__ql_syntax(q);
    const char *text = tr_arena_printf(q->arena, "%s%.*s", negative ? "-" : "", TR_FMT(q->token.text));
    if (!text)
        return tr__expr_nomem(q->err);
    if (tr_number_parse(tr_view_str(text), out, ret_len, &problem)) {
        *ret_len = 0;
        (void)number_fault(q, problem, q->token.text);
    }
    tr__ql_next(q);
    return 0;
}

static int put_number(tr__ql *q, tr_packer *p)
{
    uint8_t packed[TR_NUMBER_PACKED_MAX];
    size_t len;
    int e = read_number(q, packed, &len);
    if (e)
        return e;
    if (len)
        tr_pack_value(p, (tr_value){TR_N, tr_view_of(packed, len)});
    else
        tr_pack_null(p);
    return 0;
}

/* The next parameter, or NULL after a fault. */
static const tr_value *next_parameter(tr__ql *q)
{
    tr__ql_next(q);
    if (q->parameters_used < q->parameter_count)
        return &q->parameters[q->parameters_used++];
    (void)tr__ql_fault(q, "Number of parameters in request and statement don't match.");
    return NULL;
}

static int put_text(tr__ql *q, tr_packer *p)
{
    tr_view text;
    int e = tr__ql_text(q, &q->token, &text);
    if (e)
        return e;
    tr_pack_s(p, text);
    tr__ql_next(q);
    return 0;
}

/* --------------------------------------------------------------------------------------------- containers */

static int enter(tr__ql *q, const place *at)
{
    if (at->level >= TR_ITEM_DEPTH_MAX)
        return tr__expr_fail(q->err, "Nesting Levels have exceeded supported limits: Attributes in the item "
                                     "have nested levels beyond supported limit");
    return 0;
}

static int put_list(tr__ql *q, tr_packer *p, const place *at)
{
    const place inside = {at->key, at->level + 1};
    int e = enter(q, at);
    if (e)
        return e;
    tr__ql_next(q);
    tr_pack_list_begin(p);
    while (q->token.kind != TR__QL_RBRACKET && e == 0) {
        e = put_value(q, p, &inside);
        if (e == 0 && !tr__ql_take(q, TR__QL_COMMA) && q->token.kind != TR__QL_RBRACKET)
            e = tr__ql_syntax(q);
    }
    if (e)
        return e;
    tr__ql_next(q);
    (void)tr_pack_list_end(p); /* the buffer tells, once all is done */
    return 0;
}

/* The names of a tuple so far, to find one that comes again. */
typedef struct names {
    struct names *next;
    tr_view name;
} names;

/* 'name': ; ret_again: it is there already. */
static int read_key(tr__ql *q, names **list, const place *at, tr_view *ret_name, bool *ret_again)
{
    tr__ql_token token = q->token;
    names *n = tr_arena_alloc(q->arena, sizeof *n);
    *ret_again = false;
    if (!n)
        return tr__expr_nomem(q->err);
    if (token.kind == TR__QL_WORD || token.kind == TR__QL_QUOTED)
        (void)tr__ql_fault(
            q, "Tuple keys must be of type String. Actual type: VariableReference under %.*s at %s",
            TR_FMT(at->key), tr__ql_place(q, &token));
    else if (token.kind == TR__QL_NUMBER || token.kind == TR__QL_PARAMETER)
        (void)tr__ql_fault(q, "Tuple keys must be of type String. Actual type: %s under %.*s at %s",
                           token.kind == TR__QL_NUMBER ? "Literal" : "Parameter", TR_FMT(at->key),
                           tr__ql_place(q, &token));
    else if (token.kind != TR__QL_STRING)
        return tr__ql_syntax(q);
    int e = tr__ql_text(q, &token, ret_name);
    if (e)
        return e;
    if (ret_name->len == 0)
        (void)tr__ql_fault(q, "Path component cannot be an empty string");
    else if (ret_name->len > TR_ITEM_NAME_MAX)
        (void)tr__ql_fault(q, "Attribute name is too large, must be less than 65536 bytes");
    for (const names *k = *list; k; k = k->next)
        *ret_again |= tr_view_eq(k->name, *ret_name);
    if (*ret_again)
        (void)tr__ql_fault(q, "Duplicate keys in tuple. Key: %.*s under %.*s at %s", TR_FMT(*ret_name),
                           TR_FMT(at->key), tr__ql_place(q, &token));
    *n = (names){*list, *ret_name};
    *list = n;
    tr__ql_next(q);
    return tr__ql_take(q, TR__QL_COLON) ? 0 : tr__ql_syntax(q);
}

/* What has no place is read to nowhere. */
static int skip_value(tr__ql *q, const place *at)
{
    tr_buf nowhere;
    tr_packer p;
    tr_buf_init(&nowhere, (size_t)1 << 20);
    tr_packer_init(&p, &nowhere);
    int e = put_single(q, &p, at);
    tr_buf_done(&nowhere);
    return e;
}

/* Members up to the closing brace; the container is begun and ended by the caller. */
static int put_members(tr__ql *q, tr_packer *p, const place *at)
{
    names *list = NULL;
    tr__ql_next(q);
    while (q->token.kind != TR__QL_RBRACE) {
        tr_view name;
        bool again;
        int e = read_key(q, &list, at, &name, &again);
        const place inside = {at->key, at->level + 1};
        if (e == 0 && !again)
            tr_pack_name(p, name);
        if (e == 0)
            e = again ? skip_value(q, &inside) : put_value(q, p, &inside);
        if (e)
            return e;
        if (!tr__ql_take(q, TR__QL_COMMA) && q->token.kind != TR__QL_RBRACE)
            return tr__ql_syntax(q);
    }
    tr__ql_next(q);
    return 0;
}

static int put_tuple(tr__ql *q, tr_packer *p, const place *at)
{
    int e = enter(q, at);
    if (e)
        return e;
    tr_pack_map_begin(p);
    e = put_members(q, p, at);
    if (e == 0)
        (void)tr_pack_map_end(p);
    return e;
}

/* An element of a bag; type TR_NONE: a fault. */
static int read_element(tr__ql *q, const place *at, uint8_t *number, tr_value *ret_value)
{
    size_t len;
    int e = 0;
    *ret_value = (tr_value){.type = TR_NONE};
    if (q->token.kind == TR__QL_STRING) {
        e = tr__ql_text(q, &q->token, &ret_value->payload);
        ret_value->type = TR_S;
        tr__ql_next(q);
        return e;
    }
    if (q->token.kind == TR__QL_PARAMETER) {
        const tr_value *value = next_parameter(q);
        if (value && (value->type == TR_S || value->type == TR_N || value->type == TR_B))
            *ret_value = *value;
        else if (value)
            (void)tr__ql_fault(
                q, "Unsupported data type in Bag. DynamoDB only supports either numbers or strings in bags");
        return 0;
    }
    if (q->token.kind == TR__QL_NUMBER || q->token.kind == TR__QL_PLUS || q->token.kind == TR__QL_MINUS) {
        e = read_number(q, number, &len);
        if (e == 0 && len)
            *ret_value = (tr_value){TR_N, tr_view_of(number, len)};
        return e;
    }
    (void)tr__ql_fault(
        q, "Unsupported data type in Bag. DynamoDB only supports either numbers or strings in bags");
    const place inside = {at->key, at->level + 1};
    return skip_value(q, &inside);
}

static int put_bag(tr__ql *q, tr_packer *p, const place *at)
{
    static const tr_type sets[] = {[TR_S] = TR_SS, [TR_N] = TR_NS, [TR_B] = TR_BS};
    tr__ql_token open = q->token;
    tr_type type = TR_NONE;
    int e = enter(q, at);
    tr__ql_next(q);
    while (e == 0 && q->token.kind != TR__QL_RBAG) {
        uint8_t number[TR_NUMBER_PACKED_MAX];
        tr_value value;
        e = read_element(q, at, number, &value);
        if (e == 0 && value.type != TR_NONE && type == TR_NONE) {
            type = value.type;
            tr_pack_set_begin(p, sets[type]);
        }
        if (e == 0 && value.type != TR_NONE && value.type == type)
            tr_pack_element(p, value.payload);
        else if (e == 0 && value.type != TR_NONE)
            (void)tr__ql_fault(
                q, "Unsupported data type in Bag. DynamoDB only supports either numbers or strings in bags");
        if (e == 0 && !tr__ql_take(q, TR__QL_COMMA) && q->token.kind != TR__QL_RBAG)
            e = tr__ql_syntax(q);
    }
    if (e)
        return e;
    tr__ql_token close = q->token;
    tr__ql_next(q);
    if (type == TR_NONE) {
        open.whole.len = (size_t)(close.whole.ptr - open.whole.ptr);
        tr_pack_null(p);
        return tr__ql_fault(q, "Empty bags are not supported at %s", tr__ql_place(q, &open));
    }
    if (tr_pack_set_end(p) == TR_EEXIST)
        (void)tr__ql_fault(q, "Input collection contains duplicates");
    return 0;
}

/* ------------------------------------------------------------------------------------------------- values */

static int put_constant(tr__ql *q, tr_packer *p, const place *at)
{
    if (tr__ql_take_word(q, "true"))
        tr_pack_bool(p, true);
    else if (tr__ql_take_word(q, "false"))
        tr_pack_bool(p, false);
    else if (tr__ql_take_word(q, "null"))
        tr_pack_null(p);
    else if (tr__ql_is(q, "missing") || tr__ql_is_name(q)) {
        (void)tr__ql_fault(q, "Unsupported data type: %.*s under key %.*s at %s", TR_FMT(q->token.text),
                           TR_FMT(at->key), tr__ql_place(q, &q->token));
        tr__ql_next(q);
        tr_pack_null(p);
    } else {
        return tr__ql_syntax(q);
    }
    return 0;
}

/* A value in parentheses is the value. */
static int put_grouped(tr__ql *q, tr_packer *p, const place *at)
{
    int e = tr__ql_enter(q);
    if (e)
        return e;
    tr__ql_next(q);
    e = put_value(q, p, at);
    tr__ql_leave(q);
    if (e == 0 && !tr__ql_take(q, TR__QL_RPAREN))
        e = tr__ql_syntax(q);
    return e;
}

static int put_single(tr__ql *q, tr_packer *p, const place *at)
{
    const tr_value *value;
    int e = 0;
    switch (q->token.kind) {
    case TR__QL_STRING:
        e = put_text(q, p);
        break;
    case TR__QL_NUMBER:
    case TR__QL_PLUS:
    case TR__QL_MINUS:
        e = put_number(q, p);
        break;
    case TR__QL_PARAMETER:
        value = next_parameter(q);
        if (value)
            tr_pack_value(p, *value);
        else
            tr_pack_null(p);
        break;
    case TR__QL_LBRACKET:
        e = put_list(q, p, at);
        break;
    case TR__QL_LBRACE:
        e = put_tuple(q, p, at);
        break;
    case TR__QL_LBAG:
        e = put_bag(q, p, at);
        break;
    case TR__QL_LPAREN:
        e = put_grouped(q, p, at);
        break;
    default:
        e = put_constant(q, p, at);
    }
    return e;
}

static int put_value(tr__ql *q, tr_packer *p, const place *at)
{
    int e = put_single(q, p, at);
    /* sums are no values of a list or tuple */
    while (e == 0 && at->level && (q->token.kind == TR__QL_PLUS || q->token.kind == TR__QL_MINUS)) {
        (void)tr__ql_fault(q, "Unsupported data type: %.*s under key %.*s at %s", TR_FMT(q->token.text),
                           TR_FMT(at->key), tr__ql_place(q, &q->token));
        tr__ql_next(q);
        e = skip_value(q, at);
    }
    return e;
}

static int packed_status(tr__ql *q, int status)
{
    if (status == TR_ENOMEM)
        return tr__expr_nomem(q->err);
    return status ? tr_fail(q->err, TR_ELIMIT, "the values of the statement are too large") : 0;
}

int tr__ql_value(tr__ql *q, tr_value *ret_value)
{
    tr_packer p;
    size_t len;
    tr_buf_reset(q->scratch);
    tr_packer_init(&p, q->scratch);
    int e = put_value(q, &p, &(place){TR_VIEW("root"), 0});
    if (e == 0)
        e = packed_status(q, tr_buf_status(q->scratch));
    if (e)
        return e;
    tr_view packed = tr_arena_copy(q->arena, tr_buf_view(q->scratch));
    if (!packed.ptr || tr_value_decode(packed, ret_value, &len))
        return tr__expr_nomem(q->err);
    return 0;
}

int tr__ql_item(tr__ql *q, tr_item *ret_item)
{
    tr_packer p;
    tr_buf_reset(q->scratch);
    tr_packer_init(&p, q->scratch);
    tr_pack_item_begin(&p);
    int e = put_members(q, &p, &(place){TR_VIEW("root"), 0});
    if (e == 0)
        e = packed_status(q, tr_pack_item_end(&p));
    if (e)
        return e;
    *ret_item = tr_arena_copy(q->arena, tr_buf_view(q->scratch));
    return ret_item->ptr ? 0 : tr__expr_nomem(q->err);
}
