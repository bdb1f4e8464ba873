/* SPDX-License-Identifier: MIT */
/* tailrace.yaml: docs/config.md describes it, key for key. */
#include "cli/project/reader.h"

#include <tailrace/log.h>
#include <tailrace/mapping.h>

#include <stdlib.h>

#define KEYS(...)                                                                                            \
    (const char *const[])                                                                                    \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }

/* ${stage}, ${env:NAME}, ${env:NAME, otherwise} */
static const char *variable(void *ctx, tr_view name, int line, tr_error *err)
{
    tr_project_reader *r = ctx;
    if (tr_view_is(name, "stage"))
        return r->p->stage;
    if (tr_view_starts(name, TR_VIEW("env:"))) {
        const char *text = tr_arena_str(&r->p->arena, tr_view_of(name.ptr + 4, name.len - 4));
        char *comma = text ? strchr(text, ',') : NULL;
        if (comma)
            *comma++ = 0;
        while (comma && *comma == ' ')
            comma++;
        const char *value = text ? getenv(text) : NULL;
        if (value || comma)
            return value ? value : comma;
        (void)tr_fail(err, TR_EINVAL, "%s:%d: there is no %s in the environment", r->p->path, line,
                      text ? text : "");
        return NULL;
    }
    (void)tr_fail(err, TR_EINVAL, "%s:%d: ${%.*s} is neither ${stage} nor ${env:NAME}", r->p->path, line,
                  TR_FMT(name));
    return NULL;
}

/* Calls `one` for each member of a mapping of named things. */
static void each(tr_project_reader *r, yaml_node_t *root, const char *key,
                 void (*one)(tr_project_reader *r, const char *name, yaml_node_t *node))
{
    const char *name;
    yaml_node_t *value, *map = tr__rd_get(r, root, key);
    if (map && map->type != YAML_MAPPING_NODE)
        tr__rd_fail(r, map, "%s: a mapping (NAME: …) is needed here", key);
    for (size_t i = 0; !r->code && tr_yaml_at(&r->y, map, i, &name, &value); i++) {
        const char *expanded = NULL;
        r->code = tr_yaml_expand(&r->y, tr__rd_printf(r, "%s", name ? name : ""), tr_yaml_line(value),
                                 &expanded, r->err);
        if (!r->code)
            one(r, expanded, value);
    }
}

/* ------------------------------------------------------------------------------------------------ tables */

typedef struct attribute {
    const char *name, *type;
} attribute;

#define ATTRIBUTES_MAX 64

typedef struct attributes {
    attribute all[ATTRIBUTES_MAX];
    size_t count;
} attributes;

static void note(tr_project_reader *r, attributes *a, yaml_node_t *node, const char *name, const char *type)
{
    if (strcmp(type, "S") != 0 && strcmp(type, "N") != 0 && strcmp(type, "B") != 0)
        tr__rd_fail(r, node, "a key attribute is S, N or B, not '%s'", type);
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->all[i].name, name) == 0)
            return;
    if (a->count == ATTRIBUTES_MAX)
        tr__rd_fail(r, node, "too many key attributes");
    else
        a->all[a->count++] = (attribute){name, type};
}

/* key: {pk: S, sk: N}, the partition key first */
static void write_key(tr_project_reader *r, yaml_node_t *key, attributes *a, tr_json_writer *w)
{
    const char *name;
    yaml_node_t *value;
    size_t i = 0;
    tr_json_name(w, "KeySchema");
    tr_json_begin_array(w);
    for (; !r->code && tr_yaml_at(&r->y, key, i, &name, &value); i++) {
        const char *type = tr__rd_scalar(r, value);
        if (!type || !name)
            break;
        name = tr__rd_printf(r, "%s", name);
        note(r, a, value, name, type);
        tr_json_begin_object(w);
        tr_json_member_cstring(w, "AttributeName", name);
        tr_json_member_cstring(w, "KeyType", i ? "RANGE" : "HASH");
        tr_json_end_object(w);
    }
    tr_json_end_array(w);
    if (i < 1 || i > 2)
        tr__rd_fail(r, key, "a key is one or two attributes: {pk: S} or {pk: S, sk: N}");
}

static void write_projection(tr_project_reader *r, yaml_node_t *index, tr_json_writer *w)
{
    yaml_node_t *node = tr__rd_get(r, index, "projection");
    tr_json_name(w, "Projection");
    tr_json_begin_object(w);
    if (node && node->type == YAML_SEQUENCE_NODE) {
        const char *names = tr__rd_json(r, index, "projection");
        tr_json_member_cstring(w, "ProjectionType", "INCLUDE");
        tr_json_name(w, "NonKeyAttributes");
        tr_json_value(w, tr_view_str(names ? names : "[]"));
    } else {
        const char *text = node ? tr__rd_scalar(r, node) : "all";
        if (text && strcmp(text, "all") != 0 && strcmp(text, "keys") != 0)
            tr__rd_fail(r, node, "a projection is all, keys or a list of attributes, not '%s'", text);
        tr_json_member_cstring(w, "ProjectionType", text && text[0] == 'k' ? "KEYS_ONLY" : "ALL");
    }
    tr_json_end_object(w);
}

static void write_indexes(tr_project_reader *r, yaml_node_t *map, bool local, attributes *a,
                          tr_json_writer *w)
{
    const char *name;
    yaml_node_t *value;
    bool any = false;
    for (size_t i = 0; !r->code && tr_yaml_at(&r->y, map, i, &name, &value); i++) {
        tr__rd_check(r, value, "index", KEYS("key", "projection", "local"));
        if (tr__rd_bool(r, value, "local", false) != local)
            continue;
        if (!any) {
            tr_json_name(w, local ? "LocalSecondaryIndexes" : "GlobalSecondaryIndexes");
            tr_json_begin_array(w);
        }
        any = true;
        tr_json_begin_object(w);
        tr_json_member_cstring(w, "IndexName", name ? name : "");
        write_key(r, tr__rd_get(r, value, "key"), a, w);
        write_projection(r, value, w);
        tr_json_end_object(w);
    }
    if (any)
        tr_json_end_array(w);
}

static const char *members_of(tr_project_reader *r, yaml_node_t *table)
{
    tr_buf out;
    tr_json_writer w;
    attributes a = {.count = 0};
    tr_buf_init(&out, 1 << 20);
    tr_json_write_init(&w, &out);
    tr_json_begin_object(&w);
    write_key(r, tr__rd_get(r, table, "key"), &a, &w);
    write_indexes(r, tr__rd_get(r, table, "indexes"), false, &a, &w);
    write_indexes(r, tr__rd_get(r, table, "indexes"), true, &a, &w);
    tr_json_name(&w, "AttributeDefinitions");
    tr_json_begin_array(&w);
    for (size_t i = 0; i < a.count; i++) {
        tr_json_begin_object(&w);
        tr_json_member_cstring(&w, "AttributeName", a.all[i].name);
        tr_json_member_cstring(&w, "AttributeType", a.all[i].type);
        tr_json_end_object(&w);
    }
    tr_json_end_array(&w);
    tr_json_end_object(&w);
    char *copy = r->code || tr_buf_status(&out) ? NULL : tr_arena_str(&r->p->arena, tr_buf_view(&out));
    tr_buf_done(&out);
    if (!copy && !r->code)
        r->code = tr_fail(r->err, TR_ENOMEM, "out of memory");
    return copy;
}

/* "new-and-old-images" as the service names it */
static const char *stream_view(tr_project_reader *r, yaml_node_t *table)
{
    static const char *const views[][2] = {{"new-and-old-images", "NEW_AND_OLD_IMAGES"},
                                           {"new-image", "NEW_IMAGE"},
                                           {"old-image", "OLD_IMAGE"},
                                           {"keys-only", "KEYS_ONLY"},
                                           {"none", NULL}};
    const char *text = tr__rd_text(r, table, "stream");
    for (size_t i = 0; text && i < TR_COUNT(views); i++)
        if (strcmp(text, views[i][0]) == 0)
            return views[i][1];
    if (text)
        tr__rd_fail(r, tr__rd_get(r, table, "stream"),
                    "stream is new-and-old-images, new-image, old-image, keys-only or none, not '%s'", text);
    return NULL;
}

static void read_table(tr_project_reader *r, const char *name, yaml_node_t *node)
{
    tr_project_table *t = tr__rd_new(r, sizeof *t);
    tr__rd_check(r, node, tr__rd_printf(r, "table %s", name),
                 KEYS("layout", "key", "indexes", "stream", "ttl", "tags", "protected"));
    const char *layout = tr__rd_text(r, node, "layout");
    t->name = name;
    if (layout && strcmp(layout, "log") == 0) {
        t->members =
            "{\"KeySchema\":[{\"AttributeName\":\"" TR_LOG_PK
            "\",\"KeyType\":\"HASH\"},{\"AttributeName\":\"" TR_LOG_SK
            "\",\"KeyType\":\"RANGE\"}],\"AttributeDefinitions\":[{\"AttributeName\":\"" TR_LOG_PK
            "\",\"AttributeType\":\"S\"},{\"AttributeName\":\"" TR_LOG_SK "\",\"AttributeType\":\"N\"}]}";
        t->ttl = TR_LOG_TTL;
        t->stream = "NEW_AND_OLD_IMAGES";
        t->guarded = true;
    } else if (layout) {
        tr__rd_fail(r, tr__rd_get(r, node, "layout"), "the only layout is log, not '%s'", layout);
    } else {
        t->members = members_of(r, node);
        t->ttl = tr__rd_text(r, node, "ttl");
        t->stream = stream_view(r, node);
        t->guarded = tr__rd_bool(r, node, "protected", false);
    }
    t->tags = tr__rd_pairs(r, tr__rd_get(r, node, "tags"));
    if (!r->code)
        TR_RD_APPEND(r->p->tables, t);
}

/* --------------------------------------------------------------------------------- archives, functions */

static void read_archive(tr_project_reader *r, const char *name, yaml_node_t *node)
{
    tr_project_archive *a = tr__rd_new(r, sizeof *a);
    tr__rd_check(r, node, tr__rd_printf(r, "archive %s", name),
                 KEYS("bus", "pattern", "retention-days", "description", "path"));
    a->name = name;
    a->bus = tr__rd_text(r, node, "bus");
    a->pattern = tr__rd_pattern(r, node, "pattern", tr__rd_printf(r, "archive %s", name));
    a->description = tr__rd_text(r, node, "description");
    a->path = tr__rd_text(r, node, "path");
    a->retention_days = tr__rd_int(r, node, "retention-days", 0, 100000, 0);
    if (!a->bus)
        a->bus = "default";
    if (!r->code)
        TR_RD_APPEND(r->p->archives, a);
}

static const char *function_target(tr_project_reader *r, const char *name, yaml_node_t *node)
{
    static const char *const kinds[][2] = {{"handler", "handler:"},     {"exec", "exec:"},
                                           {"exec-each", "exec-each:"}, {"url", ""},
                                           {"file", "file:"},           {"stdout", "stdout:"}};
    const char *target = NULL;
    for (size_t i = 0; i < TR_COUNT(kinds); i++) {
        const char *text = tr__rd_text(r, node, kinds[i][0]);
        bool line = strcmp(kinds[i][0], "stdout") == 0;
        if (text && target)
            tr__rd_fail(r, node,
                        "function %s: one of handler, exec, exec-each, url, file and stdout, not several",
                        name);
        if (text)
            target = tr__rd_printf(r, "%s%s", kinds[i][1], line ? "" : text);
    }
    if (!target)
        tr__rd_fail(r, node, "function %s: one of handler, exec, exec-each, url, file and stdout is needed",
                    name);
    return target;
}

static void read_function(tr_project_reader *r, const char *name, yaml_node_t *node)
{
    tr_project_function *f = tr__rd_new(r, sizeof *f);
    tr__rd_check(r, node, tr__rd_printf(r, "function %s", name),
                 KEYS("handler", "exec", "exec-each", "url", "file", "stdout", "directory", "environment",
                      "concurrency", "timeout", "on-failure", "runtime"));
    f->name = name;
    f->target = function_target(r, name, node);
    f->directory = tr__rd_text(r, node, "directory");
    f->on_failure = tr__rd_text(r, node, "on-failure");
    f->runtime = tr__rd_text(r, node, "runtime");
    f->environment = tr__rd_pairs(r, tr__rd_get(r, node, "environment"));
    f->concurrency = (unsigned)tr__rd_int(r, node, "concurrency", 1, 1000, 0);
    f->timeout_ms = tr__rd_duration(r, node, "timeout", 0);
    if (!r->code)
        TR_RD_APPEND(r->p->functions, f);
}

/* ------------------------------------------------------------------------------------------------- rules */

static void read_place(tr_project_reader *r, tr_project_target *t, yaml_node_t *node)
{
    static const struct {
        const char *key;
        tr_project_kind kind;
    } kinds[] = {{"function", TR_TO_FUNCTION},
                 {"queue", TR_TO_QUEUE},
                 {"table", TR_TO_TABLE},
                 {"bus", TR_TO_BUS},
                 {"url", TR_TO_URL}};
    for (size_t i = 0; i < TR_COUNT(kinds); i++) {
        const char *to = tr__rd_text(r, node, kinds[i].key);
        if (to && t->to)
            tr__rd_fail(r, node, "a target is one of function, queue, table, bus and url, not several");
        if (to) {
            t->to = to;
            t->kind = kinds[i].kind;
        }
    }
    if (!t->to)
        tr__rd_fail(r, node, "a target needs one of function, queue, table, bus and url");
}

/* transform: {paths: {name: $.path}, template: "…"} as InputTransformer */
static const char *read_transform(tr_project_reader *r, yaml_node_t *target)
{
    yaml_node_t *node = tr__rd_get(r, target, "transform");
    tr_buf out;
    tr_json_writer w;
    if (!node)
        return NULL;
    tr__rd_check(r, node, "transform", KEYS("paths", "template"));
    const char *paths = tr__rd_json(r, node, "paths"), *text = tr__rd_text(r, node, "template");
    if (!text)
        tr__rd_fail(r, node, "transform needs a template");
    tr_buf_init(&out, 1 << 20);
    tr_json_write_init(&w, &out);
    tr_json_begin_object(&w);
    if (paths) {
        tr_json_name(&w, "InputPathsMap");
        tr_json_value(&w, tr_view_str(paths));
    }
    tr_json_member_cstring(&w, "InputTemplate", text ? text : "");
    tr_json_end_object(&w);
    const char *copy = tr_arena_str(&r->p->arena, tr_buf_view(&out));
    tr_buf_done(&out);
    return copy;
}

static void read_target(tr_project_reader *r, tr_project_rule *rule, yaml_node_t *node, unsigned number)
{
    tr_project_target *t = tr__rd_new(r, sizeof *t);
    tr__rd_check(r, node, tr__rd_printf(r, "a target of rule %s", rule->name),
                 KEYS("id", "function", "queue", "table", "bus", "url", "input", "input-path", "transform",
                      "dead-letters", "retries", "event-age", "concurrency", "rate", "order-by",
                      "retry-delay", "retry-max-delay"));
    read_place(r, t, node);
    t->id = tr__rd_text(r, node, "id");
    if (!t->id)
        t->id = tr__rd_printf(r, "%u", number);
    t->input = tr__rd_json(r, node, "input");
    t->input_path = tr__rd_text(r, node, "input-path");
    t->transformer = read_transform(r, node);
    t->dead_letters = tr__rd_text(r, node, "dead-letters");
    t->retries = tr__rd_int(r, node, "retries", 0, 185, -1);
    t->age_ms = tr__rd_duration(r, node, "event-age", 0);
    t->concurrency = tr__rd_int(r, node, "concurrency", 1, 1000, 0);
    t->rate = tr__rd_int(r, node, "rate", 1, 1000000, 0);
    t->order_by = tr__rd_text(r, node, "order-by");
    t->retry_delay_ms = tr__rd_duration(r, node, "retry-delay", 0);
    t->retry_max_delay_ms = tr__rd_duration(r, node, "retry-max-delay", 0);
    if (!r->code)
        TR_RD_APPEND(rule->targets, t);
}

static void read_rule(tr_project_reader *r, const char *name, yaml_node_t *node)
{
    tr_project_rule *rule = tr__rd_new(r, sizeof *rule);
    const char *unused;
    yaml_node_t *target;
    tr__rd_check(r, node, tr__rd_printf(r, "rule %s", name),
                 KEYS("bus", "pattern", "description", "enabled", "targets"));
    rule->name = name;
    rule->bus = tr__rd_text(r, node, "bus");
    rule->pattern = tr__rd_pattern(r, node, "pattern", tr__rd_printf(r, "rule %s", name));
    rule->description = tr__rd_text(r, node, "description");
    rule->disabled = !tr__rd_bool(r, node, "enabled", true);
    if (!rule->bus)
        rule->bus = "default";
    if (!rule->pattern)
        tr__rd_fail(r, node, "rule %s needs a pattern", name);
    for (size_t i = 0; !r->code && tr_yaml_at(&r->y, tr__rd_get(r, node, "targets"), i, &unused, &target);
         i++)
        read_target(r, rule, target, (unsigned)i + 1);
    if (!rule->targets)
        tr__rd_fail(r, node, "rule %s needs a list of targets", name);
    if (!r->code)
        TR_RD_APPEND(r->p->rules, rule);
}

/* -------------------------------------------------------------------------------------- mappings, pipes */

static const char *needed(tr_project_reader *r, yaml_node_t *node, const char *key, const char *what,
                          const char *name)
{
    const char *text = tr__rd_text(r, node, key);
    if (!text)
        tr__rd_fail(r, node, "%s %s needs a %s", what, name, key);
    return text;
}

static void read_mapping(tr_project_reader *r, const char *name, yaml_node_t *node)
{
    tr_project_mapping *m = tr__rd_new(r, sizeof *m);
    tr__rd_check(r, node, tr__rd_printf(r, "mapping %s", name),
                 KEYS("table", "function", "from", "batch-size", "batch-window", "parallelism", "retries",
                      "record-age", "bisect", "filters", "on-failure"));
    m->name = name;
    m->table = needed(r, node, "table", "mapping", name);
    m->function = needed(r, node, "function", "mapping", name);
    m->from = tr__rd_text(r, node, "from");
    m->on_failure = tr__rd_text(r, node, "on-failure");
    m->batch_size = tr__rd_int(r, node, "batch-size", 1, TR_MAPPING_BATCH_MAX, 0);
    m->window_ms = tr__rd_duration(r, node, "batch-window", 0);
    m->parallelism = tr__rd_int(r, node, "parallelism", 1, TR_MAPPING_PARALLELISM_MAX, 0);
    m->retries = tr__rd_int(r, node, "retries", 0, 10000, -1);
    m->record_age_ms = tr__rd_duration(r, node, "record-age", 0);
    m->bisect = tr__rd_bool(r, node, "bisect", false);
    m->filters = tr__rd_patterns(r, tr__rd_get(r, node, "filters"));
    if (!r->code)
        TR_RD_APPEND(r->p->mappings, m);
}

static void read_pipe(tr_project_reader *r, const char *name, yaml_node_t *node)
{
    tr_project_pipe *p = tr__rd_new(r, sizeof *p);
    tr__rd_check(r, node, tr__rd_printf(r, "pipe %s", name),
                 KEYS("table", "bus", "from", "source", "detail-type", "batch-size", "batch-window",
                      "parallelism", "filters", "on-failure"));
    p->name = name;
    p->table = needed(r, node, "table", "pipe", name);
    p->bus = needed(r, node, "bus", "pipe", name);
    p->from = tr__rd_text(r, node, "from");
    p->source = tr__rd_text(r, node, "source");
    p->detail_type = tr__rd_text(r, node, "detail-type");
    p->on_failure = tr__rd_text(r, node, "on-failure");
    p->batch_size = tr__rd_int(r, node, "batch-size", 1, TR_MAPPING_BATCH_MAX, 0);
    p->window_ms = tr__rd_duration(r, node, "batch-window", 0);
    p->parallelism = tr__rd_int(r, node, "parallelism", 1, TR_MAPPING_PARALLELISM_MAX, 0);
    p->filters = tr__rd_patterns(r, tr__rd_get(r, node, "filters"));
    if (!r->code)
        TR_RD_APPEND(r->p->pipes, p);
}

/* ------------------------------------------------------------------------------------------------- whole */

static void read_server(tr_project_reader *r, yaml_node_t *root)
{
    tr_project *p = r->p;
    p->listen = tr__rd_texts(r, tr__rd_get(r, root, "listen"));
    p->cors = tr__rd_texts(r, tr__rd_get(r, root, "cors"));
    p->stream_shards = tr__rd_int(r, root, "stream-shards", 1, 256, 0);
    p->shard_lifetime_ms = tr__rd_duration(r, root, "shard-lifetime", 0);
    p->iterator_lifetime_ms = tr__rd_duration(r, root, "iterator-lifetime", 0);
    p->stream_retention_ms = tr__rd_duration(r, root, "stream-retention", 0);
    p->put_events_bytes = tr__rd_int(r, root, "put-events-bytes", 1, 1 << 20, 0);
    yaml_node_t *delivery = tr__rd_get(r, root, "delivery");
    tr__rd_check(r, delivery, "delivery", KEYS("retries", "event-age", "retry-delay", "retry-max-delay"));
    p->retries = tr__rd_int(r, delivery, "retries", 0, UINT32_MAX, -1);
    p->event_age_ms = tr__rd_duration(r, delivery, "event-age", 0);
    p->retry_delay_ms = tr__rd_duration(r, delivery, "retry-delay", 0);
    p->retry_max_delay_ms = tr__rd_duration(r, delivery, "retry-max-delay", 0);
}

#define NAMES_MAX 1024

static const char *const *names_of_texts(tr_project_reader *r, const tr_project_text *list, const char *more)
{
    static const char *const none[] = {NULL};
    const char **names = tr__rd_new(r, sizeof(char *) * (NAMES_MAX + 2));
    size_t n = 0;
    if (r->code)
        return none;
    if (more)
        names[n++] = more;
    for (; list && n < NAMES_MAX; list = list->next)
        names[n++] = list->text;
    return names;
}

/* What names what: functions, buses and queues must be there. Tables may be others'. */
static void check_names(tr_project_reader *r)
{
    const tr_project *p = r->p;
    tr_project_text *functions = NULL;
    for (tr_project_function *f = p->functions; f; f = f->next)
        tr__rd_add_text(r, &functions, f->name);
    const char *const *known = names_of_texts(r, functions, NULL),
                      *const *buses = names_of_texts(r, p->buses, "default"),
                      *const *queues = names_of_texts(r, p->queues, NULL);
    yaml_node_t *root = tr_yaml_root(&r->y);
    for (tr_project_mapping *m = p->mappings; m; m = m->next)
        tr__rd_known(r, tr__rd_get(r, tr__rd_get(r, root, "mappings"), m->name), "function", m->function,
                     known);
    for (tr_project_pipe *m = p->pipes; m; m = m->next)
        tr__rd_known(r, tr__rd_get(r, tr__rd_get(r, root, "pipes"), m->name), "bus", m->bus, buses);
    for (tr_project_archive *a = p->archives; a; a = a->next)
        tr__rd_known(r, tr__rd_get(r, tr__rd_get(r, root, "archives"), a->name), "bus", a->bus, buses);
    for (tr_project_rule *rule = p->rules; rule; rule = rule->next) {
        yaml_node_t *node = tr__rd_get(r, tr__rd_get(r, root, "rules"), rule->name);
        tr__rd_known(r, node, "bus", rule->bus, buses);
        for (tr_project_target *t = rule->targets; t; t = t->next) {
            if (t->kind == TR_TO_FUNCTION)
                tr__rd_known(r, node, "function", t->to, known);
            if (t->kind == TR_TO_BUS)
                tr__rd_known(r, node, "bus", t->to, buses);
            if (t->kind == TR_TO_QUEUE)
                tr__rd_known(r, node, "queue", t->to, queues);
            if (t->dead_letters)
                tr__rd_known(r, node, "queue", t->dead_letters, queues);
        }
    }
}

void tr__project_read_native(tr_project_reader *r)
{
    yaml_node_t *root = tr_yaml_root(&r->y);
    tr_project *p = r->p;
    r->y.variable = variable;
    r->y.variable_ctx = r;
    tr__rd_check(r, root, "the file",
                 KEYS("name", "stage", "endpoint", "data", "region", "profile", "listen", "cors",
                      "stream-shards", "shard-lifetime", "iterator-lifetime", "stream-retention",
                      "put-events-bytes", "delivery", "tables", "bucket", "buses", "queues", "archives",
                      "functions", "rules", "mappings", "pipes"));
    const char *stage = tr__rd_text(r, root, "stage");
    if (!p->stage[0])
        p->stage = stage ? stage : "local";
    p->name = tr__rd_text(r, root, "name");
    p->endpoint = tr__rd_text(r, root, "endpoint");
    p->data = tr__rd_text(r, root, "data");
    p->region = tr__rd_text(r, root, "region");
    p->profile = tr__rd_text(r, root, "profile");
    p->bucket = tr__rd_text(r, root, "bucket");
    if (p->endpoint && p->data)
        tr__rd_fail(r, tr__rd_get(r, root, "data"), "endpoint and data exclude each other");
    read_server(r, root);
    p->buses = tr__rd_texts(r, tr__rd_get(r, root, "buses"));
    p->queues = tr__rd_texts(r, tr__rd_get(r, root, "queues"));
    each(r, root, "tables", read_table);
    each(r, root, "archives", read_archive);
    each(r, root, "functions", read_function);
    each(r, root, "rules", read_rule);
    each(r, root, "mappings", read_mapping);
    each(r, root, "pipes", read_pipe);
    if (!r->code)
        check_names(r);
}
