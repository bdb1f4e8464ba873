/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_BUCKET_H
#define TAILRACE_API_BUCKET_H

/** bucket.h: a directory that stands for S3: its directories are buckets, and keys are paths below them. */

#include "api/call.h"

/** Bytes of an object that is read as a whole, and of what it holds once inflated. */
#define TR_OBJECT_MAX   ((size_t)512 * 1024 * 1024)
#define TR_INFLATED_MAX ((size_t)1024 * 1024 * 1024)

/** Refuses a server without such a directory, and names that no bucket has. */
int tr__bucket_check(tr_call *call, tr_view bucket);
/** Whether the bucket is there. */
bool tr__bucket_exists(const tr_api *api, tr_view bucket);
/** The path of a key, in the arena. TR_EINVAL: a key that leaves the bucket ("..", a leading '/'). */
int tr__bucket_path(const tr_api *api, tr_view bucket, tr_view key, tr_arena *arena, const char **ret_path);
/** Writes a whole object; makes the directories above it. append: behind what is there. */
int tr__object_write(const char *path, tr_view bytes, bool append, tr_error *err);
int tr__object_read(const char *path, tr_buf *out, tr_error *err);
/** All keys of a bucket that begin with the prefix, sorted; keys are views in the arena. */
int tr__bucket_list(const tr_api *api, tr_view bucket, tr_view prefix, tr_arena *arena, tr_view **ret_keys,
                    uint32_t *ret_count, tr_error *err);

/** Appends a gzip member. */
int tr__gzip_append(tr_view bytes, tr_buf *out);
/** Inflates all members. TR_EPARSE: no gzip; TR_ELIMIT. */
int tr__gzip_read(tr_view bytes, tr_buf *out);

#endif
