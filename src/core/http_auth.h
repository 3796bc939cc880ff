// SPDX-License-Identifier: Apache-2.0
/*
 * Who is at the other end of an HTTP request; for every dialect on HTTP. In this order:
 *   Authorization: Basic     password, hashed on a worker unless cached
 *   Authorization: Bearer    API token
 *   TLS client certificate   that verified: its common name is a user, and a SAN says so
 *   unix socket              the peer's user id (rights_local)
 * A node that passes a request on says who asks (HTTP_AUTH_ACTOR) instead of all of these.
 * Credentials in a header count before the connection's own, so that one may act as somebody else.
 */
#ifndef CORE_HTTP_AUTH_H
#define CORE_HTTP_AUTH_H

#include "core/core.h"
#include "core/rights.h"
#include "core/workers.h"
#include "net/http.h"

enum { HTTP_AUTH_USER_MAX = 256 };

struct http_auth_config {
    struct core *core;
    struct loop *loop;       /* of the server whose requests these are */
    struct workers *hashers; /* two threads are enough */
    const char *dialect;     /* "restconf": begins actor.source */
    bool clear_text;         /* accept credentials over clear-text TCP */
    bool takes_due;  /* one whose password has ended comes through: he can set a new one here */
    bool from_nodes; /* of the port for nodes: HTTP_AUTH_ACTOR is believed */
};

/* A user's certificate has this and the user's name as a URI among its SANs. */
#define HTTP_AUTH_USER_URI "urn:weft:user:"
/* A node's certificate has this and the node's name. It may say who asks (docs/cluster.md). */
#define HTTP_AUTH_NODE_URI "urn:weft:node:"
/* Who a node has authenticated: "user=U;source=S;token=T", and ";as=A", ";due=D", ";ends=E" and
 * ";superuser" behind it, values percent-encoded. From anyone but a node the header is refused. */
#define HTTP_AUTH_ACTOR "weft-actor"
/* What a node has seen of a gateway whose session it passes on: "verified", "tls" or "clear", then
 * ";NAME" for each name of its certificate, percent-encoded. */
#define HTTP_AUTH_GATEWAY "weft-gateway"
/* What goes with a 401. */
#define HTTP_AUTH_CHALLENGE "Basic realm=\"weft\", charset=\"UTF-8\""

/* `e` NULL: `who` has been authenticated. Otherwise ERR_AUTH (401), ERR_DENIED (403: clear text),
 * ERR_UNAVAILABLE (503: too many logins at once). */
typedef void http_auth_done(void *arg, const struct actor *who, const struct err *e);

/* Calls `done` at once and returns NULL, or later in the loop's thread and returns a ticket. */
struct http_auth_ticket;
struct http_auth_ticket *http_auth(const struct http_auth_config *cfg, const struct http_req *r,
                                   http_auth_done *done, void *arg);
/* The user that a verified client certificate stands for, outside HTTP too. ERR_AUTH. */
enum err_code http_auth_certificate(struct core *c, const struct tls_peer *p, const char *source,
                                    struct actor *who, struct err *e);
/* `done` will not be called any more. */
void http_auth_cancel(struct http_auth_ticket *t);

/* The value of HTTP_AUTH_ACTOR. Parsing: false: malformed, or too long for the fields. */
void http_auth_actor_print(const struct actor *who, struct buf *out);
bool http_auth_actor_parse(const char *text, struct actor *out);
void http_auth_gateway_print(const struct http_peer *p, struct buf *out);
struct http_auth_gateway {
    bool tls, verified;
    char **names; /* each, and the array, for mem_free */
    size_t n_names;
};
/* False: malformed, and there is nothing to free. */
bool http_auth_gateway_parse(const char *text, struct http_auth_gateway *out);
/* The same of one that is connected to this node. */
void http_auth_gateway_of(const struct http_peer *p, struct http_auth_gateway *out);
void http_auth_gateway_free(struct http_auth_gateway *g);
/* The name of the node whose certificate this is; NULL: not a node's, or not verified. */
const char *http_auth_node(const struct tls_peer *p);

/* user:password out of base64 (RFC 7617); false: malformed, or too long for the fields. */
bool http_auth_basic(const char *b64, char user[HTTP_AUTH_USER_MAX],
                     char password[RIGHTS_PASSWORD_MAX]);

#endif
