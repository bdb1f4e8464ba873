/* SPDX-License-Identifier: MIT */
#include "api/events.h"

/* Targets of rules: PutTargets, ListTargetsByRule, RemoveTargets, ListRuleNamesByTarget. */

#define TARGETS_MAX 5 /* of a rule (EventBridge quotas) */

typedef struct retry_policy {
    tr_int attempts, age;
} retry_policy;

typedef struct dead_letters {
    tr_view arn;
} dead_letters;

/* tailrace's own: how deliveries to a target are made. Other clients do not send it. */
typedef struct delivery_settings {
    tr_int concurrency, rate, delay, max_delay;
    tr_view order;
} delivery_settings;

typedef struct target_item {
    tr_view id, arn, input, path, transformer;
    delivery_settings *delivery;
    retry_policy *retry;
    dead_letters *letters;
} target_item;

typedef struct targets_request {
    tr_view rule, bus;
    tr_list targets, ids;
    tr_bool force;
} targets_request;

static const tr_member retry_members[] = {
    TR_MEMBER(retry_policy, attempts, "MaximumRetryAttempts", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX,
              .min = 0, .max = 185),
    TR_MEMBER(retry_policy, age, "MaximumEventAgeInSeconds", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX,
              .min = 60, .max = 86400),
};
static const tr_shape retry_shape = TR_SHAPE(retry_policy, "RetryPolicy", retry_members);
static const tr_member letters_members[] = {
    TR_MEMBER(dead_letters, arn, "Arn", TR_K_STRING, .rules = TR_R_MIN | TR_R_MAX, .min = 1, .max = 1600)};
static const tr_shape letters_shape = TR_SHAPE(dead_letters, "DeadLetterConfig", letters_members);
static const tr_member delivery_members[] = {
    TR_MEMBER(delivery_settings, concurrency, "Concurrency", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX,
              .min = 1, .max = 1000),
    TR_MEMBER(delivery_settings, rate, "RatePerSecond", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX, .min = 1,
              .max = 1000000),
    TR_MEMBER(delivery_settings, order, "OrderBy", TR_K_STRING, .rules = TR_R_MAX, .max = 256),
    TR_MEMBER(delivery_settings, delay, "RetryDelayMs", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX, .min = 1,
              .max = 86400000),
    TR_MEMBER(delivery_settings, max_delay, "RetryMaxDelayMs", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX,
              .min = 1, .max = 86400000),
};
static const tr_shape delivery_shape = TR_SHAPE(delivery_settings, "Delivery", delivery_members);
static const tr_member target_members[] = {
    TR_E_NAME(target_item, id, "Id", 64),
    TR_E_ARN(target_item, arn, "Arn"),
    TR_E_TEXT(target_item, input, "Input", 8192),
    TR_E_TEXT(target_item, path, "InputPath", 256),
    TR_MEMBER(target_item, transformer, "InputTransformer", TR_K_RAW, .java = "InputTransformer"),
    TR_MEMBER(target_item, retry, "RetryPolicy", TR_K_STRUCT, .shape = &retry_shape),
    TR_MEMBER(target_item, letters, "DeadLetterConfig", TR_K_STRUCT, .shape = &letters_shape),
    TR_MEMBER(target_item, delivery, "Delivery", TR_K_STRUCT, .shape = &delivery_shape),
};
static const tr_shape target_shape = TR_SHAPE(target_item, "Target", target_members);

static const tr_member put_members[] = {
    TR_E_NAME(targets_request, rule, "Rule", 64),
    TR_E_BUS(targets_request, bus),
    TR_MEMBER(targets_request, targets, "Targets", TR_K_STRUCTS, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX,
              .min = 1, .max = 100, .shape = &target_shape),
};
const tr_shape tr__shape_put_targets = TR_SHAPE(targets_request, "PutTargetsRequest", put_members);
static const tr_member remove_members[] = {
    TR_E_NAME(targets_request, rule, "Rule", 64),
    TR_E_BUS(targets_request, bus),
    TR_MEMBER(targets_request, ids, "Ids", TR_K_STRINGS, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX,
              .min = 1, .max = 100),
    TR_MEMBER(targets_request, force, "Force", TR_K_BOOLEAN, .rules = 0),
};
const tr_shape tr__shape_remove_targets = TR_SHAPE(targets_request, "RemoveTargetsRequest", remove_members);
static const tr_member list_members[] = {
    TR_E_NAME(tr_page_request, rule, "Rule", 64),
    TR_E_BUS(tr_page_request, bus),
    TR_E_TOKEN(tr_page_request, token),
    TR_E_LIMIT(tr_page_request, limit),
};
const tr_shape tr__shape_list_targets = TR_SHAPE(tr_page_request, "ListTargetsByRuleRequest", list_members);
static const tr_member by_target_members[] = {
    TR_E_ARN(tr_page_request, target, "TargetArn"),
    TR_E_BUS(tr_page_request, bus),
    TR_E_TOKEN(tr_page_request, token),
    TR_E_LIMIT(tr_page_request, limit),
};
const tr_shape tr__shape_rules_by_target =
    TR_SHAPE(tr_page_request, "ListRuleNamesByTargetRequest", by_target_members);

static bool is_json(tr_call *c, tr_view text)
{
    tr_json_reader r;
    tr_json_init(&r, text, c->arena);
    tr_json_token token;
    do
        token = tr_json_next(&r);
    while (token != TR_JSON_DONE && token != TR_JSON_ERROR);
    return token == TR_JSON_DONE;
}

static int check_arn(tr_call *c, tr_view arn)
{
    unsigned colons = 0;
    for (size_t i = 0; i < arn.len; i++)
        colons += arn.ptr[i] == ':';
    bool url = tr_view_starts(arn, TR_VIEW("http://")) || tr_view_starts(arn, TR_VIEW("https://"));
    if (url || (tr_view_starts(arn, TR_VIEW("arn:")) && colons >= 5))
        return 0;
    return tr__fail(c, 400, "ValidationException",
                    "Parameter %.*s is not valid. Reason: Provided Arn is not in correct format.",
                    TR_FMT(arn));
}

static int check_target(tr_call *c, const target_item *t)
{
    int e = check_arn(c, t->arn);
    if (e == 0 && t->letters && t->letters->arn.ptr)
        e = check_arn(c, t->letters->arn);
    if (e)
        return e;
    if ((t->input.ptr != NULL) + (t->path.ptr != NULL) + (t->transformer.ptr != NULL) > 1)
        return tr__fail(c, 400, "ValidationException",
                        "Only one of Input, InputPath, or InputTransformer must be provided for target %.*s.",
                        TR_FMT(t->id));
    if (t->input.ptr && !is_json(c, t->input))
        return tr__fail(c, 400, "ValidationException", "JSON syntax error in input for target %.*s.",
                        TR_FMT(t->id));
    return 0;
}

static int no_failures(tr_call *c)
{
    tr_json_begin_object(&c->w);
    tr_json_member_i64(&c->w, "FailedEntryCount", 0);
    tr_json_name(&c->w, "FailedEntries");
    tr_json_begin_array(&c->w);
    tr_json_end_array(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}

/* The rule's document with other targets. */
static int put_targets(tr_call *c, const tr_res *rule, tr_buf *targets)
{
    tr_buf doc;
    tr_view key = tr_arena_copy(c->arena, rule->name);
    tr_buf_init(&doc, (size_t)4 << 20);
    tr_doc_with(rule->doc, "Targets", tr_buf_view(targets), &doc);
    int e = tr_buf_status(targets);
    tr_buf_done(targets);
    if (e || !key.ptr) {
        tr_buf_done(&doc);
        return e ? e : TR_ENOMEM;
    }
    return tr__doc_put(c, TR_RES_RULE, key, &doc);
}

static bool given_again(tr_call *c, const targets_request *r, tr_view old)
{
    tr_view id = tr_doc_text(old, "Id", c->arena);
    for (uint32_t i = 0; i < r->targets.count; i++)
        if (tr_view_eq(((const target_item *)r->targets.items)[i].id, id))
            return true;
    for (uint32_t i = 0; i < r->ids.count; i++)
        if (tr_view_eq(((const tr_view *)r->ids.items)[i], id))
            return true;
    return false;
}

int tr__op_put_targets(tr_call *c, void *request)
{
    const targets_request *r = request;
    tr_res *rule;
    tr_view *old, *fresh;
    size_t old_count, count, total = 0;
    tr_buf targets;
    tr_json_writer w;
    int e = tr__find_rule(c, r->bus, r->rule, &rule);
    for (uint32_t i = 0; e == 0 && i < r->targets.count; i++)
        e = check_target(c, (const target_item *)r->targets.items + i);
    if (e == 0)
        e = tr_doc_elements(tr_doc_raw(rule->doc, "Targets"), c->arena, &old, &old_count);
    if (e == 0)
        e = tr_doc_elements(r->targets.raw, c->arena, &fresh, &count);
    if (e)
        return e;
    tr_buf_init(&targets, (size_t)4 << 20);
    tr_json_write_init(&w, &targets);
    tr_json_begin_array(&w);
    for (size_t i = 0; i < old_count; i++)
        if (!given_again(c, r, old[i]) && ++total)
            tr_json_value(&w, old[i]);
    for (size_t i = 0; i < count; i++) {
        tr_json_value(&w, fresh[i]);
        total++;
    }
    tr_json_end_array(&w);
    if (total > TARGETS_MAX) {
        tr_buf_done(&targets);
        return tr__fail(c, 400, TR_LIMIT_EXCEPTION,
                        "The requested resource exceeds the maximum number allowed.");
    }
    e = put_targets(c, rule, &targets);
    return e ? e : no_failures(c);
}

int tr__op_remove_targets(tr_call *c, void *request)
{
    const targets_request *r = request;
    tr_res *rule;
    tr_view *old;
    size_t count;
    tr_buf targets;
    tr_json_writer w;
    int e = tr__find_rule(c, r->bus, r->rule, &rule);
    if (e == 0)
        e = tr_doc_elements(tr_doc_raw(rule->doc, "Targets"), c->arena, &old, &count);
    if (e)
        return e;
    tr_buf_init(&targets, (size_t)4 << 20);
    tr_json_write_init(&w, &targets);
    tr_json_begin_array(&w);
    for (size_t i = 0; i < count; i++)
        if (!given_again(c, r, old[i]))
            tr_json_value(&w, old[i]);
    tr_json_end_array(&w);
    e = put_targets(c, rule, &targets);
    return e ? e : no_failures(c);
}

int tr__op_list_targets(tr_call *c, void *request)
{
    const tr_page_request *r = request;
    tr_res *rule;
    int e = tr__find_rule(c, r->bus, r->rule, &rule);
    if (e)
        return e;
    tr_view targets = tr_doc_raw(rule->doc, "Targets"); /* at most five: one page */
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Targets");
    tr_json_value(&c->w, targets.ptr ? targets : TR_VIEW("[]"));
    tr_json_end_object(&c->w);
    return 0;
}

static bool names_target(tr_call *c, const tr_res *rule, tr_view arn)
{
    tr_view *targets;
    size_t count;
    if (tr_doc_elements(tr_doc_raw(rule->doc, "Targets"), c->arena, &targets, &count))
        return false;
    for (size_t i = 0; i < count; i++)
        if (tr_view_eq(tr_doc_text(targets[i], "Arn", c->arena), arn))
            return true;
    return false;
}

int tr__op_rules_by_target(tr_call *c, void *request)
{
    const tr_page_request *r = request;
    tr_view after;
    tr_res *bus;
    int e = tr__find_bus(c, r->bus, &bus);
    if (e == 0)
        e = tr__page_after(c, r->token, &after);
    if (e)
        return e;
    const char *from = tr__rule_key(c, bus->name, after),
               *prefix = tr__rule_key(c, bus->name, (tr_view){NULL, 0});
    if (!from || !prefix)
        return TR_ENOMEM;
    size_t lead = strlen(prefix);
    int64_t left = r->limit.given ? r->limit.value : TR_PAGE_MAX;
    tr_res *rule = tr_bus_next(c->api->bus, TR_RES_RULE, tr_view_str(from));
    bool more = false;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "RuleNames");
    tr_json_begin_array(&c->w);
    for (; rule && tr_view_starts(rule->name, tr_view_str(prefix));
         rule = tr_bus_next(c->api->bus, TR_RES_RULE, rule->name)) {
        if (!names_target(c, rule, r->target))
            continue;
        more = left-- == 0;
        if (more)
            break;
        after = tr_view_of(rule->name.ptr + lead, rule->name.len - lead);
        tr_json_string(&c->w, after);
    }
    tr_json_end_array(&c->w);
    if (more)
        tr__page_token(c, after);
    tr_json_end_object(&c->w);
    return 0;
}
