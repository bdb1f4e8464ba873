/* SPDX-License-Identifier: MIT */
#include "cli/project/yaml.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define VARIABLE_DEPTH_MAX 16
#define NEAR_MAX           64 /* characters of names that are compared */

/* ------------------------------------------------------------------------------------------------- files */

static int read_file(const char *path, tr_buf *out, tr_error *err)
{
    char block[65536];
    FILE *file = fopen(path, "r");
    if (!file)
        return tr_fail(err, errno == ENOENT ? TR_ENOTFOUND : TR_EIO, "%s: %s", path, strerror(errno));
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;)
        tr_buf_put(out, block, n);
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    if (failed)
        return tr_fail(err, TR_EIO, "%s cannot be read", path);
    int e = tr_buf_status(out);
    return e ? tr_fail(err, e, "%s: larger than %zu bytes", path, TR_YAML_FILE_MAX) : 0;
}

int tr_yaml_open(tr_yaml *y, const char *path, tr_arena *arena, tr_error *err)
{
    yaml_parser_t parser;
    tr_buf text;
    *y = (tr_yaml){.arena = arena, .path = tr_arena_str(arena, tr_view_str(path))};
    tr_buf_init(&text, TR_YAML_FILE_MAX);
    int e = y->path ? read_file(path, &text, err) : tr_fail(err, TR_ENOMEM, "out of memory");
    if (!e && !yaml_parser_initialize(&parser))
        e = tr_fail(err, TR_ENOMEM, "out of memory");
    else if (!e) {
        yaml_parser_set_input_string(&parser, (const unsigned char *)(text.ptr ? text.ptr : ""), text.len);
        if (!yaml_parser_load(&parser, &y->document))
            e = tr_fail(err, TR_EPARSE, "%s:%zu: %s%s%s", path, parser.problem_mark.line + 1,
                        parser.problem ? parser.problem : "not YAML", parser.context ? ", " : "",
                        parser.context ? parser.context : "");
        yaml_parser_delete(&parser);
    }
    tr_buf_done(&text);
    return e;
}

void tr_yaml_close(tr_yaml *y)
{
    if (y->path)
        yaml_document_delete(&y->document);
    y->path = NULL;
}

/* ------------------------------------------------------------------------------------------------- nodes */

yaml_node_t *tr_yaml_root(tr_yaml *y)
{
    return yaml_document_get_root_node(&y->document);
}

static const char *scalar(const yaml_node_t *node)
{
    return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

yaml_node_t *tr_yaml_get(tr_yaml *y, yaml_node_t *node, const char *name)
{
    const char *key;
    yaml_node_t *value;
    if (!node || node->type != YAML_MAPPING_NODE)
        return NULL;
    for (size_t i = 0; tr_yaml_at(y, node, i, &key, &value); i++)
        if (key && strcmp(key, name) == 0)
            return value;
    return NULL;
}

bool tr_yaml_at(tr_yaml *y, yaml_node_t *node, size_t i, const char **ret_name, yaml_node_t **ret_value)
{
    if (node && node->type == YAML_MAPPING_NODE) {
        yaml_node_pair_t *pair = node->data.mapping.pairs.start + i;
        if (pair >= node->data.mapping.pairs.top)
            return false;
        *ret_name = scalar(yaml_document_get_node(&y->document, pair->key));
        *ret_value = yaml_document_get_node(&y->document, pair->value);
        return true;
    }
    if (!node || node->type != YAML_SEQUENCE_NODE ||
        node->data.sequence.items.start + i >= node->data.sequence.items.top)
        return false;
    *ret_name = NULL;
    *ret_value = yaml_document_get_node(&y->document, node->data.sequence.items.start[i]);
    return true;
}

int tr_yaml_line(const yaml_node_t *node)
{
    return node ? (int)node->start_mark.line + 1 : 1;
}

int tr_yaml_fail(const tr_yaml *y, const yaml_node_t *node, tr_error *err, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return tr_fail(err, TR_EINVAL, "%s:%d: %s", y->path, tr_yaml_line(node), message);
}

bool tr_yaml_plain(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* --------------------------------------------------------------------------------------------- variables */

/* The '}' that ends a variable whose "${" stands before `at`; NULL. Variables may stand in each other. */
static const char *variable_end(const char *at)
{
    for (unsigned depth = 1; *at; at++) {
        depth += at[0] == '$' && at[1] == '{';
        if (*at == '}' && --depth == 0)
            return at;
    }
    return NULL;
}

static int expand_into(tr_yaml *y, const char *text, int line, tr_buf *out, tr_error *err)
{
    while (*text) {
        const char *end = text[0] == '$' && text[1] == '{' ? variable_end(text + 2) : NULL;
        if (!end) {
            tr_buf_putc(out, *text++);
            continue;
        }
        const char *name = tr_arena_str(y->arena, tr_view_of(text + 2, (size_t)(end - text) - 2)), *value;
        int e = name ? tr_yaml_expand(y, name, line, &name, err) : tr_fail(err, TR_ENOMEM, "out of memory");
        if (e)
            return e;
        value = y->variable(y->variable_ctx, tr_view_str(name), line, err);
        if (!value)
            return err && err->code ? err->code : TR_EINVAL;
        e = tr_yaml_expand(y, value, line, &value, err);
        if (e)
            return e;
        tr_buf_put_str(out, value);
        text = end + 1;
    }
    return tr_buf_status(out);
}

int tr_yaml_expand(tr_yaml *y, const char *text, int line, const char **ret_text, tr_error *err)
{
    tr_buf out;
    if (!y->variable || !strstr(text, "${")) {
        *ret_text = text;
        return 0;
    }
    if (y->depth >= VARIABLE_DEPTH_MAX)
        return tr_fail(err, TR_EINVAL, "%s:%d: variables refer to each other in a circle", y->path, line);
    y->depth++;
    tr_buf_init(&out, TR_YAML_FILE_MAX);
    int e = expand_into(y, text, line, &out, err);
    const char *copy = e ? NULL : tr_arena_str(y->arena, tr_buf_view(&out));
    tr_buf_done(&out);
    y->depth--;
    if (!e && !copy)
        e = tr_fail(err, TR_ENOMEM, "out of memory");
    if (!e)
        *ret_text = copy;
    return e;
}

int tr_yaml_text(tr_yaml *y, yaml_node_t *node, const char **ret_text, tr_error *err)
{
    const char *text = scalar(node);
    if (!text)
        return tr_yaml_fail(y, node, err, "a text is needed here");
    /* the document goes away before what was read of it */
    text = tr_arena_str(y->arena, tr_view_of(node->data.scalar.value, node->data.scalar.length));
    return text ? tr_yaml_expand(y, text, tr_yaml_line(node), ret_text, err)
                : tr_fail(err, TR_ENOMEM, "out of memory");
}

/* -------------------------------------------------------------------------------------------------- JSON */

/* A number in JSON's own grammar; others stay text. */
static bool is_number(const char *text, tr_arena *arena)
{
    tr_json_reader r;
    tr_json_init(&r, tr_view_str(text), arena);
    if (tr_json_next(&r) != TR_JSON_NUMBER)
        return false;
    return tr_json_next(&r) == TR_JSON_DONE;
}

static void put_scalar(tr_yaml *y, const yaml_node_t *node, const char *text, tr_json_writer *w)
{
    static const char *const words[] = {"true", "false", "null"};
    bool raw = tr_yaml_plain(node) && is_number(text, y->arena);
    for (size_t i = 0; i < TR_COUNT(words); i++)
        raw |= tr_yaml_plain(node) && strcmp(text, words[i]) == 0;
    if (raw)
        tr_json_value(w, tr_view_str(text));
    else if (tr_yaml_plain(node) && (!*text || strcmp(text, "~") == 0))
        tr_json_null(w);
    else
        tr_json_string(w, tr_view_str(text));
}

static int put_node(tr_yaml *y, yaml_node_t *node, tr_json_writer *w, unsigned depth, unsigned *left,
                    tr_error *err)
{
    const char *name, *text = "";
    yaml_node_t *value;
    int e = 0;
    if (depth > TR_YAML_DEPTH_MAX || !(*left)--)
        return tr_yaml_fail(y, node, err, "nested too deeply, or too much of it");
    if (node->type == YAML_SCALAR_NODE) {
        e = tr_yaml_text(y, node, &text, err);
        if (!e)
            put_scalar(y, node, text, w);
        return e;
    }
    bool map = node->type == YAML_MAPPING_NODE;
    map ? tr_json_begin_object(w) : tr_json_begin_array(w);
    for (size_t i = 0; !e && tr_yaml_at(y, node, i, &name, &value); i++) {
        if (map && !name)
            return tr_yaml_fail(y, node, err, "a name must be a text");
        if (map)
            tr_json_key(w, tr_view_str(name));
        e = put_node(y, value, w, depth + 1, left, err);
    }
    map ? tr_json_end_object(w) : tr_json_end_array(w);
    return e;
}

int tr_yaml_json(tr_yaml *y, yaml_node_t *node, tr_json_writer *w, tr_error *err)
{
    unsigned left = TR_YAML_NODES_MAX;
    return put_node(y, node, w, 0, &left, err);
}

int tr_yaml_json_text(tr_yaml *y, yaml_node_t *node, const char **ret_json, tr_error *err)
{
    tr_buf out;
    tr_json_writer w;
    tr_buf_init(&out, TR_YAML_FILE_MAX * 2);
    tr_json_write_init(&w, &out);
    int e = tr_yaml_json(y, node, &w, err);
    const char *copy = e || tr_buf_status(&out) ? NULL : tr_arena_str(y->arena, tr_buf_view(&out));
    tr_buf_done(&out);
    if (!e && !copy)
        e = tr_fail(err, TR_ENOMEM, "out of memory");
    if (!e)
        *ret_json = copy;
    return e;
}

/* ----------------------------------------------------------------------------------------- unknown names */

/* How many letters must be put in, taken out or changed; SIZE_MAX for names that are too long. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NEAR_MAX + 1], n = strlen(a), m = strlen(b);
    if (n > NEAR_MAX || m > NEAR_MAX)
        return SIZE_MAX;
    for (size_t k = 0; k <= m; k++)
        row[k] = k;
    for (size_t i = 1; i <= n; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t k = 1; k <= m; k++) {
            size_t change = corner + (a[i - 1] != b[k - 1]),
                   other = (row[k] < row[k - 1] ? row[k] : row[k - 1]) + 1;
            corner = row[k];
            row[k] = change < other ? change : other;
        }
    }
    return row[m];
}

const char *tr_nearest(const char *name, const char *const *names)
{
    const char *best = NULL;
    size_t least = strlen(name) / 2 + 1;
    for (; *names; names++) {
        size_t d = distance(name, *names);
        if (d < least) {
            least = d;
            best = *names;
        }
    }
    return best;
}

int tr_yaml_check(tr_yaml *y, yaml_node_t *node, const char *where, const char *const *names, tr_error *err)
{
    const char *name;
    yaml_node_t *value;
    if (node->type != YAML_MAPPING_NODE)
        return tr_yaml_fail(y, node, err, "%s: a mapping (name: value) is needed here", where);
    for (size_t i = 0; tr_yaml_at(y, node, i, &name, &value); i++) {
        bool known = false;
        for (size_t k = 0; name && names[k]; k++)
            known |= strcmp(name, names[k]) == 0;
        if (known)
            continue;
        const char *nearest = name ? tr_nearest(name, names) : NULL;
        if (nearest)
            return tr_yaml_fail(y, value, err, "%s: unknown key '%s'; did you mean '%s'?", where, name,
                                nearest);
        tr_buf all;
        tr_buf_init(&all, 1024);
        for (size_t k = 0; names[k]; k++)
            tr_buf_printf(&all, "%s%s", k ? ", " : "", names[k]);
        int e = tr_yaml_fail(y, value, err, "%s: unknown key '%s'; there are %.*s", where, name ? name : "",
                             TR_FMT(tr_buf_view(&all)));
        tr_buf_done(&all);
        return e;
    }
    return 0;
}
