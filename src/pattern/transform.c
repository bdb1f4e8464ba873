/* SPDX-License-Identifier: MIT */
/* Input templates: cut into literal parts and placeholders when compiled, put together per event. */
#include <tailrace/json.h>

#include "extract.h"
#include "tables.h"

enum part_kind {
    PART_LITERAL,
    PART_PATH,
    PART_RULE_ARN,
    PART_RULE_NAME,
    PART_INGESTION_TIME,
    PART_EVENT,
    PART_EVENT_JSON
};

struct part {
    enum part_kind kind;
    bool quoted;  /* within a string */
    tr_view text; /* literal */
    const tr_input_path *path;
};

struct tr_transform {
    tr_arena arena;
    char *target_id;
    tr_view template;
    bool json;
    TR__VEC(struct part) parts;
    TR__VEC(struct variable { tr_input_path *path; }) paths; /* by variable; those of placeholders behind */
};

struct compiler {
    tr_transform *t;
    const tr_transform_options *options;
    tr_error *err;
};

#define TYPE "ValidationException"

/* ------------------------------------------------------------------------------------------- variables */

static bool valid_name(tr_view name)
{
    if (name.len < 1 || name.len > 256)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
              c == '-'))
            return false;
    }
    return true;
}

static int add_path(struct compiler *c, tr_view text)
{
    tr_transform *t = c->t;
    int e = TR__VEC_ROOM(&t->paths);
    if (e)
        return tr_fail(c->err, e, "out of memory");
    e = tr_input_path_compile(text, c->options->target_id, &t->paths.at[t->paths.len].path, c->err);
    t->paths.len += e == 0;
    return e;
}

static int add_variables(struct compiler *c)
{
    const tr_transform_options *o = c->options;
    if (o->variable_count > TR_INPUT_PATHS_MAX)
        return tr_fail_service(c->err, TR_EINVAL, 400, TYPE,
                               "InputPathsMap for target %s has more than %d entries.", o->target_id,
                               TR_INPUT_PATHS_MAX);
    for (size_t i = 0; i < o->variable_count; i++) {
        if (!valid_name(o->variables[i].name))
            return tr_fail_service(
                c->err, TR_EINVAL, 400, TYPE,
                "InputPathsMap for target %s has a key that is not of [A-Za-z0-9_-]{1,256}: %.*s",
                o->target_id, (int)(o->variables[i].name.len > 256 ? 256 : o->variables[i].name.len),
                o->variables[i].name.ptr);
        int e = add_path(c, o->variables[i].path);
        if (e)
            return e;
    }
    return 0;
}

/* ----------------------------------------------------------------------------------------- placeholders */

static int add_part(struct compiler *c, struct part part)
{
    int e = TR__VEC_ROOM(&c->t->parts);
    if (e)
        return tr_fail(c->err, e, "out of memory");
    c->t->parts.at[c->t->parts.len++] = part;
    return 0;
}

/* The kind of a placeholder that needs no map, or PART_LITERAL. */
static enum part_kind predefined(const tr_transform_options *o, tr_view name)
{
    static const struct {
        const char *name;
        enum part_kind kind;
    } known[] = {{"rule-arn", PART_RULE_ARN},
                 {"pipe-arn", PART_RULE_ARN},
                 {"rule-name", PART_RULE_NAME},
                 {"pipe-name", PART_RULE_NAME},
                 {"event", PART_EVENT},
                 {"event.json", PART_EVENT_JSON},
                 {"event.ingestion-time", PART_INGESTION_TIME}};
    tr_view events = TR_VIEW("aws.events."), pipes = TR_VIEW("aws.pipes.");
    bool pipe = o->pipes && tr_view_starts(name, pipes);
    if (!pipe && !tr_view_starts(name, events))
        return PART_LITERAL;
    size_t cut = pipe ? pipes.len : events.len;
    tr_view rest = tr_view_of(name.ptr + cut, name.len - cut);
    for (size_t i = 0; i < TR_COUNT(known); i++)
        if (tr_view_is(rest, known[i].name) && (known[i].name[0] == 'e' || (known[i].name[0] == 'p') == pipe))
            return known[i].kind;
    return PART_LITERAL;
}

/* name: between < and > */
static int add_placeholder(struct compiler *c, tr_view name, bool quoted)
{
    const tr_transform_options *o = c->options;
    struct part part = {.kind = predefined(o, name), .quoted = quoted};
    if (part.kind != PART_LITERAL)
        return add_part(c, part);
    part.kind = PART_PATH;
    for (size_t i = 0; i < o->variable_count && !part.path; i++)
        if (tr_view_eq(o->variables[i].name, name))
            part.path = c->t->paths.at[i].path;
    if (!part.path && o->pipes && tr_view_starts(name, TR_VIEW("$"))) {
        int e = add_path(c, name);
        if (e)
            return e;
        part.path = c->t->paths.at[c->t->paths.len - 1].path;
    }
    if (!part.path)
        return tr_fail_service(c->err, TR_EINVAL, 400, TYPE,
                               "InputTemplate for target %s contains invalid placeholder %.*s.", o->target_id,
                               TR_FMT(name));
    return add_part(c, part);
}

/* The end of a placeholder that starts at text.ptr[at], or SIZE_MAX: it ends on its line. */
static size_t placeholder_end(tr_view text, size_t at)
{
    for (size_t i = at + 1; i < text.len && text.ptr[i] != '\n'; i++)
        if (text.ptr[i] == '>')
            return i;
    return SIZE_MAX;
}

static int add_literal(struct compiler *c, size_t from, size_t to, bool quoted)
{
    tr_view text = tr_view_of(c->t->template.ptr + from, to - from);
    return text.len ? add_part(c, (struct part){.kind = PART_LITERAL, .quoted = quoted, .text = text}) : 0;
}

static int cut(struct compiler *c)
{
    tr_view text = c->t->template;
    bool quoted = false;
    size_t from = 0;
    int e = 0;
    for (size_t i = 0; i < text.len && !e; i++) {
        size_t end;
        if (text.ptr[i] == '\\' && quoted) {
            i++;
        } else if (text.ptr[i] == '"') {
            quoted = !quoted;
        } else if (text.ptr[i] == '<' && (end = placeholder_end(text, i)) != SIZE_MAX) {
            e = add_literal(c, from, i, quoted);
            if (!e)
                e = add_placeholder(c, tr_view_of(text.ptr + i + 1, end - i - 1), quoted);
            i = end;
            from = end + 1;
        }
    }
    return e ? e : add_literal(c, from, text.len, quoted);
}

/* ---------------------------------------------------------------------------------------- the template */

/* What kind of JSON a text is: the first token of its only value, or TR_JSON_ERROR. */
static tr_json_token check_json(tr_view text, tr_arena *arena)
{
    tr_json_reader r;
    tr_json_init(&r, text, arena);
    tr_json_token first = tr_json_next(&r);
    bool valid = first != TR_JSON_ERROR && tr_json_skip(&r) == 0 && tr_json_next(&r) == TR_JSON_DONE;
    return valid ? first : TR_JSON_ERROR;
}

/* Whether a text is strings and white space. */
static bool check_strings(tr_view text, tr_arena *arena)
{
    for (size_t i = 0; i < text.len; i++) {
        if (strchr(" \t\r\n", text.ptr[i]) && text.ptr[i])
            continue;
        size_t from = i++;
        while (i < text.len && text.ptr[i] != '"')
            i += text.ptr[i] == '\\' ? 2 : 1;
        if (i >= text.len || check_json(tr_view_of(text.ptr + from, i + 1 - from), arena) != TR_JSON_STRING)
            return false;
    }
    return true;
}

/* Whether a placeholder stands within a member's name: its string is followed by a colon. */
static bool is_key(const tr_transform *t, uint32_t part)
{
    bool open = true;
    for (uint32_t i = part + 1; i < t->parts.len; i++) {
        const struct part *p = &t->parts.at[i];
        if (p->kind != PART_LITERAL) {
            if (open)
                continue;
            return false;
        }
        for (size_t k = 0; k < p->text.len; k++) {
            char c = p->text.ptr[k];
            if (open && c == '\\')
                k++;
            else if (open && c == '"')
                open = false;
            else if (!open && c != ' ' && c != '\t' && c != '\n' && c != '\r')
                return c == ':';
        }
    }
    return false;
}

/* Fills the template with samples, to see whether it can become anything. */
static int check_template(struct compiler *c)
{
    tr_transform *t = c->t;
    tr_buf sample;
    tr_buf_init(&sample, TR_INPUT_TEMPLATE_MAX * 2);
    for (uint32_t i = 0; i < t->parts.len; i++) {
        const struct part *p = &t->parts.at[i];
        tr_buf_put_view(&sample, p->kind == PART_LITERAL ? p->text : p->quoted ? TR_VIEW("x") : TR_VIEW("0"));
    }
    int e = tr_buf_status(&sample);
    if (e) {
        tr_buf_done(&sample);
        return tr_fail(c->err, e, "%s", tr_strerror(e));
    }
    tr_json_token kind = check_json(tr_buf_view(&sample), &t->arena);
    t->json = kind != TR_JSON_ERROR && kind != TR_JSON_STRING;
    bool valid = kind != TR_JSON_ERROR || check_strings(tr_buf_view(&sample), &t->arena);
    tr_buf_done(&sample);
    if (!valid)
        return tr_fail_service(c->err, TR_EINVAL, 400, TYPE,
                               "InputTemplate for target %s is not a valid JSON text.", t->target_id);
    for (uint32_t i = 0; i < t->parts.len && t->json; i++)
        if (t->parts.at[i].kind != PART_LITERAL && t->parts.at[i].quoted && is_key(t, i))
            return tr_fail_service(c->err, TR_EINVAL, 400, TYPE,
                                   "InputTemplate for target %s uses a placeholder as an object key.",
                                   t->target_id);
    return 0;
}

static int compile(struct compiler *c)
{
    const tr_transform_options *o = c->options;
    if (o->input_template.len < 1 || o->input_template.len > TR_INPUT_TEMPLATE_MAX)
        return tr_fail_service(c->err, TR_EINVAL, 400, TYPE,
                               "InputTemplate for target %s must have 1 to %d bytes.", o->target_id,
                               TR_INPUT_TEMPLATE_MAX);
    c->t->target_id = tr_arena_str(&c->t->arena, tr_view_str(o->target_id));
    c->t->template = tr_arena_copy(&c->t->arena, o->input_template);
    if (!c->t->target_id || !c->t->template.ptr)
        return tr_fail(c->err, TR_ENOMEM, "out of memory");
    int e = add_variables(c);
    if (!e)
        e = cut(c);
    return e ? e : check_template(c);
}

int tr_transform_compile(const tr_transform_options *options, tr_transform **ret_transform, tr_error *err)
{
    struct compiler c = {.options = options, .err = err, .t = tr_calloc(1, sizeof *c.t)};
    if (!c.t)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    tr_arena_init(&c.t->arena, 1 << 20);
    int e = compile(&c);
    if (e) {
        tr_transform_free(c.t);
        return e;
    }
    *ret_transform = c.t;
    return 0;
}

void tr_transform_free(tr_transform *t)
{
    if (!t)
        return;
    for (uint32_t i = 0; i < t->paths.len; i++)
        tr_input_path_free(t->paths.at[i].path);
    TR__VEC_FREE(&t->paths);
    TR__VEC_FREE(&t->parts);
    tr_arena_done(&t->arena);
    tr_free(t);
}

/* ---------------------------------------------------------------------------------------------- filling */

/* A value of the event, as JSON, where a placeholder stands. */
static void put_value(const tr_transform *t, const struct part *part, tr_view value, tr_buf *out)
{
    bool container = value.len && (*value.ptr == '{' || *value.ptr == '[');
    if (part->quoted && value.len >= 2 && *value.ptr == '"')
        tr_buf_put(out, value.ptr + 1, value.len - 2); /* its escapes serve here as well */
    else
        tr__put_compact(out, value, container && (part->quoted || !t->json));
}

/* A text that is ours. */
static void put_text(const struct part *part, tr_view text, tr_buf *out)
{
    tr_json_writer w;
    size_t at = out->len;
    tr_json_write_init(&w, out);
    tr_json_string(&w, text);
    if (!part->quoted || tr_buf_status(out))
        return;
    memmove(out->ptr + at, out->ptr + at + 1, out->len - at - 2);
    out->len -= 2;
}

static int put_path(const tr_transform *t, const struct part *part, tr_view event, tr_buf *out)
{
    if (tr__path_is_many(part->path)) {
        tr_buf found;
        tr_buf_init(&found, out->limit);
        int e = tr_input_path_apply(part->path, event, &found);
        if (!e)
            put_value(t, part, tr_buf_view(&found), out);
        tr_buf_done(&found);
        return e;
    }
    tr_view value;
    int e = tr__path_find(part->path, event, &value);
    if (e == TR_ENOTFOUND)
        tr_buf_put_str(out, part->quoted ? "" : "\"\"");
    else if (!e)
        put_value(t, part, value, out);
    return e == TR_ENOTFOUND ? 0 : e;
}

/* The event without its detail. */
static int put_event(const tr_transform *t, const struct part *part, tr_view event, tr_buf *out)
{
    const char *at = tr__members_begin(event);
    const char *separator = "{";
    bool bare = part->quoted || !t->json;
    struct tr__member m;
    int e;
    while ((e = tr__members_next(event, &at, &m)) > 0) {
        if (tr__member_is(&m, TR_VIEW("detail")))
            continue;
        tr_view name = tr__member_is(&m, TR_VIEW("detail-type")) ? TR_VIEW("detailType") : m.name;
        tr_buf_put_str(out, separator);
        tr_buf_put_str(out, bare ? "" : "\"");
        tr_buf_put_view(out, name);
        tr_buf_put_str(out, bare ? ":" : "\":");
        tr__put_compact(out, m.value, bare);
        separator = ",";
    }
    tr_buf_put_str(out, *separator == '{' ? "{}" : "}");
    return e;
}

static int put_part(const tr_transform *t, const struct part *part, const tr_transform_input *in,
                    tr_view event, tr_buf *out)
{
    switch (part->kind) {
    case PART_LITERAL:
        tr_buf_put_view(out, part->text);
        return 0;
    case PART_PATH:
        return put_path(t, part, event, out);
    case PART_RULE_ARN:
        put_text(part, in->rule_arn, out);
        return 0;
    case PART_RULE_NAME:
        put_text(part, in->rule_name, out);
        return 0;
    case PART_INGESTION_TIME:
        put_text(part, in->ingestion_time, out);
        return 0;
    case PART_EVENT:
        return put_event(t, part, event, out);
    default:
        put_value(t, part, event, out);
        return 0;
    }
}

static int check_result(const tr_transform *t, tr_view result, tr_error *err)
{
    tr_arena arena;
    tr_arena_init(&arena, result.len * 2 + 4096);
    tr_json_token kind = check_json(result, &arena);
    tr_arena_done(&arena);
    if (kind != TR_JSON_ERROR)
        return 0;
    return tr_fail(
        err, TR_EINVAL,
        "the input for target %s is not JSON once its template is filled: objects, arrays and the like must "
        "not stand within quotes",
        t->target_id);
}

int tr_transform_apply(const tr_transform *t, const tr_transform_input *input, tr_buf *out, tr_error *err)
{
    size_t before = out->len;
    tr_view event = input->event;
    while (event.len && strchr(" \t\r\n", *event.ptr) && *event.ptr) {
        event.ptr++;
        event.len--;
    }
    int e = event.len && *event.ptr == '{' ? 0 : TR_EPARSE;
    for (uint32_t i = 0; i < t->parts.len && !e; i++)
        e = put_part(t, &t->parts.at[i], input, event, out);
    if (!e)
        e = tr_buf_status(out);
    if (e == TR_EPARSE)
        (void)tr_fail(err, e, "the event is not a JSON object");
    else if (e)
        (void)tr_fail(err, e, "%s", tr_strerror(e));
    else if (t->json)
        e = check_result(t, tr_view_of(out->ptr + before, out->len - before), err);
    if (e)
        out->len = before;
    return e;
}
