/* SPDX-License-Identifier: MIT */
/*
 * A small bank whose only truth is its events. docs/bank.md builds it step by step, in this file's order.
 *
 *     bank WHERE open ACCOUNT OWNER            bank WHERE balance ACCOUNT [VERSION]
 *     bank WHERE deposit ACCOUNT AMOUNT        bank WHERE statement ACCOUNT
 *     bank WHERE withdraw ACCOUNT AMOUNT       bank WHERE accounts
 *     bank WHERE transfer FROM TO AMOUNT       bank WHERE rush COUNT ACCOUNT ACCOUNT…
 *
 * WHERE is a directory, for the engine in this process; http://HOST:PORT, for any server of DynamoDB's
 * protocol; or aws. Exit status: 0, 1 failure, 2 usage, 3 no such account, 4 refused.
 */
#include <tailrace/aggregate.h>
#include <tailrace/engine.h>
#include <tailrace/eventstore.h>
#include <tailrace/schema.h>
#include <tailrace/stream.h>

#include <inttypes.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#define STORE "ACCOUNTS"
#define TABLE "bank-events"
#define VIEW  "bank.sqlite" /* of what `accounts` shows; BANK_VIEW names another file */

/* ----------------------------------------------------------------------------- 1. a place for the events */

typedef struct bank {
    tr_server *server; /* of a directory; else NULL */
    tr_client *client;
    tr_eventstore *accounts;
    tr_snapshots *snapshots;
    tr_error err;
} bank;

static int connect_to(bank *b, const char *where)
{
    tr_client_options options = {0};
    if (strncmp(where, "http", 4) == 0)
        options.endpoint = where;
    else if (strcmp(where, "aws") != 0) {
        tr_server_options engine = {.data_dir = where, .socket = true};
        int e = tr_server_new(&engine, &b->server, &b->err);
        if (!e)
            e = tr_server_transport(b->server, &options.transport, &b->err);
        if (e)
            return e;
    }
    return tr_client_new(&options, &b->client, &b->err);
}

static int create_table(bank *b, tr_schema_table what, const tr_schema_options *options)
{
    int e = tr_schema_create(b->client, what, options, &b->err);
    return e == TR_EEXIST ? 0 : e;
}

static int open_bank(bank *b, const char *where)
{
    static const tr_schema_options events = {.table = TABLE, .stream = true}, snapshots = {0};
    static const tr_eventstore_options store = {.store_id = STORE, .table = TABLE};
    static const tr_snapshots_options each_50 = {.every = 50};
    int e = connect_to(b, where);
    if (!e)
        e = create_table(b, TR_SCHEMA_EVENTS, &events);
    if (!e)
        e = create_table(b, TR_SCHEMA_SNAPSHOTS, &snapshots);
    if (!e)
        e = tr_eventstore_new(b->client, &store, &b->accounts, &b->err);
    return e ? e : tr_snapshots_new(b->client, &each_50, &b->snapshots, &b->err);
}

static void close_bank(bank *b)
{
    if (b->snapshots)
        (void)tr_snapshots_flush(b->snapshots, 2000);
    tr_snapshots_free(b->snapshots);
    tr_eventstore_free(b->accounts);
    tr_client_free(b->client);
    tr_server_free(b->server);
}

/* ---------------------------------------------------------------------------------------- 2. an account */

/* What happens to an account: OPENED {owner}, DEPOSITED, WITHDRAWN {cents}, RECEIVED, SENT {cents, other}. */

typedef struct account {
    char owner[64];
    int64_t cents;
} account;

static int64_t cents_of(const tr_event *event)
{
    tr_value value;
    int64_t cents = 0;
    if (event->payload.type == TR_M && tr_item_get(event->payload.payload, TR_VIEW("cents"), &value) == 0 &&
        value.type == TR_N)
        (void)tr_number_to_i64(value.payload, &cents);
    return cents;
}

static tr_view text_of(const tr_event *event, const char *name)
{
    tr_value value;
    bool there = event->payload.type == TR_M &&
                 tr_item_get(event->payload.payload, tr_view_str(name), &value) == 0 && value.type == TR_S;
    return there ? value.payload : TR_VIEW("");
}

static int apply(void *ctx, void *state, const tr_event *event, tr_error *err)
{
    account *a = state;
    (void)ctx;
    if (tr_view_is(event->type, "OPENED"))
        (void)snprintf(a->owner, sizeof a->owner, "%.*s", TR_FMT(text_of(event, "owner")));
    else if (tr_view_is(event->type, "DEPOSITED") || tr_view_is(event->type, "RECEIVED"))
        a->cents += cents_of(event);
    else if (tr_view_is(event->type, "WITHDRAWN") || tr_view_is(event->type, "SENT"))
        a->cents -= cents_of(event);
    else
        return tr_fail(err, TR_EINVAL, "an account knows no '%.*s'", TR_FMT(event->type));
    return 0;
}

static int save(void *ctx, const void *state, tr_packer *packer)
{
    const account *a = state;
    (void)ctx;
    tr_pack_name(packer, TR_VIEW("owner"));
    tr_pack_s(packer, tr_view_str(a->owner));
    tr_pack_name(packer, TR_VIEW("cents"));
    tr_pack_n_i64(packer, a->cents);
    return 0;
}

static int load(void *ctx, void *state, tr_item saved)
{
    account *a = state;
    tr_value owner, cents;
    (void)ctx;
    if (tr_item_get(saved, TR_VIEW("owner"), &owner) || tr_item_get(saved, TR_VIEW("cents"), &cents) ||
        cents.type != TR_N)
        return TR_ECORRUPT;
    (void)snprintf(a->owner, sizeof a->owner, "%.*s", TR_FMT(owner.payload));
    return tr_number_to_i64(cents.payload, &a->cents);
}

static const tr_reducer account_reducer = {
    .name = "account", .version = "1", .size = sizeof(account), .apply = apply, .save = save, .load = load};

/* ------------------------------------------------------------------------------------------- 3. commands */

#define MONEY     "%" PRId64 ".%02d"
#define AMOUNT(c) (c) / 100, (int)((c) % 100)

/* What is asked for. ids: the account, or from and to. */
typedef struct order {
    bank *bank;
    tr_decide_fn *decide;
    const char *ids[2];
    size_t count;
    bool new_account;
    const char *owner;
    int64_t cents;
} order;

/* An event with {"cents":…} or {"owner":…}, and the other account of a transfer, where there is one. */
static int decide(tr_decision *decision, size_t target, const char *type, const order *o)
{
    tr_buf buf;
    tr_packer p;
    tr_buf_init(&buf, 4096);
    tr_packer_init(&p, &buf);
    tr_pack_item_begin(&p);
    tr_pack_name(&p, o->owner ? TR_VIEW("owner") : TR_VIEW("cents"));
    if (o->owner)
        tr_pack_s(&p, tr_view_str(o->owner));
    else
        tr_pack_n_i64(&p, o->cents);
    if (o->count == 2) {
        tr_pack_name(&p, TR_VIEW("other"));
        tr_pack_s(&p, tr_view_str(o->ids[1 - target]));
    }
    int e = tr_pack_item_end(&p);
    const tr_event event = {.type = tr_view_str(type), .payload = {TR_M, tr_buf_view(&buf)}};
    if (!e)
        e = tr_decide_on(decision, target, &event);
    tr_buf_done(&buf);
    return e;
}

static int decide_open(void *ctx, const tr_aggregate *const *accounts, tr_decision *decision, tr_error *err)
{
    const order *o = ctx;
    if (tr_aggregate_version(accounts[0]))
        return tr_fail(err, TR_EEXIST, "there is an account %s already", o->ids[0]);
    return decide(decision, 0, "OPENED", o);
}

static int decide_deposit(void *ctx, const tr_aggregate *const *accounts, tr_decision *decision,
                          tr_error *err)
{
    (void)accounts, (void)err;
    return decide(decision, 0, "DEPOSITED", ctx);
}

static int check_funds(const order *o, const tr_aggregate *from, tr_error *err)
{
    const account *a = tr_aggregate_state(from);
    return a->cents >= o->cents ? 0
                                : tr_fail(err, TR_ELIMIT, "%s has only " MONEY, o->ids[0], AMOUNT(a->cents));
}

static int decide_withdraw(void *ctx, const tr_aggregate *const *accounts, tr_decision *decision,
                           tr_error *err)
{
    int e = check_funds(ctx, accounts[0], err);
    return e ? e : decide(decision, 0, "WITHDRAWN", ctx);
}

/* Both accounts' events are pushed together or not at all. */
static int decide_transfer(void *ctx, const tr_aggregate *const *accounts, tr_decision *decision,
                           tr_error *err)
{
    int e = check_funds(ctx, accounts[0], err);
    if (!e)
        e = decide(decision, 0, "SENT", ctx);
    return e ? e : decide(decision, 1, "RECEIVED", ctx);
}

static void make_command(const order *o, tr_command_target targets[2], tr_command *ret_command)
{
    for (size_t i = 0; i < o->count; i++)
        targets[i] = (tr_command_target){.store = o->bank->accounts,
                                         .reducer = &account_reducer,
                                         .aggregate_id = tr_view_str(o->ids[i]),
                                         .must_exist = !o->new_account,
                                         .snapshots = o->bank->snapshots};
    *ret_command = (tr_command){
        .targets = targets, .target_count = o->count, .decide = o->decide, .ctx = (void *)(uintptr_t)o};
}

static int carry_out(const order *o)
{
    tr_command_target targets[2];
    tr_command command;
    make_command(o, targets, &command);
    return tr_command_run_wait(&command, NULL, &o->bank->err);
}

/* ----------------------------------------------------------------------------- 4. many tellers at a time */

#define TELLERS 32

typedef struct rush {
    const char *const *ids;
    size_t id_count;
    unsigned to_start, done, refused, decisions, finished;
    int code;
    tr_error err;
    sem_t over;
} rush;

typedef struct teller {
    rush *rush;
    order order;
    tr_rng rng;
} teller;

/* All of these run on the client's thread, one at a time: they share the counts without a lock. */

static int decide_counted(void *ctx, const tr_aggregate *const *accounts, tr_decision *decision,
                          tr_error *err)
{
    teller *t = ctx;
    t->rush->decisions++;
    return decide_transfer(&t->order, accounts, decision, err);
}

static void next_transfer(void *ctx);

static void on_transferred(void *ctx, int code, const tr_pushed *pushed, const tr_aggregate *const *accounts,
                           const tr_error *err)
{
    teller *t = ctx;
    rush *r = t->rush;
    (void)pushed, (void)accounts;
    if (code == 0)
        r->done++;
    else if (code == TR_ELIMIT)
        r->refused++;
    else if (!r->code) {
        r->code = code;
        r->err = *err;
    }
    next_transfer(t);
}

static void next_transfer(void *ctx)
{
    teller *t = ctx;
    rush *r = t->rush;
    if (r->to_start > 0 && !r->code) {
        tr_command_target targets[2];
        tr_command command;
        size_t from = tr_rng_below(&t->rng, r->id_count);
        t->order.ids[0] = r->ids[from];
        t->order.ids[1] = r->ids[(from + 1 + tr_rng_below(&t->rng, r->id_count - 1)) % r->id_count];
        make_command(&t->order, targets, &command);
        command.decide = decide_counted;
        command.ctx = t;
        command.attempts = 1000; /* everybody wants the same few accounts */
        r->to_start--;
        r->code = tr_command_run(&command, on_transferred, t, &r->err);
        if (!r->code)
            return;
    }
    if (++r->finished == TELLERS)
        (void)sem_post(&r->over);
}

static int rush_hour(bank *b, unsigned count, const char *const *ids, size_t id_count)
{
    static teller tellers[TELLERS];
    rush r = {.ids = ids, .id_count = id_count, .to_start = count};
    (void)sem_init(&r.over, 0, 0);
    for (unsigned i = 0; i < TELLERS; i++) {
        tellers[i] = (teller){.rush = &r, .order = {.bank = b, .count = 2, .cents = 100}};
        tr_rng_seed(&tellers[i].rng, i);
        if (tr_client_schedule(b->client, 0, next_transfer, &tellers[i]))
            abort(); /* out of memory */
    }
    (void)sem_wait(&r.over);
    (void)sem_destroy(&r.over);
    if (r.code)
        b->err = r.err;
    else
        printf("%u transfers, %u refused, %u decisions\n", r.done, r.refused, r.decisions);
    return r.code;
}

/* -------------------------------------------------------------------------------------------- 5. reading */

static int print_balance(bank *b, const char *id, const char *version)
{
    tr_aggregate_options options = {.must_exist = true,
                                    .snapshots = b->snapshots,
                                    .max_version = version ? strtoull(version, NULL, 10) : 0};
    tr_aggregate *a;
    int e = tr_aggregate_get_wait(b->accounts, &account_reducer, tr_view_str(id), &options, &a, &b->err);
    if (e)
        return e;
    const account *state = tr_aggregate_state(a);
    printf("%s %s " MONEY " version %" PRIu64 "\n", id, state->owner, AMOUNT(state->cents),
           tr_aggregate_version(a));
    tr_aggregate_free(a);
    return 0;
}

static int print_line(void *ctx, const tr_event *event)
{
    int64_t *balance = ctx, cents = cents_of(event);
    bool out = tr_view_is(event->type, "WITHDRAWN") || tr_view_is(event->type, "SENT");
    tr_view note = text_of(event, tr_view_is(event->type, "OPENED") ? "owner" : "other");
    *balance += out ? -cents : cents;
    printf("%4" PRIu64 " %-10.*s %s" MONEY " = " MONEY " %.*s\n", event->version, TR_FMT(event->type),
           out ? "-" : "+", AMOUNT(cents), AMOUNT(*balance), TR_FMT(note));
    return 0;
}

static int print_statement(bank *b, const char *id)
{
    int64_t balance = 0;
    return tr_eventstore_get_wait(b->accounts, tr_view_str(id), NULL, print_line, &balance, &b->err);
}

/* ------------------------------------------------------------------- 6. a read model: all accounts in SQL */

typedef struct view {
    bank *bank;
    sqlite3 *db;
    sqlite3_stmt *follow, *replace;
} view;

static int sql_failed(view *v)
{
    return tr_fail(&v->bank->err, TR_EIO, "%s: %s", VIEW, sqlite3_errmsg(v->db));
}

static const char *view_path(void)
{
    const char *path = getenv("BANK_VIEW");
    return path ? path : VIEW;
}

static int open_view(view *v)
{
    if (sqlite3_open(view_path(), &v->db) ||
        sqlite3_exec(v->db,
                     "CREATE TABLE IF NOT EXISTS accounts "
                     "(id TEXT PRIMARY KEY, owner TEXT, cents INTEGER, version INTEGER)",
                     NULL, NULL, NULL) ||
        sqlite3_prepare_v2(v->db,
                           "UPDATE accounts SET cents = cents + ?3, version = ?2 "
                           "WHERE id = ?1 AND version = ?2 - 1",
                           -1, &v->follow, NULL) ||
        sqlite3_prepare_v2(v->db,
                           "INSERT INTO accounts (id, version, cents, owner) VALUES (?1, ?2, ?3, ?4) "
                           "ON CONFLICT (id) DO UPDATE SET version = ?2, cents = ?3, owner = ?4 "
                           "WHERE version < ?2",
                           -1, &v->replace, NULL))
        return sql_failed(v);
    return 0;
}

static void close_view(view *v)
{
    sqlite3_finalize(v->follow);
    sqlite3_finalize(v->replace);
    sqlite3_close(v->db);
}

static int run_statement(view *v, sqlite3_stmt *s, tr_view id, uint64_t version, int64_t cents)
{
    sqlite3_bind_text(s, 1, id.ptr, (int)id.len, SQLITE_TRANSIENT);
    sqlite3_bind_int64(s, 2, (int64_t)version);
    sqlite3_bind_int64(s, 3, cents);
    int code = sqlite3_step(s) == SQLITE_DONE ? 0 : sql_failed(v);
    sqlite3_reset(s);
    return code;
}

/* The account as it is now. */
static int refresh(view *v, tr_view id)
{
    tr_aggregate_options options = {.snapshots = v->bank->snapshots};
    tr_aggregate *a;
    int e = tr_aggregate_get_wait(v->bank->accounts, &account_reducer, id, &options, &a, &v->bank->err);
    if (e)
        return e;
    const account *state = tr_aggregate_state(a);
    sqlite3_bind_text(v->replace, 4, state->owner, -1, SQLITE_TRANSIENT);
    e = run_statement(v, v->replace, id, tr_aggregate_version(a), state->cents);
    tr_aggregate_free(a);
    return e;
}

/* The event that follows the version at hand is added; one from before (records may come again) changes
 * nothing; otherwise something was missed, and the account itself is asked. */
static int project(view *v, const tr_event *event)
{
    bool out = tr_view_is(event->type, "WITHDRAWN") || tr_view_is(event->type, "SENT");
    int64_t cents = cents_of(event);
    int e = run_statement(v, v->follow, event->aggregate_id, event->version, out ? -cents : cents);
    return e || sqlite3_changes(v->db) ? e : refresh(v, event->aggregate_id);
}

/* The stream has forgotten events (they are kept for a day): every account is asked. */
static int rebuild(view *v)
{
    tr_list_options options = {0};
    tr_listing page = {0};
    tr_arena arena;
    int e;
    tr_arena_init(&arena, 64 << 20);
    do {
        options.page_token = page.next_page_token;
        e = tr_eventstore_list_wait(v->bank->accounts, &options, &arena, &page, &v->bank->err);
        for (size_t i = 0; !e && i < page.count; i++)
            e = refresh(v, page.aggregates[i].aggregate_id);
    } while (!e && page.next_page_token.len);
    tr_arena_done(&arena);
    return e;
}

static int take(view *v, const tr_stream_event *e)
{
    const tr_eventstore *stores[] = {v->bank->accounts};
    tr_event event;
    size_t index;
    if (e->kind == TR_STREAM_GAP)
        return rebuild(v);
    if (e->kind != TR_STREAM_RECORD || !e->record->has_new)
        return 0;
    int code = tr_event_parse_image(stores, 1, e->record->new_image, &index, &event, &v->bank->err);
    return code == TR_ENOTFOUND ? 0 : code ? code : project(v, &event);
}

/* Follows the table's stream from where it stood last time until it has seen everything. */
static int catch_up(view *v)
{
    tr_stream_options options = {.table = TABLE, .start = {.at = TR_START_TRIM_HORIZON}};
    tr_stream *stream;
    tr_stream_event *event;
    int e = tr_stream_store_sqlite(view_path(), "accounts", &options.store, &v->bank->err);
    if (e)
        return e;
    e = tr_stream_new(v->bank->client, &options, &stream, &v->bank->err);
    if (e) {
        tr_stream_store_free(options.store);
        return e;
    }
    for (bool over = false; !e && !over;) {
        e = tr_stream_next(stream, -1, &event);
        if (e)
            break;
        over = event->kind == TR_STREAM_CAUGHT_UP;
        e = take(v, event);
        if (e)
            tr_stream_nack(stream, event, 0);
        else
            tr_stream_ack(stream, event);
    }
    tr_stream_free(stream);
    return e;
}

static int print_row(void *ctx, int count, char **values, char **names)
{
    int64_t cents = strtoll(values[2], NULL, 10), *total = ctx;
    (void)count, (void)names;
    *total += cents;
    printf("%-10s %-10s " MONEY "\n", values[0], values[1], AMOUNT(cents));
    return 0;
}

static int print_accounts(bank *b)
{
    view v = {.bank = b};
    int64_t total = 0;
    int e = open_view(&v);
    if (!e)
        e = catch_up(&v);
    if (!e &&
        sqlite3_exec(v.db, "SELECT id, owner, cents FROM accounts ORDER BY id", print_row, &total, NULL))
        e = sql_failed(&v);
    if (!e)
        printf("%-21s " MONEY "\n", "total", AMOUNT(total));
    close_view(&v);
    return e;
}

/* ------------------------------------------------------------------------------------- the command line */

/* "12", "12.5", "12.50"; 0 is no amount. */
static int64_t read_amount(const char *text)
{
    unsigned long long whole, part = 0;
    char dot = 0, digits[3] = "", rest;
    int n = sscanf(text, "%9llu%c%2[0-9]%c", &whole, &dot, digits, &rest);
    if (text[0] < '0' || text[0] > '9' || !(n == 1 || (n == 3 && dot == '.')))
        return 0;
    part = n == 3 ? strtoull(digits, NULL, 10) * (digits[1] ? 1 : 10) : 0;
    return (int64_t)(whole * 100 + part);
}

#define NOT_A_COMMAND 1

static const struct {
    const char *name;
    tr_decide_fn *decide;
    size_t accounts;
} orders[] = {{"open", decide_open, 1},
              {"deposit", decide_deposit, 1},
              {"withdraw", decide_withdraw, 1},
              {"transfer", decide_transfer, 2}};

/* arguments: the accounts, then the amount or the owner. NOT_A_COMMAND: it is none of these. */
static int order_from(bank *b, const char *name, char **arguments, int count)
{
    for (size_t i = 0; i < TR_COUNT(orders); i++) {
        if (strcmp(name, orders[i].name) != 0 || (size_t)count != orders[i].accounts + 1)
            continue;
        bool is_open = orders[i].decide == decide_open;
        order o = {
            .bank = b, .decide = orders[i].decide, .count = orders[i].accounts, .new_account = is_open};
        for (size_t a = 0; a < o.count; a++)
            o.ids[a] = arguments[a];
        o.owner = is_open ? arguments[1] : NULL;
        o.cents = is_open ? 0 : read_amount(arguments[o.count]);
        if (!is_open && o.cents == 0)
            return tr_fail(&b->err, TR_EINVAL, "'%s' is no amount such as 12.50", arguments[o.count]);
        if (o.count == 2 && strcmp(o.ids[0], o.ids[1]) == 0)
            return tr_fail(&b->err, TR_EINVAL, "a transfer needs two accounts");
        return carry_out(&o);
    }
    return NOT_A_COMMAND;
}

static int run(bank *b, const char *name, char **arguments, int count)
{
    if (strcmp(name, "balance") == 0 && (count == 1 || count == 2))
        return print_balance(b, arguments[0], arguments[1]);
    if (strcmp(name, "statement") == 0 && count == 1)
        return print_statement(b, arguments[0]);
    if (strcmp(name, "accounts") == 0 && count == 0)
        return print_accounts(b);
    if (strcmp(name, "rush") == 0 && count >= 3)
        return rush_hour(b, (unsigned)strtoul(arguments[0], NULL, 10),
                         (const char *const *)(uintptr_t)(arguments + 1), (size_t)count - 1);
    return order_from(b, name, arguments, count);
}

int main(int argc, char **argv)
{
    bank b = {0};
    int e = argc < 3 ? NOT_A_COMMAND : open_bank(&b, argv[1]);
    if (!e)
        e = run(&b, argv[2], argv + 3, argc - 3);
    close_bank(&b);
    if (e == NOT_A_COMMAND) {
        (void)fprintf(
            stderr,
            "usage: bank DIR|URL|aws open|deposit|withdraw|transfer|balance|statement|accounts|rush …\n");
        return 2;
    }
    if (e)
        (void)fprintf(stderr, "bank: %s\n", b.err.message);
    return !e ? 0 : e == TR_ENOTFOUND ? 3 : e == TR_ELIMIT || e == TR_EEXIST || e == TR_ECONFLICT ? 4 : 1;
}
