/* SPDX-License-Identifier: MIT */
#include "client/numbered.h"

#define BODY_MAX         ((size_t)48 << 20) /* a transaction's 4 MB in JSON, with every byte escaped, and room */
#define ARENA_MAX        ((size_t)64 << 20)
#define CONFLICT_BASE_MS 4
#define CONFLICT_CAP_MS  500
#define CONFLICTS_MAX    100 /* lost races in a row before giving up */
#define RETRY_BASE_MS    25
#define RETRY_CAP_MS     2000
#define ATTEMPTS_MIN     4    /* made even if the patience ran out during the first, as by a timeout */
#define TELL_AFTER_MS    1000 /* of failures: shorter ones are nobody's concern */

static void write_all(void *ctx);
static void ask_newest(void *ctx);

static void finish(tr__numbered *job, int code, const tr__numbered_action *failed, const tr_error *err)
{
    tr_buf_done(&job->body);
    tr_free(job->asked_error);
    job->asked_error = NULL;
    job->fn(job->ctx, code, failed, err);
}

static void fail(tr__numbered *job, int code, const char *text)
{
    tr_error err;
    finish(job, tr_fail(&err, code, "%s", text), NULL, &err);
}

static void later(tr__numbered *job, int64_t delay_ms, tr_task_fn *step)
{
    int e = tr_client_schedule(job->client, 1 + delay_ms, step, job);
    if (e)
        fail(job, e, tr_strerror(e));
}

static bool patient(const tr__numbered *job)
{
    return job->attempts < ATTEMPTS_MIN || tr_clock_mono_ms() < job->deadline_ms;
}

static void again(tr__numbered *job, tr_task_fn *step, const tr_error *err)
{
    int64_t left_ms = job->deadline_ms - tr_clock_mono_ms();
    if (job->logger && !job->told && left_ms > 0 && job->patience_ms - left_ms >= TELL_AFTER_MS) {
        job->told = true;
        tr_log(job->logger, TR_LOG_WARN, "%s; trying again for %lld s more", err ? err->message : "no answer",
               (long long)(left_ms / 1000));
    }
    later(job, tr_backoff_ms(&job->rng, job->attempts - 1, RETRY_BASE_MS, RETRY_CAP_MS), step);
}

/* ---------------------------------------------------------------------------------------------- requests */

static void put_quoted(tr_buf *b, const char *prefix, const char *name)
{
    tr_buf_putc(b, '"');
    tr_buf_put_str(b, prefix);
    tr_buf_put_str(b, name);
    tr_buf_putc(b, '"');
}

static void put_key(tr_buf *b, const tr__numbered_action *a)
{
    const tr__numbered_run *run = a->run;
    put_quoted(b, "", run->layout->pk);
    tr_buf_put_str(b, ":{\"S\":");
    tr_buf_put_view(b, run->key);
    tr_buf_put_str(b, "},");
    put_quoted(b, "", run->layout->sk);
    tr_buf_put_str(b, ":{\"N\":\"");
    tr_buf_put_u64(b, run->numbering == TR__NUMBERS_GIVEN ? a->number : run->newest + a->number);
    tr_buf_put_str(b, "\"}");
}

static uint64_t number_of(const tr__numbered_action *a)
{
    return a->run->numbering == TR__NUMBERS_GIVEN ? a->number : a->run->newest + a->number;
}

static void put_item(tr_buf *b, const tr__numbered_action *a)
{
    tr_buf_putc(b, '{');
    put_key(b, a);
    if (a->rest.len) {
        tr_buf_putc(b, ',');
        tr_buf_put_view(b, a->rest);
    }
    if (a->first.len && number_of(a) == 1) {
        tr_buf_putc(b, ',');
        tr_buf_put_view(b, a->first);
    }
    tr_buf_putc(b, '}');
}

static void put_condition(tr_buf *b, const tr__numbered_action *a)
{
    const char *marker = a->run->layout->marker;
    tr_buf_put_str(b, a->kind == TR__CHECK_THERE ? ",\"ConditionExpression\":\"attribute_exists(#"
                                                 : ",\"ConditionExpression\":\"attribute_not_exists(#");
    tr_buf_put_str(b, marker);
    tr_buf_put_str(b, ")\",\"ExpressionAttributeNames\":{");
    put_quoted(b, "#", marker);
    tr_buf_putc(b, ':');
    put_quoted(b, "", marker);
    tr_buf_putc(b, '}');
    if (a->kind == TR__PUT)
        tr_buf_put_str(b, ",\"ReturnValuesOnConditionCheckFailure\":\"ALL_OLD\"");
}

static void put_action(tr_buf *b, const tr__numbered *job, const tr__numbered_action *a)
{
    tr_buf_put_str(b, "{\"TableName\":");
    tr_buf_put_view(b, a->run->table);
    if (a->kind == TR__PUT) {
        tr_buf_put_str(b, ",\"Item\":");
        put_item(b, a);
    } else {
        tr_buf_put_str(b, ",\"Key\":{");
        put_key(b, a);
        tr_buf_putc(b, '}');
    }
    if (a->kind != TR__PUT || !job->force)
        put_condition(b, a);
    tr_buf_putc(b, '}');
}

static bool is_single_put(const tr__numbered *job)
{
    return job->action_count == 1 && !job->transaction && job->actions[0].kind == TR__PUT;
}

static void put_transaction(tr_buf *b, const tr__numbered *job)
{
    tr_buf_put_str(b, "{\"TransactItems\":[");
    for (size_t i = 0; i < job->action_count; i++) {
        tr_buf_put_str(b, i ? ",{" : "{");
        tr_buf_put_str(b, job->actions[i].kind == TR__PUT ? "\"Put\":" : "\"ConditionCheck\":");
        put_action(b, job, &job->actions[i]);
        tr_buf_putc(b, '}');
    }
    tr_buf_put_str(b, "],\"ClientRequestToken\":\"");
    tr_buf_put_str(b, job->token);
    tr_buf_put_str(b, "\"}");
}

/* ------------------------------------------------------------------------------------------------ outcome */

/* Whether the item there has the content that this action writes. */
static bool is_ours(const tr__numbered_action *a, tr_view there_json)
{
    tr_arena arena;
    tr_buf ours_json;
    tr_item there, ours;
    tr_arena_init(&arena, ARENA_MAX);
    tr_buf_init(&ours_json, BODY_MAX);
    put_item(&ours_json, a);
    bool same = tr_buf_status(&ours_json) == 0 && tr_item_from_json(there_json, &arena, &there, NULL) == 0 &&
                tr_item_from_json(tr_buf_view(&ours_json), &arena, &ours, NULL) == 0;
    for (const char *const *name = a->run->layout->content; same && *name; name++) {
        tr_value x = {TR_NONE, {NULL, 0}}, y = x;
        (void)tr_item_get(there, tr_view_str(*name), &x);
        (void)tr_item_get(ours, tr_view_str(*name), &y);
        same = tr_value_eq(x, y);
    }
    tr_buf_done(&ours_json);
    tr_arena_done(&arena);
    return same;
}

/* What the answer to a write says of its actions. */
typedef struct verdict {
    const tr__numbered_action
        *lost;         /* an action whose condition failed; of those with given numbers if any */
    size_t puts, ours; /* puts, and those of them whose item stands there already */
    bool busy;         /* another transaction or throttling was in the way */
    bool other;        /* a reason that repeating does not mend */
} verdict;

static void judge(const tr__numbered *job, verdict *v, const tr__numbered_action *a, tr_view there)
{
    if (a->kind == TR__PUT && there.len && (job->repeatable || job->maybe_arrived) && is_ours(a, there)) {
        v->ours++;
        return;
    }
    if (!v->lost || (v->lost->run->numbering != TR__NUMBERS_GIVEN && a->run->numbering == TR__NUMBERS_GIVEN))
        v->lost = a;
}

static int judge_reason(const tr__numbered *job, verdict *v, size_t i, tr_view reason, tr_arena *arena)
{
    tr_view code, item = {NULL, 0};
    int e = tr_json_member(reason, "Code", arena, &code);
    if (e)
        return e;
    if (tr_view_is(code, "\"None\""))
        return 0;
    if (tr_view_is(code, "\"ConditionalCheckFailed\"")) {
        if (tr_json_member(reason, "Item", arena, &item))
            item.len = 0;
        judge(job, v, &job->actions[i], item);
    } else if (tr_view_is(code, "\"TransactionConflict\"") || tr_view_is(code, "\"ThrottlingError\"") ||
               tr_view_is(code, "\"ProvisionedThroughputExceeded\"")) {
        v->busy = true;
    } else {
        v->other = true;
    }
    return 0;
}

static int judge_transaction(const tr__numbered *job, verdict *v, tr_view body, tr_arena *arena)
{
    tr_view reasons, reason;
    tr_json_reader r;
    int e = tr_json_member(body, "CancellationReasons", arena, &reasons);
    if (e)
        return e;
    tr_json_init(&r, reasons, arena);
    if (tr_json_next(&r) != TR_JSON_ARRAY)
        return TR_EPARSE;
    size_t i = 0;
    while (!e && tr_json_next(&r) == TR_JSON_OBJECT && i < job->action_count)
        if (!(e = tr_json_raw(&r, &reason)))
            e = judge_reason(job, v, i++, reason, arena);
    return e ? e : i == job->action_count ? 0 : TR_EPARSE;
}

static int judge_reply(const tr__numbered *job, verdict *v, const tr_reply *reply)
{
    tr_arena arena;
    tr_view item;
    tr_arena_init(&arena, ARENA_MAX);
    for (size_t i = 0; i < job->action_count; i++)
        v->puts += job->actions[i].kind == TR__PUT;
    int e = 0;
    if (!is_single_put(job)) {
        e = judge_transaction(job, v, reply->body, &arena);
    } else {
        if (tr_json_member(reply->body, "Item", &arena, &item))
            item.len = 0;
        judge(job, v, &job->actions[0], item);
    }
    tr_arena_done(&arena);
    return e;
}

static bool is_type(const tr_error *err, const char *type)
{
    return err && strcmp(err->type, type) == 0;
}

/* Some condition failed. */
static void on_conflict(tr__numbered *job, int code, const tr_reply *reply, const tr_error *err)
{
    verdict v = {0};
    if (!reply || judge_reply(job, &v, reply) || v.other)
        finish(job, code, NULL, err);
    else if (v.ours == v.puts && v.puts)
        finish(job, 0, NULL, NULL);
    else if (v.lost && v.lost->run->numbering != TR__NUMBERS_GIVEN && ++job->conflicts < CONFLICTS_MAX)
        later(job, tr_backoff_ms(&job->rng, job->conflicts - 1, CONFLICT_BASE_MS, CONFLICT_CAP_MS),
              ask_newest);
    else if (v.lost)
        finish(job, TR_ECONFLICT, v.lost, err);
    else if (v.busy && patient(job))
        again(job, write_all, err);
    else if (v.ours) /* of a transaction's items some equal ours by chance */
        finish(job, TR_ECONFLICT, &job->actions[0], err);
    else
        finish(job, code, NULL, err);
}

static bool may_have_arrived(int code, const tr_error *err)
{
    return code == TR_ETIMEOUT || code == TR_ECONNECT || code == TR_EIO ||
           (code != TR_ETHROTTLED && err && err->http_status >= 500);
}

static void on_written(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    tr__numbered *job = ctx;
    if (code == 0) {
        finish(job, 0, NULL, NULL);
    } else if ((code == TR_EAUTH || code == TR_EEXPIRED) && !job->resigned && err && err->http_status) {
        job->resigned = true; /* the client learns from it, if it is allowed a second attempt */
        write_all(job);
    } else if (is_type(err, "ConditionalCheckFailedException") ||
               is_type(err, "TransactionCanceledException")) {
        on_conflict(job, code, reply, err);
    } else {
        bool arrived = may_have_arrived(code, err);
        job->maybe_arrived |= arrived;
        bool repeat = arrived || tr_retryable(code) || is_type(err, "TransactionConflictException") ||
                      is_type(err, "TransactionInProgressException");
        if (repeat && code != TR_ECANCELED && patient(job))
            again(job, write_all, err);
        else
            finish(job, code, NULL, err);
    }
}

static int send(tr__numbered *job)
{
    bool single = is_single_put(job);
    tr_buf_reset(&job->body);
    if (single)
        put_action(&job->body, job, &job->actions[0]);
    else
        put_transaction(&job->body, job);
    int e = tr_buf_status(&job->body);
    job->attempts++;
    tr_request request = {.service = TR_DYNAMODB,
                          .operation = single ? "PutItem" : "TransactWriteItems",
                          .body = tr_buf_view(&job->body),
                          .attempts = job->resigned ? 2 : 1};
    job->maybe_arrived |= job->resigned; /* as what becomes of the first of two attempts is not told */
    return e ? e : tr_client_call(job->client, &request, on_written, job);
}

static void write_all(void *ctx)
{
    tr__numbered *job = ctx;
    int e = tr_client_closing(job->client) ? TR_ECANCELED : send(job);
    if (e)
        fail(job, e, tr_strerror(e));
}

/* ------------------------------------------------------------------------------------------ newest numbers
 */

static void put_newest_query(tr_buf *b, const tr__numbered_run *run)
{
    const tr__numbered_layout *l = run->layout;
    tr_buf_put_str(b, "{\"TableName\":");
    tr_buf_put_view(b, run->table);
    tr_buf_put_str(
        b, ",\"ConsistentRead\":true,\"Limit\":1,\"ScanIndexForward\":false,\"KeyConditionExpression\":"
           "\"#key = :key\",\"ProjectionExpression\":\"#number\",\"ExpressionAttributeNames\":{"
           "\"#key\":");
    put_quoted(b, "", l->pk);
    tr_buf_put_str(b, ",\"#number\":");
    put_quoted(b, "", l->sk);
    tr_buf_put_str(b, "},\"ExpressionAttributeValues\":{\":key\":{\"S\":");
    tr_buf_put_view(b, run->key);
    tr_buf_put_str(b, "}}}");
}

/* {"Items":[{"version":{"N":"7"}}],…} or {"Items":[],…} */
static int read_newest(const tr__numbered_run *run, tr_view body, uint64_t *ret_newest)
{
    tr_arena arena;
    tr_json_reader r;
    tr_view items, item;
    tr_item packed;
    tr_value number;
    int64_t newest = 0;
    tr_arena_init(&arena, ARENA_MAX);
    int e = tr_json_member(body, "Items", &arena, &items);
    if (!e) {
        tr_json_init(&r, items, &arena);
        e = tr_json_next(&r) == TR_JSON_ARRAY ? 0 : TR_EPARSE;
    }
    if (!e && tr_json_next(&r) == TR_JSON_OBJECT && !(e = tr_json_raw(&r, &item)) &&
        !(e = tr_item_from_json(item, &arena, &packed, NULL)) &&
        !(e = tr_item_get(packed, tr_view_str(run->layout->sk), &number)))
        e = number.type == TR_N && !tr_number_to_i64(number.payload, &newest) && newest >= 0 ? 0 : TR_EINVAL;
    tr_arena_done(&arena);
    if (!e)
        *ret_newest = (uint64_t)newest;
    return e;
}

static const tr__numbered_action *first_of(const tr__numbered *job, const tr__numbered_run *run)
{
    const tr__numbered_action *a = job->actions;
    while (a->run != run)
        a++;
    return a;
}

static void all_asked(tr__numbered *job)
{
    if (job->asked_code && job->asked_code != TR_ECANCELED && tr_retryable(job->asked_code) && patient(job)) {
        job->attempts++;
        again(job, ask_newest, job->asked_error);
    } else if (job->asked_code) {
        tr_error err = {0};
        if (job->asked_error)
            err = *job->asked_error;
        else
            (void)tr_fail(&err, job->asked_code, "%s", tr_strerror(job->asked_code));
        finish(job, job->asked_code, NULL, &err);
    } else if (job->empty_run) {
        finish(job, TR_ENOTFOUND, first_of(job, job->empty_run), NULL);
    } else {
        tr_uuid(job->token); /* what is written is new, so it needs a new token */
        job->maybe_arrived = false;
        write_all(job);
    }
}

static void asked(tr__numbered *job, int code, const tr_error *err)
{
    if (code && !job->asked_code) {
        job->asked_code = code;
        if (!job->asked_error)
            job->asked_error = tr_malloc(sizeof *job->asked_error);
        if (job->asked_error && err)
            *job->asked_error = *err;
        else if (job->asked_error)
            (void)tr_fail(job->asked_error, code, "%s", tr_strerror(code));
    }
    if (--job->asking == 0)
        all_asked(job);
}

static void on_newest(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    tr__numbered_run *run = ctx;
    tr_error ours;
    if (!code && (code = read_newest(run, reply->body, &run->newest))) {
        (void)tr_fail(&ours, code, "what stands in the table under %.*s has no whole number as its %s",
                      TR_FMT(run->key), run->layout->sk);
        err = &ours;
    }
    if (!code && run->newest == 0 && run->numbering == TR__NUMBERS_NEXT_OF_SOME)
        run->job->empty_run = run;
    asked(run->job, code, err);
}

/* One query for each run that is numbered on. Also begins a job of given numbers, which has none. */
static void ask_newest(void *ctx)
{
    tr__numbered *job = ctx;
    job->asking = 1; /* ourselves, so that an answer cannot end it before all are asked */
    job->asked_code = tr_client_closing(job->client) ? TR_ECANCELED : 0;
    job->empty_run = NULL;
    for (size_t i = 0; i < job->run_count && !job->asked_code; i++) {
        tr__numbered_run *run = &job->runs[i];
        if (run->numbering == TR__NUMBERS_GIVEN)
            continue;
        run->job = job;
        tr_buf_reset(&job->body);
        put_newest_query(&job->body, run);
        tr_request request = {
            .service = TR_DYNAMODB, .operation = "Query", .body = tr_buf_view(&job->body), .attempts = 1};
        int e = tr_buf_status(&job->body);
        job->asking++;
        if (e || (e = tr_client_call(job->client, &request, on_newest, run)))
            asked(job, e, NULL);
    }
    asked(job, 0, NULL);
}

int tr__numbered_start(tr__numbered *job, tr_error *err)
{
    bool asks = false;
    for (size_t i = 0; i < job->run_count; i++)
        asks |= job->runs[i].numbering != TR__NUMBERS_GIVEN;
    tr_rng_seed(&job->rng,
                (uint64_t)tr_clock_mono_ns() ^ (uint64_t)(uintptr_t)job); /* for jitter that is enough */
    tr_buf_init(&job->body, BODY_MAX);
    job->deadline_ms = tr_clock_mono_ms() + job->patience_ms;
    if (!is_single_put(job))
        tr_uuid(job->token);
    /* the first write goes out from this thread; with queries all of the machine runs on the I/O thread */
    int e = asks ? tr_client_schedule(job->client, 0, ask_newest, job) : send(job);
    if (!e)
        return 0;
    tr_buf_done(&job->body);
    return tr_fail(err, e, "%s", e == TR_ELIMIT ? "what is to be written is too large" : tr_strerror(e));
}
