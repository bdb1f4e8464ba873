/* SPDX-License-Identifier: MIT */
/** The AWS tools' config files, with any bytes: read or refused with a line number, never more. */
#include "client/credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tr__profiles profiles = {0};
    tr__credentials credentials = {0};
    tr_error err;
    tr_arena_init(&profiles.arena, 1 << 20);
    (void)tr__profiles_parse(&profiles, tr_view_of(data, size), "config", size % 2, &err);
    (void)tr__profiles_get(&profiles, "profile", "default", "region");
    tr__profiles_done(&profiles);
    if (tr__credentials_from_json(tr_view_of(data, size), "x", &credentials, &err) == 0)
        tr__credentials_done(&credentials);
    return 0;
}
