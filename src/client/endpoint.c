/* SPDX-License-Identifier: MIT */
#include "endpoint.h"

#include "credentials.h"

#include <stdio.h>
#include <stdlib.h>

static const struct service {
    const char *variable;    /* of the environment */
    const char *in_services; /* key in a [services …] section */
    const char *host;        /* before ".REGION.amazonaws.com" */
    const char *signing_name;
} services[TR_SERVICE_COUNT] = {
    [TR_DYNAMODB] = {"AWS_ENDPOINT_URL_DYNAMODB", "dynamodb.endpoint_url", "dynamodb", "dynamodb"},
    [TR_STREAMS] = {"AWS_ENDPOINT_URL_DYNAMODB_STREAMS", "dynamodb_streams.endpoint_url", "streams.dynamodb",
                    "dynamodb"},
    [TR_EVENTS] = {"AWS_ENDPOINT_URL_EVENTBRIDGE", "eventbridge.endpoint_url", "events", "events"},
    [TR_SQS] = {"AWS_ENDPOINT_URL_SQS", "sqs.endpoint_url", "sqs", "sqs"},
    [TR_LAMBDA] = {"AWS_ENDPOINT_URL_LAMBDA", "lambda.endpoint_url", "lambda", "lambda"},
};

const char *tr__service_signing_name(tr_service service)
{
    return services[service].signing_name;
}

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

void tr__endpoint_done(tr__endpoint *endpoint)
{
    tr_free(endpoint->text);
    tr_free(endpoint->url);
    tr_free(endpoint->host);
    tr_free(endpoint->prefix);
    tr_free(endpoint->unix_path);
    memset(endpoint, 0, sizeof *endpoint);
}

/* ----------------------------------------------------------------------------------------------- configured
 */

static bool is_true(const char *text)
{
    return text && (strcmp(text, "true") == 0 || strcmp(text, "TRUE") == 0 || strcmp(text, "True") == 0);
}

static const char *from_services(const tr__profiles *profiles, const char *profile, tr_service service)
{
    const char *section = tr__profiles_get(profiles, "profile", profile, "services");
    return section ? tr__profiles_get(profiles, "services", section, services[service].in_services) : NULL;
}

/* What is configured for a service, or NULL for AWS. */
static const char *configured(const tr_client_options *options, const tr__profiles *profiles,
                              const char *profile, tr_service service)
{
    if (options->endpoint)
        return options->endpoint;
    if (options->aws || is_true(env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")) ||
        is_true(tr__profiles_get(profiles, "profile", profile, "ignore_configured_endpoint_urls")))
        return NULL;
    const char *found = env(services[service].variable);
    if (!found && service == TR_STREAMS)
        found = env(services[TR_DYNAMODB].variable);
    if (!found)
        found = env("AWS_ENDPOINT_URL");
    if (!found)
        found = from_services(profiles, profile, service);
    if (!found && service == TR_STREAMS)
        found = from_services(profiles, profile, TR_DYNAMODB);
    return found ? found : tr__profiles_get(profiles, "profile", profile, "endpoint_url");
}

/* -------------------------------------------------------------------------------------------------- parsing
 */

static char *copy(const char *begin, size_t len)
{
    char *c = tr_malloc(len + 1);
    if (c) {
        memcpy(c, begin, len);
        c[len] = 0;
    }
    return c;
}

static bool ends_with(const char *text, size_t len, const char *end)
{
    size_t n = strlen(end);
    return len >= n && memcmp(text + len - n, end, n) == 0;
}

/* Domains of AWS, of all its partitions that are on the Internet. */
static bool is_aws_host(const char *host)
{
    size_t len = strcspn(host, ":");
    return ends_with(host, len, ".amazonaws.com") || ends_with(host, len, ".amazonaws.com.cn") ||
           ends_with(host, len, ".api.aws");
}

static int parse_unix(tr__endpoint *e, const char *text, tr_error *err)
{
    const char *path = text + 5;
    if (strncmp(path, "//", 2) == 0)
        path += 2; /* unix:///path */
    if (*path != '/')
        return tr_fail(err, TR_EINVAL,
                       "\"%s\" is not an endpoint: a Unix socket is written unix:/path/to.sock", text);
    e->text = tr_strdup(text);
    e->url = tr_strdup("http://localhost");
    e->host = tr_strdup("localhost");
    e->prefix = tr_strdup("");
    e->unix_path = tr_strdup(path);
    return e->text && e->url && e->host && e->prefix && e->unix_path
               ? 0
               : tr_fail(err, TR_ENOMEM, "out of memory");
}

/* The default port is not part of the Host header, as clients leave it out. */
static size_t host_len(const char *host, size_t len, bool tls)
{
    const char *port = tls ? ":443" : ":80";
    return ends_with(host, len, port) ? len - strlen(port) : len;
}

static int parse(tr__endpoint *e, const char *text, tr_error *err)
{
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(e, text, err);
    bool tls = strncmp(text, "https://", 8) == 0;
    const char *host = text + (tls ? 8 : 7);
    size_t len = strlen(text);
    while (len && text[len - 1] == '/')
        len--;
    bool known = tls || strncmp(text, "http://", 7) == 0;
    size_t authority = known ? strcspn(host, "/") : 0;
    if (!known || authority == 0 || strpbrk(text, "?#@ \t\r\n") || len < (size_t)(host - text) + authority)
        return tr_fail(
            err, TR_EINVAL,
            "\"%s\" is not an endpoint: write http://HOST:PORT, https://HOST or unix:/path/to.sock", text);
    const char *prefix = host + authority;
    e->text = copy(text, len);
    e->url = copy(text, len);
    e->host = copy(host, host_len(host, authority, tls));
    e->prefix = copy(prefix, (size_t)(text + len - prefix));
    if (!e->text || !e->url || !e->host || !e->prefix)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    e->is_aws = is_aws_host(e->host);
    return 0;
}

int tr_client_check_endpoint(const char *text, tr_error *err)
{
    tr__endpoint endpoint = {0};
    int e = parse(&endpoint, text, err);
    tr__endpoint_done(&endpoint);
    return e;
}

/* --------------------------------------------------------------------------------------------------- region
 */

/* "dynamodb.eu-west-1.amazonaws.com" is in eu-west-1: the last label but the domain that has two dashes. */
static char *region_of_host(const char *host)
{
    const char *at = host;
    while (*at) {
        size_t len = strcspn(at, ".:");
        size_t dashes = 0;
        for (size_t i = 0; i < len; i++)
            dashes += at[i] == '-';
        if (dashes >= 2 && at[len - 1] >= '0' && at[len - 1] <= '9' && strncmp(at, "vpce-", 5) != 0)
            return copy(at, len);
        at += len;
        if (*at != '.')
            break;
        at++;
    }
    return NULL;
}

static bool is_region(const char *region)
{
    size_t len = strlen(region);
    if (len == 0 || len > 63)
        return false;
    for (const char *c = region; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '-'))
            return false;
    return true;
}

/* Only asked where nothing else tells, and the metadata service is where credentials would come from too. */
static char *region_of_instance(void)
{
    tr_buf text;
    char *found = NULL;
    tr_buf_init(&text, 4096);
    if (!tr__instance_disabled() && !tr__container_configured() && tr__instance_region(&text, NULL) == 0 &&
        text.len)
        found = copy(text.ptr, text.len);
    tr_buf_done(&text);
    return found;
}

static int find_region(const tr_client_options *options, const tr__profiles *profiles, const char *profile,
                       const tr__endpoint *dynamodb, char **ret_region, tr_error *err)
{
    const char *named = options->region ? options->region : env("AWS_REGION");
    if (!named)
        named = env("AWS_DEFAULT_REGION");
    if (!named)
        named = tr__profiles_get(profiles, "profile", profile, "region");
    bool is_aws = !dynamodb->text || dynamodb->is_aws;
    char *region = named ? tr_strdup(named) : NULL;
    if (!named && !is_aws)
        region = tr_strdup("us-east-1");
    else if (!named && dynamodb->text)
        region = region_of_host(dynamodb->host);
    else if (!named)
        region = region_of_instance();
    if (!region && (named || !is_aws))
        return tr_fail(err, TR_ENOMEM, "out of memory");
    if (!region)
        return tr_fail(
            err, TR_EINVAL,
            "no region: set AWS_REGION, or \"region\" in the profile \"%s\", or give one (--region)",
            profile);
    if (!is_region(region)) {
        int code = tr_fail(err, TR_EINVAL, "\"%s\" is not a region", region);
        tr_free(region);
        return code;
    }
    *ret_region = region;
    return 0;
}

static int aws_endpoint(tr__endpoint *e, tr_service service, const char *region, tr_error *err)
{
    char url[256];
    bool china = strncmp(region, "cn-", 3) == 0;
    (void)snprintf(url, sizeof url, "https://%s.%s.amazonaws.com%s", services[service].host, region,
                   china ? ".cn" : "");
    return parse(e, url, err);
}

int tr__endpoints_find(const tr_client_options *options, const tr__profiles *profiles, const char *profile,
                       tr__endpoint *ret_endpoints, char **ret_region, tr_error *err)
{
    tr__endpoint found[TR_SERVICE_COUNT] = {0};
    char *region = NULL;
    int code = 0;
    for (int i = 0; i < TR_SERVICE_COUNT && code == 0; i++) {
        const char *text = configured(options, profiles, profile, (tr_service)i);
        code = text ? parse(&found[i], text, err) : 0;
    }
    if (code == 0)
        code = find_region(options, profiles, profile, &found[TR_DYNAMODB], &region, err);
    for (int i = 0; i < TR_SERVICE_COUNT && code == 0; i++)
        if (!found[i].text)
            code = aws_endpoint(&found[i], (tr_service)i, region, err);
    if (code) {
        for (int i = 0; i < TR_SERVICE_COUNT; i++)
            tr__endpoint_done(&found[i]);
        tr_free(region);
        return code;
    }
    memcpy(ret_endpoints, found, sizeof found);
    *ret_region = region;
    return 0;
}
