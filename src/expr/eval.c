/* SPDX-License-Identifier: MIT */
/* Document paths, and conditions on packed items. */
#include "internal.h"

/* -------------------------------------------------------------------------------------------------- paths */

int tr_path_of(tr_arena *arena, tr_view attribute, tr_path *ret_path)
{
    tr_path_part *part = tr_arena_alloc(arena, sizeof *part);
    if (!part)
        return TR_ENOMEM;
    *part = (tr_path_part){.name = attribute};
    *ret_path = (tr_path){1, part};
    return 0;
}

int tr_path_get(const tr_path *path, tr_item item, tr_value *ret_value)
{
    tr_value value = {TR_M, item};
    for (uint32_t i = 0; i < path->count; i++) {
        const tr_path_part *part = &path->parts[i];
        if (value.type != (part->name.ptr ? TR_M : TR_L))
            return TR_ENOTFOUND;
        int r = part->name.ptr ? tr_item_get(value.payload, part->name, &value)
                               : tr_list_at(value, part->index, &value);
        if (r < 0)
            return r;
    }
    *ret_value = value;
    return 0;
}

void tr_path_print(const tr_path *path, tr_buf *out)
{
    tr_buf_putc(out, '[');
    for (uint32_t i = 0; i < path->count; i++) {
        const tr_path_part *part = &path->parts[i];
        if (i)
            tr_buf_put_str(out, ", ");
        if (part->name.ptr)
            tr_buf_put_view(out, part->name);
        else
            tr_buf_printf(out, "[%u]", (unsigned)part->index);
    }
    tr_buf_putc(out, ']');
}

/* ----------------------------------------------------------------------------------------------- operands */

/* Room for a size as a number. */
typedef struct sized {
    uint8_t digits[TR_NUMBER_PACKED_MAX];
} sized;

/* Strings are measured in UTF-16, as Java does: characters beyond U+FFFF count twice. */
static int64_t utf16_len(tr_view text)
{
    int64_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = (uint8_t)text.ptr[i];
        n += ((c & 0xc0) != 0x80) + (c >= 0xf0);
    }
    return n;
}

static tr_value size_of(tr_value value, sized *room)
{
    int64_t size;
    switch (value.type) {
    case TR_S:
        size = utf16_len(value.payload);
        break;
    case TR_B:
        size = (int64_t)value.payload.len;
        break;
    case TR_M:
    case TR_L:
    case TR_SS:
    case TR_NS:
    case TR_BS:
        size = tr_packed_count(value.payload);
        break;
    default:
        return (tr_value){0};
    }
    size_t len = tr_number_from_i64(size, room->digits);
    return (tr_value){TR_N, tr_view_of(room->digits, len)};
}

/* TR_NONE if there is nothing. */
static tr_value fetch(const tr_operand *operand, tr_item item, sized *room)
{
    tr_value value = {0};
    if (operand->kind == TR_OPERAND_VALUE)
        return operand->value;
    if (operand->path.count == 0)
        value = operand->value;
    else if (tr_path_get(&operand->path, item, &value) < 0)
        return (tr_value){0};
    return operand->kind == TR_OPERAND_SIZE ? size_of(value, room) : value;
}

/* -------------------------------------------------------------------------------------------------- tests */

static bool same(tr_value a, tr_value b)
{
    return a.type != TR_NONE && tr_value_eq(a, b);
}

/* Whether a stands before b (-1), with it (0) or behind it (1); 2 if they cannot be compared. */
static int order(tr_value a, tr_value b)
{
    if (a.type != b.type || (a.type != TR_S && a.type != TR_N && a.type != TR_B))
        return 2;
    int c = tr_value_cmp(a, b);
    return (c > 0) - (c < 0);
}

static bool compare(tr_cond_op op, tr_value a, tr_value b)
{
    if (op == TR_COND_EQ)
        return same(a, b);
    if (op == TR_COND_NE)
        return !same(a, b);
    int c = order(a, b);
    switch (op) {
    case TR_COND_LT:
        return c == -1;
    case TR_COND_LE:
        return c == -1 || c == 0;
    case TR_COND_GT:
        return c == 1;
    default:
        return c == 1 || c == 0;
    }
}

static bool contains(tr_value whole, tr_value part)
{
    if (whole.type == TR_NONE || part.type == TR_NONE)
        return false;
    switch (whole.type) {
    case TR_S:
    case TR_B:
        return part.type == whole.type &&
               (part.payload.len == 0 || tr_view_find(whole.payload, part.payload, 0) != SIZE_MAX);
    case TR_SS:
    case TR_NS:
    case TR_BS:
        return tr_set_has(whole, part);
    case TR_L: {
        tr_packed_iter iter;
        tr_value_iter(&iter, whole);
        while (tr_packed_next(&iter))
            if (same(iter.value, part))
                return true;
        return false;
    }
    default:
        return false;
    }
}

static bool one_of(const tr_cond *cond, tr_item item)
{
    sized room, other;
    tr_value tested = fetch(&cond->operands[0], item, &room);
    for (uint32_t i = 1; i < cond->count; i++)
        if (same(tested, fetch(&cond->operands[i], item, &other)))
            return true;
    return false;
}

static bool between(const tr_cond *cond, tr_item item)
{
    sized rooms[3];
    tr_value tested = fetch(&cond->operands[0], item, &rooms[0]);
    return compare(TR_COND_GE, tested, fetch(&cond->operands[1], item, &rooms[1])) &&
           compare(TR_COND_LE, tested, fetch(&cond->operands[2], item, &rooms[2]));
}

static bool test(const tr_cond *cond, tr_item item)
{
    if (cond->op == TR_COND_IN)
        return one_of(cond, item);
    if (cond->op == TR_COND_BETWEEN)
        return between(cond, item);
    sized rooms[2];
    tr_value a = fetch(&cond->operands[0], item, &rooms[0]);
    if (cond->op == TR_COND_EXISTS)
        return a.type != TR_NONE;
    if (cond->op == TR_COND_NOT_EXISTS)
        return a.type == TR_NONE;
    tr_value b = fetch(&cond->operands[1], item, &rooms[1]);
    switch (cond->op) {
    case TR_COND_TYPE:
        return a.type != TR_NONE && tr_view_is(b.payload, tr_type_name(a.type));
    case TR_COND_BEGINS_WITH:
        return a.type == b.type && (a.type == TR_S || a.type == TR_B) && tr_view_starts(a.payload, b.payload);
    case TR_COND_CONTAINS:
        return contains(a, b);
    default:
        return compare(cond->op, a, b);
    }
}

/* No deeper than TR_EXPR_DEPTH_MAX, which making a condition saw to. */
static bool holds(const tr_cond *cond, tr_item item)
{
    switch (cond->op) {
    case TR_COND_NOT:
        return !holds(cond->children[0], item);
    case TR_COND_AND:
        for (uint32_t i = 0; i < cond->count; i++)
            if (!holds(cond->children[i], item))
                return false;
        return true;
    case TR_COND_OR:
        for (uint32_t i = 0; i < cond->count; i++)
            if (holds(cond->children[i], item))
                return true;
        return false;
    case TR_COND_TRUE:
        return true;
    case TR_COND_FALSE:
        return false;
    default:
        return test(cond, item);
    }
}

bool tr_condition_eval(const tr_condition *condition, tr_item item)
{
    return holds(condition->root, item);
}
