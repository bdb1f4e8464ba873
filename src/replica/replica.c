/* SPDX-License-Identifier: MIT */
/*
 *              no saved state, or of another stream
 *   STARTING ------------------------------------------> SCANNING --all segments--> OVERLAP --past scan
 * end--> FOLLOWING |                                                  ^    (exact: no overlap)
 * ---------------------------^  |
 *      +-- saved state: on where it stands                +------------ a gap: the scan is repeated
 * -------------+
 *
 * One loop does it all: what the stream and the scan have brought is applied to the sink, and committed
 * together with the positions behind it; only then are those positions told to the stream as saved.
 */
#include "replica/internal.h"

#include <assert.h>

#define BATCH_RECORDS     1000
#define WAIT_MS           200   /* for the stream, while nothing else is to be done */
#define WAIT_SCANNING_MS  2     /* while pages of the scan are to come */
#define ONCE_PATIENCE_MS  60000 /* CONTRACTS: --once gives up after 60 s without progress */
#define ONCE_HOLD_MS      200   /* how late the end of an idle stream may be seen */
#define ONCE_DISCOVER_MS  1000  /* and that of a stream that was disabled, which only listings tell of */
#define PROGRESS_EVERY_MS 100
/* Creation times of records have a granularity of a second, and the service's clock is not ours: a shard
 * counts as read past the scan only this much later. */
#define OVERLAP_MARGIN_MS 2000
#define RETRY_MS          500
#define RETRY_MAX_MS      15000

int tr_replica_new(tr_client *client, const tr_replica_options *options, tr_replica **ret_replica,
                   tr_error *err)
{
    if (!options->table || !options->table[0])
        return tr_fail(err, TR_EINVAL, "a replica needs the table's name");
    if (!options->sink)
        return tr_fail(err, TR_EINVAL, "a replica needs a sink");
    if (!options->sink->apply || !options->sink->scanned)
        return tr_fail(err, TR_EINVAL, "a sink needs apply and scanned");
    if (options->sink->transactions &&
        (!options->sink->begin || !options->sink->save || !options->sink->commit || !options->sink->rollback))
        return tr_fail(err, TR_EINVAL, "a sink with transactions needs begin, save, commit and rollback");
    if (options->segments > TR_REPLICA_SEGMENTS_MAX)
        return tr_fail(err, TR_EINVAL, "%u segments: at most %d", options->segments, TR_REPLICA_SEGMENTS_MAX);
    tr_replica *r = tr_calloc(1, sizeof *r);
    if (!r || !(r->table = tr_strdup(options->table)) || uv_mutex_init(&r->mutex)) {
        tr_free(r ? r->table : NULL);
        tr_free(r);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    r->client = client;
    r->options = *options;
    r->sink = options->sink;
    r->progress = (tr_replica_progress){.lag_ms = -1, .stream_arn = ""};
    tr_arena_init(&r->memory, 16384);
    tr_buf_init(&r->saved_stream, TR__PAGE_MAX);
    tr_buf_init(&r->state, TR__PAGE_MAX);
    tr_buf_init(&r->committed, TR__PAGE_MAX);
    tr_buf_init(&r->key, TR__BODY_MAX);
    tr_buf_init(&r->item, TR__ITEM_MAX);
    tr_buf_init(&r->body, TR__BODY_MAX);
    *ret_replica = r;
    return 0;
}

void tr_replica_free(tr_replica *r)
{
    if (!r)
        return;
    if (r->sink->free)
        r->sink->free(r->sink);
    tr_arena_done(&r->memory);
    tr_buf_done(&r->saved_stream);
    tr_buf_done(&r->state);
    tr_buf_done(&r->committed);
    tr_buf_done(&r->key);
    tr_buf_done(&r->item);
    tr_buf_done(&r->body);
    uv_mutex_destroy(&r->mutex);
    tr_free(r->table);
    tr_free(r);
}

void tr_replica_stop(tr_replica *r)
{
    atomic_store(&r->stop, true);
    uv_mutex_lock(&r->mutex);
    tr_stream *stream = atomic_load(&r->running);
    if (stream)
        tr_stream_stop(stream);
    uv_mutex_unlock(&r->mutex);
}

void tr_replica_get_progress(tr_replica *r, tr_replica_progress *ret_progress)
{
    uv_mutex_lock(&r->mutex);
    *ret_progress = r->progress;
    uv_mutex_unlock(&r->mutex);
}

static void moved(tr_replica *r)
{
    r->progressed_ms = tr_clock_mono_ms();
}

/* ------------------------------------------------------------------------------------------- the sink */

static int sink_begin(tr_replica *r, tr_error *err)
{
    return r->sink->begin ? r->sink->begin(r->sink, err) : 0;
}

static void sink_rollback(tr_replica *r)
{
    if (r->sink->rollback)
        r->sink->rollback(r->sink);
}

static int sink_save_and_commit(tr_replica *r, tr_error *err)
{
    int e = r->sink->save ? r->sink->save(r->sink, tr_buf_view(&r->state), err) : 0;
    return !e && r->sink->commit ? r->sink->commit(r->sink, err) : e;
}

/* ------------------------------------------------------------------------------------------- applying */

/* The row of a change. Streams without new images tell only that the item changed: it is read. */
static int change_row(tr_replica *r, const tr_record *record, tr_sink_row *row, tr_error *err)
{
    int e = tr__replica_key(r, record->keys, err);
    if (e)
        return e;
    *row = (tr_sink_row){
        .key = tr_buf_view(&r->key), .sequence_number = record->sequence_number, .record = record};
    if (record->event == TR_REMOVE || record->has_new) {
        row->item = record->has_new ? record->new_image : (tr_item){NULL, 0};
        return 0;
    }
    tr_buf_reset(&r->item);
    e = tr__replica_get_item(r, record->keys, &r->item, err);
    if (!e && r->item.len)
        row->item = tr_buf_view(&r->item);
    /* gone meanwhile: its REMOVE will come; deleting now is the same, earlier */
    return e;
}

static int apply_event(tr_replica *r, const tr_stream_event *event, tr_error *err)
{
    tr_sink_row row;
    int e;
    switch (event->kind) {
    case TR_STREAM_RECORD:
        e = change_row(r, event->record, &row, err);
        if (!e)
            e = r->sink->apply(r->sink, &row, err);
        if (!e) {
            uv_mutex_lock(&r->mutex);
            r->progress.changes++;
            uv_mutex_unlock(&r->mutex);
            moved(r);
        }
        return e;
    case TR_STREAM_GAP:
        if (!r->resync) /* each shard has its gap, one copy mends them all */
            tr_log(&r->options.logger, TR_LOG_WARN,
                   "%s: the stream has lost records (%s): the table is copied again", r->table,
                   tr_gap_reason_name(event->gap->reason));
        r->resync = true;
        return 0;
    case TR_STREAM_TROUBLE:
        tr_log(&r->options.logger, TR_LOG_WARN, "%s: %s: %s (attempt %u, again in %lld ms)", r->table,
               event->trouble->doing, event->trouble->error->message, event->trouble->attempt,
               (long long)event->trouble->retry_in_ms);
        return 0;
    default:
        return 0;
    }
}

typedef struct scanned_page {
    tr_replica *r;
    tr_error *err;
} scanned_page;

static int apply_scanned(void *ctx, tr_item item)
{
    const scanned_page *page = ctx;
    tr_replica *r = page->r;
    int e = tr__replica_key(r, item, page->err);
    if (e)
        return e;
    tr_sink_row row = {.key = tr_buf_view(&r->key), .item = item};
    e = r->sink->scanned(r->sink, &row, page->err);
    if (!e) {
        uv_mutex_lock(&r->mutex);
        r->progress.scanned = ++r->scan.copied;
        uv_mutex_unlock(&r->mutex);
    }
    return e;
}

/* ---------------------------------------------------------------------------------------------- scan */

/* A snapshot, where the server grants them: its token, and the sequence number to follow the stream from. */
typedef struct snapshot_answer {
    uv_sem_t done;
    tr_replica *r;
    bool granted;
} snapshot_answer;

static bool take_text(char *out, size_t size, tr_view text)
{
    if (text.len == 0 || text.len >= size)
        return false;
    memcpy(out, text.ptr, text.len);
    out[text.len] = 0;
    return true;
}

static void on_snapshot(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    snapshot_answer *answer = ctx;
    (void)err;
    if (code == 0)
        answer->granted = take_text(answer->r->scan.snapshot, sizeof answer->r->scan.snapshot,
                                    tr_reply_header(reply, "x-tailrace-snapshot")) &&
                          take_text(answer->r->sequence, sizeof answer->r->sequence,
                                    tr_reply_header(reply, "x-tailrace-sequence-number"));
    uv_sem_post(&answer->done);
}

/* Asks for a snapshot of the table. Without one (not tailrace's engine, or no more to be had) the scan
 * overlaps. */
static void ask_snapshot(tr_replica *r)
{
    r->exact = false;
    r->scan.snapshot[0] = 0;
    if (!tr_client_is_tailrace(r->client))
        return;
    tr_json_writer w;
    tr_buf_reset(&r->body);
    tr_json_write_init(&w, &r->body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "TableName", r->table);
    tr_json_member_u64(&w, "Limit", 1);
    tr_json_end_object(&w);
    tr_header header = {TR_VIEW("x-tailrace-snapshot"), TR_VIEW("new")};
    tr_request request = {.service = TR_DYNAMODB,
                          .operation = "Scan",
                          .body = tr_buf_view(&r->body),
                          .headers = &header,
                          .header_count = 1};
    snapshot_answer answer = {.r = r};
    if (uv_sem_init(&answer.done, 0))
        return;
    if (tr_client_call(r->client, &request, on_snapshot, &answer) == 0)
        uv_sem_wait(&answer.done);
    uv_sem_destroy(&answer.done);
    if (answer.granted)
        r->exact = true;
    else
        r->scan.snapshot[0] = 0;
}

static int open_scan(tr_replica *r, tr_error *err)
{
    if (r->scan_open)
        tr__scan_done(&r->scan);
    r->scan_open = false;
    int e = tr__scan_init(&r->scan, r->client, r->schema.name, r->options.segments);
    if (e)
        return tr_fail(err, e, "%s", tr_strerror(e));
    r->scan.rows_per_second = r->options.rows_per_second;
    r->scan_open = true;
    return 0;
}

/* ---------------------------------------------------------------------------------------- committing */

/* Ends the sink's transaction with the positions behind it, then tells the stream that they are saved. */
static int commit(tr_replica *r, tr_error *err)
{
    tr_buf json;
    uint64_t token;
    tr_buf_init(&json, TR__PAGE_MAX);
    int e = tr_stream_checkpoint_begin(r->stream, &json, &token);
    if (e) {
        tr_buf_done(&json);
        return tr_fail(err, e, "taking the stream's positions: %s", tr_strerror(e));
    }
    e = tr__replica_write_state(r, tr_buf_view(&json));
    if (e)
        (void)tr_fail(err, e, "writing the replica's state: %s", tr_strerror(e));
    if (!e)
        e = sink_save_and_commit(r, err);
    tr_stream_checkpoint_end(r->stream, token, e);
    if (!e) {
        tr_buf committed = r->state;
        r->state = r->committed;
        r->committed = committed;
    }
    tr_buf_done(&json);
    return e;
}

static void set_phase(tr_replica *r, tr_replica_phase phase)
{
    r->phase = phase;
    uv_mutex_lock(&r->mutex);
    r->progress.phase = phase;
    uv_mutex_unlock(&r->mutex);
    moved(r);
}

/* Within the sink's transaction: a scan of the whole table begins. */
static int begin_scan(tr_replica *r, tr_error *err)
{
    if (r->options.no_copy && !r->again) {
        set_phase(r, TR_REPLICA_FOLLOWING);
        return 0;
    }
    int e = r->sink->scan_begin ? r->sink->scan_begin(r->sink, r->again, err) : 0;
    if (e)
        return e;
    r->resync = false;
    uv_mutex_lock(&r->mutex);
    r->progress.scanned = 0;
    uv_mutex_unlock(&r->mutex);
    set_phase(r, TR_REPLICA_SCANNING);
    return 0;
}

static int end_scan(tr_replica *r, tr_error *err)
{
    uint64_t deleted = 0;
    int e = r->sink->scan_end ? r->sink->scan_end(r->sink, r->again, &deleted, err) : 0;
    if (e)
        return e;
    uv_mutex_lock(&r->mutex);
    r->progress.deleted += deleted;
    uv_mutex_unlock(&r->mutex);
    r->again = false;
    set_phase(r, TR_REPLICA_FOLLOWING);
    return 0;
}

/* A repeated scan: the stream goes on from where it is, so scan and stream overlap, whatever the server. */
static int begin_again(tr_replica *r, tr_error *err)
{
    int e = open_scan(r, err);
    if (e)
        return e;
    uv_mutex_lock(&r->mutex);
    r->progress.gaps++;
    uv_mutex_unlock(&r->mutex);
    r->exact = false;
    r->again = true;
    return begin_scan(r, err);
}

/* ------------------------------------------------------------------------------------------- the loop */

/* Whether every shard was read to its tip after the moment (monotonic). */
static bool read_past(tr_replica *r, int64_t moment_ms)
{
    tr_stream_stats stats;
    tr_stream_get_stats(r->stream, &stats);
    return stats.settled_ms > moment_ms;
}

/* What the scan has brought. *ret_worked: something was put into the transaction. */
static int apply_pages(tr_replica *r, bool *ret_worked, tr_error *err)
{
    tr__scan_page *page;
    scanned_page to = {r, err};
    int e = 0;
    while (!e && (page = tr__scan_take(&r->scan)) != NULL) {
        e = tr__scan_each(&r->scan, page, apply_scanned, &to, err);
        tr__scan_page_free(page);
        *ret_worked = true;
        moved(r);
    }
    return e;
}

/* Moves the phases on. Within the transaction. */
static int turn_phase(tr_replica *r, bool *ret_worked, tr_error *err)
{
    if (r->phase == TR_REPLICA_SCANNING) {
        bool lost;
        int e = tr__scan_code(&r->scan, &lost, err);
        if (e)
            return e;
        /* what was scanned stands, since the stream is followed from the snapshot on; the rest is read
         * consistently and overlaps with the stream as it does elsewhere */
        if (lost && tr__scan_forget_snapshot(&r->scan)) {
            r->exact = false;
            *ret_worked = true;
        }
    }
    if (r->resync) {
        *ret_worked = true;
        return begin_again(r, err);
    }
    if (r->phase == TR_REPLICA_SCANNING && tr__scan_finished(&r->scan)) {
        *ret_worked = true;
        r->scan_end_ms = tr_clock_mono_ms();
        if (r->exact)
            return end_scan(r, err);
        set_phase(r, TR_REPLICA_OVERLAP);
    }
    if (r->phase == TR_REPLICA_OVERLAP && read_past(r, r->scan_end_ms + OVERLAP_MARGIN_MS)) {
        *ret_worked = true;
        return end_scan(r, err);
    }
    return 0;
}

static bool work_waits(tr_replica *r)
{
    if (r->resync || r->phase == TR_REPLICA_OVERLAP)
        return true;
    if (r->phase != TR_REPLICA_SCANNING)
        return false;
    uv_mutex_lock(&r->scan.mutex);
    bool waits = r->scan.first || r->scan.code || r->scan.snapshot_lost;
    uv_mutex_unlock(&r->scan.mutex);
    return waits || tr__scan_finished(&r->scan);
}

/* One transaction: the events of a batch, pages of the scan, and what follows from them. */
static int transact(tr_replica *r, tr_stream_batch *batch, tr_error *err)
{
    bool started = false, worked = batch->count != 0;
    int e = sink_begin(r, err);
    for (size_t i = 0; i < batch->count && !e; i++) {
        started |= batch->events[i]->kind == TR_STREAM_STARTED;
        e = apply_event(r, batch->events[i], err);
    }
    if (!e) {
        tr_stream_ack_batch(r->stream, batch);
        e = r->scan_open ? apply_pages(r, &worked, err) : 0;
    }
    if (!e && started && r->phase == TR_REPLICA_STARTING)
        e = begin_scan(r, err);
    if (!e)
        e = turn_phase(r, &worked, err);
    if (!e && worked)
        e = commit(r, err);
    if (e || !worked)
        sink_rollback(r);
    if (!e && r->phase == TR_REPLICA_SCANNING)
        tr__scan_go(&r->scan);
    return e;
}

/* Another stream than the one noted: the table's was disabled and enabled again. What was written in between
 * is in neither, so the table is copied again. */
static void watch_stream(tr_replica *r)
{
    tr_stream_stats stats;
    tr_stream_get_stats(r->stream, &stats);
    if (stats.stream_arn[0] && strcmp(stats.stream_arn, r->stream_arn) != 0 &&
        strlen(stats.stream_arn) < sizeof r->stream_arn) {
        tr_log(&r->options.logger, TR_LOG_WARN, "%s: has a new stream: the table is copied again", r->table);
        memcpy(r->stream_arn, stats.stream_arn, strlen(stats.stream_arn) + 1);
        r->resync = true;
    }
    uv_mutex_lock(&r->mutex);
    r->progress.lag_ms = stats.lag_ms;
    r->progress.caught_up = r->phase == TR_REPLICA_FOLLOWING && stats.caught_up;
    uv_mutex_unlock(&r->mutex);
}

static void report(tr_replica *r, int64_t *last_ms)
{
    int64_t now = tr_clock_mono_ms();
    if (!r->options.on_progress || now - *last_ms < PROGRESS_EVERY_MS)
        return;
    tr_replica_progress progress;
    *last_ms = now;
    tr_replica_get_progress(r, &progress);
    r->options.on_progress(r->options.ctx, &progress);
}

static int follow(tr_replica *r, tr_error *err)
{
    tr_stream_batch batch = {0};
    int64_t reported_ms = 0;
    int e = 0;
    while (!e && !atomic_load(&r->stop)) {
        int64_t wait = r->phase == TR_REPLICA_SCANNING ? WAIT_SCANNING_MS : WAIT_MS;
        int got = tr_stream_next_batch(r->stream, BATCH_RECORDS, wait, 0, &batch);
        if (got && got != TR_ETIMEOUT) {
            e = got == TR_ECLOSED ? 0 : tr_fail(err, got, "reading the stream: %s", tr_strerror(got));
            break;
        }
        watch_stream(r);
        if (batch.count || work_waits(r))
            e = transact(r, &batch, err);
        report(r, &reported_ms);
        if (!e && r->options.once) {
            int64_t since = r->scan_end_ms > r->began_ms ? r->scan_end_ms : r->began_ms;
            if (r->phase == TR_REPLICA_FOLLOWING && !r->resync && read_past(r, since))
                break;
            if (tr_clock_mono_ms() - r->progressed_ms > ONCE_PATIENCE_MS)
                e = tr_fail(err, TR_ETIMEOUT, "%s: no progress for %d s", r->table, ONCE_PATIENCE_MS / 1000);
        }
    }
    tr_stream_ack_batch(r->stream, &batch);
    tr_stream_batch_done(&batch);
    reported_ms = 0;
    report(r, &reported_ms);
    return e;
}

/* ------------------------------------------------------------------------------------------ one run */

static int open_stream(tr_replica *r, bool known, tr_error *err)
{
    tr_stream_options options = {.table = r->table,
                                 .user_checkpoints = true,
                                 .idle_max_ms = r->options.idle_max_ms,
                                 .hold_ms = r->options.once ? ONCE_HOLD_MS : 0,
                                 .discover_ms = r->options.once ? ONCE_DISCOVER_MS : 0};
    if (known)
        options.state = tr_buf_cstr(&r->saved_stream);
    else if (r->exact)
        options.start = (tr_stream_start){.at = TR_START_AFTER, .sequence_number = r->sequence};
    int e = tr_stream_new(r->client, &options, &r->stream, err);
    if (e)
        return e;
    uv_mutex_lock(&r->mutex);
    atomic_store(&r->running, r->stream);
    if (atomic_load(&r->stop))
        tr_stream_stop(r->stream);
    uv_mutex_unlock(&r->mutex);
    return 0;
}

static void close_stream(tr_replica *r)
{
    uv_mutex_lock(&r->mutex);
    atomic_store(&r->running, NULL);
    uv_mutex_unlock(&r->mutex);
    tr_stream_free(r->stream);
    r->stream = NULL;
}

/* Where the sink's last commit stands, or the beginning. *ret_known: the stream goes on from saved positions.
 */
static int resume(tr_replica *r, bool *ret_known, tr_error *err)
{
    int e = open_scan(r, err);
    if (e)
        return e;
    r->again = r->exact = r->resync = false;
    e = tr__replica_read_state(r, ret_known, err);
    if (e)
        return e;
    if (!*ret_known) {
        r->again = r->committed.len != 0; /* rows of another stream are there */
        e = open_scan(r, err);
        r->phase = TR_REPLICA_STARTING;
        if (!e && !r->options.no_copy)
            ask_snapshot(r);
    }
    r->scan_end_ms = tr_clock_mono_ms();
    uv_mutex_lock(&r->mutex);
    r->progress.scanned = r->scan.copied;
    uv_mutex_unlock(&r->mutex);
    set_phase(r, r->phase);
    return e;
}

/* Positions that are known before the stream has looked for any: a scan may begin at once. */
static int begin_at_known_positions(tr_replica *r, tr_error *err)
{
    if (r->phase != TR_REPLICA_STARTING)
        return 0;
    int e = sink_begin(r, err);
    if (!e)
        e = begin_scan(r, err);
    if (!e)
        e = commit(r, err);
    if (e)
        sink_rollback(r);
    return e;
}

static int run_once(tr_replica *r, tr_error *err)
{
    bool known;
    r->opened = false; /* what the sink holds decides, whatever went wrong before */
    int e = tr__replica_open(r, err);
    if (!e)
        e = resume(r, &known, err);
    if (!e)
        e = open_stream(r, known, err);
    if (!e) {
        if (known || r->exact)
            e = begin_at_known_positions(r, err);
        if (!e && r->phase == TR_REPLICA_SCANNING)
            tr__scan_go(&r->scan);
        if (!e)
            e = follow(r, err);
        close_stream(r);
    }
    if (r->scan_open)
        tr__scan_done(&r->scan);
    r->scan_open = false;
    return e;
}

static void sleep_ms(tr_replica *r, int64_t ms)
{
    for (int64_t until = tr_clock_mono_ms() + ms; tr_clock_mono_ms() < until && !atomic_load(&r->stop);)
        uv_sleep(10);
}

int tr_replica_run(tr_replica *r, tr_error *err)
{
    r->began_ms = r->progressed_ms = tr_clock_mono_ms();
    int64_t pause = RETRY_MS;
    bool there = false;
    int e;
    for (;;) {
        tr_error local = {0};
        int64_t progressed = r->progressed_ms;
        e = run_once(r, &local);
        if (r->progressed_ms != progressed)
            pause = RETRY_MS;
        there = there || r->opened;
        /* a table that was there and is gone may be made again: a stream waits for that, too */
        bool passing = tr_retryable(e) || (e == TR_ENOTFOUND && there && !r->options.once);
        bool over = !e || atomic_load(&r->stop) || !passing || e == TR_ENOMEM ||
                    (r->options.once && tr_clock_mono_ms() - r->progressed_ms > ONCE_PATIENCE_MS);
        if (over) {
            if (e && err)
                *err = local;
            break;
        }
        tr_log(&r->options.logger, TR_LOG_WARN, "%s: %s; trying again", r->table, local.message);
        sleep_ms(r, pause);
        pause = pause < RETRY_MAX_MS / 2 ? 2 * pause : RETRY_MAX_MS;
    }
    if (e && atomic_load(&r->stop))
        e = 0;
    atomic_store(&r->stop, false);
    return e;
}
