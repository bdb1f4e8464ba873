/* SPDX-License-Identifier: MIT */
/* From an event to its deliveries. */
#include "bus/bus_private.h"

static void write_envelope(tr_bus *b, const tr_bus_entry *entry, const char *id, tr_buf *out)
{
    tr_json_writer w;
    char time[TR_TIME_TEXT_MAX];
    tr_time_format(entry->time_ms, false, time);
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "version", "0");
    tr_json_member_cstring(&w, "id", id);
    tr_json_member_string(&w, "detail-type", entry->detail_type);
    tr_json_member_string(&w, "source", entry->source);
    tr_json_member_cstring(&w, "account", TR_BUS_ACCOUNT);
    tr_json_member_cstring(&w, "time", time);
    tr_json_member_cstring(&w, "region", b->region);
    tr_json_name(&w, "resources");
    tr_json_value(&w, entry->resources.len ? entry->resources : TR_VIEW("[]"));
    tr_json_name(&w, "detail");
    tr_json_value(&w, entry->detail);
    if (entry->replay_name.len)
        tr_json_member_string(&w, "replay-name", entry->replay_name);
    tr_json_end_object(&w);
}

/* Whether a replay goes to this rule. */
static bool wanted(const tr_rule *rule, tr_view filters, tr_arena *arena)
{
    tr_view *arns;
    size_t count;
    if (!filters.len || tr_doc_elements(filters, arena, &arns, &count) || !count)
        return true;
    for (size_t i = 0; i < count; i++)
        if (arns[i].len >= 2 && tr_view_is(tr_view_of(arns[i].ptr + 1, arns[i].len - 2), rule->arn))
            return true;
    return false;
}

static int to_inside(tr_bus *b, tr_target *target, tr_view text)
{
    tr_buf made;
    tr_view input;
    tr_error err;
    tr_buf_init(&made, TR__BUS_TEXT_MAX);
    int e = tr__bus_input_make(target, text, tr_engine_now_ms(b->engine), &made, &input, &err);
    tr_outcome outcome = {.code = "INVALID_PARAMETER", .message = err.message};
    if (e == 0)
        outcome = tr__bus_deliver_inside(b, target, input);
    if (!outcome.done)
        tr__dead_letter(b, target, text, &outcome, NULL, 0);
    tr_buf_done(&made);
    return 0;
}

/* What others replayed onto the bus is marked in its detail, as dynamodb-logs do it. */
static bool is_marked(tr_view text)
{
    return tr_view_find(text, TR_VIEW("\"replay-name\""), 0) != SIZE_MAX &&
           tr_doc_raw(tr_doc_raw(text, "detail"), "replay-name").ptr;
}

static int to_targets(tr_bus *b, const tr_matched *matched, const tr_publish *p, uint32_t *index,
                      tr_bus_event **event)
{
    int e = 0;
    if (matched->kind == TR_RES_ARCHIVE) {
        const tr_archive *archive = matched->res->state;
        return p->replayed || is_marked(p->text)
                   ? 0
                   : tr__bus_deliver_later(b, archive->target, p->text, (*index)++, event);
    }
    const tr_rule *rule = matched->res->state;
    if (!wanted(rule, p->filters, &b->arena))
        return 0;
    for (size_t i = 0; e == 0 && i < rule->target_count; i++) {
        tr_target *target = rule->targets[i];
        bool inside = target->kind == TR_TARGET_BUS || target->kind == TR_TARGET_QUEUE ||
                      target->kind == TR_TARGET_NOWHERE;
        e = inside ? to_inside(b, target, p->text)
                   : tr__bus_deliver_later(b, target, p->text, (*index)++, event);
    }
    return e;
}

static int match(tr_bus *b, tr_event_bus *bus, const tr_publish *p, uint64_t **ret_ids, size_t *ret_count,
                 tr_error *err)
{
    const uint64_t *ids;
    int e = bus->changed ? tr_matcher_freeze(bus->matcher) : 0;
    if (e)
        return tr_fail(err, e, "%s", tr_strerror(e));
    bus->changed = false;
    e = tr_matcher_match(bus->matcher, b->match, p->text, &ids, ret_count, err);
    if (e)
        return e;
    *ret_ids = tr_arena_alloc(&b->arena, (*ret_count + 1) * sizeof **ret_ids);
    if (!*ret_ids)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    if (*ret_count)
        memcpy(*ret_ids, ids, *ret_count * sizeof **ret_ids);
    return 0;
}

int tr__bus_relay(tr_bus *b, tr_view bus_name, const tr_publish *p, tr_error *err)
{
    tr_res *res = tr_bus_find(b, TR_RES_BUS, bus_name);
    if (!res)
        return 0; /* taken and forgotten, as the service does */
    uint64_t *ids;
    size_t count;
    uint32_t index = 0;
    tr_bus_event *event = NULL;
    if (b->pending >= TR_BUS_PENDING_MAX)
        return tr_fail_service(err, TR_ETHROTTLED, 400, "ThrottlingException",
                               "%d deliveries are pending already", TR_BUS_PENDING_MAX);
    b->relays = b->depth++ ? b->relays + 1 : 1;
    int e = match(b, res->state, p, &ids, &count, err);
    for (size_t i = 0; e == 0 && i < count; i++) {
        e = to_targets(b, (const tr_matched *)(uintptr_t)ids[i], p, &index, &event);
        if (e)
            (void)tr_fail(err, e, "%s", tr_strerror(e));
    }
    if (--b->depth == 0)
        tr_arena_reset(&b->arena);
    return e;
}

int tr_bus_publish(tr_bus *b, tr_view bus_name, const tr_bus_entry *entry, char *ret_id, tr_error *err)
{
    tr_buf text;
    char id[TR_UUID_LEN + 1];
    tr_uuid(id);
    tr_buf_init(&text, TR__BUS_TEXT_MAX);
    write_envelope(b, entry, id, &text);
    int e = tr_buf_status(&text);
    const tr_publish publish = {
        .text = tr_buf_view(&text), .filters = entry->filters, .replayed = entry->replay_name.len > 0};
    e = e ? tr_fail(err, e, "%s", tr_strerror(e)) : tr__bus_relay(b, bus_name, &publish, err);
    tr_buf_done(&text);
    if (e == 0)
        memcpy(ret_id, id, sizeof id);
    return e;
}
