/* SPDX-License-Identifier: MIT */
/*
 * Generations, each with a subscription of its own whose inbox is the file STATE.IDENTITY-GENERATION:
 *
 *   serving  ------ projects ----------------------------------.   (if its function is of our version)
 *   rebuild: building n+1 -- projects from the first event on --+-- through, and has all that the serving one
 * has: serving = n+1, dropping = n  (one step) rows and inbox of n are removed, dropping = 0
 *
 * The record of this is in the model, so that a process that is killed finds where it was.
 */
#include "eventstore/ahead.h"
#include "eventstore/inbox.h"
#include "eventstore/model.h"

#include <stdatomic.h>
#include <stdio.h>

#define BATCH        500
#define WAIT_MS      200
#define BUSY_MS      500 /* between two looks whether another process has left a generation to us */
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 30000
#define CLOSING_MS   5000 /* how long the serving generation rests, so that the other can draw level */
#define NAME_MAX_    100
#define PATH_MAX_    4096

typedef struct track {
    uint64_t generation; /* 0: it is not ours to project */
    tr_subscription *subscription;
    bool over, idle; /* over: with `once`, all was brought. idle: nothing came the last time */
    unsigned failures;
    int64_t again_ms; /* after a failure: not before */
} track;

struct tr_projection {
    tr_client *client;
    tr_projection_options options;
    tr__selection select;
    char *name, *version, *sqlite, *table, *state;
    tr__model *model;
    tr__projector *projector;
    tr__model_record record;
    track serving, building;
    tr__ahead ahead;    /* of the serving generation before the building one */
    int64_t closing_ms; /* monotonic: since when the serving one rests; 0: it does not */
    int64_t opened_ms;  /* monotonic: when generations of other processes were last looked at */
    tr_rng rng;
    atomic_bool stop, rebuild;
    uv_mutex_t mutex; /* guards stats, and the subscriptions as pointers */
    tr_projection_stats stats;
};

static void state_path(const tr_projection *p, uint64_t generation, char *out, size_t size)
{
    (void)snprintf(out, size, "%s.%s-%llu", p->state, p->record.identity, (unsigned long long)generation);
}

static void tell_stats(tr_projection *p)
{
    tr_subscription_stats s = {0};
    if (p->serving.subscription)
        tr_subscription_get_stats(p->serving.subscription, &s);
    uv_mutex_lock(&p->mutex);
    p->stats.serving = p->record.serving;
    p->stats.building = p->record.building;
    p->stats.live = s.phase == TR_SUBSCRIPTION_LIVE;
    uv_mutex_unlock(&p->mutex);
}

/* False once a stop was asked for. */
static bool pause_ms(tr_projection *p, int64_t ms)
{
    for (int64_t until = tr_clock_mono_ms() + ms; tr_clock_mono_ms() < until && !atomic_load(&p->stop);)
        uv_sleep(10);
    return !atomic_load(&p->stop);
}

/* -------------------------------------------------------------------------------------------------- tracks
 */

/* A generation that another process projects is left to it. */
static int open_track(tr_projection *p, track *t, uint64_t generation, tr_error *err)
{
    char path[PATH_MAX_];
    tr_subscription *subscription;
    state_path(p, generation, path, sizeof path);
    tr_subscription_options o = {.select = {.table = p->select.table,
                                            .layout = p->select.layout,
                                            .stores = (const char *const *)p->select.stores,
                                            .store_count = p->select.store_count,
                                            .types = (const char *const *)p->select.types,
                                            .type_count = p->select.type_count},
                                 .state = path,
                                 .once = p->options.once,
                                 .logger = p->options.logger};
    int e = tr_subscription_new(p->client, &o, &subscription, err);
    if (e)
        return e == TR_EBUSY ? 0 : e;
    *t = (track){.generation = generation, .subscription = subscription};
    uv_mutex_lock(&p->mutex);
    t->subscription = subscription;
    if (atomic_load(&p->stop))
        tr_subscription_stop(subscription);
    uv_mutex_unlock(&p->mutex);
    return 0;
}

static void close_track(tr_projection *p, track *t)
{
    uv_mutex_lock(&p->mutex);
    tr_subscription *subscription = t->subscription;
    *t = (track){0};
    uv_mutex_unlock(&p->mutex);
    tr_subscription_free(subscription);
}

static void forget_inbox(tr_projection *p, uint64_t generation)
{
    char path[PATH_MAX_];
    state_path(p, generation, path, sizeof path);
    tr__inbox_remove(path);
}

static int open_tracks(tr_projection *p, tr_error *err)
{
    const tr__model_record *r = &p->record;
    int e = 0;
    p->opened_ms = tr_clock_mono_ms();
    if (!p->serving.generation && strcmp(r->version, p->version) == 0)
        e = open_track(p, &p->serving, r->serving, err);
    if (!e && r->building && !p->building.generation && strcmp(r->building_version, p->version) == 0)
        e = open_track(p, &p->building, r->building, err);
    return e;
}

static void close_tracks(tr_projection *p)
{
    close_track(p, &p->serving);
    close_track(p, &p->building);
    tr__ahead_clear(&p->ahead);
    p->closing_ms = 0;
}

/* ---------------------------------------------------------------------------------------------- generations
 */

/* Rows that a generation left behind, also by a process that was killed. */
static int drop_old(tr_projection *p, tr_error *err)
{
    if (!p->record.dropping)
        return 0;
    int e = p->model->drop(p->model, p->record.dropping, err);
    if (!e) {
        forget_inbox(p, p->record.dropping);
        p->record.dropping = 0;
        e = p->model->store(p->model, &p->record, err);
    }
    return e;
}

static uint64_t next_generation(const tr__model_record *r)
{
    uint64_t most = r->serving > r->building ? r->serving : r->building;
    return 1 + (most > r->dropping ? most : r->dropping);
}

static int begin_rebuild(tr_projection *p, tr_error *err)
{
    tr__model_record *r = &p->record;
    if (r->building && strcmp(r->building_version, p->version) == 0)
        return 0; /* goes on */
    uint64_t given_up = r->building;
    close_track(p, &p->building);
    r->building = next_generation(r);
    if (given_up)
        r->dropping = given_up;
    (void)snprintf(r->building_version, sizeof r->building_version, "%s", p->version);
    forget_inbox(p, r->building);
    int e = p->model->store(p->model, r, err);
    if (!e)
        tr_log(&p->options.logger, TR_LOG_INFO, "%s: generation %llu is being built", p->name,
               (unsigned long long)r->building);
    return e ? e : drop_old(p, err);
}

/* Reads what there is and makes it what is wanted. */
static int arrange(tr_projection *p, tr_error *err)
{
    tr__model_record *r = &p->record;
    close_tracks(p);
    int e = p->model->load(p->model, r, err);
    if (!e && !r->there) {
        char uuid[TR_UUID_LEN + 1];
        tr_uuid(uuid);
        *r = (tr__model_record){.serving = 1};
        (void)snprintf(r->identity, sizeof r->identity, "%.*s", TR__MODEL_IDENTITY - 1, uuid);
        (void)snprintf(r->version, sizeof r->version, "%s", p->version);
        e = p->model->store(p->model, r, err);
    }
    if (!e)
        e = drop_old(p, err);
    if (!e && atomic_exchange(&p->rebuild, false))
        e = begin_rebuild(p, err);
    bool ours =
        strcmp(r->version, p->version) == 0 || (r->building && strcmp(r->building_version, p->version) == 0);
    if (!e && !ours)
        e = tr_fail(err, TR_EVERSION, "%s was made by version '%s' of its function, this is '%s': rebuild it",
                    p->name, r->version, p->version);
    return e ? e : open_tracks(p, err);
}

/* The new generation takes the old one's place. */
static int swap(tr_projection *p, tr_error *err)
{
    tr__model_record *r = &p->record;
    r->dropping = r->serving;
    r->serving = r->building;
    r->building = 0;
    (void)snprintf(r->version, sizeof r->version, "%s", r->building_version);
    int e = p->model->store(p->model, r, err);
    if (e)
        return e;
    tr_log(&p->options.logger, TR_LOG_INFO, "%s: generation %llu serves", p->name,
           (unsigned long long)r->serving);
    close_track(p, &p->serving);
    uv_mutex_lock(&p->mutex);
    p->serving = p->building;
    p->building = (track){0};
    uv_mutex_unlock(&p->mutex);
    tr__ahead_clear(&p->ahead);
    p->closing_ms = 0;
    return drop_old(p, err);
}

/* -------------------------------------------------------------------------------------------------- a step
 */

/* What each generation has, of aggregates that the serving one has touched while the other is being built. */
static int note_ahead(tr_projection *p, const track *t, const tr_subscribed *events, size_t count,
                      tr_error *err)
{
    int e = 0;
    for (size_t i = 0; !e && i < count && p->building.generation; i++) {
        tr__ahead_entry *entry;
        bool fresh = false;
        e = tr__ahead_find(&p->ahead, &events[i], t == &p->serving, &entry, &fresh);
        if (!e && fresh) {
            uint64_t version = 0;
            e = p->model->begin(p->model, p->building.generation, err);
            if (!e) {
                e = p->model->position(p->model, entry->key, &version, err);
                p->model->rollback(p->model);
            }
            tr__ahead_set(&p->ahead, entry, false, version);
        }
        if (!e && entry)
            tr__ahead_set(&p->ahead, entry, t == &p->serving, events[i].event.version);
    }
    return e;
}

static void count_events(tr_projection *p, const tr__projected *done)
{
    uv_mutex_lock(&p->mutex);
    p->stats.events += done->done;
    p->stats.repeated += done->repeated;
    p->stats.conflicts += done->conflicts;
    uv_mutex_unlock(&p->mutex);
}

static int project_batch(tr_projection *p, track *t, const tr_subscribed_batch *batch, tr_error *err)
{
    tr__projected done;
    tr_error noting = {0};
    int e = tr__project(p->projector, t->generation, batch->events, batch->count, &done, err);
    count_events(p, &done);
    int noted = note_ahead(p, t, batch->events, done.done, &noting);
    if (!noted)
        noted = tr_subscription_ack(t->subscription, done.done, &noting);
    if (!e && noted)
        e = tr_fail(err, noted, "%s", noting.message);
    if (!e) {
        t->failures = 0;
        return 0;
    }
    if (e == TR_EEXPIRED || e == TR_ENOMEM || !(tr_retryable(e) || e == TR_ECONFLICT))
        return e;
    tr_log(&p->options.logger, TR_LOG_WARN, "%s: %s; trying again", p->name, err->message);
    t->again_ms = tr_clock_mono_ms() + 1 + tr_backoff_ms(&p->rng, t->failures++, RETRY_MIN_MS, RETRY_MAX_MS);
    return 0;
}

static int step(tr_projection *p, track *t, int64_t wait_ms, tr_error *err)
{
    tr_subscribed_batch batch;
    if (!t->generation || t->over)
        return 0;
    if (t->again_ms > tr_clock_mono_ms()) {
        (void)pause_ms(p, wait_ms < 20 ? wait_ms : 20);
        return 0;
    }
    int e = tr_subscription_next(t->subscription, BATCH, wait_ms, &batch, err);
    t->idle = e == TR_ETIMEOUT || e == TR_ECLOSED;
    t->over = e == TR_ECLOSED;
    if (t->idle)
        return 0;
    return e ? e : project_batch(p, t, &batch, err);
}

/* Whether the generation that is being built can serve: it is through, and has what the serving one has. */
static bool is_level(tr_projection *p)
{
    tr_subscription_stats stats;
    if (!p->building.generation || !p->building.idle)
        return false;
    tr_subscription_get_stats(p->building.subscription, &stats);
    if (!p->building.over && stats.phase != TR_SUBSCRIPTION_LIVE)
        return false;
    if (!p->closing_ms)
        p->closing_ms = tr_clock_mono_ms();
    return p->ahead.uncovered == 0;
}

static int work(tr_projection *p, tr_error *err)
{
    bool building = p->building.generation != 0, alone = !p->serving.generation || p->serving.over;
    int64_t now = tr_clock_mono_ms();
    if (p->closing_ms && now - p->closing_ms > CLOSING_MS)
        p->closing_ms = 0; /* the other does not draw level: go on */
    int e = 0;
    if (!p->closing_ms)
        e = step(p, &p->serving, building ? 0 : WAIT_MS, err);
    if (!e && building)
        e = step(p, &p->building, alone || p->closing_ms ? WAIT_MS : 20, err);
    if (!e && is_level(p))
        e = swap(p, err);
    if (!e && !p->serving.generation && !p->building.generation)
        (void)pause_ms(p, WAIT_MS);
    return e;
}

static bool finished(const tr_projection *p)
{
    return p->options.once && p->serving.over && !p->record.building;
}

/* Another process has changed generations, or left one: look again. */
static bool is_stale(int e)
{
    return e == TR_EEXPIRED || e == TR_ECONFLICT;
}

/* Whether generations that are not ours have been left to us, or have changed. */
static int look_again(tr_projection *p, tr_error *err)
{
    tr__model_record now;
    int e = p->model->load(p->model, &now, err);
    if (!e && now.revision != p->record.revision)
        e = tr_fail(err, TR_EEXPIRED, "the generations of %s have changed", p->name);
    return e ? e : open_tracks(p, err);
}

static int turn(tr_projection *p, tr_error *err)
{
    if (atomic_exchange(&p->rebuild, false)) {
        int e = begin_rebuild(p, err);
        if (e)
            return e;
        e = open_tracks(p, err);
        if (e)
            return e;
    }
    bool missing = !p->serving.generation || (p->record.building && !p->building.generation);
    if (missing && tr_clock_mono_ms() - p->opened_ms > BUSY_MS)
        return look_again(p, err);
    return work(p, err);
}

int tr_projection_run(tr_projection *p, tr_error *err)
{
    tr_error local = {0};
    unsigned failures = 0;
    if (p->options.rebuild)
        atomic_store(&p->rebuild, true);
    p->options.rebuild = false;
    int e = arrange(p, &local);
    while (!atomic_load(&p->stop)) {
        if (e && (is_stale(e) || (tr_retryable(e) && e != TR_ENOMEM))) {
            if (!is_stale(e))
                tr_log(&p->options.logger, TR_LOG_WARN, "%s: %s; trying again", p->name, local.message);
            if (pause_ms(p, is_stale(e) ? 1
                                        : 1 + tr_backoff_ms(&p->rng, failures++, RETRY_MIN_MS, RETRY_MAX_MS)))
                e = arrange(p, &local);
            continue;
        }
        if (e || finished(p))
            break;
        failures = 0;
        e = turn(p, &local);
        tell_stats(p);
    }
    if (atomic_load(&p->stop))
        e = 0;
    close_tracks(p);
    return e ? tr_fail(err, e, "%s", local.message) : 0;
}

/* ------------------------------------------------------------------------------------------------ lifecycle
 */

static int check(const tr_projection_options *o, tr_error *err)
{
    size_t len = o->name ? strlen(o->name) : 0;
    if (len == 0 || len > NAME_MAX_ ||
        strspn(o->name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") != len ||
        strncmp(o->name, "sqlite_", 7) == 0 || strncmp(o->name, "_tailrace_", 10) == 0)
        return tr_fail(
            err, TR_EINVAL,
            "a projection's name has 1 to %d of the characters A-Z a-z 0-9 _ . -, and does not begin with "
            "sqlite_ or _tailrace_",
            NAME_MAX_);
    if (o->version && (!o->version[0] || strlen(o->version) >= TR__MODEL_VERSION_MAX))
        return tr_fail(err, TR_EINVAL, "a version has 1 to %d bytes", TR__MODEL_VERSION_MAX - 1);
    if (!o->sqlite == !o->table)
        return tr_fail(err, TR_EINVAL,
                       "rows go to a SQLite file or to a table: one of the two must be named");
    if (!o->state || !o->state[0] || strlen(o->state) > PATH_MAX_ - 64)
        return tr_fail(err, TR_EINVAL, "a projection needs a state file");
    if (!o->project == !o->reducer)
        return tr_fail(err, TR_EINVAL, "a projection needs a function or a reducer");
    if (o->reducer && (!o->reducer->save || !o->reducer->load))
        return tr_fail(err, TR_EINVAL, "a projection's reducer must be able to save and load");
    return 0;
}

static int copy_texts(tr_projection *p, const tr_projection_options *o, tr_error *err)
{
    p->name = tr_strdup(o->name);
    p->version = tr_strdup(o->version ? o->version : "1");
    p->state = tr_strdup(o->state);
    p->sqlite = tr_strdup(o->sqlite);
    p->table = tr_strdup(o->table);
    bool missing =
        !p->name || !p->version || !p->state || (o->sqlite && !p->sqlite) || (o->table && !p->table);
    return missing ? tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM)) : 0;
}

int tr_projection_new(tr_client *client, const tr_projection_options *options, tr_projection **ret_projection,
                      tr_error *err)
{
    uint64_t seed;
    int e = check(options, err);
    if (e)
        return e;
    tr_projection *p = tr_calloc(1, sizeof *p);
    if (!p || uv_mutex_init(&p->mutex)) {
        tr_free(p);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&p->rng, seed);
    p->client = client;
    p->options = *options;
    tr__ahead_init(&p->ahead);
    e = tr__selection_init(&p->select, &options->select, err);
    if (!e)
        e = copy_texts(p, options, err);
    if (!e)
        e = p->sqlite ? tr__model_sqlite(p->sqlite, p->name, &p->model, err)
                      : tr__model_table(options->table_client ? options->table_client : client, p->table,
                                        p->name, &p->model, err);
    if (!e && tr__projector_new(p->model, &p->options, &p->projector))
        e = tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (e)
        tr_projection_free(p);
    else
        *ret_projection = p;
    return e;
}

void tr_projection_stop(tr_projection *p)
{
    atomic_store(&p->stop, true);
    uv_mutex_lock(&p->mutex);
    if (p->serving.subscription)
        tr_subscription_stop(p->serving.subscription);
    if (p->building.subscription)
        tr_subscription_stop(p->building.subscription);
    uv_mutex_unlock(&p->mutex);
}

void tr_projection_rebuild(tr_projection *p)
{
    atomic_store(&p->rebuild, true);
}

void tr_projection_free(tr_projection *p)
{
    if (!p)
        return;
    close_tracks(p);
    tr__ahead_done(&p->ahead);
    tr__projector_free(p->projector);
    if (p->model)
        p->model->free(p->model);
    tr__selection_done(&p->select);
    tr_free(p->name);
    tr_free(p->version);
    tr_free(p->state);
    tr_free(p->sqlite);
    tr_free(p->table);
    uv_mutex_destroy(&p->mutex);
    tr_free(p);
}

void tr_projection_get_stats(tr_projection *p, tr_projection_stats *ret_stats)
{
    uv_mutex_lock(&p->mutex);
    *ret_stats = p->stats;
    uv_mutex_unlock(&p->mutex);
}
