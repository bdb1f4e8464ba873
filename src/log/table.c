/* SPDX-License-Identifier: MIT */
#include "log/internal.h"

#include <tailrace/schema.h>

int tr_log_create_table(tr_client *client, const char *name, tr_error *err)
{
    tr_schema_options options = {.table = tr__log_table(name)};
    return tr_schema_create(client, TR_SCHEMA_LOG, &options, err);
}
