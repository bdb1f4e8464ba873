/* SPDX-License-Identifier: MIT */
#include "api/call.h"

static void put_names(tr_buf *out, const tr_given *list)
{
    bool more = false;
    for (; list->name; list++) {
        if (!list->given)
            continue;
        if (more)
            tr_buf_put_str(out, ", ");
        tr_buf_put_str(out, list->name);
        more = true;
    }
}

static bool any_given(const tr_given *list)
{
    for (; list->name; list++)
        if (list->given)
            return true;
    return false;
}

int tr__check_mixed(tr_call *c, const tr_given *legacy, const tr_given *expressions)
{
    if (TR_LIKELY(!any_given(legacy)) || !any_given(expressions))
        return 0;
    tr_buf_reset(c->text);
    tr_buf_put_str(c->text, "Can not use both expression and non-expression parameters in the same request: "
                            "Non-expression parameters: {");
    put_names(c->text, legacy);
    tr_buf_put_str(c->text, "} Expression parameters: {");
    put_names(c->text, expressions);
    tr_buf_putc(c->text, '}');
    return tr__invalid_request(c, "%.*s", TR_FMT(tr_buf_view(c->text)));
}

int tr__fail_expr(tr_call *c, int code, const tr_error *err)
{
    if (code != TR_EINVAL)
        return tr__fail_code(c, code, err);
    return tr__invalid_request(c, "%s", err->message);
}

/* "ExpressionAttributeValues contains invalid value: … for key :v" */
static int value_invalid(tr_call *c, const tr_expr_env *env)
{
    bool request;
    tr_buf_reset(c->text);
    tr__item_error_text(&env->item_error, c->text, &request);
    tr_view text = tr_buf_view(c->text);
    tr_item_problem problem = env->item_error.problem;
    /* these the service tells without naming the key */
    if ((problem == TR_ITEM_NULL_FALSE || problem == TR_ITEM_WRONG_JSON_TYPE) &&
        (c->op->flags & TR_OP_ENVELOPE))
        return tr__invalid_request(c, "%.*s", TR_FMT(text));
    if (problem == TR_ITEM_DEPTH)
        return tr__invalid(c, "%.*s", TR_FMT(text));
    return (request ? tr__invalid_request
                    : tr__invalid)(c, "ExpressionAttributeValues contains invalid value: %.*s for key %.*s",
                                   TR_FMT(text), TR_FMT(env->item_error_key));
}

int tr__check_given(tr_call *c, const tr_expr_env *env, const tr_expr_param *params, uint32_t count)
{
    tr_error err;
    if (TR_LIKELY(!env->names_given && !env->values_given))
        return 0;
    int e = tr_expr_env_check_given(env, params, count, &err);
    if (e == TR_EINVAL && tr_view_starts(tr_view_str(err.message), TR_VIEW("ExpressionAttributeNames")))
        return tr__invalid(c, "%s", err.message);
    return e ? tr__fail_expr(c, e, &err) : 0;
}

int tr__check_env(tr_call *c, const tr_expr_env *env, const tr_expr_param *params, uint32_t count)
{
    tr_error err;
    if (TR_LIKELY(!env->names_given && !env->values_given))
        return 0;
    int e = tr_expr_env_check(env, params, count, &err);
    if (e == TR_EINVAL)
        return tr__invalid(c, "%s", err.message);
    if (e)
        return tr__fail_code(c, e, &err);
    return env->item_error.problem == TR_ITEM_OK ? 0 : value_invalid(c, env);
}

/* Not put into the envelope, unlike what is wrong inside an expression. */
static int empty(tr_call *c, tr_expr_kind kind)
{
    return tr__invalid(c, "Invalid %s: The expression can not be empty;", tr_expr_kind_name(kind));
}

int tr__compile_condition(tr_call *c, tr_expr_env *env, tr_expr_kind kind, tr_view text,
                          const tr_condition **ret_condition)
{
    tr_error err;
    *ret_condition = NULL;
    if (!text.ptr)
        return 0;
    if (!text.len)
        return empty(c, kind);
    int e = tr_condition_parse(env, kind, text, ret_condition, &err);
    return e ? tr__fail_expr(c, e, &err) : 0;
}

int tr__compile_update(tr_call *c, tr_expr_env *env, tr_view text, const tr_update **ret_update)
{
    tr_error err;
    *ret_update = NULL;
    if (!text.ptr)
        return 0;
    if (!text.len)
        return empty(c, TR_EXPR_UPDATE);
    int e = tr_update_parse(env, text, ret_update, &err);
    return e ? tr__fail_expr(c, e, &err) : 0;
}

int tr__compile_projection(tr_call *c, tr_expr_env *env, tr_view text, const tr_projection **ret_projection)
{
    tr_error err;
    *ret_projection = NULL;
    if (!text.ptr)
        return 0;
    if (!text.len)
        return empty(c, TR_EXPR_PROJECTION);
    int e = tr_projection_parse(env, text, ret_projection, &err);
    return e ? tr__fail_expr(c, e, &err) : 0;
}

int tr__check_unused(tr_call *c, tr_expr_env *env)
{
    tr_error err;
    if (TR_LIKELY(!env->name_count && !env->value_count))
        return 0;
    int e = tr_expr_env_check_unused(env, &err);
    if (e == TR_EINVAL)
        return tr__invalid(c, "%s", err.message);
    return e ? tr__fail_code(c, e, &err) : 0;
}

bool tr__update_fault(const tr_table *table, const tr_update *update, tr_buf *out)
{
    uint32_t count;
    const tr_view *names = update ? tr_update_attributes(update, &count) : NULL;
    for (uint32_t i = 0; names && i < count; i++) {
        if (!tr_view_eq(names[i], table->schema.hash[0].name) &&
            (!table->schema.range_count || !tr_view_eq(names[i], table->schema.range[0].name)))
            continue;
        tr_buf_printf(
            out,
            "One or more parameter values were invalid: Cannot update attribute %.*s. This attribute is "
            "part of the key",
            TR_FMT(names[i]));
        return true;
    }
    return false;
}

int tr__check_update_keys(tr_call *c, const tr_table *table, const tr_update *update)
{
    tr_buf_reset(c->text);
    if (!tr__update_fault(table, update, c->text))
        return 0;
    return tr__invalid(c, "%.*s", TR_FMT(tr_buf_view(c->text)));
}

static int check_scalar(tr_call *c, tr_view key, bool index, const tr_condition *condition,
                        const tr_projection *projection, const tr_update *update)
{
    if ((condition && tr_condition_nests(condition, key)) ||
        (projection && tr_projection_nests(projection, key)) || (update && tr_update_nests(update, key)))
        return tr__invalid(
            c,
            "Key attributes must be scalars; list random access '[]' and map lookup '.' are not "
            "allowed: %s: %.*s",
            index ? "IndexKey" : "Key", TR_FMT(key));
    return 0;
}

static int check_schema(tr_call *c, const tr_key_schema *schema, bool index, const tr_condition *condition,
                        const tr_projection *projection, const tr_update *update)
{
    int e = 0;
    for (unsigned i = 0; i < schema->hash_count && e == 0; i++)
        e = check_scalar(c, schema->hash[i].name, index, condition, projection, update);
    for (unsigned i = 0; i < schema->range_count && e == 0; i++)
        e = check_scalar(c, schema->range[i].name, index, condition, projection, update);
    return e;
}

int tr__check_scalar_keys(tr_call *c, const tr_table *table, const tr_condition *condition,
                          const tr_projection *projection, const tr_update *update)
{
    if (!condition && !projection && !update)
        return 0;
    int e = check_schema(c, &table->schema, false, condition, projection, update);
    for (unsigned i = 0; i < table->index_count && e == 0; i++)
        e = check_schema(c, &table->indexes[i].schema, true, condition, projection, update);
    return e;
}
