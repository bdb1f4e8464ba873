/* SPDX-License-Identifier: MIT */
#include "kv/kv_private.h"

/*
 * How RocksDB is set up. A quarter of the memory ceiling is for write buffers, the rest for the block cache,
 * which holds indexes and filters too: of ten million items these are 30 MB, for which RocksDB keeps half of
 * the cache.
 */

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/** Options that RocksDB's C interface has no functions for. */
static void set_text(rocksdb_options_t *options, const char *text)
{
    char *error = NULL;
    rocksdb_options_t *base = rocksdb_options_create_copy(options);
    rocksdb_get_options_from_string(base, text, options, &error);
    rocksdb_options_destroy(base);
    rocksdb_free(error);
}

rocksdb_options_t *tr__kv_db_options(rocksdb_env_t *env, size_t memory_bytes, bool in_memory)
{
    rocksdb_options_t *o = rocksdb_options_create();
    /* The store must not flush what nobody will read: a store in memory ends with the process. And opening
     * keeps the log as it is instead of writing a table file each time. */
    set_text(o, in_memory ? "avoid_flush_during_shutdown=true" : "avoid_flush_during_recovery=true");
    rocksdb_options_set_env(o, env);
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_create_missing_column_families(o, 1);
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_wal_recovery_mode(o, rocksdb_tolerate_corrupted_tail_records_recovery);
    rocksdb_options_set_max_total_wal_size(o, memory_bytes / 2);
    rocksdb_options_set_db_write_buffer_size(o, memory_bytes / 4);
    /* One thread flushes, two compact: a long compaction of items must not keep change files from moving. */
    rocksdb_options_set_max_background_jobs(o, 3);
    rocksdb_options_set_max_open_files(o, 512);
    rocksdb_options_set_max_file_opening_threads(o, 1);
    rocksdb_options_set_skip_stats_update_on_db_open(o, 1);
    rocksdb_options_set_skip_checking_sst_file_sizes_on_db_open(o, 1);
    /* One thread writes. */
    rocksdb_options_set_allow_concurrent_memtable_write(o, 0);
    rocksdb_options_set_enable_write_thread_adaptive_yield(o, 0);
    rocksdb_options_set_bytes_per_sync(o, MIB);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_stats_persist_period_sec(o, 0);
    rocksdb_options_set_info_log_level(o, 2 /* warnings */);
    rocksdb_options_set_keep_log_file_num(o, 2);
    rocksdb_options_set_max_log_file_size(o, MIB);
    rocksdb_options_set_max_manifest_file_size(o, 16 * MIB);
    rocksdb_options_set_manifest_preallocation_size(o, 64 * KIB);
    return o;
}

rocksdb_cache_t *tr__kv_cache(size_t bytes)
{
    rocksdb_lru_cache_options_t *o = rocksdb_lru_cache_options_create();
    rocksdb_lru_cache_options_set_capacity(o, bytes);
    /* Two shards, where RocksDB would make 64 for as many threads: one thread reads, and what is kept for
     * indexes and filters is shared out among so many only unevenly. */
    rocksdb_lru_cache_options_set_num_shard_bits(o, 1);
    rocksdb_cache_t *cache = rocksdb_cache_create_lru_opts(o);
    rocksdb_lru_cache_options_destroy(o);
    return cache;
}

static rocksdb_block_based_table_options_t *table_options(tr_kv_family family, rocksdb_cache_t *cache)
{
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(t, cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(t, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
    rocksdb_block_based_options_set_format_version(t, 5);
    rocksdb_block_based_options_set_checksum(t, 4 /* XXH3 */);
    if (family == TR_KV_ITEMS) {
        rocksdb_block_based_options_set_block_size(t, 4 * KIB); /* what a miss reads, checks and unpacks */
        rocksdb_block_based_options_set_filter_policy(t, rocksdb_filterpolicy_create_bloom_full(10));
        rocksdb_block_based_options_set_whole_key_filtering(t, 1);
        rocksdb_block_based_options_set_data_block_index_type(t, 1 /* binary search and hash */);
        /* Indexes and filters in blocks of their own: with ten million items they may be larger than the
         * cache, and a miss must not cost a file's whole index. Smaller ones make more of them to find
         * (docs/decisions/008-growth.md). */
        rocksdb_block_based_options_set_index_type(t, 2 /* two levels */);
        rocksdb_block_based_options_set_partition_filters(t, 1);
        rocksdb_block_based_options_set_metadata_block_size(t, 16 * KIB);
        rocksdb_block_based_options_set_pin_top_level_index_and_filter(t, 1);
    } else {
        rocksdb_block_based_options_set_block_size(t, 32 * KIB);
    }
    return t;
}

rocksdb_options_t *tr__kv_family_options(rocksdb_env_t *env, tr_kv_family family, rocksdb_cache_t *cache,
                                         size_t memory_bytes, bool in_memory)
{
    bool large = family == TR_KV_ITEMS || family == TR_KV_CHANGES;
    size_t buffer = large ? memory_bytes / 8 : MIB;
    if (in_memory && large)
        buffer = memory_bytes / 2;
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_options_set_env(o, env);
    rocksdb_options_set_write_buffer_size(o, buffer);
    rocksdb_options_set_arena_block_size(o, large ? 256 * KIB : 16 * KIB);
    rocksdb_options_set_max_write_buffer_number(o, 6);
    rocksdb_options_set_level0_file_num_compaction_trigger(o, 4);
    /* Few levels: each one is asked, or its filter is. */
    rocksdb_options_set_max_bytes_for_level_base(o, 16 * buffer);
    rocksdb_options_set_target_file_size_base(o, large ? 32 * MIB : 2 * MIB);
    rocksdb_options_set_compression(o, rocksdb_no_compression);
    if (family == TR_KV_ITEMS) {
        rocksdb_options_set_prefix_extractor(o,
                                             rocksdb_slicetransform_create_fixed_prefix(TR__KV_ITEM_PREFIX));
        /* Most keys are not in the write buffers: ask a filter before searching them. */
        rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, 0.01);
        rocksdb_options_set_memtable_whole_key_filtering(o, 1);
        static const int per_level[] = {rocksdb_no_compression,  rocksdb_no_compression,
                                        rocksdb_lz4_compression, rocksdb_lz4_compression,
                                        rocksdb_lz4_compression, rocksdb_lz4_compression,
                                        rocksdb_lz4_compression};
        rocksdb_options_set_compression_per_level(o, per_level, TR_COUNT(per_level));
        rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    } else if (family == TR_KV_CHANGES) {
        /* Records come in order within a slice, stream and shard: each goes in behind the last of its shard
         * without a search. */
        /* Files that do not overlap cost readers nothing, however many wait on the first level. */
        rocksdb_options_set_level0_slowdown_writes_trigger(o, 1000);
        rocksdb_options_set_level0_stop_writes_trigger(o, 2000);
        set_text(o, "memtable_insert_with_hint_prefix_extractor=rocksdb.FixedPrefix.12");
        rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    }
    rocksdb_block_based_table_options_t *t = table_options(family, cache);
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_block_based_options_destroy(t);
    return o;
}
