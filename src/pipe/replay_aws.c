/* SPDX-License-Identifier: MIT */
/*
 * Events of an archive on AWS. Nobody can read such an archive but through a replay, so one is made, into a
 * queue:
 *
 *   noted in the state: the name --> queue --> its policy --> rule --> target --> StartReplay --> noted
 *   receive, replay, delete --> … --> replay complete and queue empty --> target, rule, queue removed
 *
 * Everything made bears that name, and every step can be made twice.
 */
#include "pipe/replay.h"

#include <stdio.h>

#define RECEIVE_MAX  10 /* messages of a receive (API Reference, ReceiveMessage) */
#define RECEIVES_MAX 10 /* of a page */
#define VISIBILITY_S 60
#define VISIBILITY   "60"
#define BODY_MAX     ((size_t)4 << 20)
#define TARGET_ID    "tailrace"
#define SMALL_ARENA  65536
#define FOREVER_S    253402300799 /* the last second of the year 9999 */

/* Receives without a message before the queue counts as empty, once the replay is complete: EventBridge may
 * still be delivering, and SQS does not see all of a queue at once. */
static unsigned empty_receives(const tr_replay *r)
{
    return tr_client_is_aws(r->options.from_client) ? 5 : 1;
}

static const char *wait_seconds(const tr_replay *r)
{
    return tr_client_is_aws(r->options.from_client) ? "5" : "1";
}

typedef struct call {
    tr_buf body, answer;
    tr_json_writer w;
    tr_arena arena;
} call;

static tr_json_writer *begin(call *c)
{
    tr_buf_init(&c->body, BODY_MAX);
    tr_buf_init(&c->answer, TR__REPLAY_TEXT_MAX);
    tr_arena_init(&c->arena, TR__REPLAY_TEXT_MAX);
    tr_json_write_init(&c->w, &c->body);
    tr_json_begin_object(&c->w);
    return &c->w;
}

/* Ends the request and sends it. The answer is there until done(). */
static int finish(call *c, tr_replay *r, tr_service service, const char *operation, tr_error *err)
{
    tr_json_end_object(&c->w);
    return tr__replay_call(r->options.from_client, service, operation, &c->body, &c->answer, err);
}

static void done(call *c)
{
    tr_buf_done(&c->body);
    tr_buf_done(&c->answer);
    tr_arena_done(&c->arena);
}

static int keep_text(call *c, const char *member, char *out, size_t size, const char *operation,
                     tr_error *err)
{
    tr_view text = tr__replay_text(tr_buf_view(&c->answer), member, &c->arena);
    if (!text.len || text.len >= size)
        return tr_fail(err, TR_EPARSE, "%s: the answer has no %s", operation, member);
    (void)snprintf(out, size, "%.*s", TR_FMT(text));
    return 0;
}

/* ------------------------------------------------------------------------------------------------- making */

typedef struct names {
    char archive_arn[512], bus_arn[512], queue_url[1024], queue_arn[512], rule_arn[512];
} names;

static int describe_archive(tr_replay *r, names *n, tr_error *err)
{
    call c;
    tr_json_member_cstring(begin(&c), "ArchiveName", r->archive);
    int e = finish(&c, r, TR_EVENTS, "DescribeArchive", err);
    if (!e)
        e = keep_text(&c, "ArchiveArn", n->archive_arn, sizeof n->archive_arn, "DescribeArchive", err);
    if (!e)
        e = keep_text(&c, "EventSourceArn", n->bus_arn, sizeof n->bus_arn, "DescribeArchive", err);
    done(&c);
    if (e)
        return e;
    tr_view arn = tr_view_str(n->bus_arn);
    size_t at = tr_view_find(arn, TR_VIEW(":event-bus/"), 0);
    if (at == SIZE_MAX)
        return tr_fail(err, TR_EPARSE, "the archive's source is no event bus: %s", n->bus_arn);
    (void)snprintf(r->position.bus, sizeof r->position.bus, "%s", n->bus_arn + at + strlen(":event-bus/"));
    return 0;
}

static int create_queue(tr_replay *r, names *n, tr_error *err)
{
    call c;
    tr_json_writer *w = begin(&c);
    tr_json_member_cstring(w, "QueueName", r->position.made);
    tr_json_name(w, "Attributes");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "VisibilityTimeout", VISIBILITY);
    tr_json_end_object(w);
    int e = finish(&c, r, TR_SQS, "CreateQueue", err);
    if (!e)
        e = keep_text(&c, "QueueUrl", n->queue_url, sizeof n->queue_url, "CreateQueue", err);
    done(&c);
    if (e)
        return e;
    w = begin(&c);
    tr_json_member_cstring(w, "QueueUrl", n->queue_url);
    tr_json_name(w, "AttributeNames");
    tr_json_begin_array(w);
    tr_json_cstring(w, "QueueArn");
    tr_json_end_array(w);
    e = finish(&c, r, TR_SQS, "GetQueueAttributes", err);
    tr_view arn =
        tr__replay_text(tr__replay_raw(tr_buf_view(&c.answer), "Attributes", &c.arena), "QueueArn", &c.arena);
    if (!e && (!arn.len || arn.len >= sizeof n->queue_arn))
        e = tr_fail(err, TR_EPARSE, "GetQueueAttributes: the answer has no QueueArn");
    if (!e)
        (void)snprintf(n->queue_arn, sizeof n->queue_arn, "%.*s", TR_FMT(arn));
    done(&c);
    return e;
}

static void put_list(tr_json_writer *w, const char *name, const char *text)
{
    tr_json_name(w, name);
    tr_json_begin_array(w);
    tr_json_cstring(w, text);
    tr_json_end_array(w);
}

/* Only events of this replay, and only those that are asked for. */
static void write_pattern(tr_replay *r, tr_buf *out)
{
    tr_json_writer w;
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    put_list(&w, "replay-name", r->position.made);
    if (r->log || r->type) {
        tr_json_name(&w, "detail");
        tr_json_begin_object(&w);
        if (r->log)
            put_list(&w, "log", r->log);
        if (r->type)
            put_list(&w, "type", r->type);
        tr_json_end_object(&w);
    }
    tr_json_end_object(&w);
}

static int put_rule(tr_replay *r, names *n, tr_error *err)
{
    call c;
    tr_buf pattern;
    tr_buf_init(&pattern, SMALL_ARENA);
    write_pattern(r, &pattern);
    tr_json_writer *w = begin(&c);
    tr_json_member_cstring(w, "Name", r->position.made);
    tr_json_member_cstring(w, "EventBusName", r->position.bus);
    tr_json_member_string(w, "EventPattern", tr_buf_view(&pattern));
    tr_json_member_cstring(w, "Description", "made by tailrace replay, which removes it");
    tr_buf_done(&pattern);
    int e = finish(&c, r, TR_EVENTS, "PutRule", err);
    if (!e)
        e = keep_text(&c, "RuleArn", n->rule_arn, sizeof n->rule_arn, "PutRule", err);
    done(&c);
    return e;
}

/* EventBridge may send into the queue. */
static int allow(tr_replay *r, const names *n, tr_error *err)
{
    call c;
    char policy[2048];
    (void)snprintf(policy, sizeof policy,
                   "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{"
                   "\"Service\":\"events.amazonaws.com\"},\"Action\":\"sqs:SendMessage\",\"Resource\":\"%s\","
                   "\"Condition\":{\"ArnEquals\":{\"aws:SourceArn\":\"%s\"}}}]}",
                   n->queue_arn, n->rule_arn);
    tr_json_writer *w = begin(&c);
    tr_json_member_cstring(w, "QueueUrl", n->queue_url);
    tr_json_name(w, "Attributes");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "Policy", policy);
    tr_json_end_object(w);
    int e = finish(&c, r, TR_SQS, "SetQueueAttributes", err);
    done(&c);
    return e;
}

static int put_target(tr_replay *r, const names *n, tr_error *err)
{
    call c;
    tr_json_writer *w = begin(&c);
    tr_json_member_cstring(w, "Rule", r->position.made);
    tr_json_member_cstring(w, "EventBusName", r->position.bus);
    tr_json_name(w, "Targets");
    tr_json_begin_array(w);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "Id", TARGET_ID);
    tr_json_member_cstring(w, "Arn", n->queue_arn);
    tr_json_end_object(w);
    tr_json_end_array(w);
    int e = finish(&c, r, TR_EVENTS, "PutTargets", err);
    tr_view failed = tr__replay_raw(tr_buf_view(&c.answer), "FailedEntryCount", &c.arena);
    if (!e && failed.ptr && !tr_view_is(failed, "0"))
        e = tr_fail(err, TR_ESERVICE, "PutTargets: %.400s", tr_buf_cstr(&c.answer));
    done(&c);
    return e;
}

static int start_replay(tr_replay *r, const names *n, tr_error *err)
{
    call c;
    tr_json_writer *w = begin(&c);
    int64_t to_ms = r->options.to_ms ? r->options.to_ms : tr_clock_wall_ms();
    tr_json_member_cstring(w, "ReplayName", r->position.made);
    tr_json_member_cstring(w, "EventSourceArn", n->archive_arn);
    tr_json_member_i64(w, "EventStartTime", r->options.from_ms / 1000);
    tr_json_member_i64(w, "EventEndTime", to_ms / 1000 < FOREVER_S ? to_ms / 1000 + 1 : FOREVER_S);
    tr_json_name(w, "Destination");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "Arn", n->bus_arn);
    put_list(w, "FilterArns", n->rule_arn);
    tr_json_end_object(w);
    tr_error why = {0};
    int e = finish(&c, r, TR_EVENTS, "StartReplay", &why);
    done(&c);
    if (e && strcmp(why.type, "ResourceAlreadyExistsException") == 0)
        return 0; /* an earlier run did it, and ended before it could note that */
    if (e && err)
        *err = why;
    return e;
}

/* How long messages are out of others' sight from now on: what cannot be changed is received twice. */
static int set_visibility(tr_replay *r, tr_view receipt, int64_t seconds, tr_error *err)
{
    call c;
    tr_json_writer *w = begin(&c);
    tr_json_member_cstring(w, "QueueUrl", r->queue_url);
    tr_json_member_string(w, "ReceiptHandle", receipt);
    tr_json_member_i64(w, "VisibilityTimeout", seconds);
    int e = finish(&c, r, TR_SQS, "ChangeMessageVisibility", err);
    done(&c);
    return e;
}

static void beat_aws(tr_replay *r, const tr__replay_page *page, size_t from)
{
    tr_error err;
    for (size_t i = 0; i < page->count; i++) /* targets may be at work on earlier ones, too */
        if (set_visibility(r, page->rows[i].receipt, VISIBILITY_S, &err))
            tr_log(&r->options.logger, TR_LOG_WARN, "message %zu may come again: %s", i, err.message);
    (void)from;
}

/* What a run that was killed had received is to be seen again at once. */
static void release_receipts(tr_replay *r)
{
    tr_arena arena;
    tr_json_reader reader;
    tr_buf *receipts = &r->position.receipts;
    if (!receipts->len)
        return;
    tr_arena_init(&arena, TR__REPLAY_TEXT_MAX);
    tr_json_init(&reader, tr_buf_view(receipts), &arena);
    (void)tr_json_next(&reader);
    while (tr_json_next(&reader) == TR_JSON_STRING)
        (void)set_visibility(r, reader.text, 0, NULL); /* most are, or will be */
    tr_arena_done(&arena);
    tr_buf_reset(receipts);
}

static int keep_receipts(tr_replay *r, const tr__replay_page *page, tr_error *err)
{
    tr_json_writer w;
    tr_buf *receipts = &r->position.receipts;
    tr_buf_reset(receipts);
    tr_json_write_init(&w, receipts);
    tr_json_begin_array(&w);
    for (size_t i = 0; i < page->count; i++)
        tr_json_string(&w, page->rows[i].receipt);
    tr_json_end_array(&w);
    if (tr_buf_status(receipts)) /* then they are waited for */
        tr_buf_reset(receipts);
    return tr__replay_save(r, err);
}

static int open_aws(tr_replay *r, tr_error *err)
{
    names n;
    int e = 0;
    if (!r->position.made[0]) {
        char id[TR_UUID_LEN + 1];
        tr_uuid(id);
        (void)snprintf(r->position.made, sizeof r->position.made, "tailrace-replay-%.13s", id);
    }
    r->empty = 0;
    e = describe_archive(r, &n, err);
    if (!e)
        e = tr__replay_save(r, err);
    if (!e)
        e = create_queue(r, &n, err);
    if (!e && !(r->queue_url = tr_strdup(n.queue_url)))
        e = tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (!e)
        release_receipts(r);
    if (e || r->position.started)
        return e;
    e = put_rule(r, &n, err);
    if (!e)
        e = allow(r, &n, err);
    if (!e)
        e = put_target(r, &n, err);
    if (!e)
        e = start_replay(r, &n, err);
    r->position.started = !e;
    return e ? e : tr__replay_save(r, err);
}

/* ----------------------------------------------------------------------------------------------- receiving
 */

static int add_message(tr__replay_page *page, tr_view message, tr_arena *arena)
{
    tr_view body = tr_arena_copy(&page->arena, tr__replay_text(message, "Body", arena));
    tr_view receipt = tr_arena_copy(&page->arena, tr__replay_text(message, "ReceiptHandle", arena));
    tr__replay_row *row = body.ptr && receipt.ptr ? tr__replay_add(page) : NULL;
    if (!row)
        return TR_ENOMEM;
    *row = (tr__replay_row){.event = body, .receipt = receipt};
    return 0;
}

static int receive(tr_replay *r, tr__replay_page *page, const char *wait_s, tr_error *err)
{
    call c;
    tr_json_reader reader;
    tr_view message;
    tr_json_writer *w = begin(&c);
    tr_json_member_cstring(w, "QueueUrl", r->queue_url);
    tr_json_member_i64(w, "MaxNumberOfMessages", RECEIVE_MAX);
    tr_json_name(w, "WaitTimeSeconds");
    tr_json_value(w, tr_view_str(wait_s));
    int e = finish(&c, r, TR_SQS, "ReceiveMessage", err);
    tr_view list = e ? (tr_view){NULL, 0} : tr__replay_raw(tr_buf_view(&c.answer), "Messages", &c.arena);
    if (list.ptr) {
        tr_json_init(&reader, list, &c.arena);
        (void)tr_json_next(&reader);
        while (!e && tr_json_next(&reader) == TR_JSON_OBJECT) {
            e = tr_json_raw(&reader, &message);
            if (!e)
                e = add_message(page, message, &c.arena);
        }
        if (e)
            (void)tr_fail(err, e, "ReceiveMessage: %s", tr_strerror(e));
    }
    done(&c);
    return e;
}

/* Whether the replay is over: completed, or not to go on. */
static int is_over(tr_replay *r, bool *ret_over, tr_error *err)
{
    call c;
    tr_json_member_cstring(begin(&c), "ReplayName", r->position.made);
    int e = finish(&c, r, TR_EVENTS, "DescribeReplay", err);
    tr_view answer = tr_buf_view(&c.answer);
    tr_view state = e ? (tr_view){NULL, 0} : tr__replay_text(answer, "State", &c.arena);
    if (tr_view_is(state, "FAILED") || tr_view_is(state, "CANCELLED"))
        e = tr_fail(err, TR_ESERVICE, "the replay %s on AWS is %.*s: %.*s", r->position.made, TR_FMT(state),
                    TR_FMT(tr__replay_text(answer, "StateReason", &c.arena)));
    if (!e)
        *ret_over = tr_view_is(state, "COMPLETED");
    done(&c);
    return e;
}

/* Messages in the queue, whether they can be received now or not. */
static int count_messages(tr_replay *r, uint64_t *ret_count, tr_error *err)
{
    static const char *const counts[] = {"ApproximateNumberOfMessages",
                                         "ApproximateNumberOfMessagesNotVisible",
                                         "ApproximateNumberOfMessagesDelayed"};
    call c;
    tr_json_writer *w = begin(&c);
    tr_json_member_cstring(w, "QueueUrl", r->queue_url);
    tr_json_name(w, "AttributeNames");
    tr_json_begin_array(w);
    for (size_t i = 0; i < TR_COUNT(counts); i++)
        tr_json_cstring(w, counts[i]);
    tr_json_end_array(w);
    int e = finish(&c, r, TR_SQS, "GetQueueAttributes", err);
    tr_view attributes =
        e ? (tr_view){NULL, 0} : tr__replay_raw(tr_buf_view(&c.answer), "Attributes", &c.arena);
    uint64_t sum = 0, one;
    for (size_t i = 0; i < TR_COUNT(counts); i++)
        if (tr_view_to_u64(tr__replay_text(attributes, counts[i], &c.arena), INT64_MAX, &one) == 0)
            sum += one;
    done(&c);
    if (!e)
        *ret_count = sum;
    return e;
}

static int read_aws(tr_replay *r, tr__replay_page *page, tr_error *err)
{
    uint64_t left = 0;
    bool over = false;
    int e = receive(r, page, wait_seconds(r), err);
    bool slow = r->options.speed > 0 || r->options.to == TR_REPLAY_TO_HANDLER;
    for (unsigned i = 1; !e && !slow && page->count >= i * (size_t)RECEIVE_MAX && i < RECEIVES_MAX; i++)
        e = receive(r, page, "0", err);
    if (e || page->count) {
        r->empty = 0;
        return e ? e : keep_receipts(r, page, err);
    }
    e = is_over(r, &over, err);
    if (e || !over)
        return e;
    r->empty++;
    if (r->empty >= empty_receives(r))
        e = count_messages(r, &left, err);
    page->end = !e && r->empty >= empty_receives(r) && left == 0;
    return e;
}

/* What is replayed is deleted, ten at a time. One whose deletion fails comes again. */
static int delete_messages(tr_replay *r, tr__replay_page *page, tr_error *err)
{
    int e = 0;
    for (size_t from = 0; !e && from < page->count; from += RECEIVE_MAX) {
        call c;
        tr_json_writer *w = begin(&c);
        tr_json_member_cstring(w, "QueueUrl", r->queue_url);
        tr_json_name(w, "Entries");
        tr_json_begin_array(w);
        for (size_t i = from; i < page->count && i < from + RECEIVE_MAX; i++) {
            char id[24];
            (void)snprintf(id, sizeof id, "%zu", i - from);
            tr_json_begin_object(w);
            tr_json_member_cstring(w, "Id", id);
            tr_json_member_string(w, "ReceiptHandle", page->rows[i].receipt);
            tr_json_end_object(w);
        }
        tr_json_end_array(w);
        e = finish(&c, r, TR_SQS, "DeleteMessageBatch", err);
        done(&c);
    }
    if (!e)
        tr_buf_reset(&r->position.receipts);
    return e;
}

/* ------------------------------------------------------------------------------------------------ removing
 */

/* What is not there need not be removed. */
static int forgive(int e, const tr_error *why, tr_error *err)
{
    if (e == TR_ENOTFOUND || (e && strstr(why->type, "DoesNotExist")) ||
        (e && strstr(why->type, "NonExistent")))
        return 0;
    if (e && err)
        *err = *why;
    return e;
}

static int remove_all(tr_replay *r, tr_error *err)
{
    call c;
    tr_error why = {0};
    tr_json_writer *w = begin(&c);
    tr_json_member_cstring(w, "Rule", r->position.made);
    tr_json_member_cstring(w, "EventBusName", r->position.bus);
    put_list(w, "Ids", TARGET_ID);
    int e = forgive(finish(&c, r, TR_EVENTS, "RemoveTargets", &why), &why, err);
    done(&c);
    if (e)
        return e;
    w = begin(&c);
    tr_json_member_cstring(w, "Name", r->position.made);
    tr_json_member_cstring(w, "EventBusName", r->position.bus);
    e = forgive(finish(&c, r, TR_EVENTS, "DeleteRule", &why), &why, err);
    done(&c);
    if (e || !r->queue_url)
        return e;
    tr_json_member_cstring(begin(&c), "QueueUrl", r->queue_url);
    e = forgive(finish(&c, r, TR_SQS, "DeleteQueue", &why), &why, err);
    done(&c);
    return e;
}

static int close_aws(tr_replay *r, bool complete, tr_error *err)
{
    int e = complete ? remove_all(r, err) : 0;
    if (r->queue_url && !complete)
        release_receipts(r);
    tr_free(r->queue_url);
    r->queue_url = NULL;
    if (e) /* the next run finds it complete and removes the rest */
        r->ended = false;
    return e;
}

const tr__replay_source tr__replay_source_aws = {
    .open = open_aws, .read = read_aws, .done = delete_messages, .beat = beat_aws, .close = close_aws};

static int find_queue(tr_replay *r, tr_error *err)
{
    call c;
    char url[1024];
    tr_error why = {0};
    tr_json_member_cstring(begin(&c), "QueueName", r->position.made);
    int e = finish(&c, r, TR_SQS, "GetQueueUrl", &why);
    bool there = e == 0;
    e = forgive(e, &why, err);
    if (!e && there)
        e = keep_text(&c, "QueueUrl", url, sizeof url, "GetQueueUrl", err);
    if (!e && there && !(r->queue_url = tr_strdup(url)))
        e = tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    done(&c);
    return e;
}

static int cancel_replay(tr_replay *r, tr_error *err)
{
    call c;
    tr_error why = {0};
    tr_json_member_cstring(begin(&c), "ReplayName", r->position.made);
    int e = finish(&c, r, TR_EVENTS, "CancelReplay", &why);
    done(&c);
    /* one that is over, or was never started */
    return strcmp(why.type, "IllegalStatusException") == 0 ? 0 : forgive(e, &why, err);
}

int tr_replay_abandon(tr_replay *r, tr_error *err)
{
    if (r->options.from != TR_REPLAY_FROM_AWS)
        return tr_fail(err, TR_EINVAL, "only replays from AWS leave something behind");
    int e = tr__replay_load(r, err);
    if (!e && !r->position.made[0])
        return tr_fail(err, TR_ENOTFOUND, "there is no unfinished replay");
    if (!e)
        e = cancel_replay(r, err);
    if (!e)
        e = find_queue(r, err);
    if (!e)
        e = remove_all(r, err);
    tr_free(r->queue_url);
    r->queue_url = NULL;
    r->ended = true;
    return e ? e : tr__replay_save(r, err);
}
