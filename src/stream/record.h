/* SPDX-License-Identifier: MIT */
#ifndef TR_STREAM_RECORD_H
#define TR_STREAM_RECORD_H

#include <tailrace/record.h>

/* A record while it is being read: its bytes are in a growing buffer, so places are kept as offsets. */
typedef enum tr__part {
    TR__PART_KEYS,
    TR__PART_NEW,
    TR__PART_OLD,
    TR__PART_SEQUENCE,
    TR__PART_EVENT_ID,
    TR__PART_REGION,
    TR__PART_USER_TYPE,
    TR__PART_PRINCIPAL,
    TR__PART_RAW,
    TR__PART_COUNT
} tr__part;

typedef struct tr__span {
    size_t at, len;
} tr__span;

typedef struct tr__parts {
    tr__span span[TR__PART_COUNT];
    int64_t time_ms;
    uint64_t size_bytes;
    uint16_t present; /* a bit per item that was there */
    uint8_t event, view_type;
} tr__parts;

/** Reads a record whose TR_JSON_OBJECT was just read; appends its bytes to data. RAW is left empty. */
int tr__record_read(tr_json_reader *reader, tr__parts *parts, tr_buf *data, tr_error *err);
/** The record with its bytes at base. */
void tr__record_make(const tr__parts *parts, const char *base, tr_record *ret_record);

#endif
