/* SPDX-License-Identifier: MIT */
#include "api/restore.h"
#include "api/vectors.h"

#include <stdio.h>

/* Filling a table from a past: RestoreTableFromBackup, RestoreTableToPointInTime. */

#define FILLER_BYTES ((size_t)64 * 1024 * 1024)

/* ------------------------------------------------------------------------------------------------- filler */

void tr__filler_init(tr_filler *f, tr_view name, tr_view uuid)
{
    *f = (tr_filler){.count = 0};
    if (name.ptr && name.len < sizeof f->name)
        memcpy(f->name, name.ptr, name.len);
    if (uuid.ptr && uuid.len < sizeof f->uuid)
        memcpy(f->uuid, uuid.ptr, uuid.len);
    tr_arena_init(&f->arena, FILLER_BYTES);
}

void tr__filler_done(tr_filler *f)
{
    tr_arena_done(&f->arena);
}

tr_table *tr__filler_table(tr_api *api, const tr_filler *f)
{
    tr_table *table = tr_engine_table(api->engine, tr_view_str(f->name));
    return table && table->status == TR_CREATING && tr_view_is(tr_view_str(table->uuid), f->uuid) ? table
                                                                                                  : NULL;
}

bool tr__filler_full(const tr_filler *f)
{
    return f->count == TR_JOB_ITEMS || f->bytes >= TR_JOB_BYTES;
}

int tr__filler_flush(tr_api *api, tr_filler *f, tr_error *err)
{
    int e = f->count ? tr_engine_write(api->engine, f->writes, f->count, false, &f->arena, err) : 0;
    for (unsigned i = 0; i < f->count && e == 0; i++) {
        f->items += f->writes[i].outcome == TR_WRITE_DONE;
        f->refused += f->writes[i].outcome != TR_WRITE_DONE;
    }
    f->count = 0;
    f->bytes = 0;
    tr_arena_reset(&f->arena);
    return e;
}

int tr__filler_put(tr_api *api, tr_filler *f, tr_item item, tr_error *err)
{
    tr_table *table = tr__filler_table(api, f);
    if (!table)
        return tr_fail(err, TR_ENOTFOUND, "the table was deleted while it was filled");
    int e = tr__filler_full(f) ? tr__filler_flush(api, f, err) : 0;
    if (e)
        return e;
    tr_write *w = &f->writes[f->count];
    *w = (tr_write){.kind = TR_WRITE_PUT, .table = table, .item = tr_arena_copy(&f->arena, item)};
    e = w->item.ptr ? tr__key_pack(&table->schema, w->item, &api->scratch) : TR_ENOMEM;
    if (e == 0) {
        w->key = tr_arena_copy(&f->arena, tr_buf_view(&api->scratch));
        e = w->key.ptr ? 0 : TR_ENOMEM;
    }
    if (e)
        return tr_fail(err, e, "out of memory");
    f->count++;
    f->bytes += item.len;
    return 0;
}

int tr__filler_finish(tr_api *api, tr_filler *f, tr_view restore, tr_error *err)
{
    int e = tr__filler_flush(api, f, err);
    tr_table *table = e ? NULL : tr__filler_table(api, f);
    const tr_table_change change = {
        .set_status = true, .status = TR_ACTIVE, .set_restore = restore.len > 0, .restore = restore};
    if (e == 0 && !table)
        e = tr_fail(err, TR_ENOTFOUND, "the table was deleted while it was filled");
    return e ? e : tr_engine_update_table(api->engine, table, &change, err);
}

/* ------------------------------------------------------------------------------------------------ summary */

/* RestoreSummary. */
static void put_summary(tr_buf *out, tr_view backup_arn, tr_view table_arn, int64_t at_ms, bool under_way)
{
    tr_json_writer w;
    tr_buf_reset(out);
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    if (backup_arn.len)
        tr_json_member_string(&w, "SourceBackupArn", backup_arn);
    tr_json_member_string(&w, "SourceTableArn", table_arn);
    tr__write_time(&w, "RestoreDateTime", at_ms);
    tr_json_member_bool(&w, "RestoreInProgress", under_way);
    tr_json_end_object(&w);
}

/* --------------------------------------------------------------------------------------------------- spec */

static bool wanted(const tr_list *overrides, const tr_index *index)
{
    const tr_index_spec *list = overrides->items;
    for (uint32_t i = 0; i < overrides->count; i++)
        if (tr_view_eq(list[i].name, index->name))
            return true;
    return !overrides->given;
}

static const tr_index_spec *override_of(const tr_list *overrides, tr_view name)
{
    const tr_index_spec *list = overrides->items;
    for (uint32_t i = 0; i < overrides->count; i++)
        if (tr_view_eq(list[i].name, name))
            return &list[i];
    return NULL;
}

static bool in_schema(const tr_key_schema *s, tr_view name)
{
    bool found = false;
    for (unsigned i = 0; i < s->hash_count; i++)
        found |= tr_view_eq(s->hash[i].name, name);
    for (unsigned i = 0; i < s->range_count; i++)
        found |= tr_view_eq(s->range[i].name, name);
    return found;
}

static bool vector_wanted(const tr_list *overrides, const tr_index *index)
{
    const tr_vector_index_spec *list = overrides->items;
    for (uint32_t i = 0; i < overrides->count; i++)
        if (tr_view_eq(list[i].name, index->name))
            return true;
    return !overrides->given;
}

static bool in_filters(const tr_vector *v, tr_view name)
{
    for (unsigned i = 0; i < v->filter_count; i++)
        if (tr_view_eq(v->filters[i].name, name))
            return true;
    return false;
}

/* Definitions that the indexes left out had are left out too. */
static bool defines(const tr_table_spec *spec, tr_view name)
{
    bool found = in_schema(&spec->schema, name);
    for (unsigned i = 0; i < spec->index_count; i++)
        found |= in_schema(&spec->indexes[i].schema, name) || in_filters(&spec->indexes[i].vector, name);
    return found;
}

/* Indexes may be left out, not added. */
static int check_overrides(tr_call *c, const tr_list *overrides, const tr_table *from, bool local)
{
    const tr_index_spec *list = overrides->items;
    for (uint32_t i = 0; i < overrides->count; i++) {
        const tr_index *index = NULL;
        for (unsigned k = 0; k < from->index_count; k++)
            if (!from->indexes[k].vector.dimensions && from->indexes[k].local == local &&
                tr_view_eq(from->indexes[k].name, list[i].name))
                index = &from->indexes[k];
        if (!index)
            return tr__invalid(
                c,
                "One or more parameter values were invalid: %s index %.*s is not an index of the source "
                "table",
                local ? "local secondary" : "global secondary", TR_FMT(list[i].name));
    }
    return 0;
}

static int check_vector_overrides(tr_call *c, const tr_restore_request *r, const tr_table *from)
{
    const tr_vector_index_spec *list = r->vectors.items;
    for (uint32_t i = 0; i < r->vectors.count; i++)
        if (!tr__find_vector(from, list[i].name))
            return tr__invalid(
                c,
                "One or more parameter values were invalid: vector index %.*s is not an index of the source "
                "table",
                TR_FMT(list[i].name));
    bool some = r->vectors.given ? r->vectors.count > 0 : tr__has_vectors(from);
    return some && tr_view_is(r->billing, "PROVISIONED")
               ? tr__invalid(c, "One or more parameter values were invalid: Vector indexes are only "
                                "supported for PAY_PER_REQUEST tables")
               : 0;
}

static bool is_wanted(const tr_restore_request *r, const tr_index *index)
{
    if (index->vector.dimensions)
        return vector_wanted(&r->vectors, index);
    return wanted(index->local ? &r->local : &r->global, index);
}

static int spec_of(tr_call *c, const tr_restore_request *r, const tr_table *from, tr_table_spec *spec)
{
    int e = check_overrides(c, &r->local, from, true);
    if (e == 0)
        e = check_overrides(c, &r->global, from, false);
    if (e == 0)
        e = check_vector_overrides(c, r, from);
    if (e)
        return e;
    *spec = (tr_table_spec){.name = r->target,
                            .schema = from->schema,
                            .on_demand = from->on_demand,
                            .throughput = from->throughput,
                            .table_class = from->table_class,
                            .sse = from->sse,
                            .filling = true};
    spec->indexes = tr_arena_calloc(c->arena, from->index_count + 1, sizeof *spec->indexes);
    spec->attributes = tr_arena_calloc(c->arena, from->attribute_count + 1, sizeof *spec->attributes);
    if (!spec->indexes || !spec->attributes)
        return TR_ENOMEM;
    if (r->billing.ptr)
        spec->on_demand = tr_view_is(r->billing, "PAY_PER_REQUEST");
    if (r->throughput || r->on_demand)
        spec->throughput = tr__throughput_of(r->throughput, r->on_demand, NULL);
    if (r->sse)
        e = tr__sse_of(c, r->sse, &spec->sse);
    for (unsigned i = 0; i < from->index_count; i++) {
        const tr_index *index = &from->indexes[i];
        if (index->status == TR_DELETING || !is_wanted(r, index))
            continue;
        const tr_index_spec *given = index->local ? NULL : override_of(&r->global, index->name);
        spec->indexes[spec->index_count] = *index;
        if (given && (given->throughput || given->on_demand))
            spec->indexes[spec->index_count].throughput =
                tr__throughput_of(given->throughput, given->on_demand, given->warm);
        spec->index_count++;
    }
    for (unsigned i = 0; i < from->attribute_count; i++)
        if (defines(spec, from->attributes[i].name))
            spec->attributes[spec->attribute_count++] = from->attributes[i];
    return e;
}

/* --------------------------------------------------------------------------------------------------- job */

typedef struct restore_job {
    tr_job job;
    tr_source *source;
    bool collected;
    tr_filler filler;
    char *summary; /* once it is done */
    char arn[TR_ARN_MAX + 1];
} restore_job;

static int fill(tr_api *api, restore_job *r, bool *ret_done, tr_error *err)
{
    int e = 0;
    while (e == 0 && !tr__filler_full(&r->filler)) {
        tr_item item;
        e = tr_past_next(r->source->past, &item, err);
        if (e == TR_ENOTFOUND) {
            *ret_done = true;
            return tr__filler_finish(api, &r->filler, tr_view_str(r->summary), err);
        }
        if (e == 0)
            e = tr__filler_put(api, &r->filler, item, err);
    }
    return e ? e : tr__filler_flush(api, &r->filler, err);
}

static int step(tr_api *api, tr_job *job, bool *ret_done, tr_error *err)
{
    restore_job *r = (restore_job *)job;
    job->idle = !tr__held_done(r->source);
    if (job->idle)
        return 0;
    int e = tr__held_status(r->source, err);
    if (e == 0 && !r->collected) {
        e = tr_past_collect(r->source->past, err);
        r->collected = e == 0;
        return e == TR_EBUSY ? 0 : e;
    }
    return e ? e : fill(api, r, ret_done, err);
}

/* The next server goes on, if this one only ends; a part of a table is worse than none, if it failed. */
static void end(tr_api *api, tr_job *job, int code, const tr_error *why)
{
    restore_job *r = (restore_job *)job;
    tr_kept *kept = tr__kept_find(api, TR_KEPT_RESTORES, tr_view_str(r->arn));
    bool later = code == TR_ECANCELED && api->dir;
    tr_table *table = code && !later ? tr__filler_table(api, &r->filler) : NULL;
    tr_error err;
    if (table && code != TR_ECANCELED)
        (void)fprintf(stderr, "tailrace: table %s could not be restored and is dropped: %s\n", r->filler.name,
                      why->message);
    if (table)
        (void)tr_engine_delete_table(api->engine, table, &err);
    tr__held_end(api, r->source, !later && r->source->spec.own);
    if (kept && !later)
        tr__kept_remove(api, TR_KEPT_RESTORES, kept);
    tr__filler_done(&r->filler);
    tr_free(r->summary);
    tr_free(r);
}

/* Takes the source over if it succeeds. */
static int add_job(tr_api *api, const tr_table *table, tr_source *source, tr_view summary, const char *arn)
{
    restore_job *r = tr_calloc(1, sizeof *r);
    char *copy = tr_malloc(summary.len + 1);
    if (!r || !copy) {
        tr_free(r);
        tr_free(copy);
        return TR_ENOMEM;
    }
    memcpy(copy, summary.ptr, summary.len);
    copy[summary.len] = 0;
    r->job = (tr_job){.step = step, .end = end};
    r->source = source;
    r->summary = copy;
    (void)snprintf(r->arn, sizeof r->arn, "%s", arn);
    tr__filler_init(&r->filler, table->name, tr_view_str(table->uuid));
    tr__job_add(api, &r->job);
    return 0;
}

/* -------------------------------------------------------------------------------------------- what is kept
 */

/*
 * A restore that is not done is kept under TARGET_TABLE_ARN/restore/ID as
 *
 *   {"TableName":…,"TableId":…,"Backup":ARN or "","Source":name of the table in the copy,"At":ms or 0,
 *    "Summary":RestoreSummary once it is done}
 *
 * Without a backup, the copy of the store is DIR/restores/ID.
 */
static int keep(tr_call *c, const tr_table *table, const tr_source *source, tr_view backup_arn,
                tr_view summary)
{
    tr_kept *kept;
    tr_error err;
    tr_json_writer w;
    tr_buf_reset(c->text);
    tr_json_write_init(&w, c->text);
    tr_json_begin_object(&w);
    tr_json_member_string(&w, "TableName", table->name);
    tr_json_member_cstring(&w, "TableId", table->uuid);
    tr_json_member_string(&w, "Backup", backup_arn);
    tr_json_member_string(&w, "Source", source->spec.name);
    tr_json_member_i64(&w, "At", source->spec.to_ms);
    tr_json_name(&w, "Summary");
    tr_json_value(&w, summary);
    tr_json_end_object(&w);
    int e = tr_buf_status(c->text);
    if (e == 0)
        e = tr__kept_add(c->api, TR_KEPT_RESTORES, source->arn, tr_engine_now_ms(c->engine),
                         tr_buf_view(c->text), TR_VIEW("{}"), &kept, &err);
    return e ? tr__fail_code(c, e, &err) : 0;
}

int tr__check_target(tr_call *c, tr_view target, const char *backup_arn)
{
    const tr_table *table = tr_engine_table(c->engine, target);
    if (!table)
        return 0;
    for (const tr_kept *k = c->api->kept[TR_KEPT_RESTORES]; k; k = k->next)
        if (tr_view_is(tr__kept_text(k, "TableId", c->arena), table->uuid))
            return tr__fail(c, 400, TR_TYPE("TableInUseException"),
                            "Table: %.*s is already being restored%s%s", TR_FMT(target),
                            backup_arn ? " from backup: " : "", backup_arn ? backup_arn : "");
    return tr__fail(c, 400, TR_TYPE("TableAlreadyExistsException"), "Table already exists: %.*s",
                    TR_FMT(target));
}

bool tr__restoring_from(const tr_api *api, const char *backup_arn)
{
    for (const tr_kept *k = api->kept[TR_KEPT_RESTORES]; k; k = k->next)
        if (tr_view_find(tr_view_str(k->json), tr_view_str(backup_arn), 0) != SIZE_MAX)
            return true;
    return false;
}

static int source_again(tr_api *api, const tr_kept *k, tr_arena *arena, tr_source **ret_source, tr_error *err)
{
    tr_view backup = tr__kept_text(k, "Backup", arena);
    tr_source_spec spec = {.kind = TR_SOURCE_PAST, .own = true, .name = tr__kept_text(k, "Source", arena)};
    if (backup.len) {
        const tr_kept *of = tr__kept_find(api, TR_KEPT_BACKUPS, backup);
        return of ? tr__held_of_backup(api, of, ret_source, err)
                  : tr_fail(err, TR_ENOTFOUND, "its backup is gone");
    }
    uint64_t at;
    if (tr_view_to_u64(tr__kept_text(k, "At", arena), INT64_MAX, &at))
        return tr_fail(err, TR_ECORRUPT, "its time cannot be read");
    spec.to_ms = (int64_t)at;
    spec.dir = tr__kept_path(api, TR_KEPT_RESTORES, k->arn, "", arena);
    return spec.dir ? tr__held_new(api, &spec, ret_source, err) : tr_fail(err, TR_ENOMEM, "out of memory");
}

/* A table that is active by now was done, but for being crossed off. */
static void resume_one(tr_api *api, tr_kept *k)
{
    tr_arena arena;
    tr_error err = {.code = 0};
    tr_source *source = NULL;
    tr_view summary;
    tr_arena_init(&arena, (size_t)1024 * 1024);
    tr_table *table = tr_engine_table(api->engine, tr__kept_text(k, "TableName", &arena));
    bool due =
        table && table->status == TR_CREATING && tr_view_is(tr__kept_text(k, "TableId", &arena), table->uuid);
    int e = due ? source_again(api, k, &arena, &source, &err) : TR_ENOTFOUND;
    if (e == 0)
        e = tr_json_member(tr_view_str(k->json), "Summary", &arena, &summary);
    if (e == 0)
        e = add_job(api, table, source, summary, k->arn);
    if (e) {
        if (due) {
            (void)fprintf(stderr, "tailrace: table %.*s cannot be restored and is dropped: %s\n",
                          TR_FMT(table->name), err.message);
            (void)tr_engine_delete_table(api->engine, table, &err);
        }
        tr__held_end(api, source, false);
        const char *path = tr__kept_path(api, TR_KEPT_RESTORES, k->arn, "", &arena);
        tr__kept_remove(api, TR_KEPT_RESTORES, k);
        if (path)
            tr__held_clear(api, path);
    }
    tr_arena_done(&arena);
}

void tr__restores_resume(tr_api *api)
{
    for (tr_kept *k = api->kept[TR_KEPT_RESTORES], *next; k; k = next) {
        next = k->next;
        resume_one(api, k);
    }
}

/* ------------------------------------------------------------------------------------------------ requests
 */

static int make(tr_call *c, const tr_restore_request *r, const tr_past *past, tr_view backup_arn,
                tr_view table_arn, int64_t at_ms, tr_table **ret_table)
{
    tr_table_spec spec;
    tr_error err;
    int e = spec_of(c, r, tr_past_table(past), &spec);
    if (e)
        return e;
    put_summary(c->text, backup_arn, table_arn, at_ms, true);
    spec.restore = tr_arena_copy(c->arena, tr_buf_view(c->text));
    if (!spec.restore.ptr)
        return TR_ENOMEM;
    e = tr_engine_create_table(c->engine, &spec, ret_table, &err);
    if (e == TR_EEXIST)
        return tr__fail(c, 400, TR_TYPE("TableAlreadyExistsException"), "Table already exists: %.*s",
                        TR_FMT(r->target));
    return e ? tr__fail_code(c, e, &err) : 0;
}

/* The table is there: from here on it is filled, also by the next server. */
static int begin(tr_call *c, const tr_table *table, tr_source *source, tr_view backup_arn, tr_view table_arn,
                 int64_t at_ms)
{
    char id[TR_KEPT_ID];
    if (!source->arn[0]) {
        tr__kept_id(tr_engine_now_ms(c->engine), id);
        (void)snprintf(source->arn, sizeof source->arn, "%.*s/restore/%s", TR_FMT(table->arn), id);
    }
    put_summary(c->text, backup_arn, table_arn, at_ms, false);
    tr_view summary = tr_arena_copy(c->arena, tr_buf_view(c->text));
    int e = summary.ptr ? keep(c, table, source, backup_arn, summary) : TR_ENOMEM;
    if (e)
        return e;
    e = add_job(c->api, table, source, summary, source->arn);
    if (e)
        tr__kept_remove(c->api, TR_KEPT_RESTORES,
                        tr__kept_find(c->api, TR_KEPT_RESTORES, tr_view_str(source->arn)));
    return e;
}

int tr__restore(tr_call *c, const tr_restore_request *r, tr_source *source, tr_view backup_arn,
                tr_view table_arn, int64_t at_ms)
{
    tr_table *table;
    tr_error err;
    int e = make(c, r, source->past, backup_arn, table_arn, at_ms, &table);
    if (e == 0) {
        e = begin(c, table, source, backup_arn, table_arn, at_ms);
        if (e)
            (void)tr_engine_delete_table(c->engine, table, &err);
    }
    if (e) {
        tr__held_end(c->api, source, source->spec.own);
        return e;
    }
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "TableDescription");
    tr__write_table(c, table, TR_CREATING);
    tr_json_end_object(&c->w);
    return 0;
}
