/* SPDX-License-Identifier: MIT */
#include "engine/engine_private.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/*
 * item   space u32 | hash u64 | partition key form | sort key form
 * index  space u32 | hash u64 | partition key forms | sort key forms | table's key forms
 *
 * hash is XXH3 (64 bits, frozen since xxHash 0.8.0) of the partition key forms. Key forms end by themselves
 * (tr_key_put), so that no entry's key is another's prefix.
 */

uint64_t tr__engine_hash(tr_view bytes)
{
    return XXH3_64bits(bytes.ptr, bytes.len);
}

static void begin(tr_buf *out, uint32_t space)
{
    char head[TR__ITEM_PREFIX] = {0};
    tr_put_be32(head, space);
    tr_buf_reset(out);
    tr_buf_put(out, head, sizeof head);
}

/* The partition key's forms are in place: puts their hash before them. */
static uint64_t put_hash(tr_buf *out)
{
    if (tr_buf_status(out))
        return 0;
    uint64_t hash = tr__engine_hash(tr_view_of(out->ptr + TR__ITEM_PREFIX, out->len - TR__ITEM_PREFIX));
    tr_put_be64(out->ptr + 4, hash);
    return hash;
}

void tr__key_begin(tr_buf *out, uint32_t space, const tr_value *hash, unsigned hash_count, uint64_t *ret_hash)
{
    begin(out, space);
    for (unsigned i = 0; i < hash_count; i++)
        tr_key_put(out, hash[i]);
    *ret_hash = put_hash(out);
}

/* Appends the forms of the parts; TR_EINVAL at the first that is missing or of another type. */
static int put_parts(tr_buf *out, const tr_key_part *parts, unsigned count, tr_item item)
{
    for (unsigned i = 0; i < count; i++) {
        tr_value value;
        if (tr_item_get(item, parts[i].name, &value) != 0 || value.type != parts[i].type)
            return TR_EINVAL;
        tr_key_put(out, value);
    }
    return 0;
}

int tr__key_of_item(const tr_table *table, tr_item item, tr_buf *out, uint64_t *ret_hash)
{
    begin(out, table->space);
    int rc = put_parts(out, table->schema.hash, table->schema.hash_count, item);
    if (rc)
        return rc;
    uint64_t hash = put_hash(out);
    rc = put_parts(out, table->schema.range, table->schema.range_count, item);
    if (!rc)
        rc = tr_buf_status(out);
    if (!rc)
        *ret_hash = hash;
    return rc;
}

int tr__key_of_entry(const tr_table *table, const tr_index *index, tr_item item, tr_buf *out)
{
    begin(out, index->space);
    if (put_parts(out, index->schema.hash, index->schema.hash_count, item) != 0)
        return TR_ENOTFOUND;
    put_hash(out);
    if (put_parts(out, index->schema.range, index->schema.range_count, item) != 0)
        return TR_ENOTFOUND;
    /* A local index has the table's partition key already. */
    int rc = index->local ? 0 : put_parts(out, table->schema.hash, table->schema.hash_count, item);
    if (!rc)
        rc = put_parts(out, table->schema.range, table->schema.range_count, item);
    return rc ? rc : tr_buf_status(out);
}

void tr__key_successor(tr_buf *key)
{
    while (key->len && (uint8_t)key->ptr[key->len - 1] == 0xff)
        key->len--;
    if (key->len)
        key->ptr[key->len - 1] = (char)((uint8_t)key->ptr[key->len - 1] + 1);
}

int tr__keys_of(const tr_key_schema *schema, tr_item item, tr_buf *out)
{
    tr_packer packer;
    tr_packer_init(&packer, out);
    tr_pack_item_begin(&packer);
    for (unsigned i = 0; i < schema->hash_count + schema->range_count; i++) {
        const tr_key_part *part =
            i < schema->hash_count ? &schema->hash[i] : &schema->range[i - schema->hash_count];
        tr_value value;
        if (tr_item_get(item, part->name, &value) != 0 || value.type != part->type)
            return TR_EINVAL;
        tr_pack_name(&packer, part->name);
        tr_pack_value(&packer, value);
    }
    return tr_pack_item_end(&packer);
}
