/* SPDX-License-Identifier: MIT */
#ifndef TR_PATTERN_VALUE_H
#define TR_PATTERN_VALUE_H

/** What values are compared by: numbers, addresses, letters without their case. */

#include <tailrace/base.h>

/**
 * A JSON number (its grammar checked, or at least made of its characters) as a key that sorts as the numbers
 * do: the bits of the binary64, turned around. False if a binary64 does not keep it: more digits than the
 * shortest text of the nearest double has, or out of range.
 */
bool tr__number_key(tr_view text, uint64_t *ret_key);

/** An address as the matcher keeps it. IPv4-mapped IPv6 addresses are IPv4. */
struct tr__ip {
    uint8_t bytes[16];
    uint8_t bits; /* 32 or 128 */
};
/** Dotted IPv4 or colon-separated IPv6 (no zone, no mixed form). */
bool tr__ip_parse(tr_view text, struct tr__ip *ret_ip);
/** Whether text is made of an address's characters, though it may not be one. */
bool tr__ip_plausible(tr_view text);
/** Zeroes all but the first `prefix` bits. */
void tr__ip_mask(struct tr__ip *ip, unsigned prefix);
/** The key of a network: 1 byte of bits, 1 byte of prefix, the address. */
#define TR__NET_KEY 18
void tr__net_key(const struct tr__ip *ip, unsigned prefix, uint8_t out[TR__NET_KEY]);

/** Bytes that folding may make of `len` bytes. */
#define TR__FOLD_MAX(len) ((len)*2)
/** Writes small letters for capitals (one-to-one pairs only); bytes that are not UTF-8 stay. Returns the
 * length. */
size_t tr__fold(tr_view text, char *out);

/**
 * A wildcard split at its stars: "a*b*c" has the head "a", one middle "b", the tail "c". Head and tail may be
 * empty, middles are not. Views into `store`, which holds the bytes without escapes.
 */
struct tr__glob {
    tr_view head, tail;
    tr_view *middles;
    uint32_t count;
};
/** pattern: with at least one star, its escapes valid. */
int tr__glob_parse(tr_view pattern, tr_arena *arena, struct tr__glob *ret_glob);
bool tr__glob_match(const struct tr__glob *glob, tr_view text);

#endif
