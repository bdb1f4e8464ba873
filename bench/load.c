/* SPDX-License-Identifier: MIT */
/**
 * Loads a DynamoDB server on loopback: prepared, signed requests over many connections, one at a time on
 * each; prints one line of JSON.
 *
 *     load --port N --op put|get|… [--connections 32] [--seconds 5] [--warm-up 1] [--requests N] [--items
 * 20000]
 *          [--per-partition 10] [--table bench]
 *     load --null …      against an answerer of its own, to see what the generator itself can do
 */
#include "load.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static int usage(void)
{
    (void)fprintf(stderr,
                  "usage: load (--port N | --null) --op OP [--connections N] [--seconds S] [--warm-up S]\n"
                  "            [--requests N] [--items N] [--per-partition N] [--table NAME]\n"
                  "OP is one of %s\n",
                  load_operations());
    return 2;
}

static void print_result(const load_plan *plan, const load_result *r)
{
    double n = r->answers ? (double)r->answers : 1;
    printf("{\"op\": \"%s\", \"connections\": %u, \"answers\": %llu, \"errors\": %llu, \"seconds\": %.3f, "
           "\"per_second\": %.1f, \"mean_us\": %.1f, \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, "
           "\"p999_us\": %.1f, \"max_us\": %.1f, \"load_cpu_us\": %.2f, \"bytes_in\": %llu}\n",
           plan->operation, plan->connections, (unsigned long long)r->answers, (unsigned long long)r->errors,
           r->seconds, (double)r->answers / r->seconds, (double)r->latency.sum_ns / n / 1000,
           load_histogram_at(&r->latency, 0.5), load_histogram_at(&r->latency, 0.9),
           load_histogram_at(&r->latency, 0.99), load_histogram_at(&r->latency, 0.999),
           (double)r->latency.max_ns / 1000, r->cpu_s / (double)(r->all ? r->all : 1) * 1e6,
           (unsigned long long)r->bytes_in);
}

static int run_plan(load_plan *plan, bool null)
{
    char host[32];
    load_requests requests = {.bytes = NULL};
    static load_result result;
    int pid = 0;
    if (null && load_null_server(&plan->port, &pid)) {
        (void)fprintf(stderr, "cannot start the answerer\n");
        return 1;
    }
    (void)snprintf(host, sizeof host, "127.0.0.1:%u", plan->port);
    plan->host = host;
    int e = load_requests_make(plan, &requests);
    if (e == 0)
        e = load_run(plan, &requests, &result);
    if (e == 0)
        print_result(plan, &result);
    load_requests_done(&requests);
    if (pid)
        (void)kill(pid, SIGKILL);
    return e || result.errors ? 1 : 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"port", required_argument, NULL, 'p'},
                                            {"op", required_argument, NULL, 'o'},
                                            {"connections", required_argument, NULL, 'c'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"warm-up", required_argument, NULL, 'w'},
                                            {"requests", required_argument, NULL, 'r'},
                                            {"items", required_argument, NULL, 'i'},
                                            {"table", required_argument, NULL, 't'},
                                            {"per-partition", required_argument, NULL, 'n'},
                                            {"null", no_argument, NULL, '0'},
                                            {NULL, 0, NULL, 0}};
    load_plan plan = {.table = "bench",
                      .operation = "",
                      .items = 20000,
                      .per_partition = 10,
                      .connections = 32,
                      .seconds = 5,
                      .warm_up_s = 1};
    bool null = false;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 'p':
            plan.port = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 'o':
            plan.operation = optarg;
            break;
        case 'c':
            plan.connections = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 's':
            plan.seconds = strtod(optarg, NULL);
            break;
        case 'w':
            plan.warm_up_s = strtod(optarg, NULL);
            break;
        case 'r':
            plan.requests = strtoull(optarg, NULL, 10);
            break;
        case 'i':
            plan.items = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 't':
            plan.table = optarg;
            break;
        case 'n':
            plan.per_partition = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case '0':
            null = true;
            break;
        default:
            return usage();
        }
    }
    if ((!plan.port && !null) || !plan.operation[0] || !plan.items || !plan.per_partition ||
        !plan.connections)
        return usage();
    return run_plan(&plan, null);
}
