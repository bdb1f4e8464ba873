/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLIENT_PROFILE_H
#define TAILRACE_CLIENT_PROFILE_H

/**
 * The shared files of the AWS tools: ~/.aws/config and ~/.aws/credentials (or where AWS_CONFIG_FILE and
 * AWS_SHARED_CREDENTIALS_FILE say).
 *
 *     [profile dev]                      in config; "[dev]" in credentials, whose keys win
 *     region = eu-west-1                 # comment
 *     services = local
 *     [services local]
 *     dynamodb =
 *       endpoint_url = http://localhost:8000
 */

#include <tailrace/base.h>

struct tr__profile_entry {
    const char *type;    /* "profile", "services", "sso-session", … */
    const char *section; /* its name */
    const char *key;     /* in lower case; "outer.inner" for nested ones */
    const char *value;
    bool from_credentials;
};

typedef struct tr__profiles {
    tr_arena arena;
    struct tr__profile_entry *entries;
    size_t count, cap;
} tr__profiles;

/** Reads both files; missing ones count as empty. TR_EPARSE (err names file and line), TR_ELIMIT, TR_ENOMEM,
 * TR_EIO. */
int tr__profiles_load(tr__profiles *profiles, tr_error *err);
void tr__profiles_done(tr__profiles *profiles);
/** Adds the sections of one file's text; `name` is for messages. */
int tr__profiles_parse(tr__profiles *profiles, tr_view text, const char *name, bool is_credentials,
                       tr_error *err);
/** NULL if it is not there. */
const char *tr__profiles_get(const tr__profiles *profiles, const char *type, const char *section,
                             const char *key);
/** Whether a profile is in either file. */
bool tr__profiles_has(const tr__profiles *profiles, const char *profile);

#endif
