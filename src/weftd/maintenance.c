// SPDX-License-Identifier: Apache-2.0
/*
 *   weftd issue NAME FOLDER ...   a certificate from our authority
 *   weftd check ...               checks the store (controller stopped)
 *   weftd restore FILE ...        makes the store from a backup (controller stopped)
 *   weftd migrate FROM TO ...     makes a store of another engine from one (controllers stopped)
 *
 * A restored store takes the place of one that is there only after that one was moved aside, so a
 * mistake can be taken back.
 */
#include "weftd/maintenance.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
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
#include "core/secrets.h"
#include "core/system.h"
#include "log/log.h"
#include "net/pki.h"
#include "pools/pools.h"

enum { CERTIFICATE_DAYS = 825 };

struct args {
    const char *data;
    int days;
    bool server, user, force;
    const char *words[4];
    size_t n_words;
};

static int complain(const struct err *e) {
    fprintf(stderr, "weftd: %s%s%s\n", e->path, e->path[0] != '\0' ? ": " : "", e->text);
    return 1;
}

static int usage(const char *text) {
    fprintf(stderr, "usage: weftd %s\n", text);
    return 2;
}

static bool parse(int argc, char **argv, struct args *a) {
    static const struct option names[] = {
        {"data", required_argument, NULL, 'd'}, {"days", required_argument, NULL, 'n'},
        {"server", no_argument, NULL, 's'},     {"user", no_argument, NULL, 'u'},
        {"force", no_argument, NULL, 'f'},      {NULL, 0, NULL, 0}};
    *a = (struct args){.data = "/var/lib/weft", .days = CERTIFICATE_DAYS};
    int opt;
    while ((opt = getopt_long(argc, argv, "d:", names, NULL)) != -1) {
        if (opt == 'd') {
            a->data = optarg;
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

static void show_finding(const char *where, const char *text, void *arg) {
    (void)arg;
    printf("%s: %s\n", where, text);
}

static void store_url(const struct args *a, char *out, size_t size) {
    snprintf(out, size, "sqlite:%s/weft.db", a->data);
}

/* Also opens everything as the controller would, so that records no service can read are found. */
static enum err_code open_whole(const char *data, const char *url, struct err *e) {
    char key[1200];
    snprintf(key, sizeof key, "%s/pki/secrets.key", data);
    ERR_TRY(secrets_load(key, false, e));
    static const struct service *const services[] = {&system_service, &job_service, &admin_service,
                                                     &pools_service, NULL};
    struct model *m;
    struct core *c;
    ERR_TRY(model_load(&m, e));
    struct core_options o = {
        .store = url, .clock = &clock_real, .model = m, .threaded = false, .services = services};
    enum err_code rc = core_open(&o, &c, e);
    if (rc == ERR_OK) {
        core_close(c);
    }
    model_free(m);
    return rc;
}

static int check(const struct args *a) {
    struct err e;
    struct log *log;
    struct log_options o = {.must_exist = true};
    char url[1200];
    size_t n = 0;
    store_url(a, url, sizeof url);
    if (a->n_words != 0) {
        return usage("check [--data DIR]");
    }
    if (log_open(url, &o, &log, &e) != ERR_OK) {
        return complain(&e);
    }
    uint64_t head = log_head(log);
    enum err_code rc = log_check(log, show_finding, NULL, &n, &e);
    log_close(log);
    if (rc == ERR_OK && n == 0) {
        rc = open_whole(a->data, url, &e);
    }
    if (rc != ERR_OK) {
        return complain(&e);
    }
    printf("%zu %s in %s, up to log entry %" PRIu64 "\n", n, text_plural(n, "problem", "problems"),
           url, head);
    return n == 0 ? 0 : 1;
}

static const char *const store_files[] = {
    "", "-wal", "-shm", "-tables", "-tables-wal", "-tables-shm", "-lock"};
enum { STORE_FILES = sizeof store_files / sizeof store_files[0] };

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

static void remove_store(const char *name) {
    for (size_t i = 0; i < STORE_FILES; i++) {
        char path[1400];
        snprintf(path, sizeof path, "%s%s", name, store_files[i]);
        unlink(path);
    }
}

/* The backup becomes a store under another name first and is opened as the controller would; only
 * when that went well does it take the place of the one that is there. */
static enum err_code restore_checked(const struct args *a, const char *store, const char *aside,
                                     struct err *e) {
    char fresh[1300], url[1400];
    snprintf(fresh, sizeof fresh, "%s.restoring", store);
    snprintf(url, sizeof url, "sqlite:%s", fresh);
    remove_store(fresh);
    enum err_code rc = log_restore(a->words[0], url, e);
    if (rc != ERR_OK && strncmp(e->path, fresh, strlen(fresh)) == 0) {
        snprintf(e->path, sizeof e->path, "%s", a->words[0]); /* not our working copy's name */
    }
    if (rc == ERR_OK) {
        rc = open_whole(a->data, url, e);
    }
    if (rc == ERR_OK) {
        rc = rename_store(store, aside, e);
    }
    if (rc == ERR_OK) {
        rc = rename_store(fresh, store, e);
    }
    if (rc == ERR_OK) {
        rc = file_sync_folder_of(store, e);
    }
    if (rc != ERR_OK) {
        remove_store(fresh);
    }
    return rc;
}

static int restore(const struct args *a) {
    struct err e;
    struct log *log;
    struct log_options o = {.must_exist = true};
    char url[1200], store[1200], aside[1300];
    if (a->n_words != 1) {
        return usage("restore FILE [--data DIR]");
    }
    store_url(a, url, sizeof url);
    snprintf(store, sizeof store, "%s/weft.db", a->data);
    snprintf(aside, sizeof aside, "%s.before-restore-%lld", store, (long long)time(NULL));
    /* A running controller holds the store open: this fails then, before anything is touched. */
    enum err_code rc = log_open(url, &o, &log, &e);
    if (rc == ERR_OK) {
        log_close(log);
    } else if (rc == ERR_LOCKED) {
        return complain(&e);
    }
    if (access(a->words[0], R_OK) != 0) {
        err_errno(&e, errno, a->words[0], "can't be read");
        return complain(&e);
    }
    umask(077);
    if (file_make_folder(a->data, 0700, &e) != ERR_OK ||
        restore_checked(a, store, aside, &e) != ERR_OK) {
        return complain(&e);
    }
    printf("restored to %s\n", store);
    if (access(aside, F_OK) == 0) {
        printf("the former store is %s\n", aside);
    }
    return 0;
}

enum { MOVING_S = 5 };

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
    if (rc != ERR_OK) {
        return complain(&e);
    }
    printf("moved to %s, up to log entry %" PRIu64 "\n", a->words[1], head);
    printf("%s is as it was; start no controller with it any more\n", a->words[0]);
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
            bool good = parse(argc - 1, argv + 1, &a);
            *status =
                good ? commands[i].run(&a) : usage("issue|check|restore|migrate ... [--data DIR]");
            return true;
        }
    }
    return false;
}
