/* SPDX-License-Identifier: MIT */
/**
 * Power cuts: random operations on a disk that forgets what was not synced. After each cut the store must
 * open, hold a whole number of operations without a gap, and among them every one that was answered or that a
 * read has shown; and everything in it must fit together.
 *
 *     test_power [SEEDS [FIRST]]      SEEDS worlds of 12 cuts each
 */
#include "../model/world.h"
#include "disk.h"

#include <stdio.h>
#include <stdlib.h>

#define CUTS 12

int main(int argc, char **argv)
{
    unsigned long seeds = argc > 1 ? strtoul(argv[1], NULL, 10) : 10;
    unsigned long first = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
    static world w;
    unsigned long changed = 0, lost = 0;
    uint64_t unsynced = 0;
    for (unsigned long seed = first; seed < first + seeds; seed++) {
        char root[] = "power-test-XXXXXX", dirs[2][64];
        if (!mkdtemp(root))
            return 1;
        (void)snprintf(dirs[0], sizeof dirs[0], "%s/0", root);
        (void)snprintf(dirs[1], sizeof dirs[1], "%s/1", root);
        world_init(&w, seed, dirs[0]);
        w.large = true;
        for (int cut = 0; cut < CUTS; cut++) {
            unsigned steps = 1 + (unsigned)tr_rng_below(&w.rng, 300);
            for (unsigned i = 0; i < steps; i++)
                world_step(&w);
            const char *from = dirs[cut % 2], *to = dirs[1 - cut % 2];
            uint32_t op = w.op;
            unsynced += disk_unsynced(from);
            disk_cut(from, to, (disk_cut_kind)tr_rng_below(&w.rng, 4), &w.rng);
            tr_engine_close(w.engine);
            disk_remove(from);
            w.options.dir = to;
            world_open(&w);
            world_recover(&w);
            lost += op - w.op;
            if (cut % 2)
                world_check(&w);
        }
        changed += w.changed;
        world_done(&w);
        disk_remove(dirs[CUTS % 2]);
        (void)remove(root);
    }
    printf("%lu worlds, %lu cuts: %lu changes, of which %lu had not been answered and were lost; %llu KB not "
           "synced at the cuts; %lu syncs\n",
           seeds, seeds * CUTS, changed, lost, (unsigned long long)(unsynced / 1024), disk_syncs());
    bool worthwhile = changed && lost && unsynced && disk_syncs();
    printf("[  %s  ] %lu test(s).\n", worthwhile ? "PASSED" : "FAILED", seeds);
    return worthwhile ? 0 : 1;
}
