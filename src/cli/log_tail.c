/* SPDX-License-Identifier: MIT */
/* tailrace log tail: events of logs as they are appended. */
#include "cli/log.h"

#include "cli/follow.h"

static void stop(void *ctx)
{
    tr_stream_stop(ctx);
}

typedef struct printing {
    const tr_log_query *query;
    tr_client *client;
    const char *table;
    tr_match_ctx *match;
    tr_buf out;
    bool caught_up;
    int64_t progressed_ms;
} printing;

static void print_event(printing *p, const tr_stream_event *event)
{
    tr_log_event logged;
    tr_json_writer w;
    if (event->kind != TR_STREAM_TROUBLE)
        p->progressed_ms = tr_clock_mono_ms();
    p->caught_up |= event->kind == TR_STREAM_CAUGHT_UP;
    if (event->kind != TR_STREAM_RECORD) {
        tr_cli_tell_event(p->client, p->table, event);
        return;
    }
    if (tr_log_event_from_record(event->record, &logged) ||
        !tr_log_query_matches(p->query, p->match, &logged))
        return;
    tr_json_write_init(&w, &p->out);
    tr_log_event_write(&w, &logged);
    tr_buf_putc(&p->out, '\n');
}

static int follow(tr_stream *stream, printing *p, const tr_cli_log_tail *t, tr_error *err)
{
    tr_stream_batch batch = {0};
    int e = 0, got;
    uint64_t printed = 0;
    p->progressed_ms = tr_clock_mono_ms();
    while (!e && !(t->once && p->caught_up) && (!p->query->limit || printed < p->query->limit) &&
           (got = tr_stream_next_batch(stream, 1000, 200, 0, &batch)) != TR_ECLOSED) {
        if (got && got != TR_ETIMEOUT) {
            e = tr_fail(err, got, "reading the stream: %s", tr_strerror(got));
            break;
        }
        size_t done = 0;
        for (; done < batch.count && (!p->query->limit || printed < p->query->limit); done++) {
            size_t before = p->out.len;
            print_event(p, batch.events[done]);
            printed += p->out.len > before;
        }
        e = tr_buf_status(&p->out) ? tr_fail(err, tr_buf_status(&p->out), "an event is too large to print")
                                   : tr_cli_print(tr_buf_view(&p->out), err);
        tr_buf_reset(&p->out);
        if (!e)
            tr_stream_nack_batch(stream, &batch, done, 0);
        if (!e && t->once && tr_clock_mono_ms() - p->progressed_ms > TR_CLI_ONCE_PATIENCE_MS)
            e = tr_fail(err, TR_ETIMEOUT, "%s: no progress for %d s", p->table,
                        TR_CLI_ONCE_PATIENCE_MS / 1000);
    }
    tr_stream_nack_batch(stream, &batch, 0, 0);
    tr_stream_batch_done(&batch);
    return e;
}

int tr_cli_log_follow(tr_client *client, const tr_log_query *query, const tr_cli_log_tail *tail,
                      tr_error *err)
{
    tr_cli_source source;
    tr_stream *stream;
    printing p = {.query = query, .client = client, .table = query->table ? query->table : TR_LOG_TABLE};
    tr_stream_options o = {.table = p.table};
    int e = tail->from ? tr_cli_parse_from(tail->from, &o.start, err) : 0;
    if (!e && query->pattern && tr_match_ctx_new(NULL, &p.match))
        e = tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (!e)
        e = tr_cli_state_store(client, tail->state, "log-tail", p.table, tail->from != NULL, tail->once,
                               &source, &o.store, err);
    if (!e && (e = tr_stream_new(client, &o, &stream, err)))
        tr_stream_store_free(o.store);
    if (!e) {
        tr_buf_init(&p.out, (size_t)256 << 20);
        tr_cli_on_stop(stop, stream);
        e = follow(stream, &p, tail, err);
        tr_cli_ignore_stop();
        tr_stream_free(stream);
        tr_buf_done(&p.out);
    }
    tr_match_ctx_free(p.match);
    return e;
}
