/* SPDX-License-Identifier: MIT */
/** What each operator matches, in the words of the service's documentation and beyond them. */
#include "pattern_test.h"

struct example {
    const char *pattern, *event;
    bool match;
};

static void check(const struct example *examples, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (matches(examples[i].pattern, examples[i].event) != examples[i].match)
            fail_msg("%s on %s: expected %d", examples[i].pattern, examples[i].event, examples[i].match);
}
#define CHECK(...)                                                                                           \
    do {                                                                                                     \
        (void)state;                                                                                         \
        static const struct example examples[] = {__VA_ARGS__};                                              \
        check(examples, TR_COUNT(examples));                                                                 \
    } while (0)

static void exact_values(void **state)
{
    CHECK({"{\"a\":[\"x\"]}", "{\"a\":\"x\"}", true}, {"{\"a\":[\"x\"]}", "{\"a\":\"X\"}", false},
          {"{\"a\":[\"x\"]}", "{\"A\":\"x\"}", false}, {"{\"a\":[\"1\"]}", "{\"a\":1}", false},
          {"{\"a\":[1]}", "{\"a\":\"1\"}", false}, {"{\"a\":[true]}", "{\"a\":true}", true},
          {"{\"a\":[true]}", "{\"a\":\"true\"}", false}, {"{\"a\":[null]}", "{\"a\":null}", true},
          {"{\"a\":[null]}", "{\"a\":\"\"}", false}, {"{\"a\":[null]}", "{\"a\":\"null\"}", false},
          {"{\"a\":[null]}", "{\"a\":[]}", false}, {"{\"a\":[null]}", "{}", false},
          {"{\"a\":[\"\"]}", "{\"a\":\"\"}", true}, {"{\"a\":[\"\"]}", "{\"a\":null}", false},
          {"{\"a\":[{\"exactly\":\"x\"}]}", "{\"a\":\"x\"}", true}, {"{\"a\":[\"x\",2]}", "{\"a\":2}", true},
          {"{\"a\":[\"x\"],\"b\":[\"y\"]}", "{\"a\":\"x\"}", false},
          {"{\"a\":[\"x\"],\"b\":[\"y\"]}", "{\"b\":\"y\",\"a\":\"x\"}", true},
          {"{\"detail\":{\"k\":[\"v\"]}}", "{\"detail\":\"{\\\"k\\\":\\\"v\\\"}\"}", false});
}

static void texts_are_compared_decoded(void **state)
{
    CHECK({"{\"a\":[\"\\u00e9\\n\"]}", "{\"a\":\"\xc3\xa9\\u000a\"}", true},
          {"{\"\\u0061\":[\"x\"]}", "{\"a\":\"x\"}", true},
          {"{\"a\":[\"x\"]}", "{\"\\u0061\":\"\\u0078\"}", true},
          {"{\"a\":[\"\\ud83d\\ude00\"]}", "{\"a\":\"\xf0\x9f\x98\x80\"}", true},
          {"{\"a\":[\"q\\\"\\\\\"]}", "{\"a\":\"q\\\"\\\\\"}", true},
          {"{\"a\":[\"x\\u0000\"]}", "{\"a\":\"x\"}", false},
          {"{\"a\":[\"x\\u0000y\"]}", "{\"a\":\"x\\u0000y\"}", true});
}

static void numbers_compare_by_value(void **state)
{
    CHECK({"{\"a\":[300]}", "{\"a\":300.0}", true}, {"{\"a\":[300.0]}", "{\"a\":3e2}", true},
          {"{\"a\":[0]}", "{\"a\":-0}", true}, {"{\"a\":[-0.0]}", "{\"a\":0e5}", true},
          {"{\"a\":[0.1]}", "{\"a\":1E-1}", true}, {"{\"a\":[0.1]}", "{\"a\":0.10000000000000001}", false},
          {"{\"a\":[0.30000000000000004]}", "{\"a\":30000000000000004e-17}", true},
          {"{\"a\":[0.3]}", "{\"a\":0.30000000000000004}", false},
          {"{\"a\":[9007199254740992]}", "{\"a\":9007199254740993}", false},
          {"{\"a\":[1e22]}", "{\"a\":10000000000000000000000}", true},
          {"{\"a\":[1e23]}", "{\"a\":100000000000000000000000.0}", true},
          /* no binary64 keeps these: they equal their own text only, and no range holds them */
          {"{\"a\":[12345678901234567890]}", "{\"a\":12345678901234567890}", true},
          {"{\"a\":[12345678901234567890]}", "{\"a\":12345678901234567890.0}", false},
          {"{\"a\":[1e400]}", "{\"a\":1e400}", true},
          {"{\"a\":[{\"numeric\":[\">\",0]}]}", "{\"a\":12345678901234567890}", false},
          {"{\"a\":[{\"anything-but\":1}]}", "{\"a\":12345678901234567890}", true});
}

static void numeric_ranges(void **state)
{
    CHECK({"{\"a\":[{\"numeric\":[\"=\",5]}]}", "{\"a\":5.0}", true},
          {"{\"a\":[{\"numeric\":[\"<\",5]}]}", "{\"a\":5}", false},
          {"{\"a\":[{\"numeric\":[\"<=\",5]}]}", "{\"a\":5}", true},
          {"{\"a\":[{\"numeric\":[\"<\",5]}]}", "{\"a\":4.999999999999999}", true},
          {"{\"a\":[{\"numeric\":[\">\",5]}]}", "{\"a\":5}", false},
          {"{\"a\":[{\"numeric\":[\">\",5]}]}", "{\"a\":5.000000000000001}", true},
          {"{\"a\":[{\"numeric\":[\">=\",5]}]}", "{\"a\":5}", true},
          {"{\"a\":[{\"numeric\":[\">\",0,\"<=\",5]}]}", "{\"a\":0}", false},
          {"{\"a\":[{\"numeric\":[\">\",0,\"<=\",5]}]}", "{\"a\":5}", true},
          {"{\"a\":[{\"numeric\":[\">\",-5,\"<\",-1.5]}]}", "{\"a\":-2}", true},
          {"{\"a\":[{\"numeric\":[\">\",-5,\"<\",-1.5]}]}", "{\"a\":-1.5}", false},
          {"{\"a\":[{\"numeric\":[\"<\",0]}]}", "{\"a\":-1e300}", true},
          {"{\"a\":[{\"numeric\":[\"<\",5]}]}", "{\"a\":\"4\"}", false},
          {"{\"a\":[{\"numeric\":[\"<\",5]}]}", "{\"a\":null}", false},
          {"{\"a\":[{\"numeric\":[\"<\",5]}]}", "{\"a\":[7,4]}", true});
}

static void prefixes_and_suffixes(void **state)
{
    CHECK({"{\"a\":[{\"prefix\":\"ab\"}]}", "{\"a\":\"abc\"}", true},
          {"{\"a\":[{\"prefix\":\"ab\"}]}", "{\"a\":\"ab\"}", true},
          {"{\"a\":[{\"prefix\":\"ab\"}]}", "{\"a\":\"a\"}", false},
          {"{\"a\":[{\"prefix\":\"ab\"}]}", "{\"a\":\"AB\"}", false},
          {"{\"a\":[{\"prefix\":\"\"}]}", "{\"a\":\"\"}", true},
          {"{\"a\":[{\"prefix\":\"\"}]}", "{\"a\":1}", false},
          {"{\"a\":[{\"prefix\":\"1\"}]}", "{\"a\":12}", false},
          {"{\"a\":[{\"suffix\":\"bc\"}]}", "{\"a\":\"abc\"}", true},
          {"{\"a\":[{\"suffix\":\"bc\"}]}", "{\"a\":\"c\"}", false},
          {"{\"a\":[{\"suffix\":\"\"}]}", "{\"a\":\"x\"}", true},
          {"{\"a\":[{\"suffix\":\"\xc3\xa9\"}]}", "{\"a\":\"caf\xc3\xa9\"}", true},
          {"{\"a\":[{\"prefix\":{\"equals-ignore-case\":\"EvEnT\"}}]}", "{\"a\":\"eVENTb\"}", true},
          {"{\"a\":[{\"suffix\":{\"equals-ignore-case\":\".PNG\"}}]}", "{\"a\":\"x.pNg\"}", true},
          {"{\"a\":[{\"suffix\":{\"equals-ignore-case\":\".PNG\"}}]}", "{\"a\":\"x.jpg\"}", false});
}

static void ignoring_case(void **state)
{
    CHECK({"{\"a\":[{\"equals-ignore-case\":\"ALL-IN\"}]}", "{\"a\":\"all-In\"}", true},
          {"{\"a\":[{\"equals-ignore-case\":\"\"}]}", "{\"a\":\"\"}", true},
          {"{\"a\":[{\"equals-ignore-case\":\"\"}]}", "{\"a\":\"x\"}", false},
          {"{\"a\":[{\"equals-ignore-case\":\"\xc3\x89T\xc3\xa9\"}]}", "{\"a\":\"\xc3\xa9t\xc3\x89\"}", true},
          {"{\"a\":[{\"equals-ignore-case\":\"\xd0\x9c\xd0\x98\xd0\xa0\"}]}",
           "{\"a\":\"\xd0\xbc\xd0\xb8\xd1\x80\"}", true},
          /* letters whose other case has another length in UTF-8 */
          {"{\"a\":[{\"equals-ignore-case\":\"\xc8\xba\"}]}", "{\"a\":\"\xe2\xb1\xa5\"}", true},
          /* [ is not the capital of { */
          {"{\"a\":[{\"equals-ignore-case\":\"[\"}]}", "{\"a\":\"{\"}", false},
          {"{\"a\":[{\"equals-ignore-case\":\"@\"}]}", "{\"a\":\"`\"}", false});
}

static void wildcards(void **state)
{
    CHECK({"{\"a\":[{\"wildcard\":\"*\"}]}", "{\"a\":\"\"}", true},
          {"{\"a\":[{\"wildcard\":\"*\"}]}", "{\"a\":1}", false},
          {"{\"a\":[{\"wildcard\":\"\"}]}", "{\"a\":\"x\"}", false},
          {"{\"a\":[{\"wildcard\":\"x\"}]}", "{\"a\":\"x\"}", true},
          {"{\"a\":[{\"wildcard\":\"a*\"}]}", "{\"a\":\"a\"}", true},
          {"{\"a\":[{\"wildcard\":\"*a\"}]}", "{\"a\":\"ba\"}", true},
          {"{\"a\":[{\"wildcard\":\"a*b\"}]}", "{\"a\":\"ab\"}", true},
          {"{\"a\":[{\"wildcard\":\"ab*ba\"}]}", "{\"a\":\"aba\"}", false},
          {"{\"a\":[{\"wildcard\":\"a*b*c\"}]}", "{\"a\":\"a-b-b-c\"}", true},
          {"{\"a\":[{\"wildcard\":\"a*b*c\"}]}", "{\"a\":\"ac\"}", false},
          {"{\"a\":[{\"wildcard\":\"*aab*\"}]}", "{\"a\":\"xaaaby\"}", true},
          {"{\"a\":[{\"wildcard\":\"*aba*aba*\"}]}", "{\"a\":\"ababa\"}", false},
          {"{\"a\":[{\"wildcard\":\"*aba*aba*\"}]}", "{\"a\":\"abaaba\"}", true},
          {"{\"a\":[{\"wildcard\":\"a\\\\*b\"}]}", "{\"a\":\"a*b\"}", true},
          {"{\"a\":[{\"wildcard\":\"a\\\\*b\"}]}", "{\"a\":\"axb\"}", false},
          {"{\"a\":[{\"wildcard\":\"*\\\\\\\\*\"}]}", "{\"a\":\"x\\\\y\"}", true},
          {"{\"a\":[{\"wildcard\":\"*\\\\**\"}]}", "{\"a\":\"xy\"}", false});
}

static void networks(void **state)
{
    CHECK({"{\"a\":[{\"cidr\":\"10.0.0.0/24\"}]}", "{\"a\":\"10.0.0.255\"}", true},
          {"{\"a\":[{\"cidr\":\"10.0.0.77/24\"}]}", "{\"a\":\"10.0.0.1\"}", true},
          {"{\"a\":[{\"cidr\":\"10.0.0.0/24\"}]}", "{\"a\":\"10.0.1.0\"}", false},
          {"{\"a\":[{\"cidr\":\"10.0.0.2/31\"}]}", "{\"a\":\"10.0.0.3\"}", true},
          {"{\"a\":[{\"cidr\":\"10.0.0.2/31\"}]}", "{\"a\":\"10.0.0.1\"}", false},
          {"{\"a\":[{\"cidr\":\"0.0.0.0/0\"}]}", "{\"a\":\"255.255.255.255\"}", true},
          {"{\"a\":[{\"cidr\":\"0.0.0.0/0\"}]}", "{\"a\":\"256.1.1.1\"}", false},
          {"{\"a\":[{\"cidr\":\"0.0.0.0/0\"}]}", "{\"a\":\"::1\"}", false},
          {"{\"a\":[{\"cidr\":\"2001:db8::/33\"}]}", "{\"a\":\"2001:DB8:7fff::\"}", true},
          {"{\"a\":[{\"cidr\":\"2001:db8::/33\"}]}", "{\"a\":\"2001:db8:8000::\"}", false},
          {"{\"a\":[{\"cidr\":\"10.0.0.0/8\"}]}", "{\"a\":\"::ffff:0a01:0203\"}", true},
          {"{\"a\":[{\"cidr\":\"10.0.0.0/8\"}]}", "{\"a\":10}", false},
          {"{\"a\":[{\"cidr\":\"10.0.0.0/8\"}]}", "{\"a\":\"10.0.0.1 \"}", false},
          /* an address as a plain string */
          {"{\"a\":[\"10.0.0.1\"]}", "{\"a\":\"10.0.0.1\"}", true},
          {"{\"a\":[\"::1\"]}", "{\"a\":\"0:0:0:0:0:0:0:1\"}", true},
          {"{\"a\":[{\"anything-but\":\"::1\"}]}", "{\"a\":\"0:0:0:0:0:0:0:1\"}", true});
}

static void existence_is_of_leaves(void **state)
{
    CHECK({"{\"a\":[{\"exists\":true}]}", "{\"a\":null}", true},
          {"{\"a\":[{\"exists\":true}]}", "{\"a\":{\"b\":1}}", false},
          {"{\"a\":[{\"exists\":true}]}", "{\"a\":{}}", false},
          {"{\"a\":[{\"exists\":true}]}", "{\"a\":[]}", false},
          {"{\"a\":[{\"exists\":true}]}", "{\"a\":[{\"b\":1},7]}", true},
          {"{\"a\":[{\"exists\":false}]}", "{}", true},
          {"{\"a\":[{\"exists\":false}]}", "{\"a\":{\"b\":1}}", true},
          {"{\"a\":[{\"exists\":false}]}", "{\"a\":[]}", true},
          {"{\"a\":[{\"exists\":false}]}", "{\"a\":0}", false},
          {"{\"a\":[{\"exists\":false},\"x\"]}", "{\"a\":\"x\"}", true},
          {"{\"a\":[{\"exists\":false},\"x\"]}", "{\"a\":\"y\"}", false},
          {"{\"a\":[{\"exists\":false}],\"b\":[1]}", "{\"b\":1}", true},
          {"{\"a\":[{\"exists\":false}],\"b\":[1]}", "{\"b\":2}", false});
}

static void anything_but(void **state)
{
    CHECK({"{\"a\":[{\"anything-but\":\"x\"}]}", "{\"a\":\"y\"}", true},
          {"{\"a\":[{\"anything-but\":\"x\"}]}", "{\"a\":\"x\"}", false},
          {"{\"a\":[{\"anything-but\":\"x\"}]}", "{\"a\":null}", true},
          {"{\"a\":[{\"anything-but\":\"x\"}]}", "{\"a\":5}", true},
          {"{\"a\":[{\"anything-but\":\"x\"}]}", "{}", false},
          {"{\"a\":[{\"anything-but\":\"x\"}]}", "{\"a\":[]}", false},
          {"{\"a\":[{\"anything-but\":5}]}", "{\"a\":5.0}", false},
          {"{\"a\":[{\"anything-but\":5}]}", "{\"a\":\"5\"}", true},
          {"{\"a\":[{\"anything-but\":[1,2]}]}", "{\"a\":2}", false},
          {"{\"a\":[{\"anything-but\":[\"x\",\"y\"]}]}", "{\"a\":[\"x\",\"y\"]}", false},
          {"{\"a\":[{\"anything-but\":[\"x\",\"y\"]}]}", "{\"a\":[\"x\",\"z\"]}", true},
          /* two tests of the set are true of one value, none of the other */
          {"{\"a\":[{\"anything-but\":{\"prefix\":[\"x\",\"xy\"]}}]}", "{\"a\":[\"xyz\",\"z\"]}", true},
          {"{\"a\":[{\"anything-but\":{\"wildcard\":[\"*a*\",\"*b*\"]}}]}", "{\"a\":[\"ab\",\"c\"]}", true},
          {"{\"a\":[{\"anything-but\":{\"suffix\":\".txt\"}}]}", "{\"a\":\"x.txt\"}", false},
          {"{\"a\":[{\"anything-but\":{\"equals-ignore-case\":[\"A\",\"b\"]}}]}", "{\"a\":\"B\"}", false},
          {"{\"a\":[{\"anything-but\":{\"wildcard\":\"\"}}]}", "{\"a\":\"x\"}", true},
          {"{\"a\":[{\"anything-but\":\"x\"},{\"anything-but\":\"y\"}]}", "{\"a\":\"x\"}", true},
          {"{\"a\":[\"x\",{\"anything-but\":{\"prefix\":\"x\"}}]}", "{\"a\":\"xx\"}", false},
          {"{\"a\":[\"xx\",{\"anything-but\":{\"prefix\":\"x\"}}]}", "{\"a\":\"xx\"}", true});
}

static void or_joins_branches(void **state)
{
    CHECK({"{\"$or\":[{\"a\":[1]},{\"b\":[2]}]}", "{\"b\":2}", true},
          {"{\"$or\":[{\"a\":[1]},{\"b\":[2]}]}", "{\"a\":2}", false},
          {"{\"c\":[3],\"$or\":[{\"a\":[1]},{\"b\":[2]}]}", "{\"a\":1}", false},
          {"{\"c\":[3],\"$or\":[{\"a\":[1]},{\"b\":[2]}]}", "{\"a\":1,\"c\":3}", true},
          {"{\"d\":{\"$or\":[{\"a\":[1],\"b\":[2]},{\"c\":[3]}]}}", "{\"d\":{\"a\":1,\"b\":2}}", true},
          {"{\"d\":{\"$or\":[{\"a\":[1],\"b\":[2]},{\"c\":[3]}]}}", "{\"d\":{\"a\":1}}", false},
          {"{\"$or\":[{\"a\":[1]},{\"$or\":[{\"b\":[2]},{\"c\":[3]}]}]}", "{\"c\":3}", true},
          {"{\"$or\":[{\"a\":[1]},{\"b\":[1]}],\"x\":{\"$or\":[{\"c\":[1]},{\"d\":[1]}]}}",
           "{\"b\":1,\"x\":{\"c\":1}}", true},
          {"{\"$or\":[{\"a\":[1]},{\"b\":[1]}],\"x\":{\"$or\":[{\"c\":[1]},{\"d\":[1]}]}}",
           "{\"a\":1,\"b\":1}", false},
          /* a field of a branch takes the place of one of the same path before it */
          {"{\"a\":[1],\"$or\":[{\"a\":[2]},{\"b\":[1]}]}", "{\"a\":2}", true});
}

static void keys_join_with_dots(void **state)
{
    CHECK({"{\"a.b\":[1]}", "{\"a\":{\"b\":1}}", true}, {"{\"a\":{\"b\":[1]}}", "{\"a.b\":1}", true},
          {"{\"a\":{\"b\":{\"c\":[1]}}}", "{\"a\":{\"b.c\":1}}", true},
          {"{\"a.b\":{\"c\":[1]}}", "{\"a\":{\"b.c\":1}}", true},
          {"{\"a.b\":[1]}", "{\"a\":{\"b\":{\"c\":1}}}", false},
          {"{\"a..b\":[1]}", "{\"a\":{\"\":{\"b\":1}}}", true}, {"{\"a.b\":[1]}", "{\"a\":1,\"b\":1}", false},
          {"{\"\":[1]}", "{\"\":1}", true},
          {"{\"a\":{\"b\":[1]},\"a.b\":[2]}", "{\"a\":{\"b\":2}}", true}, /* the last one counts */
          {"{\"a\":{\"b\":[1]},\"a.b\":[2]}", "{\"a\":{\"b\":1}}", false},
          {"{\"a.\":[1]}", "{\"a\":{\"\":1}}", true});
}

static void arrays_of_the_event(void **state)
{
    CHECK({"{\"a\":[2]}", "{\"a\":[1,2]}", true}, {"{\"a\":[2]}", "{\"a\":[[1],[[2]]]}", true},
          {"{\"a\":{\"b\":[2]}}", "{\"a\":[{\"b\":1},{\"b\":2}]}", true},
          {"{\"a\":{\"b\":[1],\"c\":[1]}}", "{\"a\":[{\"b\":1},{\"c\":1}]}", false},
          {"{\"a\":{\"b\":[1],\"c\":[1]}}", "{\"a\":[{\"b\":1},{\"c\":1,\"b\":1}]}", true},
          {"{\"a\":{\"b\":[1],\"c\":[1]}}", "{\"a\":[[{\"b\":1},{\"c\":1}]]}", false},
          {"{\"a\":{\"b\":[1],\"c\":[1]}}", "{\"a\":[{\"x\":1}],\"a.b\":1,\"a.c\":1}", true},
          {"{\"a\":{\"b\":[1],\"c\":[1]}}", "{\"a\":[{\"b\":1}],\"a.c\":1}", true},
          /* different arrays need not agree, nested ones must */
          {"{\"a\":{\"x\":[1]},\"b\":{\"y\":[1]}}", "{\"a\":[{},{\"x\":1}],\"b\":[{\"y\":1}]}", true},
          {"{\"a\":{\"b\":{\"x\":[1]},\"c\":[1]}}",
           "{\"a\":[{\"b\":[{\"x\":1}]},{\"b\":[{\"x\":2}],\"c\":1}]}", false},
          {"{\"a\":{\"b\":{\"x\":[1],\"y\":[1]},\"c\":[1]}}",
           "{\"a\":[{\"b\":[{\"x\":1},{\"y\":1}],\"c\":1},{\"b\":[{\"x\":1,\"y\":1}],\"c\":1}]}", true},
          {"{\"a\":{\"b\":[1]},\"a.c\":[1]}", "{\"a\":[{\"b\":1},{\"c\":1}]}", false},
          /* absent from the element that the earlier field was found in */
          {"{\"a\":{\"b\":[1],\"c\":[{\"exists\":false}]}}", "{\"a\":[{\"b\":1},{\"c\":1}]}", true},
          {"{\"a\":{\"b\":[1],\"c\":[{\"exists\":false}]}}", "{\"a\":[{\"b\":1,\"c\":1},{\"b\":2}]}", false},
          {"{\"a\":{\"b\":[{\"exists\":false}],\"c\":[1]}}", "{\"a\":[{\"b\":1},{\"c\":1}]}", false},
          /* the same key twice: both values count */
          {"{\"a\":[1],\"b\":[2]}", "{\"a\":2,\"a\":1,\"b\":2}", true});
}

static void stream_records(void **state)
{
    static const char record[] = "{\"eventID\":\"1\",\"eventName\":\"INSERT\",\"eventSource\":\"aws:"
                                 "dynamodb\",\"dynamodb\":{\"Keys\":{\"id\":{\"S\":\"i1\"}},"
                                 "\"NewImage\":{\"id\":{\"S\":\"i1\"},\"n\":{\"N\":\"42\"},\"tags\":{\"SS\":["
                                 "\"a\",\"b\"]}},\"SizeBytes\":26}}";
    CHECK({"{\"eventName\":[\"INSERT\"]}", record, true},
          {"{\"eventName\":[\"MODIFY\",\"REMOVE\"]}", record, false},
          {"{\"dynamodb\":{\"NewImage\":{\"n\":{\"N\":[\"42\"]}}}}", record, true},
          {"{\"dynamodb\":{\"NewImage\":{\"n\":{\"N\":[{\"numeric\":[\">\",1]}]}}}}", record, false},
          {"{\"dynamodb\":{\"NewImage\":{\"tags\":{\"SS\":[\"b\"]}}}}", record, true},
          {"{\"dynamodb\":{\"NewImage\":{\"n\":[{\"exists\":true}]}}}", record, false},
          {"{\"dynamodb\":{\"OldImage\":{\"id\":{\"S\":[{\"exists\":false}]}}}}", record, true},
          {"{\"dynamodb\":{\"SizeBytes\":[{\"numeric\":[\">\",20]}]}}", record, true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(exact_values),
                                       cmocka_unit_test(texts_are_compared_decoded),
                                       cmocka_unit_test(numbers_compare_by_value),
                                       cmocka_unit_test(numeric_ranges),
                                       cmocka_unit_test(prefixes_and_suffixes),
                                       cmocka_unit_test(ignoring_case),
                                       cmocka_unit_test(wildcards),
                                       cmocka_unit_test(networks),
                                       cmocka_unit_test(existence_is_of_leaves),
                                       cmocka_unit_test(anything_but),
                                       cmocka_unit_test(or_joins_branches),
                                       cmocka_unit_test(keys_join_with_dots),
                                       cmocka_unit_test(arrays_of_the_event),
                                       cmocka_unit_test(stream_records)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
