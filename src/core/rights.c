// SPDX-License-Identifier: Apache-2.0
/* Authentication and authorisation; see rights.h. */
#include "core/rights.h"

#include <crypt.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ip.h"
#include "base/logger.h"
#include "base/rng.h"
#include "core/logins.h"
#include "core/nacm.h"
#include "core/pam.h"
#include "core/passwords.h"
#include "model/kinds.h"

LOGGER_MODULE(rights);

enum {
    CACHE_SLOTS = 4096,
    FAILURE_SLOTS = 4096,
    FAILURE_WINDOW_S = 60,
    MAC_LEN = 32,
    SETTING_MAX = 384,
    AS_MAX = sizeof((struct actor){0}.as),
    PAM_CACHE_S = 60 /* what PAM said may change without our knowing */
};

/* Direct-mapped tables: their size is the bound on what peers can make us remember. Slots are
 * chosen by a keyed hash, so nobody can aim at another user's slot. */
struct cached {
    uint8_t mac[MAC_LEN];
    int64_t until;   /* mono ns; 0: empty */
    char as[AS_MAX]; /* as in struct actor */
};
struct failures {
    int64_t since; /* mono ns of the first in the window */
    unsigned count;
};

static struct {
    pthread_once_t once, dummy_once;
    pthread_mutex_t lock;
    EVP_MAC_CTX *mac;              /* keyed with a key of this process; copied for each use */
    char dummy[CRYPT_OUTPUT_SIZE]; /* hash of a password nobody knows: burnt for unknown users */
    _Atomic uint64_t denied[RIGHT_EXEC + 1];
    struct cached cache[CACHE_SLOTS];
    struct failures failed[FAILURE_SLOTS];
} rights_state = {
    .once = PTHREAD_ONCE_INIT, .dummy_once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- hashes ---------------------------------------------------------------------------------- */

/* crypt(5) of `password` under `setting`; false when the setting is none. Slow. */
static bool hash_with(const char *password, const char *setting, char out[CRYPT_OUTPUT_SIZE]) {
    struct crypt_data *data = mem_alloc(sizeof *data); /* 32 KiB: too much for a worker's stack */
    const char *h = crypt_rn(password, setting, data, sizeof *data);
    bool ok = h != NULL && h[0] != '*';
    snprintf(out, CRYPT_OUTPUT_SIZE, "%s", ok ? h : "");
    mem_wipe(data, sizeof *data);
    mem_free(data);
    return ok;
}

char *rights_hash(const char *password) {
    char setting[CRYPT_GENSALT_OUTPUT_SIZE], out[CRYPT_OUTPUT_SIZE];
    if (strlen(password) >= RIGHTS_PASSWORD_MAX ||
        crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof setting) == NULL ||
        !hash_with(password, setting, out)) {
        return NULL;
    }
    return mem_strdup(out);
}

bool rights_hash_fits(const char *hash, const char *password) {
    char out[CRYPT_OUTPUT_SIZE];
    return strlen(password) < RIGHTS_PASSWORD_MAX && hash_with(password, hash, out) &&
           strlen(out) == strlen(hash) && CRYPTO_memcmp(out, hash, strlen(out)) == 0;
}

static void init_state(void) {
    uint8_t key[MAC_LEN];
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
        OSSL_PARAM_construct_end()};
    rng_secure(key, sizeof key);
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
    rights_state.mac = EVP_MAC_CTX_new(hmac);
    EVP_MAC_free(hmac);
    if (rights_state.mac == NULL || EVP_MAC_init(rights_state.mac, key, sizeof key, params) != 1) {
        L_ERR("this OpenSSL has no HMAC-SHA256");
        abort();
    }
    mem_wipe(key, sizeof key);
}

static void init_dummy(void) { /* slow: in the thread that hashes anyway */
    char nobody[33];
    rng_token(nobody, 32);
    char *h = rights_hash(nobody);
    snprintf(rights_state.dummy, sizeof rights_state.dummy, "%s", h ? h : "");
    mem_free(h);
    mem_wipe(nobody, sizeof nobody);
}

static void mac_of(const char *domain, const char *a, const char *b, const char *c,
                   uint8_t out[MAC_LEN]) {
    struct buf in = BUF_INIT;
    buf_blob_str(&in, domain);
    buf_blob_str(&in, a);
    buf_blob_str(&in, b);
    buf_blob_str(&in, c);
    size_t n = 0;
    /* A copy costs less than OpenSSL's looking for the algorithm each time. */
    EVP_MAC_CTX *mac = EVP_MAC_CTX_dup(rights_state.mac);
    if (mac == NULL || EVP_MAC_update(mac, in.data, in.len) != 1 ||
        EVP_MAC_final(mac, out, &n, MAC_LEN) != 1 || n != MAC_LEN) {
        abort(); /* out of memory: as in base/mem.h */
    }
    EVP_MAC_CTX_free(mac);
    mem_wipe(in.data, in.len);
    buf_free(&in);
}

static size_t slot_of(const uint8_t mac[MAC_LEN], size_t slots) {
    uint32_t v;
    memcpy(&v, mac, sizeof v);
    return v % slots;
}

static void sha256_hex(const char *s, size_t n, char out[65]) {
    uint8_t md[32];
    unsigned len = sizeof md;
    EVP_Digest(s, n, md, &len, EVP_sha256(), NULL);
    for (size_t i = 0; i < sizeof md; i++) {
        snprintf(out + 2 * i, 3, "%02x", md[i]);
    }
}

void rights_token_new(struct rights_token_text *out) {
    char secret[RIGHTS_TOKEN_SECRET_LEN + 1];
    rng_token(out->id, RIGHTS_TOKEN_ID_LEN);
    rng_token(secret, RIGHTS_TOKEN_SECRET_LEN);
    snprintf(out->token, sizeof out->token, "wt_%s.%s", out->id, secret);
    sha256_hex(secret, RIGHTS_TOKEN_SECRET_LEN, out->hash);
    mem_wipe(secret, sizeof secret);
}

/* ---- cache and failures ---------------------------------------------------------------------- */

/* `as` may be NULL. */
static bool cache_has(const uint8_t mac[MAC_LEN], int64_t now, char as[AS_MAX]) {
    pthread_mutex_lock(&rights_state.lock);
    const struct cached *s = &rights_state.cache[slot_of(mac, CACHE_SLOTS)];
    bool hit = s->until > now && mem_equal_ct(s->mac, mac, MAC_LEN);
    if (hit && as != NULL) {
        memcpy(as, s->as, AS_MAX);
    }
    pthread_mutex_unlock(&rights_state.lock);
    return hit;
}

static void cache_put(const uint8_t mac[MAC_LEN], int64_t until, const char *as) {
    pthread_mutex_lock(&rights_state.lock);
    struct cached *s = &rights_state.cache[slot_of(mac, CACHE_SLOTS)];
    memcpy(s->mac, mac, MAC_LEN);
    snprintf(s->as, sizeof s->as, "%s", as);
    s->until = until;
    pthread_mutex_unlock(&rights_state.lock);
}

/* Below `max` failures in the window? `add`: count one. */
static bool counted(const uint8_t mac[MAC_LEN], unsigned max, int64_t now, bool add) {
    pthread_mutex_lock(&rights_state.lock);
    struct failures *f = &rights_state.failed[slot_of(mac, FAILURE_SLOTS)];
    if (f->count > 0 && now - f->since >= FAILURE_WINDOW_S * NS_PER_S) {
        f->count = 0;
    }
    if (add) {
        f->since = f->count == 0 ? now : f->since;
        f->count++;
    }
    bool left = f->count < max;
    pthread_mutex_unlock(&rights_state.lock);
    return left;
}

/* The address in a source, "restconf 192.0.2.7:4711" or "cli [2001:db8::1]:99": who is one and the
 * same however he comes. Whoever has one IPv6 address has its whole /64. */
static void address_of(const char *source, char out[96]) {
    const char *blank = strchr(source, ' ');
    snprintf(out, 96, "%s", blank != NULL ? blank + 1 : source);
    char *colon = strrchr(out, ':');
    if (colon != NULL && colon[1] != '\0' && colon[1 + strspn(colon + 1, "0123456789")] == '\0') {
        *colon = '\0';
    }
    size_t n = strlen(out);
    struct ip_addr a;
    if (n > 2 && out[0] == '[' && out[n - 1] == ']') {
        out[n - 1] = '\0';
        if (ip_addr_parse(out + 1, &a, NULL) == ERR_OK && a.family == 6) {
            char text[IP_TEXT_MAX];
            memset(a.bytes + 8, 0, 8);
            snprintf(out, 96, "%s", ip_addr_format(&a, text));
        }
    }
}

/* Is another attempt allowed? `add`: count a failure. Unknown names are counted like known ones. */
static bool attempts_left(const char *user, const char *source, int64_t now, bool add) {
    uint8_t here[MAC_LEN], all[MAC_LEN];
    char address[96];
    address_of(source, address);
    mac_of("failures from", user, address, "", here);
    mac_of("failures", user, "", "", all);
    bool left = counted(here, RIGHTS_FAILURES_MAX, now, add);
    return counted(all, RIGHTS_FAILURES_ALL_MAX, now, add) && left;
}

/* ---- looking up ------------------------------------------------------------------------------ */

static const struct object *find(const struct snap *s, const struct kind *k, const char *key) {
    if (strlen(key) > 128) {
        return NULL;
    }
    struct buf path = BUF_INIT;
    path_object(k, &key, &path);
    const struct object *o = snap_get(s, buf_cstr(&path));
    buf_free(&path);
    return o;
}

static const struct system_user *find_user(const struct snap *s, const char *name) {
    const struct object *o = find(s, &system_user_kind, name);
    return o != NULL ? o->doc->data : NULL;
}

/* May somebody log in as this user, or go on? */
static bool user_stands(const struct core *c, const struct system_user *u) {
    int64_t ends = 0;
    return !u->disabled && (u->expires == NULL ||
                            (time_parse(u->expires, &ends) && ends > clock_wall_s(core_clock(c))));
}

static void fill_actor(struct actor *out, const char *user, const char *source, bool superuser) {
    memset(out, 0, sizeof *out);
    snprintf(out->user, sizeof out->user, "%s", user);
    snprintf(out->source, sizeof out->source, "%s", source);
    out->superuser = superuser;
}

static const char no_such_user[] = "no such user", wrong_password[] = "wrong password";

static enum err_code refuse(struct err *e) {
    return err_set(e, ERR_AUTH, NULL, "the user name or the credential is wrong");
}

/* ---- passwords ------------------------------------------------------------------------------- */

/* What a password of `user` is compared with; NULL when success may count, or what stands against
 * it, for the audit trail alone. */
static const char *setting_of(const struct core *c, const struct snap *s, const char *user,
                              char out[SETTING_MAX + 1]) {
    const struct system_user *u = find_user(s, user);
    const char *against = u == NULL                  ? no_such_user
                          : u->disabled              ? "the user is disabled"
                          : !user_stands(c, u)       ? "the user has ended"
                          : u->password_hash == NULL ? "the user has no password"
                                                     : NULL;
    snprintf(out, SETTING_MAX + 1, "%s", against == NULL ? u->password_hash : rights_state.dummy);
    return against;
}

/* Which password: another one has another number, never 0. */
static uint64_t number_of(const char *hash) {
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *hash != '\0'; hash++) {
        h = (h ^ (uint8_t)*hash) * UINT64_C(1099511628211);
    }
    return h | 1;
}

/* struct actor's `due` for one who logs in with the controller's own password. */
static uint64_t password_due(const struct core *c, const struct snap *s,
                             const struct system_user *u) {
    int64_t warn_s;
    bool due = u != NULL && u->password_hash != NULL &&
               password_ends(s, u->name, &warn_s) <= clock_wall_s(core_clock(c));
    return due ? number_of(u->password_hash) : 0;
}

/* Everything that a login with a password is about; of one snapshot. */
struct attempt {
    struct core *core;
    const char *user, *password, *source;
    char setting[SETTING_MAX + 1]; /* what the password is compared with */
    const char *against;           /* of the local password; NULL: success may count */
    const char *pam_against;       /* why PAM did not let him in; NULL: it was not asked */
    bool known;                    /* the name is somebody's */
    bool local, pam, pam_first, pam_allowed;
    uint64_t due; /* as in struct actor, of the local password */
    char service[65];
    unsigned timeout_s;
    uint8_t mac[MAC_LEN], pam_mac[MAC_LEN];
};

static void attempt_init(struct attempt *a, struct core *c, const char *user, const char *password,
                         const char *source) {
    static const struct system_settings_authentication usual = {
        .order = SYSTEM_SETTINGS_AUTHENTICATION_ORDER_LOCAL, .pam_service = "weft"};
    *a = (struct attempt){.core = c, .user = user, .password = password, .source = source};
    struct snap *s = core_snapshot(c);
    const struct object *o = snap_get(s, "/weft-system:system/settings");
    const struct system_settings_authentication *how =
        o != NULL ? &((const struct system_settings *)o->doc->data)->authentication : &usual;
    const struct system_user *u = find_user(s, user);
    a->against = setting_of(c, s, user, a->setting);
    a->known = u != NULL;
    a->local = how->order != SYSTEM_SETTINGS_AUTHENTICATION_ORDER_PAM;
    a->pam = how->order != SYSTEM_SETTINGS_AUTHENTICATION_ORDER_LOCAL;
    a->pam_first = how->order != SYSTEM_SETTINGS_AUTHENTICATION_ORDER_LOCAL_THEN_PAM;
    a->pam_allowed = u == NULL || user_stands(c, u);
    a->due = password_due(c, s, u);
    snprintf(a->service, sizeof a->service, "%s", how->pam_service);
    a->timeout_s = how->pam_timeout;
    snap_release(s);
    /* The stored hash is part of the key, so a changed password ends what was cached for the old
     * one at once. */
    mac_of("password", a->setting, user, password, a->mac);
    mac_of("pam", a->service, user, password, a->pam_mac);
}

/* Whose rights has somebody whom PAM lets in? His own, when he is a user here; or those of the
 * first group's user. *as "": his own. */
static bool pam_user(struct core *c, const char *user, const char *groups, char as[AS_MAX]) {
    struct snap *s = core_snapshot(c);
    const struct object *o = snap_get(s, "/weft-system:system/settings");
    const struct system_user *u = find_user(s, user);
    as[0] = '\0';
    if (u == NULL && o != NULL) {
        const struct system_settings_authentication *how =
            &((const struct system_settings *)o->doc->data)->authentication;
        const char *found = NULL;
        for (size_t i = 0; i < how->n_pam_group && found == NULL; i++) {
            const char *name = how->pam_group[i].name, *line = groups;
            size_t n = strlen(name);
            for (; *line != '\0' && found == NULL;
                 line += strcspn(line, "\n"), line += *line != 0) {
                bool in = strcspn(line, "\n") == n && memcmp(line, name, n) == 0;
                found = in ? how->pam_group[i].user : NULL;
            }
        }
        found = found != NULL ? found : how->template_user;
        u = found != NULL ? find_user(s, found) : NULL;
        snprintf(as, AS_MAX, "%s", found != NULL ? found : "");
    }
    bool good = u != NULL && user_stands(c, u);
    snap_release(s);
    return good;
}

/* Names that are shown and recorded beside those of our users, which have no other characters. */
static bool pam_name(const char *user) {
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@";
    return user[0] != '\0' && user[0] != '-' && user[strspn(user, good)] == '\0' &&
           strcmp(user, "system") != 0;
}

static bool pam_password(struct attempt *a, int64_t now, struct actor *out) {
    char as[AS_MAX], from[96];
    struct buf groups = BUF_INIT;
    struct err e;
    address_of(a->source, from);
    enum err_code rc = pam_ask(a->service, a->timeout_s, a->user, a->password, from, &groups, &e);
    bool in = rc == ERR_OK && pam_user(a->core, a->user, buf_cstr(&groups), as);
    buf_free(&groups);
    if (in) {
        cache_put(a->pam_mac, now + PAM_CACHE_S * NS_PER_S, as);
        fill_actor(out, a->user, a->source, false);
        snprintf(out->as, sizeof out->as, "%s", as);
        return true;
    }
    if (rc == ERR_OK) {
        a->known = true;
        a->pam_against = "PAM lets in who has no user and no template here";
    } else if (rc == ERR_AUTH) {
        a->pam_against = "PAM did not let the user in";
    } else {
        a->pam_against = "PAM could not be asked";
        L_WARN_RL(1, "PAM could not be asked: %s", e.text);
    }
    return false;
}

static bool local_password(struct attempt *a, int64_t now, struct actor *out) {
    char hash[CRYPT_OUTPUT_SIZE];
    bool same = hash_with(a->password, a->setting, hash);
    size_t n = strlen(hash), m = strlen(a->setting);
    same = mem_equal_ct(hash, a->setting, n < m ? n : m) && same && n == m;
    mem_wipe(hash, sizeof hash);
    if (!same || a->against != NULL) {
        return false;
    }
    cache_put(a->mac, now + RIGHTS_CACHE_S * NS_PER_S, "");
    fill_actor(out, a->user, a->source, false);
    out->due = a->due;
    return true;
}

/* What is nobody's name may be a password in the wrong field: it goes nowhere. */
static enum err_code attempt_failed(const struct attempt *a, const char *why, struct err *e) {
    const char *user = a->known ? a->user : NULL;
    why = why != NULL                                    ? why
          : a->pam_against != NULL && a->against != NULL ? a->pam_against
          : a->against != NULL                           ? a->against
                                                         : wrong_password;
    login_failed(a->core, user, a->source, why);
    L_WARN_RL(1, "a login of %s from %s failed", user != NULL ? user : "an unknown user",
              a->source);
    return refuse(e);
}

/* Did one of them let him in a moment ago, and would again? */
static bool attempt_cached(const struct attempt *a, struct actor *out) {
    int64_t now = clock_mono(core_clock(a->core));
    char as[AS_MAX] = "";
    bool yes = a->local && a->against == NULL && cache_has(a->mac, now, NULL);
    uint64_t due = yes ? a->due : 0;
    if (!yes && a->pam && a->pam_allowed && cache_has(a->pam_mac, now, as)) {
        struct actor who;
        fill_actor(&who, a->user, a->source, false);
        snprintf(who.as, sizeof who.as, "%s", as);
        struct snap *s = core_snapshot(a->core);
        yes = rights_stands(a->core, s, &who);
        snap_release(s);
    }
    if (yes) {
        fill_actor(out, a->user, a->source, false);
        snprintf(out->as, sizeof out->as, "%s", as);
        out->due = due;
    }
    return yes;
}

bool rights_password_cached(struct core *c, const char *user, const char *password) {
    pthread_once(&rights_state.once, init_state);
    struct attempt a;
    struct actor who;
    attempt_init(&a, c, user, password, "");
    return attempt_cached(&a, &who);
}

enum err_code rights_password(struct core *c, const char *user, const char *password,
                              const char *source, struct actor *out, struct err *e) {
    pthread_once(&rights_state.once, init_state);
    pthread_once(&rights_state.dummy_once, init_dummy);
    struct attempt a;
    attempt_init(&a, c, user, password, source);
    if (strlen(password) >= RIGHTS_PASSWORD_MAX || strlen(user) >= sizeof out->user) {
        return attempt_failed(&a, NULL, e);
    }
    if (attempt_cached(&a, out)) {
        return ERR_OK;
    }
    int64_t now = clock_mono(core_clock(c));
    if (!attempts_left(user, source, now, false)) {
        attempt_failed(&a, "too many failed before", e);
        return err_set(e, ERR_AUTH, NULL,
                       "too many failed logins of this user; wait a minute and try again");
    }
    bool pam = a.pam && a.pam_allowed && pam_name(user);
    bool in = (pam && a.pam_first && pam_password(&a, now, out)) ||
              (a.local && local_password(&a, now, out)) ||
              (pam && !a.pam_first && pam_password(&a, now, out));
    if (!in) {
        attempts_left(user, source, now, true);
        return attempt_failed(&a, NULL, e);
    }
    return ERR_OK;
}

/* ---- tokens, certificates, local peers ------------------------------------------------------- */

/* NULL: the token is good, for *u. Otherwise what stands against it, for the audit trail alone; *u
 * is the user it would be of, or NULL. */
static const char *token_against(const struct core *c, const struct snap *s, const char *id,
                                 const char *hash, const struct system_user **u) {
    const struct object *o = find(s, &system_token_kind, id);
    const struct system_token *t = o != NULL ? o->doc->data : NULL;
    int64_t expires = 0;
    *u = t != NULL ? find_user(s, t->user) : NULL;
    if (*u == NULL) {
        return "no such token";
    }
    if (!mem_equal_ct(t->hash, hash, 64)) {
        return "wrong secret of a token";
    }
    if (t->expires != NULL &&
        (!time_parse(t->expires, &expires) || expires <= clock_wall_s(core_clock(c)))) {
        return "the token has ended";
    }
    return user_stands(c, *u) ? NULL : "the token's user is disabled, or has ended";
}

enum err_code rights_token(struct core *c, const char *token, const char *source, struct actor *out,
                           struct err *e) {
    const char *dot = strncmp(token, "wt_", 3) == 0 ? strchr(token, '.') : NULL;
    size_t id_len = dot != NULL ? (size_t)(dot - token - 3) : 0;
    if (id_len == 0 || id_len > 64 || strlen(dot + 1) > 128) {
        login_failed(c, NULL, source, "what was sent is not a token");
        return err_set(e, ERR_AUTH, NULL, "this is not a token of ours");
    }
    char id[sizeof out->token] = "", hash[65];
    snprintf(id, sizeof id, "%.*s", (int)id_len, token + 3);
    sha256_hex(dot + 1, strlen(dot + 1), hash);
    struct snap *s = core_snapshot(c);
    const struct system_user *u;
    const char *against = token_against(c, s, id, hash, &u);
    if (against == NULL) {
        fill_actor(out, u->name, source, false);
        memcpy(out->token, id, sizeof out->token);
    } else {
        login_failed(c, u != NULL ? u->name : NULL, source, against);
    }
    snap_release(s);
    return against == NULL
               ? ERR_OK
               : err_set(e, ERR_AUTH, NULL, "the token is unknown, has ended or was revoked");
}

/* Base64 has more than one form of the same bytes: padding and line breaks are passed over. */
static bool same_base64(const char *a, const char *b) {
    static const char skipped[] = "= \r\n\t";
    for (;;) {
        a += strspn(a, skipped);
        b += strspn(b, skipped);
        if (*a != *b || *a == '\0') {
            return *a == *b;
        }
        a++;
        b++;
    }
}

bool rights_key_known(struct core *c, const char *user, const char *algorithm, const char *base64) {
    struct snap *s = core_snapshot(c);
    const struct system_user *u = find_user(s, user);
    bool known = false;
    for (size_t i = 0; u != NULL && user_stands(c, u) && i < u->n_authorized_key && !known; i++) {
        const struct system_user_authorized_key *k = &u->authorized_key[i];
        known = strcmp(k->algorithm, algorithm) == 0 && same_base64(k->key_data, base64);
    }
    snap_release(s);
    return known;
}

enum err_code rights_key(struct core *c, const char *user, const char *algorithm,
                         const char *base64, const char *source, struct actor *out, struct err *e) {
    if (!rights_key_known(c, user, algorithm, base64)) {
        return err_set(e, ERR_AUTH, NULL, "the key is not one of a user who may log in");
    }
    fill_actor(out, user, source, false);
    return ERR_OK;
}

enum err_code rights_certificate(struct core *c, const char *cn, const char *source,
                                 struct actor *out, struct err *e) {
    struct snap *s = core_snapshot(c);
    const struct system_user *u = find_user(s, cn);
    bool ok = u != NULL && user_stands(c, u);
    snap_release(s);
    if (!ok) {
        login_failed(c, cn, source, "the certificate's name is not a user who may log in");
        return err_set(e, ERR_AUTH, NULL, "the certificate's name is not a user who may log in");
    }
    fill_actor(out, cn, source, false);
    return ERR_OK;
}

enum err_code rights_local(struct core *c, uint32_t uid, const char *source, struct actor *out,
                           struct err *e) {
    struct passwd pw, *found = NULL;
    char names[4096];
    if (getpwuid_r((uid_t)uid, &pw, names, sizeof names, &found) != 0) {
        found = NULL;
    }
    char number[32];
    snprintf(number, sizeof number, "uid-%u", uid);
    if (uid == 0 || uid == (uint32_t)geteuid()) {
        fill_actor(out, found ? found->pw_name : number, source, true);
        return ERR_OK;
    }
    bool ok = false;
    if (found != NULL) {
        struct snap *s = core_snapshot(c);
        const struct system_user *u = find_user(s, found->pw_name);
        ok = u != NULL && u->local && user_stands(c, u);
        snap_release(s);
    }
    if (!ok) {
        login_failed(c, found ? found->pw_name : number, source, "no local user of the controller");
        return err_set(e, ERR_AUTH, NULL, "user id %u is no local user of the controller", uid);
    }
    fill_actor(out, found->pw_name, source, false);
    return ERR_OK;
}

bool rights_stands(const struct core *c, const struct snap *s, const struct actor *a) {
    if (a->superuser) {
        return true;
    }
    const struct system_user *own = find_user(s, a->user);
    const struct system_user *u = a->as[0] != '\0' ? find_user(s, a->as) : own;
    if (u == NULL || !user_stands(c, u) || (own != NULL && !user_stands(c, own)) ||
        (a->ends_s != 0 && a->ends_s <= clock_wall_s(core_clock(c)))) {
        return false;
    }
    if (a->token[0] == '\0') {
        return true;
    }
    const struct object *o = find(s, &system_token_kind, a->token);
    const struct system_token *t = o != NULL ? o->doc->data : NULL;
    int64_t expires = 0;
    return t != NULL && strcmp(t->user, a->user) == 0 &&
           (t->expires == NULL ||
            (time_parse(t->expires, &expires) && expires > clock_wall_s(core_clock(c))));
}

/* ---- rights ---------------------------------------------------------------------------------- */

/* Length of `prefix` as a prefix of `path` in whole steps, -1 when it is none. "/" is 0;
 * "/weft-apm:" is all of that module. */
static int match_len(const char *prefix, const char *path) {
    size_t n = strlen(prefix);
    while (n > 0 && prefix[n - 1] == '/') {
        n--;
    }
    if (strncmp(prefix, path, n) != 0) {
        return -1;
    }
    if (n == 0 || path[n] == '\0' || path[n] == '/' || prefix[n - 1] == ':') {
        return (int)n;
    }
    if (path[n] != '=') {
        return -1;
    }
    /* "partition" holds "partition=a", but "partition=a" does not hold "partition=a=b". */
    const char *step = prefix + n;
    while (step > prefix && step[-1] != '/') {
        step--;
    }
    return memchr(step, '=', (size_t)(prefix + n - step)) == NULL ? (int)n : -1;
}

static bool role_allows(const struct system_role *role, uint64_t bit, const char *path) {
    int best = -1;
    bool allow = false;
    for (size_t i = 0; i < role->n_right; i++) {
        int n = match_len(role->right[i].path, path);
        bool yes = (role->right[i].access & bit) != 0;
        if (n > best || (n == best && n >= 0 && !yes)) {
            best = n;
            allow = yes;
        }
    }
    return allow;
}

static uint64_t right_bit(enum right r) {
    return r == RIGHT_READ    ? SYSTEM_ROLE_RIGHT_ACCESS_READ
           : r == RIGHT_WRITE ? SYSTEM_ROLE_RIGHT_ACCESS_WRITE
                              : SYSTEM_ROLE_RIGHT_ACCESS_EXEC;
}

bool rights_role_allows(const struct system_role *role, enum right r, const char *path) {
    return role_allows(role, right_bit(r), path);
}

/* Calls fn for each role of the actor until one says yes. */
static bool any_role(const struct snap *s, const struct actor *a,
                     bool (*fn)(const struct system_role *role, uint64_t bit, const char *path),
                     uint64_t bit, const char *path) {
    const struct system_user *u = find_user(s, a->as[0] != '\0' ? a->as : a->user);
    if (u == NULL || u->disabled) {
        return false;
    }
    for (size_t i = 0; i < u->n_role; i++) {
        const struct object *o = find(s, &system_role_kind, u->role[i]);
        if (o != NULL && fn(o->doc->data, bit, path)) {
            return true;
        }
    }
    return false;
}

bool rights_due(const struct snap *s, const struct actor *a) {
    const struct system_user *u = a->due != 0 ? find_user(s, a->user) : NULL;
    return u != NULL && u->password_hash != NULL && number_of(u->password_hash) == a->due;
}

bool rights_allow(const struct snap *s, const struct actor *a, enum right r, const char *path) {
    if (rights_due(s, a)) {
        return r == RIGHT_EXEC && strcmp(path, RIGHTS_OWN_PASSWORD) == 0;
    }
    return a->superuser || any_role(s, a, role_allows, right_bit(r), path);
}

static bool role_allows_below(const struct system_role *role, uint64_t bit, const char *path) {
    if (role_allows(role, bit, path)) {
        return true;
    }
    for (size_t i = 0; i < role->n_right; i++) {
        if ((role->right[i].access & bit) != 0 && match_len(path, role->right[i].path) >= 0) {
            return true;
        }
    }
    return false;
}

bool rights_allow_below(const struct snap *s, const struct actor *a, enum right r,
                        const char *path) {
    return a->superuser ||
           (!rights_due(s, a) && any_role(s, a, role_allows_below, right_bit(r), path));
}

void rights_notice(struct core *c, const struct actor *a, struct buf *out) {
    int64_t warn_s, now = clock_wall_s(core_clock(c));
    struct snap *s = core_snapshot(c);
    struct err e;
    if (rights_due(s, a)) {
        rights_due_error(a, &e);
        buf_str(out, e.text);
    } else if (!a->superuser && a->token[0] == '\0' && a->as[0] == '\0') {
        int64_t ends = password_ends(s, a->user, &warn_s);
        if (ends > now && ends != INT64_MAX && ends - now < warn_s) {
            char when[TIME_TEXT_MAX];
            buf_printf(out,
                       "the password of %s ends at %s: set a new one, with "
                       "\"request system password\"",
                       a->user, time_format(ends, 0, when));
        }
    }
    snap_release(s);
}

enum err_code rights_due_error(const struct actor *a, struct err *e) {
    return err_set(e, ERR_DENIED, NULL,
                   "the password of %s has ended: it is only good for setting a new one, with "
                   "\"request system password\"",
                   a->user);
}

enum err_code rights_check(const struct snap *s, const struct actor *a, enum right r,
                           const char *path, struct err *e) {
    if (rights_allow(s, a, r, path)) {
        return ERR_OK;
    }
    static const char *const verbs[] = {"read", "change", "run"};
    rights_count_denied(r);
    if (rights_due(s, a)) {
        return rights_due_error(a, e);
    }
    return err_set(e, ERR_DENIED, path, "%s has no right to %s this", a->user, verbs[r]);
}

uint64_t rights_denied(enum right r) {
    return atomic_load(&rights_state.denied[r]);
}

void rights_count_denied(enum right r) {
    atomic_fetch_add(&rights_state.denied[r], 1);
}

/* ---- operations of protocols ----------------------------------------------------------------- */

static const struct {
    const char *path;
    bool by_right; /* nacm:default-deny-all in its module */
} operations[] = {
    {"/ietf-netconf:get", false},
    {"/ietf-netconf:get-config", false},
    {"/ietf-netconf:edit-config", false},
    {"/ietf-netconf:copy-config", false},
    {"/ietf-netconf:delete-config", true},
    {"/ietf-netconf:validate", false},
    {"/ietf-netconf:commit", false},
    {"/ietf-netconf:cancel-commit", false},
    {"/ietf-netconf:discard-changes", false},
    {"/ietf-netconf:lock", false},
    {"/ietf-netconf:unlock", false},
    {"/ietf-netconf:kill-session", true},
    {"/ietf-netconf-nmda:get-data", false},
    {"/ietf-netconf-nmda:edit-data", false},
    {"/ietf-netconf-monitoring:get-schema", false},
    {"/notifications:create-subscription", false},
};

bool rights_is_operation(const char *path) {
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (strcmp(operations[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

bool rights_operation(size_t i, const char **path, bool *by_right) {
    if (i >= sizeof operations / sizeof *operations) {
        return false;
    }
    *path = operations[i].path;
    *by_right = operations[i].by_right;
    return true;
}

/* A right on everything says nothing of the operation itself. */
enum rights_word rights_role_operation(const struct system_role *role, const char *path) {
    for (size_t i = 0; i < role->n_right; i++) {
        if (match_len(role->right[i].path, path) > 0) {
            return rights_role_allows(role, RIGHT_EXEC, path) ? RIGHTS_YES : RIGHTS_NO;
        }
    }
    return RIGHTS_SILENT;
}

static bool says_yes(const struct system_role *role, uint64_t bit, const char *path) {
    (void)bit;
    return rights_role_operation(role, path) == RIGHTS_YES;
}

static bool says_no(const struct system_role *role, uint64_t bit, const char *path) {
    (void)bit;
    return rights_role_operation(role, path) == RIGHTS_NO;
}

bool rights_allow_operation(const struct snap *s, const struct actor *a, const char *path) {
    if (rights_due(s, a)) {
        return false;
    }
    if (a->superuser || any_role(s, a, says_yes, 0, path)) {
        return true;
    }
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (operations[i].by_right && strcmp(operations[i].path, path) == 0) {
            return rights_allow(s, a, RIGHT_EXEC, path);
        }
    }
    return !any_role(s, a, says_no, 0, path);
}
