// SPDX-License-Identifier: Apache-2.0
#include "core/http_auth.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/rng.h"
#include "core/logins.h"

enum {
    BASIC_MAX = 1024,      /* bytes of user:password in base64 */
    GATEWAY_NAME_MAX = 64, /* no system id is longer */
};

struct http_auth_ticket {
    bool takes_due;
    struct core *core;
    struct loop *loop;
    char source[96];
    char user[HTTP_AUTH_USER_MAX], password[RIGHTS_PASSWORD_MAX];
    struct actor who;
    struct err err;
    enum err_code rc;
    http_auth_done *done; /* NULL once cancelled; the loop's thread only */
    void *arg;
};

static void ticket_free(struct http_auth_ticket *t) {
    mem_wipe(t->password, sizeof t->password);
    mem_free(t);
}

/* Where nobody could set a new password, one that has ended is good for nothing. */
static void refuse_due(bool takes_due, const struct actor *who, enum err_code *rc, struct err *e) {
    if (*rc == ERR_OK && who->due != 0 && !takes_due) {
        *rc = rights_due_error(who, e);
    }
}

static void hashed(void *arg) {
    struct http_auth_ticket *t = arg;
    refuse_due(t->takes_due, &t->who, &t->rc, &t->err);
    if (t->done != NULL) {
        t->done(t->arg, &t->who, t->rc == ERR_OK ? NULL : &t->err);
    }
    ticket_free(t);
}

static void hash_job(void *arg) {
    struct http_auth_ticket *t = arg;
    t->rc = rights_password(t->core, t->user, t->password, t->source, &t->who, &t->err);
    loop_post(t->loop, hashed, t);
}

bool http_auth_basic(const char *b64, char user[HTTP_AUTH_USER_MAX],
                     char password[RIGHTS_PASSWORD_MAX]) {
    uint8_t raw[BASIC_MAX];
    size_t n = strlen(b64), pad = 0;
    if (n == 0 || n % 4 != 0 || n > BASIC_MAX) {
        return false;
    }
    while (pad < 2 && b64[n - 1 - pad] == '=') {
        pad++;
    }
    int got = EVP_DecodeBlock(raw, (const unsigned char *)b64, (int)n);
    bool ok = got >= 0 && (size_t)got > pad;
    size_t len = ok ? (size_t)got - pad : 0;
    const uint8_t *colon = ok ? memchr(raw, ':', len) : NULL;
    ok = colon != NULL && memchr(raw, '\0', len) == NULL;
    if (ok) {
        size_t u = (size_t)(colon - raw), p = len - u - 1;
        ok = u > 0 && u < HTTP_AUTH_USER_MAX && p < RIGHTS_PASSWORD_MAX;
        if (ok) {
            snprintf(user, HTTP_AUTH_USER_MAX, "%.*s", (int)u, (const char *)raw);
            snprintf(password, RIGHTS_PASSWORD_MAX, "%.*s", (int)p, (const char *)colon + 1);
        }
    }
    mem_wipe(raw, sizeof raw);
    return ok;
}

static const char *after_scheme(const char *header, const char *scheme) {
    size_t n = strlen(scheme);
    if (strncasecmp(header, scheme, n) != 0 || header[n] != ' ') {
        return NULL;
    }
    header += n;
    return header + strspn(header, " ");
}

static const char malformed[] = "the Authorization header is malformed";

static struct http_auth_ticket *basic(const struct http_auth_config *cfg, const char *b64,
                                      const char *source, http_auth_done *done, void *arg) {
    struct http_auth_ticket *t = MEM_NEW(struct http_auth_ticket);
    t->takes_due = cfg->takes_due;
    t->core = cfg->core;
    t->loop = cfg->loop;
    t->done = done;
    t->arg = arg;
    snprintf(t->source, sizeof t->source, "%s", source);
    if (!http_auth_basic(b64, t->user, t->password)) {
        login_failed(cfg->core, NULL, source, malformed);
        t->rc = err_set(&t->err, ERR_AUTH, NULL, "%s", malformed);
    } else if (rights_password_cached(cfg->core, t->user, t->password)) {
        t->rc = rights_password(t->core, t->user, t->password, t->source, &t->who, &t->err);
    } else if (workers_run(cfg->hashers, hash_job, t)) {
        return t;
    } else {
        t->rc = err_set(&t->err, ERR_UNAVAILABLE, NULL, "too many logins at once; try again");
    }
    hashed(t);
    return NULL;
}

/* Gateways and users have certificates of the same authority: a user's says that it is one, or a
 * gateway called "admin" would be more than a gateway. */
enum err_code http_auth_certificate(struct core *c, const struct tls_peer *p, const char *source,
                                    struct actor *who, struct err *e) {
    char uri[TLS_NAME_MAX + 32];
    snprintf(uri, sizeof uri, HTTP_AUTH_USER_URI "%s", p->subject_cn);
    if (!tls_peer_has_san(p, 'U', uri)) {
        login_failed(c, p->subject_cn, source, "the certificate is not a user's");
        return err_set(e, ERR_AUTH, NULL,
                       "this certificate is not a user's; `weftd issue --user` makes such");
    }
    ERR_TRY(rights_certificate(c, p->subject_cn, source, who, e));
    who->ends_s = p->not_after;
    return ERR_OK;
}

/* ---- what nodes say ----------------------------------------------------------------------------
 */

const char *http_auth_node(const struct tls_peer *p) {
    size_t n = strlen(HTTP_AUTH_NODE_URI);
    for (unsigned i = 0; p != NULL && p->verified && i < p->n_sans; i++) {
        if (p->sans[i].kind == 'U' && strncmp(p->sans[i].value, HTTP_AUTH_NODE_URI, n) == 0 &&
            p->sans[i].value[n] != '\0') {
            return p->sans[i].value + n;
        }
    }
    return NULL;
}

void http_auth_actor_print(const struct actor *who, struct buf *out) {
    buf_str(out, "user=");
    http_pct_encode(out, who->user);
    buf_str(out, ";source=");
    http_pct_encode(out, who->source);
    buf_str(out, ";token=");
    http_pct_encode(out, who->token);
    if (who->as[0] != '\0') {
        buf_str(out, ";as=");
        http_pct_encode(out, who->as);
    }
    if (who->due != 0) {
        buf_printf(out, ";due=%" PRIx64, who->due);
    }
    if (who->ends_s > 0) {
        buf_printf(out, ";ends=%" PRIx64, (uint64_t)who->ends_s);
    }
    buf_str(out, who->superuser ? ";superuser" : "");
}

/* "NAME=VALUE" and the semicolon or end behind it; NULL: it is something else. */
static const char *take_part(const char *p, const char *name, char *out, size_t size) {
    size_t n = strlen(name), len;
    char plain[512];
    if (strncmp(p, name, n) != 0 || p[n] != '=') {
        return NULL;
    }
    p += n + 1;
    len = strcspn(p, ";");
    if (len >= sizeof plain || !http_pct_decode(p, len, plain) || strlen(plain) >= size) {
        return NULL;
    }
    for (const char *q = plain; *q != '\0'; q++) {
        if ((unsigned char)*q < 0x20 || *q == 0x7f) {
            return NULL;
        }
    }
    snprintf(out, size, "%s", plain);
    return p + len;
}

/* What may be there: nothing is taken when it is not. A number that is 0 is damage. */
static const char *take_option(const char *p, const char *name, char *out, size_t size) {
    size_t n = strlen(name);
    bool there = p != NULL && p[0] == ';' && strncmp(p + 1, name, n) == 0 && p[1 + n] == '=';
    return there ? take_part(p + 1, name, out, size) : p;
}

static const char *take_number(const char *p, const char *name, uint64_t *out) {
    char text[20] = "";
    const char *after = take_option(p, name, text, sizeof text);
    *out = strtoull(text, NULL, 16);
    return after == p || *out != 0 ? after : NULL;
}

static const char *behind_semicolon(const char *p) {
    return p != NULL && *p == ';' ? p + 1 : NULL;
}

bool http_auth_actor_parse(const char *text, struct actor *out) {
    const char *p = text;
    uint64_t ends = 0;
    *out = (struct actor){.superuser = false};
    p = p != NULL ? take_part(p, "user", out->user, sizeof out->user) : NULL;
    p = behind_semicolon(p);
    p = p != NULL ? take_part(p, "source", out->source, sizeof out->source) : NULL;
    p = behind_semicolon(p);
    p = p != NULL ? take_part(p, "token", out->token, sizeof out->token) : NULL;
    p = take_option(p, "as", out->as, sizeof out->as);
    p = take_number(p, "due", &out->due);
    p = take_number(p, "ends", &ends);
    out->ends_s = (int64_t)ends;
    out->superuser = p != NULL && strcmp(p, ";superuser") == 0;
    return p != NULL && (*p == '\0' || out->superuser) && out->user[0] != '\0' && out->ends_s >= 0;
}

/* ---- gateways ---------------------------------------------------------------------------------
 */

void http_auth_gateway_of(const struct http_peer *p, struct http_auth_gateway *out) {
    const struct tls_peer *tls = p->tls;
    *out = (struct http_auth_gateway){.tls = p->kind == HTTP_PEER_TLS,
                                      .verified = tls != NULL && tls->verified};
    if (!out->verified) {
        return;
    }
    out->names = mem_alloc((tls->n_sans + 1) * sizeof *out->names);
    if (tls->subject_cn[0] != '\0') {
        out->names[out->n_names++] = mem_strdup(tls->subject_cn);
    }
    for (unsigned i = 0; i < tls->n_sans; i++) {
        out->names[out->n_names++] = mem_strdup(tls->sans[i].value);
    }
}

void http_auth_gateway_free(struct http_auth_gateway *g) {
    for (size_t i = 0; i < g->n_names; i++) {
        mem_free(g->names[i]);
    }
    mem_free(g->names);
    *g = (struct http_auth_gateway){.tls = false};
}

void http_auth_gateway_print(const struct http_peer *p, struct buf *out) {
    struct http_auth_gateway g;
    http_auth_gateway_of(p, &g);
    buf_str(out, g.verified ? "verified" : g.tls ? "tls" : "clear");
    for (size_t i = 0; i < g.n_names; i++) {
        if (g.names[i][0] != '\0' && strlen(g.names[i]) <= GATEWAY_NAME_MAX) {
            buf_char(out, ';');
            http_pct_encode(out, g.names[i]);
        }
    }
    http_auth_gateway_free(&g);
}

bool http_auth_gateway_parse(const char *text, struct http_auth_gateway *out) {
    size_t n = strcspn(text, ";");
    *out = (struct http_auth_gateway){.verified = n == 8 && strncmp(text, "verified", n) == 0};
    out->tls = out->verified || (n == 3 && strncmp(text, "tls", n) == 0);
    bool ok = out->tls || (n == 5 && strncmp(text, "clear", n) == 0);
    for (const char *p = text + n; ok && *p == ';'; p += n) {
        n = strcspn(++p, ";");
        char *name = mem_alloc(n + 1);
        ok = out->verified && n > 0 && http_pct_decode(p, n, name);
        out->names = mem_array(out->names, out->n_names + 1, sizeof *out->names);
        out->names[out->n_names++] = name;
    }
    if (!ok) {
        http_auth_gateway_free(out);
    }
    return ok;
}

/* The node has looked at the credentials; whether they still stand is looked at here again. */
static enum err_code passed_on(const struct http_auth_config *cfg, const struct http_peer *peer,
                               const char *text, const char *source, struct actor *who,
                               struct err *e) {
    const char *node =
        cfg->from_nodes && peer->kind == HTTP_PEER_TLS ? http_auth_node(peer->tls) : NULL;
    if (node == NULL) {
        login_failed(cfg->core, NULL, source, "says who asks, and is no node");
        return err_set(e, ERR_DENIED, NULL,
                       "only a controller's own certificate may say who asks (" HTTP_AUTH_ACTOR
                       ")");
    }
    if (!http_auth_actor_parse(text, who)) {
        return err_set(e, ERR_MALFORMED, NULL, HTTP_AUTH_ACTOR " from node %s is malformed", node);
    }
    struct snap *now = core_snapshot(cfg->core);
    bool stands = who->superuser || rights_stands(cfg->core, now, who);
    snap_release(now);
    if (!stands) {
        return err_set(e, ERR_AUTH, NULL, "user %s may not log in any more", who->user);
    }
    size_t n = strlen(who->source);
    snprintf(who->source + n, sizeof who->source - n, " by %s", node);
    return ERR_OK;
}

struct http_auth_ticket *http_auth(const struct http_auth_config *cfg, const struct http_req *r,
                                   http_auth_done *done, void *arg) {
    const struct http_peer *peer = http_peer(r);
    const char *h = http_header(r, "authorization");
    char source[96];
    struct actor who;
    struct err e;
    enum err_code rc;
    snprintf(source, sizeof source, "%s %s", cfg->dialect, peer->text);
    const char *actor = http_header(r, HTTP_AUTH_ACTOR);
    if (actor != NULL) {
        rc = passed_on(cfg, peer, actor, source, &who, &e);
    } else if (peer->kind == HTTP_PEER_TCP && !cfg->clear_text) {
        rc = err_set(&e, ERR_DENIED, NULL,
                     "this is a clear-text connection; log in over TLS or the local socket");
    } else if (h != NULL) {
        const char *rest = after_scheme(h, "basic");
        if (rest != NULL) {
            return basic(cfg, rest, source, done, arg);
        }
        rest = after_scheme(h, "bearer");
        if (rest != NULL) {
            rc = rights_token(cfg->core, rest, source, &who, &e);
        } else {
            login_failed(cfg->core, NULL, source, malformed);
            rc = err_set(&e, ERR_AUTH, NULL, "Basic and Bearer are what we know");
        }
    } else if (peer->kind == HTTP_PEER_TLS && peer->tls != NULL && peer->tls->verified) {
        rc = http_auth_certificate(cfg->core, peer->tls, source, &who, &e);
    } else if (peer->kind == HTTP_PEER_UNIX) {
        rc = rights_local(cfg->core, (uint32_t)peer->uid, source, &who, &e);
    } else {
        rc = err_set(&e, ERR_AUTH, NULL, "log in with a user name and password, or a token");
    }
    done(arg, &who, rc == ERR_OK ? NULL : &e);
    return NULL;
}

void http_auth_cancel(struct http_auth_ticket *t) {
    if (t != NULL) {
        t->done = NULL;
    }
}
