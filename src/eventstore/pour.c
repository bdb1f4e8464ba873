/* SPDX-License-Identifier: MIT */
/*
 * The table is read into an inbox, which brings the events into order; then they are handed over from there.
 * What the inbox's state says: {"segments":[…]} as of a scan, with every segment done once it is read.
 */
#include "eventstore/inbox.h"
#include "replica/internal.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BATCH        100
#define WAIT_MS      50
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 30000

struct tr_pour {
    tr_client *client;
    tr_pour_options options;
    tr__selection select;
    char *state;
    bool temporary;
    atomic_bool stop;
    tr__inbox *inbox;
    tr__scan scan;
    tr_error *err; /* of the page being added */
    tr_buf saved;
    tr_rng rng;
};

/* ------------------------------------------------------------------------------------------------- reading
 */

static int save(tr_pour *p, tr_error *err)
{
    tr_json_writer w;
    tr_buf_reset(&p->saved);
    tr_json_write_init(&w, &p->saved);
    tr_json_begin_object(&w);
    tr_json_name(&w, "segments");
    tr__scan_write(&p->scan, &w);
    tr_json_end_object(&w);
    int e = tr_buf_status(&p->saved);
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : tr__inbox_save(p->inbox, tr_buf_view(&p->saved), err);
}

/* Where an earlier run stopped reading. */
static int restore(tr_pour *p, tr_error *err)
{
    tr_arena arena;
    tr_view segments;
    tr_json_reader r;
    tr_arena_init(&arena, (size_t)1 << 20);
    tr_buf_reset(&p->saved);
    int e = tr__inbox_load(p->inbox, &p->saved, err);
    if (!e && p->saved.len) {
        bool good = tr_json_member(tr_buf_view(&p->saved), "segments", &arena, &segments) == 0;
        if (good) {
            tr_json_init(&r, segments, &arena);
            good = tr_json_next(&r) == TR_JSON_ARRAY && tr__scan_read(&p->scan, &r) == 0;
        }
        if (!good)
            e = tr_fail(err, TR_ECORRUPT, "%s holds something else than events to be poured", p->state);
    }
    tr_arena_done(&arena);
    return e;
}

static int add_item(void *ctx, tr_item item)
{
    tr_pour *p = ctx;
    return tr__inbox_scanned(p->inbox, item, p->err);
}

static int add_page(tr_pour *p, tr__scan_page *page, tr_error *err)
{
    p->err = err;
    int e = tr__inbox_begin(p->inbox, err);
    if (!e)
        e = tr__scan_each(&p->scan, page, add_item, p, err);
    if (!e)
        e = save(p, err);
    if (!e && tr__scan_finished(&p->scan))
        e = tr__inbox_scanning(p->inbox, false, false, err);
    if (!e)
        e = tr__inbox_commit(p->inbox, err);
    if (e)
        tr__inbox_rollback(p->inbox);
    return e;
}

static void wait_for_page(tr_pour *p)
{
    uv_mutex_lock(&p->scan.mutex);
    if (!p->scan.first && !p->scan.code)
        (void)uv_cond_timedwait(&p->scan.changed, &p->scan.mutex, (uint64_t)WAIT_MS * 1000000);
    uv_mutex_unlock(&p->scan.mutex);
}

static int read_pages(tr_pour *p, tr_error *err)
{
    bool lost;
    int e = 0;
    while (!e && !tr__scan_finished(&p->scan) && !atomic_load(&p->stop)) {
        tr__scan_go(&p->scan);
        tr__scan_page *page = tr__scan_take(&p->scan);
        if (page)
            e = add_page(p, page, err);
        else if (!(e = tr__scan_code(&p->scan, &lost, err)))
            wait_for_page(p);
        tr__scan_page_free(page);
    }
    return e;
}

static int read_table(tr_pour *p, tr_error *err)
{
    int e = tr__scan_init(&p->scan, p->client, tr_view_str(p->select.table), p->options.segments);
    if (e)
        return tr_fail(err, e, "%s", tr_strerror(e));
    p->scan.rows_per_second = p->options.rows_per_second;
    e = restore(p, err);
    if (!e && p->saved.len == 0 && !(e = tr__inbox_begin(p->inbox, err))) {
        e = tr__inbox_scanning(p->inbox, true, false, err);
        e = e ? e : tr__inbox_commit(p->inbox, err);
    }
    if (!e)
        e = read_pages(p, err);
    tr__scan_done(&p->scan);
    return e;
}

/* ------------------------------------------------------------------------------------------------- pouring
 */

/* False once a stop was asked for. */
static bool sleep_until(tr_pour *p, int64_t when_ms)
{
    for (int64_t left; (left = when_ms - tr_clock_mono_ms()) > 0 && !atomic_load(&p->stop);)
        uv_sleep(left < WAIT_MS ? (unsigned)left : WAIT_MS);
    return !atomic_load(&p->stop);
}

/* So many at a time that the rate is even within a tenth of a second. */
static size_t batch_size(const tr_pour *p)
{
    size_t most = p->options.batch ? p->options.batch : BATCH;
    double tenth = p->options.rate / 10;
    return p->options.rate <= 0 || tenth >= (double)most ? most : tenth < 1 ? 1 : (size_t)tenth;
}

static int hand_over(tr_pour *p, const tr_subscribed *events, size_t count, size_t *ret_done,
                     unsigned *failures, tr_error *err)
{
    size_t done = 0;
    int e = p->options.put(p->options.ctx, events, count, &done, err);
    *ret_done = done < count ? done : count;
    if (e && !tr_retryable(e))
        return e;
    if (!e && done >= count) {
        *failures = 0;
        return 0;
    }
    if (e)
        tr_log(&p->options.logger, TR_LOG_WARN, "%s; trying again", err->message);
    (void)sleep_until(p, tr_clock_mono_ms() + 1 +
                             tr_backoff_ms(&p->rng, (*failures)++, RETRY_MIN_MS, RETRY_MAX_MS));
    return 0;
}

static int pour(tr_pour *p, uint64_t *ret_poured, tr_error *err)
{
    int64_t began_ms = tr_clock_mono_ms();
    unsigned failures = 0;
    size_t max = batch_size(p), count, done;
    const tr_subscribed *events;
    int e = 0;
    while (!e && !atomic_load(&p->stop)) {
        e = tr__inbox_take(p->inbox, max, &events, &count, err);
        if (e || count == 0)
            break;
        if (p->options.rate > 0 &&
            !sleep_until(p, began_ms + (int64_t)((double)*ret_poured * 1000 / p->options.rate)))
            break;
        e = hand_over(p, events, count, &done, &failures, err);
        *ret_poured += done;
        tr_error saving;
        int saved = tr__inbox_done(p->inbox, done, &saving);
        if (saved)
            e = tr_fail(err, saved, "%s", saving.message);
    }
    return e;
}

/* Nobody else knows the temporary file's name, so that nobody waits for its lock. */
static void remove_lock(const char *path)
{
    char name[4096];
    if (snprintf(name, sizeof name, "%s.lock", path) < (int)sizeof name)
        (void)unlink(name);
}

int tr_pour_run(tr_pour *p, uint64_t *ret_poured, tr_error *err)
{
    uint64_t poured = 0;
    tr_error local = {0};
    int e = tr__inbox_open(p->state, &p->select, &p->inbox, &local);
    if (!e)
        e = read_table(p, &local);
    if (!e)
        e = pour(p, &poured, &local);
    bool over = !e && !atomic_load(&p->stop);
    tr__inbox_close(p->inbox, over || p->temporary);
    p->inbox = NULL;
    if (p->temporary)
        remove_lock(p->state);
    atomic_store(&p->stop, false);
    if (ret_poured)
        *ret_poured = poured;
    return e ? tr_fail(err, e, "%s", local.message) : 0;
}

/* ------------------------------------------------------------------------------------------------ lifecycle
 */

/* A file that goes when the run ends. */
static char *temporary_name(void)
{
    const char *directory = getenv("TMPDIR");
    char uuid[TR_UUID_LEN + 1], path[4096];
    tr_uuid(uuid);
    int n = snprintf(path, sizeof path, "%s/tailrace-pour-%s", directory && directory[0] ? directory : "/tmp",
                     uuid);
    return n > 0 && (size_t)n < sizeof path ? tr_strdup(path) : NULL;
}

int tr_pour_new(tr_client *client, const tr_pour_options *options, tr_pour **ret_pour, tr_error *err)
{
    if (!options->put)
        return tr_fail(err, TR_EINVAL, "where shall events be poured? put is missing");
    if (options->batch > TR_SUBSCRIBED_MAX || options->segments > TR_REPLICA_SEGMENTS_MAX ||
        options->rate < 0)
        return tr_fail(err, TR_EINVAL, "at most %d events at a time, %d segments, and no rate below 0",
                       TR_SUBSCRIBED_MAX, TR_REPLICA_SEGMENTS_MAX);
    tr_pour *p = tr_calloc(1, sizeof *p);
    if (!p)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    uint64_t seed;
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&p->rng, seed);
    tr_buf_init(&p->saved, TR__PAGE_MAX);
    p->client = client;
    p->options = *options;
    p->temporary = !options->state;
    int e = tr__selection_init(&p->select, &options->select, err);
    if (!e) {
        p->select.from_ms = options->from_ms ? options->from_ms : INT64_MIN;
        p->select.until_ms = options->until_ms ? options->until_ms : INT64_MAX;
        p->state = options->state ? tr_strdup(options->state) : temporary_name();
        if (!p->state)
            e = tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    if (e)
        tr_pour_free(p);
    else
        *ret_pour = p;
    return e;
}

void tr_pour_stop(tr_pour *p)
{
    atomic_store(&p->stop, true);
}

void tr_pour_free(tr_pour *p)
{
    if (!p)
        return;
    tr__selection_done(&p->select);
    tr_buf_done(&p->saved);
    tr_free(p->state);
    tr_free(p);
}
