/* SPDX-License-Identifier: MIT */
#include "api/call.h"

/*
 * Keys against a table's schema. A Key parameter that does not fit has one message; an item to be put tells
 * what is missing or of the wrong type, and its index keys are checked too.
 */

#define WERE_INVALID "One or more parameter values were invalid: "

static tr_key_fault mismatch(tr_buf *out)
{
    tr_buf_put_str(out, "The provided key element does not match the schema");
    return TR_KEY_MISMATCH;
}

static tr_key_fault empty(tr_buf *out, const tr_key_part *part)
{
    tr_buf_printf(out,
                  "One or more parameter values are not valid. The AttributeValue for a key attribute cannot "
                  "contain an empty %s value. Key: %.*s",
                  part->type == TR_S ? "string" : "binary", TR_FMT(part->name));
    return TR_KEY_EMPTY;
}

static tr_key_fault large(tr_buf *out, bool range)
{
    tr_buf_put_str(out, range ? WERE_INVALID
                            "Aggregated size of all range keys has exceeded the size limit of 1024 bytes"
                              : WERE_INVALID
                            "Size of hashkey has exceeded the maximum size limit of2048 bytes");
    return TR_KEY_LARGE;
}

/* Size and emptiness of a value of the right type. */
static tr_key_fault check_value(const tr_key_part *part, tr_value value, bool range, tr_buf *out)
{
    if (value.payload.len == 0)
        return empty(out, part);
    if (value.payload.len > (range ? TR_RANGE_KEY_MAX : TR_HASH_KEY_MAX))
        return large(out, range);
    return TR_KEY_FIT;
}

static tr_key_fault check_key_part(const tr_key_part *part, tr_item key, bool range, tr_buf *out)
{
    tr_value value;
    if (tr_item_get(key, part->name, &value) || value.type != part->type)
        return mismatch(out);
    return check_value(part, value, range, out);
}

tr_key_fault tr__key_fault(const tr_table *table, tr_item key, tr_buf *out)
{
    const tr_key_schema *s = &table->schema;
    if (tr_packed_count(key) != s->hash_count + s->range_count)
        return mismatch(out);
    tr_key_fault f = check_key_part(&s->hash[0], key, false, out);
    if (f == TR_KEY_FIT && s->range_count)
        f = check_key_part(&s->range[0], key, true, out);
    return f;
}

static tr_key_fault check_item_part(const tr_key_part *part, tr_item item, bool range, bool batch,
                                    tr_buf *out)
{
    tr_value value;
    if (tr_item_get(item, part->name, &value)) {
        tr_buf_printf(out, WERE_INVALID "Missing the key %.*s in the item", TR_FMT(part->name));
        return TR_KEY_MISMATCH;
    }
    if (value.type != part->type) {
        if (batch)
            return mismatch(out);
        tr_buf_printf(out, WERE_INVALID "Type mismatch for key %.*s expected: %s actual: %s",
                      TR_FMT(part->name), tr_type_name(part->type), tr_type_name(value.type));
        return TR_KEY_MISMATCH;
    }
    return check_value(part, value, range, out);
}

static tr_key_fault check_index_part(const tr_index *index, const tr_key_part *part, tr_item item,
                                     tr_buf *out)
{
    tr_value value;
    if (tr_item_get(item, part->name, &value))
        return TR_KEY_FIT; /* the item just is not in the index */
    if (value.type != part->type) {
        tr_buf_printf(
            out, WERE_INVALID "Type mismatch for Index Key %.*s Expected: %s Actual: %s IndexName: %.*s",
            TR_FMT(part->name), tr_type_name(part->type), tr_type_name(value.type), TR_FMT(index->name));
        return TR_KEY_MISMATCH;
    }
    if (value.payload.len)
        return TR_KEY_FIT;
    tr_buf_printf(
        out,
        "One or more parameter values are not valid. A value specified for a secondary index key is "
        "not supported. The AttributeValue for a key attribute cannot contain an empty %s value. "
        "IndexName: %.*s, IndexKey: %.*s",
        value.type == TR_S ? "string" : "binary", TR_FMT(index->name), TR_FMT(part->name));
    return TR_KEY_EMPTY;
}

static tr_key_fault check_vector(const tr_index *index, tr_item item, tr_buf *out)
{
    tr_error err;
    if (tr_vector_fits(index, (tr_item){NULL, 0}, item, false, &err))
        return TR_KEY_FIT;
    tr_buf_put_str(out, err.message);
    return strstr(err.message, "cannot contain an empty") ? TR_KEY_EMPTY : TR_KEY_MISMATCH;
}

/* Of several indexes whose keys do not fit, the service names the first by name. */
static tr_key_fault check_indexes(const tr_table *table, tr_item item, tr_buf *out)
{
    tr_key_fault fault = TR_KEY_FIT;
    const tr_index *at_fault = NULL;
    size_t start = out->len;
    for (unsigned i = 0; i < table->index_count; i++) {
        const tr_index *index = &table->indexes[i];
        if (at_fault && tr_view_cmp(index->name, at_fault->name) > 0)
            continue;
        size_t mark = out->len;
        tr_key_fault f = index->vector.dimensions ? check_vector(index, item, out) : TR_KEY_FIT;
        for (unsigned k = 0;
             !index->vector.dimensions && !index->local && k < index->schema.hash_count && f == TR_KEY_FIT;
             k++)
            f = check_index_part(index, &index->schema.hash[k], item, out);
        for (unsigned k = 0; k < index->schema.range_count && f == TR_KEY_FIT; k++)
            f = check_index_part(index, &index->schema.range[k], item, out);
        if (f == TR_KEY_FIT || tr_buf_status(out))
            continue;
        memmove(out->ptr + start, out->ptr + mark, out->len - mark);
        out->len = start + (out->len - mark);
        fault = f;
        at_fault = index;
    }
    return fault;
}

tr_key_fault tr__item_key_fault(const tr_table *table, tr_item item, bool batch, tr_buf *out)
{
    const tr_key_schema *s = &table->schema;
    tr_key_fault f = check_item_part(&s->hash[0], item, false, batch, out);
    if (f == TR_KEY_FIT && s->range_count)
        f = check_item_part(&s->range[0], item, true, batch, out);
    return f == TR_KEY_FIT && table->index_count ? check_indexes(table, item, out) : f;
}

int tr__check_key(tr_call *c, const tr_table *table, tr_item key)
{
    tr_buf_reset(c->text);
    if (TR_LIKELY(tr__key_fault(table, key, c->text) == TR_KEY_FIT))
        return 0;
    return tr__invalid(c, "%.*s", TR_FMT(tr_buf_view(c->text)));
}

int tr__check_item_keys(tr_call *c, const tr_table *table, tr_item item, bool batch)
{
    tr_buf_reset(c->text);
    if (TR_LIKELY(tr__item_key_fault(table, item, batch, c->text) == TR_KEY_FIT))
        return 0;
    return tr__invalid(c, "%.*s", TR_FMT(tr_buf_view(c->text)));
}

static void pack_part(tr_packer *packer, const tr_key_part *part, tr_item item)
{
    tr_value value;
    if (tr_item_get(item, part->name, &value))
        return;
    tr_pack_name(packer, part->name);
    tr_pack_value(packer, value);
}

int tr__key_pack(const tr_key_schema *schema, tr_item item, tr_buf *out)
{
    tr_packer packer;
    tr_buf_reset(out);
    tr_packer_init(&packer, out);
    tr_pack_item_begin(&packer);
    for (unsigned i = 0; i < schema->hash_count; i++)
        pack_part(&packer, &schema->hash[i], item);
    for (unsigned i = 0; i < schema->range_count; i++)
        pack_part(&packer, &schema->range[i], item);
    return tr_pack_item_end(&packer);
}

int tr__key_of(tr_call *c, const tr_key_schema *schema, tr_item item, tr_item *ret_key)
{
    int e = tr__key_pack(schema, item, &c->api->scratch);
    if (e)
        return e;
    *ret_key = tr_arena_copy(c->arena, tr_buf_view(&c->api->scratch));
    return ret_key->ptr ? 0 : TR_ENOMEM;
}
