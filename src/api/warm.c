/* SPDX-License-Identifier: MIT */
#include "api/tables.h"

/* Warm throughput: kept and told, since nothing here has to be warmed. */

/* What an on-demand table or index begins with (Developer Guide, "Initial throughput for on-demand"). */
#define WARM_READ  12000
#define WARM_WRITE 4000

#define WERE_INVALID "One or more parameter values were invalid: "

static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static tr_units warm_of(const tr_throughput *t, bool pay_per_request)
{
    int64_t read = pay_per_request ? WARM_READ : t->read, write = pay_per_request ? WARM_WRITE : t->write;
    return (tr_units){.read = {.given = true, .value = at_least(read, t->warm_read)},
                      .write = {.given = true, .value = at_least(write, t->warm_write)}};
}

int tr__check_warm(tr_call *c, const tr_units *warm, const tr_throughput *now, bool pay_per_request,
                   bool created, tr_view index)
{
    if (!warm)
        return 0;
    const tr_units have = warm_of(now, pay_per_request);
    bool read = warm->read.given && warm->read.value < have.read.value;
    if (!read && !(warm->write.given && warm->write.value < have.write.value))
        return 0;
    const char *why = !created          ? "current WarmThroughput, decreasing WarmThroughput is not supported"
                      : pay_per_request ? "initial throughput for OnDemand. See: "
                                          "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
                                          "on-demand-capacity-mode.html#on-demand-capacity-mode-initial"
                                        : "its provisioned throughput";
    return tr__invalid(c, WERE_INVALID "Requested %s for WarmThroughput for %s%.*s is lower than %s",
                       read ? "ReadUnitsPerSecond" : "WriteUnitsPerSecond", index.len ? "index " : "table",
                       TR_FMT(index), why);
}

void tr__set_warm(tr_throughput *t, const tr_units *warm, bool pay_per_request)
{
    if (!warm || (!warm->read.given && !warm->write.given))
        return;
    const tr_units have = warm_of(t, pay_per_request);
    t->warm_read = warm->read.given ? warm->read.value : have.read.value;
    t->warm_write = warm->write.given ? warm->write.value : have.write.value;
}
