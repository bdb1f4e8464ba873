/* SPDX-License-Identifier: MIT */
#include "api/requests.h"

/*
 * The parameters of the time before expressions: Expected, AttributeUpdates, KeyConditions, QueryFilter,
 * ScanFilter. Checked as the service checks them, and turned into the trees that expressions make.
 */

#define WERE_INVALID "One or more parameter values were invalid: "

typedef tr_legacy_condition cond;

static const tr_member expected_members[] = {
    TR_MEMBER(cond, values, "AttributeValueList", TR_K_VALUES, .rules = 0),
    TR_MEMBER(cond, comparison, "ComparisonOperator", TR_K_STRING, .values = TR_ENUM_COMPARE),
    TR_MEMBER(cond, exists, "Exists", TR_K_BOOLEAN, .rules = 0),
    TR_MEMBER(cond, value, "Value", TR_K_VALUE, .rules = 0),
};
const tr_shape tr__shape_legacy_expected = TR_SHAPE(cond, "ExpectedAttributeValue", expected_members);

static const tr_member condition_members[] = {
    TR_MEMBER(cond, values, "AttributeValueList", TR_K_VALUES, .rules = 0),
    TR_MEMBER(cond, comparison, "ComparisonOperator", TR_K_STRING, .rules = TR_R_NOT_NULL,
              .values = TR_ENUM_COMPARE),
};
const tr_shape tr__shape_legacy_condition = TR_SHAPE(cond, "Condition", condition_members);

static const tr_member update_members[] = {
    TR_MEMBER(tr_legacy_update, action, "Action", TR_K_STRING, .values = "[ADD, PUT, DELETE]"),
    TR_MEMBER(tr_legacy_update, value, "Value", TR_K_VALUE, .rules = 0),
};
const tr_shape tr__shape_legacy_update = TR_SHAPE(tr_legacy_update, "AttributeValueUpdate", update_members);

/* Types of values that an operator takes (API reference, Condition; CONTAINS as the service has it). */
#define TYPE(t)   (1u << TR_##t)
#define SCALARS   (TYPE(S) | TYPE(N) | TYPE(B))
#define CONTAINED (SCALARS | TYPE(BOOL) | TYPE(NULL))
#define ANY       UINT32_MAX

typedef struct operator_info {
    const char *name;
    uint32_t min, max; /* values */
    tr_cond_op op;
    tr_key_op key;
    uint32_t types;
} operator_info;

static const operator_info operators[] = {
    {"EQ", 1, 1, TR_COND_EQ, TR_KEY_EQ, ANY},
    {"NE", 1, 1, TR_COND_NE, TR_KEY_UNSUPPORTED, ANY},
    {"LE", 1, 1, TR_COND_LE, TR_KEY_LE, SCALARS},
    {"LT", 1, 1, TR_COND_LT, TR_KEY_LT, SCALARS},
    {"GE", 1, 1, TR_COND_GE, TR_KEY_GE, SCALARS},
    {"GT", 1, 1, TR_COND_GT, TR_KEY_GT, SCALARS},
    {"CONTAINS", 1, 1, TR_COND_CONTAINS, TR_KEY_UNSUPPORTED, CONTAINED},
    {"NOT_CONTAINS", 1, 1, TR_COND_NOT, TR_KEY_UNSUPPORTED, CONTAINED},
    {"BEGINS_WITH", 1, 1, TR_COND_BEGINS_WITH, TR_KEY_BEGINS_WITH, TYPE(S) | TYPE(B)},
    {"NULL", 0, 0, TR_COND_NOT_EXISTS, TR_KEY_UNSUPPORTED, ANY},
    {"NOT_NULL", 0, 0, TR_COND_EXISTS, TR_KEY_UNSUPPORTED, ANY},
    {"IN", 1, UINT32_MAX, TR_COND_IN, TR_KEY_UNSUPPORTED, SCALARS},
    {"BETWEEN", 2, 2, TR_COND_BETWEEN, TR_KEY_BETWEEN, SCALARS},
};

static const operator_info *operator_of(tr_view name)
{
    for (size_t i = 0; i < TR_COUNT(operators); i++)
        if (tr_view_is(name, operators[i].name))
            return &operators[i];
    return NULL;
}

/* --------------------------------------------------------------------------------------------- checking */

static int check_value(tr_call *c, const tr_attribute *value)
{
    const tr_attributes as_map = {.given = true, .error = value->error};
    return tr__check_attributes(c, &as_map, "", false);
}

static int check_count(tr_call *c, const operator_info *op, uint32_t count)
{
    if (count >= op->min && count <= op->max)
        return 0;
    return tr__invalid(c, WERE_INVALID "Invalid number of argument(s) for the %s ComparisonOperator",
                       op->name);
}

static int check_list(tr_call *c, const operator_info *op, const tr_attribute *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!(op->types >> values[i].value.type & 1))
            return tr__invalid(c,
                               WERE_INVALID "ComparisonOperator %s is not valid for %s AttributeValue type",
                               op->name, tr_type_name(values[i].value.type));
        if (values[i].value.type != values[0].value.type)
            return tr__invalid(c,
                               WERE_INVALID "AttributeValues inside AttributeValueList must be of same type");
    }
    if (op->op == TR_COND_BETWEEN && count == 2 && tr_value_cmp(values[0].value, values[1].value) > 0)
        return tr__invalid(c,
                           "The BETWEEN condition was provided a range where the lower bound is greater than "
                           "the upper bound");
    return 0;
}

int tr__check_name(tr_call *c, tr_view name)
{
    if (name.len == 0)
        return tr__invalid(c, "Empty attribute name");
    if (name.len > TR_ITEM_NAME_MAX)
        return tr__invalid(c, "Attribute name is too large, must be less than 65536 bytes");
    return 0;
}

int tr__legacy_check_conditions(tr_call *c, const tr_list *conditions)
{
    const cond *list = conditions->items;
    int e = 0;
    for (uint32_t i = 0; i < conditions->count && e == 0; i++) {
        const operator_info *op = operator_of(list[i].comparison);
        const tr_attribute *values = list[i].values.items;
        e = tr__check_name(c, list[i].attribute);
        for (uint32_t k = 0; k < list[i].values.count && e == 0; k++)
            e = check_value(c, &values[k]);
        if (e == 0)
            e = check_count(c, op, list[i].values.count);
        if (e == 0)
            e = check_list(c, op, values, list[i].values.count);
    }
    return e;
}

static int attribute_error(tr_call *c, const char *what, tr_view attribute)
{
    return tr__invalid(c, WERE_INVALID "%s for Attribute: %.*s", what, TR_FMT(attribute));
}

/* An entry with a ComparisonOperator. */
static int check_compared(tr_call *c, const cond *e)
{
    const operator_info *op = operator_of(e->comparison);
    if (e->exists.given)
        return attribute_error(c, "Exists and ComparisonOperator cannot be used together", e->attribute);
    if (op->max && !e->values.given && !e->value.given)
        return tr__invalid(c,
                           WERE_INVALID
                           "Value or AttributeValueList must be used with ComparisonOperator: %s for "
                           "Attribute: %.*s",
                           op->name, TR_FMT(e->attribute));
    const tr_attribute *values = e->values.given ? e->values.items : &e->value;
    uint32_t count = e->values.given ? e->values.count : e->value.given;
    int error = 0;
    for (uint32_t i = 0; i < count && error == 0; i++)
        error = check_value(c, &values[i]);
    if (error == 0)
        error = check_count(c, op, count);
    return error ? error : check_list(c, op, values, count);
}

static int check_expected(tr_call *c, const cond *e)
{
    int fault = tr__check_name(c, e->attribute);
    if (fault)
        return fault;
    if (e->values.given && e->value.given)
        return attribute_error(c, "Value and AttributeValueList cannot be used together", e->attribute);
    if (e->comparison.ptr)
        return check_compared(c, e);
    if (e->values.given)
        return attribute_error(c, "AttributeValueList can only be used with a ComparisonOperator",
                               e->attribute);
    bool exists = !e->exists.given || e->exists.value;
    if (exists && !e->value.given)
        return attribute_error(c,
                               e->exists.given ? "Value must be provided when Exists is true"
                                               : "Value must be provided when Exists is null",
                               e->attribute);
    if (!exists && e->value.given)
        return attribute_error(c, "Value cannot be used when Exists is false", e->attribute);
    return e->value.given ? check_value(c, &e->value) : 0;
}

int tr__legacy_check_logic(tr_call *c, tr_view logic, const tr_list *conditions)
{
    if (!logic.ptr || conditions->count)
        return 0;
    return tr__invalid(c, "ConditionalOperator cannot be used without Filter or Expected");
}

int tr__legacy_check_lone(tr_call *c, tr_view logic, const tr_list *conditions)
{
    if (!logic.ptr || conditions->count > 1)
        return 0;
    return tr__invalid(
        c, "ConditionalOperator can only be used when Filter or Expected has two or more elements");
}

int tr__legacy_check_expected(tr_call *c, const tr_list *expected)
{
    int e = 0;
    for (uint32_t i = 0; i < expected->count && e == 0; i++)
        e = check_expected(c, &((const cond *)expected->items)[i]);
    return e;
}

int tr__legacy_check_updates(tr_call *c, const tr_list *updates)
{
    const tr_legacy_update *list = updates->items;
    for (uint32_t i = 0; i < updates->count; i++) {
        const tr_legacy_update *u = &list[i];
        tr_type type = u->value.value.type;
        bool set = type == TR_SS || type == TR_NS || type == TR_BS;
        int e = tr__check_name(c, u->attribute);
        if (e == 0 && u->value.given)
            e = check_value(c, &u->value);
        if (e)
            return e;
        if (!u->value.given && !tr_view_is(u->action, "DELETE"))
            return tr__invalid(c, WERE_INVALID
                               "Only DELETE action is allowed when no attribute value is specified");
        if (u->value.given && tr_view_is(u->action, "DELETE") && !set)
            return tr__invalid(c, WERE_INVALID "DELETE action with value is not supported for the type %s",
                               tr_type_name(type));
        if (tr_view_is(u->action, "ADD") && !set && type != TR_N && type != TR_L)
            return tr__invalid(c, WERE_INVALID "ADD action is not supported for the type %s",
                               tr_type_name(type));
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------ translating */

/* attribute OP values…; NULL without memory. */
static const tr_cond *test_of(tr_call *c, tr_view attribute, tr_cond_op op, const tr_attribute *values,
                              uint32_t count)
{
    tr_path path;
    tr_operand *operands = tr_arena_calloc(c->arena, count + 1, sizeof *operands);
    if (!operands || tr_path_of(c->arena, attribute, &path))
        return NULL;
    operands[0] = tr_operand_path(path);
    for (uint32_t i = 0; i < count; i++)
        operands[i + 1] = tr_operand_value(values[i].value);
    if (op != TR_COND_NOT)
        return tr_cond_test(c->arena, op, operands, count + 1);
    /* NOT_CONTAINS: of an attribute that is there */
    const tr_cond *inner = tr_cond_test(c->arena, TR_COND_CONTAINS, operands, count + 1);
    const tr_cond *both[] = {tr_cond_test(c->arena, TR_COND_EXISTS, operands, 1),
                             inner ? tr_cond_logic(c->arena, TR_COND_NOT, &inner, 1) : NULL};
    return both[0] && both[1] ? tr_cond_logic(c->arena, TR_COND_AND, both, 2) : NULL;
}

static const tr_cond *cond_of(tr_call *c, const cond *e)
{
    const tr_attribute *values = e->values.given ? e->values.items : &e->value;
    uint32_t count = e->values.given ? e->values.count : e->value.given;
    if (e->comparison.ptr)
        return test_of(c, e->attribute, operator_of(e->comparison)->op, values, count);
    if (!e->value.given)
        return test_of(c, e->attribute, TR_COND_NOT_EXISTS, NULL, 0);
    return test_of(c, e->attribute, TR_COND_EQ, values, count);
}

int tr__legacy_filter(tr_call *c, const tr_list *filter, tr_view logic, const tr_condition **ret_condition)
{
    *ret_condition = NULL;
    if (!filter->count)
        return 0;
    const tr_cond **children = tr_arena_calloc(c->arena, filter->count, sizeof *children);
    if (!children)
        return TR_ENOMEM;
    for (uint32_t i = 0; i < filter->count; i++) {
        children[i] = cond_of(c, &((const cond *)filter->items)[i]);
        if (!children[i])
            return TR_ENOMEM;
    }
    tr_cond_op op = tr_view_is(logic, "OR") ? TR_COND_OR : TR_COND_AND;
    const tr_cond *root = tr_cond_logic(c->arena, op, children, filter->count);
    return root ? tr_condition_of(c->arena, root, ret_condition) : TR_ENOMEM;
}

int tr__legacy_expected(tr_call *c, const tr_list *expected, tr_view logic,
                        const tr_condition **ret_condition)
{
    int e = tr__legacy_check_expected(c, expected);
    if (e == 0)
        e = tr__legacy_check_lone(c, logic, expected);
    return e ? e : tr__legacy_filter(c, expected, logic, ret_condition);
}

/* ADD to a list puts its elements behind those that are there. */
static int append_term(tr_call *c, const tr_path *path, tr_value list, const tr_term **ret_term)
{
    tr_term *terms = tr_arena_calloc(c->arena, 4, sizeof *terms);
    tr_packer packer;
    tr_buf *out = &c->api->scratch;
    tr_value empty;
    size_t len;
    tr_buf_reset(out);
    tr_packer_init(&packer, out);
    tr_pack_list_begin(&packer);
    if (!terms || tr_pack_list_end(&packer))
        return TR_ENOMEM;
    tr_view packed = tr_arena_copy(c->arena, tr_buf_view(out));
    if (!packed.ptr || tr_value_decode(packed, &empty, &len))
        return TR_ENOMEM;
    terms[0] = (tr_term){.kind = TR_TERM_VALUE, .value = empty};
    terms[1] = (tr_term){.kind = TR_TERM_IF_NOT_EXISTS, .path = *path, .left = &terms[0]};
    terms[2] = (tr_term){.kind = TR_TERM_VALUE, .value = list};
    terms[3] = (tr_term){.kind = TR_TERM_LIST_APPEND, .left = &terms[1], .right = &terms[2]};
    *ret_term = &terms[3];
    return 0;
}

static int step_of(tr_call *c, const tr_legacy_update *u, tr_update_step *step)
{
    if (tr_path_of(c->arena, u->attribute, &step->path))
        return TR_ENOMEM;
    if (!u->value.given) {
        step->action = TR_UPDATE_REMOVE;
        return 0;
    }
    bool add = tr_view_is(u->action, "ADD");
    step->action = add ? TR_UPDATE_ADD : tr_view_is(u->action, "DELETE") ? TR_UPDATE_DELETE : TR_UPDATE_SET;
    if (add && u->value.value.type == TR_L) {
        step->action = TR_UPDATE_SET;
        return append_term(c, &step->path, u->value.value, &step->term);
    }
    tr_term *term = tr_arena_calloc(c->arena, 1, sizeof *term);
    if (!term)
        return TR_ENOMEM;
    *term = (tr_term){.kind = TR_TERM_VALUE, .value = u->value.value};
    step->term = term;
    return 0;
}

int tr__legacy_updates(tr_call *c, const tr_list *updates, const tr_update **ret_update)
{
    tr_error err;
    *ret_update = NULL;
    int e = tr__legacy_check_updates(c, updates);
    if (e || !updates->count)
        return e;
    tr_update_step *steps = tr_arena_calloc(c->arena, updates->count, sizeof *steps);
    if (!steps)
        return TR_ENOMEM;
    for (uint32_t i = 0; i < updates->count && e == 0; i++)
        e = step_of(c, &((const tr_legacy_update *)updates->items)[i], &steps[i]);
    if (e)
        return e;
    e = tr_update_of(c->arena, steps, updates->count, ret_update, &err);
    return e ? tr__fail_expr(c, e, &err) : 0;
}

int tr__legacy_keys(tr_call *c, const tr_list *conditions, const tr_key_expr **ret_expr)
{
    const cond *list = conditions->items;
    uint32_t count = conditions->count;
    if (count != 1 && count != 2)
        return tr__invalid(c, "Conditions can be of length 1 or 2 only");
    tr_key_expr *expr = tr_arena_calloc(c->arena, 1, sizeof *expr);
    tr_key_test *tests = tr_arena_calloc(c->arena, count, sizeof *tests);
    if (!expr || !tests)
        return TR_ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        const tr_attribute *values = list[i].values.items;
        tests[i] = (tr_key_test){.name = list[i].attribute, .op = operator_of(list[i].comparison)->key};
        for (uint32_t k = 0; k < list[i].values.count && k < TR_COUNT(tests[i].values); k++)
            tests[i].values[k] = values[k].value;
    }
    expr->tests = tests;
    expr->count = count;
    *ret_expr = expr;
    return 0;
}
