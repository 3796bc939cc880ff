// SPDX-License-Identifier: Apache-2.0
/*
 *   weftd issue NAME FOLDER ...   a certificate from our authority
 *   weftd check ...               checks the store (controller stopped)
 *   weftd restore FILE ...        makes the store from a backup (controller stopped)
 *   weftd migrate FROM TO ...     makes a store of another engine from one (controllers stopped)
 *
 * Which store it is says --store, or the daemon's own configuration file. What root starts becomes
 * the data folder's owner first, so that what it makes is the daemon's.
 *
 * A restored store takes the place of one that is there only after that one was moved aside, so a
 * mistake can be taken back.
 */
#include "weftd/maintenance.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/http_auth.h"
#include "core/job.h"
#include "core/nacm.h"
#include "core/secrets.h"
#include "core/system.h"
#include "forward/forward.h"
#include "log/log.h"
#include "net/pki.h"
#include "pools/pools.h"
#include "weftd/options.h"

enum { CERTIFICATE_DAYS = 825, MOVING_S = 5 };

struct args {
    const char *data, *store, *config; /* store: a URL; NULL: in the data folder */
    const char *node;                  /* this one's name; NULL: the machine's */
    struct options options;            /* that the configuration file gave */
    int days;
    bool server, user, force;
    const char *words[4];
    size_t n_words;
};

static int complain(const struct err *e) {
    char line[1024];
    text_linef(line, sizeof line, "%s%s%s", e->path, e->path[0] != '\0' ? ": " : "", e->text);
    fprintf(stderr, "weftd: %s\n", line);
    return 1;
}

static int usage(const char *text) {
    fprintf(stderr, "usage: weftd %s\n", text);
    return 2;
}

static bool parse(int argc, char **argv, struct args *a) {
    static const struct option names[] = {
        {"data", required_argument, NULL, 'd'},  {"days", required_argument, NULL, 'n'},
        {"store", required_argument, NULL, 'S'}, {"config", required_argument, NULL, 'c'},
        {"server", no_argument, NULL, 's'},      {"user", no_argument, NULL, 'u'},
        {"force", no_argument, NULL, 'f'},       {NULL, 0, NULL, 0}};
    *a = (struct args){.days = CERTIFICATE_DAYS};
    int opt;
    while ((opt = getopt_long(argc, argv, "d:c:", names, NULL)) != -1) {
        if (opt == 'd') {
            a->data = optarg;
        } else if (opt == 'S') {
            a->store = optarg;
        } else if (opt == 'c') {
            a->config = optarg;
        } else if (opt == 'n') {
            char *end;
            a->days = (int)strtol(optarg, &end, 10);
            if (end == optarg || *end != '\0' || a->days < 1 || a->days > PKI_DAYS_MAX) {
                fprintf(stderr, "weftd: --days takes a number from 1 to %d\n", PKI_DAYS_MAX);
                return false;
            }
        } else if (opt == 's') {
            a->server = true;
        } else if (opt == 'u') {
            a->user = true;
        } else if (opt == 'f') {
            a->force = true;
        } else {
            return false;
        }
    }
    for (int i = optind; i < argc; i++) {
        if (a->n_words == sizeof a->words / sizeof a->words[0]) {
            return false;
        }
        a->words[a->n_words++] = argv[i];
    }
    return true;
}

/* What was not given stands in the daemon's configuration: where that is the installed one, which
 * is looked into when nothing else says which store is meant. */
static void configured(struct args *a) {
    static const char installed[] = "/etc/weft/weftd.conf";
    if (a->config == NULL && a->data == NULL && a->store == NULL && access(installed, R_OK) == 0) {
        a->config = installed;
    }
    if (a->config != NULL) {
        char *argv[] = {"weftd", "--config", (char *)(uintptr_t)a->config, NULL};
        optind = 1;
        options_parse(3, argv, &a->options);
        /* A store that is not said lies in the data folder, wherever that is. */
        bool elsewhere = a->data != NULL && strncmp(a->options.store, "sqlite:", 7) == 0;
        a->store = a->store != NULL || elsewhere ? a->store : a->options.store;
        a->data = a->data != NULL ? a->data : a->options.data;
        a->node = a->options.node;
    }
    a->data = a->data != NULL ? a->data : "/var/lib/weft";
}

/* Root becomes who owns the data folder. */
static enum err_code become_owner(const char *data, struct err *e) {
    struct stat st;
    if (geteuid() != 0 || stat(data, &st) != 0 || st.st_uid == 0) {
        return ERR_OK;
    }
    const struct passwd *pw = getpwuid(st.st_uid);
    if ((pw != NULL ? initgroups(pw->pw_name, st.st_gid) : setgroups(0, NULL)) != 0 ||
        setgid(st.st_gid) != 0 || setuid(st.st_uid) != 0) {
        return err_errno(e, errno, data, "can't become the folder's owner");
    }
    return ERR_OK;
}

static enum err_code copy_file(const char *from, const char *to, struct err *e) {
    char block[4096];
    FILE *in = fopen(from, "re");
    if (in == NULL) {
        return err_errno(e, errno, from, "can't be read");
    }
    FILE *out = fopen(to, "we");
    if (out == NULL) {
        enum err_code rc = err_errno(e, errno, to, "can't be written");
        fclose(in);
        return rc;
    }
    size_t n;
    bool good = true;
    while ((n = fread(block, 1, sizeof block, in)) > 0) {
        good = good && fwrite(block, 1, n, out) == n;
    }
    good = fclose(out) == 0 && good;
    fclose(in);
    return good ? ERR_OK : err_errno(e, errno, to, "can't be written");
}

/* A key that is replaced is gone, and with it what its certificate was for. */
static enum err_code not_there(const char *file, struct err *e) {
    return access(file, F_OK) != 0
               ? ERR_OK
               : err_set(e, ERR_EXISTS, file,
                         "is there already; --force puts a new key and certificate in its place");
}

static int issue(const struct args *a) {
    if (a->n_words != 2) {
        return usage("issue NAME FOLDER [--data DIR] [--days N] [--server|--user] [--force]");
    }
    struct err e;
    char ca[1200], ca_key[1200], cert[1200], key[1200], ca_copy[1200], san[300];
    snprintf(ca, sizeof ca, "%s/pki/ca.pem", a->data);
    snprintf(ca_key, sizeof ca_key, "%s/pki/ca.key", a->data);
    snprintf(cert, sizeof cert, "%s/cert.pem", a->words[1]);
    snprintf(key, sizeof key, "%s/key.pem", a->words[1]);
    snprintf(ca_copy, sizeof ca_copy, "%s/ca.pem", a->words[1]);
    snprintf(san, sizeof san, a->user ? "URI:" HTTP_AUTH_USER_URI "%s" : "DNS:%s", a->words[0]);
    const char *sans[] = {san, NULL};
    struct pki_request r = {.common_name = a->words[0],
                            .sans = sans,
                            .use = a->server ? PKI_SERVER | PKI_CLIENT : PKI_CLIENT,
                            .days = a->days};
    umask(077);
    if ((!a->force && (not_there(key, &e) != ERR_OK || not_there(cert, &e) != ERR_OK)) ||
        file_make_folder(a->words[1], 0700, &e) != ERR_OK ||
        pki_issue(ca, ca_key, &r, cert, key, &e) != ERR_OK ||
        copy_file(ca, ca_copy, &e) != ERR_OK) {
        return complain(&e);
    }
    printf("%s\n%s\n%s\n", cert, key, ca_copy);
    return 0;
}

/* Of a damaged store anything may stand in there. */
static void show_finding(const char *where, const char *text, void *arg) {
    char line[1024];
    (void)arg;
    text_linef(line, sizeof line, "%s: %s", where, text);
    printf("%s\n", line);
}

static void store_url(const struct args *a, char *out, size_t size) {
    if (a->store != NULL) {
        snprintf(out, size, "%s", a->store);
    } else {
        snprintf(out, size, "sqlite:%s/weft.db", a->data);
    }
}

static bool is_file(const char *url) {
    return strncmp(url, "sqlite:", 7) == 0;
}

static void looked(struct look *l, void *arg) {
    (void)l;
    *(bool *)arg = true;
}

/* How many differences to gateways the store tells of. */
static size_t count_drift(struct core *c) {
    struct look *l = look_new(&actor_system, "/weft-apm:apm/state/drift");
    bool done = false;
    core_look(c, l, looked, &done);
    core_step(c);
    json_t *all = done && l->err.code == ERR_OK
                      ? json_loadb((const char *)l->json.data, l->json.len, 0, NULL)
                      : NULL;
    size_t n = json_array_size(all);
    json_decref(all);
    look_free(l);
    return n;
}

/* Also opens everything as the controller would, so that records no service can read are found.
 * `drift`: how many differences to gateways are in it; NULL: nobody asks. */
static enum err_code open_whole(const char *data, const char *url, size_t *drift, struct err *e) {
    char key[1200];
    snprintf(key, sizeof key, "%s/pki/secrets.key", data);
    ERR_TRY(secrets_load(key, false, e));
    static const struct service *const services[] = {
        &system_service, &nacm_service,  &job_service, &forward_service,
        &admin_service,  &pools_service, NULL};
    struct model *m;
    struct core *c;
    ERR_TRY(model_load(&m, e));
    struct core_options o = {
        .store = url, .clock = &clock_real, .model = m, .threaded = false, .services = services};
    enum err_code rc = core_open(&o, &c, e);
    if (rc == ERR_OK) {
        if (drift != NULL) {
            *drift = count_drift(c);
        }
        core_close(c);
    }
    model_free(m);
    return rc;
}

static const char *const store_files[] = {
    "", "-wal", "-shm", "-tables", "-tables-wal", "-tables-shm", "-lock"};
enum { STORE_FILES = sizeof store_files / sizeof store_files[0] };

static void remove_store(const char *name) {
    for (size_t i = 0; i < STORE_FILES; i++) {
        char path[1400];
        snprintf(path, sizeof path, "%s%s", name, store_files[i]);
        unlink(path);
    }
}

/* A backup as the controller would open it, in a store of its own that goes again. */
static enum err_code try_backup(const struct args *a, const char *file, struct err *e) {
    char tried[1300], url[1400];
    snprintf(tried, sizeof tried, "%s/restore-%ld.db", a->data, (long)getpid());
    snprintf(url, sizeof url, "sqlite:%s", tried);
    enum err_code rc = log_restore(file, url, e);
    if (rc != ERR_OK && strncmp(e->path, tried, strlen(tried)) == 0) {
        snprintf(e->path, sizeof e->path, "%s", file); /* not our working copy's name */
    }
    if (rc == ERR_OK) {
        rc = open_whole(a->data, url, NULL, e);
    }
    remove_store(tried);
    return rc;
}

/* Of a store with several nodes a copy is opened: opening it itself might lead. */
static enum err_code open_copy_whole(const struct args *a, struct log *log, struct err *e) {
    char file[1300];
    snprintf(file, sizeof file, "%s/check-%ld", a->data, (long)getpid());
    enum err_code rc = log_backup(log, file, NULL, e);
    if (rc == ERR_OK) {
        rc = try_backup(a, file, e);
    }
    unlink(file);
    return rc;
}

static int check(const struct args *a) {
    struct err e;
    struct log *log;
    struct log_options o = {.must_exist = true, .node = a->node};
    char url[1200];
    size_t n = 0, drift = 0;
    store_url(a, url, sizeof url);
    if (a->n_words != 0) {
        return usage("check [--data DIR] [--store URL] [--config FILE]");
    }
    umask(077);
    if (log_open(url, &o, &log, &e) != ERR_OK) {
        return complain(&e);
    }
    uint64_t head = log_head(log);
    enum err_code rc = log_check(log, show_finding, NULL, &n, &e);
    if (rc == ERR_OK && n == 0 && !is_file(url)) {
        rc = open_copy_whole(a, log, &e);
    }
    log_close(log);
    if (rc == ERR_OK && n == 0 && is_file(url)) {
        rc = open_whole(a->data, url, &drift, &e);
    }
    if (rc != ERR_OK) {
        return complain(&e);
    }
    printf("%zu %s in %s, up to log entry %" PRIu64 "\n", n, text_plural(n, "problem", "problems"),
           url, head);
    if (drift > 0) {
        printf("%zu %s to what gateways had %s in it: show apm drift\n", drift,
               text_plural(drift, "difference", "differences"), text_plural(drift, "is", "are"));
    }
    return n == 0 ? 0 : 1;
}

/* Renames FROM, FROM-wal ... to TO, TO-wal ...; files that are not there are left out. */
static enum err_code rename_store(const char *from, const char *to, struct err *e) {
    for (size_t i = 0; i < STORE_FILES; i++) {
        char a[1400], b[1400];
        snprintf(a, sizeof a, "%s%s", from, store_files[i]);
        snprintf(b, sizeof b, "%s%s", to, store_files[i]);
        if (rename(a, b) != 0 && errno != ENOENT) {
            return err_errno(e, errno, a, "can't be renamed to %s", b);
        }
    }
    return ERR_OK;
}

/* The path in "etcd:...?replica=PATH&...". */
static void replica_of(const char *url, char *out, size_t size) {
    const char *p = strstr(url, "replica=");
    p = p != NULL ? p + strlen("replica=") : "";
    snprintf(out, size, "%.*s", (int)strcspn(p, "&"), p);
}

/* Beside the store, or the copy of it here: says where what it holds has gone. */
static void moved_marker(const char *url, char *out, size_t size) {
    char replica[1024];
    replica_of(url, replica, sizeof replica);
    snprintf(out, size, "%s.moved", is_file(url) ? url + strlen("sqlite:") : replica);
}

static enum err_code mark_moved(const char *from, const char *to, struct err *e) {
    char marker[1300], when[TIME_TEXT_MAX];
    moved_marker(from, marker, sizeof marker);
    FILE *f = fopen(marker, "we");
    if (f == NULL) {
        return err_errno(e, errno, marker, "can't be written");
    }
    /* without what follows '?': it may name keys */
    fprintf(f, "%.*s at %s\n", (int)strcspn(to, "?"), to,
            time_format(clock_wall_s(&clock_real), 0, when));
    bool good = fflush(f) == 0 && fsync(fileno(f)) == 0;
    good = fclose(f) == 0 && good;
    return good ? file_sync_folder_of(marker, e) : err_errno(e, errno, marker, "can't be written");
}

enum err_code maintenance_moved(const char *store, struct err *e) {
    char marker[1300], where[1024] = "";
    moved_marker(store, marker, sizeof marker);
    FILE *f = fopen(marker, "re");
    if (f == NULL) {
        return errno == ENOENT ? ERR_OK : err_errno(e, errno, marker, "can't be read");
    }
    bool any = fgets(where, sizeof where, f) != NULL;
    fclose(f);
    where[strcspn(where, "\n")] = '\0';
    return err_set(
        e, ERR_REFUSED, marker,
        "this store was moved to %s: it is out of date since. Remove this file when it is "
        "to be used all the same",
        any ? where : "another place");
}

enum err_code maintenance_interrupted(const char *store, struct err *e) {
    char fresh[1400];
    if (strncmp(store, "sqlite:", 7) != 0) {
        return ERR_OK;
    }
    snprintf(fresh, sizeof fresh, "%s.restoring", store + 7);
    return access(store + 7, F_OK) == 0 || access(fresh, F_OK) != 0
               ? ERR_OK
               : err_set(e, ERR_UNAVAILABLE, store + 7,
                         "a restore was interrupted before it put a store here: restore again");
}

/* The backup becomes a store under another name first and is opened as the controller would; only
 * when that went well does it take the place of the one that is there. */
static enum err_code restore_checked(const struct args *a, const char *file, const char *store,
                                     const char *aside, struct err *e) {
    char fresh[1300], url[1400];
    snprintf(fresh, sizeof fresh, "%s.restoring", store);
    snprintf(url, sizeof url, "sqlite:%s", fresh);
    remove_store(fresh);
    enum err_code rc = log_restore(file, url, e);
    if (rc != ERR_OK && strncmp(e->path, fresh, strlen(fresh)) == 0) {
        snprintf(e->path, sizeof e->path, "%s", file); /* not our working copy's name */
    }
    if (rc == ERR_OK) {
        rc = open_whole(a->data, url, NULL, e);
    }
    if (rc == ERR_OK) {
        rc = rename_store(store, aside, e);
    }
    if (rc == ERR_OK) {
        rc = rename_store(fresh, store, e);
    }
    if (rc == ERR_OK) {
        char marker[1300];
        snprintf(marker, sizeof marker, "%s.moved", store);
        unlink(marker);
        rc = file_sync_folder_of(store, e);
    }
    if (rc != ERR_OK) {
        remove_store(fresh);
    }
    return rc;
}

/* The backup's name as in `request system backup`: without a slash it lies in the data folder. */
static enum err_code backup_file(const struct args *a, char *out, size_t size, struct err *e) {
    snprintf(out, size, "%s", a->words[0]);
    if (strchr(out, '/') == NULL && access(out, F_OK) != 0) {
        snprintf(out, size, "%s/backup/%s", a->data, a->words[0]);
    }
    return access(out, R_OK) == 0 ? ERR_OK : err_errno(e, errno, out, "can't be read");
}

static int restore_file(const struct args *a, const char *url, const char *file) {
    struct err e;
    struct log *log;
    struct log_options o = {.must_exist = true};
    char aside[1300];
    const char *store = url + strlen("sqlite:");
    snprintf(aside, sizeof aside, "%s.before-restore-%lld", store, (long long)time(NULL));
    /* A running controller holds the store open: this fails then, before anything is touched. */
    enum err_code rc = log_open(url, &o, &log, &e);
    if (rc == ERR_OK) {
        log_close(log);
    } else if (rc == ERR_LOCKED) {
        return complain(&e);
    }
    if (restore_checked(a, file, store, aside, &e) != ERR_OK) {
        return complain(&e);
    }
    printf("restored to %s\n", store);
    if (access(aside, F_OK) == 0) {
        printf("the former store is %s\n", aside);
    }
    return 0;
}

static void first_other(const struct log_node *n, void *arg) {
    struct buf *name = arg;
    if (!n->self && name->len == 0) {
        buf_str(name, n->name);
    }
}

/* Nobody else may be there, and nobody comes to lead while we do. */
static enum err_code alone(struct log *log, struct log_lease *lease, struct err *e) {
    struct buf other = BUF_INIT;
    enum err_code rc = log_nodes(log, first_other, &other, e);
    if (rc == ERR_OK && other.len > 0) {
        rc = err_set(e, ERR_LOCKED, NULL,
                     "the controller %s runs on this store: stop all of them (one that was just "
                     "stopped counts for a few seconds)",
                     buf_cstr(&other));
    }
    buf_free(&other);
    return rc == ERR_OK ? log_lease_acquire(log, lease, e) : rc;
}

/* The store that is there becomes the backup `aside`, and goes. */
static enum err_code take_away(const char *url, const char *node, const char *aside, bool *was,
                               struct err *e) {
    struct log *log;
    struct log_options o = {.must_exist = true, .node = node};
    struct log_lease lease = {.holder = "weftd restore", .ttl_ns = MOVING_S * NS_PER_S};
    *was = false;
    enum err_code rc = log_open(url, &o, &log, e);
    if (rc == ERR_ABSENT) {
        return ERR_OK;
    }
    ERR_TRY(rc);
    rc = alone(log, &lease, e);
    if (rc == ERR_OK) {
        rc = log_backup(log, aside, NULL, e);
    }
    if (rc == ERR_OK) {
        rc = log_lease_renew(log, &lease, e); /* it was ours all the time */
    }
    if (rc == ERR_OK) {
        rc = log_remove(log, lease.fence, e);
        *was = rc == ERR_OK;
    }
    log_close(log);
    return rc;
}

static int restore_nodes(const struct args *a, const char *url, const char *file) {
    struct err e;
    char aside[1300], replica[1024], former[1300];
    long long now = (long long)time(NULL);
    bool was;
    snprintf(aside, sizeof aside, "%s/before-restore-%lld", a->data, now);
    replica_of(url, replica, sizeof replica);
    snprintf(former, sizeof former, "%s.before-restore-%lld", replica, now);
    if (try_backup(a, file, &e) != ERR_OK || take_away(url, a->node, aside, &was, &e) != ERR_OK ||
        rename_store(replica, former, &e) != ERR_OK) {
        return complain(&e);
    }
    if (log_restore(file, url, &e) != ERR_OK) {
        fprintf(stderr, "weftd: there is no store now: %s\n",
                was ? "restore again, this backup or the one of before" : "restore again");
        if (was) {
            fprintf(stderr, "weftd: the store of before is the backup %s\n", aside);
        }
        return complain(&e);
    }
    printf("restored to %s\n", url);
    if (was) {
        printf("the former store is the backup %s\n", aside);
    }
    printf("the other nodes make themselves new copies when they start\n");
    return 0;
}

static int restore(const struct args *a) {
    struct err e;
    char url[1200], file[1300];
    if (a->n_words != 1) {
        return usage("restore FILE [--data DIR] [--store URL] [--config FILE]");
    }
    store_url(a, url, sizeof url);
    umask(077);
    if (file_make_folder(a->data, 0700, &e) != ERR_OK ||
        backup_file(a, file, sizeof file, &e) != ERR_OK) {
        return complain(&e);
    }
    int status = is_file(url) ? restore_file(a, url, file) : restore_nodes(a, url, file);
    if (status == 0) { /* what is older than the world is put right by the gateways */
        printf("where gateways have something else by now is found as they synchronise: after the "
               "start, show apm drift\n");
    }
    return status;
}

/* What is moved does not change meanwhile: the right to write is ours. */
static enum err_code take_copy(const char *from, const char *file, uint64_t *head, struct err *e) {
    struct log *log;
    struct log_options o = {.must_exist = true, .node = "migration"};
    struct log_lease lease = {.holder = "weftd migrate", .ttl_ns = MOVING_S * NS_PER_S};
    ERR_TRY(log_open(from, &o, &log, e));
    enum err_code rc = log_lease_acquire(log, &lease, e);
    if (rc == ERR_OK) {
        *head = log_head(log);
        rc = log_backup(log, file, NULL, e);
    }
    if (rc == ERR_OK) {
        rc = log_lease_renew(log, &lease, e); /* it was ours all the time */
        struct err ignored;
        log_lease_release(log, &lease, &ignored);
    }
    log_close(log);
    return rc;
}

static enum err_code check_moved(const char *to, uint64_t head, struct err *e) {
    struct log *log;
    struct log_options o = {.must_exist = true, .node = "migration"};
    size_t n = 0;
    ERR_TRY(log_open(to, &o, &log, e));
    enum err_code rc = log_check(log, show_finding, NULL, &n, e);
    if (rc == ERR_OK && (n > 0 || log_head(log) != head)) {
        rc = err_set(e, ERR_INTERNAL, to,
                     "%zu problems, and log entry %" PRIu64 " instead of %" PRIu64
                     ": this store is not to be used",
                     n, log_head(log), head);
    }
    log_close(log);
    return rc;
}

static int migrate(const struct args *a) {
    struct err e;
    char file[1300];
    uint64_t head = 0;
    if (a->n_words != 2) {
        return usage("migrate FROM-URL TO-URL [--data DIR]");
    }
    snprintf(file, sizeof file, "%s/migration-%ld", a->data, (long)getpid());
    umask(077);
    enum err_code rc = file_make_folder(a->data, 0700, &e);
    if (rc == ERR_OK) {
        rc = take_copy(a->words[0], file, &head, &e);
    }
    if (rc == ERR_OK) {
        rc = log_restore(file, a->words[1], &e);
    }
    unlink(file);
    if (rc == ERR_OK) {
        rc = check_moved(a->words[1], head, &e);
    }
    if (rc == ERR_OK) {
        char marker[1300];
        moved_marker(a->words[1], marker, sizeof marker);
        unlink(marker); /* of a store that was here before */
        rc = mark_moved(a->words[0], a->words[1], &e);
    }
    if (rc != ERR_OK) {
        return complain(&e);
    }
    printf("moved to %s, up to log entry %" PRIu64 "\n", a->words[1], head);
    printf("%s is as it was; a controller that is started with it here refuses\n", a->words[0]);
    return 0;
}

bool maintenance(int argc, char **argv, int *status) {
    static const struct {
        const char *word;
        int (*run)(const struct args *a);
    } commands[] = {{"issue", issue}, {"check", check}, {"restore", restore}, {"migrate", migrate}};
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].word) == 0) {
            struct args a;
            struct err e;
            if (!parse(argc - 1, argv + 1, &a)) {
                *status = usage("issue|check|restore|migrate ... [--data DIR] [--store URL] "
                                "[--config FILE]");
                return true;
            }
            configured(&a);
            bool drop = commands[i].run != issue; /* what that writes is for whoever asked */
            *status =
                drop && become_owner(a.data, &e) != ERR_OK ? complain(&e) : commands[i].run(&a);
            options_free(&a.options);
            return true;
        }
    }
    return false;
}
