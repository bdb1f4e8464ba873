/* SPDX-License-Identifier: MIT */
#include "handler/failure.h"

/* ----------------------------------------------------------------------------------------- dispatching */

static const struct kind {
    const char *prefix;
    const char *service, *resource; /* of ARNs that mean this kind, or NULL: arn:…:SERVICE:…:…:RESOURCENAME */
    tr__failure_open_fn *open;
    tr_failure_kind kind;
    bool whole; /* the prefix belongs to the name */
    bool client;
} kinds[] = {
    {"file:", NULL, NULL, tr__failure_open_file, TR_FAILURE_FILE, false, false},
    {"sqlite:", NULL, NULL, tr__failure_open_sqlite, TR_FAILURE_SQLITE, false, false},
    {"table:", "dynamodb", "table/", tr__failure_open_table, TR_FAILURE_TABLE, false, true},
    {"queue:", "sqs", "", tr__failure_open_queue, TR_FAILURE_QUEUE, false, true},
    {"https://sqs.", NULL, NULL, tr__failure_open_queue, TR_FAILURE_QUEUE, true, true},
    {"bus:", "events", "event-bus/", tr__failure_open_bus, TR_FAILURE_BUS, false, true},
    {"lambda:", "lambda", "function:", tr__failure_open_lambda, TR_FAILURE_LAMBDA, false, false},
    {"exec:", NULL, NULL, tr__failure_open_exec, TR_FAILURE_EXEC, false, false},
    {"exec-each:", NULL, NULL, tr__failure_open_each, TR_FAILURE_EXEC_EACH, false, false},
    {"handler:", NULL, NULL, tr__failure_open_module, TR_FAILURE_HANDLER, false, false},
    {"http://", NULL, NULL, tr__failure_open_url, TR_FAILURE_URL, true, false},
    {"https://", NULL, NULL, tr__failure_open_url, TR_FAILURE_URL, true, false},
};

/* NAME of arn:aws:SERVICE:REGION:ACCOUNT:RESOURCENAME, without a qualifier; empty: another resource. */
static tr_view arn_name(tr_view arn, const char *resource)
{
    tr_view rest = tr__arn_part(arn, 5), prefix = tr_view_str(resource);
    rest.len = rest.ptr ? (size_t)(arn.ptr + arn.len - rest.ptr) : 0;
    if (!tr_view_starts(rest, prefix))
        return (tr_view){NULL, 0};
    rest = tr_view_of(rest.ptr + prefix.len, rest.len - prefix.len);
    size_t end = tr_view_find(rest, TR_VIEW(":"), 0);
    rest.len = end == SIZE_MAX ? rest.len : end;
    return tr_view_find(rest, TR_VIEW("/"), 0) == SIZE_MAX ? rest : (tr_view){NULL, 0};
}

/* The last part of a queue's URL; a name is one. */
static tr_view last_part(tr_view text)
{
    size_t at = text.len;
    while (at && text.ptr[at - 1] != '/')
        at--;
    return tr_view_of(text.ptr + at, text.len - at);
}

static const struct kind *find(const char *text, tr_failure_place *ret_place)
{
    tr_view d = tr_view_str(text), service = tr__arn_part(d, 2);
    bool arn = tr_view_starts(d, TR_VIEW("arn:"));
    for (size_t i = 0; i < TR_COUNT(kinds); i++) {
        const struct kind *k = &kinds[i];
        size_t len = strlen(k->prefix);
        if (arn ? !k->service || !tr_view_is(service, k->service)
                : !tr_view_starts(d, tr_view_str(k->prefix)) || d.len == len)
            continue;
        tr_failure_place place = {.kind = k->kind, .at = arn || k->whole ? text : text + len};
        place.name = arn                           ? arn_name(d, k->resource)
                     : k->kind == TR_FAILURE_QUEUE ? last_part(tr_view_str(place.at))
                                                   : tr_view_str(place.at);
        if (arn)
            place.account = tr__arn_part(d, 4);
        *ret_place = place;
        return place.name.len ? k : NULL;
    }
    return NULL;
}

static const struct kind *parse(const char *destination, tr_failure_place *ret_place, tr_error *err)
{
    const struct kind *kind = find(destination ? destination : "", ret_place);
    if (!kind)
        (void)tr_fail(
            err, TR_EINVAL,
            "failure destination '%s': file:PATH, sqlite:PATH, table:NAME, queue:NAME, an SQS URL, bus:NAME, "
            "lambda:NAME, exec:COMMAND, exec-each:COMMAND, handler:MODULE.EXPORT, the ARN of a table, queue, "
            "bus or function, or a URL is needed",
            destination ? destination : "");
    return kind;
}

int tr_failure_parse(const char *destination, tr_failure_place *ret_place, tr_error *err)
{
    tr_failure_place place;
    if (!parse(destination, &place, err))
        return TR_EINVAL;
    *ret_place = place;
    return 0;
}

int tr_failure_sink_open(const tr_failure_options *options, tr_failure_sink **ret_sink, tr_error *err)
{
    tr_failure_place place;
    const struct kind *kind = parse(options->destination, &place, err);
    return kind ? kind->open(options, place.at, ret_sink, err) : TR_EINVAL;
}

void tr_failure_sink_free(tr_failure_sink *sink)
{
    if (sink)
        sink->free(sink);
}

bool tr_failure_needs_client(const char *destination)
{
    tr_failure_place place;
    const struct kind *kind = find(destination, &place);
    return kind && kind->client;
}

/* A copy that is UTF-8, where the text is not. */
static bool mend(tr_view *text, tr_arena *arena)
{
    if (tr_utf8_valid(*text))
        return true;
    *text = tr_arena_copy(arena, *text);
    if (!text->ptr)
        return false;
    tr_utf8_mend((char *)(uintptr_t)text->ptr, text->len); /* our own copy */
    return true;
}

int tr_failure_put(tr_failure_sink *sink, const tr_failure *failure, tr_error *err)
{
    tr_arena arena;
    tr_failure clean = *failure;
    tr_arena_init(&arena, TR__FAILURE_MAX);
    bool ok = mend(&clean.error_type, &arena) && mend(&clean.error_message, &arena);
    int e = ok ? sink->put(sink, &clean, err) : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    tr_arena_done(&arena);
    return e;
}

static int unreadable(tr_error *err)
{
    return tr_fail(err, TR_EUNSUPPORTED,
                   "this failure destination cannot be read: files, SQLite files, tables and queues can");
}

int tr_failure_each(tr_failure_sink *sink, tr_failure_fn *fn, void *ctx, tr_error *err)
{
    return sink->each ? sink->each(sink, fn, ctx, err) : unreadable(err);
}

int tr_failure_remove(tr_failure_sink *sink, tr_view id, tr_error *err)
{
    return sink->remove ? sink->remove(sink, id, err) : unreadable(err);
}

int tr_failure_purge(tr_failure_sink *sink, uint64_t *ret_count, tr_error *err)
{
    return sink->purge ? sink->purge(sink, ret_count, err) : unreadable(err);
}

static bool names_failures(tr_view response)
{
    tr_arena arena;
    tr_view list;
    tr_json_reader r;
    tr_arena_init(&arena, TR_HANDLER_OUTPUT_MAX + 65536);
    bool named = response.len && response.ptr[0] == '{' &&
                 tr_json_member(response, "batchItemFailures", &arena, &list) == 0 && list.ptr[0] != 'n';
    if (named) {
        tr_json_init(&r, list, &arena);
        named = tr_json_next(&r) != TR_JSON_ARRAY;
        named = named || tr_json_next(&r) != TR_JSON_ARRAY_END;
    }
    tr_arena_done(&arena);
    return named;
}

int tr_failure_redrive(tr_failure_sink *sink, const tr_failure_entry *entry, tr_handler *handler,
                       tr_error *err)
{
    if (!entry->event.len)
        return tr_fail(err, TR_EUNSUPPORTED, "the entry names its records only, it does not hold them");
    tr_buf response;
    tr_buf_init(&response, TR_HANDLER_OUTPUT_MAX + 65536);
    int e = tr_handler_invoke_wait(handler, entry->event, &response, err);
    if (!e && names_failures(tr_buf_view(&response)))
        e = tr_fail_service(err, TR_ESERVICE, 0, "batchItemFailures", "some of its records failed again");
    tr_buf_done(&response);
    return e ? e : tr_failure_remove(sink, entry->id, err);
}

/* ------------------------------------------------------------------------------------------- composing */

/* Line feeds in JSON can only be white space. */
static void put_on_one_line(tr_buf *out, tr_view json)
{
    for (size_t from = 0; from < json.len;) {
        size_t to = from;
        while (to < json.len && json.ptr[to] != '\n' && json.ptr[to] != '\r')
            to++;
        tr_buf_put(out, json.ptr + from, to - from);
        from = to + 1;
        if (to < json.len)
            tr_buf_putc(out, ' ');
    }
}

static tr_view without_brace(tr_view object)
{
    while (object.len && object.ptr[object.len - 1] != '}')
        object.len--;
    return tr_view_of(object.ptr, object.len ? object.len - 1 : 0);
}

void tr__failure_compose(const tr_failure *f, tr_buf *out)
{
    tr_arena arena;
    tr_view records;
    tr_arena_init(&arena, TR__FAILURE_MAX);
    put_on_one_line(out, without_brace(f->record));
    if (tr_json_member(f->event, "Records", &arena, &records) == 0) {
        tr_buf_put_str(out, ",\"Records\":");
        put_on_one_line(out, records);
    }
    tr_buf_putc(out, '}');
    tr_arena_done(&arena);
}

typedef struct parts {
    tr_view head; /* the record without its closing brace */
    size_t limit, count, left_out;
    tr__failure_part_fn *fn;
    void *ctx;
    tr_error *err;
    tr_buf body;
} parts;

static int flush(parts *p)
{
    tr_buf_put_str(&p->body, p->count ? "]}" : "}");
    int e = tr_buf_status(&p->body);
    e = e ? tr_fail(p->err, e, "a failure record is too large")
          : p->fn(p->ctx, tr_buf_view(&p->body), p->err);
    p->count = 0;
    tr_buf_reset(&p->body);
    put_on_one_line(&p->body, p->head);
    return e;
}

static int add_record(parts *p, tr_view record)
{
    static const size_t around = sizeof ",\"Records\":[]}";
    if (p->count && p->body.len + record.len + 3 > p->limit) {
        int e = flush(p);
        if (e)
            return e;
    }
    if (p->body.len + record.len + around > p->limit) {
        p->left_out++;
        return 0;
    }
    tr_buf_put_str(&p->body, p->count++ ? "," : ",\"Records\":[");
    put_on_one_line(&p->body, record);
    return 0;
}

static int add_records(parts *p, tr_view records, tr_arena *arena)
{
    tr_json_reader r;
    tr_view record;
    int e = 0;
    tr_json_init(&r, records, arena);
    if (tr_json_next(&r) != TR_JSON_ARRAY)
        return 0;
    while (!e && tr_json_next(&r) == TR_JSON_OBJECT && tr_json_raw(&r, &record) == 0)
        e = add_record(p, record);
    return e;
}

int tr__failure_parts(const tr_failure *f, size_t limit, const tr_logger *logger, tr__failure_part_fn *fn,
                      void *ctx, tr_error *err)
{
    tr_arena arena;
    tr_view records;
    int e = 0;
    parts p = {.head = without_brace(f->record), .limit = limit, .fn = fn, .ctx = ctx, .err = err};
    tr_arena_init(&arena, TR__FAILURE_MAX);
    tr_buf_init(&p.body, TR__FAILURE_MAX);
    put_on_one_line(&p.body, p.head);
    if (tr_json_member(f->event, "Records", &arena, &records) == 0)
        e = add_records(&p, records, &arena);
    if (!e)
        e = flush(&p);
    if (!e && p.left_out)
        tr_log(logger, TR_LOG_WARN,
               "%zu record(s) too large for the failure destination are named there, not kept", p.left_out);
    tr_buf_done(&p.body);
    tr_arena_done(&arena);
    return e;
}

/* --------------------------------------------------------------------------------------------- reading */

static tr_view text_of(tr_json_reader *r)
{
    if (tr_json_next(r) == TR_JSON_STRING)
        return r->text;
    (void)tr_json_skip(r);
    return (tr_view){NULL, 0};
}

static void read_request(tr_json_reader *r, tr_failure_entry *e)
{
    while (tr_json_next_key(r)) {
        tr_view key = r->text;
        if (tr_view_is(key, "functionArn")) {
            e->source = tr__arn_part(text_of(r), 6); /* arn:aws:lambda:REGION:ACCOUNT:function:NAME */
        } else if (tr_view_is(key, "condition")) {
            tr_view condition = text_of(r);
            if (!e->error_type.len)
                e->error_type = condition;
        } else if (tr_json_next(r) == TR_JSON_NUMBER && tr_view_is(key, "approximateInvokeCount")) {
            (void)tr_view_to_u64(r->text, UINT64_MAX, &e->attempts);
        } else {
            (void)tr_json_skip(r);
        }
    }
}

static void read_response(tr_json_reader *r, tr_failure_entry *e)
{
    while (tr_json_next_key(r)) {
        bool type = tr_view_is(r->text, "errorType"), message = tr_view_is(r->text, "errorMessage");
        tr_view text = text_of(r);
        if (type && text.len)
            e->error_type = text;
        if (message)
            e->error_message = text;
    }
}

static int read_member(tr_json_reader *r, tr_arena *arena, tr_failure_entry *e)
{
    tr_view key = r->text, raw;
    if (tr_view_is(key, "timestamp")) {
        e->time = text_of(r);
        return 0;
    }
    tr_json_token token = tr_json_next(r);
    if (tr_view_is(key, "requestContext") && token == TR_JSON_OBJECT) {
        read_request(r, e);
    } else if (tr_view_is(key, "responsePayload") && token == TR_JSON_OBJECT) {
        read_response(r, e);
    } else if (tr_view_is(key, "requestPayload") && tr_json_raw(r, &raw) == 0) {
        e->event = raw;
    } else if (tr_view_is(key, "Records") && tr_json_raw(r, &raw) == 0) {
        char *event = tr_arena_printf(arena, "{\"Records\":%.*s}", TR_FMT(raw));
        if (!event)
            return TR_ENOMEM;
        e->event = tr_view_str(event);
    } else if (tr_json_skip(r)) {
        return TR_EPARSE;
    }
    return 0;
}

int tr__failure_read(tr_view body, tr_arena *arena, tr_failure_entry *ret_entry)
{
    tr_failure_entry entry = {.id = ret_entry->id, .record = body};
    tr_json_reader r;
    tr_json_init(&r, body, arena);
    if (tr_json_next(&r) != TR_JSON_OBJECT)
        return TR_EPARSE;
    while (tr_json_next_key(&r)) {
        int e = read_member(&r, arena, &entry);
        if (e)
            return e;
    }
    if (r.token != TR_JSON_OBJECT_END || tr_json_next(&r) != TR_JSON_DONE)
        return TR_EPARSE;
    *ret_entry = entry;
    return 0;
}

/* --------------------------------------------------------------------------------------------- clients */

int tr__failure_client_open(const tr_failure_options *options, tr_view region, tr__failure_client *ret,
                            tr_error *err)
{
    tr_client *given = options->client;
    *ret = (tr__failure_client){.client = given};
    if (given && (!region.len || !tr_client_is_aws(given) || tr_view_is(region, tr_client_region(given))))
        return 0;
    char name[64];
    if (region.len >= sizeof name)
        return tr_fail(err, TR_EINVAL, "'%.*s' is no region", TR_FMT(region));
    memcpy(name, region.len ? region.ptr : "", region.len);
    name[region.len] = 0;
    tr_client_options o = {.region = region.len ? name : options->region,
                           .profile = options->profile,
                           .logger = options->logger};
    int e = tr_client_new(&o, &ret->own, err);
    ret->client = ret->own;
    return e;
}

void tr__failure_client_done(tr__failure_client *client)
{
    tr_client_free(client->own);
    *client = (tr__failure_client){0};
}

int tr__failure_call(tr_client *client, tr_service service, const char *operation, tr_buf *body,
                     tr_buf *ret_answer, tr_error *err)
{
    if (tr_buf_status(body))
        return tr_fail(err, tr_buf_status(body), "a request of a failure destination is too large");
    tr_request request = {.service = service, .operation = operation, .body = tr_buf_view(body)};
    return tr_client_call_wait(client, &request, ret_answer, err);
}

tr_view tr__arn_part(tr_view arn, unsigned i)
{
    for (; i; i--) {
        size_t colon = tr_view_find(arn, TR_VIEW(":"), 0);
        if (colon == SIZE_MAX)
            return (tr_view){NULL, 0};
        arn = tr_view_of(arn.ptr + colon + 1, arn.len - colon - 1);
    }
    size_t colon = tr_view_find(arn, TR_VIEW(":"), 0);
    return colon == SIZE_MAX ? arn : tr_view_of(arn.ptr, colon);
}
