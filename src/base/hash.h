/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_BASE_HASH_H
#define TAILRACE_BASE_HASH_H

/**
 * base/hash.h: uthash on our allocator. As it comes, uthash ends the process when memory runs out; here an
 * element that could not be added is not in the table, and its hh.tbl is NULL. (uthash_nonfatal_oom may be
 * defined before.)
 */

#include <tailrace/base.h>

#define HASH_NONFATAL_OOM      1
#define uthash_malloc(size)    tr_malloc(size)
#define uthash_free(ptr, size) tr_free(ptr)
#include <uthash.h>

#endif
