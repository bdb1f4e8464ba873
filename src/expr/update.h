/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_EXPR_UPDATE_H
#define TAILRACE_EXPR_UPDATE_H

/** An update as update.c makes it and update_apply.c uses it. */

#include "internal.h"

struct tr_update {
    const tr_update_step *steps;
    uint32_t count;
    uint32_t nodes;
    tr__trie *root;  /* of the paths that are changed; a leaf is the number of a step */
    tr__names names; /* their first parts */
    bool creates;
};

#endif
