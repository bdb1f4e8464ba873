/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_EXPORT_H
#define TAILRACE_API_EXPORT_H

/** export.h: an export's description and its files. Internal to export.c and export_files.c. */

#include "api/bucket.h"
#include "api/kept.h"
#include "api/source.h"

#include <openssl/evp.h>

/** What is told of an export. Texts live in the arena of the job. */
typedef struct tr_export {
    tr_view arn, table_arn, bucket, prefix, owner, sse, sse_key, token;
    char table_id[TR_UUID_LEN + 1];
    const char *id, *manifest; /* key of manifest-summary.json */
    bool incremental;
    int64_t time_ms, from_ms, to_ms; /* ExportTime; of an incremental one */
    int64_t start_ms, end_ms;        /* end 0: it is under way */
    const char *failure_code;
    char failure[512];
    uint64_t items, bytes;
} tr_export;

/** Writes ExportDescription. */
void tr__export_write(tr_json_writer *writer, const tr_export *export);

/**
 * The files, below PREFIX/AWSDynamoDB/ID/ as the service lays them out:
 *
 *   _started  manifest-files.json  manifest-summary.json  (and .md5 of both)  data/RANDOM.json.gz
 *
 * An incremental export's data lie in PREFIX/AWSDynamoDB/data/. A data file is made of gzip members of some
 * ten KiB of lines each, so that compressing one holds nobody up. RANDOM follows from ID and the file's
 * number: an export that is done again, since the server was killed, writes the same files again.
 */
typedef struct tr_export_files {
    tr_api *api;
    const tr_export *export;
    tr_arena *arena;
    tr_buf lines;           /* not yet written */
    tr_buf member;          /* compressed */
    tr_buf manifest;        /* manifest-files.json so far */
    const char *path, *key; /* of the data file; NULL: none */
    EVP_MD_CTX *md5;
    uint64_t file_items, file_bytes;
    unsigned file_count;
} tr_export_files;
int tr__export_files_init(tr_export_files *files, tr_api *api, const tr_export *export, tr_arena *arena,
                          tr_error *err);
void tr__export_files_done(tr_export_files *files);
/** A writer of one more line; tr__export_line_end when it is complete. */
void tr__export_line_begin(tr_export_files *files, tr_json_writer *ret_writer);
int tr__export_line_end(tr_export_files *files, tr_error *err);
/** The last member and the manifests. */
int tr__export_files_finish(tr_export_files *files, tr_error *err);

#endif
