/* SPDX-License-Identifier: MIT */
#include "vector.h"

static int read_maps(tr_expr_env *env, const vector *v, tr_arena *arena, tr_error *err)
{
    tr_json_reader r;
    int code = 0;
    if (v->names.len) {
        tr_json_init(&r, v->names, arena);
        (void)tr_json_next(&r);
        code = tr_expr_env_read_names(env, &r, err);
    }
    if (code == 0 && v->values.len) {
        tr_json_init(&r, v->values, arena);
        (void)tr_json_next(&r);
        code = tr_expr_env_read_values(env, &r, NULL, err);
    }
    return code;
}

static tr_expr_kind kind_of(tr_view op)
{
    return tr_view_is(op, "cond")     ? TR_EXPR_CONDITION
           : tr_view_is(op, "filter") ? TR_EXPR_FILTER
           : tr_view_is(op, "key")    ? TR_EXPR_KEY_CONDITION
           : tr_view_is(op, "proj")   ? TR_EXPR_PROJECTION
                                      : TR_EXPR_UPDATE;
}

/* "pk:S|sk:N", several attributes of one part with commas between. */
static tr_key_schema schema_of(tr_view text, tr_view index)
{
    tr_key_schema s = {.index_name = index};
    bool range = false;
    for (size_t from = 0, to; from < text.len; from = to + 1) {
        for (to = from; to < text.len && text.ptr[to] != ',' && text.ptr[to] != '|'; to++)
            ;
        char type = text.ptr[to - 1];
        tr_key_part part = {tr_view_of(text.ptr + from, to - from - 2), type == 'S'   ? TR_S
                                                                        : type == 'N' ? TR_N
                                                                                      : TR_B};
        if (range)
            s.range[s.range_count++] = part;
        else
            s.hash[s.hash_count++] = part;
        range |= to < text.len && text.ptr[to] == '|';
    }
    return s;
}

static int finish(tr_expr_env *env, outcome *o)
{
    return tr_expr_env_check_unused(env, &o->err);
}

static int run_condition(tr_expr_env *env, const vector *v, outcome *o)
{
    const tr_condition *c;
    int r = tr_condition_parse(env, kind_of(v->op), v->expr, &c, &o->err);
    if (r == 0 && (r = finish(env, o)) == 0)
        o->truth = tr_condition_eval(c, v->item);
    return r;
}

static int run_key(tr_expr_env *env, const vector *v, outcome *o)
{
    const tr_key_expr *k;
    tr_key_condition c;
    tr_key_schema schema = schema_of(v->schema, v->index);
    int r = tr_key_expr_parse(env, v->expr, &k, &o->err);
    if (r == 0 && (r = finish(env, o)) == 0 && (r = tr_key_expr_check(k, &o->err)) == 0)
        r = tr_key_condition_resolve(k, &schema, false, &c, &o->err);
    if (r == 0)
        (void)snprintf(o->text, sizeof o->text, "hash %u equal %u op %d", (unsigned)c.hash_count,
                       (unsigned)c.equal_count, (int)c.op);
    return r;
}

static int run_projection(tr_expr_env *env, const vector *v, tr_arena *arena, outcome *o)
{
    const tr_projection *p;
    int r = tr_projection_parse(env, v->expr, &p, &o->err);
    if (r == 0 && (r = finish(env, o)) == 0)
        r = tr_projection_apply(p, v->item, arena, &o->item);
    return r;
}

static int run_update(tr_expr_env *env, const vector *v, tr_arena *arena, outcome *o)
{
    const tr_update *u;
    tr_item key;
    int r = tr_update_parse(env, v->expr, &u, &o->err);
    if (r == 0)
        r = finish(env, o);
    if (r == 0)
        r = tr_item_from_json(TR_VIEW("{\"pk\":{\"S\":\"d1\"}}"), arena, &key, &o->err);
    if (r == 0)
        r = tr_update_apply(u, v->item, key, arena, &o->item, &o->err);
    if (r == 0 && v->touched)
        r = tr_update_touched(u, o->item, arena, &o->item);
    return r;
}

void vector_run(const vector *v, tr_arena *arena, outcome *ret)
{
    *ret = (outcome){0};
    tr_expr_env env;
    tr_expr_env_init(&env, arena);
    tr_expr_param param = {kind_of(v->op), true};
    int r = read_maps(&env, v, arena, &ret->err);
    if (r == 0)
        r = tr_expr_env_check(&env, &param, 1, &ret->err);
    if (r == 0) {
        switch (param.kind) {
        case TR_EXPR_KEY_CONDITION:
            r = run_key(&env, v, ret);
            break;
        case TR_EXPR_PROJECTION:
            r = run_projection(&env, v, arena, ret);
            break;
        case TR_EXPR_UPDATE:
            r = run_update(&env, v, arena, ret);
            break;
        default:
            r = run_condition(&env, v, ret);
        }
    }
    ret->code = r;
}
