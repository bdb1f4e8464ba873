/* SPDX-License-Identifier: MIT */
#include "api/tables.h"

/* UpdateTimeToLive, DescribeTimeToLive. */

typedef struct ttl_spec {
    tr_view attribute;
    tr_bool enabled;
} ttl_spec;

typedef struct ttl_request {
    tr_view name;
    ttl_spec *spec;
} ttl_request;

static const tr_member spec_members[] = {
    TR_MEMBER(ttl_spec, attribute, "AttributeName", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX,
              .min = 1, .max = 255),
    TR_MEMBER(ttl_spec, enabled, "Enabled", TR_K_BOOLEAN, .rules = TR_R_NOT_NULL),
};
static const tr_shape spec_shape = TR_SHAPE(ttl_spec, "TimeToLiveSpecification", spec_members);

static const tr_member update_members[] = {
    TR_MEMBER(ttl_request, name, "TableName", TR_K_STRING, .rules = TR_R_TABLE),
    TR_MEMBER(ttl_request, spec, "TimeToLiveSpecification", TR_K_STRUCT, .rules = TR_R_NOT_NULL,
              .shape = &spec_shape),
};
const tr_shape tr__shape_update_ttl = TR_SHAPE(ttl_request, "UpdateTimeToLiveInput", update_members);

static const tr_member describe_members[] = {
    TR_MEMBER(ttl_request, name, "TableName", TR_K_STRING, .rules = TR_R_TABLE),
};
const tr_shape tr__shape_describe_ttl = TR_SHAPE(ttl_request, "DescribeTimeToLiveInput", describe_members);

static int check_change(tr_call *c, const ttl_spec *spec, const tr_table *table)
{
    tr_view now = table->ttl_attribute;
    if (!now.len && !spec->enabled.value)
        return tr__invalid(c, "TimeToLive is already disabled");
    if (now.len && !tr_view_eq(now, spec->attribute))
        return tr__invalid(c,
                           "TimeToLive is active on a different AttributeName: current AttributeName is %.*s",
                           TR_FMT(now));
    if (now.len && spec->enabled.value)
        return tr__invalid(c, "TimeToLive is already enabled");
    return 0;
}

int tr__op_update_ttl(tr_call *c, void *request)
{
    const ttl_request *r = request;
    tr_table *table;
    tr_error err;
    int e = tr__find_described(c, r->name, &table);
    if (e == 0)
        e = check_change(c, r->spec, table);
    if (e)
        return e;
    const tr_table_change change = {
        .set_ttl = true, .ttl_attribute = r->spec->enabled.value ? r->spec->attribute : (tr_view){NULL, 0}};
    e = tr_engine_update_table(c->engine, table, &change, &err);
    if (e)
        return tr__fail_code(c, e, &err);
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "TimeToLiveSpecification");
    tr_json_begin_object(&c->w);
    tr_json_member_string(&c->w, "AttributeName", r->spec->attribute);
    tr_json_member_bool(&c->w, "Enabled", r->spec->enabled.value);
    tr_json_end_object(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_describe_ttl(tr_call *c, void *request)
{
    tr_table *table;
    int e = tr__find_described(c, ((ttl_request *)request)->name, &table);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "TimeToLiveDescription");
    tr_json_begin_object(&c->w);
    tr_json_member_cstring(&c->w, "TimeToLiveStatus", table->ttl_attribute.len ? "ENABLED" : "DISABLED");
    if (table->ttl_attribute.len)
        tr_json_member_string(&c->w, "AttributeName", table->ttl_attribute);
    tr_json_end_object(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}
