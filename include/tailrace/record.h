/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_RECORD_H
#define TAILRACE_RECORD_H

/**
 * tailrace/record.h: one change record of a DynamoDB stream.
 *
 * What a stream consumer is handed (tailrace/stream.h), and what can be done with it: read it from the
 * service's JSON, write it back as the service's JSON or as plain JSON, and ask which paths of the item
 * changed.
 */

#include <tailrace/base.h>
#include <tailrace/item.h>
#include <tailrace/json.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_record_event { TR_INSERT = 1, TR_MODIFY = 2, TR_REMOVE = 3 } tr_record_event;
/** "INSERT", "MODIFY", "REMOVE". Static. */
const char *tr_record_event_name(tr_record_event event);

typedef enum tr_view_type {
    TR_VIEW_NONE = 0, /**< not told; of a table: no stream */
    TR_KEYS_ONLY,
    TR_NEW_IMAGE,
    TR_OLD_IMAGE,
    TR_NEW_AND_OLD_IMAGES
} tr_view_type;
/** "KEYS_ONLY", …; "" for TR_VIEW_NONE. Static. */
const char *tr_view_type_name(tr_view_type type);

/** Digits of a sequence number (API Reference, StreamRecord.SequenceNumber: 21 to 40). Shorter ones are
 * accepted. */
#define TR_SEQUENCE_MAX 40
/** Characters of a shard id (API Reference, Shard.ShardId: 28 to 65). */
#define TR_SHARD_ID_MAX 65
/** Characters of a stream's ARN (API Reference: 37 to 1,024). */
#define TR_STREAM_ARN_MAX 1024

/**
 * Order of two sequence numbers as numbers, whatever their length and leading zeros: <0, 0, >0. Both consist
 * of digits. Sequence numbers order the records of one shard; on tailrace's own engine, of the whole stream
 * (commit order).
 */
int tr_sequence_cmp(tr_view a, tr_view b);
/** 1 to TR_SEQUENCE_MAX decimal digits. */
bool tr_sequence_valid(tr_view text);

/**
 * A change. All views are borrowed: from the page of records they came in, or the arena given to
 * tr_record_from_json.
 */
typedef struct tr_record {
    tr_record_event event;
    bool expired;          /**< removed by Time to Live: userIdentity is the Service dynamodb.amazonaws.com */
    bool has_new, has_old; /**< whether the image is there: depends on event and the stream's view type */
    tr_view_type view_type;
    tr_item keys;            /**< packed: partition key, and sort key if the table has one */
    tr_item new_image;       /**< packed: the item after the change; empty unless has_new */
    tr_item old_image;       /**< packed: the item before it; empty unless has_old */
    tr_view sequence_number; /**< digits */
    tr_view shard_id;        /**< of the shard it was read from; empty for tr_record_from_json */
    tr_view event_id;
    tr_view region;  /**< awsRegion */
    int64_t time_ms; /**< ApproximateCreationDateTime in milliseconds since 1970; the service rounds down to
                          the second (DynamoDB Local: to the minute) */
    uint64_t size_bytes; /**< as the service counts it */
    tr_view user_type,
        user_principal; /**< userIdentity, empty where absent; lower-case member names are accepted */
    tr_view raw;        /**< the service's JSON, byte for byte; empty unless the reader was told to keep it */
} tr_record;

/** Bytes of a record's JSON that are accepted: an item is at most 400 KB, its images as JSON at most about
 * six times that (every byte a \u00xx escape), and there are two. */
#define TR_RECORD_JSON_MAX (6 * 1024 * 1024)

/**
 * Reads one record of GetRecords' answer (or of a Lambda event). Unknown members are ignored. Everything
 * ret_record points to lives in the arena, `raw` included. TR_EPARSE: no record (what is missing is told),
 * TR_ELIMIT, TR_ENOMEM.
 */
int tr_record_from_json(tr_view json, tr_arena *arena, tr_record *ret_record, tr_error *err);
/** Writes the record in the service's form: `raw` where it was kept, else rebuilt with the service's order of
 * members. */
void tr_record_write(tr_json_writer *writer, const tr_record *record);
/**
 * Writes {"event":"insert","keys":{…},"new":{…},"old":{…},"sequence_number":"…","shard":"…","time":<epoch
 * seconds>, "expired":false} with plain (unmarshalled) items; absent images left out.
 */
void tr_record_write_plain(tr_json_writer *writer, const tr_record *record);

/* -------------------------------------------------------------------------------------- what has changed */

/** One changed place of an item. A missing side has type TR_NONE. */
typedef struct tr_change {
    tr_view path; /**< as a document path: "address.lines[2]"; names that are no plain words in quotes: ."a.b"
                     with \" and
                       \\ for the two characters; valid during the call */
    tr_value old_value, new_value;
} tr_change;
/** Return false to stop. */
typedef bool tr_change_fn(void *ctx, const tr_change *change);

/**
 * Calls fn for every place in which two items differ, in packed order of names. Maps are entered member by
 * member and lists of one length element by element; lists of different length, sets, and values of different
 * types are reported whole. Either item may be empty. 0, or TR_ENOMEM, TR_ELIMIT (paths longer than 64 KiB).
 */
int tr_item_diff(tr_item old_item, tr_item new_item, tr_change_fn *fn, void *ctx);
/** The changes of a record as [{"path":"…","old":…,"new":…},…] in plain JSON; absent sides left out. */
int tr_record_write_diff(tr_json_writer *writer, const tr_record *record);

#ifdef __cplusplus
}
#endif
#endif
