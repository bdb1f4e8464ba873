/* SPDX-License-Identifier: MIT */
#include "api/shape.h"

#include <stdio.h>
#include <stdlib.h>

/* -------------------------------------------------------------------------------------------- reading */

static int read_struct(tr_shape_reader *r, const tr_shape *shape, char *out);

static int malformed(tr_shape_reader *r)
{
    int code = tr_json_error_code(&r->json);
    r->problem[0] = 0;
    return code == TR_ENOMEM ? code : TR_EPARSE;
}

/* The text of the value that began at `from` and has just been read to its end. */
static tr_view text_since(const tr_shape_reader *r, const char *from)
{
    return tr_view_of(from, (size_t)(r->json.at - from));
}

/* One more element of `size` bytes, zeroed, at the list's end; the array doubles when it is full. */
static void *list_add(tr_shape_reader *r, tr_list *list, size_t size)
{
    uint32_t n = list->count;
    if (n >= TR_LIST_MAX)
        return NULL;
    if (n == 0 || (n >= 4 && (n & (n - 1)) == 0)) {
        uint32_t cap = n ? n * 2 : 4;
        char *items = tr_arena_alloc(r->arena, cap * size);
        if (!items)
            return NULL;
        if (n)
            memcpy(items, list->items, n * size);
        list->items = items;
    }
    char *element = (char *)list->items + n * size;
    memset(element, 0, size);
    list->count = n + 1;
    return element;
}

/* Why list_add gave nothing: the request is too large, or memory is short. */
static int no_element(const tr_shape_reader *r, const tr_list *list)
{
    bool large = list->count >= TR_LIST_MAX || r->arena->used > r->arena->limit / 2;
    return large ? TR_ELIMIT : TR_ENOMEM;
}

static int read_bool(tr_shape_reader *r, tr_bool *out)
{
    tr_view text = r->json.text;
    switch (r->json.token) {
    case TR_JSON_TRUE:
    case TR_JSON_FALSE:
        *out = (tr_bool){true, r->json.token == TR_JSON_TRUE};
        return 0;
    case TR_JSON_STRING:
        if (tr_view_is(text, "true") || tr_view_is(text, "TRUE"))
            *out = (tr_bool){true, true};
        else if (tr_view_is(text, "false") || tr_view_is(text, "FALSE"))
            *out = (tr_bool){true, false};
        else
            return tr__shape_problem(r, "Unexpected token received from parser");
        return 0;
    default:
        return tr__shape_wrong_scalar(r, "Boolean");
    }
}

/* Fractions are cut as the service does; what leaves 64 bits becomes the nearest bound, which no constraint
 * passes. */
static int read_int(tr_shape_reader *r, const char *java, tr_int *out)
{
    if (r->json.token != TR_JSON_NUMBER)
        return tr__shape_wrong_scalar(r, java);
    int64_t value;
    int e = tr_json_int(&r->json, &value);
    tr_view text = r->json.text;
    if (e == TR_ELIMIT) {
        value = text.ptr[0] == '-' ? INT64_MIN : INT64_MAX;
    } else if (e) {
        char digits[64];
        size_t n = text.len < sizeof digits - 1 ? text.len : sizeof digits - 1;
        memcpy(digits, text.ptr, n);
        digits[n] = 0;
        double x = strtod(digits, NULL);
        value = x >= 9e18 ? INT64_MAX : x <= -9e18 ? INT64_MIN : (int64_t)x;
    }
    *out = (tr_int){value, true};
    return 0;
}

/* Seconds since 1970, with a fraction. */
static int read_time(tr_shape_reader *r, tr_int *out)
{
    char digits[64];
    if (r->json.token != TR_JSON_NUMBER)
        return tr__shape_wrong_scalar(r, "Date");
    size_t n = r->json.text.len < sizeof digits - 1 ? r->json.text.len : sizeof digits - 1;
    memcpy(digits, r->json.text.ptr, n);
    digits[n] = 0;
    double ms = strtod(digits, NULL) * 1000.0;
    *out = (tr_int){ms >= 9e18    ? INT64_MAX
                    : ms <= -9e18 ? INT64_MIN
                                  : (int64_t)(ms + (ms < 0 ? -0.5 : 0.5)),
                    true};
    return 0;
}

/* Keeps what was wrong with a map or a value, unless a type is wrong in it. `before`: the reader's place at
 * its first token. */
static int keep_error(tr_shape_reader *r, const tr_json_reader *before, int code, bool map, bool field,
                      tr_item_error *error)
{
    if (code == TR_ENOMEM || error->problem == TR_ITEM_MEMORY)
        return code;
    r->json = *before;
    int e = map ? tr__shape_check_values(r) : tr__shape_check_value(r, field);
    if (e == 0 && error->problem == TR_ITEM_OK)
        error->problem = TR_ITEM_NO_TYPE;
    return e;
}

static int map_expected(tr_shape_reader *r, const char *java)
{
    if (r->json.token == TR_JSON_OBJECT)
        return 0;
    if (r->json.token == TR_JSON_ERROR)
        return malformed(r);
    if (r->json.token == TR_JSON_ARRAY)
        return tr__shape_problem(r, "Unrecognized collection type java.util.Map<java.lang.String, %s%s>",
                                 strchr(java, '.') ? "" : TR_JAVA_PREFIX, java);
    return tr__shape_problem(r, "Unexpected field type");
}

/* What the service says where a type with parameters meets a scalar. */
static const char parameterized[] =
    "class sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl cannot be cast to class "
    "java.lang.Class (sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl and java.lang.Class are "
    "in "
    "module java.base of loader 'bootstrap')";

static int read_item(tr_shape_reader *r, tr_attributes *out)
{
    const char *from = r->json.at - 1;
    tr_json_reader before = r->json;
    out->given = true;
    tr_buf_reset(r->scratch);
    int e = tr_item_read(&r->json, r->scratch, &out->error);
    if (e)
        e = keep_error(r, &before, e, true, false, &out->error);
    else if (out->error.problem == TR_ITEM_OK) {
        out->item = tr_arena_copy(r->arena, tr_buf_view(r->scratch));
        if (!out->item.ptr)
            e = TR_ENOMEM;
    }
    out->raw = text_since(r, from);
    return e;
}

static int read_value(tr_shape_reader *r, bool field, tr_attribute *out)
{
    tr_json_reader before = r->json;
    tr_packer packer;
    size_t len;
    out->given = true;
    tr_buf_reset(r->scratch);
    tr_packer_init(&packer, r->scratch);
    int e = tr_value_read(&r->json, &packer, &out->error);
    if (e)
        return keep_error(r, &before, e, false, field, &out->error);
    tr_view packed = tr_arena_copy(r->arena, tr_buf_view(r->scratch));
    if (!packed.ptr)
        return TR_ENOMEM;
    return tr_value_decode(packed, &out->value, &len);
}

static int read_env_names(tr_shape_reader *r, tr_expr_env *env)
{
    tr_error err;
    err.type[0] = err.message[0] = 0;
    int e = map_expected(r, "java.lang.String");
    if (e)
        return e;
    e = tr_expr_env_read_names(env, &r->json, &err);
    if (e == 0 || e == TR_ENOMEM)
        return e;
    if (r->json.token == TR_JSON_ERROR)
        return malformed(r);
    return tr__shape_problem(r, "%s", err.message);
}

static int read_env_values(tr_shape_reader *r, tr_expr_env *env)
{
    int e = map_expected(r, "AttributeValue");
    if (e)
        return e;
    tr_json_reader before = r->json;
    e = tr_expr_env_read_values(env, &r->json, r->scratch, NULL);
    if (e == 0)
        return 0;
    env->values_given = true;
    return keep_error(r, &before, e, true, false, &env->item_error);
}

/* An element of a list or map that must be a structure; null leaves it empty. */
static int struct_expected(tr_shape_reader *r, const char *java, bool field)
{
    switch (r->json.token) {
    case TR_JSON_OBJECT:
    case TR_JSON_NULL:
        return 0;
    case TR_JSON_ERROR:
        return malformed(r);
    case TR_JSON_ARRAY:
        return tr__shape_problem(r, "Unrecognized collection type class " TR_JAVA_PREFIX "%s", java);
    default:
        return tr__shape_problem(r, field ? "Unexpected field type" : "Unexpected value type in payload");
    }
}

static size_t element_size(const tr_member *m)
{
    switch (m->kind) {
    case TR_K_STRINGS:
        return sizeof(tr_view);
    case TR_K_ITEMS:
        return sizeof(tr_attributes);
    case TR_K_VALUES:
        return sizeof(tr_attribute);
    case TR_K_LIST_MAP:
        return sizeof(tr_named_list);
    default:
        return m->shape->size;
    }
}

static int read_list(tr_shape_reader *r, const tr_member *m, tr_list *out);

/* The element whose first token was just read. */
static int read_element(tr_shape_reader *r, const tr_member *m, void *element)
{
    int e;
    if (r->json.token == TR_JSON_NULL && m->kind == TR_K_VALUES) {
        *(tr_attribute *)element = (tr_attribute){.given = true, .error = {.problem = TR_ITEM_NO_TYPE}};
        return 0;
    }
    if (r->json.token == TR_JSON_NULL && m->kind != TR_K_STRUCTS)
        return 0;
    switch (m->kind) {
    case TR_K_STRINGS:
        if (r->json.token != TR_JSON_STRING)
            return tr__shape_wrong_scalar(r, "String");
        *(tr_view *)element = r->json.text;
        return 0;
    case TR_K_ITEMS:
        if (r->json.token != TR_JSON_OBJECT)
            return r->json.token == TR_JSON_ARRAY
                       ? tr__shape_problem(
                             r, "Unrecognized collection type java.util.Map<java.lang.String, " TR_JAVA_PREFIX
                                "AttributeValue>")
                       : tr__shape_problem(r, "%s", parameterized);
        return read_item(r, element);
    case TR_K_VALUES:
        return read_value(r, false, element);
    default:
        e = struct_expected(r, m->shape->java, false);
        if (e)
            return e;
        return r->json.token == TR_JSON_NULL ? 0 : read_struct(r, m->shape, element);
    }
}

static int read_list(tr_shape_reader *r, const tr_member *m, tr_list *out)
{
    const char *from = r->json.at - 1;
    if (r->json.token != TR_JSON_ARRAY)
        return r->json.token == TR_JSON_ERROR ? malformed(r)
               : r->json.token == TR_JSON_OBJECT
                   ? tr__shape_problem(r, "Start of structure or map found where not expected")
               : m->kind == TR_K_LIST_MAP ? tr__shape_problem(r, "%s", parameterized)
                                          : tr__shape_problem(r, "Unexpected field type");
    *out = (tr_list){.given = true};
    tr_member one = *m;
    if (m->kind == TR_K_LIST_MAP)
        one.kind = TR_K_STRUCTS;
    size_t size = element_size(&one);
    while (tr_json_next(&r->json) != TR_JSON_ARRAY_END) {
        if (r->json.token == TR_JSON_ERROR)
            return malformed(r);
        void *element = list_add(r, out, size);
        if (!element)
            return no_element(r, out);
        int e = read_element(r, &one, element);
        if (e)
            return e;
    }
    out->raw = text_since(r, from);
    return 0;
}

/* Maps of structures and maps of lists: elements begin with the key. */
static int read_map(tr_shape_reader *r, const tr_member *m, tr_list *out)
{
    const char *from = r->json.at - 1;
    int e = map_expected(r, m->java ? m->java : m->shape->java);
    if (e)
        return e;
    *out = (tr_list){.given = true};
    size_t size = element_size(m);
    while (tr_json_next_key(&r->json)) {
        tr_view key = r->json.text;
        void *element = list_add(r, out, size);
        if (!element)
            return no_element(r, out);
        tr_json_next(&r->json);
        if (m->kind == TR_K_LIST_MAP)
            e = r->json.token == TR_JSON_NULL ? 0 : read_list(r, m, &((tr_named_list *)element)->list);
        else {
            e = struct_expected(r, m->shape->java, false);
            if (e == 0 && r->json.token == TR_JSON_OBJECT)
                e = read_struct(r, m->shape, element);
        }
        if (e)
            return e;
        *(tr_view *)element = key;
    }
    out->raw = text_since(r, from);
    return r->json.token == TR_JSON_ERROR ? malformed(r) : 0;
}

static int read_nested(tr_shape_reader *r, const tr_member *m, void **out)
{
    int e = struct_expected(r, m->shape->java, true);
    if (e)
        return e;
    char *nested = tr_arena_alloc(r->arena, m->shape->size);
    if (!nested)
        return TR_ENOMEM;
    e = read_struct(r, m->shape, nested);
    *out = nested;
    return e;
}

/* The member's value, whose first token was just read and is not null. */
static int read_member(tr_shape_reader *r, const tr_member *m, void *at)
{
    int e;
    switch ((tr_kind)m->kind) {
    case TR_K_STRING:
        if (TR_UNLIKELY(r->json.token != TR_JSON_STRING))
            return tr__shape_wrong_scalar(r, "String");
        *(tr_view *)at = r->json.text;
        return 0;
    case TR_K_INTEGER:
        return read_int(r, "Integer", at);
    case TR_K_LONG:
        return read_int(r, "Long", at);
    case TR_K_TIME:
        return read_time(r, at);
    case TR_K_BOOLEAN:
        return read_bool(r, at);
    case TR_K_STRINGS:
    case TR_K_STRUCTS:
    case TR_K_ITEMS:
    case TR_K_VALUES:
        return read_list(r, m, at);
    case TR_K_STRUCT_MAP:
    case TR_K_LIST_MAP:
        return read_map(r, m, at);
    case TR_K_STRUCT:
        return read_nested(r, m, at);
    case TR_K_ITEM:
        e = map_expected(r, "AttributeValue");
        return e ? e : read_item(r, at);
    case TR_K_VALUE:
        return read_value(r, true, at);
    case TR_K_ENV_NAMES:
        return read_env_names(r, at);
    case TR_K_ENV_VALUES:
        return read_env_values(r, at);
    case TR_K_REFUSED:
        *(const char **)at = m->name;
        return tr_json_skip(&r->json) ? malformed(r) : 0;
    case TR_K_RAW:
        e = struct_expected(r, m->java, true);
        return e ? e : tr_json_raw(&r->json, at) ? malformed(r) : 0;
    }
    return TR_EINVAL;
}

static const tr_member *find_member(const tr_shape *shape, tr_view name)
{
    for (size_t i = 0; i < shape->count; i++) {
        const tr_member *m = &shape->members[i];
        if (m->name_len == name.len && memcmp(m->name, name.ptr, name.len) == 0)
            return m;
    }
    return NULL;
}

/* TR_JSON_OBJECT was just read. */
static int read_struct(tr_shape_reader *r, const tr_shape *shape, char *out)
{
    memset(out, 0, shape->size);
    if (shape->env >= 0)
        tr_expr_env_init((tr_expr_env *)(void *)(out + shape->env), r->arena);
    while (tr_json_next_key(&r->json)) {
        const tr_member *m = find_member(shape, r->json.text);
        int e = 0;
        tr_json_next(&r->json);
        if (m && r->json.token != TR_JSON_NULL)
            e = read_member(r, m, out + m->offset);
        else if (tr_json_skip(&r->json))
            e = malformed(r);
        if (e)
            return e;
    }
    return r->json.token == TR_JSON_ERROR ? malformed(r) : 0;
}

int tr__shape_read(tr_shape_reader *r, const tr_shape *shape, tr_view body, void *out)
{
    tr_json_init(&r->json, body, r->arena);
    r->problem[0] = 0;
    if (tr_json_next(&r->json) != TR_JSON_OBJECT)
        return TR_EPARSE;
    int e = read_struct(r, shape, out);
    if (e == 0 && tr_json_next(&r->json) != TR_JSON_DONE)
        return malformed(r);
    if (e != TR_EPARSE || !r->problem[0])
        return e;
    /* the service parses the whole text before it looks at types */
    while (r->json.token != TR_JSON_DONE)
        if (tr_json_next(&r->json) == TR_JSON_ERROR)
            return malformed(r);
    return e;
}

/* ------------------------------------------------------------------------------------------- checking */

/* Where a value stands: "keySchema.1.member.keyType", from the last part to the first. */
typedef struct place {
    const struct place *parent;
    tr_view name;   /* of a member, or a map's key */
    uint32_t index; /* of a list's element, from 1; 0: none */
    bool element;   /* followed by ".member" */
} place;

typedef struct checker {
    tr_buf *out;
    unsigned count;
    bool lone_told;
} checker;

static void put_place(tr_buf *out, const place *p)
{
    if (p->parent) {
        put_place(out, p->parent);
        tr_buf_putc(out, '.');
    }
    if (p->index) {
        tr_buf_put_u64(out, p->index);
    } else if (p->name.len) {
        char c = p->name.ptr[0];
        tr_buf_putc(out, !p->element && c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
        tr_buf_put(out, p->name.ptr + 1, p->name.len - 1);
    }
    if (p->element)
        tr_buf_put_str(out, ".member");
}

static void put_java(tr_buf *out, const tr_member *m, const void *at);

/* "KeySchemaElement(attributeName=pk, keyType=HASH)": a structure as Java prints it. */
static void put_java_struct(tr_buf *out, const tr_shape *shape, const char *in)
{
    tr_buf_put_str(out, shape->java);
    tr_buf_putc(out, '(');
    for (size_t i = 0; i < shape->count; i++) {
        const tr_member *m = &shape->members[i];
        tr_buf_printf(out, "%s%c%s=", i ? ", " : "", m->name[0] - 'A' + 'a', m->name + 1);
        put_java(out, m, in + m->offset);
    }
    tr_buf_putc(out, ')');
}

static void put_java_list(tr_buf *out, const tr_member *m, const tr_list *list)
{
    tr_buf_putc(out, '[');
    for (uint32_t i = 0; i < list->count; i++) {
        if (i)
            tr_buf_put_str(out, ", ");
        if (m->kind == TR_K_STRINGS)
            tr_buf_put_view(out, ((const tr_view *)list->items)[i]);
        else
            put_java_struct(out, m->shape, (const char *)list->items + (size_t)i * m->shape->size);
    }
    tr_buf_putc(out, ']');
}

static void put_java_map(tr_buf *out, const tr_member *m, const tr_list *map)
{
    tr_buf_putc(out, '{');
    size_t size = element_size(m);
    for (uint32_t i = 0; i < map->count; i++) {
        const char *element = (const char *)map->items + i * size;
        tr_buf_printf(out, "%s%.*s=", i ? ", " : "", TR_FMT(*(const tr_view *)(const void *)element));
        if (m->kind == TR_K_LIST_MAP)
            put_java_list(out, m, &((const tr_named_list *)(const void *)element)->list);
        else
            put_java_struct(out, m->shape, element);
    }
    tr_buf_putc(out, '}');
}

/* Values of attributes are shown as they were written. */
static void put_java(tr_buf *out, const tr_member *m, const void *at)
{
    switch ((tr_kind)m->kind) {
    case TR_K_REFUSED:
        return;
    case TR_K_STRING:
    case TR_K_RAW:
        tr_buf_put_view(out, *(const tr_view *)at);
        return;
    case TR_K_TIME:
    case TR_K_INTEGER:
    case TR_K_LONG:
        tr_buf_printf(out, "%lld", (long long)((const tr_int *)at)->value);
        return;
    case TR_K_BOOLEAN:
        tr_buf_put_str(out, ((const tr_bool *)at)->value ? "true" : "false");
        return;
    case TR_K_STRUCT:
        if (*(void *const *)at)
            put_java_struct(out, m->shape, *(const char *const *)at);
        else
            tr_buf_put_str(out, "null");
        return;
    case TR_K_STRINGS:
    case TR_K_STRUCTS:
        put_java_list(out, m, at);
        return;
    case TR_K_STRUCT_MAP:
    case TR_K_LIST_MAP:
        put_java_map(out, m, at);
        return;
    case TR_K_ITEM:
        tr_buf_put_view(out, ((const tr_attributes *)at)->raw);
        return;
    default:
        tr_buf_put_str(out, "null");
    }
}

/* A list or map in an error: its text is made when it is needed. */
static tr_view show(const tr_member *m, const tr_list *list, tr_buf *out)
{
    tr_buf_init(out, (size_t)TR_SHOWN_MAX);
    if (m->kind == TR_K_ITEMS || m->kind == TR_K_VALUES)
        return list->raw;
    put_java(out, m, list);
    return tr_buf_status(out) ? list->raw : tr_buf_view(out);
}

static bool begin(checker *c, const place *p, tr_view value)
{
    if (c->count >= TR_CHECK_ERRORS_MAX)
        return false;
    if (c->count++)
        tr_buf_put_str(c->out, "; ");
    tr_buf_put_str(c->out, "Value ");
    if (value.ptr) {
        tr_buf_putc(c->out, '\'');
        tr_buf_put_view(c->out, value);
        tr_buf_putc(c->out, '\'');
    } else {
        tr_buf_put_str(c->out, "null");
    }
    tr_buf_put_str(c->out, " at '");
    put_place(c->out, p);
    tr_buf_put_str(c->out, "' failed to satisfy constraint: ");
    return true;
}

bool tr__name_valid(tr_view name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
              c == '-' || c == '.'))
            return false;
    }
    return name.len > 0;
}

bool tr__enum_has(const char *values, tr_view text)
{
    for (const char *at = values + 1; *at && *at != ']';) {
        size_t n = strcspn(at, ",]");
        if (text.len == n && memcmp(at, text.ptr, n) == 0)
            return true;
        at += n;
        if (*at == ',')
            at += 2;
    }
    return false;
}

/* Characters, as the service counts a text's length. */
static int64_t text_length(tr_view text)
{
    int64_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += ((uint8_t)text.ptr[i] & 0xc0) != 0x80;
    return n;
}

static void check_bounds(checker *c, const tr_member *m, const place *p, tr_view value, int64_t x,
                         const char *what)
{
    if ((m->rules & TR_R_UNNAMED) && x < m->min) {
        tr_buf_printf(
            c->out,
            "%sValue at '%s' failed to satisfy constraint: Member must have %s greater than or equal "
            "to %lld",
            c->count++ ? "; " : "", m->name, what, (long long)m->min);
        return;
    }
    if ((m->rules & TR_R_MIN) && x < m->min && begin(c, p, value))
        tr_buf_printf(c->out, "Member must have %s greater than or equal to %lld", what, (long long)m->min);
    if ((m->rules & TR_R_MAX) && x > m->max && begin(c, p, value))
        tr_buf_printf(c->out, "Member must have %s less than or equal to %lld", what, (long long)m->max);
}

/* Names of EventBridge: letters, digits, ".-_", those of buses with "/" too; or the ARN of a bus. */
static void check_events_name(checker *c, const tr_member *m, const place *p, tr_view text)
{
    static const char arn[] =
        "(arn:aws[\\w-]*:events:[a-z]{2}-[a-z]+-[\\w-]+:[0-9]{12}:event-bus\\/)?[/\\.\\-_A-Za-z0-9]+";
    size_t cut = m->rules & TR_R_BUS_ARN && tr_view_starts(text, TR_VIEW("arn:"))
                     ? tr_view_find(text, TR_VIEW(":event-bus/"), 0)
                     : SIZE_MAX;
    tr_view name = cut == SIZE_MAX ? text : tr_view_of(text.ptr + cut + 11, text.len - cut - 11);
    bool valid = name.len > 0;
    for (size_t i = 0; valid && i < name.len; i++)
        valid = tr__name_valid(tr_view_of(name.ptr + i, 1)) ||
                (name.ptr[i] == '/' && !(m->rules & TR_R_EVENTS_NAME));
    if (valid || !begin(c, p, text))
        return;
    tr_buf_printf(c->out, "Member must satisfy regular expression pattern: %s",
                  m->rules & TR_R_BUS_ARN    ? arn
                  : m->rules & TR_R_BUS_NAME ? "[/\\.\\-_A-Za-z0-9]+"
                                             : "[\\.\\-_A-Za-z0-9]+");
}

static void check_text(checker *c, const tr_member *m, const place *p, tr_view text)
{
    if ((m->rules & TR_R_TABLE) && text.len == 0) {
        if (begin(c, p, text))
            tr_buf_put_str(c->out, "Member must have length greater than or equal to 1");
        return;
    }
    if ((m->rules & TR_R_TABLE) && tr_view_starts(text, TR_VIEW("arn:aws:dynamodb:")))
        return;
    if (m->values && !tr__enum_has(m->values, text) && begin(c, p, text))
        tr_buf_printf(c->out, "Member must satisfy enum value set: %s", m->values);
    if ((m->rules & (TR_R_NAME | TR_R_TABLE)) && !tr__name_valid(text) && begin(c, p, text))
        tr_buf_put_str(c->out, "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+");
    if (m->rules & (TR_R_EVENTS_NAME | TR_R_BUS_NAME | TR_R_BUS_ARN))
        check_events_name(c, m, p, text);
    check_bounds(c, m, p, text, text_length(text), "length");
}

static void check_struct(checker *c, const tr_shape *shape, const char *in, const place *parent);

/* A list's raw text, shown as the service prints lists: "[a, b]". */
static void check_list(checker *c, const tr_member *m, const place *p, const tr_list *list)
{
    if (((m->rules & TR_R_MIN) && list->count < m->min) || ((m->rules & TR_R_MAX) && list->count > m->max)) {
        tr_buf shown;
        check_bounds(c, m, p, show(m, list, &shown), list->count, "length");
        tr_buf_done(&shown);
    }
    if (m->kind != TR_K_STRUCTS)
        return;
    for (uint32_t i = 0; i < list->count && c->count < TR_CHECK_ERRORS_MAX; i++) {
        place at = {.parent = p, .index = i + 1, .element = true};
        check_struct(c, m->shape, (const char *)list->items + (size_t)i * m->shape->size, &at);
    }
}

/* No list of the map may have more than 25 elements. */
static void check_lists(checker *c, const tr_member *m, const place *p, const tr_list *map)
{
    const tr_named_list *named = map->items;
    uint32_t most = 0;
    tr_buf shown;
    for (uint32_t i = 0; i < map->count; i++)
        most = named[i].list.count > most ? named[i].list.count : most;
    if (most <= 25)
        return;
    if (begin(c, p, show(m, map, &shown)))
        tr_buf_put_str(c->out,
                       "Map value must satisfy constraint: [Member must have length less than or equal to "
                       "25, Member must have length greater than or equal to 1]");
    tr_buf_done(&shown);
}

static void check_map(checker *c, const tr_member *m, const place *p, const tr_list *map)
{
    check_bounds(c, m, p, map->raw, map->count, "length");
    if (m->rules & TR_R_LISTS)
        check_lists(c, m, p, map);
    size_t size = element_size(m);
    for (uint32_t i = 0; i < map->count && c->count < TR_CHECK_ERRORS_MAX; i++) {
        const char *element = (const char *)map->items + i * size;
        place at = {.parent = p, .name = *(const tr_view *)(const void *)element, .element = true};
        if (m->kind == TR_K_STRUCT_MAP) {
            check_struct(c, m->shape, element, &at);
            continue;
        }
        const tr_list *list = &((const tr_named_list *)(const void *)element)->list;
        for (uint32_t k = 0; k < list->count && c->count < TR_CHECK_ERRORS_MAX; k++) {
            place inner = {.parent = &at, .index = k + 1, .element = true};
            check_struct(c, m->shape, (const char *)list->items + (size_t)k * m->shape->size, &inner);
        }
    }
}

static bool is_given(const tr_member *m, const void *at)
{
    switch ((tr_kind)m->kind) {
    case TR_K_REFUSED:
        return *(const char *const *)at != NULL;
    case TR_K_STRING:
    case TR_K_RAW:
        return ((const tr_view *)at)->ptr != NULL;
    case TR_K_TIME:
    case TR_K_INTEGER:
    case TR_K_LONG:
        return ((const tr_int *)at)->given;
    case TR_K_BOOLEAN:
        return ((const tr_bool *)at)->given;
    case TR_K_STRUCT:
        return *(void *const *)at != NULL;
    case TR_K_ITEM:
        return ((const tr_attributes *)at)->given;
    case TR_K_VALUE:
        return ((const tr_attribute *)at)->given;
    case TR_K_ENV_NAMES:
        return ((const tr_expr_env *)at)->names_given;
    case TR_K_ENV_VALUES:
        return ((const tr_expr_env *)at)->values_given;
    default:
        return ((const tr_list *)at)->given;
    }
}

static void check_member(checker *c, const tr_member *m, const void *at, const place *parent)
{
    if (!m->rules && !m->values && !m->shape)
        return;
    if ((m->rules & TR_R_LONE) && c->lone_told)
        return;
    unsigned before = c->count;
    place p = {.parent = parent, .name = tr_view_of(m->name, m->name_len)};
    if (!is_given(m, at)) {
        if ((m->rules & TR_R_NOT_NULL) && begin(c, &p, (tr_view){NULL, 0}))
            tr_buf_put_str(c->out, "Member must not be null");
    } else if (m->kind == TR_K_STRING) {
        check_text(c, m, &p, *(const tr_view *)at);
    } else if (m->kind == TR_K_INTEGER || m->kind == TR_K_LONG) {
        char digits[24];
        int n = snprintf(digits, sizeof digits, "%lld", (long long)((const tr_int *)at)->value);
        check_bounds(c, m, &p, tr_view_of(digits, (size_t)n), ((const tr_int *)at)->value, "value");
    } else if (m->kind == TR_K_STRUCT) {
        check_struct(c, m->shape, *(const char *const *)at, &p);
    } else if (m->kind == TR_K_STRUCT_MAP || m->kind == TR_K_LIST_MAP) {
        check_map(c, m, &p, at);
    } else if (m->kind == TR_K_STRINGS || m->kind == TR_K_STRUCTS || m->kind == TR_K_ITEMS ||
               m->kind == TR_K_VALUES) {
        check_list(c, m, &p, at);
    }
    if ((m->rules & TR_R_LONE) && c->count > before)
        c->lone_told = true;
}

static void check_struct(checker *c, const tr_shape *shape, const char *in, const place *parent)
{
    for (size_t i = 0; i < shape->count && c->count < TR_CHECK_ERRORS_MAX; i++)
        check_member(c, &shape->members[i], in + shape->members[i].offset, parent);
}

unsigned tr__shape_check(const tr_shape *shape, const void *in, tr_buf *out)
{
    checker c = {.out = out};
    for (size_t i = 0; i < shape->count; i++)
        if (shape->members[i].rules & TR_R_FIRST)
            check_member(&c, &shape->members[i], (const char *)in + shape->members[i].offset, NULL);
    if (c.count == 0)
        check_struct(&c, shape, in, NULL);
    return c.count;
}
