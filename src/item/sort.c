/* SPDX-License-Identifier: MIT */
#include "pack.h"

#include <stdlib.h>

/* One member or element, ordered by its name or payload. Small, since insertion sort moves them about. */
typedef struct entry {
    uint64_t head; /* the first eight bytes of the key, big-endian, zeros behind a shorter one: settles most
                      orders */
    uint32_t at;   /* where it stands in the body */
    uint32_t size;
} entry;

/* Usual items are sorted without touching the heap. */
#define STACK_ENTRIES 32
#define STACK_BYTES   2048

static tr_view key_of(const char *body, const entry *e)
{
    tr_view key = {NULL, 0};
    (void)tr__get_sized(body + e->at, body + e->at + e->size, &key);
    return key;
}

static inline int compare(const char *body, const entry *a, const entry *b)
{
    if (TR_LIKELY(a->head != b->head))
        return a->head < b->head ? -1 : 1;
    return tr_view_cmp(key_of(body, a), key_of(body, b));
}

static int compare_void(const void *a, const void *b, void *body)
{
    return compare(body, a, b);
}

static void sort(entry *entries, uint32_t count, char *body)
{
    if (count > STACK_ENTRIES) {
        qsort_r(entries, count, sizeof *entries, compare_void, body);
        return;
    }
    for (uint32_t i = 1; i < count; i++) {
        entry moving = entries[i];
        uint32_t j = i;
        for (; j > 0 && compare(body, &entries[j - 1], &moving) > 0; j--)
            entries[j] = entries[j - 1];
        entries[j] = moving;
    }
}

static void collect(entry *entries, uint32_t count, const char *body, const char *end, bool map)
{
    const char *at = body;
    for (uint32_t i = 0; i < count; i++) {
        tr_view key = {NULL, 0};
        tr_value value;
        const char *from = at;
        at = tr__get_sized(at, end, &key);
        if (map)
            at = tr__get_value(at, end, &value);
        entries[i] =
            (entry){.head = tr__head(key), .at = (uint32_t)(from - body), .size = (uint32_t)(at - from)};
    }
}

static int arrange(entry *entries, uint32_t count, char *body, size_t len, char *scratch, bool map)
{
    collect(entries, count, body, body + len, map);
    sort(entries, count, body);
    for (uint32_t i = 1; i < count; i++)
        if (compare(body, &entries[i - 1], &entries[i]) == 0)
            return TR_EEXIST;
    char *to = scratch;
    for (uint32_t i = 0; i < count; i++) {
        tr__copy(to, body + entries[i].at, entries[i].size);
        to += entries[i].size;
    }
    memcpy(body, scratch, len);
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
