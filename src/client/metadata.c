/* SPDX-License-Identifier: MIT */
#include "credentials.h"
#include "fetch.h"

#include <tailrace/json.h>

#include <stdio.h>
#include <stdlib.h>

#define TOKEN_FILE_MAX 16384

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

int tr__read_file(const char *path, size_t limit, tr_buf *ret_text, tr_error *err)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return tr_fail(err, TR_EAUTH, "cannot read %s", path);
    char block[4096];
    size_t n, begin = ret_text->len;
    while ((n = fread(block, 1, sizeof block, file)) > 0)
        tr_buf_put(ret_text, block, n);
    (void)fclose(file);
    if (tr_buf_status(ret_text) || ret_text->len - begin > limit)
        return tr_fail(err, TR_EAUTH, "%s is too large", path);
    while (ret_text->len > begin && (unsigned char)ret_text->ptr[ret_text->len - 1] <= ' ')
        ret_text->len--;
    return 0;
}

/* ---------------------------------------------------------------------------------------------------- JSON
 */

struct found {
    tr_view id, secret, token, expiration, code, message;
};

static int read_fields(tr_view json, tr_arena *arena, struct found *f)
{
    tr_json_reader reader;
    tr_json_init(&reader, json, arena);
    if (tr_json_next(&reader) != TR_JSON_OBJECT)
        return TR_EPARSE;
    while (tr_json_next_key(&reader)) {
        tr_view key = reader.text, *into = NULL;
        if (tr_view_is(key, "AccessKeyId"))
            into = &f->id;
        else if (tr_view_is(key, "SecretAccessKey"))
            into = &f->secret;
        else if (tr_view_is(key, "Token") || tr_view_is(key, "SessionToken"))
            into = &f->token;
        else if (tr_view_is(key, "Expiration"))
            into = &f->expiration;
        else if (tr_view_is(key, "Code") || tr_view_is(key, "code"))
            into = &f->code;
        else if (tr_view_is(key, "Message") || tr_view_is(key, "message"))
            into = &f->message;
        if (tr_json_next(&reader) == TR_JSON_STRING && into)
            *into = reader.text;
        else if (tr_json_skip(&reader))
            return TR_EPARSE;
    }
    return reader.token == TR_JSON_OBJECT_END ? 0 : TR_EPARSE;
}

int tr__credentials_from_json(tr_view json, const char *from, tr__credentials *out, tr_error *err)
{
    tr_arena arena;
    struct found f = {0};
    int64_t expires = 0;
    tr_arena_init(&arena, json.len + 65536);
    int code = read_fields(json, &arena, &f);
    if (code)
        code = tr_fail(err, TR_EAUTH, "%s did not answer with JSON", from);
    else if (f.id.len == 0 || f.secret.len == 0)
        code = tr_fail(err, TR_EAUTH, "%s gave no credentials%s%.*s%s%.*s", from, f.code.len ? ": " : "",
                       TR_FMT(f.code), f.message.len ? ": " : "", TR_FMT(f.message));
    else if (f.expiration.len && tr_time_parse(f.expiration, &expires))
        code = tr_fail(err, TR_EAUTH, "%s gave credentials that expire at \"%.*s\", which is no time", from,
                       TR_FMT(f.expiration));
    else
        code = tr__credentials_set(out, f.id, f.secret, f.token, expires, err);
    tr_arena_done(&arena);
    return code;
}

/* ----------------------------------------------------------------------------------------------- container
 */

bool tr__container_configured(void)
{
    return env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") || env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
}

/* A full URI gets the token: it must be this machine's, or the agents' of ECS and EKS, or go by TLS. */
static bool is_trusted(const char *uri)
{
    static const char *const prefixes[] = {"https://",
                                           "http://localhost",
                                           "http://127.",
                                           "http://[::1]",
                                           "http://169.254.170.2",
                                           "http://169.254.170.23",
                                           "http://[fd00:ec2::23]"};
    for (size_t i = 0; i < TR_COUNT(prefixes); i++) {
        size_t len = strlen(prefixes[i]);
        if (strncmp(uri, prefixes[i], len) != 0)
            continue;
        char next = uri[len];
        if (i == 0 || i == 2 || next == 0 || next == '/' || next == ':')
            return true;
    }
    return false;
}

static int authorization_of_container(tr_buf *token, tr_error *err)
{
    const char *file = env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
               *text = env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    if (file)
        return tr__read_file(file, TOKEN_FILE_MAX, token, err);
    if (text)
        tr_buf_put_str(token, text);
    return 0;
}

int tr__fetch_container(tr__source *source, tr__credentials *out, tr_error *err)
{
    char url[4096];
    const char *relative = env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (!relative && !full)
        return tr_fail(err, TR_EAUTH, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and …_FULL_URI are not set");
    if (!relative && !is_trusted(full))
        return tr_fail(err, TR_EAUTH,
                       "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor on this machine: %s", full);
    (void)snprintf(url, sizeof url, "%s%s", relative ? "http://169.254.170.2" : "",
                   relative ? relative : full);
    tr_buf token, body;
    tr_buf_init(&token, (size_t)2 * TOKEN_FILE_MAX);
    tr_buf_init(&body, TR__FETCH_MAX);
    int status = 0, code = authorization_of_container(&token, err);
    tr_header header = {TR_VIEW("Authorization"), tr_buf_view(&token)};
    tr__fetch fetch = {.method = "GET",
                       .url = url,
                       .headers = &header,
                       .header_count = token.len ? 1 : 0,
                       .connect_timeout_ms = 2000,
                       .timeout_ms = 5000,
                       .direct = true,
                       .abort = &source->abort};
    for (int attempt = 0; attempt < 3 && code == 0; attempt++) {
        tr_buf_reset(&body);
        code = tr__fetch_run(&fetch, &status, &body, err);
        if (code == 0 && status < 500)
            break;
        if (code && code != TR_ECANCELED && attempt < 2)
            code = 0;
    }
    if (code)
        code = tr_fail(err, code, "the container's credential service %s does not answer", url);
    else
        code = tr__credentials_from_json(tr_buf_view(&body), "the container's credential service", out, err);
    tr_buf_done(&token);
    tr_buf_done(&body);
    return code;
}

/* ------------------------------------------------------------------------------------------------ instance
 */

bool tr__instance_disabled(void)
{
    const char *disabled = env("AWS_EC2_METADATA_DISABLED");
    return disabled &&
           (strcmp(disabled, "true") == 0 || strcmp(disabled, "TRUE") == 0 || strcmp(disabled, "True") == 0);
}

struct instance {
    char base[512];
    tr_buf token;
    int64_t timeout_ms;
    atomic_bool *abort;
};

static int get_metadata(const struct instance *instance, const char *path, tr_buf *body, tr_error *err)
{
    char url[1024];
    (void)snprintf(url, sizeof url, "%s/latest/meta-data/%s", instance->base, path);
    tr_header header = {TR_VIEW("X-aws-ec2-metadata-token"), tr_buf_view(&instance->token)};
    tr__fetch fetch = {.method = "GET",
                       .url = url,
                       .headers = &header,
                       .header_count = instance->token.len ? 1 : 0,
                       .connect_timeout_ms = instance->timeout_ms,
                       .timeout_ms = instance->timeout_ms,
                       .direct = true,
                       .abort = instance->abort};
    int status = 0, code = tr__fetch_run(&fetch, &status, body, err);
    if (code)
        return code;
    return status == 200
               ? 0
               : tr_fail(err, TR_EAUTH, "the instance metadata service answered %d for %s", status, path);
}

/* Version 2 asks for a token first. Where it does not know of that, version 1 is spoken, unless disabled. */
static int get_token(struct instance *instance, tr_error *err)
{
    char url[1024];
    (void)snprintf(url, sizeof url, "%s/latest/api/token", instance->base);
    tr_header header = {TR_VIEW("X-aws-ec2-metadata-token-ttl-seconds"), TR_VIEW("21600")};
    tr__fetch fetch = {.method = "PUT",
                       .url = url,
                       .headers = &header,
                       .header_count = 1,
                       .connect_timeout_ms = instance->timeout_ms,
                       .timeout_ms = instance->timeout_ms,
                       .direct = true,
                       .abort = instance->abort};
    int status = 0, code = tr__fetch_run(&fetch, &status, &instance->token, err);
    if (code)
        return code;
    if (status == 200)
        return 0;
    const char *v1 = env("AWS_EC2_METADATA_V1_DISABLED");
    tr_buf_reset(&instance->token);
    if (status == 400 || (v1 && strcmp(v1, "true") == 0))
        return tr_fail(err, TR_EAUTH, "the instance metadata service answered %d for a token", status);
    return 0;
}

static int open_instance(struct instance *instance, atomic_bool *abort, tr_error *err)
{
    const char *endpoint = env("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
               *mode = env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
    const char *timeout = env("AWS_METADATA_SERVICE_TIMEOUT"); /* seconds */
    bool six = mode && (mode[0] == 'I' || mode[0] == 'i') && strchr(mode, '6');
    if (!endpoint)
        endpoint = six ? "http://[fd00:ec2::254]" : "http://169.254.169.254";
    uint64_t seconds = 1;
    if (timeout && (tr_view_to_u64(tr_view_str(timeout), 60, &seconds) || seconds == 0))
        seconds = 1;
    size_t len = strlen(endpoint);
    while (len && endpoint[len - 1] == '/')
        len--;
    (void)snprintf(instance->base, sizeof instance->base, "%.*s", (int)len, endpoint);
    tr_buf_init(&instance->token, 4096);
    instance->timeout_ms = (int64_t)seconds * 1000;
    instance->abort = abort;
    return get_token(instance, err);
}

static int fetch_instance_once(tr__source *source, tr__credentials *out, tr_error *err)
{
    struct instance instance;
    tr_buf role, body;
    char path[512];
    tr_buf_init(&role, TR__FETCH_MAX);
    tr_buf_init(&body, TR__FETCH_MAX);
    int code = open_instance(&instance, &source->abort, err);
    if (code == 0)
        code = get_metadata(&instance, "iam/security-credentials/", &role, err);
    tr_view first = tr_buf_view(&role);
    size_t line = tr_view_find(first, TR_VIEW("\n"), 0);
    first.len = line == SIZE_MAX ? first.len : line;
    if (code == 0 && (first.len == 0 || first.len > 256))
        code = tr_fail(err, TR_EAUTH, "this instance has no role attached");
    if (code == 0) {
        (void)snprintf(path, sizeof path, "iam/security-credentials/%.*s", TR_FMT(first));
        code = get_metadata(&instance, path, &body, err);
    }
    if (code == 0)
        code = tr__credentials_from_json(tr_buf_view(&body), "the instance metadata service", out, err);
    tr_buf_done(&instance.token);
    tr_buf_done(&role);
    tr_buf_done(&body);
    return code;
}

int tr__fetch_instance(tr__source *source, tr__credentials *out, tr_error *err)
{
    const char *number = env("AWS_METADATA_SERVICE_NUM_ATTEMPTS");
    uint64_t attempts = 1;
    if (number && (tr_view_to_u64(tr_view_str(number), 10, &attempts) || attempts == 0))
        attempts = 1;
    int code = TR_ECONNECT;
    while (attempts-- && (code == TR_ECONNECT || code == TR_ETIMEOUT || code == TR_EIO))
        code = fetch_instance_once(source, out, err);
    return code;
}

int tr__instance_region(tr_buf *ret_region, tr_error *err)
{
    struct instance instance;
    int code = open_instance(&instance, NULL, err);
    if (code == 0)
        code = get_metadata(&instance, "placement/region", ret_region, err);
    tr_buf_done(&instance.token);
    return code;
}
