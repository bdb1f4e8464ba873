/* SPDX-License-Identifier: MIT */
/* Vectors of items and of index entries: what fits an index, how it is kept, how far two are apart. */
#include "engine/engine_private.h"

#include <float.h>
#include <math.h>
#include <string.h>

/*
 * An entry keeps its vector as 32-bit floats, least significant byte first, without alignment, in front of
 * the item as projected.
 */

/* ------------------------------------------------------------------------------------------------ elements
 */

int tr_vector_float(tr_view packed_number, float *ret_float)
{
    float f = (float)tr_number_to_double(packed_number);
    if (!isfinite(f))
        return TR_ELIMIT;
    *ret_float = f;
    return 0;
}

float tr_vector_element(const char *elements, uint32_t i)
{
    uint32_t bits;
    float f;
    memcpy(&bits, elements + (size_t)i * TR__ELEMENT, sizeof bits);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bits = __builtin_bswap32(bits);
#endif
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void put_element(tr_buf *out, float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bits = __builtin_bswap32(bits);
#endif
    tr_buf_put(out, &bits, sizeof bits);
}

/* ----------------------------------------------------------------------------------------------- fitness */

#define INVALID(err, ...) tr_fail_service((err), TR_EINVAL, 400, "ValidationException", __VA_ARGS__)
#define WERE_INVALID      "One or more parameter values were invalid. "

#define HASH_KEY_MAX 2048 /* bytes, Developer Guide, "Quotas: partition keys and sort keys" */

static bool fits_vector(const tr_index *index, tr_value list, tr_error *err)
{
    const tr_vector *v = &index->vector;
    if (list.type != TR_L) {
        INVALID(err,
                WERE_INVALID "Invalid type for parameter %.*s, Expected: 32-bit floating point number list "
                             "IndexName: %.*s",
                TR_FMT(v->attribute), TR_FMT(index->name));
        return false;
    }
    tr_packed_iter iter;
    float f;
    char text[TR_NUMBER_TEXT_MAX];
    tr_value_iter(&iter, list);
    for (uint32_t i = 0; tr_packed_next(&iter); i++) {
        if (iter.value.type != TR_N) {
            INVALID(err,
                    WERE_INVALID "Invalid type for parameter %.*s[%u], Expected: 32-bit floating point "
                                 "number, Actual: %s. IndexName: %.*s",
                    TR_FMT(v->attribute), i, tr_type_name(iter.value.type), TR_FMT(index->name));
            return false;
        }
        if (tr_vector_float(iter.value.payload, &f) != 0) {
            int len = (int)tr_number_format(iter.value.payload, text);
            INVALID(err,
                    WERE_INVALID "Invalid value for parameter %.*s[%u], Value: %.*s is outside valid range "
                                 "[-3.4028235E38, 3.4028235E38]. IndexName: %.*s",
                    TR_FMT(v->attribute), i, len, text, TR_FMT(index->name));
            return false;
        }
    }
    uint32_t count = tr_packed_count(list.payload);
    if (count == v->dimensions)
        return true;
    INVALID(err, WERE_INVALID "Invalid size for parameter %.*s, Expected: %u, Actual: %u IndexName: %.*s",
            TR_FMT(v->attribute), v->dimensions, count, TR_FMT(index->name));
    return false;
}

static bool fits_key(const tr_index *index, const tr_key_part *part, tr_value value, bool update,
                     tr_error *err)
{
    const char *what = part->type == TR_S ? "string" : "binary";
    if (value.type != part->type) {
        INVALID(err, WERE_INVALID "Attribute '%.*s' type mismatch. Expected: %s, Actual: %s. IndexName: %.*s",
                TR_FMT(part->name), tr_type_name(part->type), tr_type_name(value.type), TR_FMT(index->name));
        return false;
    }
    if (part != index->schema.hash)
        return true;
    if (value.payload.len == 0 && update) {
        INVALID(err,
                "One or more parameter values are not valid. The update expression attempted to update a "
                "secondary index key to a value that is not supported. The AttributeValue for a key "
                "attribute cannot contain an empty %s value.",
                what);
        return false;
    }
    if (value.payload.len == 0) {
        INVALID(err,
                "One or more parameter values are not valid. A value specified for a secondary index key is "
                "not supported. The AttributeValue for a key attribute cannot contain an empty %s value. "
                "IndexName: %.*s, IndexKey: %.*s",
                what, TR_FMT(index->name), TR_FMT(part->name));
        return false;
    }
    if (value.payload.len <= HASH_KEY_MAX)
        return true;
    INVALID(err,
            "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit "
            "of %d bytes",
            HASH_KEY_MAX);
    return false;
}

/* Whether there is something to look at: an attribute that is there, and that the update changed. */
static bool given(tr_item old, tr_item item, tr_view name, tr_value *ret_value)
{
    tr_value before;
    if (tr_item_get(item, name, ret_value) != 0)
        return false;
    return !old.len || tr_item_get(old, name, &before) != 0 || !tr_value_eq(before, *ret_value);
}

bool tr_vector_fits(const tr_index *index, tr_item old, tr_item item, bool update, tr_error *err)
{
    const tr_vector *v = &index->vector;
    tr_value value;
    if (given(old, item, v->attribute, &value) && !fits_vector(index, value, err))
        return false;
    const tr_key_part *hash = index->schema.hash;
    if (index->schema.hash_count && given(old, item, hash->name, &value) &&
        !fits_key(index, hash, value, update, err))
        return false;
    for (unsigned i = 0; i < v->filter_count; i++)
        if (given(old, item, v->filters[i].name, &value) &&
            !fits_key(index, &v->filters[i], value, update, err))
            return false;
    return true;
}

/* Partition and filters are of their types: an item older than the index may have others. */
static bool holds(const tr_index *index, tr_item item)
{
    const tr_vector *v = &index->vector;
    tr_value value;
    if (index->schema.hash_count && (tr_item_get(item, index->schema.hash->name, &value) != 0 ||
                                     value.type != index->schema.hash->type || value.payload.len == 0))
        return false;
    for (unsigned i = 0; i < v->filter_count; i++)
        if (tr_item_get(item, v->filters[i].name, &value) == 0 && value.type != v->filters[i].type)
            return false;
    return true;
}

/* The vector's elements, into `out` unless it is NULL. */
static int walk(const tr_index *index, tr_item item, tr_buf *out)
{
    const tr_vector *v = &index->vector;
    tr_value list;
    if (tr_item_get(item, v->attribute, &list) != 0 || list.type != TR_L ||
        tr_packed_count(list.payload) != v->dimensions || !holds(index, item))
        return TR_ENOTFOUND;
    tr_packed_iter iter;
    float f;
    tr_value_iter(&iter, list);
    while (tr_packed_next(&iter)) {
        if (iter.value.type != TR_N || tr_vector_float(iter.value.payload, &f) != 0)
            return TR_ENOTFOUND;
        if (out)
            put_element(out, f);
    }
    return out ? tr_buf_status(out) : 0;
}

int tr__vector_put(const tr_index *index, tr_item item, tr_buf *out)
{
    return walk(index, item, out);
}

static bool named(const tr__index *index, tr_view name)
{
    for (unsigned i = 0; i < index->name_count; i++)
        if (tr_view_eq(index->names[i], name))
            return true;
    return !index->names;
}

size_t tr_vector_entry_size(const tr_table *table, const tr_index *index, tr_item item)
{
    const tr__index *own = &((const tr__table *)table)->index[index - table->indexes];
    const tr_vector *v = &index->vector;
    if (!item.len || walk(index, item, NULL) != 0)
        return 0;
    tr_packed_iter iter;
    size_t size = v->attribute.len + (size_t)v->dimensions * TR__ELEMENT;
    tr_item_iter(&iter, item);
    while (tr_packed_next(&iter))
        if (!tr_view_eq(iter.name, v->attribute) && named(own, iter.name))
            size += iter.name.len + tr_value_size(iter.value);
    return size;
}

/* ----------------------------------------------------------------------------------------------- distance */

/*
 * Sums are of doubles, as the service's are: products of 32-bit floats neither overflow nor vanish in them.
 * Running sums side by side have no order among themselves, which lets the compiler use vector instructions.
 */
#define LANES TR__LANES

typedef struct sums {
    double a[LANES], b[LANES];
} sums;

/* Elements as they lie in an entry. */
typedef float loose __attribute__((aligned(1)));

/* The next elements of both; `distance` is a constant wherever this is used. */
static inline void add(tr_distance distance, sums *restrict s, const float *restrict query,
                       const loose *restrict stored)
{
    for (int k = 0; k < LANES; k++) {
        double x = query[k], y = stored[k];
        s->a[k] += distance == TR_EUCLIDEAN ? (x - y) * (x - y) : x * y;
        if (distance == TR_COSINE)
            s->b[k] += y * y;
    }
}

/* Those behind the last whole run are 0 in the query already. */
static inline void sum(tr_distance distance, sums *restrict s, const float *restrict query,
                       const char *restrict stored, uint32_t count)
{
    float last[LANES];
    uint32_t i = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; i + LANES <= count; i += LANES)
        add(distance, s, query + i, (const loose *)stored + i);
#endif
    for (; i < count; i += LANES) {
        for (uint32_t k = 0; k < LANES; k++)
            last[k] = i + k < count ? tr_vector_element(stored, i + k) : 0;
        add(distance, s, query + i, last);
    }
}

static double total(const double *lanes)
{
    double all = 0;
    for (int k = 0; k < LANES; k++)
        all += lanes[k];
    return all;
}

double tr__vector_square(const float *query, uint32_t count)
{
    sums s = {{0}, {0}};
    for (uint32_t i = 0; i < count; i += LANES)
        add(TR_DOT_PRODUCT, &s, query + i, query + i);
    return total(s.a);
}

double tr__vector_rank(tr_distance distance, const float *query, double query_square, const char *stored,
                       uint32_t count)
{
    sums s = {{0}, {0}};
    switch (distance) {
    case TR_EUCLIDEAN:
        sum(TR_EUCLIDEAN, &s, query, stored, count);
        return total(s.a);
    case TR_DOT_PRODUCT:
        sum(TR_DOT_PRODUCT, &s, query, stored, count);
        return -total(s.a);
    case TR_COSINE:
        break;
    }
    sum(TR_COSINE, &s, query, stored, count);
    double length = sqrt(query_square * total(s.b));
    return length > 0 ? 1 - total(s.a) / length : 1; /* nothing is said of a vector without a direction */
}

double tr__vector_score(tr_distance distance, double rank)
{
    double score = distance == TR_EUCLIDEAN     ? sqrt(rank)
                   : distance == TR_DOT_PRODUCT ? 0 - rank
                   : rank < 0                   ? 0
                                                : rank;
    if (score > FLT_MAX)
        return FLT_MAX;
    return score < -FLT_MAX ? -FLT_MAX : (double)(float)score;
}
