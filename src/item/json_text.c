/* SPDX-License-Identifier: MIT */
#include <tailrace/item.h>

static const char *const problem_text[] = {
    [TR_ITEM_OK] = "no problem",
    [TR_ITEM_JSON] = "not valid JSON",
    [TR_ITEM_NOT_OBJECT] = "an attribute value must be an object such as {\"S\":\"text\"}",
    [TR_ITEM_NO_TYPE] = "an attribute value names no type; exactly one is needed, as in {\"S\":\"text\"}",
    [TR_ITEM_MANY_TYPES] = "an attribute value names more than one type; exactly one is needed",
    [TR_ITEM_WRONG_JSON_TYPE] = "a value does not fit its type",
    [TR_ITEM_NUMBER] = "not a number that DynamoDB can hold (38 digits, 1E-130 to 9.99E+125)",
    [TR_ITEM_BASE64] = "a binary value is not valid base64",
    [TR_ITEM_NULL_FALSE] = "NULL must have the value true",
    [TR_ITEM_EMPTY_SET] = "a set may not be empty",
    [TR_ITEM_SET_DUPLICATE] = "a set holds a value twice",
    [TR_ITEM_DEPTH] = "lists and maps are nested deeper than 32 levels",
    [TR_ITEM_DUPLICATE_NAME] = "a name occurs twice in one object",
    [TR_ITEM_NAME] = "an attribute's name must have 1 to 65535 bytes",
    [TR_ITEM_MEMORY] = "out of memory, or larger than allowed",
};

const char *tr_item_problem_text(tr_item_problem problem)
{
    return (size_t)problem < TR_COUNT(problem_text) && problem_text[problem] ? problem_text[problem]
                                                                             : "unknown problem";
}

int tr_item_error_to(const tr_item_error *error, int code, const tr_json_reader *reader, tr_error *ret_err)
{
    const char *what = tr_item_problem_text(error->problem);
    size_t at = tr_json_offset(reader);
    if (error->problem == TR_ITEM_JSON)
        return tr_fail(ret_err, code, "%s at byte %zu: %s", what, at,
                       tr_json_error(reader) ? tr_json_error(reader) : "unexpected end");
    if (error->problem == TR_ITEM_NUMBER || error->problem == TR_ITEM_SET_DUPLICATE)
        return tr_fail(ret_err, code, "%s before byte %zu: %.*s", what, at,
                       error->text.len > 200 ? 200 : (int)error->text.len, error->text.ptr);
    if (error->problem == TR_ITEM_WRONG_JSON_TYPE)
        return tr_fail(ret_err, code, "%s, %s, before byte %zu", what, tr_type_name(error->type), at);
    return tr_fail(ret_err, code, "%s, before byte %zu", what, at);
}

int tr_item_from_json(tr_view json, tr_arena *arena, tr_item *ret_item, tr_error *err)
{
    tr_json_reader reader;
    tr_json_init(&reader, json, arena);
    tr_json_next(&reader);
    tr_buf buf;
    tr_buf_init(&buf, UINT32_MAX);
    tr_item_error error;
    int e = tr_item_read(&reader, &buf, &error);
    if (e == 0 && tr_json_next(&reader) != TR_JSON_DONE) {
        e = tr_json_error_code(&reader);
        error = (tr_item_error){.problem = TR_ITEM_JSON};
    }
    if (e) {
        tr_buf_done(&buf);
        return tr_item_error_to(&error, e, &reader, err);
    }
    tr_view copy = tr_arena_copy(arena, tr_buf_view(&buf));
    tr_buf_done(&buf);
    if (!copy.ptr)
        return tr_fail(err, TR_ENOMEM, "%s", tr_item_problem_text(TR_ITEM_MEMORY));
    *ret_item = copy;
    return 0;
}
