/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_BASE_H
#define TAILRACE_BASE_H

/**
 * tailrace/base.h: what every other room stands on.
 *
 * Views, arenas and buffers with limits, error codes, clocks, ids, text encodings. Nothing in here does I/O
 * or starts a thread, and nothing keeps state but the allocator hooks.
 *
 * Conventions of the whole library
 * - A function that can fail returns `int`: 0, or one of the negative TR_E… codes. Functions that talk to a
 *   service or check input take an optional last parameter `tr_error *err` (may be NULL) that is filled on
 *   failure only.
 * - Results are returned through parameters named `ret_…`, which are written on success only.
 * - `…_init`/`…_done` are for objects the caller embeds, `…_new`/`…_free` for objects on the heap. `…_done`
 *   and `…_free` accept NULL and half-made objects.
 * - A tr_view is borrowed: it is valid as long as what it points into, which the function's text names.
 * - Every size has a unit in its name (`timeout_ms`), every buffer a limit.
 * - Objects are not safe to share between threads unless their header says so.
 * - Passing NULL where a pointer is required, or using an object after its `done`, is a programmer's error
 *   and is asserted.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TR_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define TR_LIKELY(x)    __builtin_expect(!!(x), 1)
#define TR_UNLIKELY(x)  __builtin_expect(!!(x), 0)
#else
#define TR_PRINTF(f, a)
#define TR_LIKELY(x)   (x)
#define TR_UNLIKELY(x) (x)
#endif

/** Number of elements of an array. */
#define TR_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ------------------------------------------------------------------------------------------- errors */

/**
 * All error codes: name, value, text, whether repeating the same call later may succeed.
 */
#define TR_ERRORS(X)                                                                                         \
    X(TR_ENOMEM, -1, "out of memory", true)                                                                  \
    X(TR_EINVAL, -2, "invalid argument", false)                                                              \
    X(TR_ELIMIT, -3, "a limit was exceeded", false)                                                          \
    X(TR_EPARSE, -4, "malformed input", false)                                                               \
    X(TR_EIO, -5, "input/output error", true)                                                                \
    X(TR_ENOTFOUND, -6, "not found", false)                                                                  \
    X(TR_EEXIST, -7, "exists already", false)                                                                \
    X(TR_ECONFLICT, -8, "conflict", false)                                                                   \
    X(TR_ESERVICE, -9, "the service refused the request", false)                                             \
    X(TR_ETHROTTLED, -10, "throttled", true)                                                                 \
    X(TR_ETIMEOUT, -11, "timed out", true)                                                                   \
    X(TR_ECONNECT, -12, "cannot connect", true)                                                              \
    X(TR_ECLOSED, -13, "closed", false)                                                                      \
    X(TR_ECANCELED, -14, "canceled", false)                                                                  \
    X(TR_EAUTH, -15, "no valid credentials", false)                                                          \
    X(TR_ECORRUPT, -16, "stored data is damaged", false)                                                     \
    X(TR_EVERSION, -17, "written by a newer version", false)                                                 \
    X(TR_EBUSY, -18, "in use", true)                                                                         \
    X(TR_ETHREAD, -19, "not allowed on this thread", false)                                                  \
    X(TR_ETRIMMED, -20, "the data was trimmed", false)                                                       \
    X(TR_EEXPIRED, -21, "expired", true)                                                                     \
    X(TR_EUNSUPPORTED, -22, "not supported", false)

enum tr_errno {
#define X(name, value, text, retryable) name = (value),
    TR_ERRORS(X)
#undef X
};

/** Text of a code ("unknown error" for a number that is none). Static. */
const char *tr_strerror(int code);
/** Whether repeating the call later may succeed. */
bool tr_retryable(int code);

#define TR_ERROR_TYPE_MAX    96 /* bytes with the final NUL; the longest error type of the services has 48 */
#define TR_ERROR_MESSAGE_MAX 2048 /* bytes with the final NUL; longer messages are cut */

/**
 * What went wrong, in words. Always holds NUL-terminated, valid UTF-8. Where the error came from a service,
 * `type` is the service's error type without its namespace ("ConditionalCheckFailedException"), and
 * http_status its status.
 */
typedef struct tr_error {
    int code;        /**< one of TR_E…, 0 if none */
    int http_status; /**< 0 if no reply was received */
    char type[TR_ERROR_TYPE_MAX];
    char message[TR_ERROR_MESSAGE_MAX];
} tr_error;

/** Sets every member; `err` may be NULL. Returns `code`, so that `return tr_fail(err, TR_EINVAL, "…")` works.
 */
int tr_fail(tr_error *err, int code, const char *format, ...) TR_PRINTF(3, 4);
/** Like tr_fail, with the service's error type and HTTP status. */
int tr_fail_service(tr_error *err, int code, int http_status, const char *type, const char *format, ...)
    TR_PRINTF(5, 6);
#ifdef __clang_analyzer__ /* which does not see that they return the code */
#define tr_fail(err, code, ...)         ((void)(tr_fail)((err), (code), __VA_ARGS__), (code))
#define tr_fail_service(err, code, ...) ((void)(tr_fail_service)((err), (code), __VA_ARGS__), (code))
#endif

/* --------------------------------------------------------------------------------------------- memory */

/**
 * Replaces the allocator. Call before anything else of the library, once; the default is malloc, realloc,
 * free. The functions must be safe from any thread. `realloc(NULL, n)` allocates, `free(NULL)` does nothing.
 */
void tr_set_allocator(void *(*realloc_fn)(void *ptr, size_t size), void (*free_fn)(void *ptr));

/** Uninitialised memory, or NULL. */
void *tr_malloc(size_t size);
/** Zeroed memory for count * size bytes, or NULL (also when the product overflows). */
void *tr_calloc(size_t count, size_t size);
void *tr_realloc(void *ptr, size_t size);
void tr_free(void *ptr);
/** Copy of a NUL-terminated text; NULL for NULL or without memory. Free with tr_free. */
char *tr_strdup(const char *text);

/* ---------------------------------------------------------------------------------------------- views */

/** Borrowed bytes. `ptr` may be NULL if len is 0. Not NUL-terminated. */
typedef struct tr_view {
    const char *ptr;
    size_t len;
} tr_view;

/** View of a string literal. */
#ifdef __cplusplus
#define TR_VIEW(literal) (tr_view{(literal), sizeof(literal) - 1})
#else
#define TR_VIEW(literal) ((tr_view){(literal), sizeof(literal) - 1})
#endif
/** For printf's "%.*s". */
#define TR_FMT(v) (int)(v).len, (v).ptr

static inline tr_view tr_view_of(const void *ptr, size_t len)
{
    tr_view v = {(const char *)ptr, len};
    return v;
}
/** View of a NUL-terminated text (NULL gives an empty view). */
static inline tr_view tr_view_str(const char *text)
{
    tr_view v = {text, text ? strlen(text) : 0};
    return v;
}
static inline bool tr_view_eq(tr_view a, tr_view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
/** Bytewise order, shorter first when one is the other's prefix: <0, 0, >0. */
static inline int tr_view_cmp(tr_view a, tr_view b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}
static inline bool tr_view_starts(tr_view v, tr_view prefix)
{
    return v.len >= prefix.len && (prefix.len == 0 || memcmp(v.ptr, prefix.ptr, prefix.len) == 0);
}
static inline bool tr_view_is(tr_view v, const char *text)
{
    return tr_view_eq(v, tr_view_str(text));
}
/** A named value: of an HTTP request or answer. Borrowed, as views are. */
typedef struct tr_header {
    tr_view name, value;
} tr_header;

/** First position of `needle` at or after `from`, or SIZE_MAX. */
size_t tr_view_find(tr_view v, tr_view needle, size_t from);
/** Decimal digits only, no sign, within [0, max]. TR_EPARSE or TR_ELIMIT. */
int tr_view_to_u64(tr_view v, uint64_t max, uint64_t *ret_number);

/* --------------------------------------------------------------------------------------------- arenas */

/**
 * Memory of one lifetime (a request, a page of records): allocations are never freed one by one, all go with
 * tr_arena_reset or tr_arena_done.
 *
 *   first chunk          later chunks (each twice the one before, at most 1 MiB, or as large as asked)
 *  +--------------+     +----------------------------+
 *  | used  | free | --> | used              |  free  | --> …
 *  +--------------+     +----------------------------+
 */
typedef struct tr_arena {
    struct tr_arena_chunk *first, *last;
    size_t used;  /* bytes handed out since the last reset, with alignment */
    size_t limit; /* bytes */
} tr_arena;

/** Starts empty; nothing is allocated until first used. limit: bytes that may be handed out between resets.
 */
void tr_arena_init(tr_arena *arena, size_t limit);
void tr_arena_done(tr_arena *arena);
/** Forgets all allocations, keeps the first chunk for reuse. */
void tr_arena_reset(tr_arena *arena);
/** size bytes, aligned for any type, uninitialised; NULL without memory or past the limit. size 0 is allowed.
 */
void *tr_arena_alloc(tr_arena *arena, size_t size);
/** Zeroed array of count elements of `size` bytes. */
void *tr_arena_calloc(tr_arena *arena, size_t count, size_t size);
/** Copy of the bytes, with a NUL behind that is not counted. `ptr` is NULL on failure. */
tr_view tr_arena_copy(tr_arena *arena, tr_view bytes);
/** NUL-terminated copy, or NULL. */
char *tr_arena_str(tr_arena *arena, tr_view text);
/** Formatted text, NUL-terminated, or NULL. */
char *tr_arena_printf(tr_arena *arena, const char *format, ...) TR_PRINTF(2, 3);

/* -------------------------------------------------------------------------------------------- buffers */

/**
 * A growing byte buffer with a limit. Errors are sticky: once an append failed, later ones do nothing and
 * tr_buf_status tells the code, so that a writer may append a whole document and check once.
 */
typedef struct tr_buf {
    char *ptr;
    size_t len, cap;
    size_t limit; /* bytes that len may reach */
    int status;   /* 0, TR_ENOMEM or TR_ELIMIT */
} tr_buf;

void tr_buf_init(tr_buf *buf, size_t limit);
void tr_buf_done(tr_buf *buf);
/** Empties the buffer and clears its status; keeps the memory. */
static inline void tr_buf_reset(tr_buf *buf)
{
    buf->len = 0;
    buf->status = 0;
}
static inline int tr_buf_status(const tr_buf *buf)
{
    return buf->status;
}
static inline tr_view tr_buf_view(const tr_buf *buf)
{
    return tr_view_of(buf->ptr, buf->len);
}
/** Makes room for `extra` more bytes behind len. Returns 0 or the sticky error. */
int tr_buf_reserve(tr_buf *buf, size_t extra);
void tr_buf_put_slow(tr_buf *buf, const void *bytes, size_t len);
static inline void tr_buf_put(tr_buf *buf, const void *bytes, size_t len)
{
    if (TR_LIKELY(len <= buf->cap - buf->len && buf->status == 0)) {
        if (len) {
            memcpy(buf->ptr + buf->len, bytes, len);
            buf->len += len;
        }
        return;
    }
    tr_buf_put_slow(buf, bytes, len);
}
static inline void tr_buf_put_view(tr_buf *buf, tr_view v)
{
    tr_buf_put(buf, v.ptr, v.len);
}
static inline void tr_buf_put_str(tr_buf *buf, const char *text)
{
    tr_buf_put(buf, text, strlen(text));
}
static inline void tr_buf_putc(tr_buf *buf, char c)
{
    tr_buf_put(buf, &c, 1);
}
void tr_buf_printf(tr_buf *buf, const char *format, ...) TR_PRINTF(2, 3);
/** Decimal digits of a number. */
void tr_buf_put_u64(tr_buf *buf, uint64_t number);
/** A NUL behind the text (not counted), so that ptr is a C string. Returns NULL if the buffer failed. */
const char *tr_buf_cstr(tr_buf *buf);

/* Big-endian integers, for keys that sort bytewise. */
static inline void tr_put_be16(void *at, uint16_t x)
{
    uint8_t *p = (uint8_t *)at;
    p[0] = (uint8_t)(x >> 8);
    p[1] = (uint8_t)x;
}
static inline void tr_put_be32(void *at, uint32_t x)
{
    uint8_t *p = (uint8_t *)at;
    p[0] = (uint8_t)(x >> 24);
    p[1] = (uint8_t)(x >> 16);
    p[2] = (uint8_t)(x >> 8);
    p[3] = (uint8_t)x;
}
static inline void tr_put_be64(void *at, uint64_t x)
{
    tr_put_be32(at, (uint32_t)(x >> 32));
    tr_put_be32((uint8_t *)at + 4, (uint32_t)x);
}
static inline uint16_t tr_get_be16(const void *at)
{
    const uint8_t *p = (const uint8_t *)at;
    return (uint16_t)((p[0] << 8) | p[1]);
}
static inline uint32_t tr_get_be32(const void *at)
{
    const uint8_t *p = (const uint8_t *)at;
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | (uint32_t)p[3];
}
static inline uint64_t tr_get_be64(const void *at)
{
    return ((uint64_t)tr_get_be32(at) << 32) | tr_get_be32((const uint8_t *)at + 4);
}

/* Variable-length integers (LEB128, least significant group first), at most 10 bytes. */
#define TR_VARINT_MAX 10
/** Writes at `at` (room for TR_VARINT_MAX), returns the bytes written. */
size_t tr_varint_put(void *at, uint64_t x);
/** Bytes read from v, or 0 if v ends within the number or it is longer than 10 bytes. */
size_t tr_varint_get(tr_view v, uint64_t *ret_number);

/* ---------------------------------------------------------------------------------------------- clock */

/** Wall clock, milliseconds since 1970 in UTC. */
int64_t tr_clock_wall_ms(void);
/** Monotonic clock, for durations. */
int64_t tr_clock_mono_ns(void);
static inline int64_t tr_clock_mono_ms(void)
{
    return tr_clock_mono_ns() / 1000000;
}

#define TR_TIME_TEXT_MAX 32
/** "2026-01-31T23:59:59.123Z" (with_ms) or "2026-01-31T23:59:59Z"; `out` has room for TR_TIME_TEXT_MAX. */
void tr_time_format(int64_t ms, bool with_ms, char *out);
/**
 * RFC 3339 date and time with a zone ("Z" or an offset): "2026-01-31T23:59:59.5+02:00". Fractions beyond
 * milliseconds are cut. TR_EPARSE if it is not one, or its date does not exist.
 */
int tr_time_parse(tr_view text, int64_t *ret_ms);
/** "500ms", "90s", "15m", "4h", "7d": a whole number and a unit. TR_EPARSE, TR_ELIMIT past 100 years. */
int tr_duration_parse(tr_view text, int64_t *ret_ms);

/* ------------------------------------------------------------------------------------- ids and numbers */

/** Unpredictable bytes from the kernel. Never fails. */
void tr_random_bytes(void *out, size_t len);
#define TR_UUID_LEN 36
/** Random UUID (version 4) in lower case, with the final NUL: out has room for TR_UUID_LEN + 1. */
void tr_uuid(char *out);

/** A small repeatable generator (xoshiro256**), for jitter, simulations and tests; not for secrets. */
typedef struct tr_rng {
    uint64_t s[4];
} tr_rng;
void tr_rng_seed(tr_rng *rng, uint64_t seed);
uint64_t tr_rng_next(tr_rng *rng);
/** Even distribution in [0, bound); bound > 0. */
uint64_t tr_rng_below(tr_rng *rng, uint64_t bound);

/**
 * Delay before retry number `attempt` (0 is the first): even in [0, min(cap_ms, base_ms << attempt)], the
 * "full jitter" of the AWS Architecture Blog.
 */
int64_t tr_backoff_ms(tr_rng *rng, unsigned attempt, int64_t base_ms, int64_t cap_ms);

/* -------------------------------------------------------------------------------------------- encodings */

/** Standard alphabet with padding (RFC 4648, section 4). */
void tr_base64_put(tr_buf *buf, tr_view bytes);
/** Bytes that a text of text_len characters decodes to, at most. */
#define TR_BASE64_DECODED_MAX(text_len) ((text_len) / 4 * 3 + 3)
/** Strict: padding required, no white space, unused bits zero. `out` has room for TR_BASE64_DECODED_MAX, or
 * for what a text of its length with its padding decodes to: no more is written. */
int tr_base64_decode(tr_view text, void *out, size_t *ret_len);
/** Lower-case hexadecimal. */
void tr_hex_put(tr_buf *buf, tr_view bytes);
/** CRC-32 as in zlib. */
uint32_t tr_crc32(uint32_t crc, tr_view bytes);
/** Whether the bytes are valid UTF-8 (no surrogates, no overlong forms, at most U+10FFFF). */
bool tr_utf8_valid(tr_view bytes);
/** The beginning of a text, at most `max` bytes, with no part of a character at its end. */
tr_view tr_utf8_cut(tr_view text, size_t max);
/** Makes any bytes valid UTF-8, in place: each that is no part of a character becomes '?'. */
void tr_utf8_mend(char *bytes, size_t len);
/** Percent-encodes all but A-Z a-z 0-9 - . _ ~ (RFC 3986), and '/' if keep_slash. */
void tr_percent_put(tr_buf *buf, tr_view bytes, bool keep_slash);

/* ------------------------------------------------------------------------------------------------- logs */

typedef enum tr_log_level { TR_LOG_DEBUG, TR_LOG_INFO, TR_LOG_WARN, TR_LOG_ERROR } tr_log_level;
/**
 * The library never writes to stderr; what may interest an operator goes to this callback, if given.
 * `message` is NUL-terminated and valid during the call, which may come from any of the object's threads.
 */
typedef void tr_log_fn(void *ctx, tr_log_level level, const char *message);
typedef struct tr_logger {
    tr_log_fn *fn; /**< may be NULL */
    void *ctx;
} tr_logger;
void tr_log(const tr_logger *logger, tr_log_level level, const char *format, ...) TR_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif
#endif
