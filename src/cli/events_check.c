/* SPDX-License-Identifier: MIT */
/* What cannot be meant on the command line of `tailrace events`, told before anything is opened. */
#include "cli/events.h"

#include <assert.h>

#define BIT(option) (UINT64_C(1) << (TR_CLI_EVENTS_##option - TR_CLI_EVENTS_TABLE))

/* the options that other commands have too */
#define CODE_SHIFT        40
#define CODE_BIT(option)  (UINT64_C(1) << (CODE_SHIFT + (option)-TR_CLI_CODE_FIRST))
#define FLEET_SHIFT       50
#define FLEET_BIT(option) (UINT64_C(1) << (FLEET_SHIFT + (option)-TR_CLI_NAME))

static_assert(TR_CLI_EVENTS_LAST - TR_CLI_EVENTS_TABLE <= CODE_SHIFT &&
                  CODE_SHIFT + TR_CLI_ENV - TR_CLI_CODE_FIRST < FLEET_SHIFT,
              "each option has a bit of its own");

#define EXEC     CODE_BIT(TR_CLI_EXEC)
#define CODE     (CODE_BIT(TR_CLI_EXEC_EACH) | CODE_BIT(TR_CLI_URL) | CODE_BIT(TR_CLI_HANDLER))
#define CODE_HOW (CODE_BIT(TR_CLI_TIMEOUT) | CODE_BIT(TR_CLI_ENV))
#define FLEET    (FLEET_BIT(TR_CLI_NAME) | FLEET_BIT(TR_CLI_FAILOVER))

#define EVERYWHERE (BIT(TABLE) | BIT(LEGACY))
#define ANY_CODE   (EXEC | CODE | CODE_HOW)
/* of events that go to a bus */
#define TO_BUS (BIT(MESSAGE) | BIT(ON_FAILURE) | BIT(RULES) | BIT(SNAPSHOTS) | BIT(SNAPSHOT_EVERY))
#define DESTINATIONS                                                                                         \
    (BIT(TO) | BIT(BUS) | TO_BUS | ANY_CODE | BIT(STATE) | BIT(BATCH) | BIT(TYPE) | BIT(FROM))

uint64_t tr_cli_events_bit(int option)
{
    if (option >= TR_CLI_CODE_FIRST && option <= TR_CLI_ENV)
        return CODE_BIT(option);
    if (option >= TR_CLI_NAME && option <= TR_CLI_FAILOVER)
        return FLEET_BIT(option);
    return option >= TR_CLI_EVENTS_TABLE && option < TR_CLI_EVENTS_LAST
               ? UINT64_C(1) << (option - TR_CLI_EVENTS_TABLE)
               : 0;
}

static const struct {
    const char *verb;
    uint64_t options;
} of_verbs[] = {
    {"init", BIT(STREAM) | BIT(SNAPSHOTS)},
    {"push", BIT(EXPECT) | BIT(FORCE) | BIT(STRICT) | BIT(ATOMIC) | BIT(PARALLEL)},
    {"group", BIT(EXPECT) | BIT(FORCE) | BIT(STRICT)},
    {"get", BIT(MIN) | BIT(MAX) | BIT(REVERSE) | BIT(LIMIT)},
    {"list", BIT(REVERSE) | BIT(LIMIT) | BIT(AFTER) | BIT(BEFORE) | BIT(PAGE_TOKEN) | BIT(ALL)},
    {"aggregate", BIT(MAX) | BIT(AT) | BIT(RULES) | BIT(WITH) | BIT(SNAPSHOTS) | BIT(SNAPSHOT_EVERY) | EXEC},
    {"subscribe", DESTINATIONS | BIT(ONCE) | BIT(ORDER) | FLEET},
    {"publish",
     BIT(BUS) | TO_BUS | CODE_HOW | BIT(STATE) | BIT(BATCH) | BIT(TYPE) | BIT(FROM) | BIT(ONCE) | FLEET},
    {"pour", DESTINATIONS | BIT(UNTIL) | BIT(RATE)},
    {"project",
     BIT(TYPE) | BIT(TO) | BIT(RULES) | ANY_CODE | BIT(VERSION) | BIT(REBUILD) | BIT(ONCE) | BIT(STATE)},
};

/* The first one of them that was given, as it was written. */
static const char *name_of(const tr_cli_events *c, uint64_t bits)
{
    for (const tr_cli_option *o = c->cli->command->options; o->name; o++)
        if (tr_cli_events_bit(o->id) & bits)
            return o->name;
    return "";
}

static int check_options(const tr_cli_events *c, const char *verb)
{
    for (size_t i = 0; i < TR_COUNT(of_verbs); i++) {
        uint64_t more = c->given & ~(of_verbs[i].options | EVERYWHERE);
        if (strcmp(of_verbs[i].verb, verb) == 0 && more & FLEET && strcmp(verb, "project") == 0)
            return tr_cli_usage(c->cli,
                                "--name: one process keeps a read model up to date; a second one stands by "
                                "with the same --state, or on another machine with its own");
        if (strcmp(of_verbs[i].verb, verb) == 0 && more)
            return tr_cli_usage(c->cli, "--%s is no option of events %s", name_of(c, more), verb);
    }
    return 0;
}

/* Arguments `from` to `to`, the latter not included. */
static int check_stores(const tr_cli_events *c, int from, int to)
{
    for (int i = from; i < to && i < c->cli->argc; i++) {
        const char *id = c->cli->argv[i];
        if (!id[0])
            return tr_cli_usage(c->cli, "a store's id must not be empty");
        if (!c->legacy && strstr(id, TR_EVENT_STORE_SEPARATOR))
            return tr_cli_usage(c->cli,
                                "store '%s': '#' cannot be in a store's id, it stands between that and the "
                                "aggregate's in the table's keys",
                                id);
    }
    return 0;
}

static int check_init(const tr_cli_events *c)
{
    if (!c->legacy && c->cli->argc > 1)
        return tr_cli_usage(c->cli,
                            "events init takes no argument, but --table TABLE; with --legacy a STORE");
    return c->legacy ? check_stores(c, 1, 2) : 0;
}

static int check_push(const tr_cli_events *c)
{
    tr_event_expect expect;
    tr_error err;
    if (tr_cli_events_expect(c, &expect, &err))
        return tr_cli_usage(c->cli, "%s", err.message);
    if (c->force && c->strict)
        return tr_cli_usage(c->cli, "--force and --strict exclude each other");
    return 0;
}

static int check_aggregate(const tr_cli_events *c)
{
    if (c->exec && (c->rules || c->with || c->snapshots))
        return tr_cli_usage(c->cli,
                            "--exec folds all events by itself: without --rules, --with and --snapshots");
    if (c->snapshot_every && !c->snapshots)
        return tr_cli_usage(c->cli, "--snapshot-every goes with --snapshots TABLE");
    return 0;
}

static bool is_of(const char *to, const char *kind)
{
    size_t n = strlen(kind);
    return to && strncmp(to, kind, n) == 0 && to[n];
}

static int check_table(const tr_cli_events *c)
{
    return c->to && strncmp(c->to, "table:", 6) == 0 ? tr_cli_table_name(c->cli, c->to + 6) : 0;
}

static int check_destination(const tr_cli_events *c)
{
    tr_message_kind kind;
    tr_error err;
    bool bus = c->bus || (c->to && strncmp(c->to, "bus:", 4) == 0);
    if ((c->to != NULL) + (c->bus != NULL) + c->code.given > 1)
        return tr_cli_usage(c->cli, "one destination is possible, not several");
    if (c->to && strcmp(c->to, "-") != 0 && !bus && !is_of(c->to, "table:"))
        return tr_cli_usage(
            c->cli, "--to '%s': -, bus:NAME and table:NAME are possible, or --exec and its like", c->to);
    if (check_table(c))
        return TR_EXIT_USAGE;
    if (!bus && c->given & TO_BUS)
        return tr_cli_usage(c->cli, "--%s is for what goes to a bus", name_of(c, c->given & TO_BUS));
    if (tr_cli_events_message(c->message, &kind, &err))
        return tr_cli_usage(c->cli, "%s", err.message);
    if (c->snapshot_every && !c->snapshots)
        return tr_cli_usage(c->cli, "--snapshot-every goes with --snapshots TABLE");
    return 0;
}

static int check_follow(const tr_cli_events *c, const char *verb)
{
    tr_subscribe_from from;
    tr_history_order order;
    int64_t from_ms = 0, until_ms = 0;
    tr_error err;
    int e = check_destination(c);
    if (e)
        return e;
    if (tr_cli_events_order(c, &order, &err))
        return tr_cli_usage(c->cli, "%s", err.message);
    if (strcmp(verb, "publish") == 0 && !c->bus)
        return tr_cli_usage(c->cli, "which bus? --bus NAME is needed");
    e = strcmp(verb, "pour") == 0 ? tr_cli_events_times(c, &from_ms, &until_ms, &err)
        : c->from                 ? tr_cli_events_from(c->from, &from, &from_ms, &err)
                                  : 0;
    return e ? tr_cli_usage(c->cli, "%s", err.message) : 0;
}

static int check_project(const tr_cli_events *c)
{
    if (!is_of(c->to, "sqlite:") && !is_of(c->to, "table:"))
        return tr_cli_usage(c->cli, "where are the rows? --to sqlite:FILE or --to table:TABLE is needed");
    if (c->code.given && c->rules)
        return tr_cli_usage(c->cli, "rows are made by --rules or by code, not by both");
    return check_table(c);
}

int tr_cli_events_check(const tr_cli_events *c, const char *verb)
{
    int e = check_options(c, verb);
    if (e)
        return e;
    if (strcmp(verb, "init") == 0)
        return check_init(c);
    if (strcmp(verb, "group") == 0)
        return check_push(c);
    if (strcmp(verb, "project") == 0)
        return (e = check_stores(c, 2, c->cli->argc)) ? e : check_project(c);
    bool one = strcmp(verb, "get") == 0 || strcmp(verb, "aggregate") == 0;
    if ((e = check_stores(c, 1, one ? 2 : c->cli->argc)))
        return e;
    if (strcmp(verb, "push") == 0)
        return check_push(c);
    if (strcmp(verb, "aggregate") == 0)
        return check_aggregate(c);
    return one || strcmp(verb, "list") == 0 ? 0 : check_follow(c, verb);
}
