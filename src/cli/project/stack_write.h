/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_PROJECT_STACK_WRITE_H
#define TAILRACE_CLI_PROJECT_STACK_WRITE_H

/** stack_write.h: the pieces that a template is made of, for the files that write its parts. */

#include "cli/project/stack.h"

#include <tailrace/json.h>

#define TR_STACK_ID_SIZE 256 /* a logical id has at most 255 characters */

typedef struct tr__stack {
    tr_project *p;
    tr_json_writer w;
    void (*left_out)(void *ctx, const char *message);
    void *ctx;
    size_t urls; /* API destinations */
} tr__stack;

extern const char tr__stack_pipe_code[];

/** Tells what AWS has no counterpart for. */
void tr__stack_leave_out(tr__stack *s, const char *format, ...) TR_PRINTF(2, 3);

/** "name":{ or, without a name, { */
void tr__stack_object(tr__stack *s, const char *name);
void tr__stack_end(tr__stack *s);
/** "name":"value"; nothing for NULL. The same for a piece of JSON. */
void tr__stack_text(tr__stack *s, const char *name, const char *value);
void tr__stack_json(tr__stack *s, const char *name, const char *value);
void tr__stack_number(tr__stack *s, const char *name, int64_t value);

/** The logical id of a name, and what it is: "my-queue", "Queue" is MyQueueQueue. Into out
 * (TR_STACK_ID_SIZE). */
const char *tr__stack_id_of(const char *name, const char *kind, char *out);
/** {"Fn::GetAtt":["ID","ATTRIBUTE"]} or, without an attribute, {"Ref":"ID"}; refer: as a member. */
void tr__stack_value_of(tr__stack *s, const char *name, const char *kind, const char *attribute);
void tr__stack_refer(tr__stack *s, const char *member, const char *name, const char *kind,
                     const char *attribute);
/** {"Fn::Sub":"…"}, the format filled with the name. */
void tr__stack_sub(tr__stack *s, const char *member, const char *format, const char *name);
void tr__stack_bus_arn(tr__stack *s, const char *member, const char *bus);
void tr__stack_table_arn(tr__stack *s, const char *table);

/** "ID":{"Type":…,"Properties":{ */
void tr__stack_begin_resource(tr__stack *s, const char *name, const char *kind, const char *type);
void tr__stack_end_resource(tr__stack *s);
/** A statement that allows the action, to whom; up to its Resource, which is the caller's with its end. */
void tr__stack_statement(tr__stack *s, const char *action, const char *principal);
void tr__stack_begin_policy(tr__stack *s, const char *name);
void tr__stack_end_policy(tr__stack *s);
/** A role for a service; between the two stand the statements of what it may do. */
void tr__stack_begin_role(tr__stack *s, const char *name, const char *kind, const char *service);
void tr__stack_end_role(tr__stack *s);
void tr__stack_allow_bus(tr__stack *s, const char *bus);

/** MODULE.EXPORT of a function that is a Lambda handler; else NULL. */
const char *tr__stack_module_of(const tr_project_function *f);

/* stack_rules.c */
void tr__stack_put_rule(tr__stack *s, const tr_project_rule *r);
/** Parameters: the keys of connections to URLs. Nothing where there are none. */
void tr__stack_put_parameters(tr__stack *s);
/** Connections and API destinations for the URLs that rules post to. */
void tr__stack_put_urls(tr__stack *s);

#endif
