/* SPDX-License-Identifier: MIT */
#include "api/restore.h"

#include <stdio.h>

/*
 * DescribeContinuousBackups, UpdateContinuousBackups, RestoreTableToPointInTime. A point in time is reached
 * by taking back what the table's stream tells was changed since (past.h), so a table needs a stream of old
 * images for any time but now.
 */

/* API reference, PointInTimeRecoverySpecification. */
#define DAYS_MAX 35

typedef struct pitr_spec {
    tr_bool enabled;
    tr_int days;
} pitr_spec;

typedef struct continuous_request {
    tr_view table;
    pitr_spec *spec;
} continuous_request;

static const tr_member spec_members[] = {
    TR_MEMBER(pitr_spec, enabled, "PointInTimeRecoveryEnabled", TR_K_BOOLEAN, .rules = TR_R_NOT_NULL),
    TR_MEMBER(pitr_spec, days, "RecoveryPeriodInDays", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX, .min = 1,
              .max = DAYS_MAX),
};
static const tr_shape spec_shape = TR_SHAPE(pitr_spec, "PointInTimeRecoverySpecification", spec_members);
#define TABLE_MEMBER                                                                                         \
    TR_MEMBER(continuous_request, table, "TableName", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_TABLE)
static const tr_member update_members[] = {
    TABLE_MEMBER,
    TR_MEMBER(continuous_request, spec, "PointInTimeRecoverySpecification", TR_K_STRUCT,
              .rules = TR_R_NOT_NULL, .shape = &spec_shape),
};
const tr_shape tr__shape_update_continuous =
    TR_SHAPE(continuous_request, "UpdateContinuousBackupsInput", update_members);
static const tr_member describe_members[] = {TABLE_MEMBER};
const tr_shape tr__shape_describe_continuous =
    TR_SHAPE(continuous_request, "DescribeContinuousBackupsInput", describe_members);

static const tr_member restore_members[] = {
    TR_MEMBER(tr_restore_request, source_arn, "SourceTableArn", TR_K_STRING, .rules = TR_R_TABLE),
    TR_MEMBER(tr_restore_request, source, "SourceTableName", TR_K_STRING,
              .rules = TR_R_NAME | TR_R_MIN | TR_R_MAX, .min = 3, .max = 255),
    TR_MEMBER(tr_restore_request, target, "TargetTableName", TR_K_STRING,
              .rules = TR_R_NOT_NULL | TR_R_NAME | TR_R_MIN | TR_R_MAX, .min = 3, .max = 255),
    TR_MEMBER(tr_restore_request, latest, "UseLatestRestorableTime", TR_K_BOOLEAN, .rules = 0),
    TR_MEMBER(tr_restore_request, time, "RestoreDateTime", TR_K_TIME, .rules = 0),
    TR_M_RESTORE_OVERRIDES(tr_restore_request),
};
const tr_shape tr__shape_restore_pitr =
    TR_SHAPE(tr_restore_request, "RestoreTableToPointInTimeInput", restore_members);

/* The earliest time that can be restored: since when it is asked for, and since when it can be told. */
int64_t tr__pitr_earliest(tr_call *c, const tr_table *table)
{
    int64_t told = tr_past_earliest(c->engine, table), now = tr_engine_now_ms(c->engine);
    int64_t kept = now - (int64_t)(table->pitr_days ? table->pitr_days : DAYS_MAX) * 24 * 60 * 60 * 1000;
    int64_t earliest = told > table->pitr_since_ms ? told : table->pitr_since_ms;
    earliest = earliest > kept ? earliest : kept;
    return earliest > now ? now : earliest;
}

static int find(tr_call *c, tr_view name, tr_table **ret_table)
{
    tr_table *table = *ret_table = tr_engine_table(c->engine, tr__table_of_arn(name));
    if (!table || table->status == TR_CREATING || table->status == TR_DELETING)
        return tr__fail(c, 400, TR_TYPE("TableNotFoundException"), "Table not found: %.*s",
                        TR_FMT(tr__table_of_arn(name)));
    return 0;
}

static void put_description(tr_call *c, const tr_table *table)
{
    tr_json_writer *w = &c->w;
    tr_json_begin_object(w);
    tr_json_name(w, "ContinuousBackupsDescription");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "ContinuousBackupsStatus", "ENABLED");
    tr_json_name(w, "PointInTimeRecoveryDescription");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "PointInTimeRecoveryStatus", table->pitr_since_ms ? "ENABLED" : "DISABLED");
    if (table->pitr_since_ms) {
        tr_json_member_i64(w, "RecoveryPeriodInDays", table->pitr_days);
        tr__write_time(w, "EarliestRestorableDateTime", tr__pitr_earliest(c, table));
        tr__write_time(w, "LatestRestorableDateTime", tr_engine_now_ms(c->engine));
    }
    tr_json_end_object(w);
    tr_json_end_object(w);
    tr_json_end_object(w);
}

int tr__op_describe_continuous(tr_call *c, void *request)
{
    tr_table *table;
    int e = find(c, ((continuous_request *)request)->table, &table);
    if (e)
        return e;
    put_description(c, table);
    return 0;
}

int tr__op_update_continuous(tr_call *c, void *request)
{
    const continuous_request *r = request;
    tr_table *table;
    tr_error err;
    int e = find(c, r->table, &table);
    if (e)
        return e;
    if (!r->spec->enabled.value && r->spec->days.given)
        return tr__invalid(
            c, "One or more parameter values were invalid: RecoveryPeriodInDays can only be specified when "
               "PointInTimeRecoveryEnabled is true");
    int64_t since = table->pitr_since_ms ? table->pitr_since_ms : tr_engine_now_ms(c->engine);
    const tr_table_change change = {.set_pitr = true,
                                    .pitr_since_ms = r->spec->enabled.value ? since : 0,
                                    .pitr_days = !r->spec->enabled.value ? 0
                                                 : r->spec->days.given   ? (uint32_t)r->spec->days.value
                                                                         : DAYS_MAX};
    e = tr_engine_update_table(c->engine, table, &change, &err);
    if (e)
        return tr__fail_code(c, e, &err);
    put_description(c, table);
    return 0;
}

int tr__check_pitr(tr_call *c, const tr_table *table)
{
    if (table->pitr_since_ms)
        return 0;
    return tr__fail(c, 400, TR_TYPE("PointInTimeRecoveryUnavailableException"),
                    "Point in time recovery is not enabled for table '%.*s'", TR_FMT(table->name));
}

static int check_restore(tr_call *c, const tr_restore_request *r, tr_table **ret_table)
{
    tr_view source = r->source.ptr ? r->source : r->source_arn;
    if (!source.ptr)
        return tr__invalid(c, "SourceTableName or SourceTableArn must be specified");
    if (r->latest.value == r->time.given)
        return tr__invalid(c, r->time.given
                                  ? "Both RestoreDateTime and UseLatestRestorableTime cannot be specified"
                                  : "Either RestoreDateTime or UseLatestRestorableTime must be specified");
    int e = find(c, source, ret_table);
    if (e == 0 && *ret_table)
        e = tr__check_pitr(c, *ret_table);
    if (e || !*ret_table)
        return e;
    int64_t now = tr_engine_now_ms(c->engine);
    if (r->time.given && (r->time.value > now || r->time.value < tr__pitr_earliest(c, *ret_table)))
        return tr__fail(c, 400, TR_TYPE("InvalidRestoreTimeException"),
                        "RestoreDateTime must be between EarliestRestorableDateTime and "
                        "LatestRestorableDateTime of the table, "
                        "which reach as far back as its stream holds old images");
    e = tr__check_target(c, r->target, NULL);
    return e ? e : tr__job_check(c);
}

/* The table as it is now or was, out of a copy of the store that the restore has for itself. */
static int begin_source(tr_call *c, const tr_restore_request *r, const tr_table *table,
                        tr_source **ret_source)
{
    tr_error err;
    char id[TR_KEPT_ID];
    int64_t now = tr_engine_now_ms(c->engine);
    tr__kept_id(now, id);
    const char *arn = tr_arena_printf(c->arena, "%.*s/restore/%s", TR_FMT(table->arn), id);
    const char *dir = NULL;
    if (!arn)
        return TR_ENOMEM;
    int e = c->api->dir ? tr__kept_folder(c->api, TR_KEPT_RESTORES, arn, c->arena, &dir, &err) : 0;
    const tr_source_spec spec = {.kind = TR_SOURCE_PAST,
                                 .dir = dir,
                                 .copy = dir != NULL,
                                 .own = true,
                                 .table = table,
                                 .name = table->name,
                                 .to_ms = r->time.given ? r->time.value : INT64_MAX};
    if (e == 0)
        e = tr__held_new(c->api, &spec, ret_source, &err);
    if (e)
        return tr__fail_code(c, e, &err);
    (*ret_source)->now_ms = r->time.given ? r->time.value : now;
    (void)snprintf((*ret_source)->arn, sizeof(*ret_source)->arn, "%s", arn);
    tr_buf_put_view(&(*ret_source)->text, table->arn);
    return 0;
}

int tr__op_restore_pitr(tr_call *c, void *request)
{
    const tr_restore_request *r = request;
    tr_source *source = c->request->held;
    tr_table *table = NULL;
    tr_error err;
    int e = 0;
    if (!source) {
        e = check_restore(c, r, &table);
        if (e == 0 && table)
            e = begin_source(c, r, table, &source);
    }
    if (e || !source || !tr__held_ready(c, source))
        return e;
    e = tr__held_status(source, &err);
    tr_view arn = tr_arena_copy(c->arena, tr_buf_view(&source->text));
    if (e) {
        tr__held_end(c->api, source, true);
        return tr__fail_code(c, e, &err);
    }
    return tr__restore(c, r, source, (tr_view){NULL, 0}, arn, source->now_ms);
}
