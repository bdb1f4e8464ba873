/* SPDX-License-Identifier: MIT */
#include "cli/project/apply.h"

#include <tailrace/json.h>

#define TEXT_MAX    ((size_t)4 << 20)
#define PROJECT_TAG "tailrace:project"

typedef struct apply {
    const tr_project *p;
    tr_client *client;
    tr_logger logger;
    tr_error *err;
    tr_buf body, answer;
    tr_json_writer w;
} apply;

const char *tr_project_region(const tr_project *p)
{
    return p->region ? p->region : "us-east-1";
}

static const char *project_name(const tr_project *p)
{
    return p->name ? p->name : "project";
}

/* ------------------------------------------------------------------------------------------------ calls */

/* A new request body, begun. */
static tr_json_writer *body(apply *a)
{
    tr_buf_reset(&a->body);
    tr_json_write_init(&a->w, &a->body);
    tr_json_begin_object(&a->w);
    return &a->w;
}

static int call(apply *a, tr_service service, const char *operation)
{
    tr_json_end_object(&a->w);
    const tr_request request = {.service = service, .operation = operation, .body = tr_buf_view(&a->body)};
    tr_buf_reset(&a->answer);
    int e = tr_buf_status(&a->body);
    return e ? tr_fail(a->err, e, "%s", tr_strerror(e))
             : tr_client_call_wait(a->client, &request, &a->answer, a->err);
}

static bool told(const apply *a, int code, const char *type)
{
    return code && strcmp(a->err->type, type) == 0;
}

static void text(apply *a, const char *name, const char *value)
{
    if (value)
        tr_json_member_cstring(&a->w, name, value);
}

static void arn(apply *a, const char *name, const char *service, const char *kind, const char *of)
{
    tr_json_name(&a->w, name);
    tr_json_sep(&a->w);
    tr_buf_printf(&a->body, "\"arn:aws:%s:%s:%s:%s%s\"", service, tr_project_region(a->p), TR_PROJECT_ACCOUNT,
                  kind, of);
}

/* ----------------------------------------------------------------------------------------------- tables */

static void put_stream(apply *a, const char *view)
{
    tr_json_name(&a->w, "StreamSpecification");
    tr_json_begin_object(&a->w);
    tr_json_member_bool(&a->w, "StreamEnabled", true);
    tr_json_member_cstring(&a->w, "StreamViewType", view);
    tr_json_end_object(&a->w);
}

/* The members of an object, into the body. */
static void put_members(apply *a, const char *object)
{
    size_t len = strlen(object);
    if (len <= 2)
        return;
    tr_json_sep(&a->w);
    tr_buf_put(&a->body, object + 1, len - 2);
}

static void put_tags(apply *a, const tr_project_pair *tags)
{
    tr_json_name(&a->w, "Tags");
    tr_json_begin_array(&a->w);
    for (; tags; tags = tags->next) {
        tr_json_begin_object(&a->w);
        tr_json_member_cstring(&a->w, "Key", tags->name);
        tr_json_member_cstring(&a->w, "Value", tags->value);
        tr_json_end_object(&a->w);
    }
    tr_json_end_array(&a->w);
}

static int make_table(apply *a, const tr_project_table *t)
{
    (void)body(a);
    text(a, "TableName", t->name);
    put_members(a, t->members);
    text(a, "BillingMode", "PAY_PER_REQUEST");
    if (t->stream)
        put_stream(a, t->stream);
    if (t->tags)
        put_tags(a, t->tags);
    int e = call(a, TR_DYNAMODB, "CreateTable");
    if (!told(a, e, "ResourceInUseException")) {
        if (!e)
            tr_log(&a->logger, TR_LOG_INFO, "table %s is made", t->name);
        return e;
    }
    if (!t->stream)
        return 0;
    (void)body(a);
    text(a, "TableName", t->name);
    e = call(a, TR_DYNAMODB, "DescribeTable");
    if (e || tr_view_find(tr_buf_view(&a->answer), TR_VIEW("\"StreamEnabled\":true"), 0) != SIZE_MAX)
        return e;
    (void)body(a);
    text(a, "TableName", t->name);
    put_stream(a, t->stream);
    return call(a, TR_DYNAMODB, "UpdateTable");
}

static int set_ttl(apply *a, const tr_project_table *t)
{
    if (!t->ttl)
        return 0;
    (void)body(a);
    text(a, "TableName", t->name);
    tr_json_name(&a->w, "TimeToLiveSpecification");
    tr_json_begin_object(&a->w);
    tr_json_member_bool(&a->w, "Enabled", true);
    text(a, "AttributeName", t->ttl);
    tr_json_end_object(&a->w);
    int e = call(a, TR_DYNAMODB, "UpdateTimeToLive");
    return told(a, e, "ValidationException") ? 0 : e; /* it is on already */
}

/* ------------------------------------------------------------------------------- buses, queues, archives */

static int make_bus(apply *a, const char *name)
{
    if (strcmp(name, "default") == 0)
        return 0;
    (void)body(a);
    text(a, "Name", name);
    int e = call(a, TR_EVENTS, "CreateEventBus");
    return told(a, e, "ResourceAlreadyExistsException") ? 0 : e;
}

static int make_queue(apply *a, const char *name)
{
    (void)body(a);
    text(a, "QueueName", name);
    return call(a, TR_SQS, "CreateQueue");
}

static int put_archive(apply *a, const tr_project_archive *archive, bool again)
{
    (void)body(a);
    text(a, "ArchiveName", archive->name);
    if (!again)
        arn(a, "EventSourceArn", "events", "event-bus/", archive->bus);
    text(a, "EventPattern", archive->pattern);
    text(a, "Description", archive->description);
    tr_json_member_i64(&a->w, "RetentionDays", archive->retention_days);
    return call(a, TR_EVENTS, again ? "UpdateArchive" : "CreateArchive");
}

static int make_archive(apply *a, const tr_project_archive *archive)
{
    int e = put_archive(a, archive, false);
    return told(a, e, "ResourceAlreadyExistsException") ? put_archive(a, archive, true) : e;
}

/* ------------------------------------------------------------------------------------------------ rules */

static int put_rule(apply *a, const tr_project_rule *rule)
{
    const tr_project_pair tag = {.name = PROJECT_TAG, .value = project_name(a->p)};
    (void)body(a);
    text(a, "Name", rule->name);
    text(a, "EventBusName", rule->bus);
    text(a, "EventPattern", rule->pattern);
    text(a, "Description", rule->description);
    text(a, "State", rule->disabled ? "DISABLED" : "ENABLED");
    put_tags(a, &tag);
    return call(a, TR_EVENTS, "PutRule");
}

static void put_delivery(apply *a, const tr_project_target *t)
{
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"Concurrency", t->concurrency},
                   {"RatePerSecond", t->rate},
                   {"RetryDelayMs", t->retry_delay_ms},
                   {"RetryMaxDelayMs", t->retry_max_delay_ms}};
    tr_json_name(&a->w, "Delivery");
    tr_json_begin_object(&a->w);
    for (size_t i = 0; i < TR_COUNT(numbers); i++)
        if (numbers[i].value)
            tr_json_member_i64(&a->w, numbers[i].name, numbers[i].value);
    text(a, "OrderBy", t->order_by);
    tr_json_end_object(&a->w);
}

static void put_target(apply *a, const tr_project_target *t)
{
    static const char *const places[][2] = {[TR_TO_FUNCTION] = {"lambda", "function:"},
                                            [TR_TO_QUEUE] = {"sqs", ""},
                                            [TR_TO_TABLE] = {"dynamodb", "table/"},
                                            [TR_TO_BUS] = {"events", "event-bus/"}};
    tr_json_begin_object(&a->w);
    text(a, "Id", t->id);
    if (t->kind == TR_TO_URL)
        text(a, "Arn", t->to);
    else
        arn(a, "Arn", places[t->kind][0], places[t->kind][1], t->to);
    text(a, "Input", t->input);
    text(a, "InputPath", t->input_path);
    if (t->transformer) {
        tr_json_name(&a->w, "InputTransformer");
        tr_json_value(&a->w, tr_view_str(t->transformer));
    }
    if (t->dead_letters) {
        tr_json_name(&a->w, "DeadLetterConfig");
        tr_json_begin_object(&a->w);
        arn(a, "Arn", "sqs", "", t->dead_letters);
        tr_json_end_object(&a->w);
    }
    if (t->retries >= 0 || t->age_ms) {
        tr_json_name(&a->w, "RetryPolicy");
        tr_json_begin_object(&a->w);
        if (t->retries >= 0)
            tr_json_member_i64(&a->w, "MaximumRetryAttempts", t->retries);
        if (t->age_ms)
            tr_json_member_i64(&a->w, "MaximumEventAgeInSeconds", t->age_ms / 1000);
        tr_json_end_object(&a->w);
    }
    put_delivery(a, t);
    tr_json_end_object(&a->w);
}

/* Texts of an array member of the last answer, or members `key` of the objects in it; on the arena. */
static int list_of(apply *a, const char *member, const char *key, tr_arena *arena, tr_view *out, size_t max,
                   size_t *ret_count)
{
    tr_json_reader r;
    tr_view list, raw, value;
    size_t count = 0;
    if (tr_json_member(tr_buf_view(&a->answer), member, arena, &list) == TR_ENOTFOUND) {
        *ret_count = 0;
        return 0;
    }
    tr_json_init(&r, list, arena);
    if (tr_json_next(&r) != TR_JSON_ARRAY)
        return tr_fail(a->err, TR_EPARSE, "the answer has no list %s", member);
    while (count < max && tr_json_next(&r) == TR_JSON_OBJECT) {
        tr_json_reader inner;
        if (tr_json_raw(&r, &raw) || tr_json_member(raw, key, arena, &value))
            return tr_fail(a->err, TR_EPARSE, "an element of %s has no %s", member, key);
        tr_json_init(&inner, value, arena);
        if (tr_json_next(&inner) == TR_JSON_STRING)
            out[count++] = tr_arena_copy(arena, inner.text);
    }
    *ret_count = count;
    return 0;
}

#define TARGETS_MAX 100

static int remove_targets(apply *a, const char *rule, const char *bus, const tr_view *ids, size_t count)
{
    if (!count)
        return 0;
    (void)body(a);
    text(a, "Rule", rule);
    text(a, "EventBusName", bus);
    tr_json_name(&a->w, "Ids");
    tr_json_begin_array(&a->w);
    for (size_t i = 0; i < count; i++)
        tr_json_string(&a->w, ids[i]);
    tr_json_end_array(&a->w);
    return call(a, TR_EVENTS, "RemoveTargets");
}

/* Ids of the rule's targets that `rule` does not have (NULL: all). */
static int stale_targets(apply *a, const char *name, const char *bus, const tr_project_rule *rule,
                         tr_arena *arena, tr_view *out, size_t *ret_count)
{
    size_t count = 0, kept = 0;
    (void)body(a);
    text(a, "Rule", name);
    text(a, "EventBusName", bus);
    int e = call(a, TR_EVENTS, "ListTargetsByRule");
    if (!e)
        e = list_of(a, "Targets", "Id", arena, out, TARGETS_MAX, &count);
    for (size_t i = 0; !e && i < count; i++) {
        bool wanted = false;
        for (const tr_project_target *t = rule ? rule->targets : NULL; t; t = t->next)
            wanted |= tr_view_is(out[i], t->id);
        if (!wanted)
            out[kept++] = out[i];
    }
    *ret_count = kept;
    return e;
}

static int put_targets(apply *a, const tr_project_rule *rule)
{
    tr_view old[TARGETS_MAX];
    size_t count;
    tr_arena arena;
    tr_arena_init(&arena, TEXT_MAX);
    int e = stale_targets(a, rule->name, rule->bus, rule, &arena, old, &count);
    if (!e)
        e = remove_targets(a, rule->name, rule->bus, old, count);
    tr_arena_done(&arena);
    if (e)
        return e;
    (void)body(a);
    text(a, "Rule", rule->name);
    text(a, "EventBusName", rule->bus);
    tr_json_name(&a->w, "Targets");
    tr_json_begin_array(&a->w);
    for (const tr_project_target *t = rule->targets; t; t = t->next)
        put_target(a, t);
    tr_json_end_array(&a->w);
    return call(a, TR_EVENTS, "PutTargets");
}

static bool has_rule(const tr_project *p, const char *bus, tr_view name)
{
    for (const tr_project_rule *r = p->rules; r; r = r->next)
        if (strcmp(r->bus, bus) == 0 && tr_view_is(name, r->name))
            return true;
    return false;
}

/* Whether an earlier run of this project made the rule. */
static int is_ours(apply *a, tr_view rule_arn, bool *ret_ours)
{
    tr_buf tag;
    (void)body(a);
    tr_json_member_string(&a->w, "ResourceARN", rule_arn);
    int e = call(a, TR_EVENTS, "ListTagsForResource");
    tr_buf_init(&tag, 4096);
    tr_buf_printf(&tag, "{\"Key\":\"" PROJECT_TAG "\",\"Value\":\"%s\"}", project_name(a->p));
    *ret_ours = !e && tr_view_find(tr_buf_view(&a->answer), tr_buf_view(&tag), 0) != SIZE_MAX;
    tr_buf_done(&tag);
    return e;
}

static int delete_rule(apply *a, const char *bus, tr_view name, tr_arena *arena)
{
    tr_view old[TARGETS_MAX];
    size_t count;
    const char *rule = tr_arena_str(arena, name);
    int e = rule ? stale_targets(a, rule, bus, NULL, arena, old, &count)
                 : tr_fail(a->err, TR_ENOMEM, "out of memory");
    if (!e)
        e = remove_targets(a, rule, bus, old, count);
    if (e)
        return e;
    (void)body(a);
    text(a, "Name", rule);
    text(a, "EventBusName", bus);
    e = call(a, TR_EVENTS, "DeleteRule");
    if (!e)
        tr_log(&a->logger, TR_LOG_INFO, "rule %s is gone", rule);
    return e;
}

#define RULES_MAX 100 /* of a bus that are looked at: a page */

static int drop_stale_rules(apply *a, const char *bus)
{
    tr_view names[RULES_MAX], arns[RULES_MAX];
    size_t count = 0, other = 0;
    bool ours;
    tr_arena arena;
    tr_arena_init(&arena, TEXT_MAX);
    (void)body(a);
    text(a, "EventBusName", bus);
    int e = call(a, TR_EVENTS, "ListRules");
    if (!e)
        e = list_of(a, "Rules", "Name", &arena, names, RULES_MAX, &count);
    if (!e)
        e = list_of(a, "Rules", "Arn", &arena, arns, RULES_MAX, &other);
    for (size_t i = 0; !e && i < count && i < other; i++) {
        if (has_rule(a->p, bus, names[i]))
            continue;
        e = is_ours(a, arns[i], &ours);
        if (!e && ours)
            e = delete_rule(a, bus, names[i], &arena);
    }
    tr_arena_done(&arena);
    return e;
}

static int make_all(apply *a)
{
    const tr_project *p = a->p;
    int e = 0;
    for (const tr_project_table *t = p->tables; !e && t; t = t->next) {
        e = make_table(a, t);
        if (!e)
            e = set_ttl(a, t);
    }
    for (const tr_project_text *b = p->buses; !e && b; b = b->next)
        e = make_bus(a, b->text);
    for (const tr_project_text *q = p->queues; !e && q; q = q->next)
        e = make_queue(a, q->text);
    for (const tr_project_archive *x = p->archives; !e && x; x = x->next)
        e = make_archive(a, x);
    for (const tr_project_rule *r = p->rules; !e && r; r = r->next) {
        e = put_rule(a, r);
        if (!e)
            e = put_targets(a, r);
    }
    if (!e)
        e = drop_stale_rules(a, "default");
    for (const tr_project_text *b = p->buses; !e && b; b = b->next)
        if (strcmp(b->text, "default") != 0)
            e = drop_stale_rules(a, b->text);
    return e;
}

int tr_project_apply(const tr_project *project, tr_client *client, tr_logger logger, tr_error *err)
{
    apply a = {.p = project, .client = client, .logger = logger, .err = err};
    tr_buf_init(&a.body, TEXT_MAX);
    tr_buf_init(&a.answer, TEXT_MAX);
    int e = make_all(&a);
    tr_buf_done(&a.body);
    tr_buf_done(&a.answer);
    return e;
}
