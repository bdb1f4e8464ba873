/* SPDX-License-Identifier: MIT */
/*
 * A consumer that picks up where it left off: the second recipe of dynamodb-stream on the C API.
 *
 *     state_persistence ENDPOINT TABLE FILE [POLLS]
 *
 * Every change of the table is printed, a line of JSON each. After every poll the consumer's state is written
 * to FILE, and read from there at the next start; at the first one the stream is read from its beginning. The
 * state holds sequence numbers, so it is good for as long as the stream keeps its records; a file of
 * dynamodb-stream (its getShardState() as JSON) is taken, too. The state moves on only with what was
 * acknowledged, and that is done after printing: a crash in between prints a change twice, never not at all.
 *
 * Instead of polling and saving yourself you can leave both to the library: tr_stream_store_file and
 * tr_stream_next.
 *
 *     cc -o state_persistence state_persistence.c $(pkg-config --cflags --libs tailrace)
 */
#include <tailrace/client.h>
#include <tailrace/stream.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATIENCE  30000 /* ms for one fetch */
#define EVERY_MS  200   /* between polls */
#define STATE_MAX ((size_t)64 << 20)

/* Nothing, if there is no file yet. */
static int load(const char *path, tr_buf *state, tr_error *err)
{
    char part[65536];
    FILE *f = fopen(path, "rb");
    if (!f)
        return errno == ENOENT ? 0 : tr_fail(err, TR_EIO, "%s: %s", path, strerror(errno));
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        tr_buf_put(state, part, n);
    (void)fclose(f);
    return tr_buf_status(state);
}

/* Beside it first, then renamed over it: a crash leaves the old state or the new one. */
static int save(const char *path, tr_view state, tr_error *err)
{
    char beside[4096];
    (void)snprintf(beside, sizeof beside, "%s.new", path);
    FILE *f = fopen(beside, "wb");
    bool ok = f && fwrite(state.ptr, 1, state.len, f) == state.len && fflush(f) == 0 && fsync(fileno(f)) == 0;
    if (f)
        ok = fclose(f) == 0 && ok;
    if (!ok || rename(beside, path))
        return tr_fail(err, TR_EIO, "%s: %s", path, strerror(errno));
    return 0;
}

static int print(const tr_stream_batch *batch, tr_error *err)
{
    tr_buf out;
    tr_json_writer w;
    tr_buf_init(&out, (size_t)256 << 20);
    for (size_t i = 0; i < batch->count; i++) {
        const tr_stream_event *event = batch->events[i];
        if (event->kind == TR_STREAM_GAP)
            (void)fprintf(stderr, "changes may be missing in %.*s: %s\n", TR_FMT(event->gap->shard_id),
                          tr_gap_reason_name(event->gap->reason));
        if (event->kind != TR_STREAM_RECORD)
            continue;
        tr_json_write_init(&w, &out);
        tr_record_write_plain(&w, event->record);
        tr_buf_putc(&out, '\n');
    }
    int e = tr_buf_status(&out);
    if (!e && (fwrite(out.ptr, 1, out.len, stdout) != out.len || fflush(stdout)))
        e = TR_EIO;
    tr_buf_done(&out);
    return e ? tr_fail(err, e, "printing: %s", tr_strerror(e)) : 0;
}

static int follow(tr_stream *stream, const char *path, long polls, tr_error *err)
{
    tr_stream_batch batch = {0};
    tr_buf state;
    int e = 0;
    tr_buf_init(&state, STATE_MAX);
    for (long n = 0; !e && (polls < 0 || n < polls); n++) {
        e = tr_stream_fetch(stream, PATIENCE, &batch, err);
        if (!e)
            e = print(&batch, err);
        if (e)
            break;
        tr_stream_ack_batch(stream, &batch);
        tr_buf_reset(&state);
        e = tr_stream_get_state(stream, &state);
        e = e ? tr_fail(err, e, "the state: %s", tr_strerror(e)) : save(path, tr_buf_view(&state), err);
        (void)usleep(EVERY_MS * 1000);
    }
    tr_stream_nack_batch(stream, &batch, 0, 0); /* what could not be printed */
    tr_stream_batch_done(&batch);
    tr_buf_done(&state);
    return e;
}

int main(int argc, char **argv)
{
    tr_client *client = NULL;
    tr_stream *stream = NULL;
    tr_error err = {0};
    tr_buf state;
    if (argc < 4) {
        (void)fprintf(stderr, "usage: state_persistence ENDPOINT TABLE FILE [POLLS]\n");
        return 2;
    }
    tr_client_options to = {.endpoint = strcmp(argv[1], "aws") == 0 ? NULL : argv[1]};
    tr_stream_options options = {.table = argv[2], .manual = true, .start = {.at = TR_START_TRIM_HORIZON}};
    tr_buf_init(&state, STATE_MAX);
    int e = load(argv[3], &state, &err);
    if (!e && state.len)
        options.state = tr_buf_cstr(&state);
    if (!e)
        e = tr_client_new(&to, &client, &err);
    if (!e)
        e = tr_stream_new(client, &options, &stream, &err);
    if (!e)
        e = follow(stream, argv[3], argc > 4 ? strtol(argv[4], NULL, 10) : -1, &err);
    if (e)
        (void)fprintf(stderr, "state_persistence: %s\n", err.message);
    tr_stream_free(stream);
    tr_client_free(client);
    tr_buf_done(&state);
    return e ? 1 : 0;
}
