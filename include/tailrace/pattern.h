/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_PATTERN_H
#define TAILRACE_PATTERN_H

/**
 * tailrace/pattern.h: EventBridge event patterns, one at a time or many thousands in one automaton.
 *
 * A pattern is a JSON object shaped like the events that it selects:
 *
 *     {"source": ["shop"], "detail": {"state": [{"anything-but": "draft"}], "total": [{"numeric": [">",
 * 100]}]}}
 *
 * Fields are joined by AND, the values of one array by OR, `$or` joins whole branches by OR. A field of the
 * event that holds an array matches when one of its elements does; two fields of a pattern that lie within
 * one array of objects must be satisfied by the same element. Keys join with dots, in patterns and in events:
 * {"a.b": …} is {"a": {"b": …}}.
 *
 * Values: a string, number, true, false, null (exactly that; 300 is 300.0), or one of
 *
 *     {"prefix": "a"}   {"suffix": "z"}          strings only; also {"prefix": {"equals-ignore-case": "a"}}
 *     {"equals-ignore-case": "a"}                strings only
 *     {"wildcard": "a*z"}                        strings only; \* and \\ stand for * and \; ** is refused
 *     {"numeric": [">", 0, "<=", 5]}             numbers only; = < <= > >=, a range is > or >= with < or <=
 *     {"cidr": "10.0.0.0/8"}                     strings holding an IPv4 or IPv6 address
 *     {"exists": true}   {"exists": false}       of a leaf: objects and empty arrays do not exist
 *     {"anything-but": X}                        X: a string, a number, a list of either, or prefix, suffix,
 *                                                equals-ignore-case, wildcard with a string or a list of
 * them. True for null and for other types, false for a missing field
 *
 * Numbers compare as binary64 where that keeps every digit; a number with more digits equals only its own
 * text. A string of a pattern that is an IP address equals that address however it is written. Ignoring case
 * covers the one-to-one pairs of Unicode. Everything here follows the service, which was observed and whose
 * matcher is public (github.com/aws/event-ruler): texts of errors, the order of checks, and the odd corners.
 *
 * Threads: a tr_pattern is immutable and may be shared. A tr_matcher may be matched against from any number
 * of threads at once, each with a tr_match_ctx of its own, as long as nobody changes it (add, remove,
 * freeze).
 */

#include <tailrace/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------- patterns */

/** Characters of a pattern unless set otherwise: EventBridge's quota for rules, Lambda's for filters. */
#define TR_PATTERN_LENGTH_MAX        2048
#define TR_PATTERN_FILTER_LENGTH_MAX 4096
/** What max_length may be set to, at most. */
#define TR_PATTERN_LENGTH_CEILING 65536
/** Branches that the $or of a pattern may expand to. */
#define TR_PATTERN_COMBINATIONS_MAX 1000
/**
 * Wildcard prefixes of one field that a value may be within at once. The service's number is not published:
 * it took a pattern of 7 and refused one of 11; 10 is the number that its matcher's documentation suggests.
 */
#define TR_PATTERN_COMPLEXITY_MAX 10
/** What max_complexity may be set to, at most. */
#define TR_PATTERN_COMPLEXITY_CEILING 1000

typedef enum tr_pattern_dialect {
    /** Errors: InvalidEventPatternException, "Event pattern is not valid. Reason: …". */
    TR_PATTERN_EVENTBRIDGE,
    /**
     * A filter of a Lambda event source mapping, matched against a stream record in the form that Lambda
     * hands to functions ({"eventName": "INSERT", "dynamodb": {"NewImage": {"id": {"S": "1"}}}, …}). The
     * operators are the same; since DynamoDB's numbers are strings there, `numeric` does not see them.
     * Errors: InvalidParameterValueException, "Invalid filter pattern definition. …".
     */
    TR_PATTERN_LAMBDA
} tr_pattern_dialect;

/** Optional; zeroes mean the defaults above. */
typedef struct tr_pattern_options {
    tr_pattern_dialect dialect;
    size_t max_length;         /**< characters (code points), at most TR_PATTERN_LENGTH_CEILING */
    unsigned max_combinations; /**< branches of $or */
    unsigned max_complexity;   /**< of wildcards, see TR_PATTERN_COMPLEXITY_MAX; at most
                                  TR_PATTERN_COMPLEXITY_CEILING */
} tr_pattern_options;

typedef struct tr_pattern tr_pattern;
typedef struct tr_match_ctx tr_match_ctx;

/**
 * Compiles and validates a pattern. options may be NULL.
 * TR_EINVAL with err->type, http_status 400 and the service's message if the pattern is not valid; TR_ENOMEM.
 * Free with tr_pattern_free; matchers keep what they need.
 */
int tr_pattern_compile(tr_view json, const tr_pattern_options *options, tr_pattern **ret_pattern,
                       tr_error *err);
void tr_pattern_free(tr_pattern *pattern);
/**
 * Whether one event (JSON text) matches one pattern. ctx may be NULL, which costs some allocations. Errors as
 * tr_matcher_match.
 */
int tr_pattern_match(const tr_pattern *pattern, tr_match_ctx *ctx, tr_view event, bool *ret_match,
                     tr_error *err);
/**
 * What TestEventPattern asks of its event: a JSON object with id, account, source, time, region, detail-type.
 * TR_EINVAL with ValidationException, "Parameter Event is not valid.".
 */
int tr_pattern_check_event(tr_view event, tr_error *err);

/* ------------------------------------------------------------------------------------------- matchers */

/** Optional; zeroes mean the defaults. */
typedef struct tr_matcher_options {
    size_t max_rules;      /**< default 1,000,000 */
    size_t max_conditions; /**< fields of all rules, $or expanded; default 16,000,000 */
    size_t max_bytes;      /**< of texts kept; default 1 GiB */
} tr_matcher_options;

typedef struct tr_matcher tr_matcher;

/** options may be NULL. TR_ENOMEM. */
int tr_matcher_new(const tr_matcher_options *options, tr_matcher **ret_matcher);
void tr_matcher_free(tr_matcher *matcher);
/**
 * Adds a rule under an id of the caller's, any number but UINT64_MAX. Cost grows with the pattern, not with
 * the rules that are there. TR_EEXIST if the id is taken, TR_ELIMIT, TR_ENOMEM; the matcher is as before
 * then. The pattern is shared: the caller may free it at once.
 */
int tr_matcher_add(tr_matcher *matcher, uint64_t id, const tr_pattern *pattern);
/** Removes a rule; its memory is reclaimed at a later freeze. TR_ENOTFOUND. */
int tr_matcher_remove(tr_matcher *matcher, uint64_t id);
size_t tr_matcher_count(const tr_matcher *matcher);
/**
 * Finishes the indexes after rules were added: due before the next match. Cheap if nothing changed. It is a
 * call of its own, so that matching never changes the matcher. TR_ENOMEM: matching is refused until a freeze
 * succeeds.
 */
int tr_matcher_freeze(tr_matcher *matcher);
/** Bytes that the matcher holds, for reports. */
size_t tr_matcher_bytes(const tr_matcher *matcher);

/** Optional; zeroes mean the defaults. */
typedef struct tr_match_options {
    size_t max_event_bytes; /**< default 4 MiB */
    size_t max_values;      /**< values of one event that rules look at; default 1,000,000 */
    /**
     * Steps that one event may take: tests found true, wildcards compared (64 bytes each), places in arrays
     * compared. Default 16,000,000, some tenths of a second. Events that people send take some dozens.
     */
    size_t max_steps;
} tr_match_options;

/** The scratch memory of one thread's matching; grows to what events need and stays. options may be NULL. */
int tr_match_ctx_new(const tr_match_options *options, tr_match_ctx **ret_ctx);
void tr_match_ctx_free(tr_match_ctx *ctx);

/**
 * The ids of all rules that match an event (JSON text, an object), each once, in no particular order.
 * *ret_ids belongs to ctx and is valid until ctx is used again.
 *
 * The event is trusted to be JSON: what no rule looks at is skipped by counting brackets outside of strings,
 * so that damage there is not noticed (and harms nothing). If a key occurs twice in an object, both values
 * count.
 *
 * TR_EPARSE if the event is found not to be a JSON object, TR_ELIMIT beyond a limit of ctx or nested deeper
 * than 256 levels, TR_EINVAL if the matcher was changed and not frozen, TR_ENOMEM.
 */
int tr_matcher_match(const tr_matcher *matcher, tr_match_ctx *ctx, tr_view event, const uint64_t **ret_ids,
                     size_t *ret_count, tr_error *err);

#ifdef __cplusplus
}
#endif
#endif
