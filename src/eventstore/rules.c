/* SPDX-License-Identifier: MIT */
/*
 * A declared reducer. The rules stay the packed item they were read as, and are walked at every event; the
 * state is a packed item, rebuilt by every step into a second buffer.
 */
#include "eventstore/internal.h"

#include <tailrace/aggregate.h>

#include <assert.h>

#define RULES_MAX      ((size_t)1 << 20)
#define STATE_MAX      ((size_t)4 << 20)
#define PATH_MAX_PARTS 16 /* an item has at most 32 levels */

struct tr_rules {
    tr_reducer reducer;
    tr_arena arena;
    tr_item initial;
    tr_item events; /* type → steps */
    bool merge_all; /* no rules */
};

typedef struct state {
    tr_buf item, next;
} state;

/* ------------------------------------------------------------------------------------------------- places */

static tr_view first_part(tr_view path, tr_view *ret_rest)
{
    size_t dot = tr_view_find(path, TR_VIEW("."), 0);
    if (dot == SIZE_MAX) {
        *ret_rest = (tr_view){NULL, 0};
        return path;
    }
    *ret_rest = tr_view_of(path.ptr + dot + 1, path.len - dot - 1);
    return tr_view_of(path.ptr, dot);
}

static tr_value none(void)
{
    return (tr_value){TR_NONE, {NULL, 0}};
}

static tr_value value_at(tr_item item, tr_view path)
{
    tr_value value = none();
    tr_view rest = path;
    while (rest.ptr) {
        tr_view part = first_part(rest, &rest);
        if (tr_item_get(item, part, &value))
            return none();
        if (rest.ptr && value.type != TR_M)
            return none();
        item = value.payload;
    }
    return value;
}

static bool path_valid(tr_view path)
{
    unsigned parts = 0;
    tr_view rest = path;
    while (rest.ptr) {
        if (first_part(rest, &rest).len == 0 || ++parts > PATH_MAX_PARTS)
            return false;
    }
    return parts > 0;
}

/* Packs the members of `item` with the value at `path` replaced (TR_NONE: without it). */
static void pack_with(tr_packer *p, tr_item item, tr_view path, tr_value value)
{
    tr_view rest, name = first_part(path, &rest);
    tr_packed_iter it;
    assert(name.ptr); /* paths were checked as the rules were read */
    tr_item inner = {NULL, 0};
    tr_item_iter(&it, item);
    while (tr_packed_next(&it)) {
        if (!tr_view_eq(it.name, name)) {
            tr_pack_name(p, it.name);
            tr_pack_encoded(p, it.encoded);
        } else if (it.value.type == TR_M) {
            inner = it.value.payload;
        }
    }
    if (!rest.ptr && value.type == TR_NONE)
        return;
    tr_pack_name(p, name);
    if (!rest.ptr) {
        tr_pack_value(p, value);
        return;
    }
    tr_pack_map_begin(p);
    pack_with(p, inner, rest, value);
    (void)tr_pack_map_end(p);
}

/* RFC 7396. Recurses no deeper than items may be nested. */
static void pack_merged(tr_packer *p, tr_item target, tr_item patch)
{
    tr_packed_iter it;
    tr_value there;
    tr_item_iter(&it, target);
    while (tr_packed_next(&it))
        if (tr_item_get(patch, it.name, &there)) {
            tr_pack_name(p, it.name);
            tr_pack_encoded(p, it.encoded);
        }
    tr_item_iter(&it, patch);
    while (tr_packed_next(&it)) {
        if (it.value.type == TR_NULL)
            continue;
        tr_pack_name(p, it.name);
        if (it.value.type != TR_M) {
            tr_pack_encoded(p, it.encoded);
            continue;
        }
        bool map = tr_item_get(target, it.name, &there) == 0 && there.type == TR_M;
        tr_pack_map_begin(p);
        pack_merged(p, map ? there.payload : (tr_item){NULL, 0}, it.value.payload);
        (void)tr_pack_map_end(p);
    }
}

/* ------------------------------------------------------------------------------------------------- steps */

static void begin(state *s, tr_packer *p)
{
    tr_buf_reset(&s->next);
    tr_packer_init(p, &s->next);
    tr_pack_item_begin(p);
}

static int end(state *s, tr_packer *p)
{
    int e = tr_pack_item_end(p);
    tr_buf swap = s->item;
    if (e)
        return e;
    s->item = s->next;
    s->next = swap;
    return 0;
}

static int put(state *s, tr_view path, tr_value value)
{
    tr_packer p;
    begin(s, &p);
    pack_with(&p, tr_buf_view(&s->item), path, value);
    return end(s, &p);
}

static tr_value from_payload(const tr_event *event, tr_view path)
{
    if (path.len == 0)
        return event->payload;
    return event->payload.type == TR_M ? value_at(event->payload.payload, path) : none();
}

static int merge(state *s, tr_value where, const tr_event *event)
{
    tr_packer p;
    tr_buf merged;
    if (event->payload.type != TR_M || (where.type == TR_BOOL && !tr_value_bool(where)))
        return 0;
    if (where.type == TR_BOOL) {
        begin(s, &p);
        pack_merged(&p, tr_buf_view(&s->item), event->payload.payload);
        return end(s, &p);
    }
    tr_value there = value_at(tr_buf_view(&s->item), where.payload);
    tr_buf_init(&merged, STATE_MAX);
    tr_packer_init(&p, &merged);
    tr_pack_item_begin(&p);
    pack_merged(&p, there.type == TR_M ? there.payload : (tr_item){NULL, 0}, event->payload.payload);
    int e = tr_pack_item_end(&p);
    if (!e)
        e = put(s, where.payload, (tr_value){TR_M, tr_buf_view(&merged)});
    tr_buf_done(&merged);
    return e;
}

static int add(state *s, tr_view path, tr_value number, bool subtract)
{
    static const uint8_t zero[] = {2};
    uint8_t sum[TR_NUMBER_PACKED_MAX];
    size_t len;
    tr_value there = value_at(tr_buf_view(&s->item), path);
    tr_view a = there.type == TR_N ? there.payload : tr_view_of(zero, sizeof zero);
    if (number.type == TR_NONE)
        return 0;
    if (number.type != TR_N || (there.type != TR_N && there.type != TR_NONE))
        return TR_EINVAL;
    int e = tr_number_add(a, number.payload, subtract, sum, &len, NULL);
    return e ? e : put(s, path, (tr_value){TR_N, tr_view_of(sum, len)});
}

static int append(state *s, tr_view path, tr_value value)
{
    tr_buf list;
    tr_packer p;
    tr_packed_iter it;
    tr_value there = value_at(tr_buf_view(&s->item), path), grown;
    size_t len;
    if (value.type == TR_NONE)
        return 0;
    if (there.type != TR_L && there.type != TR_NONE)
        return TR_EINVAL;
    tr_buf_init(&list, STATE_MAX);
    tr_packer_init(&p, &list);
    tr_pack_list_begin(&p);
    if (there.type == TR_L) {
        tr_value_iter(&it, there);
        while (tr_packed_next(&it))
            tr_pack_encoded(&p, it.encoded);
    }
    tr_pack_value(&p, value);
    int e = tr_pack_list_end(&p);
    if (!e)
        e = tr_value_decode(tr_buf_view(&list), &grown, &len);
    if (!e)
        e = put(s, path, grown);
    tr_buf_done(&list);
    return e;
}

/* The steps in the order they are carried out. */
static const char *const step_names[] = {"merge", "set", "put", "add", "subtract", "append", "remove"};
enum { MERGE, SET, PUT, ADD, SUBTRACT, APPEND, REMOVE, STEPS };

static int carry_out(state *s, unsigned step, tr_view path, tr_value operand, const tr_event *event)
{
    tr_value value = operand.type == TR_S ? from_payload(event, operand.payload) : operand;
    switch (step) {
    case PUT:
        return put(s, path, operand);
    case SET:
        return value.type == TR_NONE ? 0 : put(s, path, value);
    case APPEND:
        return append(s, path, value);
    default:
        return add(s, path, value, step == SUBTRACT);
    }
}

static int run_step(state *s, unsigned step, tr_value what, const tr_event *event, tr_error *err)
{
    tr_packed_iter it;
    int e = 0;
    if (step == MERGE)
        return merge(s, what, event);
    tr_value_iter(&it, what);
    while (!e && tr_packed_next(&it)) {
        tr_view path = step == REMOVE ? it.value.payload : it.name;
        e = step == REMOVE ? put(s, path, none()) : carry_out(s, step, path, it.value, event);
        if (e)
            (void)tr_fail(err, e, "version %llu (%.*s): %s of '%.*s': %s", (unsigned long long)event->version,
                          TR_FMT(event->type), step_names[step], TR_FMT(path),
                          e == TR_EINVAL ? "what is there, or what is in the payload, has another type"
                                         : tr_strerror(e));
    }
    return e;
}

/* ------------------------------------------------------------------------------------------------ reducer */

static int init(void *ctx, void *at)
{
    const tr_rules *rules = ctx;
    state *s = at;
    tr_buf_init(&s->item, STATE_MAX);
    tr_buf_init(&s->next, STATE_MAX);
    tr_buf_put_view(&s->item, rules->initial);
    return tr_buf_status(&s->item);
}

static void done(void *ctx, void *at)
{
    state *s = at;
    (void)ctx;
    tr_buf_done(&s->item);
    tr_buf_done(&s->next);
}

static int apply(void *ctx, void *at, const tr_event *event, tr_error *err)
{
    const tr_rules *rules = ctx;
    state *s = at;
    tr_value steps = none(), what = none();
    uint8_t version[TR_NUMBER_PACKED_MAX];
    static const char yes = 1;
    int e = 0;
    if (rules->merge_all)
        e = merge(s, (tr_value){TR_BOOL, {&yes, 1}}, event);
    else if (tr_item_get(rules->events, event->type, &steps))
        (void)tr_item_get(rules->events, TR_VIEW("*"), &steps);
    for (unsigned i = 0; !e && steps.type == TR_M && i < STEPS; i++)
        if (tr_item_get(steps.payload, tr_view_str(step_names[i]), &what) == 0)
            e = run_step(s, i, what, event, err);
    if (!e)
        e = put(s, TR_VIEW(TR_EVENT_TABLE_PK), (tr_value){TR_S, event->aggregate_id});
    if (!e)
        e = put(s, TR_VIEW(TR_EVENT_TABLE_SK),
                (tr_value){TR_N, tr_view_of(version, tr_number_from_i64((int64_t)event->version, version))});
    return e;
}

static int save(void *ctx, const void *at, tr_packer *packer)
{
    const state *s = at;
    tr_packed_iter it;
    (void)ctx;
    tr_item_iter(&it, tr_buf_view(&s->item));
    while (tr_packed_next(&it)) {
        tr_pack_name(packer, it.name);
        tr_pack_encoded(packer, it.encoded);
    }
    return 0;
}

static int load(void *ctx, void *at, tr_item saved)
{
    state *s = at;
    (void)ctx;
    tr_buf_reset(&s->item);
    tr_buf_put_view(&s->item, saved);
    return tr_buf_status(&s->item);
}

tr_item tr_rules_state(const tr_aggregate *aggregate)
{
    const state *s = tr_aggregate_state(aggregate);
    return tr_buf_view(&s->item);
}

/* ------------------------------------------------------------------------------------------------ reading */

static int bad(tr_error *err, tr_view type, const char *step, const char *want)
{
    return tr_fail(err, TR_EINVAL, "rules: events.%.*s.%s must be %s", TR_FMT(type), step, want);
}

static int check_places(tr_view type, unsigned step, tr_value what, tr_error *err)
{
    tr_packed_iter it;
    if (step == REMOVE ? what.type != TR_L : what.type != TR_M)
        return bad(err, type, step_names[step],
                   step == REMOVE ? "a list of places"
                                  : "an object: places in the state and what they are given");
    tr_value_iter(&it, what);
    while (tr_packed_next(&it)) {
        if (step == REMOVE && it.value.type != TR_S)
            return bad(err, type, step_names[step], "a list of places, which are texts");
        tr_view path = step == REMOVE ? it.value.payload : it.name;
        if (!path_valid(path))
            return bad(err, type, step_names[step], "made of places such as owner.name");
        if (step != PUT && step != REMOVE && it.value.type != TR_S)
            return bad(err, type, step_names[step],
                       "an object of texts, places in the payload; put takes constants");
    }
    return 0;
}

static int check_steps(tr_view type, tr_value steps, tr_error *err)
{
    tr_packed_iter it;
    if (steps.type != TR_M)
        return tr_fail(err, TR_EINVAL, "rules: events.%.*s must be an object of steps", TR_FMT(type));
    tr_value_iter(&it, steps);
    while (tr_packed_next(&it)) {
        unsigned step = 0;
        while (step < STEPS && !tr_view_is(it.name, step_names[step]))
            step++;
        if (step == STEPS)
            return tr_fail(
                err, TR_EINVAL,
                "rules: events.%.*s has an unknown step '%.*s': merge, set, put, add, subtract, append and "
                "remove are known",
                TR_FMT(type), TR_FMT(it.name));
        if (step == MERGE && it.value.type != TR_BOOL &&
            (it.value.type != TR_S || !path_valid(it.value.payload)))
            return bad(err, type, "merge", "true or a place in the state");
        int e = step == MERGE ? 0 : check_places(type, step, it.value, err);
        if (e)
            return e;
    }
    return 0;
}

static int take_rules(tr_rules *r, tr_item item, tr_error *err)
{
    tr_packed_iter it;
    tr_item_iter(&it, item);
    while (tr_packed_next(&it)) {
        bool text = tr_view_is(it.name, "name") || tr_view_is(it.name, "version");
        bool map = tr_view_is(it.name, "initial") || tr_view_is(it.name, "events");
        if (!text && !map)
            return tr_fail(err, TR_EINVAL,
                           "rules: unknown member '%.*s': name, version, initial and events are known",
                           TR_FMT(it.name));
        if (it.value.type != (text ? TR_S : TR_M))
            return tr_fail(err, TR_EINVAL, "rules: %.*s must be %s", TR_FMT(it.name),
                           text ? "a text" : "an object");
        char *copy = text ? tr_arena_str(&r->arena, it.value.payload) : NULL;
        if (text && !copy)
            return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
        if (tr_view_is(it.name, "name"))
            r->reducer.name = copy;
        else if (text)
            r->reducer.version = copy;
        else if (tr_view_is(it.name, "initial"))
            r->initial = it.value.payload;
        else {
            r->events = it.value.payload;
            r->merge_all = false;
        }
    }
    tr_item_iter(&it, r->events);
    int e = 0;
    while (!e && r->events.len && tr_packed_next(&it))
        e = check_steps(it.name, it.value, err);
    return e;
}

static int read_rules(tr_rules *r, tr_view json, tr_error *err)
{
    tr_json_reader reader;
    tr_item_error problem;
    tr_buf packed;
    tr_buf_init(&packed, RULES_MAX);
    tr_json_init(&reader, json, &r->arena);
    int e = tr_json_next(&reader) == TR_JSON_OBJECT ? 0 : TR_EPARSE;
    if (e)
        (void)tr_fail(err, e, "rules are a JSON object%s%s", tr_json_error(&reader) ? ": " : "",
                      tr_json_error(&reader) ? tr_json_error(&reader) : "");
    else if ((e = tr_item_read_plain(&reader, TR_PLAIN_EXACT, &packed, &problem)))
        (void)tr_item_error_to(&problem, e, &reader, err);
    else if (tr_json_next(&reader) != TR_JSON_DONE)
        e = tr_fail(err, TR_EPARSE, "rules: nothing may follow the object");
    tr_view copy = tr_arena_copy(&r->arena, tr_buf_view(&packed));
    if (!e && !copy.ptr)
        e = tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    tr_buf_done(&packed);
    return e ? e : take_rules(r, copy, err);
}

int tr_rules_new(tr_view json, tr_rules **ret_rules, tr_error *err)
{
    tr_rules *r = tr_calloc(1, sizeof *r);
    if (!r)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    tr_arena_init(&r->arena, 8 * RULES_MAX);
    r->merge_all = true;
    r->reducer = (tr_reducer){.name = "merge",
                              .version = "1",
                              .size = sizeof(state),
                              .ctx = r,
                              .init = init,
                              .apply = apply,
                              .done = done,
                              .save = save,
                              .load = load};
    int e = json.len ? read_rules(r, json, err) : 0;
    if (e)
        tr_rules_free(r);
    else
        *ret_rules = r;
    return e;
}

void tr_rules_free(tr_rules *r)
{
    if (!r)
        return;
    tr_arena_done(&r->arena);
    tr_free(r);
}

const tr_reducer *tr_rules_reducer(const tr_rules *r)
{
    return &r->reducer;
}
