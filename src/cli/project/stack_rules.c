/* SPDX-License-Identifier: MIT */
/* Rules and their targets. A URL is an API destination there, with a connection that keeps its key. */
#include "cli/project/stack_write.h"

#include <stdio.h>

/* -------------------------------------------------------------------------------------------------- URLs */

/* What a target posts to: a URL, or a function that is one; NULL: something else. */
static const char *url_of(const tr__stack *s, const tr_project_target *t)
{
    const tr_project_function *f = t->kind == TR_TO_FUNCTION ? tr_project_function_of(s->p, t->to) : NULL;
    const char *url = t->kind == TR_TO_URL ? t->to : f ? f->target : "";
    return strncmp(url, "https://", 8) == 0 || strncmp(url, "http://", 7) == 0 ? url : NULL;
}

/* API destinations are reached by https only. */
static bool can_post(const tr__stack *s, const tr_project_target *t)
{
    const char *url = url_of(s, t);
    return url && strncmp(url, "https://", 8) == 0;
}

/* A URL of its own stands under its rule's name and its number; a function that is a URL under its own. */
static const char *url_name(const tr_project_rule *r, const tr_project_target *t, char *out)
{
    if (t->kind == TR_TO_FUNCTION)
        (void)snprintf(out, TR_STACK_ID_SIZE, "%.180s", t->to);
    else
        (void)snprintf(out, TR_STACK_ID_SIZE, "%.120s %.60s", r->name, t->id);
    return out;
}

/* Whether an earlier target has brought the function's URL. */
static bool came_before(const tr__stack *s, const tr_project_rule *rule, const tr_project_target *target)
{
    for (const tr_project_rule *r = s->p->rules; r; r = r->next)
        for (const tr_project_target *t = r->targets; t; t = t->next) {
            if (r == rule && t == target)
                return false;
            if (t->kind == TR_TO_FUNCTION && target->kind == TR_TO_FUNCTION && strcmp(t->to, target->to) == 0)
                return true;
        }
    return false;
}

static void each_url(tr__stack *s, void (*fn)(tr__stack *s, const char *name, const char *url))
{
    char name[TR_STACK_ID_SIZE];
    for (const tr_project_rule *r = s->p->rules; r; r = r->next)
        for (const tr_project_target *t = r->targets; t; t = t->next)
            if (can_post(s, t) && !came_before(s, r, t))
                fn(s, url_name(r, t, name), url_of(s, t));
}

static void put_parameter(tr__stack *s, const char *name, const char *kind, const char *otherwise,
                          bool secret)
{
    char id[TR_STACK_ID_SIZE];
    tr__stack_object(s, tr__stack_id_of(name, kind, id));
    tr__stack_text(s, "Type", "String");
    tr__stack_text(s, "Default", otherwise);
    if (secret)
        tr_json_member_bool(&s->w, "NoEcho", true);
    tr__stack_end(s);
}

static void put_key(tr__stack *s, const char *name, const char *url)
{
    (void)url;
    put_parameter(s, name, "KeyName", "x-api-key", false);
    put_parameter(s, name, "KeyValue", "none", true);
}

static void count_url(tr__stack *s, const char *name, const char *url)
{
    (void)name;
    (void)url;
    s->urls++;
}

void tr__stack_put_parameters(tr__stack *s)
{
    each_url(s, count_url);
    if (!s->urls)
        return;
    tr__stack_object(s, "Parameters");
    each_url(s, put_key);
    tr__stack_end(s);
}

static void put_destination(tr__stack *s, const char *name, const char *url)
{
    tr__stack_begin_resource(s, name, "Connection", "AWS::Events::Connection");
    tr__stack_text(s, "AuthorizationType", "API_KEY");
    tr__stack_object(s, "AuthParameters");
    tr__stack_object(s, "ApiKeyAuthParameters");
    tr__stack_refer(s, "ApiKeyName", name, "KeyName", NULL);
    tr__stack_refer(s, "ApiKeyValue", name, "KeyValue", NULL);
    tr__stack_end(s);
    tr__stack_end(s);
    tr__stack_end_resource(s);
    tr__stack_begin_resource(s, name, "Destination", "AWS::Events::ApiDestination");
    tr__stack_refer(s, "ConnectionArn", name, "Connection", "Arn");
    tr__stack_text(s, "HttpMethod", "POST");
    tr__stack_text(s, "InvocationEndpoint", url);
    tr__stack_end_resource(s);
}

void tr__stack_put_urls(tr__stack *s)
{
    each_url(s, put_destination);
}

/* ----------------------------------------------------------------------------------------------- targets */

static bool can_target(const tr__stack *s, const tr_project_target *t)
{
    const tr_project_function *f = t->kind == TR_TO_FUNCTION ? tr_project_function_of(s->p, t->to) : NULL;
    return t->kind == TR_TO_QUEUE || t->kind == TR_TO_BUS || (f && tr__stack_module_of(f)) || can_post(s, t);
}

static void tell_target(tr__stack *s, const tr_project_rule *r, const tr_project_target *t)
{
    const char *url = url_of(s, t);
    if (url && !can_post(s, t))
        tr__stack_leave_out(s, "rule %s: an API destination on AWS is reached by https, not at %s", r->name,
                            url);
    else if (t->kind == TR_TO_FUNCTION && !can_target(s, t))
        tr__stack_leave_out(s, "rule %s: function %s is no handler and no URL", r->name, t->to);
    if (t->kind == TR_TO_TABLE)
        tr__stack_leave_out(s, "rule %s: EventBridge has no targets that are tables (%s)", r->name, t->to);
}

static void put_retries(tr__stack *s, const tr_project_target *t)
{
    const tr_project *p = s->p;
    int64_t retries = t->retries >= 0 ? t->retries : p->retries,
            age = t->age_ms ? t->age_ms : p->event_age_ms;
    if (retries < 0 && !age)
        return;
    tr__stack_object(s, "RetryPolicy");
    if (retries >= 0)
        tr__stack_number(s, "MaximumRetryAttempts", retries > 185 ? 185 : retries);
    if (age)
        tr__stack_number(s, "MaximumEventAgeInSeconds", age < 60000 ? 60 : age / 1000);
    tr__stack_end(s);
}

static void put_target(tr__stack *s, const tr_project_rule *r, const tr_project_target *t)
{
    char name[TR_STACK_ID_SIZE];
    tr__stack_object(s, NULL);
    tr__stack_text(s, "Id", t->id);
    if (t->kind == TR_TO_BUS) {
        tr__stack_bus_arn(s, "Arn", t->to);
        tr__stack_refer(s, "RoleArn", r->name, "RuleRole", "Arn");
    } else if (can_post(s, t)) {
        tr__stack_refer(s, "Arn", url_name(r, t, name), "Destination", "Arn");
        tr__stack_refer(s, "RoleArn", r->name, "RuleRole", "Arn");
    } else {
        tr__stack_refer(s, "Arn", t->to, t->kind == TR_TO_QUEUE ? "Queue" : "Function", "Arn");
    }
    tr__stack_text(s, "Input", t->input);
    tr__stack_text(s, "InputPath", t->input_path);
    tr__stack_json(s, "InputTransformer", t->transformer);
    put_retries(s, t);
    if (t->dead_letters) {
        tr__stack_object(s, "DeadLetterConfig");
        tr__stack_refer(s, "Arn", t->dead_letters, "Queue", "Arn");
        tr__stack_end(s);
    }
    tr__stack_end(s);
    if (t->order_by || t->rate || t->concurrency)
        tr__stack_leave_out(
            s, "rule %s: order-by, rate and concurrency of a target have no counterpart on AWS", r->name);
}

static void put_permission(tr__stack *s, const tr_project_rule *r, const tr_project_target *t)
{
    char name[TR_STACK_ID_SIZE];
    (void)snprintf(name, sizeof name, "%.120s %.60s", r->name, t->id);
    tr__stack_begin_resource(s, name, "Permission", "AWS::Lambda::Permission");
    tr__stack_refer(s, "FunctionName", t->to, "Function", NULL);
    tr__stack_text(s, "Action", "lambda:InvokeFunction");
    tr__stack_text(s, "Principal", "events.amazonaws.com");
    tr__stack_refer(s, "SourceArn", r->name, "Rule", "Arn");
    tr__stack_end_resource(s);
}

static bool needs_role(const tr__stack *s, const tr_project_target *t)
{
    return t->kind == TR_TO_BUS || can_post(s, t);
}

static void put_rule_role(tr__stack *s, const tr_project_rule *r)
{
    char name[TR_STACK_ID_SIZE];
    bool any = false;
    for (const tr_project_target *t = r->targets; t; t = t->next)
        any |= needs_role(s, t);
    if (!any)
        return;
    tr__stack_begin_role(s, r->name, "RuleRole", "events.amazonaws.com");
    for (const tr_project_target *t = r->targets; t; t = t->next) {
        if (t->kind == TR_TO_BUS)
            tr__stack_allow_bus(s, t->to);
        if (!can_post(s, t))
            continue;
        tr__stack_statement(s, "events:InvokeApiDestination", NULL);
        tr__stack_refer(s, "Resource", url_name(r, t, name), "Destination", "Arn");
        tr__stack_end(s);
    }
    tr__stack_end_role(s);
}

void tr__stack_put_rule(tr__stack *s, const tr_project_rule *r)
{
    bool any = false;
    for (const tr_project_target *t = r->targets; t; t = t->next) {
        tell_target(s, r, t);
        any |= can_target(s, t);
    }
    if (!any) {
        tr__stack_leave_out(s, "rule %s: none of its targets is there on AWS", r->name);
        return;
    }
    put_rule_role(s, r);
    tr__stack_begin_resource(s, r->name, "Rule", "AWS::Events::Rule");
    if (strcmp(r->bus, "default") != 0)
        tr__stack_refer(s, "EventBusName", r->bus, "Bus", NULL);
    tr__stack_json(s, "EventPattern", r->pattern);
    tr__stack_text(s, "Description", r->description);
    tr__stack_text(s, "State", r->disabled ? "DISABLED" : "ENABLED");
    tr_json_name(&s->w, "Targets");
    tr_json_begin_array(&s->w);
    for (const tr_project_target *t = r->targets; t; t = t->next)
        if (can_target(s, t))
            put_target(s, r, t);
    tr_json_end_array(&s->w);
    tr__stack_end_resource(s);
    for (const tr_project_target *t = r->targets; t; t = t->next) {
        const tr_project_function *f = t->kind == TR_TO_FUNCTION ? tr_project_function_of(s->p, t->to) : NULL;
        if (f && tr__stack_module_of(f))
            put_permission(s, r, t);
    }
}
