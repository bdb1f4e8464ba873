/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_HTTP_CURL_H
#define TAILRACE_HTTP_CURL_H

/**
 * curl.h: libcurl, loaded when first used.
 *
 * Debian's libcurl brings some twenty libraries with it (two TLS libraries, Kerberos, LDAP, SSH), which cost
 * every start 4 ms of processor time and 4.5 MB of memory. An embedded engine, or a server that calls nobody,
 * does without.
 */

#include <tailrace/base.h>

#define CURL_DISABLE_TYPECHECK /* of macros in the place of the functions */
#include <curl/curl.h>

/** The functions that are used, under libcurl's names without their "curl_". */
#define TR__CURL_FUNCTIONS(X)                                                                                \
    X(global_init)                                                                                           \
    X(easy_init)                                                                                             \
    X(easy_setopt)                                                                                           \
    X(easy_getinfo)                                                                                          \
    X(easy_perform)                                                                                          \
    X(easy_strerror)                                                                                         \
    X(easy_cleanup)                                                                                          \
    X(multi_init)                                                                                            \
    X(multi_setopt)                                                                                          \
    X(multi_add_handle)                                                                                      \
    X(multi_remove_handle)                                                                                   \
    X(multi_info_read)                                                                                       \
    X(multi_socket_action)                                                                                   \
    X(multi_cleanup)

struct tr__curl {
/* NOLINTNEXTLINE(bugprone-macro-parentheses): a member's name cannot have any */
#define X(name) __typeof__(&curl_##name) name;
    TR__CURL_FUNCTIONS(X)
#undef X
};
/** Set by tr__curl_init. */
extern struct tr__curl tr__curl;

/** Loads libcurl and sets it up, once, from any thread. To be called before anything else of it. TR_EIO. */
int tr__curl_init(tr_error *err);

#endif
