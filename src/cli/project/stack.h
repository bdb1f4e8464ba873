/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_PROJECT_STACK_H
#define TAILRACE_CLI_PROJECT_STACK_H

/** stack.h: a project as a CloudFormation template. */

#include "cli/project/project.h"

/** "NAME-STAGE", the stack's name. On the project's arena; NULL without memory. */
const char *tr_project_stack_name(tr_project *project);
/**
 * Appends the template, as JSON with line breaks: tables, buses, queues, archives, rules, functions with a
 * role of their own each, stream mappings, pipes as functions, failure destinations. Functions' code is named
 * as a local path, as `aws cloudformation package` takes it. What AWS has no counterpart for is told to
 * `left_out`. TR_EINVAL: the project cannot be deployed; TR_ENOMEM, TR_ELIMIT.
 */
int tr_project_stack(tr_project *project, void (*left_out)(void *ctx, const char *message), void *ctx,
                     tr_buf *out, tr_error *err);

#endif
