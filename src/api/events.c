/* SPDX-License-Identifier: MIT */
#include "api/events.h"

#define DOC_MAX ((size_t)4 * 1024 * 1024)

int tr__fail_bus(tr_call *c, int code, const tr_error *err)
{
    if (err->type[0])
        return tr__fail(c, err->http_status ? err->http_status : 400, err->type, "%s", err->message);
    if (code == TR_ELIMIT)
        return tr__fail(c, 400, TR_LIMIT_EXCEPTION, "%s", err->message);
    return tr__fail(c, 500, code == TR_ENOMEM ? "ServiceUnavailable" : "InternalException", "%s",
                    err->message);
}

tr_view tr__bus_name(tr_view name)
{
    size_t at = tr_view_find(name, TR_VIEW(":event-bus/"), 0);
    if (!name.len)
        return TR_VIEW("default");
    return at == SIZE_MAX ? name : tr_view_of(name.ptr + at + 11, name.len - at - 11);
}

int tr__find_bus(tr_call *c, tr_view name, tr_res **ret_bus)
{
    name = tr__bus_name(name);
    *ret_bus = tr_bus_find(c->api->bus, TR_RES_BUS, name);
    return *ret_bus
               ? 0
               : tr__fail(c, 400, TR_NOT_FOUND_EXCEPTION, "Event bus %.*s does not exist.", TR_FMT(name));
}

const char *tr__rule_key(tr_call *c, tr_view bus, tr_view rule)
{
    return tr_arena_printf(c->arena, "%.*s|%.*s", TR_FMT(bus), TR_FMT(rule));
}

int tr__find_rule(tr_call *c, tr_view bus_name, tr_view name, tr_res **ret_rule)
{
    tr_res *bus;
    int e = tr__find_bus(c, bus_name, &bus);
    if (e)
        return e;
    const char *key = tr__rule_key(c, bus->name, name);
    if (!key)
        return TR_ENOMEM;
    *ret_rule = tr_bus_find(c->api->bus, TR_RES_RULE, tr_view_str(key));
    if (*ret_rule)
        return 0;
    return tr__fail(c, 400, TR_NOT_FOUND_EXCEPTION, "Rule %.*s does not exist on EventBus %.*s.",
                    TR_FMT(name), TR_FMT(bus->name));
}

/* --------------------------------------------------------------------------------------------- documents */

void tr__doc_begin(tr_json_writer *w, tr_buf *doc)
{
    tr_buf_init(doc, DOC_MAX);
    tr_json_write_init(w, doc);
    tr_json_begin_object(w);
}

int tr__doc_put(tr_call *c, tr_res_kind kind, tr_view name, tr_buf *doc)
{
    tr_error err;
    err.type[0] = err.message[0] = 0;
    int e = tr_buf_status(doc);
    e = e ? tr_fail(&err, e, "%s", tr_strerror(e))
          : tr_bus_put(c->api->bus, kind, name, tr_buf_view(doc), &err);
    tr_buf_done(doc);
    return e ? tr__fail_bus(c, e, &err) : 0;
}

int tr__doc_update(tr_call *c, tr_res *res, tr_buf *doc)
{
    int e = tr_buf_status(doc);
    if (e == 0)
        e = tr_bus_update(c->api->bus, res, tr_buf_view(doc));
    tr_buf_done(doc);
    return e;
}

void tr__doc_member(tr_json_writer *w, tr_view doc, const char *name)
{
    tr_view raw = tr_doc_raw(doc, name);
    if (!raw.ptr)
        return;
    tr_json_name(w, name);
    tr_json_value(w, raw);
}

void tr__doc_time(tr_json_writer *w, tr_view doc, const char *name)
{
    int64_t ms = tr_doc_int(doc, name, -1);
    if (ms < 0)
        return;
    tr_json_name(w, name);
    tr_json_sep(w);
    tr_buf_printf(w->out, "%lld.%03d", (long long)(ms / 1000), (int)(ms % 1000));
}

void tr__text_member(tr_json_writer *w, const char *name, tr_view text)
{
    if (text.ptr)
        tr_json_member_string(w, name, text);
}

/* ------------------------------------------------------------------------------------------------- pages */

int tr__page_after(tr_call *c, tr_view token, tr_view *ret_after)
{
    *ret_after = (tr_view){NULL, 0};
    if (!token.len)
        return 0;
    size_t len;
    char *name = tr_arena_alloc(c->arena, TR_BASE64_DECODED_MAX(token.len));
    if (!name)
        return TR_ENOMEM;
    if (tr_base64_decode(token, name, &len))
        return tr__fail(c, 400, "ValidationException", "Parameter NextToken is not valid.");
    *ret_after = tr_view_of(name, len);
    return 0;
}

void tr__page_token(tr_call *c, tr_view last)
{
    tr_json_name(&c->w, "NextToken");
    tr_json_base64(&c->w, last);
}

bool tr__doc_matches(tr_call *c, const tr_res *res, const char *member, tr_view wanted)
{
    return !wanted.ptr || tr_view_eq(wanted, tr_doc_text(res->doc, member, c->arena));
}

int tr__find_res(tr_call *c, tr_res_kind kind, const char *what, tr_view name, tr_res **ret_res)
{
    *ret_res = tr_bus_find(c->api->bus, kind, name);
    return *ret_res ? 0
                    : tr__fail(c, 400, TR_NOT_FOUND_EXCEPTION, "%s %.*s does not exist.", what, TR_FMT(name));
}

static tr_view joined(tr_call *c, tr_view lead, tr_view name)
{
    return tr_view_str(tr_arena_printf(c->arena, "%.*s%.*s", TR_FMT(lead), TR_FMT(name)));
}

static bool is_listed(tr_call *c, const tr_page_request *r, const tr_res *res, tr_view prefix)
{
    return tr_view_starts(res->name, prefix) && tr__doc_matches(c, res, "EventSourceArn", r->source) &&
           tr__doc_matches(c, res, "State", r->state);
}

int tr__list(tr_call *c, const tr_page_request *r, const tr_listing *l)
{
    tr_view after;
    if ((r->prefix.ptr != NULL) + (r->source.ptr != NULL) + (r->state.ptr != NULL) > 1)
        return tr__fail(c, 400, "ValidationException",
                        "At most one filter is allowed for List%s. Use either : State, EventSourceArn, or "
                        "NamePrefix.",
                        l->member);
    int e = tr__page_after(c, r->token, &after);
    if (e)
        return e;
    tr_view from = joined(c, l->lead, after), prefix = joined(c, l->lead, r->prefix);
    if (!from.ptr || !prefix.ptr)
        return TR_ENOMEM;
    int64_t left = r->limit.given ? r->limit.value : TR_PAGE_MAX;
    bool more = false;
    tr_res *res = tr_bus_next(c->api->bus, l->kind, from);
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, l->member);
    tr_json_begin_array(&c->w);
    for (; res && tr_view_starts(res->name, l->lead); res = tr_bus_next(c->api->bus, l->kind, res->name)) {
        if (!is_listed(c, r, res, prefix))
            continue;
        more = left-- == 0;
        if (more)
            break;
        e = l->write(c, res);
        if (e)
            return e;
        after = tr_view_of(res->name.ptr + l->lead.len, res->name.len - l->lead.len);
    }
    tr_json_end_array(&c->w);
    if (more)
        tr__page_token(c, after);
    tr_json_end_object(&c->w);
    return 0;
}

bool tr__is_json_object(tr_call *c, tr_view text)
{
    tr_json_reader r;
    tr_json_init(&r, text, c->arena);
    return tr_json_next(&r) == TR_JSON_OBJECT && tr_json_skip(&r) == 0 && tr_json_next(&r) == TR_JSON_DONE;
}
