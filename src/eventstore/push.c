/* SPDX-License-Identifier: MIT */
/*
 * A push is a group of one store. Here members become runs and actions of client/numbered.h, and its outcome
 * becomes events and errors again.
 */
#include "eventstore/internal.h"

#include <inttypes.h>

#define TEXT_MAX ((size_t)48 << 20) /* 4 MB of a transaction in JSON, with every byte escaped, and packed */
/* Members that may be given: each makes an action or two, TR_EVENT_GROUP_MAX of which are allowed. */
#define MEMBERS_MAX        TR_EVENT_GROUP_MAX
#define ACTIONS_PER_MEMBER 3 /* a put and its strict check, or two checks */

typedef struct push {
    tr__numbered job; /* first: the actions' owner */
    tr_push_fn *fn;
    void *ctx;
    tr_group_member *members; /* copies; their events' views point into text */
    tr_event *events;
    size_t count;
    tr_buf text;
    char timestamp_text[TR__TIMESTAMP_MAX];
    tr_view timestamp; /* of all events; into timestamp_text */
    bool timestamp_given;
} push;

static void free_push(push *p)
{
    tr_buf_done(&p->text);
    tr_free(p);
}

/* --------------------------------------------------------------------------------------------- outcome */

static void word_failure(const push *p, const tr__numbered_action *failed, int code, const tr_error *from,
                         tr_error *err)
{
    const tr_group_member *m = &p->members[failed->tag];
    const char *store = m->store->id;
    tr_view id = m->event.aggregate_id;
    int status = from ? from->http_status : 0;
    if (code == TR_ENOTFOUND)
        (void)tr_fail_service(err, code, status, TR_AGGREGATE_NOT_FOUND,
                              "Unable to find aggregate %.*s in event store %s.", TR_FMT(id), store);
    else if (failed->kind == TR__PUT)
        (void)tr_fail_service(err, code, status, TR_EVENT_ALREADY_EXISTS,
                              "Event already exists for %s aggregate %.*s and version %" PRIu64, store,
                              TR_FMT(id), failed->run->newest + failed->number);
    else if (!m->check_only)
        (void)tr_fail_service(err, code, status, TR_PREVIOUS_EVENT_MISSING,
                              "%s aggregate %.*s has no version %" PRIu64
                              ", so there can be no version %" PRIu64 " yet",
                              store, TR_FMT(id), failed->number, failed->number + 1);
    else if (failed->kind == TR__CHECK_THERE)
        (void)tr_fail_service(err, code, status, TR_AGGREGATE_MOVED,
                              "%s aggregate %.*s has no version %" PRIu64, store, TR_FMT(id), failed->number);
    else
        (void)tr_fail_service(err, code, status, TR_AGGREGATE_MOVED,
                              "%s aggregate %.*s has a version %" PRIu64 " by now", store, TR_FMT(id),
                              failed->number);
}

static void on_written(void *ctx, int code, const tr__numbered_action *failed, const tr_error *err)
{
    push *p = ctx;
    tr_error worded;
    for (size_t i = 0; i < p->job.action_count; i++) {
        const tr__numbered_action *a = &p->job.actions[i];
        if (a->kind == TR__PUT)
            p->members[a->tag].event.version = a->run->newest + a->number;
    }
    for (size_t i = 0; i < p->count; i++)
        p->events[i] = p->members[i].event;
    if (code && failed) {
        word_failure(p, failed, code, err, &worded);
        err = &worded;
    }
    tr_pushed pushed = {.events = p->events, .count = p->count, .failed = failed ? failed->tag : SIZE_MAX};
    p->fn(p->ctx, code, &pushed, code ? err : NULL);
    free_push(p);
}

/* ------------------------------------------------------------------------------------------------- text */

/* Views into text are offsets while it grows; settle() makes pointers of them. */
static tr_view since(const push *p, size_t begin)
{
    return tr_view_of((const char *)(uintptr_t)begin, p->text.len - begin);
}

static tr_view keep(push *p, tr_view bytes)
{
    size_t begin = p->text.len;
    tr_buf_put_view(&p->text, bytes);
    return since(p, begin);
}

static void settle(const push *p, tr_view *v)
{
    v->ptr = v->len ? p->text.ptr + (uintptr_t)v->ptr : NULL;
}

static void settle_all(push *p)
{
    for (size_t i = 0; i < p->count; i++) {
        tr_event *e = &p->members[i].event;
        settle(p, &e->aggregate_id);
        settle(p, &e->type);
        if (!p->members[i].check_only)
            e->timestamp = p->timestamp;
        settle(p, &e->payload.payload);
        settle(p, &e->metadata.payload);
    }
    for (size_t i = 0; i < p->job.run_count; i++) {
        settle(p, &p->job.runs[i].table);
        settle(p, &p->job.runs[i].key);
    }
    for (size_t i = 0; i < p->job.action_count; i++) {
        settle(p, &p->job.actions[i].rest);
        settle(p, &p->job.actions[i].first);
    }
}

/* "type":{"S":…},"timestamp":{"S":…},"payload":…,"metadata":… */
static tr_view put_rest(push *p, const tr_event *e)
{
    size_t begin = p->text.len;
    tr_json_writer w;
    tr_json_write_init(&w, &p->text);
    tr_json_name(&w, TR_EVENT_TABLE_EVENT_TYPE_KEY);
    tr_json_begin_object(&w);
    tr_json_member_string(&w, "S", e->type);
    tr_json_end_object(&w);
    tr_json_name(&w, TR_EVENT_TABLE_TIMESTAMP_KEY);
    tr_json_begin_object(&w);
    tr_json_member_string(&w, "S", p->timestamp);
    tr_json_end_object(&w);
    if (e->payload.type != TR_NONE) {
        tr_json_name(&w, TR_EVENT_TABLE_PAYLOAD_KEY);
        tr_value_write_js(&w, e->payload);
    }
    if (e->metadata.type != TR_NONE) {
        tr_json_name(&w, TR_EVENT_TABLE_METADATA_KEY);
        tr_value_write_js(&w, e->metadata);
    }
    return since(p, begin);
}

/* What version 1 alone carries, so that the index of initial events holds it. */
static tr_view put_first(push *p, const tr_eventstore *store)
{
    size_t begin = p->text.len;
    tr_json_writer w;
    tr_json_write_init(&w, &p->text);
    bool single = store->layout == TR_EVENTS_SINGLE_TABLE;
    tr_json_name(&w, single ? TR_EVENT_TABLE_EVENT_STORE_ID_KEY : TR_EVENT_TABLE_IS_INITIAL_EVENT_KEY);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, single ? "S" : "N", single ? store->id : "1");
    tr_json_end_object(&w);
    return since(p, begin);
}

/* ------------------------------------------------------------------------------------------------ checks */

static int check_member(const tr_group_member *m, tr__push_mode mode, const tr_eventstore *first,
                        tr_error *err)
{
    const tr_event *e = &m->event;
    bool given = m->expect == TR_EXPECT_VERSION;
    int code = tr__event_check_id(m->store, e->aggregate_id, err);
    if (code)
        return code;
    if (m->store->client != first->client)
        return tr_fail(err, TR_EINVAL, "the stores of a group must share one client");
    if (m->store->layout != first->layout)
        return tr_fail(err, TR_EINVAL,
                       "its store has not the layout of the others: a group is of single tables or of "
                       "legacy ones");
    if (e->version > TR_EVENT_VERSION_MAX - TR_EVENT_GROUP_MAX)
        return tr_fail(err, TR_EINVAL, "version %" PRIu64 " is out of range", e->version);
    if (m->check_only)
        return m->expect == TR_EXPECT_ANY
                   ? tr_fail(err, TR_EINVAL, "a member that is only checked needs something to expect")
                   : 0;
    if (e->type.len == 0)
        return tr_fail(err, TR_EINVAL, "an event's type must not be empty");
    if (!tr_utf8_valid(e->type) || !tr_utf8_valid(e->timestamp))
        return tr_fail(err, TR_EINVAL, "an event's type and timestamp must be valid UTF-8");
    if (given && e->version == 0)
        return tr_fail(err, TR_EINVAL,
                       "the event's version is needed (from 1), or a mode that finds it: any, none, exists");
    if (mode.force && !given)
        return tr_fail(err, TR_EINVAL, "force overwrites given versions, it cannot find the next one");
    if (mode.force && mode.strict)
        return tr_fail(err, TR_EINVAL, "force and strict exclude each other");
    return 0;
}

/* All events of a group have one timestamp: the given one, or now. *ret_fault: the event at fault. */
static int choose_timestamp(push *p, const tr_group_member *members, size_t count, size_t *ret_fault,
                            tr_error *err)
{
    size_t given = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        tr_view t = members[i].event.timestamp;
        if (members[i].check_only || t.len == 0)
            continue;
        if (given == SIZE_MAX)
            given = i;
        else if (!tr_view_eq(t, members[given].event.timestamp)) {
            *ret_fault = i;
            return tr_fail(err, TR_EINVAL,
                           "events %zu and %zu have different timestamps: events pushed together have one",
                           given + 1, i + 1);
        }
    }
    p->timestamp_given = given != SIZE_MAX;
    if (!p->timestamp_given) {
        tr_time_format(tr_clock_wall_ms(), true, p->timestamp_text);
        p->timestamp = tr_view_str(p->timestamp_text);
        return 0;
    }
    tr_view text = members[given].event.timestamp;
    if (text.len > sizeof p->timestamp_text) {
        *ret_fault = given;
        return tr_fail(err, TR_EINVAL, "a timestamp has at most %zu bytes", sizeof p->timestamp_text);
    }
    memcpy(p->timestamp_text, text.ptr, text.len);
    p->timestamp = tr_view_of(p->timestamp_text, text.len);
    return 0;
}

/* ---------------------------------------------------------------------------------------- runs and actions
 */

static tr__numbering numbering_of(tr_event_expect expect)
{
    return expect == TR_EXPECT_ANY      ? TR__NUMBERS_NEXT
           : expect == TR_EXPECT_EXISTS ? TR__NUMBERS_NEXT_OF_SOME
                                        : TR__NUMBERS_GIVEN;
}

static tr__numbered_action *add(push *p, tr__numbered_kind kind, size_t run, uint64_t number, size_t member)
{
    tr__numbered_action *a = &p->job.actions[p->job.action_count++];
    *a = (tr__numbered_action){.kind = kind, .run = &p->job.runs[run], .number = number, .tag = member};
    return a;
}

/* The member before i of the same aggregate, or SIZE_MAX. */
static size_t earlier(const tr_group_member *members, size_t i)
{
    for (size_t j = i; j-- > 0;) {
        const tr_eventstore *a = members[i].store, *b = members[j].store;
        if (tr_view_eq(members[i].event.aggregate_id, members[j].event.aggregate_id) &&
            (a == b ||
             (strcmp(a->id, b->id) == 0 && strcmp(tr__eventstore_table(a), tr__eventstore_table(b)) == 0)))
            return j;
    }
    return SIZE_MAX;
}

static size_t new_run(push *p, const tr_group_member *m)
{
    tr__numbered_run *run = &p->job.runs[p->job.run_count];
    *run = (tr__numbered_run){.layout = &tr__event_numbering,
                              .numbering = m->check_only ? TR__NUMBERS_GIVEN : numbering_of(m->expect)};
    size_t begin = p->text.len;
    tr_json_writer w;
    tr_json_write_init(&w, &p->text);
    tr_json_cstring(&w, tr__eventstore_table(m->store));
    run->table = since(p, begin);
    begin = p->text.len;
    tr__event_put_key(&p->text, m->store, m->event.aggregate_id);
    run->key = since(p, begin);
    return p->job.run_count++;
}

static void add_checks(push *p, size_t run, size_t i, const tr_group_member *m)
{
    if (m->expect == TR_EXPECT_EXISTS)
        (void)add(p, TR__CHECK_THERE, run, 1, i);
    else if (m->expect == TR_EXPECT_NONE || m->event.version == 0)
        (void)add(p, TR__CHECK_FREE, run, 1, i);
    else {
        (void)add(p, TR__CHECK_THERE, run, m->event.version, i);
        (void)add(p, TR__CHECK_FREE, run, m->event.version + 1, i);
    }
}

/* The numbers of a run's puts so far: the last, or the lowest and highest of given ones. */
typedef struct run_state {
    uint64_t low, high;
    bool checked;
    tr_event_expect expect;
} run_state;

static int add_put(push *p, size_t run, run_state *state, bool is_new, size_t i, const tr_group_member *m,
                   tr_error *err)
{
    uint64_t number = m->expect == TR_EXPECT_VERSION ? m->event.version : is_new ? 1 : state->high + 1;
    if (!is_new && (state->checked || state->expect != m->expect))
        return tr_fail(err, TR_EINVAL, "what a group does with an aggregate must have one mode");
    if (!is_new && number != state->high + 1)
        return tr_fail(err, TR_EINVAL,
                       "version %" PRIu64 " does not follow version %" PRIu64
                       " of the same aggregate in this push",
                       number, state->high);
    tr__numbered_action *a = add(p, TR__PUT, run, number, i);
    a->rest = put_rest(p, &m->event);
    if (number == 1)
        a->first = put_first(p, m->store);
    if (is_new)
        *state = (run_state){.low = number, .expect = m->expect};
    state->high = number;
    return 0;
}

static int add_members(push *p, const tr_group_member *members, tr__push_mode mode, size_t *ret_fault,
                       tr_error *err)
{
    run_state states[MEMBERS_MAX];
    size_t run_of[MEMBERS_MAX];
    for (size_t i = 0; i < p->count; i++) {
        const tr_group_member *m = &members[i];
        size_t j = earlier(members, i), run;
        run = run_of[i] = j == SIZE_MAX ? new_run(p, m) : run_of[j];
        if (m->check_only) {
            if (j != SIZE_MAX) {
                *ret_fault = i;
                return tr_fail(err, TR_EINVAL, "the aggregate is in this group already");
            }
            states[run] = (run_state){.checked = true};
            add_checks(p, run, i, m);
            continue;
        }
        int e = add_put(p, run, &states[run], j == SIZE_MAX, i, m, err);
        if (e) {
            *ret_fault = i;
            return e;
        }
        if (mode.strict && j == SIZE_MAX && m->expect == TR_EXPECT_VERSION && m->event.version > 1)
            (void)add(p, TR__CHECK_THERE, run, m->event.version - 1, i);
    }
    return p->job.action_count <= TR_EVENT_GROUP_MAX
               ? 0
               : tr_fail(err, TR_ELIMIT, "a transaction has at most %d actions, these would be %zu",
                         TR_EVENT_GROUP_MAX, p->job.action_count);
}

/* ------------------------------------------------------------------------------------------------- start */

static push *new_push(size_t count)
{
    size_t runs = count * sizeof(tr__numbered_run),
           actions = ACTIONS_PER_MEMBER * count * sizeof(tr__numbered_action);
    push *p = tr_malloc(sizeof *p + count * (sizeof(tr_group_member) + sizeof(tr_event)) + runs + actions);
    if (!p)
        return NULL;
    memset(p, 0, sizeof *p);
    p->members = (tr_group_member *)(p + 1);
    p->events = (tr_event *)(p->members + count);
    p->job.runs = (tr__numbered_run *)(p->events + count);
    p->job.actions = (tr__numbered_action *)(p->job.runs + count);
    p->count = count;
    tr_buf_init(&p->text, TEXT_MAX);
    return p;
}

static void keep_members(push *p, const tr_group_member *members)
{
    for (size_t i = 0; i < p->count; i++) {
        tr_group_member *m = &p->members[i];
        *m = members[i];
        m->event.aggregate_id = keep(p, m->event.aggregate_id);
        m->event.type = keep(p, m->event.type);
        m->event.payload.payload = keep(p, m->event.payload.payload);
        m->event.metadata.payload = keep(p, m->event.metadata.payload);
    }
}

static int plan(push *p, const tr_group_member *members, tr__push_mode mode, size_t *ret_fault, tr_error *err)
{
    int e = choose_timestamp(p, members, p->count, ret_fault, err);
    p->job.repeatable = p->timestamp_given;
    for (size_t i = 0; !e && i < p->count; i++) {
        e = check_member(&members[i], mode, members[0].store, err);
        p->job.repeatable &= members[i].check_only || members[i].expect == TR_EXPECT_VERSION;
        if (e)
            *ret_fault = i;
    }
    return e ? e : add_members(p, members, mode, ret_fault, err);
}

/* Says which of several events it is, counting from 1. */
static void name_fault(const tr_group_member *m, size_t i, int code, tr_error *err)
{
    tr_error reason = *err;
    tr_view id = m->event.aggregate_id;
    (void)tr_fail(err, code, "event %zu (%s aggregate %.*s): %s", i + 1, m->store->id,
                  id.len > 200 ? 200 : (int)id.len, id.ptr, reason.message);
}

static int prepare(push *p, const tr_group_member *members, tr__push_mode mode, size_t *ret_fault,
                   tr_error *err)
{
    tr_error local;
    tr_error *told = err ? err : &local;
    int e = plan(p, members, mode, ret_fault, told);
    if (e && p->count > 1 && *ret_fault != SIZE_MAX)
        name_fault(&members[*ret_fault], *ret_fault, e, told);
    if (e)
        return e;
    keep_members(p, members);
    if ((e = tr_buf_status(&p->text)))
        return tr_fail(err, e, "what is to be pushed is too large: %s", tr_strerror(e));
    settle_all(p);
    return 0;
}

int tr__push_start(const tr_group_member *members, size_t count, tr__push_mode mode, tr_push_fn *fn,
                   void *ctx, size_t *ret_fault, tr_error *err)
{
    size_t fault = SIZE_MAX;
    if (count < 1 || count > MEMBERS_MAX)
        return tr_fail(err, count ? TR_ELIMIT : TR_EINVAL, "1 to %d events can be pushed at once, not %zu",
                       MEMBERS_MAX, count);
    push *p = new_push(count);
    if (!p)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    p->fn = fn;
    p->ctx = ctx;
    int e = prepare(p, members, mode, &fault, err);
    if (ret_fault)
        *ret_fault = fault;
    if (!e) {
        p->job.client = members[0].store->client;
        p->job.patience_ms = members[0].store->patience_ms;
        p->job.logger = &members[0].store->logger;
        p->job.force = mode.force;
        p->job.transaction = mode.transaction;
        p->job.fn = on_written;
        p->job.ctx = p;
        e = tr__numbered_start(&p->job, err);
    }
    if (e)
        free_push(p);
    return e;
}
