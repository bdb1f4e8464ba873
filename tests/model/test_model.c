/* SPDX-License-Identifier: MIT */
/**
 * Random operations against the oracle, in memory and on disk, with clean restarts between.
 *
 *     test_model [SEEDS [FIRST]]      SEEDS worlds of 1,500 steps each
 */
#include "world.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

int main(int argc, char **argv)
{
    unsigned long seeds = argc > 1 ? strtoul(argv[1], NULL, 10) : 6;
    unsigned long first = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
    static world w;
    unsigned long changed = 0, shards = 0, refused = 0, invalid = 0, reads = 0;
    for (unsigned long seed = first; seed < first + seeds; seed++) {
        char dir[] = "model-test-XXXXXX";
        bool on_disk = seed % 2;
        if (on_disk && !mkdtemp(dir))
            return 1;
        world_init(&w, seed, on_disk ? dir : NULL);
        for (int part = 0; part < 5; part++) {
            for (int i = 0; i < 300; i++)
                world_step(&w);
            world_check(&w);
            if (!on_disk)
                continue;
            tr_engine_close(w.engine);
            world_open(&w);
            world_recover(&w);
            world_check(&w);
        }
        changed += w.changed;
        shards += w.shards;
        refused += w.refused;
        invalid += w.invalid;
        reads += w.reads;
        world_done(&w);
        if (on_disk)
            nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
    printf(
        "%lu worlds: %lu changes, %lu refused by conditions, %lu invalid, %lu reads, %lu shards compared\n",
        seeds, changed, refused, invalid, reads, shards);
    bool worthwhile = changed && shards && refused && invalid && reads;
    printf("[  %s  ] %lu test(s).\n", worthwhile ? "PASSED" : "FAILED", seeds);
    return worthwhile ? 0 : 1;
}
