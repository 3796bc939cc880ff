// SPDX-License-Identifier: Apache-2.0
/*
 * Certificates by command: what there is, a request to another authority and the import of what it
 * answers, renewal by our own, anchors. All are files of this machine below pki/:
 *
 *   server.pem server.key           what clients and gateways are shown
 *   server.key.pending              of a request that waits for its certificate
 *   ca.pem ca.key                   our own authority
 *   anchors/NAME.pem                other authorities that vouch for our certificate
 *   anchors/NAME.clients.pem        the same, and for gateways' and users' certificates
 *   clients.pem                     made of ca.pem and the latter: who may vouch for clients
 *
 * Certificate and key are two files: a crash between their renames leaves the new certificate and
 * both keys, which admin_set_pki() puts right.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/internal.h"
#include "base/file.h"
#include "base/ip.h"
#include "base/logger.h"
#include "base/text.h"
#include "net/pki.h"

LOGGER_MODULE(admin);

enum { ANCHORS_MAX = 32, NAMES_MAX = 16, CA_DAYS = 3650, PATH_SIZE = 1200 };
#define DAY_S 86400

static struct admin_pki pki;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the files, among requests */

static const char *path_of(char out[PATH_SIZE], const char *name) {
    snprintf(out, PATH_SIZE, "%s/%s", pki.folder, name);
    return out;
}

/* ---- anchors ------------------------------------------------------------------------------------
 */

struct anchor {
    char name[65], path[PATH_SIZE];
    bool clients;
};

/* Those that are there, by name. */
static size_t read_anchors(struct anchor out[ANCHORS_MAX]) {
    char folder[PATH_SIZE];
    struct dirent **all = NULL;
    size_t n = 0;
    int found = scandir(path_of(folder, "anchors"), &all, NULL, alphasort);
    for (int i = 0; i < found; i++) {
        const char *file = all[i]->d_name, *dot = strchr(file, '.');
        bool clients = dot != NULL && strcmp(dot, ".clients.pem") == 0;
        if (dot != NULL && dot > file && dot - file < 65 && n < ANCHORS_MAX &&
            (clients || strcmp(dot, ".pem") == 0)) {
            struct anchor *a = &out[n++];
            snprintf(a->name, sizeof a->name, "%.*s", (int)(dot - file), file);
            snprintf(a->path, sizeof a->path, "%.1100s/%.90s", folder, file);
            a->clients = clients;
        }
        free(all[i]);
    }
    free(all);
    return n;
}

static enum err_code add_file(struct buf *out, const char *path, struct err *e) {
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return err_errno(e, errno, path, "can't be read");
    }
    size_t n = 1;
    while (n > 0 && out->len < (size_t)PKI_PEM_MAX * (ANCHORS_MAX + 1)) {
        buf_reserve(out, 4096);
        n = fread(out->data + out->len, 1, 4096, f);
        out->len += n;
    }
    enum err_code rc = ferror(f) ? err_errno(e, errno, path, "can't be read") : ERR_OK;
    fclose(f);
    return rc;
}

static enum err_code write_clients(struct err *e) {
    struct anchor *all = mem_array(NULL, ANCHORS_MAX, sizeof *all);
    struct buf text = BUF_INIT;
    char path[PATH_SIZE];
    size_t n = read_anchors(all);
    enum err_code rc = add_file(&text, path_of(path, "ca.pem"), e);
    for (size_t i = 0; i < n && rc == ERR_OK; i++) {
        rc = all[i].clients ? add_file(&text, all[i].path, e) : ERR_OK;
    }
    if (rc == ERR_OK) {
        rc = file_write(path_of(path, "clients.pem"), text.data, text.len, 0600, e);
    }
    buf_free(&text);
    mem_free(all);
    return rc;
}

enum err_code admin_set_pki(const struct admin_pki *p, struct err *e) {
    char cert[PATH_SIZE], key[PATH_SIZE], pending[PATH_SIZE], anchors[PATH_SIZE];
    pki = *p;
    path_of(cert, "server.pem");
    path_of(key, "server.key");
    path_of(pending, "server.key.pending");
    ERR_TRY(file_make_folder(path_of(anchors, "anchors"), 0700, e));
    if (!pki_key_fits(cert, key) && pki_key_fits(cert, pending)) { /* an import was cut off */
        if (rename(pending, key) != 0) {
            return err_errno(e, errno, pending, "can't be renamed to %s", key);
        }
        ERR_TRY(file_sync_folder_of(key, e));
    }
    return write_clients(e);
}

/* ---- what there is ------------------------------------------------------------------------------
 */

static int64_t now_s(void) {
    return clock_wall_s(&clock_real);
}

static void show_one(struct buf *text, json_t *list, const char *name, const char *path,
                     const char *role) {
    struct pki_info i;
    struct err e;
    char end[TIME_TEXT_MAX];
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(name));
    json_object_set_new(o, "role", json_string(role));
    if (pki_describe(path, &i, &e) != ERR_OK) {
        buf_printf(text, "%-16s %-12s can't be read: %s\n", name, role, e.text);
        json_object_set_new(o, "problem", json_string(e.text));
    } else {
        int64_t left = i.not_after - now_s();
        time_format(i.not_after, 0, end);
        buf_printf(text, "%-16s %-12s %-20s  %6" PRId64 "  %s, by %s\n", name, role, end,
                   left / DAY_S, i.subject, i.issuer);
        json_object_set_new(o, "subject", json_string(i.subject));
        json_object_set_new(o, "issuer", json_string(i.issuer));
        json_object_set_new(o, "names", json_string(i.names));
        json_object_set_new(o, "fingerprint", json_string(i.fingerprint));
        json_object_set_new(o, "not-after", json_string(end));
        json_object_set_new(o, "days-left", json_integer(left / DAY_S));
    }
    json_array_append_new(list, o);
}

static enum err_code show(struct call *cl) {
    struct anchor *all = mem_array(NULL, ANCHORS_MAX, sizeof *all);
    char path[PATH_SIZE];
    json_t *o = json_object(), *list = json_array();
    buf_printf(&cl->text, "%-16s %-12s %-20s  %6s  %s\n", "Name", "Role", "Ends", "Days",
               "Subject, issuer");
    show_one(&cl->text, list, "server", path_of(path, "server.pem"), "server");
    show_one(&cl->text, list, "authority", path_of(path, "ca.pem"), "authority");
    size_t n = read_anchors(all);
    for (size_t i = 0; i < n; i++) {
        show_one(&cl->text, list, all[i].name, all[i].path,
                 all[i].clients ? "any-anchor" : "own-anchor");
    }
    bool pending = access(path_of(path, "server.key.pending"), F_OK) == 0;
    if (pending) {
        buf_str(&cl->text, "A request waits for its certificate.\n");
    }
    json_object_set_new(o, "certificate", list);
    json_object_set_new(o, "request-waits", json_boolean(pending));
    admin_json(&cl->json, o);
    mem_free(all);
    return ERR_OK;
}

/* ---- a certificate of another authority ---------------------------------------------------------
 */

/* The names of --hostname, each behind `dns` or `ip`, which may be empty; NULL at the end. */
struct names {
    char *text[NAMES_MAX + 1];
};

static void split_names(struct names *n, bool typed) {
    char *copy = mem_strdup(pki.hostnames), *save = NULL;
    size_t at = 0;
    for (char *s = strtok_r(copy, ", ", &save); s != NULL && at < NAMES_MAX;
         s = strtok_r(NULL, ", ", &save)) {
        struct ip_addr a;
        struct err ignore;
        bool address = ip_addr_parse(s, &a, &ignore) == ERR_OK;
        n->text[at++] = typed ? mem_printf("%s:%s", address ? "IP" : "DNS", s) : mem_strdup(s);
    }
    n->text[at] = NULL;
    mem_free(copy);
}

static void free_names(struct names *n) {
    for (size_t i = 0; n->text[i] != NULL; i++) {
        mem_free(n->text[i]);
    }
}

static enum err_code request(struct call *cl, struct err *e) {
    const struct admin_certificate_request_input *in = cl->in.data;
    char pending[PATH_SIZE];
    struct buf pem = BUF_INIT;
    struct names n;
    split_names(&n, true);
    struct pki_request r = {.common_name = in->common_name != NULL ? in->common_name : "weft",
                            .sans = (const char *const *)n.text};
    enum err_code rc = pki_make_request(&r, path_of(pending, "server.key.pending"), &pem, e);
    if (rc == ERR_OK) {
        json_t *o = json_object();
        json_object_set_new(o, "request", json_string(buf_cstr(&pem)));
        admin_json(&cl->json, o);
        buf_str(&cl->text, buf_cstr(&pem));
    }
    buf_free(&pem);
    free_names(&n);
    return rc;
}

/* The certificate first: with the new key alone the old certificate would be of no use. */
static enum err_code put_in_place(const struct buf *pem, const char *pending, struct err *e) {
    char cert[PATH_SIZE], key[PATH_SIZE];
    ERR_TRY(file_write(path_of(cert, "server.pem"), pem->data, pem->len, 0600, e));
    if (pending != NULL) {
        if (rename(pending, path_of(key, "server.key")) != 0) {
            return err_errno(e, errno, pending, "can't be renamed to %s", key);
        }
        return file_sync_folder_of(key, e);
    }
    return ERR_OK;
}

static void answer_server(struct call *cl) {
    struct pki_info i;
    char path[PATH_SIZE], end[TIME_TEXT_MAX];
    struct err ignore;
    if (pki_describe(path_of(path, "server.pem"), &i, &ignore) == ERR_OK) {
        time_format(i.not_after, 0, end);
        buf_printf(&cl->text, "The server's certificate is now %s, by %s, until %s\n", i.subject,
                   i.issuer, end);
        json_t *o = json_object();
        json_object_set_new(o, "fingerprint", json_string(i.fingerprint));
        json_object_set_new(o, "not-after", json_string(end));
        admin_json(&cl->json, o);
        L_INFO("the server's certificate is now %s, by %s, until %s", i.subject, i.issuer, end);
    }
}

static enum err_code import(struct call *cl, struct err *e) {
    const struct admin_certificate_import_input *in = cl->in.data;
    struct anchor *all = mem_array(NULL, ANCHORS_MAX, sizeof *all);
    const char *anchors[ANCHORS_MAX + 2];
    char pending[PATH_SIZE], key[PATH_SIZE], ca[PATH_SIZE];
    struct buf pem = BUF_INIT;
    struct names n;
    size_t found = read_anchors(all);
    split_names(&n, false);
    anchors[0] = path_of(ca, "ca.pem");
    for (size_t i = 0; i < found; i++) {
        anchors[i + 1] = all[i].path;
    }
    anchors[found + 1] = NULL;
    bool fresh = access(path_of(pending, "server.key.pending"), F_OK) == 0;
    struct pki_wanted w = {.key_file = fresh ? pending : path_of(key, "server.key"),
                           .anchors = anchors,
                           .names = (const char *const *)n.text,
                           .now_s = now_s()};
    enum err_code rc = pki_check_server(in->certificate, &w, &pem, e);
    rc = rc == ERR_OK ? put_in_place(&pem, fresh ? pending : NULL, e) : rc;
    if (rc == ERR_OK) {
        answer_server(cl);
        pki.changed(pki.arg);
    }
    buf_free(&pem);
    free_names(&n);
    mem_free(all);
    return rc;
}

/* ---- our own authority --------------------------------------------------------------------------
 */

static enum err_code renew(struct call *cl, struct err *e) {
    const struct admin_certificate_renew_input *in = cl->in.data;
    char ca[PATH_SIZE], key[PATH_SIZE];
    if (in->authority) {
        ERR_TRY(pki_renew_ca(path_of(ca, "ca.pem"), path_of(key, "ca.key"), CA_DAYS, e));
        ERR_TRY(write_clients(e));
        buf_printf(
            &cl->text,
            "%s is new; what it has signed stays good. Give it to clients and gateways before "
            "the former one ends.\n",
            ca);
    } else {
        ERR_TRY(pki.renew(pki.arg, e));
        answer_server(cl);
    }
    pki.changed(pki.arg);
    return ERR_OK;
}

/* ---- anchors by command -------------------------------------------------------------------------
 */

static enum err_code trust_add(struct call *cl, struct err *e) {
    const struct admin_trust_add_input *in = cl->in.data;
    struct anchor *all = mem_array(NULL, ANCHORS_MAX, sizeof *all);
    char name[128], path[PATH_SIZE];
    struct buf pem = BUF_INIT;
    struct pki_info i;
    size_t n = read_anchors(all);
    enum err_code rc = pki_check_anchor(in->certificate, now_s(), &i, &pem, e);
    for (size_t k = 0; k < n && rc == ERR_OK; k++) {
        if (strcmp(all[k].name, in->name) == 0) {
            rc = err_set(e, ERR_EXISTS, "name", "there is an anchor %s already", in->name);
        }
    }
    if (rc == ERR_OK && n == ANCHORS_MAX) {
        rc = err_set(e, ERR_LIMIT, "name", "there are %d anchors already", (int)ANCHORS_MAX);
    }
    if (rc == ERR_OK) {
        snprintf(name, sizeof name, "anchors/%.64s%s", in->name,
                 in->clients ? ".clients.pem" : ".pem");
        rc = file_write(path_of(path, name), pem.data, pem.len, 0600, e);
    }
    rc = rc == ERR_OK ? write_clients(e) : rc;
    if (rc == ERR_OK) {
        buf_printf(&cl->text, "%s vouches for %s, SHA-256 %s\n", i.subject,
                   in->clients ? "this controller, gateways and users" : "this controller",
                   i.fingerprint);
        pki.changed(pki.arg);
    }
    buf_free(&pem);
    mem_free(all);
    return rc;
}

/* Does one of the anchors vouch for the server's certificate? `but`: as if that one were not there;
 * NULL: all are. */
static bool vouched_for(const struct anchor *all, size_t n, const struct anchor *but) {
    const char *anchors[ANCHORS_MAX + 2], *const no_names[] = {NULL};
    char ca[PATH_SIZE], cert[PATH_SIZE], key[PATH_SIZE];
    struct buf text = BUF_INIT, pem = BUF_INIT;
    struct err why;
    size_t k = 0;
    anchors[k++] = path_of(ca, "ca.pem");
    for (size_t i = 0; i < n; i++) {
        if (&all[i] != but) {
            anchors[k++] = all[i].path;
        }
    }
    anchors[k] = NULL;
    struct pki_wanted w = {.key_file = path_of(key, "server.key"),
                           .anchors = anchors,
                           .names = no_names,
                           .now_s = now_s()};
    bool yes = file_read(path_of(cert, "server.pem"), PKI_PEM_MAX, &text, &why) == ERR_OK &&
               pki_check_server(buf_cstr(&text), &w, &pem, &why) == ERR_OK;
    buf_free(&text);
    buf_free(&pem);
    return yes;
}

static enum err_code drop_anchor(const struct anchor *all, size_t n, const struct anchor *one,
                                 struct err *e) {
    if (!vouched_for(all, n, one) && vouched_for(all, n, NULL)) {
        return err_set(e, ERR_IN_USE, "name",
                       "%s vouches for this controller's own certificate: import one of another "
                       "authority or renew it first (request system certificate)",
                       one->name);
    }
    return unlink(one->path) == 0 ? file_sync_folder_of(one->path, e)
                                  : err_errno(e, errno, one->path, "can't be removed");
}

static enum err_code trust_remove(struct call *cl, struct err *e) {
    const struct admin_trust_remove_input *in = cl->in.data;
    struct anchor *all = mem_array(NULL, ANCHORS_MAX, sizeof *all);
    size_t n = read_anchors(all);
    enum err_code rc = err_set(e, ERR_ABSENT, "name", "there is no anchor %s", in->name);
    for (size_t k = 0; k < n; k++) {
        if (strcmp(all[k].name, in->name) == 0) {
            rc = drop_anchor(all, n, &all[k], e);
        }
    }
    mem_free(all);
    ERR_TRY(rc);
    ERR_TRY(write_clients(e));
    buf_printf(&cl->text, "Anchor %s is gone; connections that are there go on.\n", in->name);
    pki.changed(pki.arg);
    return ERR_OK;
}

bool certificates_mine(const struct node *rpc) {
    return rpc == admin_show_certificates_rpc || rpc == admin_certificate_request_rpc ||
           rpc == admin_certificate_import_rpc || rpc == admin_certificate_renew_rpc ||
           rpc == admin_trust_add_rpc || rpc == admin_trust_remove_rpc;
}

enum err_code certificates_call(struct call *cl, struct err *e) {
    const struct node *rpc = cl->in.rpc;
    if (pki.folder[0] == '\0') {
        return err_set(e, ERR_UNSUPPORTED, NULL, "this controller keeps no certificates");
    }
    pthread_mutex_lock(&lock);
    enum err_code rc = rpc == admin_show_certificates_rpc     ? show(cl)
                       : rpc == admin_certificate_request_rpc ? request(cl, e)
                       : rpc == admin_certificate_import_rpc  ? import(cl, e)
                       : rpc == admin_certificate_renew_rpc   ? renew(cl, e)
                       : rpc == admin_trust_add_rpc           ? trust_add(cl, e)
                                                              : trust_remove(cl, e);
    pthread_mutex_unlock(&lock);
    return rc;
}

/* ---- about to end -------------------------------------------------------------------------------
 */

/* How near the end is: 0: far; then 30, 7 and 1 days before, and over. */
static unsigned nearness(int64_t left_s) {
    return left_s > 30 * DAY_S  ? 0
           : left_s > 7 * DAY_S ? 1
           : left_s > DAY_S     ? 2
           : left_s > 0         ? 3
                                : 4;
}

/* What was told: by fingerprint, so that a new certificate of that name begins anew. */
static struct told {
    char fingerprint[65];
    unsigned nearness;
} told[ANCHORS_MAX + 2];

static void look_at(struct core *c, size_t slot, const char *name, const char *path) {
    struct pki_info i;
    struct err ignore;
    if (pki_describe(path, &i, &ignore) != ERR_OK) {
        return;
    }
    int64_t left = i.not_after - now_s();
    struct told *t = &told[slot];
    unsigned before = strcmp(t->fingerprint, i.fingerprint) == 0 ? t->nearness : 0;
    snprintf(t->fingerprint, sizeof t->fingerprint, "%s", i.fingerprint);
    t->nearness = nearness(left);
    if (t->nearness <= before) {
        return;
    }
    struct buf json = BUF_INIT;
    char end[TIME_TEXT_MAX];
    time_format(i.not_after, 0, end);
    L_WARN("certificate %s (%s) %s %s", name, i.subject, left > 0 ? "ends at" : "has ended at",
           end);
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(name));
    json_object_set_new(o, "subject", json_string(i.subject));
    json_object_set_new(o, "not-after", json_string(end));
    json_object_set_new(o, "days-left", json_integer(left / DAY_S));
    admin_json(&json, o);
    core_tell(c, "weft-admin:certificate-expiry", buf_cstr(&json));
    buf_free(&json);
}

void admin_certificates_look(struct core *c) {
    struct anchor *all = mem_array(NULL, ANCHORS_MAX, sizeof *all);
    char path[PATH_SIZE];
    pthread_mutex_lock(&lock);
    size_t n = read_anchors(all);
    look_at(c, 0, "server", path_of(path, "server.pem"));
    look_at(c, 1, "authority", path_of(path, "ca.pem"));
    for (size_t i = 0; i < n; i++) {
        look_at(c, i + 2, all[i].name, all[i].path);
    }
    pthread_mutex_unlock(&lock);
    mem_free(all);
}
