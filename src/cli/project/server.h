/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_PROJECT_SERVER_H
#define TAILRACE_CLI_PROJECT_SERVER_H

/** server.h: a project in terms of the embedded server, for `serve` and `dev`. */

#include "cli/project/project.h"

#include <tailrace/engine.h>

#define TR_PROJECT_FUNCTIONS_MAX 256
#define TR_PROJECT_TEXTS_MAX     32

/** What the options point to. */
typedef struct tr_project_server {
    const char *listen[TR_PROJECT_TEXTS_MAX], *cors[TR_PROJECT_TEXTS_MAX];
    tr_server_function functions[TR_PROJECT_FUNCTIONS_MAX];
} tr_project_server;

/** Sets what the options leave open; `data_dir` is the caller's. The project must outlive the server's start.
 * TR_ELIMIT, TR_ENOMEM. */
int tr_project_serve(tr_project *project, tr_project_server *room, tr_server_options *options, tr_error *err);
/**
 * Archives with a path of their own: DIR/archive/NAME.sqlite becomes a symbolic link to it, which whoever
 * opens DIR later follows, too. Before the server opens DIR. TR_EEXIST: there is an archive already;
 * TR_EINVAL: data_dir is NULL; TR_ENOTFOUND, TR_EIO.
 */
int tr_project_link_archives(tr_project *project, const char *data_dir, tr_error *err);
/** A path of the file as seen from the current directory, on the project's arena. NULL without memory. */
const char *tr_project_beside(tr_project *project, const char *path);

#endif
