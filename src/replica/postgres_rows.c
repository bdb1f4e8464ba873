/* SPDX-License-Identifier: MIT */
/* Rows of the PostgreSQL sink: into COPY's text form, to the server, and back. */
#include "replica/postgres.h"

/* ------------------------------------------------------------------------------------------------- out */

/* COPY's text form: tab between columns, \N for NULL, a backslash before what would end a column. */
static void put_text(tr_buf *out, tr_view text)
{
    size_t from = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *escape;
        switch (text.ptr[i]) {
        case '\\':
            escape = "\\\\";
            break;
        case '\n':
            escape = "\\n";
            break;
        case '\r':
            escape = "\\r";
            break;
        case '\t':
            escape = "\\t";
            break;
        case 0:
            escape = "\xef\xbf\xbd"; /* a text of PostgreSQL holds no NUL: U+FFFD */
            break;
        default:
            continue;
        }
        tr_buf_put(out, text.ptr + from, i - from);
        tr_buf_put_str(out, escape);
        from = i + 1;
    }
    tr_buf_put(out, text.ptr + from, text.len - from);
}

static void put_bytes(tr_buf *out, tr_view bytes)
{
    tr_buf_put_str(out, "\\\\x");
    tr_hex_put(out, bytes);
}

static void put_key_column(tr_buf *out, tr_item item, tr_view name)
{
    tr_value v;
    char text[TR_NUMBER_TEXT_MAX];
    tr_buf_putc(out, '\t');
    if (tr_item_get(item, name, &v))
        tr_buf_put_str(out, "\\N");
    else if (v.type == TR_S)
        put_text(out, v.payload);
    else if (v.type == TR_N)
        tr_buf_put(out, text, tr_number_format(v.payload, text));
    else
        put_bytes(out, v.payload);
}

/* item and dynamodb_json */
static int put_item(tr__pg *s, tr_item item)
{
    tr_json_writer w;
    tr_buf_reset(&s->json);
    tr_json_write_init(&w, &s->json);
    tr_item_write_plain(&w, item);
    bool typed = tr__row_replace_nul(&s->json) || !tr_item_plain_lossless(item);
    tr_buf_putc(&s->lines, '\t');
    put_text(&s->lines, tr_buf_view(&s->json));
    tr_buf_putc(&s->lines, '\t');
    int e = tr_buf_status(&s->json);
    if (typed) {
        tr_buf_reset(&s->json);
        tr_json_write_init(&w, &s->json);
        tr_item_write(&w, item);
        put_text(&s->lines, tr_buf_view(&s->json));
    } else {
        tr_buf_put_str(&s->lines, "\\N");
    }
    return e ? e : tr_buf_status(&s->json);
}

int tr__pg_stage(tr__pg *s, const tr_sink_row *row, tr_error *err)
{
    bool scanned = row->sequence_number.len == 0;
    int e = 0;
    tr_buf_put_str(&s->lines, scanned ? "t\t" : "f\t");
    put_bytes(&s->lines, row->key);
    put_key_column(&s->lines, row->item, s->table.hash_name);
    if (s->table.range_name.len)
        put_key_column(&s->lines, row->item, s->table.range_name);
    if (row->item.len)
        e = put_item(s, row->item);
    else
        tr_buf_put_str(&s->lines, "\t\\N\t\\N");
    tr_buf_putc(&s->lines, '\t');
    if (scanned)
        tr_buf_put_str(&s->lines, "\\N");
    else if (!e)
        e = tr__row_sequence(row->sequence_number, &s->lines, err);
    tr_buf_putc(&s->lines, '\n');
    if (!e)
        e = tr_buf_status(&s->lines);
    if (e)
        return e == TR_EINVAL ? e : tr_fail(err, e, "a row for PostgreSQL: %s", tr_strerror(e));
    return s->lines.len >= TR__PG_FLUSH ? tr__pg_flush(s, err) : 0;
}

/* Until no more results come, so that the connection takes the next statement. */
static int end_copy(tr__pg *s, tr_error *err)
{
    int e = 0;
    for (PGresult *result; (result = s->pq->PQgetResult(s->conn)) != NULL; s->pq->PQclear(result))
        if (!e && s->pq->PQresultStatus(result) != PGRES_COMMAND_OK)
            e = tr__pg_fail(s, result, err, "copying rows");
    return e;
}

static int copy_lines(tr__pg *s, tr_error *err)
{
    PGresult *result = s->pq->PQexec(s->conn, "COPY pg_temp._tailrace_stage FROM STDIN");
    int e = s->pq->PQresultStatus(result) == PGRES_COPY_IN ? 0 : tr__pg_fail(s, result, err, "copying rows");
    s->pq->PQclear(result);
    if (e)
        return e;
    /* a length is an int: lines are flushed long before they are so many */
    if (s->pq->PQputCopyData(s->conn, s->lines.ptr, (int)s->lines.len) != 1 ||
        s->pq->PQputCopyEnd(s->conn, NULL) != 1) {
        e = tr__pg_fail(s, NULL, err, "copying rows");
        (void)end_copy(s, NULL);
        return e;
    }
    return end_copy(s, err);
}

int tr__pg_flush(tr__pg *s, tr_error *err)
{
    if (s->lines.len == 0)
        return 0;
    if (!s->conn)
        return tr__pg_fail(s, NULL, err, "writing");
    int e = copy_lines(s, err);
    tr_buf_reset(&s->lines);
    return e ? e : tr__pg_run(s, s->in_scan ? s->merge_in_scan : s->merge, NULL, err);
}

/* ------------------------------------------------------------------------------------------------ back */

static tr_view value_of(const tr__pg *s, const PGresult *result, int column)
{
    if (s->pq->PQgetisnull(result, 0, column))
        return (tr_view){NULL, 0};
    return tr_view_of(s->pq->PQgetvalue(result, 0, column), (size_t)s->pq->PQgetlength(result, 0, column));
}

typedef struct reading {
    tr_arena arena;
    tr_buf packed;
} reading;

/* A row of _key, item, dynamodb_json and the key columns in binary form (texts are as they are). */
static int take_row(tr__pg *s, const PGresult *result, reading *r, int (*fn)(void *, tr_view, tr_item),
                    void *ctx, tr_error *err)
{
    tr_arena_reset(&r->arena);
    tr_buf_reset(&r->packed);
    int e = tr__row_read(value_of(s, result, 1), value_of(s, result, 2), true, &r->arena, &r->packed, err);
    for (int i = 0; i < (s->table.range_name.len ? 2 : 1) && !e; i++)
        e = tr__row_check_column(&s->table, value_of(s, result, 0), i == 1, value_of(s, result, 3 + i), true,
                                 &r->packed, 0, err);
    return e ? e : fn(ctx, value_of(s, result, 0), tr_buf_view(&r->packed));
}

/* Row by row. Whoever stops early closes the connection: the rest would have to be read otherwise. */
static int walk(tr__pg *s, reading *r, int (*fn)(void *, tr_view, tr_item), void *ctx, tr_error *err)
{
    int e = 0;
    if (!s->pq->PQsetSingleRowMode(s->conn))
        e = tr__pg_fail(s, NULL, err, "reading");
    for (PGresult *result; !e && (result = s->pq->PQgetResult(s->conn)) != NULL; s->pq->PQclear(result)) {
        ExecStatusType status = s->pq->PQresultStatus(result);
        if (status == PGRES_SINGLE_TUPLE)
            e = take_row(s, result, r, fn, ctx, err);
        else if (status != PGRES_TUPLES_OK)
            e = tr__pg_fail(s, result, err, "reading");
    }
    if (e) {
        s->pq->PQfinish(s->conn);
        s->conn = NULL;
    }
    return e;
}

/* key: only that row. */
static int query(tr__pg *s, const tr_view *key, int (*fn)(void *, tr_view, tr_item), void *ctx, tr_error *err)
{
    reading r;
    const char *values[] = {key ? key->ptr : NULL};
    const int lengths[] = {key ? (int)key->len : 0}, formats[] = {1};
    if (!s->conn)
        return tr__pg_fail(s, NULL, err, "reading");
    tr_buf_reset(&s->text);
    tr_buf_printf(&s->text, "SELECT _key, item::text, dynamodb_json::text, %s FROM %s%s", s->readable,
                  s->quoted, key ? " WHERE _key = $1::bytea" : " ORDER BY _key");
    const char *sql = tr_buf_cstr(&s->text);
    if (!sql)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (!s->pq->PQsendQueryParams(s->conn, sql, key ? 1 : 0, NULL, values, lengths, formats, 1))
        return tr__pg_fail(s, NULL, err, "reading");
    tr_arena_init(&r.arena, TR__PAGE_MAX);
    tr_buf_init(&r.packed, TR__ROW_JSON_MAX);
    int e = walk(s, &r, fn, ctx, err);
    tr_arena_done(&r.arena);
    tr_buf_done(&r.packed);
    return e;
}

int tr__pg_each(tr_sink *sink, int (*fn)(void *, tr_view, tr_item), void *ctx, tr_error *err)
{
    return query((tr__pg *)sink, NULL, fn, ctx, err);
}

static int keep(void *ctx, tr_view key, tr_item item)
{
    tr_buf *out = ctx;
    (void)key;
    tr_buf_put_view(out, item);
    return tr_buf_status(out);
}

int tr__pg_get(tr_sink *sink, tr_view key, tr_buf *ret_item, tr_error *err)
{
    size_t before = ret_item->len;
    int e = query((tr__pg *)sink, &key, keep, ret_item, err);
    return e || ret_item->len > before ? e : tr_fail(err, TR_ENOTFOUND, "no row of that key");
}
