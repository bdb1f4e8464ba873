/* SPDX-License-Identifier: MIT */
/** The verdicts and error texts that AWS gave, case by case: data/event-patterns.jsonl. */
#include "../test.h"

#include <stdlib.h>

#include <cjson/cJSON.h>

#include <tailrace/pattern.h>

#include "unit/pattern/pattern_data.h"

static char *print(const cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);
    assert_non_null(text);
    return text;
}

static void check(const cJSON *line)
{
    const char *name = cJSON_GetObjectItem(line, "name")->valuestring;
    const char *expect = cJSON_GetObjectItem(line, "expect")->valuestring;
    char *event = print(cJSON_GetObjectItem(line, "event")),
         *text = print(cJSON_GetObjectItem(line, "pattern"));
    tr_pattern *pattern = NULL;
    tr_error err = {0};
    int e = tr_pattern_compile(tr_view_str(text), NULL, &pattern, &err);
    if (strcmp(expect, "error") == 0) {
        if (e == 0)
            fail_msg("%s: the pattern was taken", name);
        assert_int_equal(e, TR_EINVAL);
        assert_int_equal(err.http_status, 400);
        assert_string_equal(err.type, "InvalidEventPatternException");
        if (strcmp(err.message, cJSON_GetObjectItem(line, "message")->valuestring) != 0)
            fail_msg("%s: %s", name, err.message);
    } else {
        bool match = false;
        if (e)
            fail_msg("%s: %s", name, err.message);
        assert_int_equal(tr_pattern_check_event(tr_view_str(event), &err), 0);
        assert_int_equal(tr_pattern_match(pattern, NULL, tr_view_str(event), &match, &err), 0);
        if (match != (strcmp(expect, "match") == 0))
            fail_msg("%s: expected %s", name, expect);
    }
    tr_pattern_free(pattern);
    cJSON_free(event);
    cJSON_free(text);
}

static void answers_as_recorded_on_aws(void **state)
{
    (void)state;
    FILE *file = fopen(TR_PATTERN_CASES, "r");
    assert_non_null(file);
    char *line = NULL;
    size_t cap = 0, cases = 0;
    while (getline(&line, &cap, file) > 0) {
        cJSON *json = cJSON_Parse(line);
        assert_non_null(json);
        check(json);
        cJSON_Delete(json);
        cases++;
    }
    free(line);
    (void)fclose(file);
    assert_int_equal(cases, 90);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers_as_recorded_on_aws)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
