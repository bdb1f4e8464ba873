/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

bool tr__lease_ours(const tr__core *core, const tr__shard *s)
{
    return !core->fleet || (s->lease && s->lease->mine);
}
bool tr__lease_may_deliver(const tr__core *core, const tr__shard *s)
{
    return !core->fleet || (s->lease && s->lease->valid);
}
void tr__lease_acked(tr__core *core, tr__shard *s)
{
    (void)core;
    (void)s;
}
void tr__lease_changed(tr__core *core, tr__shard *s)
{
    (void)core;
    (void)s;
}
void tr__lease_forget(tr__core *core, tr__shard *s)
{
    (void)core;
    (void)s;
}
void tr__lease_drop(tr__core *core, tr__shard *s)
{
    (void)core;
    (void)s;
}
bool tr__lease_fill(tr__core *core, tr__pending *call, tr__req *req)
{
    (void)core;
    (void)call;
    (void)req;
    return false;
}
void tr__lease_answer(tr__core *core, tr__pending *call, tr__answer *answer)
{
    (void)core;
    (void)call;
    (void)answer;
}
int tr__fleet_new(tr__core *core, const tr_fleet_options *options)
{
    (void)core;
    (void)options;
    return TR_EUNSUPPORTED;
}
void tr__fleet_free(tr__core *core)
{
    (void)core;
}
void tr__fleet_start(tr__core *core)
{
    (void)core;
}
void tr__fleet_choose(tr__core *core)
{
    (void)core;
}
void tr__fleet_streams(tr__core *core, tr__answer *answer)
{
    (void)core;
    (void)answer;
}
void tr__fleet_listing_begins(tr__core *core)
{
    (void)core;
}
void tr__fleet_first_listing(tr__core *core)
{
    (void)core;
}
void tr__fleet_listed(tr__core *core)
{
    (void)core;
}
void tr__fleet_make_rows(tr__core *core)
{
    (void)core;
}
void tr__fleet_stop(tr__core *core)
{
    (void)core;
}
bool tr__fleet_settled(const tr__core *core)
{
    (void)core;
    return true;
}
void tr__fleet_flush(tr__core *core)
{
    (void)core;
}
bool tr__fleet_saved_all(const tr__core *core)
{
    (void)core;
    return true;
}
