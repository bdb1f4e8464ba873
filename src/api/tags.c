/* SPDX-License-Identifier: MIT */
#include "api/tables.h"

#include <locale.h>
#include <stdio.h>
#include <wctype.h>

/* TagResource, UntagResource, ListTagsOfResource, and the small descriptions. */

#define TAGS_MAX      50  /* per resource (Developer Guide, "Tagging restrictions") */
#define TAG_KEY_MAX   128 /* characters */
#define TAG_VALUE_MAX 256
#define TAGS_PAGE     10 /* ListTagsOfResource gives up to 10 at a time */

typedef struct tag_request {
    tr_view arn, token;
    tr_list tags; /* tr_tag */
    tr_list keys; /* tr_view */
} tag_request;

static const tr_member tag_members[] = {
    TR_MEMBER(tag_request, arn, "ResourceArn", TR_K_STRING, .rules = 0),
    TR_M_TAGS(tag_request, tags, .rules = 0),
};
const tr_shape tr__shape_tag = TR_SHAPE(tag_request, "TagResourceInput", tag_members);

static const tr_member untag_members[] = {
    TR_MEMBER(tag_request, arn, "ResourceArn", TR_K_STRING, .rules = 0),
    TR_MEMBER(tag_request, keys, "TagKeys", TR_K_STRINGS, .rules = 0),
};
const tr_shape tr__shape_untag = TR_SHAPE(tag_request, "UntagResourceInput", untag_members);

static const tr_member list_members[] = {
    TR_MEMBER(tag_request, arn, "ResourceArn", TR_K_STRING, .rules = 0),
    TR_MEMBER(tag_request, token, "NextToken", TR_K_STRING, .rules = 0),
};
const tr_shape tr__shape_list_tags = TR_SHAPE(tag_request, "ListTagsOfResourceInput", list_members);

/* ---------------------------------------------------------------------------------------------- characters
 */

/* The next character of valid UTF-8. */
static uint32_t next_char(tr_view text, size_t *at)
{
    uint8_t first = (uint8_t)text.ptr[(*at)++];
    unsigned more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : first >= 0xc0 ? 1 : 0;
    uint32_t c = more == 3 ? first & 7 : more == 2 ? first & 15 : more == 1 ? first & 31 : first;
    for (; more && *at < text.len; more--)
        c = c << 6 | ((uint8_t)text.ptr[(*at)++] & 63);
    return c;
}

/* Unicode's separators beyond ASCII: U+2000 to 200A, and these. */
static bool separator(uint32_t c)
{
    static const uint32_t others[] = {0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000};
    bool found = c >= 0x2000 && c <= 0x200a;
    for (size_t i = 0; i < TR_COUNT(others); i++)
        found |= c == others[i];
    return found;
}

/* At most so many characters, all of [\p{L}\p{Z}\p{N}_.:/=+\-@]. Without the C library's tables of Unicode
 * letters of all scripts pass with whatever else is beyond ASCII. */
static bool text_fits(tr_view text, size_t max)
{
    locale_t unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    size_t count = 0;
    bool ok = true;
    for (size_t at = 0; at < text.len && ok; count++) {
        uint32_t c = next_char(text, &at);
        ok = c < 128 ? (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c && strchr(" _.:/=+-@", (int)c))
                     : !unicode || separator(c) || iswalnum_l((wint_t)c, unicode);
    }
    if (unicode)
        freelocale(unicode);
    return ok && count <= max;
}

static int check_key(tr_call *c, tr_view key)
{
    if (key.len && text_fits(key, TAG_KEY_MAX))
        return 0;
    return tr__invalid(c, "The Tag Key provided is invalid, Key: %.*s",
                       TR_FMT(key.ptr ? key : TR_VIEW("null")));
}

static int check_tag(tr_call *c, const tr_tag *tag)
{
    int e = check_key(c, tag->key);
    if (e)
        return e;
    if (tr_view_starts(tag->key, TR_VIEW("aws:"))) /* reserved (same source) */
        return tr__invalid(c, "Tag Key cannot be prefixed with aws:, Key: %.*s", TR_FMT(tag->key));
    if (tag->value.ptr && text_fits(tag->value, TAG_VALUE_MAX))
        return 0;
    return tr__invalid(c, "The Tag Value provided is invalid, Value: %.*s",
                       TR_FMT(tag->value.ptr ? tag->value : TR_VIEW("null")));
}

static int too_many(tr_call *c)
{
    return tr__invalid(c, "Number of Tags exceed the current limit for the provided ResourceArn");
}

int tr__check_tags(tr_call *c, const tr_list *tags)
{
    const tr_tag *t = tags->items;
    int e = 0;
    for (uint32_t i = 0; i < tags->count && e == 0; i++) {
        e = check_tag(c, &t[i]);
        for (uint32_t k = 0; k < i && e == 0; k++)
            if (tr_view_eq(t[i].key, t[k].key))
                e = tr__invalid(c, "Duplicate Tag Keys provided as input: Duplicate Tag Key found %.*s",
                                TR_FMT(t[i].key));
    }
    return e ? e : tags->count > TAGS_MAX ? too_many(c) : 0;
}

/* arn:aws:dynamodb:REGION:ACCOUNT:table/NAME, with a name of three characters or more. */
static bool arn_valid(tr_view arn)
{
    tr_view name = tr__table_of_arn(arn);
    return tr_view_starts(arn, TR_VIEW("arn:aws:dynamodb:")) && name.ptr != arn.ptr && name.len >= 3 &&
           name.ptr + name.len == arn.ptr + arn.len;
}

static int denied(tr_call *c, tr_view arn)
{
    return tr__fail_upper(c, "com.amazon.coral.service#AccessDeniedException",
                          "User: arn:aws:iam::000000000000:root is not authorized to perform: dynamodb:%s on "
                          "resource: %.*s",
                          c->op->name, TR_FMT(arn.len ? arn : TR_VIEW("*")));
}

/* The two checks of the ARN that come before those of the tags, and the one behind them. */
static int check_arn(tr_call *c, tr_view arn)
{
    if (!arn.len)
        return tr__invalid(c, "Invalid TableArn");
    unsigned colons = 0;
    for (size_t i = 0; i < arn.len; i++)
        colons += arn.ptr[i] == ':';
    if (colons < 5 || tr_view_find(arn, TR_VIEW("/"), 0) == SIZE_MAX)
        return tr__invalid(c, "Invalid TableArn: Invalid ResourceArn provided as input %.*s", TR_FMT(arn));
    return 0;
}

static int check_table_arn(tr_call *c, tr_view arn)
{
    if (!arn_valid(arn))
        return tr__invalid(c, "Invalid TableArn: Invalid ResourceArn provided as input %.*s", TR_FMT(arn));
    return 0;
}

static int find(tr_call *c, tr_view arn, tr_table **ret_table)
{
    *ret_table = tr_engine_table(c->engine, tr__table_of_arn(arn));
    if (*ret_table)
        return 0;
    if (tr_view_is(tr_view_str(c->op->name), "UntagResource"))
        return tr__no_table(c, arn, false);
    return tr__fail(c, 400, TR_TYPE("ResourceNotFoundException"),
                    "Requested resource not found: ResourcArn: %.*s not found", TR_FMT(arn));
}

static int set_tags(tr_call *c, tr_table *table, tr_tag *tags, unsigned count)
{
    tr_error err;
    const tr_table_change change = {.set_tags = true, .tags = tags, .tag_count = count};
    int e = tr_engine_update_table(c->engine, table, &change, &err);
    return e ? tr__fail_code(c, e, &err) : 0;
}

int tr__op_tag(tr_call *c, void *request)
{
    const tag_request *r = request;
    tr_table *table;
    int e = check_arn(c, r->arn);
    if (e == 0 && !r->tags.given)
        e = tr__invalid(c, "1 validation error detected: Value null at 'tags' failed to satisfy constraint: "
                           "Member must not be null");
    if (e == 0)
        e = check_table_arn(c, r->arn);
    if (e == 0 && !r->tags.count)
        e = tr__invalid(c, "Atleast one Tag needs to be provided as Input.");
    if (e == 0)
        e = tr__check_tags(c, &r->tags);
    if (e == 0)
        e = find(c, r->arn, &table);
    if (e)
        return e;
    const tr_tag *new_tags = r->tags.items;
    tr_tag *all = tr_arena_calloc(c->arena, table->tag_count + r->tags.count, sizeof *all);
    if (!all)
        return TR_ENOMEM;
    unsigned count = table->tag_count;
    if (count)
        memcpy(all, table->tags, count * sizeof *all);
    for (uint32_t i = 0; i < r->tags.count; i++) {
        unsigned at = 0;
        while (at < count && !tr_view_eq(all[at].key, new_tags[i].key))
            at++;
        all[at] = new_tags[i];
        count += at == count;
    }
    if (count > TAGS_MAX)
        return too_many(c);
    return set_tags(c, table, all, count);
}

int tr__op_untag(tr_call *c, void *request)
{
    const tag_request *r = request;
    tr_table *table;
    int e = check_arn(c, r->arn);
    if (e == 0 && !r->keys.given)
        e = tr__invalid(c,
                        "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: "
                        "Member must not be null");
    if (e == 0)
        e = check_table_arn(c, r->arn);
    if (e == 0 && !r->keys.count)
        e = tr__invalid(c, "Atleast one Tag Key needs to be provided as Input.");
    for (uint32_t i = 0; i < r->keys.count && e == 0; i++)
        e = check_key(c, ((const tr_view *)r->keys.items)[i]);
    if (e == 0 && r->keys.count > TAGS_MAX)
        e = too_many(c);
    if (e == 0)
        e = find(c, r->arn, &table);
    if (e)
        return e;
    const tr_view *keys = r->keys.items;
    tr_tag *left = tr_arena_calloc(c->arena, table->tag_count, sizeof *left);
    if (!left)
        return TR_ENOMEM;
    unsigned count = 0;
    for (unsigned i = 0; i < table->tag_count; i++) {
        bool gone = false;
        for (uint32_t k = 0; k < r->keys.count; k++)
            gone |= tr_view_eq(table->tags[i].key, keys[k]);
        if (!gone)
            left[count++] = table->tags[i];
    }
    return set_tags(c, table, left, count);
}

/* The token is the number of tags given so far. */
int tr__op_list_tags(tr_call *c, void *request)
{
    const tag_request *r = request;
    uint64_t from = 0;
    int e = check_arn(c, r->arn);
    if (e == 0)
        e = check_table_arn(c, r->arn);
    if (e == 0 && r->token.ptr && tr_view_to_u64(r->token, TAGS_MAX, &from))
        e = tr__invalid(c, "Invalid NextToken");
    if (e)
        return e;
    const tr_table *table = tr_engine_table(c->engine, tr__table_of_arn(r->arn));
    if (!table) /* what one may not see is not told */
        return denied(c, r->arn);
    uint64_t to = from + TAGS_PAGE < table->tag_count ? from + TAGS_PAGE : table->tag_count;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Tags");
    tr_json_begin_array(&c->w);
    for (uint64_t i = from; i < to; i++) {
        tr_json_begin_object(&c->w);
        tr_json_member_string(&c->w, "Key", table->tags[i].key);
        tr_json_member_string(&c->w, "Value", table->tags[i].value);
        tr_json_end_object(&c->w);
    }
    tr_json_end_array(&c->w);
    if (to < table->tag_count) {
        char token[24];
        (void)snprintf(token, sizeof token, "%llu", (unsigned long long)to);
        tr_json_member_cstring(&c->w, "NextToken", token);
    }
    tr_json_end_object(&c->w);
    return 0;
}

/* --------------------------------------------------------------------------- DescribeLimits, …Endpoints */

typedef struct empty_request {
    tr_view unused;
} empty_request;

static const tr_member no_members[] = {TR_MEMBER(empty_request, unused, "", TR_K_STRING, .rules = 0)};
const tr_shape tr__shape_describe_limits = TR_SHAPE(empty_request, "DescribeLimitsInput", no_members);
const tr_shape tr__shape_describe_endpoints = TR_SHAPE(empty_request, "DescribeEndpointsRequest", no_members);

/* The service's defaults for a new account. */
int tr__op_describe_limits(tr_call *c, void *request)
{
    (void)request;
    tr_json_begin_object(&c->w);
    tr_json_member_i64(&c->w, "AccountMaxReadCapacityUnits", 80000);
    tr_json_member_i64(&c->w, "AccountMaxWriteCapacityUnits", 80000);
    tr_json_member_i64(&c->w, "TableMaxReadCapacityUnits", 40000);
    tr_json_member_i64(&c->w, "TableMaxWriteCapacityUnits", 40000);
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_describe_endpoints(tr_call *c, void *request)
{
    (void)request;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Endpoints");
    tr_json_begin_array(&c->w);
    tr_json_begin_object(&c->w);
    tr_buf_reset(c->text);
    tr_buf_printf(c->text, "dynamodb.%s.amazonaws.com", c->api->region);
    tr_json_member_string(&c->w, "Address", tr_buf_view(c->text));
    tr_json_member_i64(&c->w, "CachePeriodInMinutes", 1440);
    tr_json_end_object(&c->w);
    tr_json_end_array(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}
