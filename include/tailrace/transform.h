/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_TRANSFORM_H
#define TAILRACE_TRANSFORM_H

/**
 * tailrace/transform.h: what a target is given instead of the event: a part of it (InputPath), or a template
 * filled with parts of it (InputTransformer).
 *
 * Paths: "$", then steps: ".name" (anything but dots and brackets), "[3]", ".*" or "[*]". A path with a star
 * gives an array of all it finds. Where a key occurs twice in an object, the last one counts.
 *
 * Templates hold placeholders <name>, which stand for a path of the map, or for one of
 *
 *     <aws.events.rule-arn>  <aws.events.rule-name>  <aws.events.event.ingestion-time>
 *     <aws.events.event>          the event without its detail, "detail-type" named "detailType"
 *     <aws.events.event.json>     the whole event
 *
 * and come in two kinds:
 *
 * - JSON: what a placeholder stands for is put in as JSON ({"id": <id>} gives {"id":"7"}), within a string
 * without its quotes ({"path": "users/<id>"} gives {"path":"users/7"}). An object or array within a string
 * loses its own quotes as well, so that the string stays whole: {"was": "<detail>"} gives
 * {"was":"{id:7,lines:[a,b]}"}.
 * - Text: one or more quoted strings, usually a line each. The quotes stay. Objects and arrays lose theirs:
 *   "order <detail>" gives "order {id:7,lines:[a,b]}".
 *
 * A path that finds nothing is an empty string in both. Compiled objects are immutable and may be shared by
 * threads.
 */

#include <tailrace/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TR_INPUT_PATH_MAX     256  /* bytes of a path (API model, TargetInputPath) */
#define TR_INPUT_PATHS_MAX    100  /* entries of InputPathsMap (API model, TransformerPaths) */
#define TR_INPUT_TEMPLATE_MAX 8192 /* bytes of a template (API model, TransformerInput) */

typedef struct tr_input_path tr_input_path;

/**
 * target_id is named in the error: TR_EINVAL with ValidationException. TR_ENOMEM.
 */
int tr_input_path_compile(tr_view text, const char *target_id, tr_input_path **ret_path, tr_error *err);
void tr_input_path_free(tr_input_path *path);
/**
 * Appends the part of an event (JSON text) that the path leads to, without white space between its tokens.
 * Nothing is written and TR_ENOTFOUND comes back if there is none; TR_EPARSE if the event is found not to be
 * JSON, and out's errors.
 */
int tr_input_path_apply(const tr_input_path *path, tr_view event, tr_buf *out);

typedef struct tr_input_variable {
    tr_view name; /**< [A-Za-z0-9_-]{1,256} */
    tr_view path;
} tr_input_variable;

typedef struct tr_transform_options {
    const char *target_id;              /**< Required: named in errors */
    tr_view input_template;             /**< Required */
    const tr_input_variable *variables; /**< InputPathsMap; copied */
    size_t variable_count;
    /**
     * Also take paths as placeholders (<$.dynamodb.Keys>), and aws.pipes. in place of aws.events. (pipe-arn
     * and pipe-name for rule-arn and rule-name), as EventBridge Pipes do.
     */
    bool pipes;
} tr_transform_options;

typedef struct tr_transform tr_transform;

/**
 * TR_EINVAL with ValidationException and the service's message ("InputTemplate for target X contains invalid
 * placeholder Y."), TR_ENOMEM. Free with tr_transform_free.
 */
int tr_transform_compile(const tr_transform_options *options, tr_transform **ret_transform, tr_error *err);
void tr_transform_free(tr_transform *transform);

typedef struct tr_transform_input {
    tr_view event;    /**< JSON text, an object */
    tr_view rule_arn; /**< of the rule, or of the pipe */
    tr_view rule_name;
    tr_view ingestion_time; /**< when the event was received, as text: "2026-01-31T23:59:59Z" */
} tr_transform_input;

/**
 * Appends the filled template. On failure out is as long as before: TR_EINVAL if a JSON template did not
 * become JSON, TR_EPARSE if the event is found not to be JSON, and out's errors.
 */
int tr_transform_apply(const tr_transform *transform, const tr_transform_input *input, tr_buf *out,
                       tr_error *err);

#ifdef __cplusplus
}
#endif
#endif
