/* SPDX-License-Identifier: MIT */
#include <tailrace/base.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static void *(*realloc_hook)(void *, size_t) = realloc;
static void (*free_hook)(void *) = free;

void tr_set_allocator(void *(*realloc_fn)(void *, size_t), void (*free_fn)(void *))
{
    realloc_hook = realloc_fn;
    free_hook = free_fn;
}

void *tr_malloc(size_t size)
{
    return realloc_hook(NULL, size ? size : 1);
}

void *tr_calloc(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *ptr = tr_malloc(total);
    if (ptr)
        memset(ptr, 0, total);
    return ptr;
}

void *tr_realloc(void *ptr, size_t size)
{
    return realloc_hook(ptr, size ? size : 1);
}

void tr_free(void *ptr)
{
    if (ptr)
        free_hook(ptr);
}

char *tr_strdup(const char *text)
{
    if (!text)
        return NULL;
    size_t size = strlen(text) + 1;
    char *copy = tr_malloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

/* --------------------------------------------------------------------------------------------- arenas */

#define ARENA_ALIGN       16
#define ARENA_FIRST_CHUNK 4096
#define ARENA_MAX_CHUNK   (1024 * 1024)

struct tr_arena_chunk {
    struct tr_arena_chunk *next;
    size_t size, used; /* of data */
    _Alignas(ARENA_ALIGN) char data[];
};

void tr_arena_init(tr_arena *arena, size_t limit)
{
    *arena = (tr_arena){.limit = limit};
}

static void free_chunks(struct tr_arena_chunk *chunk)
{
    while (chunk) {
        struct tr_arena_chunk *next = chunk->next;
        tr_free(chunk);
        chunk = next;
    }
}

void tr_arena_done(tr_arena *arena)
{
    if (!arena)
        return;
    free_chunks(arena->first);
    *arena = (tr_arena){.limit = arena->limit};
}

void tr_arena_reset(tr_arena *arena)
{
    if (arena->first) {
        free_chunks(arena->first->next);
        arena->first->next = NULL;
        arena->first->used = 0;
        arena->last = arena->first;
    }
    arena->used = 0;
}

static struct tr_arena_chunk *add_chunk(tr_arena *arena, size_t size)
{
    size_t want = ARENA_FIRST_CHUNK - sizeof(struct tr_arena_chunk);
    if (arena->last)
        want = arena->last->size < ARENA_MAX_CHUNK / 2 ? arena->last->size * 2 : ARENA_MAX_CHUNK;
    if (want < size)
        want = size;
    struct tr_arena_chunk *chunk = tr_malloc(sizeof *chunk + want);
    if (!chunk)
        return NULL;
    *chunk = (struct tr_arena_chunk){.size = want};
    if (arena->last)
        arena->last->next = chunk;
    else
        arena->first = chunk;
    arena->last = chunk;
    return chunk;
}

void *tr_arena_alloc(tr_arena *arena, size_t size)
{
    if (size > arena->limit || arena->limit - size < arena->used)
        return NULL;
    size_t aligned = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    struct tr_arena_chunk *chunk = arena->last;
    if (!chunk || chunk->size - chunk->used < aligned) {
        chunk = add_chunk(arena, aligned);
        if (!chunk)
            return NULL;
    }
    void *ptr = chunk->data + chunk->used;
    chunk->used += aligned;
    arena->used += aligned;
    return ptr;
}

void *tr_arena_calloc(tr_arena *arena, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *ptr = tr_arena_alloc(arena, total);
    if (ptr)
        memset(ptr, 0, total);
    return ptr;
}

tr_view tr_arena_copy(tr_arena *arena, tr_view bytes)
{
    char *copy = tr_arena_alloc(arena, bytes.len + 1);
    if (!copy)
        return (tr_view){NULL, 0};
    if (bytes.len)
        memcpy(copy, bytes.ptr, bytes.len);
    copy[bytes.len] = 0;
    return tr_view_of(copy, bytes.len);
}

char *tr_arena_str(tr_arena *arena, tr_view text)
{
    return (char *)(uintptr_t)tr_arena_copy(arena, text).ptr;
}

char *tr_arena_printf(tr_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0)
        return NULL;
    char *text = tr_arena_alloc(arena, (size_t)len + 1);
    if (!text)
        return NULL;
    va_start(args, format);
    (void)vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}

/* -------------------------------------------------------------------------------------------- buffers */

void tr_buf_init(tr_buf *buf, size_t limit)
{
    *buf = (tr_buf){.limit = limit};
}

void tr_buf_done(tr_buf *buf)
{
    if (!buf)
        return;
    tr_free(buf->ptr);
    *buf = (tr_buf){.limit = buf->limit};
}

int tr_buf_reserve(tr_buf *buf, size_t extra)
{
    if (buf->status)
        return buf->status;
    if (extra <= buf->cap - buf->len)
        return 0;
    if (extra > buf->limit || buf->limit - extra < buf->len)
        return buf->status = TR_ELIMIT;
    size_t need = buf->len + extra;
    size_t cap = buf->cap ? buf->cap : 256;
    while (cap < need)
        cap += cap / 2 + 64;
    if (cap > buf->limit)
        cap = buf->limit; /* not just `need`: then every further byte would move the whole buffer */
    char *ptr = tr_realloc(buf->ptr, cap);
    if (!ptr)
        return buf->status = TR_ENOMEM;
    buf->ptr = ptr;
    buf->cap = cap;
    return 0;
}

void tr_buf_put_slow(tr_buf *buf, const void *bytes, size_t len)
{
    if (tr_buf_reserve(buf, len) || len == 0)
        return;
    memcpy(buf->ptr + buf->len, bytes, len);
    buf->len += len;
}

void tr_buf_printf(tr_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    assert(len >= 0);
    if (tr_buf_reserve(buf, (size_t)len + 1))
        return;
    va_start(args, format);
    (void)vsnprintf(buf->ptr + buf->len, (size_t)len + 1, format, args);
    va_end(args);
    buf->len += (size_t)len;
}

void tr_buf_put_u64(tr_buf *buf, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    tr_buf_put(buf, digits + at, sizeof digits - at);
}

const char *tr_buf_cstr(tr_buf *buf)
{
    if (tr_buf_reserve(buf, 1))
        return NULL;
    buf->ptr[buf->len] = 0;
    return buf->ptr;
}
