/* SPDX-License-Identifier: MIT */
#include "item_test.h"

#include <stdlib.h>

typedef struct fixture {
    tr_arena arena;
    tr_buf packed, other, out;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tr_arena_init(&f->arena, 1 << 20);
    tr_buf_init(&f->packed, 1 << 20);
    tr_buf_init(&f->other, 1 << 20);
    tr_buf_init(&f->out, 1 << 20);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    tr_arena_done(&f->arena);
    tr_buf_done(&f->packed);
    tr_buf_done(&f->other);
    tr_buf_done(&f->out);
    free(f);
    return 0;
}

static tr_item item_of(fixture *f, const char *json)
{
    tr_item_error error;
    if (pack_json(json, &f->arena, &f->packed, &error))
        fail_msg("%s: %s", json, tr_item_problem_text(error.problem));
    return tr_buf_view(&f->packed);
}

/* -------------------------------------------------------------------------------------- DynamoDB JSON */

static void all_types_both_ways(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *in, *out; /* out NULL: as in */
    } cases[] = {
        {"{}", NULL},
        {"{\"s\":{\"S\":\"text\"}}", NULL},
        {"{\"s\":{\"S\":\"\"}}", NULL},
        {"{\"\":{\"S\":\"\"}}", NULL},
        {"{\"s\":{\"S\":\"a\\u0000b\"}}", NULL},
        {"{\"s\":{\"S\":\"quote \\\" slash \\\\ line \\n bell \\u0007\"}}", NULL},
        {"{\"a\\\"b\":{\"S\":\"x\"},\"c\\n\":{\"S\":\"y\"}}", NULL},
        {"{\"s\":{\"S\":\"\\u00e9\\ud83d\\ude00\"}}", "{\"s\":{\"S\":\"\xc3\xa9\xf0\x9f\x98\x80\"}}"},
        {"{\"n\":{\"N\":\"-1.50\"}}", "{\"n\":{\"N\":\"-1.5\"}}"},
        {"{\"n\":{\"N\":\"1e3\"}}", "{\"n\":{\"N\":\"1000\"}}"},
        {"{\"n\":{\"N\":\"1\\u0032\"}}", "{\"n\":{\"N\":\"12\"}}"},
        {"{\"b\":{\"B\":\"AAEC\"}}", NULL},
        {"{\"b\":{\"B\":\"\"}}", NULL},
        {"{\"y\":{\"BOOL\":true},\"n\":{\"BOOL\":false}}", "{\"n\":{\"BOOL\":false},\"y\":{\"BOOL\":true}}"},
        {"{\"x\":{\"NULL\":true}}", NULL},
        {"{\"l\":{\"L\":[]}}", NULL},
        {"{\"l\":{\"L\":[{\"S\":\"z\"},{\"N\":\"1\"},{\"L\":[]},{\"NULL\":true},{\"M\":{}}]}}", NULL},
        {"{\"m\":{\"M\":{\"b\":{\"S\":\"1\"},\"a\":{\"M\":{}}}}}",
         "{\"m\":{\"M\":{\"a\":{\"M\":{}},\"b\":{\"S\":\"1\"}}}}"},
        {"{\"x\":{\"SS\":[\"b\",\"a\",\"ab\",\"\"]}}", "{\"x\":{\"SS\":[\"\",\"a\",\"ab\",\"b\"]}}"},
        {"{\"x\":{\"SS\":[\"b\\\"\",\"a\\n\"]}}", "{\"x\":{\"SS\":[\"a\\n\",\"b\\\"\"]}}"},
        {"{\"x\":{\"NS\":[\"10\",\"9\",\"-1\",\"-10\",\"0\",\"1e-9\"]}}",
         "{\"x\":{\"NS\":[\"-10\",\"-1\",\"0\",\"0.000000001\",\"9\",\"10\"]}}"},
        {"{\"x\":{\"BS\":[\"/w==\",\"AA==\",\"\"]}}", "{\"x\":{\"BS\":[\"\",\"AA==\",\"/w==\"]}}"},
        /* as the service: what it does not know and what is null is not there */
        {"{\"x\":{\"S\":\"a\",\"Z\":[1,{\"q\":null}]}}", "{\"x\":{\"S\":\"a\"}}"},
        {"{\"x\":{\"N\":null,\"S\":\"a\"}}", "{\"x\":{\"S\":\"a\"}}"},
        /* names that share their first eight bytes, and one that is the beginning of another */
        {"{\"attribute2\":{\"S\":\"2\"},\"attribute1\":{\"S\":\"1\"},\"attribut\":{\"S\":\"0\"}}",
         "{\"attribut\":{\"S\":\"0\"},\"attribute1\":{\"S\":\"1\"},\"attribute2\":{\"S\":\"2\"}}"},
        {"{\"a\\u0000\":{\"S\":\"2\"},\"a\":{\"S\":\"1\"}}",
         "{\"a\":{\"S\":\"1\"},\"a\\u0000\":{\"S\":\"2\"}}"},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++)
        assert_string_equal(item_text(item_of(f, cases[i].in), false, &f->out),
                            cases[i].out ? cases[i].out : cases[i].in);
}

/* The reader has a path of its own for the usual form; white space and escapes take the other. Same bytes. */
static void both_paths_pack_the_same(void **state)
{
    fixture *f = *state;
    static const char *const forms[] = {
        "{\"pk\":{\"S\":\"user#1\"},\"n\":{\"N\":\"-12.50\"},\"b\":{\"BOOL\":true},\"c\":{\"BOOL\":false},"
        "\"z\":{\"NULL\":true},\"m\":{\"M\":{\"y\":{\"S\":\"a long text, longer than sixteen bytes\"},"
        "\"x\":{\"N\":\"7\"}}}}",
        " { \"pk\" : { \"S\" : \"user#1\" } , \"n\" : { \"N\" : \"-12.50\" } , \"b\" : { \"BOOL\" : true } "
        ",\n"
        "\"c\":{\"BOOL\": false},\t\"z\":{\"NULL\": true }, \"m\": {\"M\": {\"y\": {\"S\": \"a long text, "
        "longer than "
        "sixteen bytes\"}, \"x\": {\"N\": \"7\"}}}} ",
        "{\"m\":{\"M\":{\"x\":{\"N\":\"0.7e1\"},\"y\":{\"S\":\"a long text, longer than s\\u0069xteen "
        "bytes\"}}},"
        "\"\\u007a\":{\"NULL\":true},\"c\":{\"BOOL\":false},\"b\":{\"BOOL\":true},\"n\":{\"N\":\"-12.5\"},"
        "\"pk\":{\"S\":\"us\\u0065r#1\"}}",
    };
    tr_item first = item_of(f, forms[0]);
    tr_buf_put_view(&f->other, first);
    for (size_t i = 1; i < TR_COUNT(forms); i++)
        assert_true(tr_view_eq(item_of(f, forms[i]), tr_buf_view(&f->other)));
}

/* Told, and packed nevertheless; what is wrong besides comes before it. */
static void tells_names_that_the_service_does_not_take(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *before, *after;
        tr_item_problem problem; /* with any name */
    } forms[] = {
        {"{\"a\":{\"S\":\"x\"},\"", "\":{\"S\":\"y\"},\"zz\":{\"BOOL\":true}}", TR_ITEM_OK},
        {"{ \"", "\" : {\"B\":\"AA==\"}}", TR_ITEM_OK},
        {"{\"m\":{\"L\":[{\"M\":{\"", "\":{\"N\":\"1\"}}}]},\"z\":{\"S\":\"\"}}", TR_ITEM_OK},
        {"{\"m\":{\"M\":{\"", "\":{\"N\":\"x\"}}}}", TR_ITEM_NUMBER},
    };
    static const size_t lengths[] = {0, 1, TR_ITEM_NAME_MAX, TR_ITEM_NAME_MAX + 1};
    for (size_t i = 0; i < TR_COUNT(forms) * TR_COUNT(lengths); i++) {
        size_t form = i / TR_COUNT(lengths), len = lengths[i % TR_COUNT(lengths)];
        bool odd = len == 0 || len > TR_ITEM_NAME_MAX;
        tr_buf_reset(&f->other);
        tr_buf_put_str(&f->other, forms[form].before);
        for (size_t n = 0; n < len; n++)
            tr_buf_putc(&f->other, 'n');
        tr_buf_put_str(&f->other, forms[form].after);
        tr_json_reader reader;
        tr_item_error error;
        tr_json_init(&reader, tr_buf_view(&f->other), &f->arena);
        tr_json_next(&reader);
        tr_buf_reset(&f->out);
        bool fails = forms[form].problem != TR_ITEM_OK;
        assert_int_equal(tr_item_read(&reader, &f->out, &error), fails ? TR_EPARSE : 0);
        assert_int_equal(error.problem, fails ? forms[form].problem : odd ? TR_ITEM_NAME : TR_ITEM_OK);
        if (!fails && odd)
            assert_int_equal(error.text.len, len);
    }
}

static void tells_what_is_wrong(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *value;
        tr_item_problem problem;
        int code;
    } cases[] = {
        {"null", TR_ITEM_NOT_OBJECT, TR_EPARSE},
        {"1", TR_ITEM_NOT_OBJECT, TR_EPARSE},
        {"[]", TR_ITEM_NOT_OBJECT, TR_EPARSE},
        {"{}", TR_ITEM_NO_TYPE, TR_EPARSE},
        {"{\"X\":1}", TR_ITEM_NO_TYPE, TR_EPARSE},
        {"{\"s\":\"a\"}", TR_ITEM_NO_TYPE, TR_EPARSE},
        {"{\"S\":null}", TR_ITEM_NO_TYPE, TR_EPARSE},
        {"{\"NULL\":null}", TR_ITEM_NO_TYPE, TR_EPARSE},
        {"{\"S\":\"a\",\"N\":\"1\"}", TR_ITEM_MANY_TYPES, TR_EPARSE},
        {"{\"S\":\"a\",\"M\":{\"q\":{\"L\":[{\"S\":\"\"}]}}}", TR_ITEM_MANY_TYPES, TR_EPARSE},
        {"{\"S\":\"a\",\"S\":\"a\"}", TR_ITEM_MANY_TYPES, TR_EPARSE},
        {"{\"S\":\"a\",\"N\":\"x\"}", TR_ITEM_NUMBER, TR_EPARSE},
        {"{\"S\":1}", TR_ITEM_WRONG_JSON_TYPE, TR_EPARSE},
        {"{\"S\":true}", TR_ITEM_WRONG_JSON_TYPE, TR_EPARSE},
        {"{\"N\":1}", TR_ITEM_WRONG_JSON_TYPE, TR_EPARSE},
        {"{\"B\":[]}", TR_ITEM_WRONG_JSON_TYPE, TR_EPARSE},
        {"{\"BOOL\":\"true\"}", TR_ITEM_WRONG_JSON_TYPE, TR_EPARSE},
        {"{\"NULL\":1}", TR_ITEM_WRONG_JSON_TYPE, TR_EPARSE},
        {"{\"M\":[]}", TR_ITEM_WRONG_JSON_TYPE, TR_EPARSE},
        {"{\"L\":{}}", TR_ITEM_WRONG_JSON_TYPE, TR_EPARSE},
        {"{\"SS\":\"a\"}", TR_ITEM_WRONG_JSON_TYPE, TR_EPARSE},
        {"{\"SS\":[1]}", TR_ITEM_WRONG_JSON_TYPE, TR_EPARSE},
        {"{\"SS\":[null]}", TR_ITEM_WRONG_JSON_TYPE, TR_EPARSE},
        {"{\"N\":\"1x\"}", TR_ITEM_NUMBER, TR_EPARSE},
        {"{\"N\":\"1e126\"}", TR_ITEM_NUMBER, TR_ELIMIT},
        {"{\"NS\":[\"1\",\"\"]}", TR_ITEM_NUMBER, TR_EPARSE},
        {"{\"B\":\"a\"}", TR_ITEM_BASE64, TR_EPARSE},
        {"{\"B\":\"YR==\"}", TR_ITEM_BASE64, TR_EPARSE},
        {"{\"BS\":[\"!\"]}", TR_ITEM_BASE64, TR_EPARSE},
        {"{\"NULL\":false}", TR_ITEM_NULL_FALSE, TR_EPARSE},
        {"{\"SS\":[]}", TR_ITEM_EMPTY_SET, TR_EPARSE},
        {"{\"NS\":[]}", TR_ITEM_EMPTY_SET, TR_EPARSE},
        {"{\"BS\":[]}", TR_ITEM_EMPTY_SET, TR_EPARSE},
        {"{\"SS\":[\"a\",\"b\",\"a\"]}", TR_ITEM_SET_DUPLICATE, TR_EEXIST},
        {"{\"NS\":[\"1\",\"1.0\"]}", TR_ITEM_SET_DUPLICATE, TR_EEXIST},
        {"{\"BS\":[\"\",\"\"]}", TR_ITEM_SET_DUPLICATE, TR_EEXIST},
        {"{\"M\":{\"a\":{\"S\":\"1\"},\"a\":{\"S\":\"2\"}}}", TR_ITEM_DUPLICATE_NAME, TR_EEXIST},
        {"{\"M\":{\"a\":{\"S\":\"1\"},\"b\":{\"S\":\"1\"},\"a\":{\"S\":\"2\"}}}", TR_ITEM_DUPLICATE_NAME,
         TR_EEXIST},
        {"{\"S\":\"a\"", TR_ITEM_JSON, TR_EPARSE},
        {"{\"S\":\"a\",}", TR_ITEM_JSON, TR_EPARSE},
        {"{\"S\":\"\\ud800\"}", TR_ITEM_JSON, TR_EPARSE},
        {"{\"S\":\"\xff\"}", TR_ITEM_JSON, TR_EPARSE},
        {"{\"S\":\"a\nb\"}", TR_ITEM_JSON, TR_EPARSE},
        {"{\"L\":[", TR_ITEM_JSON, TR_EPARSE},
        {"{\"SS\":[\"a\"", TR_ITEM_JSON, TR_EPARSE},
        {"{\"M\":{\"a\"", TR_ITEM_JSON, TR_EPARSE},
        {"", TR_ITEM_JSON, TR_EPARSE},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        char json[256];
        tr_item_error error = {.problem = TR_ITEM_OK};
        (void)snprintf(json, sizeof json, "{\"k\":{\"S\":\"x\"},\"a\":%s}", cases[i].value);
        int e = pack_json(json, &f->arena, &f->packed, &error);
        if (error.problem != cases[i].problem || e != cases[i].code)
            fail_msg("%s: %d, %s", cases[i].value, e, tr_item_problem_text(error.problem));
    }
}

static void errors_carry_details(void **state)
{
    fixture *f = *state;
    tr_item_error error;
    pack_json("{\"a\":{\"SS\":[\"b\",\"a\",\"b\"]}}", &f->arena, &f->packed, &error);
    assert_view(error.text, "[b, a, b]");
    assert_int_equal(error.type, TR_SS);
    pack_json("{\"a\":{\"BS\":[\"Yg==\",\"Yg==\"]}}", &f->arena, &f->packed, &error);
    assert_view(error.text, "[Yg==, Yg==]");
    pack_json("{\"a\":{\"N\":\"12e500\"}}", &f->arena, &f->packed, &error);
    assert_int_equal(error.number, TR_NUMBER_OVERFLOW);
    assert_view(error.text, "12e500");
    pack_json("{\"a\":{\"SS\":[1.5]}}", &f->arena, &f->packed, &error);
    assert_int_equal(error.type, TR_S);
    assert_int_equal(error.token, TR_JSON_NUMBER);
    assert_view(error.text, "1.5");
    pack_json("{\"a\":{\"B\":\"abc\"}}", &f->arena, &f->packed, &error);
    assert_view(error.text, "abc");
}

/* "{"L":[" depth times around a string */
static int read_nested(fixture *f, unsigned depth, bool map, const char *leaf, tr_item_error *error)
{
    tr_buf_reset(&f->out);
    tr_buf_put_str(&f->out, "{\"a\":");
    for (unsigned i = 0; i < depth; i++)
        tr_buf_put_str(&f->out, map ? "{\"M\":{\"a\":" : "{\"L\":[");
    tr_buf_put_str(&f->out, leaf);
    for (unsigned i = 0; i < depth; i++)
        tr_buf_put_str(&f->out, map ? "}}" : "]}");
    tr_buf_put_str(&f->out, "}");
    return pack_json(tr_buf_cstr(&f->out), &f->arena, &f->packed, error);
}

static void nesting_ends_at_32_levels(void **state)
{
    fixture *f = *state;
    tr_item_error error;
    for (int map = 0; map < 2; map++) {
        assert_int_equal(read_nested(f, 31, map, "{\"S\":\"x\"}", &error), 0);
        assert_int_equal(tr_item_depth(tr_buf_view(&f->packed)), 32);
        assert_int_equal(read_nested(f, 31, map, "{\"SS\":[\"x\"]}", &error), 0);
        assert_int_equal(read_nested(f, 32, map, "{\"S\":\"x\"}", &error), TR_ELIMIT);
        assert_int_equal(error.problem, TR_ITEM_DEPTH);
        assert_int_equal(read_nested(f, 80, map, "{\"S\":\"x\"}", &error), TR_ELIMIT);
        assert_int_equal(error.problem, TR_ITEM_DEPTH);
    }
    /* past the JSON reader's own limit, and with a second type at each level */
    assert_int_equal(read_nested(f, 500, false, "{\"S\":\"x\"}", &error), TR_ELIMIT);
    assert_int_equal(tr_item_depth((tr_item){NULL, 0}), 0);
}

static void error_texts_name_the_place(void **state)
{
    fixture *f = *state;
    tr_item item;
    tr_error err;
    assert_int_equal(tr_item_from_json(TR_VIEW("{\"a\":{\"N\":\"0x10\"}}"), &f->arena, &item, &err),
                     TR_EPARSE);
    assert_non_null(strstr(err.message, "0x10"));
    assert_int_equal(tr_item_from_json(TR_VIEW("{\"a\":{\"S\":\"x\"}"), &f->arena, &item, &err), TR_EPARSE);
    assert_non_null(strstr(err.message, "byte 14"));
    assert_int_equal(tr_item_from_json(TR_VIEW("{} x"), &f->arena, &item, &err), TR_EPARSE);
    assert_int_equal(tr_item_from_json(TR_VIEW("[]"), &f->arena, &item, &err), TR_EPARSE);
    assert_int_equal(tr_item_from_json(TR_VIEW(""), &f->arena, &item, NULL), TR_EPARSE);
    assert_int_equal(tr_item_from_json(TR_VIEW("{\"a\":{\"S\":\"x\"}}"), &f->arena, &item, &err), 0);
    assert_string_equal(item_text(item, false, &f->out), "{\"a\":{\"S\":\"x\"}}");
    for (int p = 0; p <= TR_ITEM_MEMORY; p++)
        assert_string_not_equal(tr_item_problem_text((tr_item_problem)p), "unknown problem");
}

/* ------------------------------------------------------------------------------------------- reading */

static void reads_members_and_elements(void **state)
{
    fixture *f = *state;
    tr_item item = item_of(f, "{\"s\":{\"S\":\"text\"},\"l\":{\"L\":[{\"N\":\"1\"},{\"BOOL\":true}]},"
                              "\"x\":{\"SS\":[\"b\",\"a\"]},\"\":{\"NULL\":true}}");
    tr_value v;
    assert_int_equal(tr_item_get(item, TR_VIEW("s"), &v), 0);
    assert_int_equal(v.type, TR_S);
    assert_view(v.payload, "text");
    assert_int_equal(tr_item_get(item, TR_VIEW(""), &v), 0);
    assert_int_equal(v.type, TR_NULL);
    assert_int_equal(tr_item_get(item, TR_VIEW("t"), &v), TR_ENOTFOUND);
    assert_int_equal(tr_item_get(item, TR_VIEW("zz"), &v), TR_ENOTFOUND);
    assert_int_equal(tr_item_get((tr_item){NULL, 0}, TR_VIEW("s"), &v), TR_ENOTFOUND);
    tr_value list, set, at;
    assert_int_equal(tr_item_get(item, TR_VIEW("l"), &list), 0);
    assert_int_equal(tr_packed_count(list.payload), 2);
    assert_int_equal(tr_list_at(list, 1, &at), 0);
    assert_true(tr_value_bool(at));
    assert_int_equal(tr_list_at(list, 2, &at), TR_ENOTFOUND);
    assert_int_equal(tr_item_get(item, TR_VIEW("x"), &set), 0);
    assert_true(tr_set_has(set, (tr_value){TR_S, TR_VIEW("a")}));
    assert_true(tr_set_has(set, (tr_value){TR_S, TR_VIEW("b")}));
    assert_false(tr_set_has(set, (tr_value){TR_S, TR_VIEW("aa")}));
    assert_false(tr_set_has(set, (tr_value){TR_S, TR_VIEW("c")}));
    assert_false(tr_set_has(set, (tr_value){TR_B, TR_VIEW("a")}));
    assert_false(tr_set_has(list, (tr_value){TR_S, TR_VIEW("a")}));
}

static void iterates_with_encoded_forms(void **state)
{
    fixture *f = *state;
    tr_item item =
        item_of(f, "{\"b\":{\"L\":[{\"S\":\"q\"}]},\"a\":{\"N\":\"5\"},\"c\":{\"M\":{\"d\":{\"S\":\"e\"}}}}");
    tr_packed_iter it;
    tr_item_iter(&it, item);
    static const char *const names[] = {"a", "b", "c"};
    size_t n = 0;
    while (n < TR_COUNT(names) && tr_packed_next(&it)) {
        tr_value again;
        size_t len;
        assert_view(it.name, names[n++]);
        assert_int_equal(tr_value_decode(it.encoded, &again, &len), 0);
        assert_int_equal(len, it.encoded.len);
        assert_true(tr_value_eq(again, it.value));
    }
    assert_int_equal(n, 3);
    assert_false(tr_packed_next(&it));
    tr_value v;
    size_t len;
    assert_int_equal(tr_value_decode((tr_view){NULL, 0}, &v, &len), TR_ECORRUPT);
    assert_int_equal(tr_value_decode(TR_VIEW("\x01\x05"
                                             "abc"),
                                     &v, &len),
                     TR_ECORRUPT);
    assert_int_equal(tr_value_decode(TR_VIEW("\x0b\x00"), &v, &len), TR_ECORRUPT);
    assert_int_equal(tr_value_decode(TR_VIEW("\x00\x00"), &v, &len), TR_ECORRUPT);
    tr_item_iter(&it, (tr_item){NULL, 0});
    assert_false(tr_packed_next(&it));
}

/* ------------------------------------------------------------------------------------------ building */

static void packer_sorts_what_comes_in_any_order(void **state)
{
    fixture *f = *state;
    tr_packer p;
    tr_packer_init(&p, &f->other);
    tr_pack_item_begin(&p);
    tr_pack_name(&p, TR_VIEW("set"));
    tr_pack_set_begin(&p, TR_SS);
    tr_pack_element(&p, TR_VIEW("z"));
    tr_pack_element(&p, TR_VIEW("y"));
    assert_int_equal(tr_pack_set_end(&p), 0);
    tr_pack_name(&p, TR_VIEW("list"));
    tr_pack_list_begin(&p);
    tr_pack_bool(&p, true);
    tr_pack_null(&p);
    tr_pack_n_i64(&p, -42);
    tr_pack_map_begin(&p);
    tr_pack_name(&p, TR_VIEW("b"));
    assert_int_equal(tr_pack_n(&p, TR_VIEW("1.50")), 0);
    tr_pack_name(&p, TR_VIEW("a"));
    tr_pack_b(&p, TR_VIEW("\x01\x02\x03"));
    assert_int_equal(tr_pack_map_end(&p), 0);
    assert_int_equal(tr_pack_list_end(&p), 0);
    tr_pack_name(&p, TR_VIEW("id"));
    tr_pack_s(&p, TR_VIEW("x"));
    assert_int_equal(tr_pack_item_end(&p), 0);
    tr_item built = tr_buf_view(&f->other);
    assert_int_equal(tr_item_check(built), 0);
    const char *text =
        "{\"id\":{\"S\":\"x\"},\"list\":{\"L\":[{\"BOOL\":true},{\"NULL\":true},{\"N\":\"-42\"},"
        "{\"M\":{\"a\":{\"B\":\"AQID\"},\"b\":{\"N\":\"1.5\"}}}]},\"set\":{\"SS\":[\"y\",\"z\"]}}";
    assert_string_equal(item_text(built, false, &f->out), text);
    assert_true(tr_view_eq(item_of(f, text), built));
}

static void packer_copies_values(void **state)
{
    fixture *f = *state;
    tr_item item = item_of(f, "{\"a\":{\"L\":[{\"S\":\"x\"}]},\"b\":{\"SS\":[\"x\"]},\"c\":{\"N\":\"1\"}}");
    tr_packer p;
    tr_packer_init(&p, &f->other);
    tr_pack_item_begin(&p);
    tr_packed_iter it;
    tr_item_iter(&it, item);
    for (unsigned i = 0; tr_packed_next(&it); i++) {
        tr_pack_name(&p, it.name);
        if (i % 2)
            tr_pack_value(&p, it.value);
        else
            tr_pack_encoded(&p, it.encoded);
    }
    assert_int_equal(tr_pack_item_end(&p), 0);
    assert_true(tr_view_eq(tr_buf_view(&f->other), item));
}

/* Empty views stand for empty strings, binaries, and items without attributes. */
static void packer_takes_empty_views(void **state)
{
    fixture *f = *state;
    tr_packer p;
    tr_packer_init(&p, &f->other);
    tr_pack_item_begin(&p);
    tr_pack_name(&p, (tr_view){NULL, 0});
    tr_pack_s(&p, (tr_view){NULL, 0});
    tr_pack_name(&p, TR_VIEW("b"));
    tr_pack_b(&p, (tr_view){NULL, 0});
    tr_pack_name(&p, TR_VIEW("m"));
    tr_pack_value(&p, (tr_value){TR_M, {NULL, 0}});
    tr_pack_name(&p, TR_VIEW("n"));
    assert_int_equal(tr_pack_n(&p, (tr_view){NULL, 0}), TR_EPARSE);
    tr_pack_set_begin(&p, TR_BS);
    tr_pack_element(&p, (tr_view){NULL, 0});
    assert_int_equal(tr_pack_set_end(&p), 0);
    assert_int_equal(tr_pack_item_end(&p), 0);
    assert_int_equal(tr_item_check(tr_buf_view(&f->other)), 0);
    assert_string_equal(item_text(tr_buf_view(&f->other), false, &f->out),
                        "{\"\":{\"S\":\"\"},\"b\":{\"B\":\"\"},\"m\":{\"M\":{}},\"n\":{\"BS\":[\"\"]}}");
    tr_buf key;
    tr_buf_init(&key, 16);
    tr_key_put(&key, (tr_value){TR_S, {NULL, 0}});
    assert_int_equal(key.len, 2);
    tr_buf_done(&key);
}

static void packer_refuses_duplicates(void **state)
{
    fixture *f = *state;
    /* in order, out of order, and too many for the stack */
    for (unsigned count = 3; count <= 101; count += 49) {
        for (int reverse = 0; reverse < 2; reverse++) {
            tr_packer p;
            tr_buf_reset(&f->other);
            tr_packer_init(&p, &f->other);
            tr_pack_item_begin(&p);
            for (unsigned i = 0; i < count; i++) {
                char name[16];
                unsigned nth = reverse ? count - i : i;
                (void)snprintf(name, sizeof name, "name%u", nth == count / 2 ? nth + 1 : nth);
                tr_pack_name(&p, tr_view_str(name));
                tr_pack_null(&p);
            }
            assert_int_equal(tr_pack_item_end(&p), TR_EEXIST);
        }
    }
}

static void many_members_are_sorted(void **state)
{
    fixture *f = *state;
    tr_rng rng;
    tr_rng_seed(&rng, 1);
    for (unsigned count = 1; count < 400; count = count * 2 + 1) {
        tr_packer p;
        tr_buf_reset(&f->other);
        tr_packer_init(&p, &f->other);
        tr_pack_item_begin(&p);
        for (unsigned i = 0; i < count; i++) {
            char name[32];
            (void)snprintf(name, sizeof name, "%llx",
                           (unsigned long long)(tr_rng_next(&rng) >> (i % 3 * 20)));
            tr_pack_name(&p, tr_view_str(name));
            tr_pack_s(&p, tr_view_str(name));
        }
        assert_int_equal(tr_pack_item_end(&p), 0);
        assert_int_equal(tr_item_check(tr_buf_view(&f->other)), 0);
        tr_packed_iter it;
        tr_item_iter(&it, tr_buf_view(&f->other));
        unsigned found = 0;
        for (; tr_packed_next(&it); found++)
            assert_true(tr_view_eq(it.name, it.value.payload));
        assert_int_equal(found, count);
    }
}

static void limits_of_the_buffer_are_kept(void **state)
{
    fixture *f = *state;
    const char *json = "{\"b\":{\"S\":\"0123456789\"},\"a\":{\"L\":[{\"N\":\"1\"},{\"SS\":[\"y\",\"x\"]}]},"
                       "\"c\":{\"M\":{\"k\":{\"B\":\"AAAA\"}}}}";
    size_t size = item_of(f, json).len;
    for (size_t limit = 0; limit < size; limit++) {
        tr_buf small;
        tr_item_error error;
        tr_buf_init(&small, limit);
        assert_int_equal(pack_json(json, &f->arena, &small, &error), TR_ELIMIT);
        assert_int_equal(error.problem, TR_ITEM_MEMORY);
        tr_buf_done(&small);
    }
    tr_buf exact;
    tr_item_error error;
    tr_buf_init(&exact, size);
    assert_int_equal(pack_json(json, &f->arena, &exact, &error), 0);
    size_t len = strlen(item_text(tr_buf_view(&exact), false, &f->out));
    for (size_t limit = 0; limit <= len; limit++) {
        tr_json_writer writer;
        tr_buf out;
        tr_buf_init(&out, limit);
        tr_json_write_init(&writer, &out);
        tr_item_write(&writer, tr_buf_view(&exact));
        assert_int_equal(tr_buf_status(&out), limit < len ? TR_ELIMIT : 0);
        tr_buf_done(&out);
    }
    tr_buf_done(&exact);
}

static void packer_survives_nesting_too_deep(void **state)
{
    fixture *f = *state;
    tr_packer p;
    tr_packer_init(&p, &f->other);
    tr_pack_item_begin(&p);
    tr_pack_name(&p, TR_VIEW("a"));
    for (unsigned i = 0; i < 60; i++)
        tr_pack_list_begin(&p);
    tr_pack_s(&p, TR_VIEW("x"));
    for (unsigned i = 0; i < 60; i++)
        (void)tr_pack_list_end(&p);
    assert_int_equal(tr_pack_item_end(&p), TR_ELIMIT);
}

/* -------------------------------------------------------------------------------------------- checks */

static void check_finds_damage(void **state)
{
    fixture *f = *state;
#define CASE(bytes)                                                                                          \
    {                                                                                                        \
        sizeof(bytes) - 1, bytes                                                                             \
    }
    static const struct {
        size_t len;
        const char *bytes;
    } cases[] = {
        CASE("\0"),                                      /* cut count */
        CASE("\1\0\0\0"),                                /* a member is missing */
        CASE("\0\0\0\0x"),                               /* bytes behind */
        CASE("\1\0\0\0\1a\1\5x"),                        /* payload cut */
        CASE("\1\0\0\0\1a\0\0"),                         /* no type */
        CASE("\1\0\0\0\1a\x0b\0"),                       /* unknown type */
        CASE("\1\0\0\0\1a\1\x81\0x"),                    /* a length in more bytes than needed */
        CASE("\1\0\0\0\x81\0a\1\1x"),                    /* likewise of the name */
        CASE("\1\0\0\0\1\xff\1\1x"),                     /* name not UTF-8 */
        CASE("\1\0\0\0\1a\1\1\xff"),                     /* text not UTF-8 */
        CASE("\2\0\0\0\1b\5\0\1a\5\0"),                  /* out of order */
        CASE("\2\0\0\0\1a\5\0\1a\5\0"),                  /* twice */
        CASE("\1\0\0\0\1a\4\1\2"),                       /* a boolean of 2 */
        CASE("\1\0\0\0\1a\4\0"),                         /* a boolean of nothing */
        CASE("\1\0\0\0\1a\5\1x"),                        /* NULL with bytes */
        CASE("\1\0\0\0\1a\2\0"),                         /* empty number */
        CASE("\1\0\0\0\1a\2\4\3\x41\1\0"),               /* number with a pair of zeros */
        CASE("\1\0\0\0\1a\2\5\3\x41\2\1\0"),             /* trailing pair of zeros */
        CASE("\1\0\0\0\1a\2\4\3\x41\x65\0"),             /* pair of 100 */
        CASE("\1\0\0\0\1a\2\4\3\x80\2\0"),               /* exponent too large */
        CASE("\1\0\0\0\1a\2\4\3\x41\2\1"),               /* no terminator */
        CASE("\1\0\0\0\1a\2\3\3\x41\0"),                 /* no digits */
        CASE("\1\0\0\0\1a\7\0\0\0\0"),                   /* list without count */
        CASE("\1\0\0\0\1a\7\4\0\0\0\1\0\0\0"),           /* list shorter than it says */
        CASE("\1\0\0\0\1a\x08\4\0\0\0\0\0\0\0"),         /* empty set */
        CASE("\1\0\0\0\1a\x08\x08\0\0\0\2\0\0\0\1b\1a"), /* set out of order */
        CASE("\1\0\0\0\1a\x08\x08\0\0\0\2\0\0\0\1a\1a"), /* set with a value twice */
        CASE("\1\0\0\0\1a\x09\6\0\0\0\1\0\0\0\1x"),      /* set of numbers with none */
        CASE("\1\0\0\0\1a\6\xff\xff\xff\xff\0\0\0\0"),   /* map past the end */
        CASE("\xff\xff\xff\xff\1a\5\0"),                 /* a count past the end */
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        /* a copy of exactly the size, so that a look behind it is found */
        char *copy = malloc(cases[i].len);
        assert_non_null(copy);
        memcpy(copy, cases[i].bytes, cases[i].len);
        if (tr_item_check(tr_view_of(copy, cases[i].len)) != TR_ECORRUPT)
            fail_msg("case %zu passed", i);
        free(copy);
    }
    assert_int_equal(tr_item_check((tr_item){NULL, 0}), 0);
    assert_int_equal(tr_item_check(TR_VIEW("\0\0\0\0")), 0);
    assert_int_equal(tr_item_check(TR_VIEW("\1\0\0\0\1a\2\4\3\x41\2\0")), 0);
    (void)f;
}

/* Whatever bit flips: the check answers, and bytes that pass mean the same once written and read. */
static void check_stands_bit_flips(void **state)
{
    fixture *f = *state;
    tr_item item = item_of(
        f, "{\"a\":{\"S\":\"text\"},\"b\":{\"N\":\"-12.345\"},\"c\":{\"M\":{\"d\":{\"L\":[{\"BOOL\":true},"
           "{\"NULL\":true}]},\"e\":{\"NS\":[\"1\",\"2\"]}}},\"f\":{\"B\":\"AAEC\"}}");
    char *copy = malloc(item.len);
    assert_non_null(copy);
    for (size_t bit = 0; bit < item.len * 8; bit++) {
        memcpy(copy, item.ptr, item.len);
        copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << bit % 8));
        tr_item flipped = tr_view_of(copy, item.len);
        if (tr_item_check(flipped))
            continue;
        tr_item_error error;
        const char *text = item_text(flipped, false, &f->out);
        assert_int_equal(pack_json(text, &f->arena, &f->other, &error), 0);
        assert_true(tr_view_eq(tr_buf_view(&f->other), flipped));
    }
    for (size_t len = 1; len < item.len; len++) {
        memcpy(copy, item.ptr, len);
        assert_int_equal(tr_item_check(tr_view_of(copy, len)), TR_ECORRUPT);
    }
    free(copy);
}

/* --------------------------------------------------------------------------------------------- sizes */

static void sizes_are_those_of_the_service(void **state)
{
    fixture *f = *state;
    /* as DynamoDB Local counts them in SizeBytes of stream records */
    static const struct {
        const char *value;
        size_t size;
    } cases[] = {
        {"{\"S\":\"abc\"}", 3},
        {"{\"S\":\"\"}", 0},
        {"{\"S\":\"\\u00e9\\ud83d\\ude00\"}", 6},
        {"{\"B\":\"YWJj\"}", 3},
        {"{\"BOOL\":false}", 1},
        {"{\"NULL\":true}", 1},
        {"{\"L\":[]}", 3},
        {"{\"M\":{}}", 3},
        {"{\"L\":[{\"S\":\"abc\"}]}", 7},
        {"{\"L\":[{\"S\":\"abc\"},{\"BOOL\":true}]}", 9},
        {"{\"M\":{\"xy\":{\"S\":\"abc\"}}}", 9},
        {"{\"M\":{\"xy\":{\"S\":\"abc\"},\"z\":{\"L\":[]}}}", 14},
        {"{\"L\":[{\"L\":[{\"L\":[]}]}]}", 11},
        {"{\"SS\":[\"a\",\"bcd\"]}", 4},
        {"{\"NS\":[\"1\",\"123\"]}", 5},
        {"{\"BS\":[\"YWJj\",\"YQ==\"]}", 4},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        char json[128];
        (void)snprintf(json, sizeof json, "{\"name\":%s}", cases[i].value);
        assert_int_equal(tr_item_size(item_of(f, json)), 4 + cases[i].size);
        tr_value value;
        assert_int_equal(tr_item_get(tr_buf_view(&f->packed), TR_VIEW("name"), &value), 0);
        assert_int_equal(tr_value_size(value), cases[i].size);
    }
    assert_int_equal(tr_item_size((tr_item){NULL, 0}), 0);
}

static void types_have_names(void **state)
{
    (void)state;
    assert_string_equal(tr_type_name(TR_S), "S");
    assert_string_equal(tr_type_name(TR_BS), "BS");
    assert_string_equal(tr_type_name(TR_NONE), "");
    assert_string_equal(tr_type_name((tr_type)99), "");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(all_types_both_ways),
        T(both_paths_pack_the_same),
        T(tells_what_is_wrong),
        T(tells_names_that_the_service_does_not_take),
        T(errors_carry_details),
        T(nesting_ends_at_32_levels),
        T(error_texts_name_the_place),
        T(reads_members_and_elements),
        T(iterates_with_encoded_forms),
        T(packer_sorts_what_comes_in_any_order),
        T(packer_copies_values),
        T(packer_takes_empty_views),
        T(packer_refuses_duplicates),
        T(many_members_are_sorted),
        T(limits_of_the_buffer_are_kept),
        T(packer_survives_nesting_too_deep),
        T(check_finds_damage),
        T(check_stands_bit_flips),
        T(sizes_are_those_of_the_service),
        T(types_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
