/* SPDX-License-Identifier: MIT */
#include "json_fast.h"

#include "base/json_scan.h"

/* Bytes that must follow wherever a few are looked at without asking: the longest is BOOL":false} */
#define AHEAD 12

/* A number in normal form takes this place while its member's size is not known yet. */
typedef struct scalar {
    tr_value value;
    uint8_t packed[TR_NUMBER_PACKED_MAX];
} scalar;

static inline bool starts(const char *p, const char *text, size_t len)
{
    return memcmp(p, text, len) == 0;
}

/* S":"text"} or N":"text"}. Where it ends, or NULL. */
static inline const char *read_text(const char *p, const char *end, scalar *s)
{
    const char *text = p + 4;
    const char *quote = tr__json_scan(text, end, true);
    if (end - quote < 2 || quote[0] != '"' || quote[1] != '}')
        return NULL;
    s->value.type = *p == 'S' ? TR_S : TR_N;
    s->value.payload = tr_view_of(text, (size_t)(quote - text));
    if (*p == 'N') {
        size_t len;
        if (tr_number_parse(s->value.payload, s->packed, &len, NULL))
            return NULL;
        s->value.payload = tr_view_of(s->packed, len);
    }
    return quote + 2;
}

/* At the type's name. Where the value's object ends, or NULL if it is not of the usual form. */
static inline const char *read_scalar(const char *p, const char *end, scalar *s)
{
    static const char bits[2] = {0, 1};
    if ((*p == 'S' || *p == 'N') && starts(p + 1, "\":\"", 3))
        return read_text(p, end, s);
    if (starts(p, "BOOL\":", 6)) {
        bool yes = starts(p + 6, "true}", 5);
        if (!yes && !starts(p + 6, "false}", 6))
            return NULL;
        s->value = (tr_value){TR_BOOL, {&bits[yes], 1}};
        return p + (yes ? 11 : 12);
    }
    if (starts(p, "NULL\":true}", 11)) {
        s->value = (tr_value){TR_NULL, {NULL, 0}};
        return p + 11;
    }
    return NULL;
}

/* tr__head where eight bytes may be read from the start, whatever the length. */
static inline uint64_t head_of(tr_view name)
{
    uint64_t head = tr_get_be64(name.ptr);
    return name.len >= 8 ? head : name.len == 0 ? 0 : head & ~(UINT64_MAX >> (8 * name.len));
}

bool tr__read_plain_members(tr_json_reader *reader, tr_packer *packer)
{
    const char *p = reader->at, *end = reader->end;
    bool first = reader->state == TR__JSON_EXPECT_FIRST_KEY;
    if (tr__packer_level(packer) > TR_ITEM_DEPTH_MAX)
        return false;
    for (;;) {
        reader->at = p;
        if (end - p < AHEAD)
            return false;
        if (!first && *p++ != ',')
            return false;
        if (*p++ != '"')
            return false;
        tr_view name = {p, 0};
        p = tr__json_scan(p, end, true);
        name.len = (size_t)(p - name.ptr);
        if (end - p < AHEAD + 4 || p[0] != '"' || p[1] != ':' || tr__name_odd(name))
            return false;
        scalar s;
        const char *next = p[2] == '{' && p[3] == '"' ? read_scalar(p + 4, end, &s) : NULL;
        if (!next) {
            reader->at = p + 2;
            reader->text = name;
            reader->token = TR_JSON_KEY;
            reader->state = TR__JSON_EXPECT_VALUE;
            return true;
        }
        tr__pack_member(packer, name, head_of(name), s.value);
        p = next;
        first = false;
        reader->state = TR__JSON_EXPECT_COMMA;
    }
}
