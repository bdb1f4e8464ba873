/* SPDX-License-Identifier: MIT */
#include "cli/project/reader.h"

#include <tailrace/pattern.h>

#include <stdio.h>
#include <stdlib.h>

#define ARENA_MAX ((size_t)64 << 20)
#define PATH_SIZE 4096

void tr__rd_fail(tr_project_reader *r, const yaml_node_t *node, const char *format, ...)
{
    char message[1024];
    va_list args;
    if (r->code)
        return;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    r->code = tr_yaml_fail(&r->y, node, r->err, "%s", message);
}

static char nowhere[1024];

void *tr__rd_new(tr_project_reader *r, size_t size)
{
    void *p = r->code ? NULL : tr_arena_calloc(&r->p->arena, 1, size);
    if (!p && !r->code)
        r->code = tr_fail(r->err, TR_ENOMEM, "out of memory");
    return p ? p : memset(nowhere, 0, sizeof nowhere);
}

const char *tr__rd_printf(tr_project_reader *r, const char *format, ...)
{
    char text[PATH_SIZE];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *copy =
        r->code || n < 0 || (size_t)n >= sizeof text ? NULL : tr_arena_str(&r->p->arena, tr_view_str(text));
    if (!copy && !r->code)
        r->code = tr_fail(r->err, TR_ELIMIT, "%s: a text is too long", r->p->path);
    return copy ? copy : "";
}

void tr__rd_check(tr_project_reader *r, yaml_node_t *node, const char *where, const char *const *names)
{
    if (!r->code && node)
        r->code = tr_yaml_check(&r->y, node, where, names, r->err);
}

yaml_node_t *tr__rd_get(tr_project_reader *r, yaml_node_t *map, const char *name)
{
    return r->code ? NULL : tr_yaml_get(&r->y, map, name);
}

const char *tr__rd_scalar(tr_project_reader *r, yaml_node_t *node)
{
    const char *text = NULL;
    if (!r->code && node)
        r->code = tr_yaml_text(&r->y, node, &text, r->err);
    return r->code ? NULL : text;
}

const char *tr__rd_text(tr_project_reader *r, yaml_node_t *map, const char *name)
{
    return tr__rd_scalar(r, tr__rd_get(r, map, name));
}

const char *tr__rd_json(tr_project_reader *r, yaml_node_t *map, const char *name)
{
    yaml_node_t *node = tr__rd_get(r, map, name);
    const char *json = NULL;
    if (node)
        r->code = tr_yaml_json_text(&r->y, node, &json, r->err);
    return r->code ? NULL : json;
}

/* Here, where the line is known: the bus would name neither it nor what the pattern is of. */
static void check_pattern(tr_project_reader *r, const yaml_node_t *node, const char *what, const char *json,
                          const tr_pattern_options *options)
{
    tr_pattern *pattern = NULL;
    tr_error err = {0};
    if (r->code || !json)
        return;
    if (tr_pattern_compile(tr_view_str(json), options, &pattern, &err))
        tr__rd_fail(r, node, "%s: %.900s", what, err.message);
    tr_pattern_free(pattern);
}

const char *tr__rd_pattern(tr_project_reader *r, yaml_node_t *map, const char *name, const char *what)
{
    const char *json = tr__rd_json(r, map, name);
    check_pattern(r, tr__rd_get(r, map, name), what, json, NULL);
    return json;
}

int64_t tr__rd_int(tr_project_reader *r, yaml_node_t *map, const char *name, int64_t min, int64_t max,
                   int64_t otherwise)
{
    uint64_t number = 0;
    const char *text = tr__rd_text(r, map, name);
    if (!text)
        return otherwise;
    if (tr_view_to_u64(tr_view_str(text), (uint64_t)max, &number) || (int64_t)number < min)
        tr__rd_fail(r, tr__rd_get(r, map, name), "%s is a number from %lld to %lld, not '%s'", name,
                    (long long)min, (long long)max, text);
    return r->code ? otherwise : (int64_t)number;
}

int64_t tr__rd_duration(tr_project_reader *r, yaml_node_t *map, const char *name, int64_t otherwise)
{
    int64_t ms = otherwise;
    const char *text = tr__rd_text(r, map, name);
    if (text && tr_duration_parse(tr_view_str(text), &ms))
        tr__rd_fail(r, tr__rd_get(r, map, name),
                    "%s is a duration such as 500ms, 90s, 15m, 4h or 7d, not '%s'", name, text);
    return ms;
}

bool tr__rd_bool(tr_project_reader *r, yaml_node_t *map, const char *name, bool otherwise)
{
    const char *text = tr__rd_text(r, map, name);
    if (!text)
        return otherwise;
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        tr__rd_fail(r, tr__rd_get(r, map, name), "%s is true or false, not '%s'", name, text);
    return text[0] == 't';
}

void tr__rd_add_text(tr_project_reader *r, tr_project_text **list, const char *text)
{
    tr_project_text *item = tr__rd_new(r, sizeof *item);
    item->text = text;
    if (!r->code)
        TR_RD_APPEND(*list, item);
}

tr_project_text *tr__rd_texts(tr_project_reader *r, yaml_node_t *node)
{
    tr_project_text *list = NULL;
    const char *name;
    yaml_node_t *value;
    if (node && node->type == YAML_SCALAR_NODE)
        tr__rd_add_text(r, &list, tr__rd_scalar(r, node));
    else if (node && node->type == YAML_MAPPING_NODE)
        tr__rd_fail(r, node, "a text or a list of texts is needed here");
    else
        for (size_t i = 0; !r->code && tr_yaml_at(&r->y, node, i, &name, &value); i++)
            tr__rd_add_text(r, &list, tr__rd_scalar(r, value));
    return list;
}

tr_project_text *tr__rd_patterns(tr_project_reader *r, yaml_node_t *node)
{
    static const tr_pattern_options filter = {.dialect = TR_PATTERN_LAMBDA,
                                              .max_length = TR_PATTERN_FILTER_LENGTH_MAX};
    tr_project_text *list = NULL;
    const char *name, *json = NULL;
    yaml_node_t *value = node;
    bool single = node && node->type != YAML_SEQUENCE_NODE;
    for (size_t i = 0; !r->code && node && (single ? i == 0 : tr_yaml_at(&r->y, node, i, &name, &value));
         i++) {
        /* a text holds JSON already */
        if (value->type == YAML_SCALAR_NODE)
            json = tr__rd_scalar(r, value);
        else
            r->code = tr_yaml_json_text(&r->y, value, &json, r->err);
        check_pattern(r, value, "filters", json, &filter);
        if (!r->code)
            tr__rd_add_text(r, &list, json);
    }
    return list;
}

tr_project_pair *tr__rd_pairs(tr_project_reader *r, yaml_node_t *node)
{
    tr_project_pair *list = NULL;
    const char *name;
    yaml_node_t *value;
    if (node && node->type != YAML_MAPPING_NODE)
        tr__rd_fail(r, node, "a mapping (NAME: value) is needed here");
    for (size_t i = 0; !r->code && tr_yaml_at(&r->y, node, i, &name, &value); i++) {
        tr_project_pair *pair = tr__rd_new(r, sizeof *pair);
        pair->name = tr__rd_printf(r, "%s", name ? name : "");
        pair->value = tr__rd_scalar(r, value);
        if (!r->code)
            TR_RD_APPEND(list, pair);
    }
    return list;
}

void tr__rd_known(tr_project_reader *r, const yaml_node_t *node, const char *what, const char *name,
                  const char *const *names)
{
    for (size_t i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return;
    const char *nearest = tr_nearest(name, names);
    tr__rd_fail(r, node, "there is no %s '%s'%s%s%s", what, name, nearest ? "; did you mean '" : "",
                nearest ? nearest : "", nearest ? "'?" : "");
}

/* ------------------------------------------------------------------------------------------------ public */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* A serverless.yml by its name; any other file that has `provider` and `service` is one too. */
static bool is_serverless(tr_project_reader *r)
{
    yaml_node_t *root = tr_yaml_root(&r->y);
    return ends_with(r->p->path, "serverless.yml") || ends_with(r->p->path, "serverless.yaml") ||
           (tr_yaml_get(&r->y, root, "provider") && tr_yaml_get(&r->y, root, "service"));
}

static void set_variables(tr_project_reader *r, tr_project_function *f)
{
    size_t count = 0;
    for (const tr_project_pair *pair = f->environment; pair; pair = pair->next)
        count++;
    const char **list = r->code ? NULL : tr_arena_calloc(&r->p->arena, count + 1, sizeof *list);
    if (!list && !r->code)
        r->code = tr_fail(r->err, TR_ENOMEM, "out of memory");
    f->variables = list;
    for (const tr_project_pair *pair = f->environment; list && pair; pair = pair->next)
        list[f->variable_count++] = tr__rd_printf(r, "%s=%s", pair->name, pair->value ? pair->value : "");
}

static int read_into(tr_project *p, const char *path, const char *stage, tr_error *err)
{
    tr_project_reader r = {.p = p, .err = err};
    const char *slash = strrchr(path, '/');
    p->retries = -1;
    p->path = tr_arena_str(&p->arena, tr_view_str(path));
    p->directory = slash ? tr_arena_str(&p->arena, tr_view_of(path, (size_t)(slash - path))) : ".";
    p->stage = tr_arena_str(&p->arena, tr_view_str(stage ? stage : ""));
    if (!p->path || !p->directory || !p->stage)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    if (slash == path)
        p->directory = "/";
    int e = tr_yaml_open(&r.y, path, &p->arena, err);
    if (!e && !tr_yaml_root(&r.y))
        e = tr_fail(err, TR_EINVAL, "%s: the file is empty", path);
    if (!e) {
        p->serverless = is_serverless(&r);
        p->serverless ? tr__project_read_serverless(&r) : tr__project_read_native(&r);
        for (tr_project_function *f = p->functions; !r.code && f; f = f->next)
            set_variables(&r, f);
        e = r.code;
    }
    if (e != TR_ENOTFOUND && e != TR_EPARSE && e != TR_EIO)
        tr_yaml_close(&r.y);
    return e;
}

int tr_project_read(const char *path, const char *stage, tr_project **ret_project, tr_error *err)
{
    tr_project *p = tr_calloc(1, sizeof *p);
    if (!p)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    tr_arena_init(&p->arena, ARENA_MAX);
    int e = read_into(p, path, stage, err);
    if (e)
        tr_project_free(p);
    else
        *ret_project = p;
    return e;
}

int tr_project_open(const char *given, const char *stage, tr_project **ret_project, tr_error *err)
{
    const char *named = given ? given : getenv("TAILRACE_CONFIG");
    if (named && *named)
        return tr_project_read(named, stage, ret_project, err);
    int e = tr_project_read(TR_PROJECT_FILE, stage, ret_project, err);
    if (e == TR_ENOTFOUND)
        e = tr_project_read("serverless.yml", stage, ret_project, err);
    if (e == TR_ENOTFOUND)
        return tr_fail(err, e, "there is neither " TR_PROJECT_FILE " nor serverless.yml here: give -c FILE");
    return e;
}

int tr_project_find(tr_project **ret_project, tr_error *err)
{
    const char *named = getenv("TAILRACE_CONFIG");
    *ret_project = NULL;
    if (named && strcmp(named, "none") == 0)
        return 0;
    int e = tr_project_open(NULL, NULL, ret_project, err);
    return e == TR_ENOTFOUND && (!named || !*named) ? 0 : e;
}

void tr_project_free(tr_project *p)
{
    if (!p)
        return;
    tr_arena_done(&p->arena);
    tr_free(p);
}

tr_project_table *tr_project_table_of(const tr_project *p, const char *name)
{
    tr_project_table *t = p->tables;
    while (t && strcmp(t->name, name) != 0)
        t = t->next;
    return t;
}

tr_project_function *tr_project_function_of(const tr_project *p, const char *name)
{
    tr_project_function *f = p->functions;
    while (f && strcmp(f->name, name) != 0)
        f = f->next;
    return f;
}

bool tr_project_has(const tr_project_text *list, const char *text)
{
    while (list && strcmp(list->text, text) != 0)
        list = list->next;
    return list != NULL;
}
