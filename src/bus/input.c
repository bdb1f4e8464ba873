/* SPDX-License-Identifier: MIT */
/* What a target is given: the event, a constant, a part of the event, or a template filled with parts. */
#include "bus/bus_private.h"

#include <tailrace/transform.h>

#define ARENA_MAX ((size_t)1024 * 1024)

struct tr__bus_input {
    tr_input_path *path;
    tr_transform *transform;
};

/* InputPathsMap: {"name": "$.path", …} */
static int read_variables(tr_view map, tr_arena *arena, tr_transform_options *options, tr_error *err)
{
    tr_json_reader r;
    tr_input_variable *variables = tr_arena_calloc(arena, TR_INPUT_PATHS_MAX, sizeof *variables);
    if (!variables)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    options->variables = variables;
    if (!map.ptr)
        return 0;
    tr_json_init(&r, map, arena);
    (void)tr_json_next(&r);
    while (tr_json_next_key(&r)) {
        if (options->variable_count == TR_INPUT_PATHS_MAX)
            return tr_fail_service(err, TR_EINVAL, 400, "ValidationException",
                                   "InputPathsMap can have at most %d entries.", TR_INPUT_PATHS_MAX);
        tr_view name = r.text;
        if (tr_json_next(&r) != TR_JSON_STRING)
            return tr_fail_service(err, TR_EINVAL, 400, "SerializationException",
                                   "InputPathsMap holds what is not a string.");
        variables[options->variable_count++] = (tr_input_variable){name, r.text};
    }
    return 0;
}

static int compile_transform(const tr_target *t, tr_view transformer, tr_arena *arena, tr_transform **ret,
                             tr_error *err)
{
    tr_transform_options options = {.target_id = t->id,
                                    .input_template = tr_doc_text(transformer, "InputTemplate", arena)};
    if (!options.input_template.ptr)
        return tr_fail_service(err, TR_EINVAL, 400, "ValidationException",
                               "InputTemplate is required for target %s.", t->id);
    int e = read_variables(tr_doc_raw(transformer, "InputPathsMap"), arena, &options, err);
    return e ? e : tr_transform_compile(&options, ret, err);
}

int tr__bus_input_compile(tr_target *t, tr_view doc, tr_error *err)
{
    tr_arena arena;
    tr_view transformer = tr_doc_raw(doc, "InputTransformer");
    if (!t->path && !transformer.ptr)
        return 0;
    t->made = tr_calloc(1, sizeof *t->made);
    if (!t->made)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    if (t->path)
        return tr_input_path_compile(tr_view_str(t->path), t->id, &t->made->path, err);
    tr_arena_init(&arena, ARENA_MAX);
    int e = compile_transform(t, transformer, &arena, &t->made->transform, err);
    tr_arena_done(&arena);
    return e;
}

void tr__bus_input_free(tr_target *t)
{
    if (!t->made)
        return;
    tr_input_path_free(t->made->path);
    tr_transform_free(t->made->transform);
    tr_free(t->made);
    t->made = NULL;
}

/* The rule's name is behind the last slash of its ARN. */
static tr_view rule_name(const tr_target *t)
{
    const char *slash = strrchr(t->rule_arn, '/');
    return tr_view_str(slash ? slash + 1 : t->rule_arn);
}

int tr__bus_input_make(const tr_target *t, tr_view event, int64_t received_ms, tr_buf *out,
                       tr_view *ret_input, tr_error *err)
{
    char time[TR_TIME_TEXT_MAX];
    int e = 0;
    if (!t->made) {
        *ret_input = t->input ? tr_view_str(t->input) : event;
        return 0;
    }
    if (t->made->path) {
        e = tr_input_path_apply(t->made->path, event, out);
        if (e == TR_ENOTFOUND) /* nothing there: the service sends an empty object */
            tr_buf_put_str(out, "{}");
        e = e == TR_ENOTFOUND ? tr_buf_status(out) : e;
        if (e)
            return tr_fail(err, e, "the input path cannot be followed: %s", tr_strerror(e));
    } else {
        tr_time_format(received_ms, false, time);
        const tr_transform_input input = {.event = event,
                                          .rule_arn = tr_view_str(t->rule_arn),
                                          .rule_name = rule_name(t),
                                          .ingestion_time = tr_view_str(time)};
        e = tr_transform_apply(t->made->transform, &input, out, err);
    }
    *ret_input = tr_buf_view(out);
    return e;
}
