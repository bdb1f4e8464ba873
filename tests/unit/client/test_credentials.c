/* SPDX-License-Identifier: MIT */
#include "../http/serving.h"

#include "client/credentials.h"
#include "client/endpoint.h"
#include "client/http_transport.h"

#include <tailrace/client.h>

#include <ftw.h>
#include <sys/stat.h>

static char home[64];

/* ------------------------------------------------------------------------------------------------- the
 * ground */

static const char *const variables[] = {"AWS_ACCESS_KEY_ID",
                                        "AWS_SECRET_ACCESS_KEY",
                                        "AWS_SESSION_TOKEN",
                                        "AWS_PROFILE",
                                        "AWS_REGION",
                                        "AWS_DEFAULT_REGION",
                                        "AWS_ENDPOINT_URL",
                                        "AWS_ENDPOINT_URL_DYNAMODB",
                                        "AWS_ENDPOINT_URL_DYNAMODB_STREAMS",
                                        "AWS_ENDPOINT_URL_EVENTBRIDGE",
                                        "AWS_ENDPOINT_URL_SQS",
                                        "AWS_ENDPOINT_URL_LAMBDA",
                                        "AWS_ENDPOINT_URL_STS",
                                        "AWS_WEB_IDENTITY_TOKEN_FILE",
                                        "AWS_ROLE_ARN",
                                        "AWS_ROLE_SESSION_NAME",
                                        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                                        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                                        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                                        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                                        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
                                        "AWS_EC2_METADATA_DISABLED",
                                        "AWS_CONFIG_FILE",
                                        "AWS_SHARED_CREDENTIALS_FILE",
                                        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
                                        "AWS_EC2_METADATA_V1_DISABLED"};

static void write_file(const char *name, const char *text)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", home, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    fclose(f);
}

static int clean(void **state)
{
    (void)state;
    for (size_t i = 0; i < TR_COUNT(variables); i++)
        unsetenv(variables[i]);
    (void)setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    (void)setenv("HOME", home, 1);
    write_file(".aws/config", "");
    write_file(".aws/credentials", "");
    return 0;
}

/* Fetches as a client to AWS (or not) would. */
static int find(bool is_aws, const char *profile, const char *region, tr__credentials *out,
                enum tr__source_kind *kind, tr_error *err)
{
    tr__profiles profiles;
    tr__source source;
    memset(err, 0, sizeof *err);
    *out = (tr__credentials){0};
    int code = tr__profiles_load(&profiles, err);
    if (code)
        return code;
    tr__source_options options = {
        .profile = profile, .region = region, .is_aws = is_aws, .profiles = &profiles};
    code = tr__source_init(&source, &options, err);
    if (code == 0) {
        *kind = source.kind;
        code = tr__source_fetch(&source, out, err);
        tr__source_done(&source);
    }
    tr__profiles_done(&profiles);
    return code;
}

static void found(bool is_aws, const char *profile, enum tr__source_kind kind, const char *id,
                  const char *secret, const char *token)
{
    tr__credentials c;
    tr_error err;
    enum tr__source_kind got = TR__SOURCE_DUMMY;
    int code = find(is_aws, profile, NULL, &c, &got, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(code, 0);
    assert_int_equal(got, kind);
    assert_string_equal(c.access_key_id, id);
    assert_string_equal(c.secret_access_key, secret);
    if (token)
        assert_string_equal(c.session_token, token);
    else
        assert_null(c.session_token);
    tr__credentials_done(&c);
}

static void not_found(bool is_aws, const char *profile, const char *text)
{
    tr__credentials c;
    tr_error err;
    enum tr__source_kind kind;
    assert_int_not_equal(find(is_aws, profile, NULL, &c, &kind, &err), 0);
    if (!strstr(err.message, text))
        fail_msg("\"%s\" does not say \"%s\"", err.message, text);
}

/* ------------------------------------------------------------------------------------------------- profiles
 */

static void profiles_are_read_as_the_aws_tools_read_them(void **state)
{
    (void)state;
    tr__profiles p = {0};
    tr_arena_init(&p.arena, 100000);
    static const char config[] = "\xef\xbb\xbf# a comment\n"
                                 "[default]\r\nregion=eu-west-1\r\n"
                                 "[profile dev]\n"
                                 "Region = us-west-2  # inline\n"
                                 "secret = a#b;c\n"
                                 "s3 =\n  addressing_style = path\n  x = y ; z\n"
                                 "output = json\n  a continued line\n"
                                 "empty =\n"
                                 "[services local]\n"
                                 "dynamodb = \n  endpoint_url = http://localhost:8000\n"
                                 "[ profile  spaced ]\nregion=r\n"
                                 "[sso-session s]\nsso_region=r\n";
    static const char credentials[] =
        "[dev]\naws_access_key_id = A\nregion = from-credentials\n[default]\nk = v\nk = w\n";
    assert_int_equal(tr__profiles_parse(&p, TR_VIEW(credentials), "credentials", true, NULL), 0);
    assert_int_equal(tr__profiles_parse(&p, TR_VIEW(config), "config", false, NULL), 0);
    static const char *const wanted[][4] = {
        {"profile", "default", "region", "eu-west-1"},
        {"profile", "dev", "region", "from-credentials"},
        {"profile", "dev", "secret", "a#b;c"},
        {"profile", "dev", "aws_access_key_id", "A"},
        {"profile", "dev", "s3.addressing_style", "path"},
        {"profile", "dev", "s3.x", "y"},
        {"profile", "dev", "output", "json"},
        {"profile", "spaced", "region", "r"},
        {"services", "local", "dynamodb.endpoint_url", "http://localhost:8000"},
        {"sso-session", "s", "sso_region", "r"},
        {"profile", "default", "k", "w"},
    };
    for (size_t i = 0; i < TR_COUNT(wanted); i++) {
        const char *got = tr__profiles_get(&p, wanted[i][0], wanted[i][1], wanted[i][2]);
        assert_non_null(got);
        assert_string_equal(got, wanted[i][3]);
    }
    assert_null(tr__profiles_get(&p, "profile", "dev", "empty"));
    assert_null(tr__profiles_get(&p, "profile", "dev", "no"));
    assert_true(tr__profiles_has(&p, "dev"));
    assert_false(tr__profiles_has(&p, "local"));
    tr_error err;
    assert_int_equal(tr__profiles_parse(&p, TR_VIEW("\n\n[x\n"), "F", false, &err), TR_EPARSE);
    assert_string_equal(err.message, "F, line 3: a section's name does not end in ]");
    assert_int_equal(tr__profiles_parse(&p, TR_VIEW("a = b\n"), "F", false, &err), TR_EPARSE);
    assert_int_equal(tr__profiles_parse(&p, TR_VIEW("[x]\nnonsense\n"), "F", false, &err), TR_EPARSE);
    tr__profiles_done(&p);
}

static void what_is_at_hand_is_found_in_order(void **state)
{
    clean(state);
    found(false, NULL, TR__SOURCE_DUMMY, "tailrace", "tailrace", NULL);
    not_found(true, NULL, "no AWS credentials: set AWS_ACCESS_KEY_ID");
    write_file(".aws/credentials",
               "[default]\naws_access_key_id=D\naws_secret_access_key=DS\n"
               "[other]\naws_access_key_id=O\naws_secret_access_key=OS\naws_session_token=OT\n");
    found(true, NULL, TR__SOURCE_PROFILE, "D", "DS", NULL);
    found(false, NULL, TR__SOURCE_PROFILE, "D", "DS", NULL);
    (void)setenv("AWS_PROFILE", "other", 1);
    found(true, NULL, TR__SOURCE_PROFILE, "O", "OS", "OT");
    (void)setenv("AWS_ACCESS_KEY_ID", "E", 1);
    found(true, NULL, TR__SOURCE_PROFILE, "O", "OS", "OT"); /* half is nothing */
    (void)setenv("AWS_SECRET_ACCESS_KEY", "ES", 1);
    (void)setenv("AWS_SESSION_TOKEN", "ET", 1);
    found(true, NULL, TR__SOURCE_ENVIRONMENT, "E", "ES", "ET");
    found(true, "other", TR__SOURCE_PROFILE, "O", "OS", "OT"); /* asked for by option */
    not_found(true, "nowhere", "profile \"nowhere\" is neither in");
    not_found(false, "nowhere", "profile \"nowhere\" is neither in");
    tr__profiles none = {0};
    tr__source source;
    tr_error err;
    tr__source_options half = {.access_key_id = "X", .profiles = &none};
    assert_int_equal(tr__source_init(&source, &half, &err), TR_EINVAL);
}

static void profiles_that_cannot_be_used_say_why(void **state)
{
    clean(state);
    write_file(".aws/config", "[profile sso]\nsso_session = s\n"
                              "[profile old-sso]\nsso_start_url = s\n"
                              "[profile mfa]\nrole_arn = r\nsource_profile = keys\nmfa_serial = m\n"
                              "[profile alone]\nrole_arn = r\n"
                              "[profile a]\nrole_arn = r\nsource_profile = b\n"
                              "[profile b]\nrole_arn = r\nsource_profile = a\n"
                              "[profile lost]\nrole_arn = r\nsource_profile = gone\n"
                              "[profile empty]\nregion = r\n"
                              "[profile by]\nrole_arn = r\ncredential_source = Moon\n");
    not_found(true, "sso", "IAM Identity Center");
    not_found(true, "old-sso", "aws configure export-credentials --profile old-sso");
    not_found(true, "mfa", "mfa_serial");
    not_found(true, "alone", "no source_profile, credential_source or web_identity_token_file");
    not_found(true, "a", "goes in a circle");
    not_found(true, "lost", "profile \"gone\" is neither in");
    not_found(true, "empty", "has no credentials");
    not_found(true, "by", "credential_source is \"Moon\"");
    (void)setenv("AWS_CONFIG_FILE", "~/.aws/broken", 1);
    write_file(".aws/broken", "[default\n");
    not_found(true, NULL, "broken, line 1: ");
}

static void processes_give_credentials(void **state)
{
    clean(state);
    write_file(".aws/config",
               "[profile good]\n"
               "credential_process = printf "
               "'{\"Version\":1,\"AccessKeyId\":\"P\",\"SecretAccessKey\":\"PS\",'; printf "
               "'\"SessionToken\":\"PT\",\"Expiration\":\"2100-01-01T00:00:00Z\"}'\n"
               "[profile fails]\ncredential_process = exit 3\n"
               "[profile babble]\ncredential_process = echo hello\n"
               "[profile half]\ncredential_process = echo '{\"AccessKeyId\":\"x\"}'\n"
               "[profile when]\ncredential_process = echo '{\"AccessKeyId\":\"x\",\"SecretAccessKey\":\"y\","
               "\"Expiration\":\"soon\"}'\n");
    found(true, "good", TR__SOURCE_PROFILE, "P", "PS", "PT");
    not_found(true, "fails", "credential_process failed: exit 3");
    not_found(true, "babble", "credential_process did not answer with JSON");
    not_found(true, "half", "credential_process gave no credentials");
    not_found(true, "when", "expire at \"soon\"");
}

/* ------------------------------------------------------------------------------------------------ services
 */

/* Plays the instance's metadata service, a container's, and STS. */
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;

struct fake {
    struct serving serving;
    char url[64];
    bool v1_only, no_role, sts_fails;
    atomic_int tokens, instance, container, sts, failures_left;
    tr_buf seen; /* the last body posted to STS, with its Authorization */
};

static void answer_text(tr_http_request *request, int status, const char *text)
{
    tr_http_respond_bytes(request, status, "text/plain", tr_view_str(text));
}

static void answer_sts(struct fake *f, tr_http_request *request)
{
    pthread_mutex_lock(&seen_lock);
    tr_buf_reset(&f->seen);
    tr_buf_put_view(&f->seen, request->body);
    tr_buf_putc(&f->seen, ' ');
    tr_buf_put_view(&f->seen, tr_http_header(request, "authorization"));
    assert_non_null(tr_buf_cstr(&f->seen));
    pthread_mutex_unlock(&seen_lock);
    int n = ++f->sts;
    if (f->failures_left > 0) {
        f->failures_left--;
        answer_text(request, 500, "");
        return;
    }
    if (f->sts_fails) {
        answer_text(request, 403,
                    "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
                    "<Message>not &quot;you&quot; &amp; me</Message></Error></ErrorResponse>");
        return;
    }
    tr_buf_printf(
        &request->out,
        "<AssumeRoleResponse><AssumeRoleResult><AssumedRoleUser><Arn>x</Arn></AssumedRoleUser><Credentials>"
        "<AccessKeyId>STS%d</AccessKeyId><SecretAccessKey>s/e+c</SecretAccessKey>"
        "<SessionToken>tok==</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>"
        "</AssumeRoleResult></AssumeRoleResponse>",
        n);
    tr_http_respond(request, 200, "text/xml", NULL, 0, 0);
}

static void answer_instance(struct fake *f, tr_http_request *request)
{
    static const char json[] =
        "{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"AccessKeyId\":\"I\",\"SecretAccessKey\":\"IS\","
        "\"Token\":\"IT\",\"Expiration\":\"2100-01-01T00:00:00Z\"}";
    if (tr_view_is(request->path, "/latest/api/token")) {
        f->tokens++;
        bool asked = tr_view_is(request->method, "PUT") &&
                     tr_view_is(tr_http_header(request, "x-aws-ec2-metadata-token-ttl-seconds"), "21600");
        answer_text(request, f->v1_only ? 404 : asked ? 200 : 400, f->v1_only ? "" : "the-token");
        return;
    }
    f->instance++;
    bool token = tr_view_is(tr_http_header(request, "x-aws-ec2-metadata-token"), "the-token");
    if (token == f->v1_only)
        answer_text(request, 401, "");
    else if (tr_view_is(request->path, "/latest/meta-data/iam/security-credentials/"))
        answer_text(request, f->no_role ? 404 : 200, "the-role\nanother");
    else if (tr_view_is(request->path, "/latest/meta-data/iam/security-credentials/the-role"))
        answer_text(request, 200, json);
    else if (tr_view_is(request->path, "/latest/meta-data/placement/region"))
        answer_text(request, 200, "sa-east-1");
    else
        answer_text(request, 404, "");
}

static void fake_services(void *ctx, tr_http_request *request)
{
    struct fake *f = ctx; /* its first member is the serving */
    if (tr_view_starts(request->path, TR_VIEW("/latest/"))) {
        answer_instance(f, request);
    } else if (tr_view_is(request->path, "/container")) {
        f->container++;
        bool may = tr_view_is(tr_http_header(request, "authorization"), "Bearer c");
        answer_text(request, may ? 200 : 401,
                    may ? "{\"AccessKeyId\":\"C\",\"SecretAccessKey\":\"CS\",\"Token\":\"CT\",\"Expiration\":"
                          "\"2100-01-01T00:00:00Z\"}"
                        : "{\"code\":\"Unauthorized\",\"message\":\"no\"}");
    } else {
        answer_sts(f, request);
    }
}

/* A copy of it, so that the server's thread may write the next. */
static const char *seen(struct fake *f)
{
    static char text[65536];
    pthread_mutex_lock(&seen_lock);
    assert_true(f->seen.len < sizeof text);
    memcpy(text, f->seen.ptr, f->seen.len + 1);
    pthread_mutex_unlock(&seen_lock);
    return text;
}

static void fake_start(struct fake *f)
{
    memset(f, 0, sizeof *f);
    tr_buf_init(&f->seen, 1 << 20);
    serving_start_with(&f->serving, (tr_http_options){0}, fake_services);
    (void)snprintf(f->url, sizeof f->url, "http://127.0.0.1:%u", f->serving.port);
}

static void fake_stop(struct fake *f)
{
    serving_stop(&f->serving);
    tr_buf_done(&f->seen);
}

static void instances_give_credentials_and_region(void **state)
{
    clean(state);
    struct fake f;
    fake_start(&f);
    (void)setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f.url, 1);
    not_found(true, NULL, "no AWS credentials"); /* disabled */
    assert_int_equal(f.tokens, 0);
    (void)unsetenv("AWS_EC2_METADATA_DISABLED");
    found(true, NULL, TR__SOURCE_INSTANCE, "I", "IS", "IT");
    assert_int_equal(f.tokens, 1);
    found(false, NULL, TR__SOURCE_DUMMY, "tailrace", "tailrace", NULL); /* not for a local server */
    assert_int_equal(f.tokens, 1);
    f.v1_only = true;
    found(true, NULL, TR__SOURCE_INSTANCE, "I", "IS", "IT");
    (void)setenv("AWS_EC2_METADATA_V1_DISABLED", "true", 1);
    not_found(true, NULL, "answered 404 for a token");
    f.v1_only = false;
    tr_client *client;
    tr_error err = {0};
    assert_int_equal(tr_client_new(&(tr_client_options){0}, &client, &err), 0);
    assert_string_equal(tr_client_region(client), "sa-east-1");
    assert_string_equal(tr_client_endpoint(client, TR_SQS), "https://sqs.sa-east-1.amazonaws.com");
    assert_true(tr_client_is_aws(client));
    tr_client_free(client);
    f.no_role = true;
    assert_int_equal(tr_client_new(&(tr_client_options){.region = "us-east-1"}, &client, &err), TR_EAUTH);
    assert_non_null(strstr(err.message, "this machine is no instance with a role"));
    fake_stop(&f);
}

static void containers_give_credentials(void **state)
{
    clean(state);
    struct fake f;
    char url[100];
    fake_start(&f);
    (void)snprintf(url, sizeof url, "%s/container", f.url);
    (void)setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
    not_found(true, NULL, "gave no credentials: Unauthorized: no");
    (void)setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer c", 1);
    found(true, NULL, TR__SOURCE_CONTAINER, "C", "CS", "CT");
    (void)unsetenv("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    write_file("token", "Bearer c\n");
    char path[100];
    (void)snprintf(path, sizeof path, "%s/token", home);
    (void)setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path, 1);
    found(true, NULL, TR__SOURCE_CONTAINER, "C", "CS", "CT");
    int before = f.container;
    static const char *const evil[] = {"http://example.com/", "http://localhost.example.com/",
                                       "http://169.254.170.200/", "ftp://127.0.0.1/"};
    for (size_t i = 0; i < TR_COUNT(evil); i++) { /* they would learn the token */
        (void)setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", evil[i], 1);
        not_found(true, NULL, "is neither https nor on this machine");
    }
    assert_int_equal(f.container, before);
    fake_stop(&f);
}

static void roles_are_assumed(void **state)
{
    clean(state);
    struct fake f;
    fake_start(&f);
    (void)setenv("AWS_ENDPOINT_URL_STS", f.url, 1);
    write_file(".aws/credentials",
               "[base]\naws_access_key_id=B\naws_secret_access_key=BS\naws_session_token=BT\n");
    write_file(".aws/config",
               "[profile one]\nrole_arn=arn:aws:iam::1:role/one\nsource_profile=base\nexternal_id=e x\n"
               "role_session_name=me\nduration_seconds=900\n"
               "[profile two]\nrole_arn=arn:aws:iam::1:role/two\nsource_profile=one\n"
               "[profile self]\nrole_arn=arn:aws:iam::1:role/self\nsource_profile=self\n"
               "aws_access_key_id=S\naws_secret_access_key=SS\n"
               "[profile env]\nrole_arn=arn:aws:iam::1:role/env\ncredential_source=Environment\n");
    found(true, "one", TR__SOURCE_PROFILE, "STS1", "s/e+c", "tok==");
    assert_non_null(strstr(seen(&f),
                           "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fone&"
                           "RoleSessionName=me&ExternalId=e%20x&DurationSeconds=900 AWS4-HMAC-SHA256 "
                           "Credential=B/"));
    assert_non_null(strstr(seen(&f), "/us-east-1/sts/aws4_request"));
    assert_non_null(strstr(seen(&f), "x-amz-security-token"));
    found(true, "two", TR__SOURCE_PROFILE, "STS3", "s/e+c", "tok=="); /* one role by the other */
    assert_non_null(strstr(seen(&f), "Credential=STS2/"));
    found(true, "self", TR__SOURCE_PROFILE, "STS4", "s/e+c", "tok==");
    assert_non_null(strstr(seen(&f), "Credential=S/"));
    not_found(true, "env", "are not both set");
    f.failures_left = 2;
    found(true, "one", TR__SOURCE_PROFILE, "STS7", "s/e+c", "tok=="); /* tried again */
    f.sts_fails = true;
    not_found(true, "one", "cannot assume the role arn:aws:iam::1:role/one: not \"you\" & me");
    f.sts_fails = false;
    /* web identity, by environment and by profile */
    char path[100], config[300];
    (void)snprintf(path, sizeof path, "%s/jwt", home);
    write_file("jwt", "ey.J+w\n");
    (void)setenv("AWS_WEB_IDENTITY_TOKEN_FILE", path, 1);
    (void)setenv("AWS_ROLE_ARN", "arn:r", 1);
    found(true, NULL, TR__SOURCE_WEB_IDENTITY, "STS9", "s/e+c", "tok==");
    assert_non_null(strstr(seen(&f), "Action=AssumeRoleWithWebIdentity&"));
    assert_non_null(strstr(seen(&f), "&WebIdentityToken=ey.J%2Bw "));
    assert_null(strstr(seen(&f), "AWS4")); /* not signed */
    (void)snprintf(config, sizeof config, "[profile web]\nrole_arn=arn:w\nweb_identity_token_file=%s\n",
                   path);
    write_file(".aws/config", config);
    found(true, "web", TR__SOURCE_PROFILE, "STS10", "s/e+c", "tok==");
    (void)setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/proc/nowhere", 1);
    not_found(true, NULL, "cannot read /proc/nowhere");
    fake_stop(&f);
}

/* ------------------------------------------------------------------------------------------------ endpoints
 */

static void endpoints_are_found(void **state)
{
    clean(state);
    tr_client *client;
    tr_error err = {0};
    tr_client_options keys = {.access_key_id = "a", .secret_access_key = "b"};
    assert_int_equal(tr_client_new(&keys, &client, &err), TR_EINVAL);
    assert_non_null(strstr(err.message, "no region: set AWS_REGION"));
    (void)setenv("AWS_DEFAULT_REGION", "eu-west-1", 1);
    assert_int_equal(tr_client_new(&keys, &client, &err), 0);
    assert_string_equal(tr_client_endpoint(client, TR_DYNAMODB), "https://dynamodb.eu-west-1.amazonaws.com");
    assert_string_equal(tr_client_endpoint(client, TR_STREAMS),
                        "https://streams.dynamodb.eu-west-1.amazonaws.com");
    assert_string_equal(tr_client_endpoint(client, TR_EVENTS), "https://events.eu-west-1.amazonaws.com");
    assert_string_equal(tr_client_endpoint(client, TR_LAMBDA), "https://lambda.eu-west-1.amazonaws.com");
    assert_true(tr_client_is_aws(client));
    tr_client_free(client);
    (void)setenv("AWS_REGION", "cn-north-1", 1);
    (void)setenv("AWS_ENDPOINT_URL_SQS", "http://localhost:9324/", 1);
    assert_int_equal(tr_client_new(&keys, &client, &err), 0);
    assert_string_equal(tr_client_endpoint(client, TR_DYNAMODB),
                        "https://dynamodb.cn-north-1.amazonaws.com.cn");
    assert_string_equal(tr_client_endpoint(client, TR_SQS), "http://localhost:9324");
    assert_true(tr_client_is_aws(client));
    tr_client_free(client);
    (void)setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://localhost:8000", 1);
    (void)setenv("AWS_ENDPOINT_URL", "http://localhost:4566", 1);
    assert_int_equal(tr_client_new(&(tr_client_options){0}, &client, &err), 0); /* no keys needed there */
    assert_string_equal(tr_client_endpoint(client, TR_DYNAMODB), "http://localhost:8000");
    assert_string_equal(tr_client_endpoint(client, TR_STREAMS), "http://localhost:8000");
    assert_string_equal(tr_client_endpoint(client, TR_EVENTS), "http://localhost:4566");
    assert_false(tr_client_is_aws(client));
    tr_client_free(client);
    (void)setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true", 1);
    assert_int_equal(tr_client_new(&keys, &client, &err), 0);
    assert_true(tr_client_is_aws(client));
    tr_client_free(client);
    clean(NULL);
    write_file(".aws/config", "[profile p]\nregion=r1\nservices=s\nendpoint_url=http://p:1\n"
                              "[services s]\neventbridge =\n  endpoint_url = http://e:2\n");
    keys.profile = "p";
    assert_int_equal(tr_client_new(&keys, &client, &err), 0);
    assert_string_equal(tr_client_endpoint(client, TR_EVENTS), "http://e:2");
    assert_string_equal(tr_client_endpoint(client, TR_DYNAMODB), "http://p:1");
    assert_string_equal(tr_client_region(client), "r1");
    tr_client_free(client);
    keys = (tr_client_options){.access_key_id = "a", .secret_access_key = "b"};
    keys.endpoint = "https://vpce-1-a.dynamodb.ap-southeast-2.vpce.amazonaws.com";
    assert_int_equal(tr_client_new(&keys, &client, &err), 0);
    assert_string_equal(tr_client_region(client), "ap-southeast-2");
    assert_true(tr_client_is_aws(client));
    tr_client_free(client);
    static const char *const bad[] = {"localhost:8000", "http://",    "ftp://x",
                                      "unix:relative",  "http://a b", "http://x/?q",
                                      "http:///x",      "",           "http://user@host"};
    for (size_t i = 0; i < TR_COUNT(bad); i++) {
        keys.endpoint = bad[i];
        assert_int_equal(tr_client_new(&keys, &client, &err), TR_EINVAL);
        assert_non_null(strstr(err.message, "is not an endpoint"));
    }
    keys.endpoint = "http://localhost:1";
    keys.region = "../evil";
    assert_int_equal(tr_client_new(&keys, &client, &err), TR_EINVAL);
    assert_non_null(strstr(err.message, "is not a region"));
}

static void unix_sockets_and_prefixes_are_endpoints_too(void **state)
{
    clean(state);
    struct serving s;
    char path[100], endpoint[120];
    (void)snprintf(path, sizeof path, "%s/sock", home);
    serving_start(&s, (tr_http_options){.unix_path = path});
    tr_client *client;
    tr_error err = {0};
    tr_buf body;
    tr_buf_init(&body, 10000);
    tr_request request = {.service = TR_DYNAMODB, .operation = "X", .body = TR_VIEW("{}")};
    (void)snprintf(endpoint, sizeof endpoint, "unix:%s", path);
    assert_int_equal(tr_client_new(&(tr_client_options){.endpoint = endpoint}, &client, &err), 0);
    assert_int_equal(tr_client_call_wait(client, &request, &body, &err), 0);
    assert_view(tr_buf_view(&body), "POST / {}");
    assert_string_equal(tr_client_endpoint(client, TR_EVENTS), endpoint);
    tr_client_free(client);
    tr_buf_reset(&body);
    (void)snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u/some/prefix//", s.port);
    assert_int_equal(tr_client_new(&(tr_client_options){.endpoint = endpoint}, &client, &err), 0);
    assert_int_equal(tr_client_call_wait(client, &request, &body, &err), 0);
    assert_view(tr_buf_view(&body), "POST /some/prefix/ {}");
    tr_client_free(client);
    tr_buf_done(&body);
    serving_stop(&s);
}

/* --------------------------------------------------------------------------------------------------- renewal
 */

/* Answers "who signed"; refuses keys that STS gave first, once it is told to. */
struct gate {
    struct serving serving;
    atomic_bool refuse_first;
};

static void tell_signer(void *ctx, tr_http_request *request)
{
    struct gate *g = ctx;
    tr_view auth = tr_http_header(request, "authorization");
    size_t at = tr_view_find(auth, TR_VIEW("Credential="), 0), end = tr_view_find(auth, TR_VIEW("/"), at);
    tr_view id = tr_view_of(auth.ptr + at + 11, end - at - 11);
    if (g->refuse_first && tr_view_is(id, "STS1"))
        tr_http_respond_bytes(request, 400, NULL,
                              TR_VIEW("{\"__type\":\"x#ExpiredTokenException\",\"message\":\"old\"}"));
    else
        tr_http_respond_bytes(request, 200, NULL, id);
}

static void credentials_are_fetched_when_needed_and_renewed(void **state)
{
    clean(state);
    struct fake f;
    struct gate g = {0};
    char endpoint[64];
    fake_start(&f);
    serving_start_with(&g.serving, (tr_http_options){0}, tell_signer);
    (void)snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u", g.serving.port);
    (void)setenv("AWS_ENDPOINT_URL_STS", f.url, 1);
    write_file(".aws/credentials", "[base]\naws_access_key_id=B\naws_secret_access_key=BS\n");
    write_file(".aws/config", "[profile one]\nrole_arn=arn:r\nsource_profile=base\n");
    tr_client *client;
    tr_error err = {0};
    tr_buf body;
    tr_buf_init(&body, 10000);
    assert_int_equal(
        tr_client_new(&(tr_client_options){.endpoint = endpoint, .profile = "one"}, &client, &err), 0);
    assert_int_equal(f.sts, 0); /* nothing is sent yet */
    tr_request request = {.service = TR_DYNAMODB, .operation = "X"};
    for (int i = 0; i < 3; i++) {
        tr_buf_reset(&body);
        assert_int_equal(tr_client_call_wait(client, &request, &body, &err), 0);
        assert_view(tr_buf_view(&body), "STS1");
    }
    assert_int_equal(f.sts, 1);
    usleep(1100000); /* what is younger than a second is not thrown away */
    g.refuse_first = true;
    tr_buf_reset(&body);
    assert_int_equal(tr_client_call_wait(client, &request, &body, &err), 0);
    assert_view(tr_buf_view(&body), "STS2");
    assert_int_equal(f.sts, 2);
    tr_client_free(client);
    /* what cannot be fetched fails the requests that wait for it, not the client */
    f.sts_fails = true;
    assert_int_equal(
        tr_client_new(&(tr_client_options){.endpoint = endpoint, .profile = "one"}, &client, &err), 0);
    assert_int_equal(tr_client_call_wait(client, &request, NULL, &err), TR_EAUTH);
    assert_non_null(strstr(err.message, "cannot assume the role arn:r"));
    f.sts_fails = false;
    assert_int_equal(tr_client_call_wait(client, &request, NULL, &err), 0);
    tr_client_free(client);
    tr_buf_done(&body);
    serving_stop(&g.serving);
    fake_stop(&f);
}

static atomic_int canceled;

static void note_cancel(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    (void)ctx;
    (void)reply;
    (void)err;
    canceled += code == TR_ECANCELED;
}

static void freeing_ends_a_fetch(void **state)
{
    clean(state);
    write_file(".aws/config", "[profile slow]\ncredential_process = sleep 100\n");
    tr_client *client;
    tr_client_options options = {.endpoint = "http://127.0.0.1:1", .profile = "slow"};
    assert_int_equal(tr_client_new(&options, &client, NULL), 0);
    tr_request request = {.service = TR_DYNAMODB, .operation = "X"};
    for (int i = 0; i < 3; i++)
        assert_int_equal(tr_client_call(client, &request, note_cancel, NULL), 0);
    usleep(50000);
    int64_t begin = tr_clock_mono_ms();
    tr_client_free(client);
    assert_true(tr_clock_mono_ms() - begin < 90000); /* the program would take 100 s */
    assert_int_equal(canceled, 3);
}

static void http_dates_are_read(void **state)
{
    (void)state;
    int64_t ms;
    assert_int_equal(tr__http_date_parse(TR_VIEW("Sun, 06 Nov 1994 08:49:37 GMT"), &ms), 0);
    assert_int_equal(ms, INT64_C(784111777000));
    static const char *const bad[] = {"", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 06 Nox 1994 08:49:37 GMT",
                                      "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 36 Nov 1994 08:49:37 GMT"};
    for (size_t i = 0; i < TR_COUNT(bad); i++)
        assert_int_equal(tr__http_date_parse(tr_view_str(bad[i]), &ms), TR_EPARSE);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

int main(void)
{
    char aws[100];
    (void)snprintf(home, sizeof home, "/tmp/tailrace-XXXXXX");
    if (!mkdtemp(home))
        return 1;
    (void)snprintf(aws, sizeof aws, "%s/.aws", home);
    (void)mkdir(aws, 0700);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profiles_are_read_as_the_aws_tools_read_them),
        cmocka_unit_test(what_is_at_hand_is_found_in_order),
        cmocka_unit_test(profiles_that_cannot_be_used_say_why),
        cmocka_unit_test(processes_give_credentials),
        cmocka_unit_test(instances_give_credentials_and_region),
        cmocka_unit_test(containers_give_credentials),
        cmocka_unit_test(roles_are_assumed),
        cmocka_unit_test(endpoints_are_found),
        cmocka_unit_test(unix_sockets_and_prefixes_are_endpoints_too),
        cmocka_unit_test(credentials_are_fetched_when_needed_and_renewed),
        cmocka_unit_test(freeing_ends_a_fetch),
        cmocka_unit_test(http_dates_are_read),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)nftw(home, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return failed;
}
