/* SPDX-License-Identifier: MIT */
#ifndef TR_PATTERN_EXTRACT_H
#define TR_PATTERN_EXTRACT_H

/** Parts of an event, as text. */

#include <tailrace/transform.h>

/** A member of an object, or an element of an array, found one after the other. */
struct tr__member {
    tr_view name;  /* as written, between its quotes; of objects only */
    bool escaped;  /* the name has escapes */
    tr_view value; /* as written */
};
/** Behind an object or array, which starts at the view's first byte: where to go on, NULL if it is neither.
 */
const char *tr__members_begin(tr_view container);
/**
 * The next member; *at moves on. 1 if there was one, 0 at the end, TR_EPARSE.
 */
int tr__members_next(tr_view container, const char **at, struct tr__member *ret_member);
/** Whether a member has this name. */
bool tr__member_is(const struct tr__member *member, tr_view name);

/** Appends JSON without white space between tokens; `bare` leaves out all quotes. */
void tr__put_compact(tr_buf *out, tr_view json, bool bare);

/**
 * The part that a path without stars leads to. 0, TR_ENOTFOUND, TR_EPARSE. For a path with stars, which gives
 * a new text, see tr_input_path_apply.
 */
int tr__path_find(const tr_input_path *path, tr_view event, tr_view *ret_value);
/** Whether a path has stars. */
bool tr__path_is_many(const tr_input_path *path);
/** Whether text is a path; *ret_steps: how many. */
bool tr__path_valid(tr_view text, size_t *ret_steps);

#endif
