/* SPDX-License-Identifier: MIT */
#include "value.h"

#include "base/json_scan.h"

#include <arpa/inet.h>

/* ---------------------------------------------------------------------------------------- addresses */

static bool parse_v4(tr_view text, uint8_t *out)
{
    if (text.len < 7 || text.len > 15)
        return false;
    unsigned part = 0, value = 0, digits = 0;
    for (size_t i = 0; i <= text.len; i++) {
        char c = i < text.len ? text.ptr[i] : '.';
        if (c == '.') {
            if (digits == 0 || part == 4)
                return false;
            out[part++] = (uint8_t)value;
            value = digits = 0;
            continue;
        }
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (unsigned)(c - '0');
        digits++;
        if (value > 255)
            return false;
    }
    return part == 4;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool plausible_v6(tr_view text)
{
    bool colon = false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == ':')
            colon = true;
        else if (!is_hex(text.ptr[i]))
            return false;
    }
    return colon;
}

static bool plausible_v4(tr_view text)
{
    unsigned dots = 0, digits = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '.') {
            if (digits == 0)
                return false;
            dots++;
            digits = 0;
        } else if (text.ptr[i] >= '0' && text.ptr[i] <= '9') {
            digits++;
        } else {
            return false;
        }
    }
    return dots == 3 && digits > 0;
}

bool tr__ip_plausible(tr_view text)
{
    return plausible_v4(text) || plausible_v6(text);
}

bool tr__ip_parse(tr_view text, struct tr__ip *ret_ip)
{
    struct tr__ip ip = {.bits = 32};
    if (text.len < 2 || text.len > 39)
        return false;
    if (!parse_v4(text, ip.bytes)) {
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
        char copy[40];
        if (!plausible_v6(text))
            return false;
        memcpy(copy, text.ptr, text.len);
        copy[text.len] = 0;
        if (inet_pton(AF_INET6, copy, ip.bytes) != 1)
            return false;
        ip.bits = 128;
        if (memcmp(ip.bytes, mapped, sizeof mapped) == 0) {
            memmove(ip.bytes, ip.bytes + 12, 4);
            memset(ip.bytes + 4, 0, 12);
            ip.bits = 32;
        }
    }
    *ret_ip = ip;
    return true;
}

void tr__ip_mask(struct tr__ip *ip, unsigned prefix)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned first = i * 8;
        if (first >= prefix)
            ip->bytes[i] = 0;
        else if (prefix - first < 8)
            ip->bytes[i] &= (uint8_t)(0xff00u >> (prefix - first));
    }
}

void tr__net_key(const struct tr__ip *ip, unsigned prefix, uint8_t out[TR__NET_KEY])
{
    struct tr__ip net = *ip;
    tr__ip_mask(&net, prefix);
    out[0] = ip->bits;
    out[1] = (uint8_t)prefix;
    memcpy(out + 2, net.bytes, sizeof net.bytes);
}

/* -------------------------------------------------------------------------------------------- letters */

static const struct fold_range {
    uint32_t first, last, step;
    int32_t add;
} fold_ranges[] = {
#include "fold_table.h"
};

static uint32_t fold_letter(uint32_t c)
{
    size_t low = 0, high = TR_COUNT(fold_ranges);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (fold_ranges[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < TR_COUNT(fold_ranges) && c >= fold_ranges[low].first &&
        (c - fold_ranges[low].first) % fold_ranges[low].step == 0)
        return (uint32_t)((int32_t)c + fold_ranges[low].add);
    return c;
}

/* Decodes one letter outside ASCII; 0 if the bytes are not one. */
static unsigned decode(const uint8_t *p, size_t len, uint32_t *ret)
{
    unsigned n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
    if (n == 0 || n > len)
        return 0;
    uint32_t c = p[0] & (0xffu >> (n + 1));
    for (unsigned i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 63);
    }
    *ret = c;
    return n;
}

size_t tr__fold(tr_view text, char *out)
{
    char *o = out;
    const uint8_t *p = (const uint8_t *)text.ptr;
    for (size_t i = 0; i < text.len;) {
        uint8_t b = p[i];
        if (b < 0x80) {
            *o++ = (char)(b >= 'A' && b <= 'Z' ? b | 0x20 : b);
            i++;
            continue;
        }
        uint32_t c;
        unsigned n = decode(p + i, text.len - i, &c);
        uint32_t folded = n ? fold_letter(c) : 0;
        if (n == 0 || folded == c) {
            for (unsigned k = 0; k < (n ? n : 1); k++)
                *o++ = (char)p[i + k];
        } else {
            o = tr__utf8_put(o, folded);
        }
        i += n ? n : 1;
    }
    return (size_t)(o - out);
}

/* ------------------------------------------------------------------------------------------ wildcards */

int tr__glob_parse(tr_view pattern, tr_arena *arena, struct tr__glob *ret_glob)
{
    uint32_t stars = 0;
    for (size_t i = 0; i < pattern.len; i++) {
        if (pattern.ptr[i] == '\\')
            i++;
        else
            stars += pattern.ptr[i] == '*';
    }
    char *store = tr_arena_alloc(arena, pattern.len);
    tr_view *parts = tr_arena_alloc(arena, (stars + 1) * sizeof *parts);
    if (!store || !parts)
        return TR_ENOMEM;
    uint32_t part = 0;
    char *from = store, *o = store;
    for (size_t i = 0; i < pattern.len; i++) {
        char c = pattern.ptr[i];
        if (c == '*') {
            parts[part++] = tr_view_of(from, (size_t)(o - from));
            from = o;
            continue;
        }
        if (c == '\\' && i + 1 < pattern.len)
            c = pattern.ptr[++i];
        *o++ = c;
    }
    parts[part] = tr_view_of(from, (size_t)(o - from));
    *ret_glob = (struct tr__glob){
        .head = parts[0], .tail = parts[part], .middles = parts + 1, .count = part > 0 ? part - 1 : 0};
    return 0;
}

bool tr__glob_match(const struct tr__glob *glob, tr_view text)
{
    if (text.len < glob->head.len + glob->tail.len)
        return false;
    if (glob->head.len && memcmp(text.ptr, glob->head.ptr, glob->head.len) != 0)
        return false;
    if (glob->tail.len && memcmp(text.ptr + text.len - glob->tail.len, glob->tail.ptr, glob->tail.len) != 0)
        return false;
    /* the leftmost place of each middle leaves the most room for the next: no way back is needed */
    const char *at = text.ptr + glob->head.len, *end = text.ptr + text.len - glob->tail.len;
    for (uint32_t i = 0; i < glob->count; i++) {
        const char *found = memmem(at, (size_t)(end - at), glob->middles[i].ptr, glob->middles[i].len);
        if (!found)
            return false;
        at = found + glob->middles[i].len;
    }
    return true;
}
