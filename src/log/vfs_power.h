// SPDX-License-Identifier: Apache-2.0
/*
 * A SQLite VFS for tests that behaves like a machine that can lose power and a disk that can fail.
 * What is written stays in memory, as in a page cache, until the file is synced; then it goes to
 * the real file below. So `kill -9` loses exactly what was not synced. With a chance some 512-byte
 * sectors reach the disk earlier, in any order, which tears and reorders what is lost.
 *
 * Three uses: linked into a test and named as log_options.sqlite_vfs ("power"); cut in process by
 * vfs_power_cut; or preloaded into an unchanged program, where it becomes the default VFS:
 *
 *     LD_PRELOAD=build/src/log/libvfs_power.so WEFT_POWER_SEED=7 WEFT_POWER_EARLY=20 weftd ...
 *
 * (with an ASan build also ASAN_OPTIONS=verify_asan_link_order=0). WEFT_POWER_FAULTS=FILE there is
 * vfs_power_fault_file. It holds whole files in memory.
 */
#ifndef LOG_VFS_POWER_H
#define LOG_VFS_POWER_H

#include <stdbool.h>
#include <stdint.h>

#define VFS_POWER_NAME "power"

/* Registers the VFS above the default one; more than once is harmless. */
void vfs_power_register(bool make_default);
/* early_percent: chance of each written sector to reach the disk before a sync. */
void vfs_power_seed(uint64_t seed, unsigned early_percent);

/* The power goes: all that was not synced is gone, every open file fails from now on; files opened
 * afterwards see what was on the disk. */
void vfs_power_cut(void);

struct vfs_power_faults {
    /* The n-th write (sync) from now on fails, 1 being the next; 0: none. */
    int64_t fail_write, fail_sync;
    int write_code; /* SQLITE_FULL or SQLITE_IOERR_WRITE */
    bool for_ever;  /* all after it fail too */
    bool cut;       /* it does not only fail: the power goes */
    /* A failed sync may have written a part (each sector by chance); the rest is marked clean, as
     * Linux does: no later sync will write it. */
    unsigned partial_percent;
    int64_t capacity; /* bytes in all files; beyond SQLITE_FULL; 0: no limit */
};
void vfs_power_set_faults(const struct vfs_power_faults *faults); /* NULL: none */
/* While the file `path` (borrowed) holds "sync", "write" or "full", every sync fails, every write
 * fails, or the disk is full; looked at each time. NULL: no such file. */
void vfs_power_fault_file(const char *path);
bool vfs_power_was_cut(void);   /* since the faults were set */
int64_t vfs_power_writes(void); /* since the start of the process */
int64_t vfs_power_syncs(void);

#endif
