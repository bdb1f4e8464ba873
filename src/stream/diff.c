/* SPDX-License-Identifier: MIT */
#include <tailrace/record.h>

#define PATH_MAX_BYTES (64 * 1024)

typedef struct differ {
    tr_buf path;
    tr_change_fn *fn;
    void *ctx;
    bool stopped;
} differ;

static bool is_word(tr_view name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
              c == '-'))
            return false;
    }
    return name.len > 0;
}

static void push_name(tr_buf *path, tr_view name)
{
    if (path->len)
        tr_buf_putc(path, '.');
    if (is_word(name)) {
        tr_buf_put_view(path, name);
        return;
    }
    tr_buf_putc(path, '"');
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '"' || name.ptr[i] == '\\')
            tr_buf_putc(path, '\\');
        tr_buf_putc(path, name.ptr[i]);
    }
    tr_buf_putc(path, '"');
}

static void report(differ *d, tr_value old_value, tr_value new_value)
{
    tr_change change = {.path = tr_buf_view(&d->path), .old_value = old_value, .new_value = new_value};
    if (tr_buf_status(&d->path) || !d->fn(d->ctx, &change))
        d->stopped = true;
}

/* Recursion is bounded by the depth of items, TR_ITEM_DEPTH_MAX. */
static void diff_value(differ *d, tr_value a, tr_value b);

static void diff_named(differ *d, tr_view name, tr_value a, tr_value b)
{
    size_t len = d->path.len;
    push_name(&d->path, name);
    diff_value(d, a, b);
    d->path.len = len;
}

/** Both walks are in order of names, so that they can be merged. */
static void diff_maps(differ *d, tr_packed_iter *a, tr_packed_iter *b)
{
    const tr_value none = {.type = TR_NONE};
    bool more_a = tr_packed_next(a), more_b = tr_packed_next(b);
    while ((more_a || more_b) && !d->stopped) {
        int c = !more_a ? 1 : !more_b ? -1 : tr_view_cmp(a->name, b->name);
        diff_named(d, c <= 0 ? a->name : b->name, c <= 0 ? a->value : none, c >= 0 ? b->value : none);
        if (c <= 0)
            more_a = tr_packed_next(a);
        if (c >= 0)
            more_b = tr_packed_next(b);
    }
}

static void diff_lists(differ *d, tr_value a, tr_value b)
{
    tr_packed_iter ia, ib;
    tr_value_iter(&ia, a);
    tr_value_iter(&ib, b);
    for (unsigned i = 0; tr_packed_next(&ia) && tr_packed_next(&ib) && !d->stopped; i++) {
        size_t len = d->path.len;
        tr_buf_printf(&d->path, "[%u]", i);
        diff_value(d, ia.value, ib.value);
        d->path.len = len;
    }
}

static void diff_value(differ *d, tr_value a, tr_value b)
{
    if (tr_value_eq(a, b))
        return;
    if (a.type == TR_M && b.type == TR_M) {
        tr_packed_iter ia, ib;
        tr_value_iter(&ia, a);
        tr_value_iter(&ib, b);
        diff_maps(d, &ia, &ib);
    } else if (a.type == TR_L && b.type == TR_L && tr_packed_count(a.payload) == tr_packed_count(b.payload)) {
        diff_lists(d, a, b);
    } else {
        report(d, a, b);
    }
}

int tr_item_diff(tr_item old_item, tr_item new_item, tr_change_fn *fn, void *ctx)
{
    differ d = {.fn = fn, .ctx = ctx};
    tr_buf_init(&d.path, PATH_MAX_BYTES);
    tr_packed_iter a, b;
    tr_item_iter(&a, old_item);
    tr_item_iter(&b, new_item);
    diff_maps(&d, &a, &b);
    int code = tr_buf_status(&d.path);
    tr_buf_done(&d.path);
    return code;
}

static bool write_one(void *ctx, const tr_change *change)
{
    tr_json_writer *w = ctx;
    tr_json_begin_object(w);
    tr_json_member_string(w, "path", change->path);
    if (change->old_value.type != TR_NONE) {
        tr_json_name(w, "old");
        tr_value_write_plain(w, change->old_value);
    }
    if (change->new_value.type != TR_NONE) {
        tr_json_name(w, "new");
        tr_value_write_plain(w, change->new_value);
    }
    tr_json_end_object(w);
    return true;
}

int tr_record_write_diff(tr_json_writer *w, const tr_record *record)
{
    tr_json_begin_array(w);
    int code = tr_item_diff(record->old_image, record->new_image, write_one, w);
    tr_json_end_array(w);
    return code;
}
