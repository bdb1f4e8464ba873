/* SPDX-License-Identifier: MIT */
#include "curl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

/* The name that goes with the functions' binary interface, which has not changed since 2006. */
#define LIBRARY "libcurl.so.4"

struct tr__curl tr__curl;
static char problem[512]; /* empty: all is well */

static void note_problem(const char *what)
{
    if (!*problem)
        (void)snprintf(problem, sizeof problem, "%s", what ? what : "unknown");
}

static void *find(void *library, const char *name)
{
    void *function = dlsym(library, name);
    if (!function)
        note_problem(dlerror());
    return function;
}

static void load(void)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        note_problem(dlerror());
        return;
    }
    /* POSIX has dlsym give functions as object pointers, which C does not convert: their bytes are taken. */
#define X(name)                                                                                              \
    {                                                                                                        \
        void *found = find(library, "curl_" #name);                                                          \
        memcpy(&tr__curl.name, &found, sizeof found);                                                        \
    }
    TR__CURL_FUNCTIONS(X)
#undef X
    if (*problem)
        return;
    CURLcode code = tr__curl.global_init(CURL_GLOBAL_DEFAULT);
    if (code != CURLE_OK)
        note_problem(tr__curl.easy_strerror(code));
}

int tr__curl_init(tr_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, load);
    return *problem ? tr_fail(err, TR_EIO, "cannot use libcurl: %s", problem) : 0;
}
