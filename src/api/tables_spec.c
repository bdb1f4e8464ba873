/* SPDX-License-Identifier: MIT */
#include "api/tables.h"

/* Requests that passed their checks, in the engine's terms. */

tr_type tr__attribute_type(const tr_list *attributes, tr_view name)
{
    const tr_attribute_definition *defs = attributes->items;
    for (uint32_t i = 0; i < attributes->count; i++)
        if (tr_view_eq(defs[i].name, name))
            return defs[i].type.ptr[0] == 'S' ? TR_S : defs[i].type.ptr[0] == 'N' ? TR_N : TR_B;
    return TR_NONE;
}

static void schema_of(const tr_list *keys, const tr_list *attributes, tr_key_schema *schema)
{
    const tr_key_element *list = keys->items;
    memset(schema, 0, sizeof *schema);
    for (uint32_t i = 0; i < keys->count; i++) {
        tr_key_part part = {list[i].name, tr__attribute_type(attributes, list[i].name)};
        if (tr_view_is(list[i].type, "HASH"))
            schema->hash[schema->hash_count++] = part;
        else
            schema->range[schema->range_count++] = part;
    }
}

tr_throughput tr__throughput_of(const tr_units *provisioned, const tr_units *on_demand, const tr_units *warm)
{
    tr_throughput t = {.max_read = -1, .max_write = -1};
    if (provisioned) {
        t.read = provisioned->read.value;
        t.write = provisioned->write.value;
    }
    if (on_demand && on_demand->read.given)
        t.max_read = on_demand->read.value;
    if (on_demand && on_demand->write.given)
        t.max_write = on_demand->write.value;
    tr__set_warm(&t, warm, !provisioned);
    return t;
}

int tr__index_of(tr_call *c, const tr_index_spec *spec, const tr_list *attributes, bool local,
                 tr_index *ret_index)
{
    (void)c;
    tr_view type = spec->projection->type;
    *ret_index = (tr_index){
        .local = local,
        .name = spec->name,
        .projection = tr_view_is(type, "ALL")         ? TR_PROJECT_ALL
                      : tr_view_is(type, "KEYS_ONLY") ? TR_PROJECT_KEYS_ONLY
                                                      : TR_PROJECT_INCLUDE,
        .include = spec->projection->attributes.items,
        .include_count = spec->projection->attributes.count,
        .throughput = tr__throughput_of(spec->throughput, spec->on_demand, spec->warm),
    };
    schema_of(&spec->schema, attributes, &ret_index->schema);
    return 0;
}

int tr__attributes_of(tr_call *c, const tr_list *attributes, tr_key_part **ret_parts)
{
    const tr_attribute_definition *defs = attributes->items;
    tr_key_part *parts = tr_arena_calloc(c->arena, attributes->count, sizeof *parts);
    if (!parts)
        return TR_ENOMEM;
    for (uint32_t i = 0; i < attributes->count; i++)
        parts[i] = (tr_key_part){defs[i].name, tr__attribute_type(attributes, defs[i].name)};
    *ret_parts = parts;
    return 0;
}

tr_view_type tr__view_type_of(tr_view text)
{
    return tr_view_is(text, "KEYS_ONLY")   ? TR_KEYS_ONLY
           : tr_view_is(text, "NEW_IMAGE") ? TR_NEW_IMAGE
           : tr_view_is(text, "OLD_IMAGE") ? TR_OLD_IMAGE
           : text.ptr                      ? TR_NEW_AND_OLD_IMAGES
                                           : TR_VIEW_NONE;
}

int tr__sse_of(tr_call *c, const tr_sse_spec *spec, tr_view *ret_json)
{
    *ret_json = (tr_view){NULL, 0};
    if (!spec || !spec->enabled.value)
        return 0;
    char id[TR_UUID_LEN + 1];
    tr_uuid(id);
    tr_view key = spec->key.ptr ? spec->key : tr_view_str(id);
    tr_json_writer w;
    tr_buf_reset(c->text);
    tr_json_write_init(&w, c->text);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "Status", "ENABLED");
    tr_json_member_string(&w, "SSEType", spec->type.ptr ? spec->type : TR_VIEW("KMS"));
    char *arn = tr_arena_printf(c->arena, "%s%.*s",
                                tr_view_starts(key, TR_VIEW("arn:")) ? "" : "arn:aws:kms:", TR_FMT(key));
    if (arn && !tr_view_starts(key, TR_VIEW("arn:")))
        arn = tr_arena_printf(c->arena, "arn:aws:kms:%s:000000000000:key/%.*s", c->api->region, TR_FMT(key));
    if (!arn)
        return TR_ENOMEM;
    tr_json_member_cstring(&w, "KMSMasterKeyArn", arn);
    tr_json_end_object(&w);
    *ret_json = tr_arena_copy(c->arena, tr_buf_view(c->text));
    return ret_json->ptr ? 0 : TR_ENOMEM;
}
