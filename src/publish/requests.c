/* SPDX-License-Identifier: MIT */
/* From waiting entries to PutEvents, and from its answers to what becomes of them. */
#include "client/errors.h"
#include "publish/internal.h"

#include <stdio.h>

/* Refusals that repeating does not mend: of an entry (PutEvents' ErrorCode), and of a request. */
static const char *const final_entry_codes[] = {"AccessDeniedException",
                                                "InvalidAccountIdException",
                                                "InvalidArgument",
                                                "MalformedDetail",
                                                "RedactionFailure",
                                                "NotAuthorizedForSourceException",
                                                "NotAuthorizedForDetailTypeException",
                                                NULL};
static const char *const final_request_types[] = {"ValidationException",
                                                  "SerializationException",
                                                  "InvalidArgument",
                                                  "InvalidParameterValue",
                                                  "InvalidParameterCombination",
                                                  "MissingParameter",
                                                  "RequestEntityTooLargeException",
                                                  NULL};

static bool is_any(tr_view name, const char *const *names)
{
    for (; *names; names++)
        if (tr_view_is(name, *names))
            return true;
    return false;
}

/* ------------------------------------------------------------------------------------------------- lanes */

/* Nothing of the lane is in a request or delayed any more: what was set aside may go, before all others. */
static void release(tr_publisher *p, tr__pub_lane *lane)
{
    tr__pub_entry *first = lane->held;
    if (lane->in_flight || lane->delayed || lane->up || !first)
        return;
    if (p->options.strict_order) {
        DL_DELETE(lane->held, first);
        DL_PREPEND(p->waiting, first);
        lane->up = first;
        return;
    }
    DL_CONCAT(lane->held, p->waiting);
    p->waiting = lane->held;
    lane->held = NULL;
}

static bool is_blocked(const tr__pub_entry *e)
{
    const tr__pub_lane *lane = e->lane;
    if (lane->up == e)
        return false;
    return lane->in_flight || lane->delayed || lane->held;
}

static void delay(tr_publisher *p, tr__pub_entry *e, int64_t due_ms)
{
    tr__pub_lane *lane = e->lane;
    DL_APPEND(lane->delayed, e);
    lane->due_ms = lane->later && lane->due_ms > due_ms ? lane->due_ms : due_ms;
    if (lane->later)
        return;
    lane->later = true;
    DL_APPEND(p->later, lane);
}

/* Brings back what is due. Returns when the next one is. */
static int64_t end_pauses(tr_publisher *p, int64_t now)
{
    tr__pub_lane *lane, *next;
    int64_t soonest = INT64_MAX;
    DL_FOREACH_SAFE(p->later, lane, next)
    {
        if (lane->due_ms > now) {
            soonest = lane->due_ms < soonest ? lane->due_ms : soonest;
            continue;
        }
        DL_DELETE(p->later, lane);
        lane->later = false;
        DL_CONCAT(lane->delayed, lane->held);
        lane->held = lane->delayed;
        lane->delayed = NULL;
        release(p, lane);
    }
    return soonest;
}

/* ------------------------------------------------------------------------------------------- collecting */

/* Bounds the work of a pump over many lanes that become due one after the other. */
#define STEP_MS 5

typedef struct collected {
    tr__pub_entry *entries[TR_PUBLISH_ENTRIES_MAX];
    size_t count, bytes;
    bool full;
} collected;

static void settle_too_large(tr_publisher *p, tr__pub_entry *e, tr__pub_entry **done)
{
    tr_error err;
    DL_DELETE(p->waiting, e);
    tr__pub_lane *lane = e->lane;
    (void)tr_fail_service(&err, TR_ELIMIT, 0, "ValidationException",
                          "the entry has %zu bytes as EventBridge counts them; %zu are allowed", e->size,
                          p->options.request_bytes);
    tr__pub_settle(p, e, TR_ELIMIT, "Refused", &err, done);
    if (lane->up == e)
        lane->up = NULL;
    release(p, lane);
}

/* The entries of the next request, which stay in the list. */
static void collect(tr_publisher *p, collected *c, tr__pub_entry **done)
{
    tr__pub_entry *e, *next;
    *c = (collected){.count = 0};
    DL_FOREACH_SAFE(p->waiting, e, next)
    {
        if (is_blocked(e)) {
            DL_DELETE(p->waiting, e);
            DL_APPEND(e->lane->held, e);
            continue;
        }
        if (p->options.strict_order && e->lane->taken)
            continue;
        if (e->size > p->options.request_bytes) {
            settle_too_large(p, e, done);
            continue;
        }
        c->full = c->count && (e->alone || c->bytes + e->size > p->options.request_bytes);
        if (c->full)
            break;
        c->entries[c->count++] = e;
        c->bytes += e->size;
        e->lane->taken = true;
        c->full = e->alone || c->count == p->options.request_entries;
        if (c->full)
            break;
    }
    for (size_t i = 0; i < c->count; i++)
        c->entries[i]->lane->taken = false;
}

/* ---------------------------------------------------------------------------------------------- answers */

static bool is_exhausted(const tr_publisher *p, const tr__pub_entry *e, int64_t pause_ms,
                         const char **ret_condition)
{
    const tr_publisher_options *o = &p->options;
    if (o->limit_retries && e->failures > o->retries)
        *ret_condition = "RetriesExhausted";
    else if (o->age_ms && tr_clock_mono_ms() + pause_ms - e->put_ms > o->age_ms)
        *ret_condition = "EventAgeExceeded";
    else
        return false;
    return true;
}

static unsigned exponent(uint64_t failures)
{
    return failures > 20 ? 20 : failures ? (unsigned)failures - 1 : 0;
}

/* An entry of an answered request was refused. */
static void refuse(tr_publisher *p, tr__pub_entry *e, const tr_error *err, tr__pub_entry **done)
{
    const char *condition = "Refused";
    e->failures++;
    if (is_any(tr_view_str(err->type), final_entry_codes)) {
        tr__pub_settle(p, e, TR_ESERVICE, condition, err, done);
        return;
    }
    int64_t pause =
        1 + tr_backoff_ms(&p->rng, exponent(e->failures), p->options.retry_min_ms, p->options.retry_max_ms);
    if (is_exhausted(p, e, pause, &condition)) {
        tr__pub_settle(p, e, err->code, condition, err, done);
        return;
    }
    p->stats.retries++;
    delay(p, e, tr_clock_mono_ms() + pause);
}

/* {"EventId":…} or {"ErrorCode":…,"ErrorMessage":…} */
static void read_result(tr_json_reader *r, tr__pub_entry *e, tr_error *err)
{
    *err = (tr_error){0};
    e->event_id[0] = 0;
    while (tr_json_next_key(r)) {
        char *to = NULL;
        size_t room = 0;
        if (tr_view_is(r->text, "EventId")) {
            to = e->event_id;
            room = sizeof e->event_id;
        } else if (tr_view_is(r->text, "ErrorCode")) {
            to = err->type;
            room = sizeof err->type;
        } else if (tr_view_is(r->text, "ErrorMessage")) {
            to = err->message;
            room = sizeof err->message;
        }
        if (tr_json_next(r) == TR_JSON_STRING && to)
            (void)snprintf(to, room, "%.*s", TR_FMT(r->text));
        else if (tr_json_skip(r))
            return;
    }
    if (err->type[0])
        err->code = tr_view_find(tr_view_str(err->type), TR_VIEW("Throttl"), 0) != SIZE_MAX ? TR_ETHROTTLED
                                                                                            : TR_ESERVICE;
}

/* Goes through the answer's entries; without `apply` it only looks whether there are as many as were sent. */
static bool read_answer(tr_publisher *p, tr__pub_request *q, tr_view body, bool apply, tr__pub_entry **done)
{
    tr_arena arena;
    tr_json_reader r;
    tr_view list;
    tr_error err;
    size_t i = 0;
    tr_arena_init(&arena, 2 * body.len + 65536);
    bool ok = tr_json_member(body, "Entries", &arena, &list) == 0;
    if (ok) {
        tr_json_init(&r, list, &arena);
        ok = tr_json_next(&r) == TR_JSON_ARRAY;
        for (; ok && i < q->count && tr_json_next(&r) == TR_JSON_OBJECT; i++) {
            tr__pub_entry *e = q->entries[i];
            read_result(&r, e, &err);
            ok = (e->event_id[0] || err.type[0]) && !tr_json_error(&r);
            if (!ok || !apply)
                continue;
            p->stats.throttles += err.code == TR_ETHROTTLED;
            if (err.type[0])
                refuse(p, e, &err, done);
            else
                tr__pub_settle(p, e, 0, NULL, NULL, done);
        }
    }
    tr_arena_done(&arena);
    return ok && i == q->count;
}

/* The request failed as a whole: its entries wait again, each on its own if it may be the fault of one. */
static void fail_request(tr_publisher *p, tr__pub_request *q, int code, const tr_error *err,
                         tr__pub_entry **done)
{
    bool final = code == TR_ESERVICE && is_any(tr_view_str(err->type), final_request_types);
    bool canceled = code == TR_ECANCELED || code == TR_ECLOSED;
    bool unknown = code == TR_ECONNECT || code == TR_ETIMEOUT || code == TR_EIO || code == TR_EPARSE;
    const char *condition = "Refused";
    p->in_a_row += q->sent_ms >= p->failed_ms; /* those sent beside the one that failed count as one */
    p->failed_ms = tr_clock_mono_ms();
    int64_t pause =
        1 + tr_backoff_ms(&p->rng, exponent(p->in_a_row), p->options.retry_min_ms, p->options.retry_max_ms);
    p->resign = tr__retry_of(code, err) == TR__RETRY_RESIGNED;
    for (size_t i = q->count; i > 0; i--) { /* backwards, since each goes first */
        tr__pub_entry *e = q->entries[i - 1];
        bool split = final && q->count > 1;
        e->failures += !split && (final || !p->options.wait_for_bus);
        p->stats.unknown += unknown;
        p->stats.throttles += code == TR_ETHROTTLED;
        if (canceled || (final && !split) || (!split && is_exhausted(p, e, pause, &condition))) {
            tr__pub_settle(p, e, code == TR_ECLOSED ? TR_ECANCELED : code, condition, err, done);
            continue;
        }
        e->alone |= split;
        p->stats.retries++;
        DL_PREPEND(e->lane->held, e);
    }
    if (final) { /* the service is well */
        p->in_a_row = 0;
        return;
    }
    p->pause_ms = tr_clock_mono_ms() + pause;
    if (p->in_a_row == 1 || p->in_a_row % 16 == 0)
        tr_log(&p->options.logger, TR_LOG_WARN, "PutEvents: %s%s%s; again in %lld ms", err->type,
               err->type[0] ? ": " : "", err->message, (long long)pause);
}

static void answered(tr_publisher *p, tr__pub_request *q, int code, const tr_reply *reply,
                     const tr_error *err, tr__pub_entry **done)
{
    tr_error malformed;
    p->in_flight--;
    for (size_t i = 0; i < q->count; i++)
        q->entries[i]->lane->in_flight--;
    if (code == 0 && !read_answer(p, q, reply->body, false, NULL)) {
        code = tr_fail(&malformed, TR_EPARSE, "the answer does not tell of every entry: %.200s",
                       reply->body.len ? "it is malformed" : "it is empty");
        err = &malformed;
    }
    if (code) {
        fail_request(p, q, code, err, done);
    } else {
        p->in_a_row = 0;
        p->resign = false;
        (void)read_answer(p, q, reply->body, true, done);
    }
    for (size_t i = q->count; i > 0; i--)
        release(p, q->entries[i - 1]->lane);
}

static void on_reply(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    tr__pub_request *q = ctx;
    tr_publisher *p = q->publisher;
    tr__pub_entry *done = NULL;
    pthread_mutex_lock(&p->lock);
    if (!p->closed) {
        p->calling++;
        answered(p, q, code, reply, err, &done);
        tr__pub_pump(p, &done);
        pthread_mutex_unlock(&p->lock);
        tr__pub_tell(p, done);
        pthread_mutex_lock(&p->lock);
        p->calling--;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    tr_free(q);
    tr__pub_unref(p);
}

/* ---------------------------------------------------------------------------------------------- sending */

static int send_request(tr_publisher *p, const collected *c)
{
    tr__pub_request *q = tr_calloc(1, sizeof *q);
    if (!q)
        return TR_ENOMEM;
    q->publisher = p;
    q->sent_ms = tr_clock_mono_ms();
    tr_buf_reset(&p->body);
    tr_buf_put_view(&p->body, tr_buf_view(&p->head));
    for (size_t i = 0; i < c->count; i++) {
        if (i)
            tr_buf_putc(&p->body, ',');
        tr_buf_put_view(&p->body, c->entries[i]->json);
        q->entries[q->count++] = c->entries[i];
    }
    tr_buf_put_str(&p->body, "]}");
    const tr_request request = {.service = TR_EVENTS,
                                .operation = "PutEvents",
                                .body = tr_buf_view(&p->body),
                                .timeout_ms = p->options.timeout_ms,
                                .attempts = p->resign ? 2 : 1};
    int e = tr_buf_status(&p->body);
    if (!e)
        e = tr_client_call(p->client, &request, on_reply, q);
    if (e) {
        tr_free(q);
        return e;
    }
    p->refs++;
    p->in_flight++;
    p->stats.requests++;
    for (size_t i = 0; i < c->count; i++) {
        tr__pub_entry *entry = c->entries[i];
        DL_DELETE(p->waiting, entry);
        if (entry->lane->up == entry)
            entry->lane->up = NULL;
        entry->attempts++;
        entry->lane->in_flight++;
    }
    return 0;
}

/* While requests fail one after the other, one at a time asks whether they still do. */
static unsigned most_in_flight(const tr_publisher *p)
{
    return p->in_a_row ? 1 : p->options.in_flight;
}

void tr__pub_pump(tr_publisher *p, tr__pub_entry **done)
{
    int64_t now = tr_clock_mono_ms();
    int64_t wake = end_pauses(p, now);
    if (wake != INT64_MAX && wake < now + STEP_MS)
        wake = now + STEP_MS;
    while (p->waiting && p->in_flight < most_in_flight(p)) {
        collected c;
        if (p->pause_ms > now) {
            wake = p->pause_ms < wake ? p->pause_ms : wake;
            break;
        }
        collect(p, &c, done);
        if (!c.count)
            break;
        int64_t ripe = c.entries[0]->put_ms + p->options.linger_ms;
        if (!c.full && p->in_flight && ripe > now) {
            wake = ripe < wake ? ripe : wake;
            break;
        }
        if (send_request(p, &c)) { /* out of memory */
            wake = now + p->options.retry_min_ms < wake ? now + p->options.retry_min_ms : wake;
            break;
        }
    }
    if (wake != INT64_MAX)
        (void)tr__pub_wake(p, wake);
}
