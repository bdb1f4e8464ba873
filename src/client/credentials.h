/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLIENT_CREDENTIALS_H
#define TAILRACE_CLIENT_CREDENTIALS_H

/**
 * Where credentials come from, found as the AWS CLI finds them.
 *
 * A tr__source is decided on once, from options, environment and profiles, without sending anything:
 *
 *   explicit > environment > web identity > profile > container > instance metadata
 *
 * Fetching may block (STS, metadata services, a credential_process), so it happens on a thread of the pool;
 * provider.h does that, and keeps what was fetched. Servers that are not AWS get what is there without asking
 * anybody, or dummies.
 */

#include <tailrace/base.h>

#include "profile.h"

#include <stdatomic.h>

typedef struct tr__credentials {
    char *access_key_id, *secret_access_key;
    char *session_token; /* NULL if there is none */
    int64_t expires_ms;  /* wall clock; 0: never */
} tr__credentials;

/** Wipes and frees. NULL is fine. */
void tr__credentials_done(tr__credentials *credentials);
/** Copies; token may be NULL. TR_ENOMEM. */
int tr__credentials_set(tr__credentials *credentials, tr_view access_key_id, tr_view secret, tr_view token,
                        int64_t expires_ms, tr_error *err);

enum tr__source_kind {
    TR__SOURCE_EXPLICIT,
    TR__SOURCE_ENVIRONMENT,
    TR__SOURCE_WEB_IDENTITY,
    TR__SOURCE_PROFILE,
    TR__SOURCE_CONTAINER,
    TR__SOURCE_INSTANCE,
    TR__SOURCE_DUMMY
};

typedef struct tr__source_options {
    const char *access_key_id, *secret_access_key, *session_token; /* explicit; NULL if not */
    const char *profile; /* by option; NULL: AWS_PROFILE, "default" */
    const char *region;  /* for STS; NULL: its global endpoint */
    bool is_aws;
    const tr__profiles *profiles; /* must outlive the source */
} tr__source_options;

typedef struct tr__source {
    enum tr__source_kind kind;
    bool is_static; /* fetching neither blocks nor expires */
    const tr__profiles *profiles;
    char *profile, *region;
    tr__credentials explicit_keys;
    atomic_bool abort; /* set it to end a fetch early */
} tr__source;

/** Decides. TR_EAUTH with what is missing or cannot be used, TR_EINVAL, TR_ENOMEM. */
int tr__source_init(tr__source *source, const tr__source_options *options, tr_error *err);
void tr__source_done(tr__source *source);
/** Blocks, unless is_static. TR_EAUTH, TR_ECONNECT, TR_ETIMEOUT, TR_ECANCELED, TR_ENOMEM. */
int tr__source_fetch(tr__source *source, tr__credentials *ret_credentials, tr_error *err);

/* metadata.c */
int tr__fetch_container(tr__source *source, tr__credentials *ret_credentials, tr_error *err);
int tr__fetch_instance(tr__source *source, tr__credentials *ret_credentials, tr_error *err);
/** The region an instance is in; appended to ret_region. */
int tr__instance_region(tr_buf *ret_region, tr_error *err);
bool tr__instance_disabled(void);
bool tr__container_configured(void);
/** Credentials in the JSON of the metadata services and of a credential_process. */
int tr__credentials_from_json(tr_view json, const char *from, tr__credentials *ret_credentials,
                              tr_error *err);

/* sts.c */
typedef struct tr__role {
    const char *role_arn, *session_name, *external_id, *duration_seconds; /* all but the first may be NULL */
} tr__role;
int tr__assume_role(tr__source *source, const tr__credentials *by, const tr__role *role,
                    tr__credentials *ret_credentials, tr_error *err);
int tr__assume_role_with_token(tr__source *source, const char *token_file, const tr__role *role,
                               tr__credentials *ret_credentials, tr_error *err);

/* process.c */
/** Runs a command by the shell and reads credentials from its output. */
int tr__fetch_process(tr__source *source, const char *command, tr__credentials *ret_credentials,
                      tr_error *err);

/** A whole file, at most `limit` bytes, without white space at its end. */
int tr__read_file(const char *path, size_t limit, tr_buf *ret_text, tr_error *err);

#endif
