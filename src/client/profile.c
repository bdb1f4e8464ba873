/* SPDX-License-Identifier: MIT */
#include "profile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_MAX_BYTES (4 * 1024 * 1024)
#define ENTRIES_MAX    100000

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static tr_view trim(tr_view v)
{
    while (v.len && is_space(v.ptr[0])) {
        v.ptr++;
        v.len--;
    }
    while (v.len && is_space(v.ptr[v.len - 1]))
        v.len--;
    return v;
}

/* A comment begins with # or ; at a line's begin or behind white space. */
static tr_view without_comment(tr_view v)
{
    for (size_t i = 0; i < v.len; i++)
        if ((v.ptr[i] == '#' || v.ptr[i] == ';') && i > 0 && is_space(v.ptr[i - 1]))
            return trim(tr_view_of(v.ptr, i));
    return v;
}

/* Where the file stands that is being read. */
struct reading {
    tr__profiles *profiles;
    const char *name;
    bool is_credentials;
    const char *type, *section; /* NULL before the first section */
    const char *outer;          /* the key whose nested keys follow, or NULL */
    unsigned line;
};

static int bad_line(const struct reading *r, const char *what, tr_error *err)
{
    return tr_fail(err, TR_EPARSE, "%s, line %u: %s", r->name, r->line, what);
}

static int begin_section(struct reading *r, tr_view line, tr_error *err)
{
    tr__profiles *p = r->profiles;
    size_t close = tr_view_find(line, TR_VIEW("]"), 0);
    if (close == SIZE_MAX)
        return bad_line(r, "a section's name does not end in ]", err);
    tr_view name = trim(tr_view_of(line.ptr + 1, close - 1));
    size_t space = 0;
    while (space < name.len && !is_space(name.ptr[space]))
        space++;
    r->outer = NULL;
    if (r->is_credentials || tr_view_is(name, "default")) {
        r->type = "profile";
        r->section = tr_arena_str(&p->arena, name);
    } else {
        r->type = tr_arena_str(&p->arena, tr_view_of(name.ptr, space));
        r->section = tr_arena_str(&p->arena, trim(tr_view_of(name.ptr + space, name.len - space)));
    }
    return r->type && r->section ? 0 : tr_fail(err, TR_ENOMEM, "out of memory");
}

static int add_entry(struct reading *r, tr_view key, tr_view value, tr_error *err)
{
    tr__profiles *p = r->profiles;
    if (p->count == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 64;
        struct tr__profile_entry *entries =
            cap > ENTRIES_MAX ? NULL : tr_realloc(p->entries, cap * sizeof *entries);
        if (!entries)
            return tr_fail(err, TR_ELIMIT, "%s has too many entries", r->name);
        p->entries = entries;
        p->cap = cap;
    }
    char *k = r->outer ? tr_arena_printf(&p->arena, "%s.%.*s", r->outer, TR_FMT(key))
                       : tr_arena_str(&p->arena, key);
    char *v = tr_arena_str(&p->arena, value);
    if (!k || !v)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    for (char *c = k; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + 32);
    p->entries[p->count++] = (struct tr__profile_entry){r->type, r->section, k, v, r->is_credentials};
    return 0;
}

static int take_line(struct reading *r, tr_view raw, tr_error *err)
{
    tr_view line = trim(raw);
    if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == ';')
        return 0;
    if (line.ptr[0] == '[')
        return begin_section(r, line, err);
    if (!r->section)
        return bad_line(r, "a setting stands before the first [section]", err);
    bool nested = is_space(raw.ptr[0]);
    if (nested && !r->outer)
        return 0; /* a continued value, which no setting used here has */
    if (!nested)
        r->outer = NULL;
    size_t equals = tr_view_find(line, TR_VIEW("="), 0);
    if (equals == SIZE_MAX || equals == 0)
        return nested ? 0 : bad_line(r, "neither [section] nor key = value", err);
    tr_view key = trim(tr_view_of(line.ptr, equals));
    tr_view value = without_comment(trim(tr_view_of(line.ptr + equals + 1, line.len - equals - 1)));
    int code = add_entry(r, key, value, err);
    if (code == 0 && !nested && value.len == 0)
        r->outer = r->profiles->entries[r->profiles->count - 1].key;
    return code;
}

int tr__profiles_parse(tr__profiles *profiles, tr_view text, const char *name, bool is_credentials,
                       tr_error *err)
{
    struct reading r = {.profiles = profiles, .name = name, .is_credentials = is_credentials};
    if (tr_view_starts(text, TR_VIEW("\xef\xbb\xbf")))
        text = tr_view_of(text.ptr + 3, text.len - 3);
    for (size_t at = 0; at < text.len;) {
        size_t end = tr_view_find(text, TR_VIEW("\n"), at);
        end = end == SIZE_MAX ? text.len : end;
        r.line++;
        int code = end > at ? take_line(&r, tr_view_of(text.ptr + at, end - at), err) : 0;
        if (code)
            return code;
        at = end + 1;
    }
    return 0;
}

static int load_file(tr__profiles *profiles, const char *path, bool is_credentials, tr_error *err)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES
                   ? 0
                   : tr_fail(err, TR_EIO, "cannot read %s: %s", path, strerror(errno));
    tr_buf text;
    tr_buf_init(&text, FILE_MAX_BYTES);
    char block[4096];
    size_t n;
    while ((n = fread(block, 1, sizeof block, file)) > 0)
        tr_buf_put(&text, block, n);
    int code = 0;
    if (tr_buf_status(&text))
        code =
            tr_fail(err, tr_buf_status(&text), "cannot read %s: %s", path, tr_strerror(tr_buf_status(&text)));
    else if (!ferror(file)) /* a directory, for instance, is as good as none */
        code = tr__profiles_parse(profiles, tr_buf_view(&text), path, is_credentials, err);
    (void)fclose(file);
    tr_buf_done(&text);
    return code;
}

static int load_one(tr__profiles *profiles, const char *variable, const char *in_home, bool is_credentials,
                    tr_error *err)
{
    char path[4096];
    const char *named = getenv(variable), *home = getenv("HOME");
    if (named && *named && named[0] != '~')
        return load_file(profiles, named, is_credentials, err);
    if (!home || !*home)
        return 0;
    int n = named && *named ? snprintf(path, sizeof path, "%s%s", home, named + 1)
                            : snprintf(path, sizeof path, "%s/.aws/%s", home, in_home);
    return n > 0 && (size_t)n < sizeof path ? load_file(profiles, path, is_credentials, err) : 0;
}

int tr__profiles_load(tr__profiles *profiles, tr_error *err)
{
    memset(profiles, 0, sizeof *profiles);
    tr_arena_init(&profiles->arena, (size_t)4 * FILE_MAX_BYTES);
    int code = load_one(profiles, "AWS_SHARED_CREDENTIALS_FILE", "credentials", true, err);
    if (code == 0)
        code = load_one(profiles, "AWS_CONFIG_FILE", "config", false, err);
    if (code)
        tr__profiles_done(profiles);
    return code;
}

void tr__profiles_done(tr__profiles *profiles)
{
    if (!profiles)
        return;
    tr_arena_done(&profiles->arena);
    tr_free(profiles->entries);
    memset(profiles, 0, sizeof *profiles);
}

const char *tr__profiles_get(const tr__profiles *profiles, const char *type, const char *section,
                             const char *key)
{
    const struct tr__profile_entry *found = NULL;
    for (size_t i = 0; i < profiles->count; i++) {
        const struct tr__profile_entry *e = &profiles->entries[i];
        if (strcmp(e->key, key) != 0 || strcmp(e->section, section) != 0 || strcmp(e->type, type) != 0)
            continue;
        /* the credentials file wins; within a file the last does */
        if (!found || e->from_credentials || !found->from_credentials)
            found = e;
    }
    return found && *found->value ? found->value : NULL;
}

bool tr__profiles_has(const tr__profiles *profiles, const char *profile)
{
    for (size_t i = 0; i < profiles->count; i++)
        if (strcmp(profiles->entries[i].section, profile) == 0 &&
            strcmp(profiles->entries[i].type, "profile") == 0)
            return true;
    return false;
}
