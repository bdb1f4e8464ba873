/* SPDX-License-Identifier: MIT */
#include "pack.h"

#include <stdlib.h>

/* One member or element: where it stands, and the name or payload that orders it. */
typedef struct entry {
    uint64_t head; /* the first eight bytes of the key, big-endian, zeros behind a shorter one: settles most
                      orders */
    const char *at;
    uint32_t size;
    uint32_t key_len;
    const char *key;
} entry;

/* Usual items are sorted without touching the heap. */
#define STACK_ENTRIES 32
#define STACK_BYTES   2048

static uint64_t head_of(tr_view key)
{
    if (key.len >= 8)
        return tr_get_be64(key.ptr);
    uint8_t eight[8] = {0};
    if (key.len)
        memcpy(eight, key.ptr, key.len);
    return tr_get_be64(eight);
}

static inline int compare(const entry *a, const entry *b)
{
    if (a->head != b->head)
        return a->head < b->head ? -1 : 1;
    return tr_view_cmp(tr_view_of(a->key, a->key_len), tr_view_of(b->key, b->key_len));
}

static int compare_void(const void *a, const void *b)
{
    return compare(a, b);
}

static void sort(entry *entries, uint32_t count)
{
    if (count > STACK_ENTRIES) {
        qsort(entries, count, sizeof *entries, compare_void);
        return;
    }
    for (uint32_t i = 1; i < count; i++) {
        entry moving = entries[i];
        uint32_t j = i;
        for (; j > 0 && compare(&entries[j - 1], &moving) > 0; j--)
            entries[j] = entries[j - 1];
        entries[j] = moving;
    }
}

static void collect(entry *entries, uint32_t count, const char *at, const char *end, bool map)
{
    for (uint32_t i = 0; i < count; i++) {
        tr_view key = {NULL, 0};
        tr_value value;
        const char *from = at;
        at = tr__get_sized(at, end, &key);
        if (map)
            at = tr__get_value(at, end, &value);
        entries[i] = (entry){.head = head_of(key),
                             .at = from,
                             .size = (uint32_t)(at - from),
                             .key = key.ptr,
                             .key_len = (uint32_t)key.len};
    }
}

static int arrange(entry *entries, uint32_t count, char *from, size_t len, char *scratch, bool map)
{
    collect(entries, count, from, from + len, map);
    sort(entries, count);
    for (uint32_t i = 1; i < count; i++)
        if (compare(&entries[i - 1], &entries[i]) == 0)
            return TR_EEXIST;
    char *to = scratch;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(to, entries[i].at, entries[i].size);
        to += entries[i].size;
    }
    memcpy(from, scratch, len);
    return 0;
}

int tr__pack_sort(tr_buf *out, size_t body, uint32_t count, bool map)
{
    char *from = out->ptr + body;
    size_t len = out->len - body;
    if (count <= STACK_ENTRIES && len <= STACK_BYTES) {
        entry entries[STACK_ENTRIES];
        char scratch[STACK_BYTES];
        return arrange(entries, count, from, len, scratch, map);
    }
    entry *entries = tr_malloc(count * sizeof *entries + len);
    if (!entries)
        return out->status = TR_ENOMEM;
    int e = arrange(entries, count, from, len, (char *)(entries + count), map);
    tr_free(entries);
    return e;
}
