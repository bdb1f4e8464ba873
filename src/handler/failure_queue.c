/* SPDX-License-Identifier: MIT */
/*
 * Failures as messages of an SQS queue, by its JSON protocol: the failure record is the body, the error
 * stands in attributes named like those of EventBridge's dead letters. Those are read, too: their body is the
 * event.
 *
 * Reading takes messages out for a while (VISIBLE_S); those that were not removed are given back at the end.
 * A message that comes a second time ends the reading: then all were seen.
 */
#include "handler/failure.h"

#include <stdio.h>
#include <stdlib.h>

#define BODY_LIMIT (256 * 1024 - 8192) /* 256 KB with its attributes, the least that servers of SQS take */
#define TEXT_MAX   1000
#define VISIBLE_S  900 /* as long as a handler may take */
#define PAGE       10  /* messages of ReceiveMessage at most */
#define ANSWER_MAX (16 << 20)

typedef struct held {
    char id[128], handle[2048];
} held;

typedef struct queue_sink {
    tr_failure_sink base;
    tr__failure_client client;
    char *name; /* name, URL or ARN, as given */
    char *url;  /* NULL: not asked for yet */
    tr_logger logger;
    held *taken; /* while reading: what was given out and not removed */
    size_t taken_count, taken_cap;
    bool reading;
} queue_sink;

static int call(queue_sink *s, const char *operation, tr_buf *body, tr_buf *answer, tr_error *err)
{
    return tr__failure_call(s->client.client, TR_SQS, operation, body, answer, err);
}

static void begin(queue_sink *s, tr_json_writer *w, tr_buf *body)
{
    tr_buf_reset(body);
    tr_json_write_init(w, body);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "QueueUrl", s->url);
}

/* The URL of a queue named by its name or ARN. */
static int find_url(queue_sink *s, tr_error *err)
{
    if (s->url)
        return 0;
    tr_buf body, answer;
    tr_json_writer w;
    tr_arena arena;
    tr_view given = tr_view_str(s->name), account = tr__arn_part(given, 4), url;
    bool arn = tr_view_starts(given, TR_VIEW("arn:"));
    tr_buf_init(&body, 65536);
    tr_buf_init(&answer, 65536);
    tr_arena_init(&arena, 65536);
    tr_json_write_init(&w, &body);
    tr_json_begin_object(&w);
    tr_json_member_string(&w, "QueueName", arn ? tr__arn_part(given, 5) : given);
    if (arn && account.len)
        tr_json_member_string(&w, "QueueOwnerAWSAccountId", account);
    tr_json_end_object(&w);
    int e = call(s, "GetQueueUrl", &body, &answer, err);
    tr_json_reader r;
    if (!e && (tr_json_member(tr_buf_view(&answer), "QueueUrl", &arena, &url) ||
               (tr_json_init(&r, url, &arena), tr_json_next(&r)) != TR_JSON_STRING))
        e = tr_fail(err, TR_EPARSE, "GetQueueUrl answered without a URL");
    if (!e && !(s->url = tr_calloc(1, r.text.len + 1)))
        e = tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (!e)
        memcpy(s->url, r.text.ptr, r.text.len);
    tr_buf_done(&body);
    tr_buf_done(&answer);
    tr_arena_done(&arena);
    return e;
}

/* ------------------------------------------------------------------------------------------------ put */

/* SQS takes no empty attribute; texts are cut, not within a character. */
static void attribute(tr_json_writer *w, const char *name, tr_view text)
{
    if (!text.len)
        return;
    tr_json_name(w, name);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "DataType", "String");
    tr_json_member_string(w, "StringValue", tr_utf8_cut(text, TEXT_MAX));
    tr_json_end_object(w);
}

typedef struct sending {
    queue_sink *s;
    const tr_failure *failure;
} sending;

static int send_part(void *ctx, tr_view text, tr_error *err)
{
    sending *x = ctx;
    const tr_failure *f = x->failure;
    char attempts[24];
    tr_buf body;
    tr_json_writer w;
    int n =
        snprintf(attempts, sizeof attempts, "%llu", (unsigned long long)(f->attempts ? f->attempts - 1 : 0));
    tr_buf_init(&body, TR__FAILURE_MAX);
    begin(x->s, &w, &body);
    tr_json_member_string(&w, "MessageBody", text);
    tr_json_name(&w, "MessageAttributes");
    tr_json_begin_object(&w);
    attribute(&w, "ERROR_CODE", f->error_type);
    attribute(&w, "ERROR_MESSAGE", f->error_message);
    attribute(&w, "RETRY_ATTEMPTS", tr_view_of(attempts, (size_t)n));
    tr_json_end_object(&w);
    tr_json_end_object(&w);
    int e = call(x->s, "SendMessage", &body, NULL, err);
    tr_buf_done(&body);
    return e;
}

static int queue_put(tr_failure_sink *base, const tr_failure *failure, tr_error *err)
{
    queue_sink *s = (queue_sink *)base;
    sending x = {s, failure};
    int e = find_url(s, err);
    return e ? e : tr__failure_parts(failure, BODY_LIMIT, &s->logger, send_part, &x, err);
}

/* ----------------------------------------------------------------------------------------------- read */

static held *find_held(queue_sink *s, tr_view id)
{
    for (size_t i = 0; i < s->taken_count; i++)
        if (tr_view_is(id, s->taken[i].id))
            return &s->taken[i];
    return NULL;
}

static int hold(queue_sink *s, tr_view id, tr_view handle, tr_error *err)
{
    if (s->taken_count == s->taken_cap) {
        size_t cap = s->taken_cap ? s->taken_cap * 2 : 64;
        held *taken = tr_realloc(s->taken, cap * sizeof *taken);
        if (!taken)
            return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
        s->taken = taken;
        s->taken_cap = cap;
    }
    held *h = &s->taken[s->taken_count];
    if (id.len >= sizeof h->id || handle.len >= sizeof h->handle)
        return tr_fail(err, TR_ELIMIT, "a message's id or receipt handle is too long");
    (void)snprintf(h->id, sizeof h->id, "%.*s", TR_FMT(id));
    (void)snprintf(h->handle, sizeof h->handle, "%.*s", TR_FMT(handle));
    s->taken_count++;
    return 0;
}

/* DeleteMessage, or ChangeMessageVisibility to 0. */
static int with_handle(queue_sink *s, const char *operation, const char *handle, tr_error *err)
{
    tr_buf body;
    tr_json_writer w;
    tr_buf_init(&body, 65536);
    begin(s, &w, &body);
    tr_json_member_cstring(&w, "ReceiptHandle", handle);
    if (operation[0] == 'C')
        tr_json_member_u64(&w, "VisibilityTimeout", 0);
    tr_json_end_object(&w);
    int e = call(s, operation, &body, NULL, err);
    tr_buf_done(&body);
    return e;
}

static void give_back(queue_sink *s)
{
    for (size_t i = 0; i < s->taken_count; i++)
        (void)with_handle(s, "ChangeMessageVisibility", s->taken[i].handle, NULL);
    s->taken_count = 0;
}

static int receive(queue_sink *s, tr_buf *answer, tr_error *err)
{
    tr_buf body;
    tr_json_writer w;
    tr_buf_init(&body, 65536);
    tr_buf_reset(answer);
    begin(s, &w, &body);
    tr_json_member_u64(&w, "MaxNumberOfMessages", PAGE);
    tr_json_member_u64(&w, "VisibilityTimeout", VISIBLE_S);
    tr_json_member_u64(&w, "WaitTimeSeconds", tr_client_is_aws(s->client.client) ? 1 : 0);
    tr_json_name(&w, "AttributeNames");
    tr_json_value(&w, TR_VIEW("[\"SentTimestamp\"]"));
    tr_json_name(&w, "MessageAttributeNames");
    tr_json_value(&w, TR_VIEW("[\"All\"]"));
    tr_json_end_object(&w);
    int e = call(s, "ReceiveMessage", &body, answer, err);
    tr_buf_done(&body);
    return e;
}

typedef struct message {
    tr_view id, handle, body, rule, code, text, attempts, sent;
} message;

/* {"RULE_ARN":{"DataType":"String","StringValue":"…"},…} */
static void read_attributes(tr_json_reader *r, message *m)
{
    while (tr_json_next_key(r)) {
        tr_view ignored, *to = tr_view_is(r->text, "ERROR_CODE")       ? &m->code
                               : tr_view_is(r->text, "ERROR_MESSAGE")  ? &m->text
                               : tr_view_is(r->text, "RETRY_ATTEMPTS") ? &m->attempts
                               : tr_view_is(r->text, "RULE_ARN")       ? &m->rule
                                                                       : &ignored;
        if (tr_json_next(r) != TR_JSON_OBJECT) {
            (void)tr_json_skip(r);
            continue;
        }
        while (tr_json_next_key(r)) {
            bool value = tr_view_is(r->text, "StringValue");
            if (tr_json_next(r) == TR_JSON_STRING && value)
                *to = r->text;
            else
                (void)tr_json_skip(r);
        }
    }
}

static void read_message(tr_json_reader *r, message *m)
{
    while (tr_json_next_key(r)) {
        tr_view key = r->text;
        tr_json_token token = tr_json_next(r);
        if (token == TR_JSON_STRING) {
            if (tr_view_is(key, "MessageId"))
                m->id = r->text;
            else if (tr_view_is(key, "ReceiptHandle"))
                m->handle = r->text;
            else if (tr_view_is(key, "Body"))
                m->body = r->text;
        } else if (token == TR_JSON_OBJECT && tr_view_is(key, "MessageAttributes")) {
            read_attributes(r, m);
        } else if (token == TR_JSON_OBJECT && tr_view_is(key, "Attributes")) {
            while (tr_json_next_key(r)) {
                bool sent = tr_view_is(r->text, "SentTimestamp");
                if (tr_json_next(r) == TR_JSON_STRING && sent)
                    m->sent = r->text;
                else
                    (void)tr_json_skip(r);
            }
        } else {
            (void)tr_json_skip(r);
        }
    }
}

/* A failure record, or, as EventBridge's dead letters are, the event itself. */
static void fill_entry(const message *m, tr_arena *arena, char *time, tr_failure_entry *e)
{
    uint64_t sent = 0, retries = 0;
    *e = (tr_failure_entry){.id = m->id};
    bool json = tr__failure_read(m->body, arena, e) == 0;
    if (!json)
        *e = (tr_failure_entry){.id = m->id, .record = m->body, .event = m->body};
    else if (!e->event.len && !e->attempts) /* no failure record */
        e->event = e->record = m->body;
    if (!e->time.len && tr_view_to_u64(m->sent, INT64_MAX, &sent) == 0) {
        tr_time_format((int64_t)sent, true, time);
        e->time = tr_view_str(time);
    }
    if (!e->source.len)
        e->source = m->rule;
    if (m->code.len)
        e->error_type = m->code;
    if (m->text.len)
        e->error_message = m->text;
    if (!e->attempts && tr_view_to_u64(m->attempts, UINT32_MAX, &retries) == 0)
        e->attempts = retries + 1;
}

/* One answer of ReceiveMessage. *ret_more: whether there may be more. */
static int each_message(queue_sink *s, tr_view answer, tr_arena *arena, tr_failure_fn *fn, void *ctx,
                        bool *ret_more, tr_error *err)
{
    tr_json_reader r;
    tr_view messages;
    int e = 0;
    *ret_more = false;
    if (tr_json_member(answer, "Messages", arena, &messages))
        return 0;
    tr_json_init(&r, messages, arena);
    if (tr_json_next(&r) != TR_JSON_ARRAY)
        return 0;
    bool again = false;
    while (tr_json_next(&r) == TR_JSON_OBJECT) { /* all of them, since all are to be given back */
        message m = {0};
        char time[TR_TIME_TEXT_MAX];
        tr_failure_entry entry;
        read_message(&r, &m);
        again |= find_held(s, m.id) != NULL;
        if (find_held(s, m.id))
            continue;
        int code = hold(s, m.id, m.handle, e ? NULL : err);
        if (e || (e = code))
            continue;
        fill_entry(&m, arena, time, &entry);
        e = fn(ctx, &entry);
        *ret_more = true;
    }
    *ret_more &= !again;
    return e;
}

static int queue_each(tr_failure_sink *base, tr_failure_fn *fn, void *ctx, tr_error *err)
{
    queue_sink *s = (queue_sink *)base;
    tr_buf answer;
    tr_arena arena;
    bool more = true;
    int e = find_url(s, err);
    tr_buf_init(&answer, ANSWER_MAX);
    tr_arena_init(&arena, 2 * ANSWER_MAX);
    s->reading = true;
    while (!e && more) {
        tr_arena_reset(&arena);
        e = receive(s, &answer, err);
        if (!e)
            e = each_message(s, tr_buf_view(&answer), &arena, fn, ctx, &more, err);
    }
    s->reading = false;
    give_back(s);
    tr_buf_done(&answer);
    tr_arena_done(&arena);
    return e;
}

static int drop_held(queue_sink *s, tr_view id, tr_error *err)
{
    held *h = find_held(s, id);
    int e = h ? with_handle(s, "DeleteMessage", h->handle, err) : TR_ENOTFOUND;
    if (!e)
        *h = s->taken[--s->taken_count];
    return e;
}

typedef struct removal {
    queue_sink *s;
    tr_view id;
    bool done;
    uint64_t count;
    tr_error *err;
} removal;

static int remove_it(void *ctx, const tr_failure_entry *entry)
{
    removal *x = ctx;
    if (!tr_view_eq(entry->id, x->id))
        return 0;
    x->done = drop_held(x->s, x->id, NULL) == 0;
    return 1;
}

static int queue_remove(tr_failure_sink *base, tr_view id, tr_error *err)
{
    queue_sink *s = (queue_sink *)base;
    if (s->reading) {
        int e = drop_held(s, id, err);
        return e == TR_ENOTFOUND ? tr_fail(err, e, "message %.*s was not received", TR_FMT(id)) : e;
    }
    removal x = {.s = s, .id = id};
    int e = queue_each(base, remove_it, &x, err);
    if (e < 0)
        return e;
    return x.done ? 0 : tr_fail(err, TR_ENOTFOUND, "%s has no message %.*s", s->name, TR_FMT(id));
}

static int count_and_drop(void *ctx, const tr_failure_entry *entry)
{
    removal *x = ctx;
    int e = drop_held(x->s, entry->id, x->err);
    x->count += !e;
    return e;
}

/* Message by message: PurgeQueue would take those that others have in hand, too, and cannot count. */
static int queue_purge(tr_failure_sink *base, uint64_t *ret_count, tr_error *err)
{
    removal x = {.s = (queue_sink *)base, .err = err};
    int e = queue_each(base, count_and_drop, &x, err);
    if (!e)
        *ret_count = x.count;
    return e;
}

static void queue_free(tr_failure_sink *base)
{
    queue_sink *s = (queue_sink *)base;
    tr__failure_client_done(&s->client);
    tr_free(s->taken);
    tr_free(s->name);
    tr_free(s->url);
    tr_free(s);
}

/* Of an ARN, or https://sqs.REGION.amazonaws.com/… */
static tr_view region_of(tr_view name)
{
    static const tr_view host = {"https://sqs.", 12};
    if (tr_view_starts(name, TR_VIEW("arn:")))
        return tr__arn_part(name, 3);
    if (!tr_view_starts(name, host))
        return (tr_view){NULL, 0};
    name = tr_view_of(name.ptr + host.len, name.len - host.len);
    size_t end = tr_view_find(name, TR_VIEW(".amazonaws.com"), 0);
    return end == SIZE_MAX ? (tr_view){NULL, 0} : tr_view_of(name.ptr, end);
}

/* Only what is surely missing is an error: who cannot be asked now may be there when a failure comes. */
static int check_there(queue_sink *s, tr_error *err)
{
    tr_error found = {0};
    return find_url(s, &found) == TR_ENOTFOUND
               ? tr_fail(err, TR_ENOTFOUND, "failure destination: there is no queue %s", s->name)
               : 0;
}

int tr__failure_open_queue(const tr_failure_options *options, const char *name, tr_failure_sink **ret_sink,
                           tr_error *err)
{
    queue_sink *s = tr_calloc(1, sizeof *s);
    bool is_url = strncmp(name, "http://", 7) == 0 || strncmp(name, "https://", 8) == 0;
    if (!s || !(s->name = tr_strdup(name)) || (is_url && !(s->url = tr_strdup(name)))) {
        tr_free(s ? s->name : NULL);
        tr_free(s);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    s->base = (tr_failure_sink){queue_put, queue_each, queue_remove, queue_purge, queue_free};
    s->logger = options->logger;
    int e = tr__failure_client_open(options, region_of(tr_view_str(name)), &s->client, err);
    if (!e && options->check)
        e = check_there(s, err);
    if (e)
        queue_free(&s->base);
    else
        *ret_sink = &s->base;
    return e;
}
