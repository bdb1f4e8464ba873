/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_EVENTS_H
#define TAILRACE_API_EVENTS_H

/** events.h: what the operations of EventBridge and SQS share. */

#include "api/call.h"
#include "bus/bus.h"

#define TR_NOT_FOUND_EXCEPTION "ResourceNotFoundException"
#define TR_EXISTS_EXCEPTION    "ResourceAlreadyExistsException"
#define TR_LIMIT_EXCEPTION     "LimitExceededException"
#define TR_PAGE_MAX            100

/* Members that many operations have. */
#define TR_E_NAME(type, field, name, most)                                                                   \
    TR_MEMBER(type, field, name, TR_K_STRING,                                                                \
              .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX | TR_R_EVENTS_NAME, .min = 1, .max = (most))
#define TR_E_PREFIX(type, field, most)                                                                       \
    TR_MEMBER(type, field, "NamePrefix", TR_K_STRING, .rules = TR_R_MIN | TR_R_MAX | TR_R_BUS_NAME,          \
              .min = 1, .max = (most))
#define TR_E_BUS(type, field)                                                                                \
    TR_MEMBER(type, field, "EventBusName", TR_K_STRING, .rules = TR_R_MIN | TR_R_MAX | TR_R_BUS_ARN,         \
              .min = 1, .max = 1600)
#define TR_E_ARN(type, field, name)                                                                          \
    TR_MEMBER(type, field, name, TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX, .min = 1,        \
              .max = 1600)
#define TR_E_TEXT(type, field, name, most)                                                                   \
    TR_MEMBER(type, field, name, TR_K_STRING, .rules = TR_R_MAX, .max = (most))
#define TR_E_TOKEN(type, field)                                                                              \
    TR_MEMBER(type, field, "NextToken", TR_K_STRING, .rules = TR_R_MIN | TR_R_MAX, .min = 1, .max = 2048)
#define TR_E_LIMIT(type, field)                                                                              \
    TR_MEMBER(type, field, "Limit", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX, .min = 1, .max = TR_PAGE_MAX)
/* What ListArchives and ListReplays take, members of a tr_page_request. */
#define TR_E_LIST(most, states)                                                                              \
    TR_E_PREFIX(tr_page_request, prefix, most),                                                              \
        TR_MEMBER(tr_page_request, source, "EventSourceArn", TR_K_STRING, .rules = TR_R_MIN | TR_R_MAX,      \
                  .min = 1, .max = 1600),                                                                    \
        TR_MEMBER(tr_page_request, state, "State", TR_K_STRING, .values = (states)),                         \
        TR_E_TOKEN(tr_page_request, token), TR_E_LIMIT(tr_page_request, limit)

/** ListX, DescribeX, DeleteX of a name. */
typedef struct tr_page_request {
    tr_view prefix, bus, token, target, rule, source, state;
    tr_int limit;
} tr_page_request;

/** What bus.h refused. */
int tr__fail_bus(tr_call *call, int code, const tr_error *err);
/** The name of a bus given by name, ARN, or not at all (default). */
tr_view tr__bus_name(tr_view name_or_arn);
/** ResourceNotFoundException: Event bus X does not exist. */
int tr__find_bus(tr_call *call, tr_view name_or_arn, tr_res **ret_bus);
/** BUS|RULE in the arena; NULL without memory. */
const char *tr__rule_key(tr_call *call, tr_view bus, tr_view rule);
int tr__find_rule(tr_call *call, tr_view bus_name_or_arn, tr_view rule, tr_res **ret_rule);
/** A buffer in which a document is made; done with the call's memory by tr_buf_done. */
void tr__doc_begin(tr_json_writer *writer, tr_buf *doc);
/** Puts the document and frees the buffer. */
int tr__doc_put(tr_call *call, tr_res_kind kind, tr_view name, tr_buf *doc);
/** The same for a document that leaves what is parsed as it is. */
int tr__doc_update(tr_call *call, tr_res *res, tr_buf *doc);
/** Writes the member of the document if it has it. */
void tr__doc_member(tr_json_writer *writer, tr_view doc, const char *name);
/** "name": milliseconds of the document as seconds with a fraction. */
void tr__doc_time(tr_json_writer *writer, tr_view doc, const char *name);
/** "name":"text" if there is one. */
void tr__text_member(tr_json_writer *writer, const char *name, tr_view text);
/** A list's token: its last name. Empty `after` for none; ValidationException if it is not one of ours. */
int tr__page_after(tr_call *call, tr_view token, tr_view *ret_after);
void tr__page_token(tr_call *call, tr_view last);
/** How the resources of a kind are listed. */
typedef struct tr_listing {
    tr_res_kind kind;
    const char *member; /**< of the answer: "Archives" */
    tr_view lead;       /**< what their names begin with and the caller does not see: "BUS|" */
    int (*write)(tr_call *call, tr_res *res); /**< an object, as the list has it */
} tr_listing;
/** Answers a List operation: a page of those that the request's prefix, source or state selects; of these a
 * request has one at most, or the answer is a ValidationException. */
int tr__list(tr_call *call, const tr_page_request *request, const tr_listing *listing);
/** Whether the document's text member is what the request asks for (ptr NULL: anything). */
bool tr__doc_matches(tr_call *call, const tr_res *res, const char *member, tr_view wanted);
/** A resource by its name, or ResourceNotFoundException: WHAT name does not exist. */
int tr__find_res(tr_call *call, tr_res_kind kind, const char *what, tr_view name, tr_res **ret_res);
/** A queue by its URL or name. */
int tr__find_queue(tr_call *call, tr_view url, tr_res **ret_queue);
/** A number among a queue's attributes, or its default. */
int64_t tr__queue_setting(tr_call *call, const tr_res *queue, const char *name);
bool tr__is_json_object(tr_call *call, tr_view text);

#define TR_HANDLER(name)                                                                                     \
    extern const tr_shape tr__shape_##name;                                                                  \
    tr_handler tr__op_##name
TR_HANDLER(put_events);
TR_HANDLER(test_pattern);
TR_HANDLER(create_bus);
TR_HANDLER(describe_bus);
TR_HANDLER(update_bus);
TR_HANDLER(list_buses);
TR_HANDLER(delete_bus);
TR_HANDLER(put_rule);
TR_HANDLER(describe_rule);
TR_HANDLER(list_rules);
TR_HANDLER(delete_rule);
TR_HANDLER(enable_rule);
TR_HANDLER(disable_rule);
TR_HANDLER(put_targets);
TR_HANDLER(list_targets);
TR_HANDLER(remove_targets);
TR_HANDLER(rules_by_target);
TR_HANDLER(bus_tag);
TR_HANDLER(bus_untag);
TR_HANDLER(bus_list_tags);
TR_HANDLER(create_archive);
TR_HANDLER(update_archive);
TR_HANDLER(describe_archive);
TR_HANDLER(list_archives);
TR_HANDLER(delete_archive);
TR_HANDLER(query_archive);
TR_HANDLER(import_archive);
TR_HANDLER(prune_archive);
TR_HANDLER(start_replay);
TR_HANDLER(describe_replay);
TR_HANDLER(list_replays);
TR_HANDLER(cancel_replay);
TR_HANDLER(create_queue);
TR_HANDLER(queue_url);
TR_HANDLER(queue_attributes);
TR_HANDLER(set_queue_attributes);
TR_HANDLER(list_queues);
TR_HANDLER(delete_queue);
TR_HANDLER(purge_queue);
TR_HANDLER(send_message);
TR_HANDLER(send_batch);
TR_HANDLER(receive_message);
TR_HANDLER(delete_message);
TR_HANDLER(delete_batch);
TR_HANDLER(change_visibility);
#undef TR_HANDLER

#endif
