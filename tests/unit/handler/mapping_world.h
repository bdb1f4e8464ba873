/* SPDX-License-Identifier: MIT */
/** A table of an embedded engine, a mapping over it, and a directory for what handlers do. */
#ifndef TAILRACE_TEST_MAPPING_WORLD_H
#define TAILRACE_TEST_MAPPING_WORLD_H

#include "../embedded.h"

#include <tailrace/mapping.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct world {
    embedded e;
    char dir[64];
} world;

static inline int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/tailrace-mapping-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    tr_server_options one_shard = {.stream_shards = 1};
    embedded_open(&w->e, &one_shard);
    embedded_call(w->e.client, "CreateTable",
                  "{\"TableName\":\"tab\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":["
                  "{\"AttributeName\":\"id\",\"AttributeType\":\"S\"}],\"KeySchema\":[{\"AttributeName\":"
                  "\"id\",\"KeyType\":"
                  "\"HASH\"}],\"StreamSpecification\":{\"StreamEnabled\":true,\"StreamViewType\":\"NEW_AND_"
                  "OLD_IMAGES\"}}",
                  NULL);
    *state = w;
    return 0;
}

static inline int teardown(void **state)
{
    world *w = *state;
    char command[128];
    embedded_close(&w->e);
    (void)snprintf(command, sizeof command, "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static inline void put(world *w, const char *id, int n)
{
    char body[256];
    (void)snprintf(body, sizeof body,
                   "{\"TableName\":\"tab\",\"Item\":{\"id\":{\"S\":\"%s\"},\"n\":{\"N\":\"%d\"}}}", id, n);
    embedded_call(w->e.client, "PutItem", body, NULL);
}

/* What a run is made of, beside the mapping's options. */
typedef struct running {
    tr_handler_options handler;
    tr_stream_transform_fn *transform;
    tr_mapping *mapping; /* while it runs */
    tr_stream *stream;
    tr_handler *code;
} running;

static inline tr_mapping_stats run_with(world *w, running *r, tr_mapping_options options)
{
    tr_stream_options s = {
        .table = "tab", .start = {.at = TR_START_TRIM_HORIZON}, .hold_ms = 200, .transform = r->transform};
    tr_mapping_stats stats;
    tr_error err = {0};
    if (!r->handler.directory)
        r->handler.directory = w->dir;
    options.retry_min_ms = 1;
    options.retry_max_ms = 5;
    if (tr_handler_new(&r->handler, &r->code, &err) || tr_mapping_new(&options, &s, &r->mapping, &err) ||
        tr_stream_new(w->e.client, &s, &r->stream, &err) ||
        tr_mapping_run(r->mapping, r->stream, r->code, true, &err))
        fail_msg("%s", err.message);
    tr_mapping_get_stats(r->mapping, &stats);
    tr_stream_free(r->stream);
    tr_handler_free(r->code);
    tr_mapping_free(r->mapping);
    return stats;
}

static inline void write_function(world *w, const char *function)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/fn.py", w->dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    (void)fprintf(f,
                  "import os, json\n"
                  "def say(*a):\n"
                  "    with open('out', 'a') as f: print(*a, file=f)\n"
                  "def seq(r): return r['dynamodb']['SequenceNumber']\n"
                  "def n(r): return int(r['dynamodb']['NewImage']['n']['N'])\n"
                  "def handler(event, context):\n    records = event['Records']\n%s",
                  function);
    (void)fclose(f);
}

/* Runs a Python function over the table's changes; its lines in the file `out` are what it did. */
static inline tr_mapping_stats run(world *w, const char *function, tr_mapping_options options)
{
    running r = {.handler = {.kind = TR_HANDLER_LAMBDA, .target = "fn.handler"}};
    write_function(w, function);
    return run_with(w, &r, options);
}

static inline tr_failure_sink *destination_of(const char *text)
{
    tr_failure_sink *sink = NULL;
    tr_error err = {0};
    const tr_failure_options o = {.destination = text};
    if (tr_failure_sink_open(&o, &sink, &err))
        fail_msg("%s", err.message);
    return sink;
}

static inline const char *read_file(world *w, const char *name)
{
    static char text[65536];
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", w->dir, name);
    FILE *f = fopen(path, "r");
    if (!f)
        return "";
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    (void)fclose(f);
    return text;
}

#endif
