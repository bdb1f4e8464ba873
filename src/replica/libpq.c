/* SPDX-License-Identifier: MIT */
#include "replica/libpq.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#define LIBRARY "libpq.so.5"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static tr__libpq library;
static char problem[512]; /* why it could not be loaded; "" if it was */

static void load(void)
{
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *why = dlerror();
        (void)snprintf(problem, sizeof problem, "%s", why ? why : LIBRARY);
        return;
    }
    const struct {
        const char *name;
        void **at;
    } functions[] = {
#define X(name) {#name, (void **)&library.name},
        TR__PQ_FUNCTIONS(X)
#undef X
    };
    for (size_t i = 0; i < TR_COUNT(functions); i++)
        if (!(*functions[i].at = dlsym(handle, functions[i].name)))
            (void)snprintf(problem, sizeof problem, "%s has no %s", LIBRARY, functions[i].name);
}

const tr__libpq *tr__libpq_load(tr_error *err)
{
    (void)pthread_once(&once, load);
    if (!problem[0])
        return &library;
    (void)tr_fail(err, TR_EUNSUPPORTED,
                  "PostgreSQL needs its client library, Debian's package libpq5 (apt-get install libpq5): %s",
                  problem);
    return NULL;
}
