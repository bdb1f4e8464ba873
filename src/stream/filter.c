/* SPDX-License-Identifier: MIT */
#include "stream/filter.h"

struct tr__filter {
    tr_matcher *matcher;
    tr_match_ctx *ctx; /* of one thread at a time: the machine runs under the stream's lock */
    tr_stream_filter_fn *next;
    void *next_ctx;
};

static bool passes(void *ctx, const tr_record *record)
{
    tr__filter *f = ctx;
    const uint64_t *ids;
    size_t count = 0;
    /* a record that the matcher cannot read is not thrown away */
    if (tr_matcher_match(f->matcher, f->ctx, record->raw, &ids, &count, NULL) == 0 && count == 0)
        return false;
    return !f->next || f->next(f->next_ctx, record);
}

static int fill(tr__filter *f, const tr_stream_options *o, tr_error *err)
{
    int code = tr_matcher_new(NULL, &f->matcher);
    if (code == 0)
        code = tr_match_ctx_new(NULL, &f->ctx);
    for (size_t i = 0; code == 0 && i < o->pattern_count; i++) {
        if (!o->patterns[i])
            return tr_fail(err, TR_EINVAL, "pattern %zu of the stream's options is NULL", i);
        code = tr_matcher_add(f->matcher, i, o->patterns[i]);
    }
    if (code == 0)
        code = tr_matcher_freeze(f->matcher);
    return code ? tr_fail(err, code, "the patterns of the stream's options: %s", tr_strerror(code)) : 0;
}

int tr__filter_new(tr_stream_options *options, tr__filter **ret_filter, tr_error *err)
{
    if (options->pattern_count == 0)
        return 0;
    tr__filter *f = tr_calloc(1, sizeof *f);
    if (!f)
        return tr_fail(err, TR_ENOMEM, "no memory for a filter");
    int code = fill(f, options, err);
    if (code) {
        tr__filter_free(f);
        return code;
    }
    f->next = options->filter;
    f->next_ctx = options->filter_ctx;
    options->filter = passes;
    options->filter_ctx = f;
    options->patterns = NULL; /* the matcher has what it needs */
    options->pattern_count = 0;
    options->keep_raw = true; /* patterns are about the service's form */
    *ret_filter = f;
    return 0;
}

void tr__filter_free(tr__filter *f)
{
    if (!f)
        return;
    tr_match_ctx_free(f->ctx);
    tr_matcher_free(f->matcher);
    tr_free(f);
}
