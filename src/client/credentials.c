/* SPDX-License-Identifier: MIT */
#include "credentials.h"

#include <openssl/crypto.h>

#include <stdlib.h>

#define DEPTH_MAX 8 /* of roles assumed by roles */

static void wipe(char **text)
{
    if (*text)
        OPENSSL_cleanse(*text, strlen(*text));
    tr_free(*text);
    *text = NULL;
}

void tr__credentials_done(tr__credentials *credentials)
{
    if (!credentials)
        return;
    wipe(&credentials->access_key_id);
    wipe(&credentials->secret_access_key);
    wipe(&credentials->session_token);
}

static char *copy(tr_view text)
{
    char *c = tr_malloc(text.len + 1);
    if (c) {
        if (text.len)
            memcpy(c, text.ptr, text.len);
        c[text.len] = 0;
    }
    return c;
}

int tr__credentials_set(tr__credentials *credentials, tr_view access_key_id, tr_view secret, tr_view token,
                        int64_t expires_ms, tr_error *err)
{
    tr__credentials made = {.access_key_id = copy(access_key_id), .secret_access_key = copy(secret)};
    if (token.len)
        made.session_token = copy(token);
    if (!made.access_key_id || !made.secret_access_key || (token.len && !made.session_token)) {
        tr__credentials_done(&made);
        return tr_fail(err, TR_ENOMEM, "out of memory");
    }
    made.expires_ms = expires_ms;
    *credentials = made;
    return 0;
}

static int set_from_text(tr__credentials *credentials, const char *id, const char *secret, const char *token,
                         tr_error *err)
{
    return tr__credentials_set(credentials, tr_view_str(id), tr_view_str(secret), tr_view_str(token), 0, err);
}

/* An environment variable that is not empty, or NULL. */
static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static const char *setting(const tr__source *source, const char *profile, const char *key)
{
    return tr__profiles_get(source->profiles, "profile", profile, key);
}

/* ------------------------------------------------------------------------------------------------ profiles
 */

enum profile_kind { PROFILE_EMPTY, PROFILE_STATIC, PROFILE_ROLE, PROFILE_PROCESS, PROFILE_SSO };

static enum profile_kind kind_of(const tr__source *source, const char *profile)
{
    if (setting(source, profile, "role_arn"))
        return PROFILE_ROLE;
    if (setting(source, profile, "aws_access_key_id") && setting(source, profile, "aws_secret_access_key"))
        return PROFILE_STATIC;
    if (setting(source, profile, "credential_process"))
        return PROFILE_PROCESS;
    if (setting(source, profile, "sso_session") || setting(source, profile, "sso_start_url"))
        return PROFILE_SSO;
    return PROFILE_EMPTY;
}

static int fail_sso(const char *profile, tr_error *err)
{
    return tr_fail(
        err, TR_EAUTH,
        "profile \"%s\" signs in by IAM Identity Center (sso_…), which this program cannot do; run `aws "
        "configure export-credentials --profile %s --format env` and put its output into the environment",
        profile, profile);
}

/* Whether a profile can be used, before it is. */
static int check_profile(const tr__source *source, const char *profile, unsigned depth, tr_error *err)
{
    if (depth >= DEPTH_MAX)
        return tr_fail(err, TR_EAUTH,
                       "profile \"%s\": the chain of source_profile is too long or goes in a circle",
                       profile);
    if (!tr__profiles_has(source->profiles, profile))
        return tr_fail(err, TR_EAUTH,
                       "profile \"%s\" is neither in the AWS config file nor in the credentials file",
                       profile);
    switch (kind_of(source, profile)) {
    case PROFILE_SSO:
        return fail_sso(profile, err);
    case PROFILE_EMPTY:
        return tr_fail(err, TR_EAUTH, "profile \"%s\" has no credentials", profile);
    case PROFILE_ROLE:
        break;
    default:
        return 0;
    }
    if (setting(source, profile, "mfa_serial"))
        return tr_fail(err, TR_EAUTH,
                       "profile \"%s\" needs a code of mfa_serial, which this program cannot ask for",
                       profile);
    const char *by = setting(source, profile, "source_profile");
    if (setting(source, profile, "web_identity_token_file") || setting(source, profile, "credential_source"))
        return 0;
    if (!by)
        return tr_fail(err, TR_EAUTH,
                       "profile \"%s\" has a role_arn, but no source_profile, credential_source or "
                       "web_identity_token_file",
                       profile);
    bool own_keys = strcmp(by, profile) == 0 && setting(source, profile, "aws_access_key_id");
    return own_keys ? 0 : check_profile(source, by, depth + 1, err);
}

static int fetch_profile(tr__source *source, const char *profile, unsigned depth, tr__credentials *out,
                         tr_error *err);

static int fetch_keys(const tr__source *source, const char *profile, tr__credentials *out, tr_error *err)
{
    const char *id = setting(source, profile, "aws_access_key_id");
    const char *secret = setting(source, profile, "aws_secret_access_key");
    if (!id || !secret)
        return tr_fail(err, TR_EAUTH, "profile \"%s\" has no aws_access_key_id and aws_secret_access_key",
                       profile);
    return set_from_text(out, id, secret, setting(source, profile, "aws_session_token"), err);
}

static int fetch_environment(tr__credentials *out, tr_error *err)
{
    const char *id = env("AWS_ACCESS_KEY_ID"), *secret = env("AWS_SECRET_ACCESS_KEY");
    if (!id || !secret)
        return tr_fail(err, TR_EAUTH, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set");
    return set_from_text(out, id, secret, env("AWS_SESSION_TOKEN"), err);
}

/* The credentials that a role is assumed with. */
static int fetch_assumer(tr__source *source, const char *profile, unsigned depth, tr__credentials *out,
                         tr_error *err)
{
    const char *from = setting(source, profile, "credential_source"),
               *by = setting(source, profile, "source_profile");
    if (by)
        return strcmp(by, profile) == 0 ? fetch_keys(source, profile, out, err)
                                        : fetch_profile(source, by, depth + 1, out, err);
    if (from && strcmp(from, "Environment") == 0)
        return fetch_environment(out, err);
    if (from && strcmp(from, "Ec2InstanceMetadata") == 0)
        return tr__fetch_instance(source, out, err);
    if (from && strcmp(from, "EcsContainer") == 0)
        return tr__fetch_container(source, out, err);
    return tr_fail(err, TR_EAUTH,
                   "profile \"%s\": credential_source is \"%s\"; it can be Environment, Ec2InstanceMetadata "
                   "or EcsContainer",
                   profile, from ? from : "");
}

static int fetch_role(tr__source *source, const char *profile, unsigned depth, tr__credentials *out,
                      tr_error *err)
{
    tr__role role = {.role_arn = setting(source, profile, "role_arn"),
                     .session_name = setting(source, profile, "role_session_name"),
                     .external_id = setting(source, profile, "external_id"),
                     .duration_seconds = setting(source, profile, "duration_seconds")};
    const char *token_file = setting(source, profile, "web_identity_token_file");
    if (token_file)
        return tr__assume_role_with_token(source, token_file, &role, out, err);
    tr__credentials by = {0};
    int code = fetch_assumer(source, profile, depth, &by, err);
    if (code == 0)
        code = tr__assume_role(source, &by, &role, out, err);
    tr__credentials_done(&by);
    return code;
}

static int fetch_profile(tr__source *source, const char *profile, unsigned depth, tr__credentials *out,
                         tr_error *err)
{
    int code = check_profile(source, profile, depth, err);
    if (code)
        return code;
    switch (kind_of(source, profile)) {
    case PROFILE_ROLE:
        return fetch_role(source, profile, depth, out, err);
    case PROFILE_PROCESS:
        return tr__fetch_process(source, setting(source, profile, "credential_process"), out, err);
    default:
        return fetch_keys(source, profile, out, err);
    }
}

/* ------------------------------------------------------------------------------------------------ deciding
 */

static int decide_explicit(tr__source *source, const tr__source_options *options, tr_error *err)
{
    if (!options->access_key_id || !options->secret_access_key)
        return tr_fail(err, TR_EINVAL, "an access key id and its secret are needed together");
    source->kind = TR__SOURCE_EXPLICIT;
    source->is_static = true;
    return set_from_text(&source->explicit_keys, options->access_key_id, options->secret_access_key,
                         options->session_token, err);
}

static int decide_profile(tr__source *source, tr_error *err)
{
    source->kind = TR__SOURCE_PROFILE;
    source->is_static = kind_of(source, source->profile) == PROFILE_STATIC;
    return check_profile(source, source->profile, 0, err);
}

/* What AWS itself is spoken to with. `named`: somebody asked for this profile. */
static int decide_for_aws(tr__source *source, bool named, tr_error *err)
{
    if (!named && env("AWS_WEB_IDENTITY_TOKEN_FILE") && env("AWS_ROLE_ARN")) {
        source->kind = TR__SOURCE_WEB_IDENTITY;
        return 0;
    }
    if (named || kind_of(source, source->profile) != PROFILE_EMPTY)
        return decide_profile(source, err);
    if (tr__container_configured()) {
        source->kind = TR__SOURCE_CONTAINER;
        return 0;
    }
    if (!tr__instance_disabled()) {
        source->kind = TR__SOURCE_INSTANCE;
        return 0;
    }
    return tr_fail(
        err, TR_EAUTH,
        "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run `aws "
        "configure`");
}

static int decide(tr__source *source, const tr__source_options *options, tr_error *err)
{
    bool named = options->profile || env("AWS_PROFILE");
    if (options->access_key_id || options->secret_access_key)
        return decide_explicit(source, options, err);
    /* a profile asked for by option stands before the environment, as with the CLI */
    if (!options->profile && env("AWS_ACCESS_KEY_ID") && env("AWS_SECRET_ACCESS_KEY")) {
        source->kind = TR__SOURCE_ENVIRONMENT;
        source->is_static = true;
        return 0;
    }
    if (options->is_aws)
        return decide_for_aws(source, named, err);
    if (named || kind_of(source, source->profile) == PROFILE_STATIC)
        return decide_profile(source, err);
    source->kind = TR__SOURCE_DUMMY; /* a local server asks for a signature, but not whose */
    source->is_static = true;
    return 0;
}

int tr__source_init(tr__source *source, const tr__source_options *options, tr_error *err)
{
    memset(source, 0, sizeof *source);
    const char *profile = options->profile ? options->profile : env("AWS_PROFILE");
    source->profiles = options->profiles;
    source->profile = tr_strdup(profile ? profile : "default");
    source->region = tr_strdup(options->region);
    int code = source->profile && (source->region || !options->region)
                   ? decide(source, options, err)
                   : tr_fail(err, TR_ENOMEM, "out of memory");
    if (code)
        tr__source_done(source);
    return code;
}

void tr__source_done(tr__source *source)
{
    if (!source)
        return;
    tr_free(source->profile);
    tr_free(source->region);
    source->profile = source->region = NULL;
    tr__credentials_done(&source->explicit_keys);
}

int tr__source_fetch(tr__source *source, tr__credentials *out, tr_error *err)
{
    const tr__credentials *keys = &source->explicit_keys;
    tr__role role = {.role_arn = env("AWS_ROLE_ARN"), .session_name = env("AWS_ROLE_SESSION_NAME")};
    switch (source->kind) {
    case TR__SOURCE_EXPLICIT:
        return set_from_text(out, keys->access_key_id, keys->secret_access_key, keys->session_token, err);
    case TR__SOURCE_ENVIRONMENT:
        return fetch_environment(out, err);
    case TR__SOURCE_WEB_IDENTITY:
        return tr__assume_role_with_token(source, env("AWS_WEB_IDENTITY_TOKEN_FILE"), &role, out, err);
    case TR__SOURCE_PROFILE:
        return fetch_profile(source, source->profile, 0, out, err);
    case TR__SOURCE_CONTAINER:
        return tr__fetch_container(source, out, err);
    case TR__SOURCE_INSTANCE:
        return tr__fetch_instance(source, out, err);
    default:
        return set_from_text(out, "tailrace", "tailrace", NULL, err);
    }
}
