/* SPDX-License-Identifier: MIT */
/*
 * Arrays of objects: two fields must not be satisfied by different elements of one array.
 *
 * The service takes a pattern's fields in the order of their paths. It picks a value for each, such that no
 * array is entered at two elements; {"exists": false} holds if no value of its path could still be picked.
 * Trying all picks would take time in the product of the arrays' lengths, so we keep the set of distinct
 * states after each field instead:
 *
 *   state   the elements that later fields can still collide with, as the innermost ones (tips) of their
 * nests next    a state and a consistent value give the state with that value's element added, and with those
 * elements taken away whose arrays hold no values of later fields
 *
 * Fields of one array stand together in path order, so states are few: about as many as the array has
 * elements, and after its last field, one. Steps are counted and limited all the same.
 */
#include "match.h"

/* ----------------------------------------------------------------------------------------- elements */

/* Goes up until both are at the same depth, then until they meet; the last scopes before that come back. */
static void meet(const tr_match_ctx *c, uint32_t *a, uint32_t *b)
{
    const struct tr__scope *s = c->scopes.at;
    uint32_t x = *a, y = *b, before_x = TR__NONE, before_y = TR__NONE;
    while (x != y) {
        if (s[x].depth >= s[y].depth) {
            before_x = x;
            x = s[x].above;
            if (x == y)
                break;
        }
        if (s[y].depth > s[x].depth) {
            before_y = y;
            y = s[y].above;
        }
    }
    *a = before_x;
    *b = before_y;
}

/* Whether a value's scope lies in another element of an array than the tip; *ret_tip is then the tip's
 * element. */
static bool collide(const tr_match_ctx *c, uint32_t tip, uint32_t scope, uint32_t *ret_tip)
{
    uint32_t a = tip, b = scope;
    meet(c, &a, &b);
    *ret_tip = a;
    return a != TR__NONE && b != TR__NONE && c->scopes.at[a].array == c->scopes.at[b].array;
}

static bool is_above(const tr_match_ctx *c, uint32_t above, uint32_t scope)
{
    while (c->scopes.at[scope].depth > c->scopes.at[above].depth)
        scope = c->scopes.at[scope].above;
    return scope == above;
}

/* ------------------------------------------------------------------------------------------- choices */

static int spend(tr_match_ctx *c, size_t steps)
{
    c->steps += steps;
    return c->steps > c->options.max_steps ? TR_ELIMIT : 0;
}

/* Marks the arrays around a value as needed by clause i. */
static void need(tr_match_ctx *c, uint32_t scope, uint32_t i)
{
    for (; scope != 0; scope = c->scopes.at[scope].above) {
        struct tr__array *array = &c->arrays.at[c->scopes.at[scope].array];
        if (array->epoch == c->branch_mark && array->needed == i)
            return;
        array->epoch = c->branch_mark;
        array->needed = i;
    }
}

/* The values that satisfy clause i of the branch, in the order of the event. */
static int choose(tr_match_ctx *c, uint32_t clause, uint32_t i)
{
    const struct tr__clause *k = &c->m->clauses.at[clause];
    if (!tr__path_present(c, k->path))
        return 0;
    for (uint32_t v = c->found.at[k->path].first; v != TR__NONE; v = c->values.at[v].next) {
        bool holds;
        int e = tr__clause_holds(c, clause, v, &holds);
        if (!e)
            e = spend(c, 1);
        if (!e)
            e = TR__VEC_ROOM(&c->chosen);
        if (e)
            return e;
        if (holds)
            c->chosen.at[c->chosen.len++] = v;
        if (holds || k->absent)
            need(c, c->values.at[v].scope, i);
    }
    return 0;
}

/* First value of sorted `values` that is not below `value`. */
static uint32_t lower_bound(const uint32_t *values, uint32_t from, uint32_t to, uint32_t value)
{
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (values[middle] < value)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* -------------------------------------------------------------------------------------------- states */

/*
 * Of values[*at..to), the first that is consistent with the tips. Values in other elements of a tip's array
 * are passed over together: they stand next to each other in the event.
 */
static int next_consistent(tr_match_ctx *c, struct tr__places state, const uint32_t *values, uint32_t to,
                           uint32_t *at)
{
    while (*at < to) {
        uint32_t value = values[*at], tip = TR__NONE;
        bool collides = false;
        for (uint32_t i = 0; i < state.count && !collides; i++)
            collides = collide(c, c->tips.at[state.first + i], c->values.at[value].scope, &tip);
        int e = spend(c, 1 + state.count);
        if (e)
            return e;
        if (!collides)
            return 0;
        const struct tr__scope *element = &c->scopes.at[tip];
        uint32_t beyond = value < element->first ? element->first : c->arrays.at[element->array].end;
        *at = lower_bound(values, *at + 1, to, beyond);
    }
    return 0;
}

static int push_tip(tr_match_ctx *c, uint32_t from, uint32_t scope)
{
    /* keep them sorted, without those above others */
    for (uint32_t i = from; i < c->tips.len; i++)
        if (is_above(c, scope, c->tips.at[i]))
            return 0;
    uint32_t kept = from;
    for (uint32_t i = from; i < c->tips.len; i++)
        if (!is_above(c, c->tips.at[i], scope))
            c->tips.at[kept++] = c->tips.at[i];
    c->tips.len = kept;
    int e = TR__VEC_ROOM(&c->tips);
    if (e)
        return e;
    uint32_t i = c->tips.len++;
    for (; i > from && c->tips.at[i - 1] > scope; i--)
        c->tips.at[i] = c->tips.at[i - 1];
    c->tips.at[i] = scope;
    return 0;
}

/* A scope without the arrays that no clause behind i needs. */
static uint32_t trim(const tr_match_ctx *c, uint32_t scope, uint32_t i)
{
    while (scope != 0) {
        const struct tr__array *array = &c->arrays.at[c->scopes.at[scope].array];
        if (array->epoch == c->branch_mark && array->needed > i)
            break;
        scope = c->scopes.at[scope].above;
    }
    return scope;
}

/* Empties the table of states with room for twice `count` of them. */
static int clear_slots(tr_match_ctx *c, size_t count)
{
    size_t size = 16;
    while (size < count * 2)
        size *= 2;
    int e = tr__vec_grow(&c->slots.at, &c->slots.cap, size, sizeof *c->slots.at);
    if (e)
        return e;
    memset(c->slots.at, 0xff, size * sizeof *c->slots.at);
    c->slots.len = (uint32_t)size;
    return 0;
}

/* Finds the place of a state in the table; true if it is there. */
static bool find_slot(const tr_match_ctx *c, int to, struct tr__places state, uint32_t *ret_slot)
{
    const uint32_t *tips = c->tips.at + state.first;
    size_t bytes = state.count * sizeof *tips;
    uint32_t mask = c->slots.len - 1, i = (uint32_t)tr__hash(tips, bytes, state.count) & mask;
    for (; c->slots.at[i] != TR__NONE; i = (i + 1) & mask) {
        struct tr__places other = c->states[to].at[c->slots.at[i]];
        if (other.count == state.count && (bytes == 0 || memcmp(c->tips.at + other.first, tips, bytes) == 0))
            return true;
    }
    *ret_slot = i;
    return false;
}

static int grow_slots(tr_match_ctx *c, int to)
{
    if (c->states[to].len * 2 + 2 < c->slots.len)
        return 0;
    int e = clear_slots(c, (size_t)c->states[to].len * 2 + 16);
    for (uint32_t s = 0; s < c->states[to].len && !e; s++) {
        uint32_t slot;
        if (!find_slot(c, to, c->states[to].at[s], &slot))
            c->slots.at[slot] = s;
    }
    return e;
}

/* Adds the state that follows from `state`, at clause i, by a value in `scope` (0: by none, or outside of
 * arrays). */
static int add_state(tr_match_ctx *c, int to, struct tr__places state, uint32_t scope, uint32_t i)
{
    uint32_t first = c->tips.len, slot;
    int e = grow_slots(c, to);
    if (!e)
        e = TR__VEC_ROOM(&c->states[to]);
    for (uint32_t t = 0; t <= state.count && !e; t++) {
        uint32_t tip = trim(c, t < state.count ? c->tips.at[state.first + t] : scope, i);
        if (tip != 0)
            e = push_tip(c, first, tip);
    }
    if (e)
        return e;
    struct tr__places made = {.first = first, .count = c->tips.len - first};
    if (find_slot(c, to, made, &slot)) {
        c->tips.len = first;
        return 0;
    }
    c->slots.at[slot] = c->states[to].len;
    c->states[to].at[c->states[to].len++] = made;
    return spend(c, 1 + made.count);
}

/* All states that follow from one by clause i. */
static int follow(tr_match_ctx *c, int to, struct tr__places state, uint32_t clause, uint32_t i)
{
    uint32_t at = c->chosen_first.at[i], end = c->chosen_first.at[i + 1];
    int e = 0;
    while (!e && !(e = next_consistent(c, state, c->chosen.at, end, &at)) && at < end)
        e = add_state(c, to, state, c->values.at[c->chosen.at[at++]].scope, i);
    const struct tr__clause *k = &c->m->clauses.at[clause];
    if (e || !k->absent)
        return e;
    if (!tr__path_present(c, k->path))
        return add_state(c, to, state, 0, i);
    /* absent from here if no value of the path, whatever it is, goes with the state */
    at = c->all_first.at[i];
    end = c->all_first.at[i + 1];
    if ((e = next_consistent(c, state, c->all.at, end, &at)))
        return e;
    return at < end ? 0 : add_state(c, to, state, 0, i);
}

/* All values of the paths of clauses with {"exists": false}. */
static int list_all(tr_match_ctx *c, const uint32_t *clauses, uint32_t count)
{
    c->all.len = 0;
    int e = tr__vec_grow(&c->all_first.at, &c->all_first.cap, (size_t)count + 1, sizeof *c->all_first.at);
    for (uint32_t i = 0; i < count && !e; i++) {
        const struct tr__clause *k = &c->m->clauses.at[clauses[i]];
        c->all_first.at[i] = c->all.len;
        if (!k->absent || !tr__path_present(c, k->path))
            continue;
        for (uint32_t v = c->found.at[k->path].first; v != TR__NONE && !e; v = c->values.at[v].next) {
            e = TR__VEC_ROOM(&c->all);
            if (!e)
                c->all.at[c->all.len++] = v;
        }
    }
    if (!e)
        c->all_first.at[count] = c->all.len;
    return e;
}

static int choose_all(tr_match_ctx *c, const uint32_t *clauses, uint32_t count)
{
    c->chosen.len = 0;
    int e = tr__vec_grow(&c->chosen_first.at, &c->chosen_first.cap, (size_t)count + 1,
                         sizeof *c->chosen_first.at);
    for (uint32_t i = 0; i < count && !e; i++) {
        c->chosen_first.at[i] = c->chosen.len;
        e = choose(c, clauses[i], i);
    }
    if (!e)
        c->chosen_first.at[count] = c->chosen.len;
    return e ? e : list_all(c, clauses, count);
}

/* Whether it takes a look at all: two fields that lie in arrays, or one that may be absent from an element.
 */
static bool may_disagree(const tr_match_ctx *c, const uint32_t *clauses, uint32_t count)
{
    uint32_t scoped = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct tr__clause *k = &c->m->clauses.at[clauses[i]];
        if (!tr__path_present(c, k->path) || c->found.at[k->path].scoped == 0)
            continue;
        scoped++;
        if (k->absent)
            return true;
    }
    return scoped > 1;
}

int tr__arrays_agree(tr_match_ctx *c, const struct tr__mbranch *branch, bool *ret_agree)
{
    const uint32_t *clauses = c->m->branch_clauses.at + branch->first;
    if (!may_disagree(c, clauses, branch->count)) {
        *ret_agree = true;
        return 0;
    }
    c->branch_mark++;
    int e = choose_all(c, clauses, branch->count), from = 0;
    if (!e)
        e = TR__VEC_ROOM(&c->states[0]);
    c->tips.len = 0;
    if (!e)
        e = TR__VEC_ROOM(&c->tips);
    if (e)
        return e;
    c->states[0].at[0] = (struct tr__places){0};
    c->states[0].len = 1;
    for (uint32_t i = 0; i < branch->count && c->states[from].len && !e; i++, from = !from) {
        c->states[!from].len = 0;
        e = clear_slots(c, 8);
        for (uint32_t s = 0; s < c->states[from].len && !e; s++)
            e = follow(c, !from, c->states[from].at[s], clauses[i], i);
    }
    *ret_agree = !e && c->states[from].len > 0;
    return e;
}
