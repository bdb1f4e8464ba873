/* SPDX-License-Identifier: MIT */
/* tailrace query, tailrace scan: items as lines of JSON. */
#include "cli/where.h"
#include "client/query.h"

#include <stdio.h>

#define TEXT_MAX ((size_t)4 << 20)

enum {
    OPT_INDEX = 0x100,
    OPT_KEY,
    OPT_SORT,
    OPT_BEGINS,
    OPT_FROM,
    OPT_TO,
    OPT_FILTER,
    OPT_NAMES,
    OPT_VALUES,
    OPT_SELECT,
    OPT_LIMIT,
    OPT_REVERSE,
    OPT_CONSISTENT,
    OPT_FORMAT
};

/* Attributes of a key on one side (Developer Guide, "Multi-attribute keys"). */
#define PARTS_MAX 4

#define READ_OPTIONS                                                                                         \
    {"index", OPT_INDEX, "NAME", "read this index"},                                                         \
        {"filter", OPT_FILTER, "EXPRESSION", "a FilterExpression"},                                          \
        {"names", OPT_NAMES, "JSON", "its ExpressionAttributeNames"},                                        \
        {"values", OPT_VALUES, "JSON", "its ExpressionAttributeValues, in DynamoDB JSON"},                   \
        {"select", OPT_SELECT, "EXPRESSION", "a ProjectionExpression: what of the items"},                   \
        {"limit", OPT_LIMIT, "N", "at most so many items"},                                                  \
        {"consistent", OPT_CONSISTENT, NULL, "read consistently"},                                           \
        {"format", OPT_FORMAT, "json|dynamodb-json", "plain JSON, or with types (json)"},                    \
        TR_CLI_WHERE_OPTIONS,                                                                                \
    {                                                                                                        \
        NULL, 0, NULL, NULL                                                                                  \
    }

static const tr_cli_option query_options[] = {
    {"key", OPT_KEY, "VALUE", "the partition key; again for each further attribute of it"},
    {"sort", OPT_SORT, "VALUE", "the sort key; again for each further attribute of it"},
    {"begins-with", OPT_BEGINS, "PREFIX", "sort keys that begin with this"},
    {"from", OPT_FROM, "VALUE", "sort keys from this one"},
    {"to", OPT_TO, "VALUE", "sort keys up to this one, inclusive"},
    {"reverse", OPT_REVERSE, NULL, "the highest sort key first"},
    READ_OPTIONS};
static const tr_cli_option scan_options[] = {READ_OPTIONS};

/* One attribute of the key, as DescribeTable tells it. */
typedef struct part {
    char name[256];
    char type[2];
} part;

typedef struct reading {
    bool query;
    const char *table, *index, *filter, *names, *values, *select;
    const char *keys[PARTS_MAX], *sorts[PARTS_MAX];
    unsigned key_count, sort_count;
    const char *begins, *from, *to;
    uint64_t limit;
    bool reverse, consistent, typed;
    part hash[PARTS_MAX], range[PARTS_MAX];
    unsigned hash_count, range_count;
    tr_buf out;
    tr_cli_where where;
    tr_cli_place place;
} reading;

/* ------------------------------------------------------------------------------------------------ arguments
 */

static int take(tr_cli *cli, reading *r, int option)
{
    const char **texts[] = {[0] = &r->index,
                            [OPT_BEGINS - OPT_INDEX] = &r->begins,
                            [OPT_FROM - OPT_INDEX] = &r->from,
                            [OPT_TO - OPT_INDEX] = &r->to,
                            [OPT_FILTER - OPT_INDEX] = &r->filter,
                            [OPT_NAMES - OPT_INDEX] = &r->names,
                            [OPT_VALUES - OPT_INDEX] = &r->values,
                            [OPT_SELECT - OPT_INDEX] = &r->select};
    switch (option) {
    case OPT_KEY:
    case OPT_SORT:
        if ((option == OPT_KEY ? r->key_count : r->sort_count) == PARTS_MAX)
            return tr_cli_usage(cli, "a key has at most %d attributes on a side", PARTS_MAX);
        if (option == OPT_KEY)
            r->keys[r->key_count++] = cli->value;
        else
            r->sorts[r->sort_count++] = cli->value;
        return 0;
    case OPT_LIMIT:
        return tr_cli_number(cli, "limit", 1, UINT64_C(1) << 53, &r->limit);
    case OPT_REVERSE:
        r->reverse = true;
        return 0;
    case OPT_CONSISTENT:
        r->consistent = true;
        return 0;
    case OPT_FORMAT:
        r->typed = strcmp(cli->value, "dynamodb-json") == 0;
        if (!r->typed && strcmp(cli->value, "json") != 0)
            return tr_cli_usage(cli, "--format is json or dynamodb-json, not '%s'", cli->value);
        return 0;
    default:
        *texts[option - OPT_INDEX] = cli->value;
        return 0;
    }
}

static int parse(tr_cli *cli, reading *r)
{
    int option, e;
    while ((option = tr_cli_next(cli)) > 0)
        if (!tr_cli_where_take(&r->where, option, cli) && (e = take(cli, r, option)) != 0)
            return e;
    if (option < 0)
        return cli->exit_code ? cli->exit_code : -1;
    if (cli->argc != 1)
        return tr_cli_usage(cli, "one TABLE is needed");
    if (r->query && !r->key_count)
        return tr_cli_usage(cli, "--key VALUE is needed; tailrace scan reads without one");
    if (r->begins && (r->from || r->to))
        return tr_cli_usage(cli, "--begins-with does not go together with --from and --to");
    r->table = cli->argv[0];
    return tr_cli_table_name(cli, r->table);
}

/* -------------------------------------------------------------------------------------------- key schema */

static bool copy_text(tr_view raw, char *out, size_t room)
{
    /* names come as JSON texts without escapes, or are too odd to be typed on a command line */
    if (raw.len < 2 || raw.len - 2 >= room)
        return false;
    memcpy(out, raw.ptr + 1, raw.len - 2);
    out[raw.len - 2] = 0;
    return true;
}

/* Walks an array of objects. */
typedef bool each_fn(reading *r, tr_view object, tr_arena *arena);
static void each(reading *r, tr_view array, each_fn *fn, tr_arena *arena)
{
    tr_json_reader j;
    tr_view object;
    tr_json_init(&j, array, arena);
    if (tr_json_next(&j) != TR_JSON_ARRAY)
        return;
    while (tr_json_next(&j) == TR_JSON_OBJECT)
        if (tr_json_raw(&j, &object) || !fn(r, object, arena))
            return;
}

static bool take_key(reading *r, tr_view object, tr_arena *arena)
{
    tr_view name, type;
    if (tr_json_member(object, "AttributeName", arena, &name) ||
        tr_json_member(object, "KeyType", arena, &type))
        return true;
    bool hash = tr_view_is(type, "\"HASH\"");
    unsigned *count = hash ? &r->hash_count : &r->range_count;
    if (*count < PARTS_MAX &&
        copy_text(name, (hash ? r->hash : r->range)[*count].name, sizeof r->hash[0].name))
        ++*count;
    return true;
}

static bool take_type(reading *r, tr_view object, tr_arena *arena)
{
    tr_view raw, type;
    char name[256];
    if (tr_json_member(object, "AttributeName", arena, &raw) ||
        tr_json_member(object, "AttributeType", arena, &type) || !copy_text(raw, name, sizeof name))
        return true;
    for (unsigned i = 0; i < r->hash_count + r->range_count; i++) {
        part *p = i < r->hash_count ? &r->hash[i] : &r->range[i - r->hash_count];
        if (strcmp(p->name, name) == 0)
            (void)copy_text(type, p->type, sizeof p->type);
    }
    return true;
}

static bool take_index(reading *r, tr_view object, tr_arena *arena)
{
    tr_view raw, schema;
    char name[256];
    if (tr_json_member(object, "IndexName", arena, &raw) || !copy_text(raw, name, sizeof name) ||
        strcmp(name, r->index) != 0 || tr_json_member(object, "KeySchema", arena, &schema))
        return true;
    each(r, schema, take_key, arena);
    return false;
}

static int read_schema(reading *r, tr_view table, tr_arena *arena, tr_error *err)
{
    static const char *const lists[] = {"LocalSecondaryIndexes", "GlobalSecondaryIndexes"};
    tr_view list;
    if (!r->index && tr_json_member(table, "KeySchema", arena, &list) == 0)
        each(r, list, take_key, arena);
    for (size_t i = 0; r->index && i < TR_COUNT(lists); i++)
        if (tr_json_member(table, lists[i], arena, &list) == 0)
            each(r, list, take_index, arena);
    if (tr_json_member(table, "AttributeDefinitions", arena, &list) == 0)
        each(r, list, take_type, arena);
    if (!r->hash_count)
        return tr_fail(err, TR_ENOTFOUND, "table %s has no index %s", r->table, r->index ? r->index : "");
    if (r->key_count != r->hash_count)
        return tr_fail(err, TR_EINVAL, "the partition key has %u attributes; --key was given %u times",
                       r->hash_count, r->key_count);
    bool range = r->sort_count || r->begins || r->from || r->to;
    if (range && r->sort_count + (r->begins || r->from || r->to) > r->range_count)
        return tr_fail(err, TR_EINVAL, "the sort key has %u attributes; more were given", r->range_count);
    return 0;
}

static int no_table(const reading *r, tr_error *err)
{
    return tr_fail(err, TR_ENOTFOUND, "there is no table %s at %s", r->table,
                   tr_client_endpoint(r->place.client, TR_DYNAMODB));
}

static int describe(reading *r, tr_error *err)
{
    tr_buf body, reply;
    tr_json_writer w;
    tr_arena arena;
    tr_view table;
    tr_buf_init(&body, 4096);
    tr_buf_init(&reply, TEXT_MAX);
    tr_arena_init(&arena, TEXT_MAX);
    tr_json_write_init(&w, &body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "TableName", r->table);
    tr_json_end_object(&w);
    const tr_request request = {
        .service = TR_DYNAMODB, .operation = "DescribeTable", .body = tr_buf_view(&body)};
    int e = tr_client_call_wait(r->place.client, &request, &reply, err);
    if (e == TR_ENOTFOUND)
        e = no_table(r, err);
    if (!e && tr_json_member(tr_buf_view(&reply), "Table", &arena, &table))
        e = tr_fail(err, TR_EPARSE, "the server described no table");
    if (!e)
        e = read_schema(r, table, &arena, err);
    tr_buf_done(&body);
    tr_buf_done(&reply);
    tr_arena_done(&arena);
    return e;
}

/* ------------------------------------------------------------------------------------------------- request
 */

/* "#kN OP :kN", joined by AND; names and values go into the maps. */
static void put_test(tr_buf *keys, const char *format, unsigned n)
{
    if (keys->len)
        tr_buf_put_str(keys, " AND ");
    for (const char *p = format; *p; p++)
        if (*p == '%')
            tr_buf_printf(keys, "%u", n);
        else
            tr_buf_putc(keys, *p);
}

static void put_keys(const reading *r, tr_buf *keys)
{
    for (unsigned i = 0; i < r->key_count; i++)
        put_test(keys, "#_k% = :_k%", i);
    for (unsigned i = 0; i < r->sort_count; i++)
        put_test(keys, "#_s% = :_s%", i);
    if (r->begins)
        put_test(keys, "begins_with(#_s%, :_f)", r->sort_count);
    else if (r->from && r->to)
        put_test(keys, "#_s% BETWEEN :_f AND :_t", r->sort_count);
    else if (r->from)
        put_test(keys, "#_s% >= :_f", r->sort_count);
    else if (r->to)
        put_test(keys, "#_s% <= :_t", r->sort_count);
}

static void put_name(tr_json_writer *w, char side, unsigned i, const part *p)
{
    char key[32];
    (void)snprintf(key, sizeof key, "#_%c%u", side, i);
    tr_json_member_cstring(w, key, p->name);
}

static void put_value(tr_json_writer *w, const char *key, const part *p, const char *text)
{
    tr_json_name(w, key);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, p->type[0] ? p->type : "S", text);
    tr_json_end_object(w);
}

/* The members of an object given as JSON. */
static int put_given(tr_json_writer *w, const char *json, const char *option, tr_error *err)
{
    tr_arena arena;
    tr_json_reader j;
    int e = 0;
    if (!json)
        return 0;
    tr_arena_init(&arena, TEXT_MAX);
    tr_json_init(&j, tr_view_str(json), &arena);
    if (tr_json_next(&j) != TR_JSON_OBJECT)
        e = TR_EINVAL;
    while (!e && tr_json_next_key(&j)) {
        tr_view value;
        tr_json_key(w, j.text);
        (void)tr_json_next(&j);
        e = tr_json_raw(&j, &value);
        if (!e)
            tr_json_value(w, value);
    }
    if (!e && (j.token == TR_JSON_ERROR || tr_json_next(&j) != TR_JSON_DONE))
        e = TR_EINVAL;
    tr_arena_done(&arena);
    return e ? tr_fail(err, TR_EINVAL, "--%s is not a JSON object", option) : 0;
}

static int put_names(const reading *r, tr_json_writer *w, bool ranged, tr_error *err)
{
    if (!r->query && !r->names)
        return 0;
    tr_json_name(w, "ExpressionAttributeNames");
    tr_json_begin_object(w);
    for (unsigned i = 0; r->query && i < r->key_count; i++)
        put_name(w, 'k', i, &r->hash[i]);
    for (unsigned i = 0; r->query && i < r->sort_count + ranged; i++)
        put_name(w, 's', i, &r->range[i]);
    int e = put_given(w, r->names, "names", err);
    tr_json_end_object(w);
    return e;
}

static int put_values(const reading *r, tr_json_writer *w, tr_error *err)
{
    char key[32];
    const part *ranged = &r->range[r->sort_count < PARTS_MAX ? r->sort_count : 0];
    if (!r->query && !r->values)
        return 0;
    tr_json_name(w, "ExpressionAttributeValues");
    tr_json_begin_object(w);
    for (unsigned i = 0; r->query && i < r->key_count; i++) {
        (void)snprintf(key, sizeof key, ":_k%u", i);
        put_value(w, key, &r->hash[i], r->keys[i]);
    }
    for (unsigned i = 0; r->query && i < r->sort_count; i++) {
        (void)snprintf(key, sizeof key, ":_s%u", i);
        put_value(w, key, &r->range[i], r->sorts[i]);
    }
    if (r->begins || r->from)
        put_value(w, ":_f", ranged, r->begins ? r->begins : r->from);
    if (r->to)
        put_value(w, ":_t", ranged, r->to);
    int e = put_given(w, r->values, "values", err);
    tr_json_end_object(w);
    return e;
}

static int put_request(const reading *r, tr_json_writer *w, tr_error *err)
{
    tr_buf keys;
    tr_json_member_cstring(w, "TableName", r->table);
    if (r->index)
        tr_json_member_cstring(w, "IndexName", r->index);
    if (r->consistent)
        tr_json_member_bool(w, "ConsistentRead", true);
    if (r->filter)
        tr_json_member_cstring(w, "FilterExpression", r->filter);
    if (r->select)
        tr_json_member_cstring(w, "ProjectionExpression", r->select);
    if (r->query) {
        tr_buf_init(&keys, 4096);
        put_keys(r, &keys);
        tr_json_member_string(w, "KeyConditionExpression", tr_buf_view(&keys));
        tr_buf_done(&keys);
        tr_json_member_bool(w, "ScanIndexForward", !r->reverse);
    }
    int e = put_names(r, w, r->begins || r->from || r->to, err);
    return e ? e : put_values(r, w, err);
}

static int print_item(void *ctx, tr_item item, tr_error *err)
{
    reading *r = ctx;
    tr_json_writer w;
    if (tr_cli_stopped())
        return tr_fail(err, TR_ECANCELED, "interrupted");
    tr_buf_reset(&r->out);
    tr_json_write_init(&w, &r->out);
    if (r->typed)
        tr_item_write(&w, item);
    else
        tr_item_write_plain(&w, item);
    tr_buf_putc(&r->out, '\n');
    return tr_cli_print(tr_buf_view(&r->out), err);
}

static int carry_out(reading *r, tr_error *err)
{
    tr__query q;
    int e = r->query ? describe(r, err) : 0;
    if (e)
        return e;
    tr__query_init(&q, r->query ? "Query" : "Scan", r->limit);
    e = put_request(r, &q.writer, err);
    if (!e)
        e = tr__query_wait(r->place.client, &q, print_item, r, err);
    if (e == TR_ENOTFOUND)
        e = no_table(r, err);
    tr__query_done(&q);
    return e;
}

static int run(tr_cli *cli, bool query)
{
    reading r = {.query = query};
    tr_error err = {0};
    int usage = parse(cli, &r);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    tr_buf_init(&r.out, (size_t)16 << 20);
    int e = tr_cli_catch_signals(&err);
    if (!e)
        e = tr_cli_connect(&r.where, &r.place, &err);
    if (!e)
        e = carry_out(&r, &err);
    tr_cli_disconnect(&r.place);
    tr_buf_done(&r.out);
    return e ? tr_cli_fail(&err) : TR_EXIT_OK;
}

static int run_query(tr_cli *cli)
{
    return run(cli, true);
}

static int run_scan(tr_cli *cli)
{
    return run(cli, false);
}

const tr_cli_command tr_cli_query = {.name = "query",
                                     .summary = "Print the items of a partition of a table or index.",
                                     .arguments = "TABLE --key VALUE",
                                     .text = "The names and types of the key's attributes are those of the "
                                             "table. Items come as a line of plain JSON each.",
                                     .options = query_options,
                                     .run = run_query};

const tr_cli_command tr_cli_scan = {.name = "scan",
                                    .summary = "Print all items of a table or index.",
                                    .arguments = "TABLE",
                                    .text = "Items come as a line of plain JSON each.",
                                    .options = scan_options,
                                    .run = run_scan};
