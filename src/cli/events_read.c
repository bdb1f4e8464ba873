/* SPDX-License-Identifier: MIT */
#include "cli/events.h"

#include <stdio.h>

#define PAGE_MAX ((size_t)64 << 20)

/* -------------------------------------------------------------------------------------------------- get */

typedef struct printing {
    tr_error *err;
} printing;

static int print_event(void *ctx, const tr_event *event)
{
    return tr_cli_print_event(event, ((printing *)ctx)->err);
}

int tr_cli_events_get(void *ctx, tr_error *err)
{
    tr_cli_events *c = ctx;
    printing p = {err};
    tr_events_range range = {.min_version = c->min,
                             .max_version = c->max,
                             .limit = c->limit,
                             .order = c->reverse ? TR_ORDER_REVERSE : TR_ORDER_DEFAULT};
    return tr_eventstore_get_wait(c->store, tr_view_str(c->cli->argv[2]), &range, print_event, &p, err);
}

/* ------------------------------------------------------------------------------------------------- list */

static int print_page(const tr_listing *page, bool token, tr_error *err)
{
    tr_buf out;
    tr_json_writer w;
    int e = 0;
    tr_buf_init(&out, PAGE_MAX);
    for (size_t i = 0; !e && i < page->count; i++) {
        tr_buf_reset(&out);
        tr_json_write_init(&w, &out);
        tr_json_begin_object(&w);
        tr_json_member_string(&w, "aggregateId", page->aggregates[i].aggregate_id);
        tr_json_member_string(&w, "initialEventTimestamp", page->aggregates[i].initial_event_timestamp);
        tr_json_end_object(&w);
        e = tr_cli_print_line(&out, err);
    }
    if (!e && token && page->next_page_token.len) {
        tr_buf_reset(&out);
        tr_json_write_init(&w, &out);
        tr_json_begin_object(&w);
        tr_json_member_string(&w, "nextPageToken", page->next_page_token);
        tr_json_end_object(&w);
        e = tr_cli_print_line(&out, err);
    }
    tr_buf_done(&out);
    return e;
}

int tr_cli_events_list(void *ctx, tr_error *err)
{
    tr_cli_events *c = ctx;
    tr_list_options o = {.limit = c->limit,
                         .after = tr_view_str(c->after),
                         .before = tr_view_str(c->before),
                         .order = c->reverse ? TR_ORDER_REVERSE : TR_ORDER_DEFAULT,
                         .page_token = tr_view_str(c->page_token)};
    tr_arena arenas[2]; /* of this page, and of the one before, which holds the token */
    tr_listing page;
    tr_arena_init(&arenas[0], PAGE_MAX);
    tr_arena_init(&arenas[1], PAGE_MAX);
    int e;
    size_t turn = 0;
    do {
        tr_arena_reset(&arenas[turn]);
        e = tr_eventstore_list_wait(c->store, &o, &arenas[turn], &page, err);
        if (!e)
            e = print_page(&page, !c->all, err);
        o.page_token = e ? (tr_view){NULL, 0} : page.next_page_token;
        turn ^= 1;
    } while (!e && c->all && o.page_token.len);
    tr_arena_done(&arenas[0]);
    tr_arena_done(&arenas[1]);
    return e;
}
