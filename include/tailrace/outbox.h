/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_OUTBOX_H
#define TAILRACE_OUTBOX_H

/**
 * tailrace/outbox.h: publishing a table's events on an EventBridge bus, in castore's messages.
 *
 * What is published is what stands in the table: a subscription (tailrace/subscription.h) brings every event
 * that was pushed, and is told that an event is done once the bus has taken it. There is no moment in which
 * an event is in the table and will not be published: a process that is killed anywhere publishes what is
 * missing when it is started again, and may publish its last batch twice.
 *
 *     tr_publisher_new(bus_client, &(tr_publisher_options){.bus = "bank"}, &publisher, &err);
 *     tr_outbox_options o = {.publisher = publisher, .kind = TR_MESSAGE_NOTIFICATION};
 *     tr_outbox_new(client, &o, &outbox, &err);
 *     tr_outbox_run(outbox, subscription, &err);
 *
 * The messages, as castore's EventBridge adapter publishes them: Source is the event store's id, DetailType
 * the event's type, Detail
 *
 *   TR_MESSAGE_NOTIFICATION      {"eventStoreId":…,"event":{…}}
 *   TR_MESSAGE_STATE_CARRYING    {"eventStoreId":…,"event":{…},"aggregate":{…}}       as of the event's
 * version TR_MESSAGE_AGGREGATE_EXISTS  {"eventStoreId":…,"aggregateId":…,"initialEventTimestamp":…} of first
 * events only; DetailType is "__AGGREGATE_EXISTS__"
 *
 * With `replay` the DetailType of the first two is "__REPLAYED__". Messages of an aggregate keep their order.
 *
 * Threads: what publishes blocks, on one thread at a time; tr_outbox_stop may be called from any.
 */

#include <tailrace/aggregate.h>
#include <tailrace/publish.h>
#include <tailrace/subscription.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TR_DETAIL_TYPE_REPLAYED         "__REPLAYED__"
#define TR_DETAIL_TYPE_AGGREGATE_EXISTS "__AGGREGATE_EXISTS__"

typedef enum tr_message_kind {
    TR_MESSAGE_NOTIFICATION = 0,
    TR_MESSAGE_STATE_CARRYING,
    TR_MESSAGE_AGGREGATE_EXISTS
} tr_message_kind;
/** "notification", "state-carrying", "aggregate-exists". Static. */
const char *tr_message_kind_name(tr_message_kind kind);

/**
 * Writes a message. aggregate: of STATE_CARRYING; may be NULL else. Its state is what its reducer's `save`
 * writes, with aggregateId and version. TR_EINVAL: the reducer cannot save; or what save returned.
 */
int tr_message_write(tr_json_writer *writer, tr_message_kind kind, tr_view store_id, const tr_event *event,
                     const tr_aggregate *aggregate, const tr_event_format *format, tr_error *err);

/** Zero-initialise, set what you need. Pointers are borrowed, and must outlive the outbox. */
typedef struct tr_outbox_options {
    tr_publisher
        *publisher; /**< Required. What it gives up and its on_failure has not taken ends publishing. */
    tr_message_kind kind;
    bool replay;
    const char *table; /**< for STATE_CARRYING: where aggregates are read; as in tr_event_selection */
    tr_event_layout layout;
    const tr_reducer *reducer; /**< for STATE_CARRYING: required, with `save` */
    tr_snapshots *snapshots;   /**< Optional, for STATE_CARRYING. */
    tr_event_format format;
    tr_logger logger;
} tr_outbox_options;

typedef struct tr_outbox tr_outbox;

/** client: of the table, for STATE_CARRYING. TR_EINVAL, TR_ENOMEM. */
int tr_outbox_new(tr_client *client, const tr_outbox_options *options, tr_outbox **ret_outbox, tr_error *err);
/** NULL is fine. */
void tr_outbox_free(tr_outbox *outbox);
/**
 * Publishes events and waits until the bus has taken them. *ret_done: how many, from the first, are done. Can
 * be given to tr_pour_options.put. TR_ECLOSED after tr_outbox_stop; else why the event behind them was given
 * up.
 */
int tr_outbox_publish(tr_outbox *outbox, const tr_subscribed *events, size_t count, size_t *ret_done,
                      tr_error *err);
/** Publishes what the subscription brings, until it ends (0: by tr_outbox_stop, tr_subscription_stop or
 * `once`). */
int tr_outbox_run(tr_outbox *outbox, tr_subscription *subscription, tr_error *err);
/** Ends tr_outbox_run and tr_outbox_publish, now and later: what is being published is not waited for. */
void tr_outbox_stop(tr_outbox *outbox);

#ifdef __cplusplus
}
#endif
#endif
