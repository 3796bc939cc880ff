// SPDX-License-Identifier: Apache-2.0
#include "log/vfs_power.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/rng.h"

enum {
    SECTOR = 512,
    PIECE = 1 << 16, /* SQLite's unix VFS takes less than 128 KiB in one call */
};

/* The cached content of one file, shared by all handles on it. */
struct image {
    struct list link;
    char *path;
    dev_t dev;
    ino_t ino;
    int refs;
    bool gone; /* lost power: its handles fail */
    bool torn; /* after a failed sync the cache holds what the disk does not */
    uint8_t *data;
    sqlite3_int64 size, disk_size;
    size_t cap;
    uint8_t *dirty; /* one byte a sector */
};

struct power_file {
    sqlite3_file base;
    struct image *image;
    sqlite3_file *real;
};

static struct {
    pthread_mutex_t lock;
    sqlite3_vfs vfs, *below;
    struct list images;
    struct rng rng;
    unsigned early;
    struct vfs_power_faults faults;
    const char *fault_file;
    int64_t writes, syncs, write_base, sync_base;
    bool was_cut;
} power = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void enter(void) {
    pthread_mutex_lock(&power.lock);
}
static void leave(void) {
    pthread_mutex_unlock(&power.lock);
}

/* ---- images ---- */

static size_t sectors(sqlite3_int64 bytes) {
    return (size_t)((bytes + SECTOR - 1) / SECTOR);
}

static void image_reserve(struct image *m, sqlite3_int64 size) {
    if ((size_t)size <= m->cap) {
        return;
    }
    size_t cap = ((size_t)size + (size_t)size / 2 + 65536) / SECTOR * SECTOR;
    m->data = mem_realloc(m->data, cap);
    m->dirty = mem_realloc(m->dirty, cap / SECTOR);
    memset(m->data + m->cap, 0, cap - m->cap);
    memset(m->dirty + m->cap / SECTOR, 0, (cap - m->cap) / SECTOR);
    m->cap = cap;
}

static void image_free(struct image *m) {
    list_remove(&m->link);
    mem_free(m->path);
    mem_free(m->data);
    mem_free(m->dirty);
    mem_free(m);
}

static bool image_is_clean(const struct image *m) {
    return !m->torn && m->size == m->disk_size &&
           (m->size == 0 || memchr(m->dirty, 1, sectors(m->size)) == NULL);
}

static struct image *image_find(const char *path, const struct stat *st) {
    LIST_FOREACH_SAFE (l, &power.images) {
        struct image *m = CONTAINER_OF(l, struct image, link);
        if (m->gone || strcmp(m->path, path) != 0) {
            continue;
        }
        if (m->dev == st->st_dev && m->ino == st->st_ino && (m->refs > 0 || !image_is_clean(m))) {
            return m;
        }
        if (m->refs == 0) {
            image_free(m);
        }
    }
    return NULL;
}

static int image_load(const char *path, sqlite3_file *real, struct image **out) {
    struct stat st;
    if (stat(path, &st) != 0) {
        return SQLITE_CANTOPEN;
    }
    struct image *m = image_find(path, &st);
    if (m == NULL) {
        m = MEM_NEW(struct image);
        m->path = mem_strdup(path);
        m->dev = st.st_dev;
        m->ino = st.st_ino;
        list_append(&power.images, &m->link);
        int rc = real->pMethods->xFileSize(real, &m->size);
        m->disk_size = m->size;
        image_reserve(m, m->size);
        for (sqlite3_int64 at = 0; rc == SQLITE_OK && at < m->size;) {
            int n = (int)(m->size - at < PIECE ? m->size - at : PIECE);
            rc = real->pMethods->xRead(real, m->data + at, n, at);
            at += n;
        }
        if (rc != SQLITE_OK) {
            image_free(m);
            return rc;
        }
    }
    m->refs++;
    *out = m;
    return SQLITE_OK;
}

/* Sends sectors a..b-1 to the disk. */
static int flush(struct power_file *f, size_t a, size_t b) {
    struct image *m = f->image;
    sqlite3_int64 at = (sqlite3_int64)a * SECTOR, end = (sqlite3_int64)b * SECTOR;
    end = end < m->size ? end : m->size;
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK && at < end) {
        int n = (int)(end - at < PIECE ? end - at : PIECE);
        rc = f->real->pMethods->xWrite(f->real, m->data + at, n, at);
        at += n;
        if (rc == SQLITE_OK && at > m->disk_size) {
            m->disk_size = at;
        }
    }
    return rc;
}

/* ---- faults ---- */

/* Takes the faults from the file, when there is one to ask. */
static void look_at_file(void) {
    if (power.fault_file == NULL) {
        return;
    }
    char word[16] = "";
    FILE *f = fopen(power.fault_file, "re");
    if (f != NULL) {
        word[fread(word, 1, sizeof word - 1, f)] = '\0';
        fclose(f);
    }
    bool sync = strncmp(word, "sync", 4) == 0, full = strncmp(word, "full", 4) == 0;
    bool write = full || strncmp(word, "write", 5) == 0;
    power.faults = (struct vfs_power_faults){.fail_sync = sync ? 1 : 0,
                                             .fail_write = write ? 1 : 0,
                                             .write_code = full ? SQLITE_FULL : SQLITE_IOERR_WRITE,
                                             .for_ever = true};
}

static bool due(int64_t count, int64_t base, int64_t nth) {
    int64_t n = count - base;
    return nth > 0 && (n == nth || (power.faults.for_ever && n > nth));
}

static sqlite3_int64 total_size(void) {
    sqlite3_int64 n = 0;
    LIST_FOREACH (l, &power.images) {
        const struct image *m = CONTAINER_OF(l, struct image, link);
        n += m->gone ? 0 : m->size;
    }
    return n;
}

static void cut_locked(void) {
    power.was_cut = true;
    LIST_FOREACH_SAFE (l, &power.images) {
        struct image *m = CONTAINER_OF(l, struct image, link);
        m->gone = true;
        if (m->refs == 0) {
            image_free(m);
        }
    }
}

/* ---- methods ---- */

static int p_close(sqlite3_file *file) {
    struct power_file *f = (struct power_file *)file;
    enter();
    /* A file closed unsynced stays in the cache, unless nothing can be left to lose. */
    if (--f->image->refs == 0 && (f->image->gone || image_is_clean(f->image))) {
        image_free(f->image);
    }
    leave();
    int rc = f->real->pMethods->xClose(f->real);
    sqlite3_free(f->real);
    return rc;
}

static int p_read(sqlite3_file *file, void *out, int n, sqlite3_int64 at) {
    struct image *m = ((struct power_file *)file)->image;
    int rc = SQLITE_OK;
    enter();
    if (m->gone) {
        rc = SQLITE_IOERR_READ;
    } else {
        sqlite3_int64 have = at < m->size ? m->size - at : 0;
        have = have < n ? have : n;
        if (have > 0) {
            memcpy(out, m->data + at, (size_t)have);
        }
        if (have < n) {
            memset((uint8_t *)out + have, 0, (size_t)(n - have));
            rc = SQLITE_IOERR_SHORT_READ;
        }
    }
    leave();
    return rc;
}

static int write_locked(struct power_file *f, const void *in, int n, sqlite3_int64 at) {
    struct image *m = f->image;
    power.writes++;
    look_at_file();
    if (m->gone) {
        return SQLITE_IOERR_WRITE;
    }
    if (due(power.writes, power.write_base, power.faults.fail_write)) {
        if (power.faults.cut) {
            cut_locked();
        }
        return power.faults.write_code ? power.faults.write_code : SQLITE_IOERR_WRITE;
    }
    if (power.faults.capacity > 0 && at + n > m->size &&
        total_size() + (at + n - m->size) > power.faults.capacity) {
        return SQLITE_FULL;
    }
    image_reserve(m, at + n);
    memcpy(m->data + at, in, (size_t)n);
    m->size = at + n > m->size ? at + n : m->size;
    for (size_t s = (size_t)at / SECTOR; s < sectors(at + n); s++) {
        m->dirty[s] = 1;
        if (power.early > 0 && rng_chance(&power.rng, power.early)) {
            flush(f, s, s + 1);
        }
    }
    return SQLITE_OK;
}

static int p_write(sqlite3_file *file, const void *in, int n, sqlite3_int64 at) {
    enter();
    int rc = write_locked((struct power_file *)file, in, n, at);
    leave();
    return rc;
}

static int p_truncate(sqlite3_file *file, sqlite3_int64 size) {
    struct image *m = ((struct power_file *)file)->image;
    int rc = SQLITE_OK;
    enter();
    if (m->gone) {
        rc = SQLITE_IOERR_TRUNCATE;
    } else if (size < m->size) {
        memset(m->data + size, 0, (size_t)(m->size - size));
        m->size = size;
    }
    leave();
    return rc;
}

static int sync_locked(struct power_file *f) {
    struct image *m = f->image;
    power.syncs++;
    look_at_file();
    if (m->gone) {
        return SQLITE_IOERR_FSYNC;
    }
    bool fail = due(power.syncs, power.sync_base, power.faults.fail_sync);
    if (fail && power.faults.cut) {
        cut_locked();
        return SQLITE_IOERR_FSYNC;
    }
    int rc = SQLITE_OK;
    m->torn |= fail;
    size_t n = sectors(m->size);
    for (size_t a = 0, b; a < n && rc == SQLITE_OK; a = b) {
        b = a + 1;
        if (!m->dirty[a]) {
            continue;
        }
        if (fail) {
            if (rng_chance(&power.rng, power.faults.partial_percent)) {
                flush(f, a, b);
            }
            m->dirty[a] = 0;
            continue;
        }
        while (b < n && m->dirty[b]) {
            b++;
        }
        rc = flush(f, a, b);
        memset(m->dirty + a, 0, b - a);
    }
    if (rc == SQLITE_OK && !fail && m->disk_size > m->size) {
        rc = f->real->pMethods->xTruncate(f->real, m->size);
        m->disk_size = m->size;
    }
    return fail ? SQLITE_IOERR_FSYNC : rc;
}

static int p_sync(sqlite3_file *file, int flags) {
    enter();
    int rc = sync_locked((struct power_file *)file);
    leave();
    return rc;
}

static int p_size(sqlite3_file *file, sqlite3_int64 *size) {
    struct image *m = ((struct power_file *)file)->image;
    enter();
    *size = m->size;
    int rc = m->gone ? SQLITE_IOERR_FSTAT : SQLITE_OK;
    leave();
    return rc;
}

static sqlite3_file *real_of(sqlite3_file *file) {
    return ((struct power_file *)file)->real;
}

static int p_lock(sqlite3_file *file, int level) {
    return real_of(file)->pMethods->xLock(real_of(file), level);
}
static int p_unlock(sqlite3_file *file, int level) {
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}
static int p_check_lock(sqlite3_file *file, int *out) {
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}
static int p_control(sqlite3_file *file, int op, void *arg) {
    switch (op) {
    case SQLITE_FCNTL_SIZE_HINT: /* these would write to the real file */
    case SQLITE_FCNTL_CHUNK_SIZE:
    case SQLITE_FCNTL_MMAP_SIZE:
        return SQLITE_NOTFOUND;
    default:
        return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
    }
}
static int p_sector(sqlite3_file *file) {
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}
static int p_characteristics(sqlite3_file *file) {
    /* No promise but the one every disk keeps: a write does not touch the bytes beside it. */
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file)) &
           SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}
static int p_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out) {
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, out);
}
static int p_shm_lock(sqlite3_file *file, int offset, int n, int flags) {
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}
static void p_shm_barrier(sqlite3_file *file) {
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}
static int p_shm_unmap(sqlite3_file *file, int del) {
    return real_of(file)->pMethods->xShmUnmap(real_of(file), del);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = p_close,
    .xRead = p_read,
    .xWrite = p_write,
    .xTruncate = p_truncate,
    .xSync = p_sync,
    .xFileSize = p_size,
    .xLock = p_lock,
    .xUnlock = p_unlock,
    .xCheckReservedLock = p_check_lock,
    .xFileControl = p_control,
    .xSectorSize = p_sector,
    .xDeviceCharacteristics = p_characteristics,
    .xShmMap = p_shm_map,
    .xShmLock = p_shm_lock,
    .xShmBarrier = p_shm_barrier,
    .xShmUnmap = p_shm_unmap,
};

static int p_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *out) {
    enum { KEPT = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL };
    if (path == NULL || !(flags & KEPT)) {
        return power.below->xOpen(power.below, path, file, flags, out);
    }
    struct power_file *f = (struct power_file *)file;
    *f = (struct power_file){0};
    f->real = sqlite3_malloc(power.below->szOsFile);
    if (f->real == NULL) {
        return SQLITE_NOMEM;
    }
    memset(f->real, 0, (size_t)power.below->szOsFile);
    int rc = power.below->xOpen(power.below, path, f->real, flags, out);
    if (rc == SQLITE_OK) {
        enter();
        rc = image_load(path, f->real, &f->image);
        leave();
        if (rc != SQLITE_OK) {
            f->real->pMethods->xClose(f->real);
        }
    }
    if (rc != SQLITE_OK) {
        sqlite3_free(f->real);
        return rc;
    }
    f->base.pMethods = &methods;
    return SQLITE_OK;
}

static int p_delete(sqlite3_vfs *vfs, const char *path, int sync_dir) {
    enter();
    LIST_FOREACH_SAFE (l, &power.images) {
        struct image *m = CONTAINER_OF(l, struct image, link);
        if (strcmp(m->path, path) == 0 && m->refs == 0) {
            image_free(m);
        }
    }
    leave();
    return power.below->xDelete(power.below, path, sync_dir);
}

static int p_access(sqlite3_vfs *vfs, const char *path, int flags, int *out) {
    return power.below->xAccess(power.below, path, flags, out);
}
static int p_full_path(sqlite3_vfs *vfs, const char *path, int n, char *out) {
    return power.below->xFullPathname(power.below, path, n, out);
}
static int p_randomness(sqlite3_vfs *vfs, int n, char *out) {
    return power.below->xRandomness(power.below, n, out);
}
static int p_sleep(sqlite3_vfs *vfs, int us) {
    return power.below->xSleep(power.below, us);
}
static int p_time(sqlite3_vfs *vfs, double *out) {
    return power.below->xCurrentTime(power.below, out);
}
static int p_last_error(sqlite3_vfs *vfs, int n, char *out) {
    return power.below->xGetLastError(power.below, n, out);
}

void vfs_power_register(bool make_default) {
    enter();
    if (power.below == NULL) {
        list_init(&power.images);
        rng_seed(&power.rng, 1);
        power.below = sqlite3_vfs_find(NULL);
        int size = (int)sizeof(struct power_file);
        power.vfs = (sqlite3_vfs){
            .iVersion = 1,
            .szOsFile = size > power.below->szOsFile ? size : power.below->szOsFile,
            .mxPathname = power.below->mxPathname,
            .zName = VFS_POWER_NAME,
            .xOpen = p_open,
            .xDelete = p_delete,
            .xAccess = p_access,
            .xFullPathname = p_full_path,
            .xRandomness = p_randomness,
            .xSleep = p_sleep,
            .xCurrentTime = p_time,
            .xGetLastError = p_last_error,
        };
        sqlite3_vfs_register(&power.vfs, make_default);
    }
    leave();
}

void vfs_power_seed(uint64_t seed, unsigned early_percent) {
    enter();
    rng_seed(&power.rng, seed);
    power.early = early_percent;
    leave();
}

void vfs_power_cut(void) {
    enter();
    cut_locked();
    leave();
}

void vfs_power_set_faults(const struct vfs_power_faults *faults) {
    static const struct vfs_power_faults none = {0};
    enter();
    power.faults = faults ? *faults : none;
    power.write_base = power.writes;
    power.sync_base = power.syncs;
    power.was_cut = false;
    leave();
}

void vfs_power_fault_file(const char *path) {
    enter();
    power.fault_file = path;
    leave();
}

bool vfs_power_was_cut(void) {
    enter();
    bool cut = power.was_cut;
    leave();
    return cut;
}

int64_t vfs_power_writes(void) {
    enter();
    int64_t n = power.writes;
    leave();
    return n;
}

int64_t vfs_power_syncs(void) {
    enter();
    int64_t n = power.syncs;
    leave();
    return n;
}
