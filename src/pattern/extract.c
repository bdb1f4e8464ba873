/* SPDX-License-Identifier: MIT */
/* Paths into events, and the walk over members that they and the templates share. */
#include "extract.h"

#include "scan.h"

/* ---------------------------------------------------------------------------------------------- members */

const char *tr__members_begin(tr_view container)
{
    return container.len && (*container.ptr == '{' || *container.ptr == '[') ? container.ptr + 1 : NULL;
}

/* Reads a name and its colon. */
static const char *read_name(const char *p, const char *end, struct tr__member *m)
{
    if (p >= end || *p != '"')
        return NULL;
    m->escaped = false;
    const char *close = tr__scan_string(p + 1, end, &m->escaped);
    if (!close)
        return NULL;
    m->name = tr_view_of(p + 1, (size_t)(close - p - 1));
    p = tr__scan_space(close + 1, end);
    return p < end && *p == ':' ? tr__scan_space(p + 1, end) : NULL;
}

int tr__members_next(tr_view container, const char **at, struct tr__member *ret_member)
{
    const char *end = container.ptr + container.len, *p = tr__scan_space(*at, end);
    bool object = *container.ptr == '{', first = *at == container.ptr + 1;
    if (p < end && *p == (object ? '}' : ']'))
        return 0;
    if (!first) {
        if (p >= end || *p != ',')
            return TR_EPARSE;
        p = tr__scan_space(p + 1, end);
    }
    if (object && !(p = read_name(p, end, ret_member)))
        return TR_EPARSE;
    const char *behind = tr__scan_value(p, end);
    if (!behind)
        return TR_EPARSE;
    ret_member->value = tr_view_of(p, (size_t)(behind - p));
    *at = behind;
    return 1;
}

bool tr__member_is(const struct tr__member *member, tr_view name)
{
    if (!member->escaped)
        return tr_view_eq(member->name, name);
    char decoded[TR_INPUT_PATH_MAX * 6]; /* an escape takes at most 6 bytes for one */
    size_t len;
    return member->name.len <= sizeof decoded &&
           !tr__json_unescape(member->name.ptr, member->name.ptr + member->name.len, decoded, &len) &&
           tr_view_eq(tr_view_of(decoded, len), name);
}

void tr__put_compact(tr_buf *out, tr_view json, bool bare)
{
    bool string = false;
    size_t from = 0;
    for (size_t i = 0; i < json.len; i++) {
        char c = json.ptr[i];
        bool escaped_quote = string && c == '\\' && i + 1 < json.len && json.ptr[i + 1] == '"';
        bool space = !string && (c == ' ' || c == '\n' || c == '\r' || c == '\t');
        if (c == '"')
            string = !string;
        if (space || (bare && (c == '"' || escaped_quote))) {
            tr_buf_put(out, json.ptr + from, i - from);
            from = i + 1 + escaped_quote;
        }
        i += string && c == '\\'; /* what is escaped neither ends the string nor starts an escape */
    }
    if (from < json.len)
        tr_buf_put(out, json.ptr + from, json.len - from);
}

/* ------------------------------------------------------------------------------------------------ paths */

enum step_kind { STEP_NAME, STEP_INDEX, STEP_ALL };

struct step {
    enum step_kind kind;
    tr_view name;
    uint64_t index;
};

struct tr_input_path {
    char text[TR_INPUT_PATH_MAX];
    struct step steps[TR_INPUT_PATH_MAX / 2];
    size_t count;
    bool many;
};

/* Reads the step at *at. */
static bool read_step(tr_view text, size_t *at, struct step *step)
{
    size_t i = *at;
    *step = (struct step){.kind = STEP_NAME};
    if (text.ptr[i] == '.') {
        size_t from = ++i;
        while (i < text.len && text.ptr[i] != '.' && text.ptr[i] != '[')
            if ((uint8_t)text.ptr[i] <= ' ' || strchr("]<>'\"", text.ptr[i++]))
                return false;
        step->name = tr_view_of(text.ptr + from, i - from);
        if (tr_view_is(step->name, "*"))
            step->kind = STEP_ALL;
        *at = i;
        return step->name.len > 0;
    }
    size_t close = text.ptr[i] == '[' ? tr_view_find(text, TR_VIEW("]"), i) : SIZE_MAX;
    if (close == SIZE_MAX)
        return false;
    tr_view index = tr_view_of(text.ptr + i + 1, close - i - 1);
    step->kind = tr_view_is(index, "*") ? STEP_ALL : STEP_INDEX;
    *at = close + 1;
    return step->kind == STEP_ALL || tr_view_to_u64(index, INT32_MAX, &step->index) == 0;
}

/* Fills steps (room for TR_INPUT_PATH_MAX / 2: each takes two bytes at least), or only counts if steps is
 * NULL. */
static bool read_path(tr_view text, struct step *steps, size_t *ret_count)
{
    size_t count = 0;
    if (text.len == 0 || text.len > TR_INPUT_PATH_MAX || text.ptr[0] != '$' || !tr_utf8_valid(text))
        return false;
    for (size_t at = 1; at < text.len; count++) {
        struct step step;
        if (!read_step(text, &at, &step))
            return false;
        if (steps)
            steps[count] = step;
    }
    *ret_count = count;
    return true;
}

bool tr__path_valid(tr_view text, size_t *ret_steps)
{
    return read_path(text, NULL, ret_steps);
}

int tr_input_path_compile(tr_view text, const char *target_id, tr_input_path **ret_path, tr_error *err)
{
    size_t count;
    if (!tr__path_valid(text, &count))
        return tr_fail_service(
            err, TR_EINVAL, 400, "ValidationException",
            "InputPath for target %s is not a valid JSON path: $ and steps like .name, [0] or .* are.",
            target_id);
    tr_input_path *path = tr_calloc(1, sizeof *path);
    if (!path)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    memcpy(path->text, text.ptr, text.len);
    (void)read_path(tr_view_of(path->text, text.len), path->steps, &path->count);
    for (size_t i = 0; i < path->count; i++)
        path->many |= path->steps[i].kind == STEP_ALL;
    *ret_path = path;
    return 0;
}

void tr_input_path_free(tr_input_path *path)
{
    tr_free(path);
}

bool tr__path_is_many(const tr_input_path *path)
{
    return path->many;
}

/* One step down. 0, TR_ENOTFOUND, TR_EPARSE. */
static int take_step(const struct step *step, tr_view value, tr_view *ret_value)
{
    const char *at = tr__members_begin(value);
    bool fits = at && (*value.ptr == '{') == (step->kind == STEP_NAME);
    struct tr__member m;
    uint64_t index = 0;
    int found = TR_ENOTFOUND, e = 0;
    while (fits && (e = tr__members_next(value, &at, &m)) > 0) {
        if (step->kind == STEP_NAME ? !tr__member_is(&m, step->name) : index++ != step->index)
            continue;
        *ret_value = m.value; /* the last of that name counts */
        found = 0;
        if (step->kind == STEP_INDEX)
            break;
    }
    return e < 0 ? e : found;
}

static tr_view trim(tr_view event)
{
    if (event.len == 0)
        return event;
    const char *end = event.ptr + event.len, *p = tr__scan_space(event.ptr, end);
    return tr_view_of(p, (size_t)(end - p));
}

int tr__path_find(const tr_input_path *path, tr_view event, tr_view *ret_value)
{
    tr_view value = trim(event);
    int e = tr__members_begin(value) ? 0 : TR_EPARSE;
    for (size_t i = 0; i < path->count && !e; i++)
        e = take_step(&path->steps[i], value, &value);
    if (!e)
        *ret_value = value;
    return e;
}

/* Appends what the steps from i on find, each with a comma before it. Depth is the number of steps. */
static int put_all(const tr_input_path *path, size_t i, tr_view value, tr_buf *out)
{
    for (; i < path->count && path->steps[i].kind != STEP_ALL; i++) {
        int e = take_step(&path->steps[i], value, &value);
        if (e)
            return e == TR_ENOTFOUND ? 0 : e;
    }
    if (i == path->count) {
        tr_buf_putc(out, ',');
        tr__put_compact(out, value, false);
        return 0;
    }
    const char *at = tr__members_begin(value);
    struct tr__member m;
    int e = 0;
    while (at && (e = tr__members_next(value, &at, &m)) > 0)
        if ((e = put_all(path, i + 1, m.value, out)) < 0)
            break;
    return e;
}

int tr_input_path_apply(const tr_input_path *path, tr_view event, tr_buf *out)
{
    size_t before = out->len;
    tr_view value = {NULL, 0};
    int e;
    if (path->many) {
        tr_view whole = trim(event);
        e = tr__members_begin(whole) ? put_all(path, 0, whole, out) : TR_EPARSE;
        if (!e && out->len > before)
            out->ptr[before] = '['; /* in place of the first comma */
        else if (!e)
            tr_buf_putc(out, '[');
        tr_buf_putc(out, ']');
    } else {
        e = tr__path_find(path, event, &value);
        if (!e)
            tr__put_compact(out, value, false);
    }
    if (!e)
        e = tr_buf_status(out);
    if (e)
        out->len = before;
    return e;
}
