/* SPDX-License-Identifier: MIT */
/*
 * Applying updates. First every step is evaluated on the old item, then the new item is written in one go:
 * the old one and the trie of changed paths are both sorted, so they are merged, and what does not change is
 * copied in long runs.
 */
#include "update.h"

/* Bytes that an update may make on the way. An item has 400 KiB, yet many copies of it could be asked for. */
#define MADE_MAX (8 * (size_t)TR_ITEM_SIZE_MAX)

typedef enum change_kind { CHANGE_NONE, CHANGE_PUT, CHANGE_REMOVE } change_kind;

typedef struct change {
    change_kind kind;
    tr_value value;
} change;

typedef struct evaluator {
    tr_item item;
    tr_arena *arena;
    size_t made;
    tr_error *err;
} evaluator;

static int wrong_operand(const evaluator *e)
{
    return tr__expr_fail(e->err, "An operand in the update expression has an incorrect data type");
}

static int no_such_attribute(const evaluator *e)
{
    return tr__expr_fail(e->err,
                         "The provided expression refers to an attribute that does not exist in the item");
}

static int invalid_path(const evaluator *e)
{
    return tr__expr_fail(e->err, "The document path provided in the update expression is invalid for update");
}

static int too_large(tr_error *err)
{
    return tr__expr_fail(err, "Item size to update has exceeded the maximum allowed size");
}

static char *make_room(evaluator *e, size_t size, int *ret_code)
{
    e->made += size;
    char *room = e->made > MADE_MAX ? NULL : tr_arena_alloc(e->arena, size);
    if (!room)
        *ret_code = e->made > MADE_MAX ? too_large(e->err) : tr__expr_nomem(e->err);
    return room;
}

/* ------------------------------------------------------------------------------------------------- values */

static int add_numbers(evaluator *e, tr_value a, tr_value b, bool subtract, tr_value *ret_sum)
{
    uint8_t digits[TR_NUMBER_PACKED_MAX];
    size_t len;
    tr_number_problem problem = TR_NUMBER_OK;
    if (tr_number_add(a.payload, b.payload, subtract, digits, &len, &problem) < 0) {
        bool small = problem == TR_NUMBER_UNDERFLOW; /* the service says overflow for lost digits, too */
        return tr__expr_fail(e->err,
                             "Number %s. Attempting to store a number with magnitude %s than supported range",
                             small ? "underflow" : "overflow", small ? "smaller" : "larger");
    }
    int r = 0;
    char *room = make_room(e, len, &r);
    if (!room)
        return r;
    memcpy(room, digits, len);
    *ret_sum = (tr_value){TR_N, tr_view_of(room, len)};
    return 0;
}

static tr_view items_of(tr_value container)
{
    return tr_view_of(container.payload.ptr + 4, container.payload.len - 4);
}

static int append_list(evaluator *e, tr_value a, tr_value b, tr_value *ret_list)
{
    int r = 0;
    size_t len = a.payload.len + b.payload.len - 4;
    char *room = make_room(e, len, &r);
    if (!room)
        return r;
    char *at = tr__emit_u32(room, tr_packed_count(a.payload) + tr_packed_count(b.payload));
    (void)tr__emit(tr__emit(at, items_of(a)), items_of(b));
    *ret_list = (tr_value){TR_L, tr_view_of(room, len)};
    return 0;
}

/* Both sets in order, each element once (`join`), or those of `a` that are not in `b`. */
static int combine_sets(evaluator *e, tr_value a, tr_value b, bool join, tr_value *ret_set)
{
    int r = 0;
    char *room = make_room(e, a.payload.len + (join ? b.payload.len : 0), &r);
    if (!room)
        return r;
    char *at = room + 4;
    uint32_t count = 0;
    tr_packed_iter x, y;
    tr_value_iter(&x, a);
    tr_value_iter(&y, b);
    bool in_x = tr_packed_next(&x), in_y = tr_packed_next(&y);
    while (in_x || (join && in_y)) {
        int c = !in_x ? 1 : !in_y ? -1 : tr_view_cmp(x.value.payload, y.value.payload);
        if (join || c < 0) {
            at = tr__emit_name(at, c <= 0 ? x.value.payload : y.value.payload);
            count++;
        } else if (c > 0) {
            in_y = tr_packed_next(&y);
            continue;
        }
        if (c <= 0)
            in_x = tr_packed_next(&x);
        if (c >= 0)
            in_y = tr_packed_next(&y);
    }
    (void)tr__emit_u32(room, count);
    *ret_set = (tr_value){a.type, tr_view_of(room, (size_t)(at - room))};
    return 0;
}

/* -------------------------------------------------------------------------------------------------- terms */

static int evaluate(evaluator *e, const tr_term *term, tr_value *ret_value);

/* Both operands, each of which must have the type; the left one is looked at before the right one is
 * evaluated. */
static int evaluate_pair(evaluator *e, const tr_term *term, tr_type type, tr_value *a, tr_value *b)
{
    int r = evaluate(e, term->left, a);
    if (r == 0 && a->type != type)
        r = wrong_operand(e);
    if (r == 0)
        r = evaluate(e, term->right, b);
    if (r == 0 && b->type != type)
        r = wrong_operand(e);
    return r;
}

/*
 * The service looks at the defaults of if_not_exists before anything else, whether they are needed or not:
 * each that is a path must exist. No deeper than TR_EXPR_DEPTH_MAX.
 */
static int check_defaults(const evaluator *e, const tr_term *term)
{
    tr_value unused;
    if (!term || term->kind == TR_TERM_VALUE || term->kind == TR_TERM_PATH)
        return 0;
    if (term->kind == TR_TERM_IF_NOT_EXISTS && term->left->kind == TR_TERM_PATH &&
        tr_path_get(&term->left->path, e->item, &unused) < 0)
        return no_such_attribute(e);
    int r = check_defaults(e, term->left);
    return r < 0 ? r : check_defaults(e, term->right);
}

/* No deeper than TR_EXPR_DEPTH_MAX. */
static int evaluate(evaluator *e, const tr_term *term, tr_value *ret_value)
{
    tr_value a = {0}, b = {0};
    int r;
    switch (term->kind) {
    case TR_TERM_VALUE:
        *ret_value = term->value;
        return 0;
    case TR_TERM_PATH:
        return tr_path_get(&term->path, e->item, ret_value) < 0 ? no_such_attribute(e) : 0;
    case TR_TERM_IF_NOT_EXISTS:
        return tr_path_get(&term->path, e->item, ret_value) < 0 ? evaluate(e, term->left, ret_value) : 0;
    case TR_TERM_LIST_APPEND:
        r = evaluate_pair(e, term, TR_L, &a, &b);
        return r < 0 ? r : append_list(e, a, b, ret_value);
    default:
        r = evaluate_pair(e, term, TR_N, &a, &b);
        return r < 0 ? r : add_numbers(e, a, b, term->kind == TR_TERM_MINUS, ret_value);
    }
}

/* -------------------------------------------------------------------------------------------------- steps */

static int add(evaluator *e, const tr_update_step *step, change *ret_change)
{
    tr_value old, more = step->term->value;
    ret_change->kind = CHANGE_PUT;
    if (tr_path_get(&step->path, e->item, &old) < 0) {
        ret_change->value = more;
        return 0;
    }
    if (old.type != more.type)
        return wrong_operand(e);
    if (old.type == TR_N)
        return add_numbers(e, old, more, false, &ret_change->value);
    if (old.type == TR_L) /* by AttributeUpdates only */
        return append_list(e, old, more, &ret_change->value);
    return old.type >= TR_SS ? combine_sets(e, old, more, true, &ret_change->value) : wrong_operand(e);
}

static int delete_from_set(evaluator *e, const tr_update_step *step, change *ret_change)
{
    tr_value old, less = step->term->value;
    if (tr_path_get(&step->path, e->item, &old) < 0)
        return 0;
    if (old.type != less.type || old.type < TR_SS)
        return wrong_operand(e);
    int r = combine_sets(e, old, less, false, &ret_change->value);
    if (r == 0)
        ret_change->kind = tr_packed_count(ret_change->value.payload) > 0 ? CHANGE_PUT : CHANGE_REMOVE;
    return r;
}

/* Whether what holds the path's last step is there, a map for a name, a list for an index. */
static bool has_parent(const evaluator *e, const tr_path *path)
{
    if (path->count == 1)
        return true;
    tr_path parent = {path->count - 1, path->parts};
    tr_value value;
    if (tr_path_get(&parent, e->item, &value) < 0)
        return false;
    return value.type == (path->parts[path->count - 1].name.ptr ? TR_M : TR_L);
}

static int take_step(evaluator *e, const tr_update_step *step, change *ret_change)
{
    int r;
    *ret_change = (change){.kind = CHANGE_NONE};
    if (!has_parent(e, &step->path))
        return invalid_path(e);
    switch (step->action) {
    case TR_UPDATE_SET:
        ret_change->kind = CHANGE_PUT;
        if ((r = check_defaults(e, step->term)) == 0)
            r = evaluate(e, step->term, &ret_change->value);
        return r;
    case TR_UPDATE_ADD:
        return add(e, step, ret_change);
    case TR_UPDATE_DELETE:
        return delete_from_set(e, step, ret_change);
    default:
        ret_change->kind = CHANGE_REMOVE;
        return 0;
    }
}

/* ------------------------------------------------------------------------------------------------ merging */

typedef struct merger {
    const change *changes;
    size_t *len;     /* by node: of the new payload */
    uint32_t *count; /* by node: of the new members or elements */
} merger;

/* Walks the old members and the children of a node together. */
typedef struct pairing {
    tr_packed_iter iter;
    const tr__trie *child;
    const char *member; /* where the current member begins */
    uint32_t index;     /* of the next element */
    bool names, here;   /* here: there is a current member */
} pairing;

static void pair_next_member(pairing *p)
{
    p->member = p->iter.at;
    p->here = tr_packed_next(&p->iter);
    p->index += p->here;
}

static void pair_init(pairing *p, const tr__trie *node, tr_value container)
{
    p->child = node->children;
    p->names = container.type == TR_M;
    p->index = 0;
    tr_value_iter(&p->iter, container);
    pair_next_member(p);
}

/*
 * Goes to the next child. *ret_matched: whether the current member is the child's; if not, the child belongs
 * before `member`. False when there are no more children.
 */
static bool pair_next(pairing *p, const tr__trie **ret_child, bool *ret_matched)
{
    if (!p->child)
        return false;
    for (; p->here; pair_next_member(p)) {
        uint32_t at = p->index - 1;
        int c = p->names ? tr_view_cmp(p->child->part.name, p->iter.name)
                         : (p->child->part.index > at) - (p->child->part.index < at);
        if (c <= 0) {
            *ret_matched = c == 0;
            break;
        }
    }
    if (!p->here)
        *ret_matched = false;
    *ret_child = p->child;
    p->child = p->child->next;
    return true;
}

static size_t name_len(const pairing *p, tr_view name)
{
    return p->names ? tr__name_len(name) : 0;
}

static bool opens(const tr__trie *node, tr_value value)
{
    return value.type == (node->children->part.name.ptr ? TR_M : TR_L);
}

static void measure(const merger *m, const tr__trie *node, tr_value container)
{
    size_t len = container.payload.len < 4 ? 4 : container.payload.len;
    uint32_t count = tr_packed_count(container.payload);
    const tr__trie *child;
    bool matched;
    pairing p;
    pair_init(&p, node, container);
    while (pair_next(&p, &child, &matched)) {
        if (child->leaf < 0) {
            if (!matched || !opens(child, p.iter.value))
                continue;
            measure(m, child, p.iter.value);
            len += m->len[child->id] - p.iter.value.payload.len;
            continue;
        }
        const change *c = &m->changes[child->leaf];
        if (c->kind == CHANGE_NONE)
            continue;
        if (matched) {
            len -= p.iter.encoded.len + name_len(&p, p.iter.name);
            count--;
        }
        if (c->kind == CHANGE_PUT) {
            len += tr__value_len(c->value.type, c->value.payload.len) + name_len(&p, child->part.name);
            count++;
        }
    }
    m->len[node->id] = len;
    m->count[node->id] = count;
}

static char *emit(const merger *m, const tr__trie *node, tr_value container, char *at)
{
    const char *end = container.payload.ptr + container.payload.len;
    const tr__trie *child;
    bool matched;
    pairing p;
    at = tr__emit_u32(at, m->count[node->id]);
    pair_init(&p, node, container);
    const char *copied = p.member; /* old bytes up to here are dealt with */
    while (pair_next(&p, &child, &matched)) {
        const change *c = child->leaf < 0 ? NULL : &m->changes[child->leaf];
        if (c ? c->kind == CHANGE_NONE : (!matched || !opens(child, p.iter.value)))
            continue;
        const char *to = p.here ? p.member : end;
        at = tr__emit(at, tr_view_of(copied, (size_t)(to - copied)));
        copied = matched ? p.iter.at : to;
        if (c && c->kind == CHANGE_REMOVE)
            continue;
        if (p.names)
            at = tr__emit_name(at, child->part.name);
        if (c) {
            at = tr__emit_value(at, c->value);
        } else {
            at = tr__emit_head(at, p.iter.value.type, m->len[child->id]);
            at = emit(m, child, p.iter.value, at);
        }
    }
    return tr__emit(at, tr_view_of(copied, (size_t)(end - copied)));
}

static int merge(const tr_update *u, const change *changes, tr_item item, tr_arena *arena, tr_item *ret_new,
                 tr_error *err)
{
    size_t *len = tr_arena_alloc(arena, u->nodes * sizeof *len);
    uint32_t *count = tr_arena_alloc(arena, u->nodes * sizeof *count);
    if (!len || !count)
        return tr__expr_nomem(err);
    merger m = {changes, len, count};
    tr_value whole = {TR_M, item};
    measure(&m, u->root, whole);
    size_t size = len[u->root->id];
    if (size > MADE_MAX)
        return too_large(err);
    char *out = tr_arena_alloc(arena, size);
    if (!out)
        return tr__expr_nomem(err);
    (void)emit(&m, u->root, whole, out);
    *ret_new = tr_view_of(out, size);
    return 0;
}

/* Of several steps that fail, the service reports the one that comes first in its order. */
static int report_fault(const tr_update *u, tr_item item, tr_arena *arena, int code, tr_error *err)
{
    uint32_t *order = code == TR_ENOMEM ? NULL : tr_arena_alloc(arena, u->count * sizeof *order);
    if (!order)
        return tr__expr_nomem(err);
    evaluator e = {.item = item, .arena = arena, .err = err};
    uint32_t count = tr__trie_in_order(u->root, order);
    int r = 0;
    for (uint32_t i = 0; i < count && r == 0; i++) {
        change unused;
        r = take_step(&e, &u->steps[order[i]], &unused);
    }
    return r < 0 ? r : too_large(err); /* all together made too much */
}

int tr_update_apply(const tr_update *update, tr_item old, tr_item key, tr_arena *arena, tr_item *ret_new,
                    tr_error *err)
{
    bool missing = old.len == 0;
    static const char no_attributes[4];
    tr_item item = !missing ? old : key.len > 0 ? key : tr_view_of(no_attributes, sizeof no_attributes);
    if (missing && !update->creates) { /* the service does not even look at the paths */
        *ret_new = item;
        return 0;
    }
    change *changes = tr_arena_alloc(arena, update->count * sizeof *changes);
    if (!changes)
        return tr__expr_nomem(err);
    evaluator e = {.item = item, .arena = arena};
    for (uint32_t i = 0; i < update->count; i++) {
        int r = take_step(&e, &update->steps[i], &changes[i]);
        if (r < 0)
            return report_fault(update, item, arena, r, err);
    }
    return merge(update, changes, item, arena, ret_new, err);
}

int tr_update_touched(const tr_update *update, tr_item item, tr_arena *arena, tr_item *ret_item)
{
    return tr__trie_project(update->root, update->nodes, item, arena, ret_item);
}
