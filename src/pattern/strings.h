/* SPDX-License-Identifier: MIT */
#ifndef TR_PATTERN_STRINGS_H
#define TR_PATTERN_STRINGS_H

/** Finding many prefixes, or many words, in a text at once. */

#include "tables.h"

/** Called for each item found; a negative answer ends the search and is its result. */
typedef int tr__found_fn(void *ctx, uint32_t item);

/**
 * Prefix trees with labels on their edges; one object holds many trees, told apart by their roots:
 *
 *   root --"arn:aws:"--> n1 --"s3"---> n2 {item 7}
 *                         \--"ec2:"--> n3 {items 4, 9}
 */
struct tr__trie {
    TR__VEC(struct tr__trie_node {
        const char *label; /* of the edge that leads here */
        uint32_t len;
        uint32_t first; /* of entries, or TR__NONE */
    })
    nodes;
    TR__VEC(struct tr__trie_entry { uint32_t item, next; }) entries;
    struct tr__map edges; /* (node, first byte of the label) -> node */
};

/** A tree of its own: its root into *ret_root. */
int tr__trie_root(struct tr__trie *trie, uint32_t *ret_root);
/** text must live as long as the trie. */
int tr__trie_add(struct tr__trie *trie, uint32_t root, tr_view text, uint32_t item);
/** All items whose text starts `text`. */
int tr__trie_find(const struct tr__trie *trie, uint32_t root, tr_view text, tr__found_fn *found, void *ctx);
void tr__trie_done(struct tr__trie *trie);

/**
 * Words anywhere in a text (Aho and Corasick, 1975): a tree of bytes in which each node knows the longest
 * proper end of its word that is itself in the tree (fail), and the nearest such end that is a whole word
 * (out).
 */
struct tr__words {
    TR__VEC(struct tr__words_node {
        uint32_t parent, fail, out, first;
        uint32_t depth;
        uint32_t passes; /* words of which this is a beginning */
        uint8_t byte;
    })
    nodes;
    TR__VEC(struct tr__words_entry { uint32_t item, next; }) entries;
    struct tr__map edges;
    uint32_t *root_edges; /* 256; most bytes of most texts end here */
    uint32_t *order;      /* nodes by depth */
};

/** Adds a word of at least one byte. */
int tr__words_add(struct tr__words *words, tr_view word, uint32_t item);
/** Due after the last word, before searching. */
int tr__words_finish(struct tr__words *words);
/** All items whose word is in text, as often as it is. */
int tr__words_find(const struct tr__words *words, tr_view text, tr__found_fn *found, void *ctx);
void tr__words_done(struct tr__words *words);

#endif
