/* SPDX-License-Identifier: MIT */
/* What is parsed from the documents of buses, rules and archives, and how it takes part in matching. */
#include "bus/bus_private.h"

#include <tailrace/failure.h>
#include <tailrace/transform.h>

#define DOC_ARENA_MAX ((size_t)8 * 1024 * 1024)

#define RETRIES_DEFAULT 185 /* of a target without a RetryPolicy (EventBridge User Guide) */
#define AGE_DEFAULT_S   (24 * 60 * 60)
#define CONCURRENCY     16 /* attempts of one target at a time; functions have their own */

/* All events but replayed ones: what the service's own rule of an archive selects. */
static const char no_replays[] = "{\"replay-name\":[{\"exists\":false}]}";

tr_view tr__arn_name(tr_view arn, const char *service, const char *type)
{
    /* arn:aws:SERVICE:REGION:ACCOUNT:TYPE NAME */
    tr_view at = arn, none = {NULL, 0};
    for (int i = 0; i < 5; i++) {
        size_t colon = tr_view_find(at, TR_VIEW(":"), 0);
        if (colon == SIZE_MAX || (i == 0 && !tr_view_is(tr_view_of(at.ptr, colon), "arn")) ||
            (i == 2 && !tr_view_is(tr_view_of(at.ptr, colon), service)))
            return none;
        at = tr_view_of(at.ptr + colon + 1, at.len - colon - 1);
    }
    size_t lead = strlen(type);
    if (at.len <= lead || memcmp(at.ptr, type, lead) != 0)
        return none;
    return tr_view_of(at.ptr + lead, at.len - lead);
}

/* ----------------------------------------------------------------------------------------------- targets */

static void free_target(tr_target *t)
{
    tr__bus_input_free(t);
    tr_input_path_free(t->order);
    tr_failure_sink_free(t->sink);
    tr_free(t->doc);
    tr_free(t->owner);
    tr_free(t->id);
    tr_free(t->arn);
    tr_free(t->dead_letters);
    tr_free(t->input);
    tr_free(t->path);
    tr_free(t->rule_arn);
    tr_free(t);
}

void tr__bus_target_unref(tr_target *t)
{
    if (t && --t->refs == 0)
        free_target(t);
}

static void set_kind(tr_bus *bus, tr_target *t)
{
    tr_view arn = tr_view_str(t->arn), function;
    t->concurrency = CONCURRENCY;
    if (tr_view_starts(arn, TR_VIEW("http://")) || tr_view_starts(arn, TR_VIEW("https://"))) {
        t->kind = TR_TARGET_URL;
    } else if (tr__arn_name(arn, "events", "event-bus/").ptr) {
        t->kind = TR_TARGET_BUS;
    } else if (tr__arn_name(arn, "sqs", "").ptr) {
        t->kind = TR_TARGET_QUEUE;
    } else if (tr__arn_name(arn, "dynamodb", "table/").ptr) {
        t->kind = TR_TARGET_TABLE;
    } else if ((function = tr__arn_name(arn, "lambda", "function:")).ptr) {
        t->kind = TR_TARGET_FUNCTION;
        t->concurrency = tr__bus_send_concurrency(bus, function);
    }
}

static bool copy_text(tr_view doc, const char *name, tr_arena *arena, char **out)
{
    tr_view text = tr_doc_text(doc, name, arena);
    if (text.ptr)
        *out = tr__bus_copy(text);
    return !text.ptr || *out;
}

static tr_target *new_target(const tr_bus *bus, tr_view owner, tr_view id)
{
    tr_target *t = tr_calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->refs = 1;
    t->owner = tr__bus_copy(owner);
    t->id = tr__bus_copy(id);
    t->retries = bus->options.limit_retries ? bus->options.retries : RETRIES_DEFAULT;
    t->age_ms = bus->options.event_age_ms ? bus->options.event_age_ms : (int64_t)AGE_DEFAULT_S * 1000;
    if (t->owner && t->id)
        return t;
    free_target(t);
    return NULL;
}

tr_target *tr__bus_target_new(tr_bus *bus, tr_view owner, tr_view id, tr_view arn)
{
    tr_target *t = new_target(bus, owner, id);
    if (!t)
        return NULL;
    t->arn = tr__bus_copy(arn);
    t->rule_arn = tr_strdup("");
    if (t->arn && t->rule_arn) {
        set_kind(bus, t);
        return t;
    }
    free_target(t);
    return NULL;
}

/* Delivery: {"Concurrency","RatePerSecond","OrderBy","RetryDelayMs","RetryMaxDelayMs"}, tailrace's own
 * member. */
static int read_delivery(tr_target *t, tr_view doc, tr_arena *arena, tr_error *err)
{
    tr_view order = tr_doc_text(doc, "OrderBy", arena);
    int64_t rate = tr_doc_int(doc, "RatePerSecond", 0), at_once = tr_doc_int(doc, "Concurrency", 0);
    if (at_once > 0)
        t->concurrency = (unsigned)at_once;
    if (rate > 0)
        t->interval_us = 1000000 / rate;
    t->retry_base_ms = tr_doc_int(doc, "RetryDelayMs", 0);
    t->retry_cap_ms = tr_doc_int(doc, "RetryMaxDelayMs", t->retry_base_ms);
    int e = order.ptr ? tr_input_path_compile(order, t->id, &t->order, err) : 0;
    if (e == TR_EINVAL)
        return tr_fail_service(err, e, 400, "ValidationException",
                               "OrderBy of target %s is not a path such as $.detail.key.pk.", t->id);
    return e;
}

static int make_target(tr_bus *bus, const tr_rule *rule, tr_view doc, tr_arena *arena, tr_target **ret_target,
                       tr_error *err)
{
    tr_target *t = new_target(bus, rule->matched.res->name, tr_doc_text(doc, "Id", arena));
    if (!t)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    tr_view policy = tr_doc_raw(doc, "RetryPolicy");
    int64_t age_s = tr_doc_int(policy, "MaximumEventAgeInSeconds", 0);
    t->retries = (uint32_t)tr_doc_int(policy, "MaximumRetryAttempts", t->retries);
    if (age_s)
        t->age_ms = age_s * 1000;
    t->doc = tr__bus_copy(doc);
    t->rule_arn = tr_strdup(rule->arn);
    bool ok = t->doc && t->rule_arn && copy_text(doc, "Arn", arena, &t->arn) && t->arn &&
              copy_text(doc, "Input", arena, &t->input) && copy_text(doc, "InputPath", arena, &t->path) &&
              copy_text(tr_doc_raw(doc, "DeadLetterConfig"), "Arn", arena, &t->dead_letters);
    int e = ok ? tr__bus_input_compile(t, doc, err) : tr_fail(err, TR_ENOMEM, "out of memory");
    if (e == 0) {
        set_kind(bus, t);
        e = read_delivery(t, tr_doc_raw(doc, "Delivery"), arena, err);
    }
    if (e) {
        free_target(t);
        return e;
    }
    *ret_target = t;
    return 0;
}

static tr_target *reuse(const tr_res *old, tr_view doc)
{
    const tr_rule *rule = old ? old->state : NULL;
    for (size_t i = 0; rule && i < rule->target_count; i++)
        if (tr_view_is(doc, rule->targets[i]->doc)) {
            rule->targets[i]->refs++;
            return rule->targets[i];
        }
    return NULL;
}

static int make_targets(tr_bus *bus, tr_rule *rule, const tr_res *old, tr_arena *arena, tr_error *err)
{
    tr_view *docs;
    size_t count;
    int e = tr_doc_elements(tr_doc_raw(rule->matched.res->doc, "Targets"), arena, &docs, &count);
    if (e || !count)
        return e ? tr_fail(err, e, "a rule's targets cannot be read") : 0;
    rule->targets = tr_calloc(count, sizeof(tr_target *));
    if (!rule->targets)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    for (size_t i = 0; e == 0 && i < count; i++) {
        tr_target *target = reuse(old, docs[i]);
        if (!target)
            e = make_target(bus, rule, docs[i], arena, &target, err);
        if (e == 0)
            rule->targets[rule->target_count++] = target;
    }
    return e;
}

tr_target *tr__bus_target_find(tr_bus *bus, char kind, tr_view owner, tr_view id)
{
    if (kind == 'f')
        return tr__bus_send_failures(bus, owner);
    tr_res *res = tr_bus_find(bus, kind == 'a' ? TR_RES_ARCHIVE : TR_RES_RULE, owner);
    if (res && kind == 'a')
        return ((tr_archive *)res->state)->target;
    const tr_rule *rule = res ? res->state : NULL;
    for (size_t i = 0; rule && i < rule->target_count; i++)
        if (tr_view_is(id, rule->targets[i]->id))
            return rule->targets[i];
    return NULL;
}

/* ------------------------------------------------------------------------------------------------- rules */

static void free_rule(tr_rule *rule)
{
    for (size_t i = 0; i < rule->target_count; i++)
        tr__bus_target_unref(rule->targets[i]);
    tr_free(rule->targets);
    tr_pattern_free(rule->pattern);
    tr_free(rule->arn);
    tr_free(rule);
}

static tr_event_bus *bus_of_rule(tr_bus *bus, tr_view name)
{
    size_t bar = tr_view_find(name, TR_VIEW("|"), 0);
    tr_res *res = bar == SIZE_MAX ? NULL : tr_bus_find(bus, TR_RES_BUS, tr_view_of(name.ptr, bar));
    return res ? res->state : NULL;
}

static int new_rule(tr_bus *bus, tr_res *res, const tr_res *old, tr_arena *arena, void **ret_state,
                    tr_error *err)
{
    tr_rule *rule = tr_calloc(1, sizeof *rule);
    int e = rule ? 0 : tr_fail(err, TR_ENOMEM, "out of memory");
    if (e)
        return e;
    rule->matched = (tr_matched){TR_RES_RULE, res};
    rule->bus = bus_of_rule(bus, res->name);
    tr_view pattern = tr_doc_text(res->doc, "EventPattern", arena);
    if (!rule->bus)
        e = tr_fail(err, TR_ECORRUPT, "rule %.*s has no bus", TR_FMT(res->name));
    if (e == 0 && pattern.ptr)
        e = tr_pattern_compile(pattern, NULL, &rule->pattern, err);
    if (e == 0 && (!copy_text(res->doc, "Arn", arena, &rule->arn) || !rule->arn))
        e = tr_fail(err, TR_ENOMEM, "out of memory");
    if (e == 0)
        e = make_targets(bus, rule, old, arena, err);
    if (e)
        free_rule(rule);
    else
        *ret_state = rule;
    return e;
}

/* ---------------------------------------------------------------------------------------- archives, buses */

static void free_archive(tr_archive *archive)
{
    tr__archive_close(archive);
    tr__bus_target_unref(archive->target);
    tr_pattern_free(archive->pattern);
    tr_free(archive);
}

static int new_archive(tr_bus *bus, tr_res *res, const tr_res *old, tr_arena *arena, void **ret_state,
                       tr_error *err)
{
    tr_archive *archive = tr_calloc(1, sizeof *archive), *before = old ? old->state : NULL;
    if (!archive)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    archive->matched = (tr_matched){TR_RES_ARCHIVE, res};
    tr_view pattern = tr_doc_text(res->doc, "EventPattern", arena);
    tr_res *of =
        tr_bus_find(bus, TR_RES_BUS,
                    tr__arn_name(tr_doc_text(res->doc, "EventSourceArn", arena), "events", "event-bus/"));
    archive->bus = of ? of->state : NULL;
    int e = tr_pattern_compile(pattern.len ? pattern : TR_VIEW(no_replays), NULL, &archive->pattern, err);
    if (e == 0 && before) {
        archive->target = before->target;
        archive->target->refs++;
    } else if (e == 0 && (archive->target = new_target(bus, res->name, (tr_view){NULL, 0})) != NULL) {
        archive->target->kind = TR_TARGET_ARCHIVE;
    } else if (e == 0) {
        e = tr_fail(err, TR_ENOMEM, "out of memory");
    }
    if (e == 0 && before) { /* the open database goes over */
        archive->file = before->file;
        before->file = NULL;
    } else if (e == 0) {
        e = tr__archive_open(bus, res, archive, err);
    }
    if (e)
        free_archive(archive);
    else
        *ret_state = archive;
    return e;
}

static int new_bus(void **ret_state, tr_error *err)
{
    tr_event_bus *state = tr_calloc(1, sizeof *state);
    if (state && tr_matcher_new(NULL, &state->matcher) == 0) {
        *ret_state = state;
        return 0;
    }
    tr_free(state);
    return tr_fail(err, TR_ENOMEM, "out of memory");
}

int tr__bus_state_new(tr_bus *bus, tr_res *res, const tr_res *old, void **ret_state, tr_error *err)
{
    tr_arena arena;
    int e = 0;
    tr_arena_init(&arena, DOC_ARENA_MAX);
    if (res->kind == TR_RES_BUS)
        e = new_bus(ret_state, err);
    else if (res->kind == TR_RES_RULE)
        e = new_rule(bus, res, old, &arena, ret_state, err);
    else if (res->kind == TR_RES_ARCHIVE)
        e = new_archive(bus, res, old, &arena, ret_state, err);
    else if (res->kind == TR_RES_QUEUE)
        e = tr__queue_new(bus, res, old, ret_state, err);
    tr_arena_done(&arena);
    return e;
}

void tr__bus_state_free(tr_bus *bus, tr_res_kind kind, void *state)
{
    (void)bus;
    if (!state)
        return;
    if (kind == TR_RES_BUS) {
        tr_matcher_free(((tr_event_bus *)state)->matcher);
        tr_free(state);
    } else if (kind == TR_RES_RULE) {
        free_rule(state);
    } else if (kind == TR_RES_ARCHIVE) {
        free_archive(state);
    } else if (kind == TR_RES_QUEUE) {
        tr__queue_free(state);
    }
}

/* ---------------------------------------------------------------------------------------------- matching */

static bool disabled(const tr_res *rule)
{
    tr_view state = tr_doc_raw(rule->doc, "State");
    return tr_view_is(state, "\"DISABLED\"");
}

static tr_event_bus *matcher_of(const tr_res *res, const tr_pattern **ret_pattern)
{
    if (res->kind == TR_RES_RULE && res->state) {
        const tr_rule *rule = res->state;
        *ret_pattern = rule->pattern;
        return rule->bus;
    }
    if (res->kind == TR_RES_ARCHIVE && res->state) {
        const tr_archive *archive = res->state;
        *ret_pattern = archive->pattern;
        return archive->bus;
    }
    return NULL;
}

int tr__bus_state_attach(tr_bus *bus, tr_res *res, tr_error *err)
{
    const tr_pattern *pattern = NULL;
    tr_event_bus *of = matcher_of(res, &pattern);
    (void)bus;
    if (!of || !pattern || (res->kind == TR_RES_RULE && disabled(res)))
        return 0;
    int e = tr_matcher_add(of->matcher, (uint64_t)(uintptr_t)res->state, pattern);
    of->changed = true;
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : 0;
}

void tr__bus_state_detach(tr_bus *bus, tr_res *res)
{
    const tr_pattern *pattern = NULL;
    tr_event_bus *of = matcher_of(res, &pattern);
    (void)bus;
    if (!of)
        return;
    (void)tr_matcher_remove(of->matcher,
                            (uint64_t)(uintptr_t)res->state); /* one that is disabled is not there */
    of->changed = true;
}
