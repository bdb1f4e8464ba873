/* SPDX-License-Identifier: MIT */
/**
 * Input paths and templates on any bytes: lines of a path, a template and an event (the rest). Nothing
 * crashes; on a failure nothing is written; from an event that is JSON, a path gives JSON.
 */
#include <assert.h>

#include <tailrace/json.h>
#include <tailrace/transform.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_json(tr_view text, tr_json_token type)
{
    tr_arena arena;
    tr_json_reader r;
    tr_arena_init(&arena, 16 << 20);
    tr_json_init(&r, text, &arena);
    tr_json_token first = tr_json_next(&r);
    bool valid = first != TR_JSON_ERROR && tr_json_skip(&r) == 0 && tr_json_next(&r) == TR_JSON_DONE;
    tr_arena_done(&arena);
    return valid && (type == TR_JSON_ERROR || first == type);
}

static tr_view line(tr_view *rest)
{
    size_t end = tr_view_find(*rest, TR_VIEW("\n"), 0);
    tr_view got = end == SIZE_MAX ? *rest : tr_view_of(rest->ptr, end);
    *rest = end == SIZE_MAX ? tr_view_of(NULL, 0) : tr_view_of(rest->ptr + end + 1, rest->len - end - 1);
    return got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tr_view event = tr_view_of(data, size), path_text = line(&event), input_template = line(&event);
    tr_input_path *path;
    tr_transform *transform;
    tr_error err;
    tr_buf out;
    tr_buf_init(&out, 4 << 20);
    bool valid = is_json(event, TR_JSON_OBJECT);
    const tr_input_variable variable = {TR_VIEW("a"), path_text};
    if (tr_input_path_compile(path_text, "t", &path, &err) == 0) {
        int e = tr_input_path_apply(path, event, &out);
        assert(e == 0 || out.len == 0);
        assert(!valid || e == TR_ENOTFOUND || (e == 0 && is_json(tr_buf_view(&out), TR_JSON_ERROR)));
        tr_input_path_free(path);
        tr_buf_reset(&out);
    } else {
        assert(err.http_status == 400);
    }
    const tr_transform_options options = {.target_id = "t",
                                          .input_template = input_template,
                                          .variables = &variable,
                                          .variable_count = 1,
                                          .pipes = true};
    if (tr_transform_compile(&options, &transform, &err) == 0) {
        const tr_transform_input input = {.event = event,
                                          .rule_arn = TR_VIEW("arn"),
                                          .rule_name = TR_VIEW("\"r\""),
                                          .ingestion_time = TR_VIEW("T")};
        int e = tr_transform_apply(transform, &input, &out, &err);
        assert(e == 0 || out.len == 0);
        assert(!valid || e == 0 || e == TR_EINVAL);
        tr_transform_free(transform);
    }
    tr_buf_done(&out);
    return 0;
}
