/* SPDX-License-Identifier: MIT */
#include "log/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <uv.h>

#define IN_FLIGHT    32
#define PROGRESS_MS  100
#define EVENT_MEMORY 65536

static const char *const first_names[] = {
    "Ada",  "Alan", "Barbara", "Claude",   "Donald",  "Edsger", "Frances", "Grace", "Hedy",  "Ivan",
    "Joan", "Ken",  "Leslie",  "Margaret", "Niklaus", "Ole",    "Peter",   "Radia", "Shafi", "Tony"};
static const char *const last_names[] = {"Abara",    "Bianchi", "Castro", "Dubois",   "Eriksen",
                                         "Fischer",  "Garcia",  "Haddad", "Ivanova",  "Jensen",
                                         "Kowalski", "Larsen",  "Moreau", "Nakamura", "Okafor",
                                         "Popescu",  "Quinn",   "Rossi",  "Silva",    "Tanaka"};

/* What is random about a user depends on seed and number alone. */
typedef struct person {
    char id[40], name[64], email[96], phone[24], lon[24], lat[24];
} person;

static void make_person(uint64_t seed, uint64_t user, person *p)
{
    tr_rng rng;
    tr_rng_seed(&rng, seed * UINT64_C(0x9e3779b97f4a7c15) + user);
    uint64_t a = tr_rng_next(&rng), b = tr_rng_next(&rng);
    (void)snprintf(p->id, sizeof p->id,
                   "%08" PRIx64 "-%04" PRIx64 "-4%03" PRIx64 "-a%03" PRIx64 "-%012" PRIx64, a & 0xffffffff,
                   a >> 32 & 0xffff, a >> 48 & 0xfff, b & 0xfff, b >> 12 & 0xffffffffffff);
    const char *first = first_names[tr_rng_below(&rng, TR_COUNT(first_names))];
    const char *last = last_names[tr_rng_below(&rng, TR_COUNT(last_names))];
    (void)snprintf(p->name, sizeof p->name, "%s %s", first, last);
    (void)snprintf(p->email, sizeof p->email, "%s.%s.%" PRIu64 "@example.com", first, last, user);
    for (char *c = p->email; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + 32);
    /* numbers reserved for fiction: 555-0100 to 555-0199 */
    (void)snprintf(p->phone, sizeof p->phone, "+1-%03u-555-01%02u", 200 + (unsigned)tr_rng_below(&rng, 800),
                   (unsigned)tr_rng_below(&rng, 100));
    int64_t lon = (int64_t)tr_rng_below(&rng, 3600001) - 1800000,
            lat = (int64_t)tr_rng_below(&rng, 1800001) - 900000;
    (void)snprintf(p->lon, sizeof p->lon, "%.4f", (double)lon / 10000);
    (void)snprintf(p->lat, sizeof p->lat, "%.4f", (double)lat / 10000);
}

int tr_log_fake_event(uint64_t seed, uint64_t user, unsigned version, tr_arena *arena,
                      tr_log_event *ret_event)
{
    static const char *const types[] = {"signup", "addPhoneNumber", "verifyPhoneNumber", "addLocation"};
    if (version < 1 || version > TR_LOG_FAKE_EVENTS)
        return TR_EINVAL;
    person who;
    make_person(seed, user, &who);
    tr_buf packed;
    tr_packer p;
    tr_buf_init(&packed, 4096);
    tr_packer_init(&p, &packed);
    tr_pack_item_begin(&p);
    const struct {
        const char *name, *text;
        unsigned versions; /* a bit per version that has the member */
        bool number;
    } members[] = {
        {"id", who.id, 0x1e, false},       {"name", who.name, 0x02, false},
        {"email", who.email, 0x02, false}, {"phoneNumber", who.phone, 0x0c, false},
        {"long", who.lon, 0x10, true},     {"lat", who.lat, 0x10, true},
    };
    int e = 0;
    for (size_t i = 0; i < TR_COUNT(members) && !e; i++) {
        if (!(members[i].versions >> version & 1))
            continue;
        tr_pack_name(&p, tr_view_str(members[i].name));
        if (members[i].number)
            e = tr_pack_n(&p, tr_view_str(members[i].text));
        else
            tr_pack_s(&p, tr_view_str(members[i].text));
    }
    int ended = tr_pack_item_end(&p);
    e = e ? e : ended;
    tr_view payload = tr_arena_copy(arena, tr_buf_view(&packed));
    tr_view id = tr_arena_copy(arena, tr_view_str(who.id));
    tr_buf_done(&packed);
    if (e || !payload.ptr || !id.ptr)
        return e ? e : TR_ENOMEM;
    *ret_event = (tr_log_event){.log = TR_VIEW("users"),
                                .id = id,
                                .type = tr_view_str(types[version - 1]),
                                .version = version,
                                .payload = payload};
    return 0;
}

/* -------------------------------------------------------------------------------------------- writing */

typedef struct writing {
    tr_client *client;
    const tr_log_fake *fake;
    uv_mutex_t mutex;
    uv_cond_t changed;
    uint64_t next_user, done_events;
    unsigned lanes; /* users being written */
    int code;
    tr_error err;
} writing;

/* One user at a time, event by event. */
typedef struct lane {
    writing *w;
    uint64_t user;
    unsigned version;
} lane;

static int next_event(lane *l);

static void end_lane(lane *l, int code, const tr_error *err)
{
    writing *w = l->w;
    uv_mutex_lock(&w->mutex);
    if (code && !w->code) {
        w->code = code;
        if (err)
            w->err = *err;
    }
    w->lanes--;
    uv_cond_signal(&w->changed);
    uv_mutex_unlock(&w->mutex);
    tr_free(l);
}

static void on_appended(void *ctx, int code, uint64_t version, const tr_error *err)
{
    lane *l = ctx;
    writing *w = l->w;
    (void)version;
    if (code) {
        end_lane(l, code, err);
        return;
    }
    uv_mutex_lock(&w->mutex);
    w->done_events++;
    bool more = l->version < TR_LOG_FAKE_EVENTS;
    if (more) {
        l->version++;
    } else if (w->next_user < w->fake->users && !w->code) {
        l->user = w->next_user++;
        l->version = 1;
        more = true;
    }
    uv_mutex_unlock(&w->mutex);
    int e = more ? next_event(l) : 0;
    if (!more || e)
        end_lane(l, e, NULL);
}

static int next_event(lane *l)
{
    const tr_log_fake *fake = l->w->fake;
    tr_arena arena;
    tr_log_event event;
    tr_arena_init(&arena, EVENT_MEMORY);
    int e = tr_log_fake_event(fake->seed, l->user, l->version, &arena, &event);
    if (!e) {
        tr_log_append in = {.table = fake->table,
                            .log = event.log,
                            .id = event.id,
                            .type = event.type,
                            .payload = event.payload,
                            .expect = event.version - 1,
                            .out_of_order = true, /* a lane writes in order: one put each is enough */
                            .patience_ms = fake->patience_ms};
        e = tr_log_append_start(l->w->client, &in, on_appended, l, NULL);
    }
    tr_arena_done(&arena);
    return e;
}

static int start_lane(writing *w)
{
    lane *l = tr_calloc(1, sizeof *l);
    if (!l)
        return TR_ENOMEM;
    uv_mutex_lock(&w->mutex);
    bool left = w->next_user < w->fake->users; /* lanes that were quick may have taken the rest */
    if (left) {
        *l = (lane){.w = w, .user = w->next_user++, .version = 1};
        w->lanes++;
    }
    uv_mutex_unlock(&w->mutex);
    if (!left) {
        tr_free(l);
        return 0;
    }
    int e = next_event(l);
    if (e)
        end_lane(l, e, NULL);
    return e;
}

int tr_log_fake_write(tr_client *client, const tr_log_fake *fake, uint64_t *ret_events, tr_error *err)
{
    if (tr_client_on_thread(client))
        return tr_fail(err, TR_ETHREAD, "a blocking call on the client's I/O thread");
    writing w = {.client = client, .fake = fake};
    if (uv_mutex_init(&w.mutex))
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (uv_cond_init(&w.changed)) {
        uv_mutex_destroy(&w.mutex);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    unsigned lanes = fake->in_flight ? fake->in_flight : IN_FLIGHT;
    int e = 0;
    for (unsigned i = 0; i < lanes && i < fake->users && !e; i++)
        e = start_lane(&w);
    uv_mutex_lock(&w.mutex);
    while (w.lanes) {
        (void)uv_cond_timedwait(&w.changed, &w.mutex, (uint64_t)PROGRESS_MS * 1000000);
        uint64_t done = w.done_events;
        uv_mutex_unlock(&w.mutex);
        if (fake->progress)
            fake->progress(fake->ctx, done, fake->users * TR_LOG_FAKE_EVENTS);
        uv_mutex_lock(&w.mutex);
    }
    uv_mutex_unlock(&w.mutex);
    uv_cond_destroy(&w.changed);
    uv_mutex_destroy(&w.mutex);
    if (w.code || e) {
        if (err && w.err.code)
            *err = w.err;
        else
            (void)tr_fail(err, w.code ? w.code : e, "%s", tr_strerror(w.code ? w.code : e));
        return w.code ? w.code : e;
    }
    *ret_events = w.done_events;
    return 0;
}
