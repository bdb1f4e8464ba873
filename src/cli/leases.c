/* SPDX-License-Identifier: MIT */
/* tailrace leases: the lease table of a fleet, for those who look after it. */
#include "cli/where.h"

#include <tailrace/stream.h>

#include <inttypes.h>
#include <stdio.h>

#define STATE_MAX ((size_t)256 << 20)

enum { OPT_REPLACE = 0x100, OPT_FROM_TABLE };

static const tr_cli_option options[] = {
    {"replace", OPT_REPLACE, NULL, "import: overwrite leases that are there and that nobody holds"},
    {"from-table", OPT_FROM_TABLE, "TABLE", "import: from this lease table instead of a file"},
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

typedef struct leases {
    const char *table, *from_table;
    char **rest; /* arguments behind the name */
    int rest_count;
    bool replace;
    tr_cli_where where;
    tr_cli_place place;
    tr_buf out;
    bool broken; /* the standard output does not take it */
} leases;

/* Who holds it or has taken something meanwhile is a conflict to whoever looks after the table. */
static int conflict(tr_error *err, int e)
{
    if (e == TR_EBUSY)
        err->code = TR_ECONFLICT;
    return e;
}

static int no_table(const leases *l, tr_error *err, int e)
{
    if (e == TR_ENOTFOUND && tr_view_is(tr_view_str(err->type), "ResourceNotFoundException"))
        return tr_fail(err, e, "there is no lease table %s", l->table);
    return e;
}

static bool print_lease(void *ctx, const tr_lease *lease)
{
    leases *l = ctx;
    tr_json_writer w;
    tr_buf_reset(&l->out);
    tr_json_write_init(&w, &l->out);
    tr_json_begin_object(&w);
    tr_json_member_string(&w, "shard", lease->key);
    tr_json_member_string(&w, "checkpoint", lease->checkpoint);
    if (lease->owner.len)
        tr_json_member_string(&w, "owner", lease->owner);
    if (lease->handover_to.len)
        tr_json_member_string(&w, "handover_to", lease->handover_to);
    if (lease->parent.len)
        tr_json_member_string(&w, "parent", lease->parent);
    tr_json_member_u64(&w, "counter", lease->counter);
    tr_json_member_u64(&w, "owner_switches", lease->owner_switches);
    tr_json_end_object(&w);
    tr_buf_putc(&l->out, '\n');
    l->broken = tr_buf_status(&l->out) || fwrite(l->out.ptr, 1, l->out.len, stdout) != l->out.len;
    return !l->broken;
}

static int list(void *ctx, tr_error *err)
{
    leases *l = ctx;
    int e = tr_leases_list(l->place.client, l->table, print_lease, l, err);
    if (!e && (l->broken || fflush(stdout)))
        e = tr_fail(err, TR_EIO, "writing to the standard output failed");
    return no_table(l, err, e);
}

static int release(void *ctx, tr_error *err)
{
    leases *l = ctx;
    size_t count = 0, all = 0;
    int e = 0;
    if (!l->rest_count)
        e = tr_leases_release(l->place.client, l->table, NULL, &all, err);
    for (int i = 0; !e && i < l->rest_count; i++) {
        e = tr_leases_release(l->place.client, l->table, l->rest[i], &count, err);
        all += e ? 0 : count;
    }
    if (!e || all)
        tr_cli_message(TR_LOG_INFO, "%zu released", all);
    return no_table(l, err, e);
}

static int import(void *ctx, tr_error *err)
{
    leases *l = ctx;
    size_t count = 0;
    int e;
    if (l->from_table) {
        e = tr_leases_copy(l->place.client, l->from_table, l->place.client, l->table, l->replace, &count,
                           err);
        if (e == TR_ENOTFOUND)
            e = tr_fail(err, e, "there is no lease table %s", l->from_table);
    } else {
        tr_buf text;
        tr_buf_init(&text, STATE_MAX);
        e = tr_cli_read_file(l->rest[0], &text, err);
        if (!e)
            e = tr_leases_import(l->place.client, l->table, tr_buf_view(&text), l->replace, &count, err);
        tr_buf_done(&text);
    }
    if (!e)
        tr_cli_message(TR_LOG_INFO, "%zu written", count);
    return conflict(err, e);
}

static const tr_cli_verb verbs[] = {{"list", 2, 2, "leases list NAME", list},
                                    {"release", 2, 1000, "leases release NAME [SHARD…]", release},
                                    {"import", 2, 3, "leases import NAME FILE | --from-table TABLE", import},
                                    {NULL, 0, 0, NULL, NULL}};

static int parse(tr_cli *cli, leases *l, const tr_cli_verb **ret_verb)
{
    int option;
    while ((option = tr_cli_next(cli)) > 0) {
        if (tr_cli_where_take(&l->where, option, cli))
            continue;
        if (option == OPT_REPLACE)
            l->replace = true;
        else
            l->from_table = cli->value;
    }
    if (option < 0)
        return cli->exit_code ? cli->exit_code : -1;
    const tr_cli_verb *verb = tr_cli_verb_of(cli, verbs);
    if (!verb)
        return TR_EXIT_USAGE;
    bool importing = verb->run == import;
    if (importing && (cli->argc == 3) == (l->from_table != NULL))
        return tr_cli_usage(cli, "usage: tailrace %s", verb->usage);
    if (!importing && (l->replace || l->from_table))
        return tr_cli_usage(cli, "--replace and --from-table are for import");
    l->table = cli->argv[1];
    l->rest = cli->argv + 2;
    l->rest_count = cli->argc - 2;
    *ret_verb = verb;
    return 0;
}

static int run(tr_cli *cli)
{
    leases l = {0};
    const tr_cli_verb *verb = NULL;
    int usage = parse(cli, &l, &verb);
    if (usage || !verb)
        return usage < 0 ? TR_EXIT_OK : usage;
    tr_error err = {0};
    tr_buf_init(&l.out, 1 << 20);
    int e = tr_cli_catch_signals(&err);
    if (!e)
        e = tr_cli_connect(&l.where, &l.place, &err);
    if (!e)
        e = verb->run(&l, &err);
    tr_cli_disconnect(&l.place);
    tr_buf_done(&l.out);
    return e ? tr_cli_fail(&err) : TR_EXIT_OK;
}

const tr_cli_command tr_cli_leases = {
    .name = "leases",
    .summary = "Look at a fleet's leases, take them off their owners, bring positions in.",
    .arguments = "list NAME | release NAME [SHARD…] | import NAME FILE",
    .text =
        "NAME is the lease table, as given to --name of the workers. release without a SHARD takes the owner "
        "off\n"
        "every lease. import reads (- for the standard input) a saved state of tailrace, one of "
        "dynamodb-stream, "
        "or\n"
        "what a Scan of a lease table of the Kinesis Client Library answers.",
    .options = options,
    .run = run};
