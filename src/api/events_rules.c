/* SPDX-License-Identifier: MIT */
#include "api/events.h"

/* Rules: PutRule, DescribeRule, ListRules, DeleteRule, EnableRule, DisableRule. */

typedef struct rule_request {
    tr_view name, bus, pattern, schedule, state, description, role;
    tr_list tags;
    tr_bool force;
} rule_request;

typedef struct tag_item {
    tr_view key, value;
} tag_item;
static const tr_member tag_members[] = {
    TR_MEMBER(tag_item, key, "Key", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX, .min = 1,
              .max = 128),
    TR_MEMBER(tag_item, value, "Value", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_MAX, .max = 256),
};
static const tr_shape tag_shape = TR_SHAPE(tag_item, "Tag", tag_members);

#define STATES "[ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS, DISABLED, ENABLED]"

static const tr_member put_members[] = {
    TR_E_NAME(rule_request, name, "Name", 64),
    TR_E_BUS(rule_request, bus),
    TR_E_TEXT(rule_request, pattern, "EventPattern", 4096),
    TR_E_TEXT(rule_request, schedule, "ScheduleExpression", 256),
    TR_MEMBER(rule_request, state, "State", TR_K_STRING, .values = STATES),
    TR_E_TEXT(rule_request, description, "Description", 512),
    TR_E_TEXT(rule_request, role, "RoleArn", 1600),
    TR_MEMBER(rule_request, tags, "Tags", TR_K_STRUCTS, .shape = &tag_shape),
};
const tr_shape tr__shape_put_rule = TR_SHAPE(rule_request, "PutRuleRequest", put_members);
static const tr_member name_members[] = {
    TR_E_NAME(rule_request, name, "Name", 64),
    TR_E_BUS(rule_request, bus),
    TR_MEMBER(rule_request, force, "Force", TR_K_BOOLEAN, .rules = 0),
};
const tr_shape tr__shape_describe_rule = TR_SHAPE(rule_request, "DescribeRuleRequest", name_members);
const tr_shape tr__shape_delete_rule = TR_SHAPE(rule_request, "DeleteRuleRequest", name_members);
const tr_shape tr__shape_enable_rule = TR_SHAPE(rule_request, "EnableRuleRequest", name_members);
const tr_shape tr__shape_disable_rule = TR_SHAPE(rule_request, "DisableRuleRequest", name_members);
static const tr_member list_members[] = {
    TR_E_PREFIX(tr_page_request, prefix, 64),
    TR_E_BUS(tr_page_request, bus),
    TR_E_TOKEN(tr_page_request, token),
    TR_E_LIMIT(tr_page_request, limit),
};
const tr_shape tr__shape_list_rules = TR_SHAPE(tr_page_request, "ListRulesRequest", list_members);

static int empty_answer(tr_call *c)
{
    tr_json_begin_object(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}

static void write_arn(tr_call *c, tr_buf *out, tr_view bus, tr_view name)
{
    tr_buf_printf(out, "\"arn:aws:events:%s:%s:rule/", c->api->region, TR_BUS_ACCOUNT);
    if (!tr_view_is(bus, "default"))
        tr_buf_printf(out, "%.*s/", TR_FMT(bus));
    tr_buf_printf(out, "%.*s\"", TR_FMT(name));
}

static void write_doc(tr_call *c, const rule_request *r, tr_view bus, tr_view old, tr_buf *doc)
{
    tr_json_writer w;
    tr__doc_begin(&w, doc);
    tr_json_member_string(&w, "Name", r->name);
    tr_json_name(&w, "Arn");
    tr_json_sep(&w);
    write_arn(c, doc, bus, r->name);
    tr__text_member(&w, "EventPattern", r->pattern.len ? r->pattern : (tr_view){NULL, 0});
    tr__text_member(&w, "ScheduleExpression", r->schedule.len ? r->schedule : (tr_view){NULL, 0});
    tr_json_member_string(&w, "State", r->state.len ? r->state : TR_VIEW("ENABLED"));
    tr__text_member(&w, "Description", r->description);
    tr__text_member(&w, "RoleArn", r->role);
    tr_json_member_string(&w, "EventBusName", bus);
    tr_json_member_cstring(&w, "CreatedBy", TR_BUS_ACCOUNT);
    tr__doc_member(&w, old, "Targets");
    if (r->tags.given && !old.ptr) { /* tags of a rule that exists are changed by TagResource only */
        tr_json_name(&w, "Tags");
        tr_json_value(&w, r->tags.raw);
    } else {
        tr__doc_member(&w, old, "Tags");
    }
    tr_json_end_object(&w);
}

int tr__op_put_rule(tr_call *c, void *request)
{
    const rule_request *r = request;
    tr_res *bus;
    tr_buf doc;
    int e = tr__find_bus(c, r->bus, &bus);
    if (e)
        return e;
    if (!r->pattern.len && !r->schedule.len)
        return tr__fail(c, 400, "ValidationException",
                        "Parameter(s) EventPattern or ScheduleExpression must be specified.");
    if (r->schedule.len && !tr_view_is(bus->name, "default"))
        return tr__fail(c, 400, "ValidationException",
                        "ScheduleExpression is supported only on the default event bus.");
    if (r->schedule.len) /* a rule that would never run is worse than none */
        return tr__fail(c, 400, "ValidationException",
                        "Parameter ScheduleExpression is not valid. Reason: this server runs no schedules.");
    const char *key = tr__rule_key(c, bus->name, r->name);
    if (!key)
        return TR_ENOMEM;
    tr_res *old = tr_bus_find(c->api->bus, TR_RES_RULE, tr_view_str(key));
    write_doc(c, r, bus->name, old ? old->doc : (tr_view){NULL, 0}, &doc);
    e = tr__doc_put(c, TR_RES_RULE, tr_view_str(key), &doc);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "RuleArn");
    tr_json_value(&c->w, tr_doc_raw(tr_bus_find(c->api->bus, TR_RES_RULE, tr_view_str(key))->doc, "Arn"));
    tr_json_end_object(&c->w);
    return 0;
}

static void write_rule(tr_json_writer *w, tr_view doc, bool describe)
{
    tr_json_begin_object(w);
    tr__doc_member(w, doc, "Name");
    tr__doc_member(w, doc, "Arn");
    tr__doc_member(w, doc, "EventPattern");
    tr__doc_member(w, doc, "State");
    tr__doc_member(w, doc, "Description");
    tr__doc_member(w, doc, "ScheduleExpression");
    tr__doc_member(w, doc, "RoleArn");
    tr__doc_member(w, doc, "EventBusName");
    if (describe)
        tr__doc_member(w, doc, "CreatedBy");
    tr_json_end_object(w);
}

int tr__op_describe_rule(tr_call *c, void *request)
{
    const rule_request *r = request;
    tr_res *rule;
    int e = tr__find_rule(c, r->bus, r->name, &rule);
    if (e == 0)
        write_rule(&c->w, rule->doc, true);
    return e;
}

static int write_listed(tr_call *c, tr_res *rule)
{
    write_rule(&c->w, rule->doc, false);
    return 0;
}

int tr__op_list_rules(tr_call *c, void *request)
{
    const tr_page_request *r = request;
    tr_res *bus;
    int e = tr__find_bus(c, r->bus, &bus);
    if (e)
        return e;
    tr_listing rules = {.kind = TR_RES_RULE,
                        .member = "Rules",
                        .lead = tr_view_str(tr__rule_key(c, bus->name, (tr_view){NULL, 0})),
                        .write = write_listed};
    return rules.lead.ptr ? tr__list(c, r, &rules) : TR_ENOMEM;
}

int tr__op_delete_rule(tr_call *c, void *request)
{
    const rule_request *r = request;
    tr_res *bus;
    int e = tr__find_bus(c, r->bus, &bus);
    if (e)
        return e;
    const char *key = tr__rule_key(c, bus->name, r->name);
    if (!key)
        return TR_ENOMEM;
    tr_res *rule = tr_bus_find(c->api->bus, TR_RES_RULE, tr_view_str(key));
    if (!rule) /* deleting what is not there succeeds, as with the service */
        return empty_answer(c);
    tr_view targets = tr_doc_raw(rule->doc, "Targets");
    if (targets.len > 2)
        return tr__fail(c, 400, "ValidationException", "Rule can't be deleted since it has targets.");
    tr_bus_delete(c->api->bus, rule);
    return empty_answer(c);
}

static int set_state(tr_call *c, const rule_request *r, tr_view state)
{
    tr_res *rule;
    tr_buf doc;
    int e = tr__find_rule(c, r->bus, r->name, &rule);
    if (e)
        return e;
    tr_view key = tr_arena_copy(c->arena, rule->name);
    if (!key.ptr)
        return TR_ENOMEM;
    tr_buf_init(&doc, (size_t)4 << 20);
    tr_doc_with(rule->doc, "State", state, &doc);
    e = tr__doc_put(c, TR_RES_RULE, key, &doc);
    return e ? e : empty_answer(c);
}

int tr__op_enable_rule(tr_call *c, void *request)
{
    return set_state(c, request, TR_VIEW("\"ENABLED\""));
}

int tr__op_disable_rule(tr_call *c, void *request)
{
    return set_state(c, request, TR_VIEW("\"DISABLED\""));
}
