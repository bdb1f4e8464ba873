/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_BENCH_LOAD_H
#define TAILRACE_BENCH_LOAD_H

/** What the files of the load generator share. */

#include <tailrace/base.h>

/** What is asked for, over and over. */
typedef struct load_plan {
    const char *host; /* "127.0.0.1:8000", as in the Host header */
    uint16_t port;
    const char *table;
    const char *operation; /* one of those in requests.c */
    uint32_t items;        /* how many the table has */
    uint32_t per_partition;
    uint32_t connections;
    uint64_t requests; /* stop after so many; 0: after `seconds` */
    double seconds, warm_up_s;
} load_plan;

/** HTTP requests, whole and signed, one after another in one buffer. */
typedef struct load_requests {
    char *bytes;
    size_t *ends; /* request i is from ends[i - 1] (0) to ends[i] */
    uint32_t count;
} load_requests;

/** Prepares the requests of a plan. Returns 0, or a code and says on stderr what is wrong. */
int load_requests_make(const load_plan *plan, load_requests *ret_requests);
void load_requests_done(load_requests *requests);
/** The names of the operations there are, for the usage text. */
const char *load_operations(void);

#define LOAD_BUCKETS 2048

/** Durations in steps of 1/32 of a power of two. */
typedef struct load_histogram {
    uint64_t buckets[LOAD_BUCKETS];
    uint64_t count, sum_ns, max_ns;
} load_histogram;

void load_histogram_add(load_histogram *histogram, uint64_t ns);
/** The duration within which `share` (0 to 1) of all lie, microseconds. */
double load_histogram_at(const load_histogram *histogram, double share);

typedef struct load_result {
    uint64_t all; /* answers, with those of the warm-up */
    uint64_t answers, errors, bytes_in;
    double seconds, cpu_s;
    load_histogram latency;
} load_result;

/** Sends the requests over plan->connections connections, one at a time on each. */
int load_run(const load_plan *plan, const load_requests *requests, load_result *ret_result);
/** Answers every request on a free port of 127.0.0.1 with a fixed text, for ever: what the generator itself
 * can do is measured against it. Returns the listening socket's port through ret_port, and runs in a child
 * process of its own. */
int load_null_server(uint16_t *ret_port, int *ret_pid);

#endif
