/* SPDX-License-Identifier: MIT */
/*
 * Comparing table and replica without holding either: the table is scanned into a temporary SQLite file of
 * its own (key → packed item), the sink's rows are walked against it, and what is left over was not in the
 * replica. Whatever differs is read again on both sides before it is told, since the table may have changed
 * meanwhile.
 */
#include "replica/internal.h"

#include <sqlite3.h>

#define WAIT_MS 5

typedef struct verify {
    tr_replica *r;
    sqlite3 *db;
    sqlite3_stmt *insert, *find, *left;
    tr_difference_fn *fn;
    void *ctx;
    tr_verify_result result;
    tr_error *err;
    tr_buf again; /* the table's item, read once more */
} verify;

static int db_fail(verify *v, const char *doing)
{
    return tr_fail(v->err, TR_EIO, "verify, %s: %s", doing, sqlite3_errmsg(v->db));
}

static int open_db(verify *v)
{
    static const char sql[] =
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
        "CREATE TABLE rows (key BLOB PRIMARY KEY, item BLOB NOT NULL, seen INTEGER NOT NULL "
        "DEFAULT 0) WITHOUT ROWID; BEGIN";
    if (sqlite3_open("", &v->db) != SQLITE_OK || sqlite3_exec(v->db, sql, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(v->db, "INSERT OR REPLACE INTO rows (key, item) VALUES (?1, ?2)", -1, &v->insert,
                           NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(v->db, "UPDATE rows SET seen = 1 WHERE key = ?1 RETURNING item", -1, &v->find,
                           NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(v->db, "SELECT key FROM rows WHERE NOT seen", -1, &v->left, NULL) != SQLITE_OK)
        return db_fail(v, "opening a temporary file");
    return 0;
}

static int keep_row(void *ctx, tr_item item)
{
    verify *v = ctx;
    int e = tr__replica_key(v->r, item, v->err);
    if (e)
        return e;
    sqlite3_bind_blob(v->insert, 1, v->r->key.ptr, (int)v->r->key.len, SQLITE_STATIC);
    sqlite3_bind_blob(v->insert, 2, item.ptr, (int)item.len, SQLITE_STATIC);
    int rc = sqlite3_step(v->insert);
    (void)sqlite3_reset(v->insert);
    v->result.rows++;
    return rc == SQLITE_DONE ? 0 : db_fail(v, "keeping a row");
}

static int scan_table(verify *v)
{
    tr_replica *r = v->r;
    int e = tr__scan_init(&r->scan, r->client, r->schema.name, r->options.segments);
    if (e)
        return tr_fail(v->err, e, "%s", tr_strerror(e));
    tr__scan_go(&r->scan);
    while (!e && !tr__scan_finished(&r->scan) && !atomic_load(&r->stop)) {
        bool lost;
        tr__scan_page *page = tr__scan_take(&r->scan);
        if (page) {
            e = tr__scan_each(&r->scan, page, keep_row, v, v->err);
            tr__scan_page_free(page);
            tr__scan_go(&r->scan);
        } else if (!(e = tr__scan_code(&r->scan, &lost, v->err))) {
            uv_sleep(WAIT_MS);
        }
    }
    tr__scan_done(&r->scan);
    return e ? e : atomic_load(&r->stop) ? tr_fail(v->err, TR_ECANCELED, "stopped") : 0;
}

/* The key as an item, out of its bytes: whatever the replica's item says, this is the row that is meant. */
static int key_item(const verify *v, tr_view key, tr_buf *ret_item)
{
    const struct {
        tr_view name;
        tr_type type;
    } parts[] = {{v->r->schema.hash_name, v->r->schema.hash_type},
                 {v->r->schema.range_name, v->r->schema.range_type}};
    tr_packer p;
    tr_arena arena;
    int e = 0;
    tr_arena_init(&arena, TR__BODY_MAX);
    tr_packer_init(&p, ret_item);
    tr_pack_item_begin(&p);
    for (size_t i = 0; i < TR_COUNT(parts) && parts[i].name.len && !e; i++) {
        tr_value value;
        size_t len;
        e = tr_key_get(key, parts[i].type, &arena, &value, &len);
        if (e)
            break;
        tr_pack_name(&p, parts[i].name);
        tr_pack_value(&p, value);
        key = tr_view_of(key.ptr + len, key.len - len);
    }
    int end = tr_pack_item_end(&p);
    tr_arena_done(&arena);
    return e ? e : end;
}

/* Two sides differ in what was read of them at different times: the table's item now decides. */
static int settle(verify *v, tr_view key, tr_item in_replica)
{
    tr_buf keys;
    tr_buf_init(&keys, TR__BODY_MAX);
    tr_buf_reset(&v->again);
    int e = key_item(v, key, &keys);
    if (e)
        (void)tr_fail(v->err, TR_ECORRUPT, "a row of the replica has a _key that is no key of the table");
    else
        e = tr__replica_get_item(v->r, tr_buf_view(&keys), &v->again, v->err);
    tr_buf_done(&keys);
    if (e)
        return e;
    tr_item now = tr_buf_view(&v->again);
    if (tr_view_eq(now, in_replica))
        return 0;
    if (v->result.differences++ < TR_VERIFY_TOLD && v->fn)
        v->fn(v->ctx,
              now.len == 0          ? TR_ONLY_IN_REPLICA
              : in_replica.len == 0 ? TR_ONLY_IN_TABLE
                                    : TR_ITEMS_DIFFER,
              now, in_replica);
    return 0;
}

static int compare_row(void *ctx, tr_view key, tr_item item)
{
    verify *v = ctx;
    sqlite3_bind_blob(v->find, 1, key.ptr, (int)key.len, SQLITE_STATIC);
    int rc = sqlite3_step(v->find);
    bool same = rc == SQLITE_ROW && tr_view_eq(item, tr_view_of(sqlite3_column_blob(v->find, 0),
                                                                (size_t)sqlite3_column_bytes(v->find, 0)));
    int e = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : db_fail(v, "looking a row up");
    (void)sqlite3_reset(v->find);
    return e || same ? e : settle(v, key, item);
}

/* Rows of the table that the replica's walk did not meet. */
static int tell_missing(verify *v)
{
    int rc, e = 0;
    tr_buf there;
    tr_buf_init(&there, TR__ITEM_MAX);
    while (!e && (rc = sqlite3_step(v->left)) == SQLITE_ROW) {
        tr_view key = tr_view_of(sqlite3_column_blob(v->left, 0), (size_t)sqlite3_column_bytes(v->left, 0));
        tr_buf_reset(&there);
        e = v->r->sink->get(v->r->sink, key, &there, v->err);
        if (!e || e == TR_ENOTFOUND)
            e = settle(v, key, tr_buf_view(&there));
    }
    tr_buf_done(&there);
    return e ? e : rc == SQLITE_DONE ? 0 : db_fail(v, "reading");
}

int tr_replica_verify(tr_replica *r, tr_difference_fn *fn, void *ctx, tr_verify_result *ret_result,
                      tr_error *err)
{
    if (!r->sink->each || !r->sink->get)
        return tr_fail(err, TR_EUNSUPPORTED,
                       "this kind of replica cannot be read back, so it cannot be verified");
    verify v = {.r = r, .fn = fn, .ctx = ctx, .err = err};
    tr_buf_init(&v.again, TR__ITEM_MAX);
    int e = tr__replica_open(r, err);
    if (!e)
        e = open_db(&v);
    if (!e)
        e = scan_table(&v);
    if (!e)
        e = r->sink->each(r->sink, compare_row, &v, err);
    if (!e)
        e = tell_missing(&v);
    (void)sqlite3_finalize(v.insert);
    (void)sqlite3_finalize(v.find);
    (void)sqlite3_finalize(v.left);
    (void)sqlite3_close(v.db);
    tr_buf_done(&v.again);
    if (!e)
        *ret_result = v.result;
    return e;
}
