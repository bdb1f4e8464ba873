/* SPDX-License-Identifier: MIT */
#include "cli/follow.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STATE_MAX ((size_t)64 << 20)
#define WAIT_US   500000
/* a worker renews its leases thrice in that time */
#define FAILOVER_MIN_MS 500

int tr_cli_parse_from(const char *text, tr_stream_start *ret_start, tr_error *err)
{
    tr_view v = tr_view_str(text);
    int64_t ms;
    if (tr_view_is(v, "latest")) {
        *ret_start = (tr_stream_start){.at = TR_START_LATEST};
    } else if (tr_view_is(v, "trim-horizon")) {
        *ret_start = (tr_stream_start){.at = TR_START_TRIM_HORIZON};
    } else if (v.len >= 21 && v.len <= TR_SEQUENCE_MAX && tr_sequence_valid(v)) {
        *ret_start = (tr_stream_start){.at = TR_START_AT, .sequence_number = text};
    } else if (v.len > 1 && v.ptr[0] == '-' &&
               tr_duration_parse(tr_view_of(v.ptr + 1, v.len - 1), &ms) == 0) {
        *ret_start = (tr_stream_start){.at = TR_START_TIME, .time_ms = tr_clock_wall_ms() - ms};
    } else if (tr_time_parse(v, &ms) == 0) {
        *ret_start = (tr_stream_start){.at = TR_START_TIME, .time_ms = ms};
    } else {
        return tr_fail(
            err, TR_EINVAL,
            "--from '%s': latest, trim-horizon, a sequence number of 21 to 40 digits, a time such as "
            "2026-01-31T12:00:00Z, or -15m are possible",
            text);
    }
    return 0;
}

int tr_cli_check_from(tr_stream *stream, const char *from, const char *table, tr_error *err)
{
    tr_stream_start start = {.at = TR_START_LATEST};
    tr_stream_stats stats;
    if (!from || tr_cli_parse_from(from, &start, err) || start.at != TR_START_AT)
        return 0;
    tr_stream_get_stats(stream, &stats);
    if (stats.delivered || stats.filtered || stats.gaps || !stats.skipped)
        return 0;
    return tr_fail(err, TR_EINVAL,
                   "--from %s is beyond the newest record of %s: nothing bears that number yet", from, table);
}

/* What DescribeTable says of it. Its ARNs hold no character that JSON escapes: what stands between the quotes
 * is it. */
static bool take_source(tr_view reply, tr_arena *arena, tr_cli_source *ret_source)
{
    tr_view description, arn, made;
    if (tr_json_member(reply, "Table", arena, &description) ||
        tr_json_member(description, "LatestStreamArn", arena, &arn) || arn.len < 2 ||
        arn.len - 2 > TR_STREAM_ARN_MAX)
        return false;
    if (tr_json_member(description, "TableId", arena, &made) &&
        tr_json_member(description, "CreationDateTime", arena, &made))
        made = (tr_view){0};
    (void)snprintf(ret_source->stream_arn, sizeof ret_source->stream_arn, "%.*s", (int)(arn.len - 2),
                   arn.ptr + 1);
    const char *label = strstr(ret_source->stream_arn, "/stream/");
    (void)snprintf(ret_source->table, sizeof ret_source->table, "%.*s %.*s",
                   label ? (int)(label - ret_source->stream_arn) : TR_STREAM_ARN_MAX, ret_source->stream_arn,
                   TR_FMT(made));
    return true;
}

int tr_cli_find_source(tr_client *client, const char *table, tr_cli_source *ret_source, tr_error *err)
{
    tr_buf body, reply;
    tr_json_writer w;
    tr_arena arena;
    tr_buf_init(&body, 65536);
    tr_buf_init(&reply, 4 << 20);
    tr_arena_init(&arena, 4 << 20);
    tr_json_write_init(&w, &body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "TableName", table);
    tr_json_end_object(&w);
    tr_request request = {.service = TR_DYNAMODB, .operation = "DescribeTable", .body = tr_buf_view(&body)};
    int e = tr_client_call_wait(client, &request, &reply, err);
    if (e == TR_ENOTFOUND) {
        e = tr_fail(err, e, "there is no table %s at %s", table, tr_client_endpoint(client, TR_DYNAMODB));
    } else if (!e && !take_source(tr_buf_view(&reply), &arena, ret_source)) {
        e = tr_fail(err, TR_EINVAL,
                    "table %s has no stream: enable one with UpdateTable (StreamSpecification, "
                    "NEW_AND_OLD_IMAGES)",
                    table);
    }
    tr_buf_done(&body);
    tr_buf_done(&reply);
    tr_arena_done(&arena);
    return e;
}

/* FNV-1a, 64 bits: names files only */
static uint64_t hash_text(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * UINT64_C(1099511628211);
    return (h ^ 0xff) * UINT64_C(1099511628211);
}

int tr_cli_state_path(const char *given, const char *command, const char *table, const char *endpoint,
                      const char *what, const char *ending, char *out, size_t size, tr_error *err)
{
    const char *home = getenv("HOME"), *state = getenv("XDG_STATE_HOME");
    unsigned long long h = hash_text(hash_text(UINT64_C(14695981039346656037), endpoint), what);
    int n;
    if (given)
        n = snprintf(out, size, "%s", given);
    else if (state && state[0] == '/')
        n = snprintf(out, size, "%s/tailrace/%s-%s-%016llx.%s", state, command, table, h, ending);
    else if (home && home[0])
        n = snprintf(out, size, "%s/.local/state/tailrace/%s-%s-%016llx.%s", home, command, table, h, ending);
    else
        return tr_fail(err, TR_EINVAL, "neither XDG_STATE_HOME nor HOME is set: give --state FILE");
    return n > 0 && (size_t)n < size ? 0 : tr_fail(err, TR_EINVAL, "the path of the state file is too long");
}

int tr_cli_stream_state_path(tr_client *client, const char *given, const char *command, const char *table,
                             const tr_cli_source *source, const char *ending, char *out, size_t size,
                             tr_error *err)
{
    return tr_cli_state_path(given, command, table, tr_client_endpoint(client, TR_STREAMS), source->table,
                             ending, out, size, err);
}

/* A newer program's state does not become readable by being loaded again. */
static int check_version(const char *path, tr_view state, tr_arena *arena, tr_error *err)
{
    tr_view format, version;
    tr_json_reader r;
    int64_t number;
    if (tr_json_member(state, "format", arena, &format) || !tr_view_is(format, "\"tailrace-stream\"") ||
        tr_json_member(state, "version", arena, &version))
        return 0;
    tr_json_init(&r, version, arena);
    if (tr_json_next(&r) != TR_JSON_NUMBER || tr_json_int(&r, &number) || number <= TR_STREAM_STATE_VERSION)
        return 0;
    return tr_fail(err, TR_EVERSION,
                   "%s has version %lld, which a newer tailrace wrote; this one reads up to %d", path,
                   (long long)number, TR_STREAM_STATE_VERSION);
}

/* A file that was cut off, or emptied, is no position: to begin at the newest change instead would lose what
 * is behind it. */
static bool is_whole(tr_view text, tr_arena *arena)
{
    tr_json_reader r;
    tr_json_init(&r, text, arena);
    return tr_json_next(&r) == TR_JSON_OBJECT && !tr_json_skip(&r) && tr_json_next(&r) == TR_JSON_DONE;
}

static int check_text(const char *path, const char *table, tr_view text, tr_arena *arena, tr_error *err)
{
    tr_view found;
    if (!is_whole(text, arena))
        return tr_fail(err, TR_EINVAL,
                       "%s is no saved position%s: remove it, or name another file with --state", path,
                       text.len ? "" : " but empty");
    if (!tr_json_member(text, "table", arena, &found) &&
        (found.len != strlen(table) + 2 || memcmp(found.ptr + 1, table, found.len - 2) != 0))
        return tr_fail(err, TR_EINVAL, "%s holds the position of table %.*s: name another file with --state",
                       path, TR_FMT(found));
    return check_version(path, text, arena, err);
}

/* TR_ENOTFOUND: it is not there. */
static int read_file(const char *path, tr_buf *ret_text, tr_error *err)
{
    char part[65536];
    FILE *f = fopen(path, "rb");
    if (!f)
        return tr_fail(err, errno == ENOENT ? TR_ENOTFOUND : TR_EIO, "%s: %s", path, strerror(errno));
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        tr_buf_put(ret_text, part, n);
    bool failed = ferror(f) != 0;
    (void)fclose(f);
    int e = failed ? TR_EIO : tr_buf_status(ret_text);
    return e ? tr_fail(err, e, "%s: it cannot be read: %s", path, tr_strerror(e)) : 0;
}

/* What a state file must be: a position of this table. One that is not there is fine. */
static int check_state(const char *path, const char *table, tr_error *err)
{
    tr_buf text;
    tr_arena arena;
    tr_buf_init(&text, STATE_MAX);
    tr_arena_init(&arena, STATE_MAX);
    int e = read_file(path, &text, err);
    if (!e)
        e = check_text(path, table, tr_buf_view(&text), &arena, err);
    tr_buf_done(&text);
    tr_arena_done(&arena);
    return e == TR_ENOTFOUND ? 0 : e;
}

static bool is_in_stream(const char *path, const char *arn)
{
    tr_buf text;
    tr_arena arena;
    tr_view found;
    tr_error ignored;
    tr_buf_init(&text, STATE_MAX);
    tr_arena_init(&arena, STATE_MAX);
    bool is = !read_file(path, &text, &ignored) &&
              !tr_json_member(tr_buf_view(&text), "stream_arn", &arena, &found) &&
              found.len == strlen(arn) + 2 && memcmp(found.ptr + 1, arn, found.len - 2) == 0;
    tr_buf_done(&text);
    tr_arena_done(&arena);
    return is;
}

/* A consumer that was running when its table was deleted and made again has followed into the new one, and
 * keeps its position there in the file of the old one: that is gone on with. */
static void adopt_position(const char *path, const char *arn)
{
    char other[4096];
    const char *name = strrchr(path, '/'), *hash = strrchr(path, '-');
    if (!name || !hash || hash < name || access(path, F_OK) == 0)
        return;
    int directory = (int)(++name - path);
    (void)snprintf(other, sizeof other, "%.*s", directory, path);
    DIR *dir = opendir(other);
    if (!dir)
        return;
    for (const struct dirent *d; (d = readdir(dir));) {
        size_t len = strlen(d->d_name);
        if (len != strlen(name) || strncmp(d->d_name, name, (size_t)(hash - name) + 1) != 0 ||
            strcmp(d->d_name + len - strlen(".json"), ".json") != 0)
            continue;
        (void)snprintf(other, sizeof other, "%.*s%s", directory, path, d->d_name);
        if (is_in_stream(other, arn) && link(other, path) == 0)
            break;
    }
    (void)closedir(dir);
}

/* Waits for a server that cannot be reached. */
static int wait_for_source(tr_client *client, const char *table, bool once, tr_cli_source *ret_source,
                           tr_error *err)
{
    int64_t began = tr_clock_mono_ms();
    bool told = false;
    int e;
    while ((e = tr_cli_find_source(client, table, ret_source, err)) == TR_ECONNECT || e == TR_ETIMEOUT ||
           e == TR_ETHROTTLED) {
        if (once && tr_clock_mono_ms() - began > TR_CLI_ONCE_PATIENCE_MS)
            break;
        if (!told)
            tr_cli_message(TR_LOG_WARN, "%s; trying again", err->message);
        told = true;
        (void)usleep(WAIT_US);
    }
    return e;
}

int tr_cli_state_store(tr_client *client, const char *given, const char *command, const char *table,
                       bool anew, bool once, tr_cli_source *ret_source, tr_stream_store **ret_store,
                       tr_error *err)
{
    char path[4096];
    tr_stream_store *store;
    int e = wait_for_source(client, table, once, ret_source, err);
    if (!e)
        e = tr_cli_stream_state_path(client, given, command, table, ret_source, "json", path, sizeof path,
                                     err);
    if (!e && !anew) {
        if (!given)
            adopt_position(path, ret_source->stream_arn);
        e = check_state(path, table, err);
    }
    if (e || (e = tr_stream_store_file(path, &store, err)))
        return e;
    /* not before the lock is ours: another consumer may be at work from it */
    if (anew && unlink(path) && access(path, F_OK) == 0) {
        tr_stream_store_free(store);
        return tr_fail(err, TR_EIO, "cannot remove the earlier position, %s", path);
    }
    *ret_store = store;
    return 0;
}

int tr_cli_filters_add(tr_cli_filters *f, const tr_cli *cli)
{
    tr_error err = {0};
    tr_pattern_options options = {.dialect = TR_PATTERN_LAMBDA, .max_length = TR_PATTERN_FILTER_LENGTH_MAX};
    if (f->count == TR_MAPPING_FILTERS_MAX)
        return tr_cli_usage(cli, "--filter may be given at most %d times", TR_MAPPING_FILTERS_MAX);
    if (tr_pattern_compile(tr_view_str(cli->value), &options, &f->list[f->count], &err))
        return tr_cli_usage(cli, "--filter %s: %s", cli->value, err.message);
    f->count++;
    return 0;
}

void tr_cli_filters_done(tr_cli_filters *f)
{
    for (size_t i = 0; i < f->count; i++)
        tr_pattern_free(f->list[i]);
    f->count = 0;
}

int tr_cli_check_position(const tr_cli *cli, const char *from, const char *state, bool once,
                          const tr_cli_fleet *fleet)
{
    tr_stream_start ignored = {.at = TR_START_LATEST};
    tr_error err;
    if (from && tr_cli_parse_from(from, &ignored, &err))
        return tr_cli_usage(cli, "%s", err.message);
    if (fleet->lease_table && (once || state))
        return tr_cli_usage(cli, "--name keeps the position in the lease table and goes on for ever: neither "
                                 "--state nor --once fits");
    return 0;
}

bool tr_cli_fleet_take(tr_cli_fleet *fleet, int option, const tr_cli *cli, int *ret_exit)
{
    *ret_exit = 0;
    if (option == TR_CLI_NAME) {
        fleet->lease_table = cli->value;
        *ret_exit = tr_cli_table_name(cli, cli->value);
        return true;
    }
    if (option != TR_CLI_FAILOVER)
        return false;
    *ret_exit = tr_cli_duration(cli, "failover", &fleet->failover_ms);
    if (!*ret_exit && fleet->failover_ms < FAILOVER_MIN_MS)
        *ret_exit = tr_cli_usage(cli, "--failover is at least %d ms", FAILOVER_MIN_MS);
    return true;
}

bool tr_cli_idle_take(int64_t *idle_max_ms, int option, const tr_cli *cli, int *ret_exit)
{
    *ret_exit = 0;
    if (option != TR_CLI_IDLE_MAX)
        return false;
    /* an iterator dies after 15 minutes */
    *ret_exit = tr_cli_duration_within(cli, "idle-max", "10ms", "5m", idle_max_ms);
    return true;
}

static void tell_gap(const char *table, const tr_stream_gap *g)
{
    char shard[TR_SHARD_ID_MAX + 1], after[TR_SEQUENCE_MAX + 1];
    (void)snprintf(shard, sizeof shard, "%.*s", TR_FMT(g->shard_id));
    (void)snprintf(after, sizeof after, "%.*s", TR_FMT(g->after));
    const tr_cli_field fields[] = {{.name = "table", .text = table},
                                   {.name = "shard", .text = shard},
                                   {.name = "gap", .text = tr_gap_reason_name(g->reason)},
                                   {.name = "after", .text = after},
                                   {NULL, NULL, 0}};
    tr_cli_tell(TR_LOG_WARN, fields, "%s: records may be missing in shard %s (%s), after %s", table, shard,
                tr_gap_reason_name(g->reason), after[0] ? after : "its start");
}

static void tell_trouble(const char *table, const tr_stream_trouble *t)
{
    char shard[TR_SHARD_ID_MAX + 1];
    (void)snprintf(shard, sizeof shard, "%.*s", TR_FMT(t->shard_id));
    const tr_cli_field fields[] = {{.name = "table", .text = table},
                                   {.name = "shard", .text = shard},
                                   {.name = "doing", .text = t->doing},
                                   {.name = "error", .text = tr_strerror(t->error->code)},
                                   {.name = "error_type", .text = t->error->type},
                                   {.name = "attempt", .number = t->attempt},
                                   {.name = "retry_in_ms", .number = t->retry_in_ms},
                                   {NULL, NULL, 0}};
    tr_cli_tell(TR_LOG_WARN, fields, "%s: %s: %s%s%s; again in %lld ms", table, t->doing, t->error->type,
                t->error->type[0] ? ": " : "", t->error->message, (long long)t->retry_in_ms);
}

static void tell_end(tr_client *client, const char *table)
{
    tr_cli_source source;
    tr_error err = {0};
    if (tr_cli_find_source(client, table, &source, &err) == TR_ENOTFOUND)
        tr_cli_message(TR_LOG_WARN,
                       "%s: the table was deleted, and its stream is read to its end; waiting for a new one",
                       table);
    else
        tr_cli_message(TR_LOG_INFO,
                       "%s: the stream was disabled and is read to its end; waiting for a new one", table);
}

void tr_cli_tell_event(tr_client *client, const char *table, const tr_stream_event *event)
{
    const tr_stream_trouble *t = event->trouble;
    const tr_stream_gap *g = event->gap;
    switch (event->kind) {
    case TR_STREAM_GAP:
        tell_gap(table, g);
        break;
    case TR_STREAM_TROUBLE:
        tell_trouble(table, t);
        break;
    case TR_STREAM_ENDED:
        tell_end(client, table);
        break;
    default:
        break;
    }
}
