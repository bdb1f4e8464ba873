/* SPDX-License-Identifier: MIT */
#include "client/wait.h"

int tr__wait_begin(tr__wait *wait, tr_client *client, tr_error *err)
{
    if (tr_client_on_thread(client))
        return tr_fail(err, TR_ETHREAD, "a blocking call on the client's I/O thread");
    *wait = (tr__wait){.err = err};
    return uv_sem_init(&wait->answered, 0) ? tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM)) : 0;
}

void tr__wait_done(tr__wait *wait, int code, const tr_error *err)
{
    wait->code = code;
    if (code && err && wait->err)
        *wait->err = *err;
    uv_sem_post(&wait->answered);
}

int tr__wait_end(tr__wait *wait, int started)
{
    if (!started)
        uv_sem_wait(&wait->answered);
    uv_sem_destroy(&wait->answered);
    return started ? started : wait->code;
}
