// SPDX-License-Identifier: Apache-2.0
/* What the files of this folder share. */
#ifndef NORTH_NETCONF_INTERNAL_H
#define NORTH_NETCONF_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/mem.h"
#include "core/rights.h"
#include "core/system.h"
#include "net/dom.h"
#include "net/nc_framing.h"
#include "net/sshd.h"
#include "north/blocking.h"
#include "north/feed.h"
#include "north/netconf/edit.h"
#include "north/netconf/netconf.h"

struct nc_counters { /* RFC 6022 */
    _Atomic uint64_t in_rpcs, in_bad_rpcs, out_rpc_errors, out_notifications;
};

struct netconf {
    struct netconf_config cfg;
    struct blocking core; /* its doors, for workers */
    const struct model *model;
    struct sshd *ssh;
    struct list tls_listeners, tls_links, sessions, homes;
    struct list passed_on;   /* struct nc_front: sessions that are at the leader */
    struct nc_home *calling; /* whose connection is being handed over */
    size_t n_tls_links;
    size_t n_sessions;
    _Atomic size_t bytes;
    struct loop_timer *tick;
    bool closing;
    loop_fn *done;
    void *done_arg;
    int64_t started_s;
    struct nc_counters total;
    _Atomic uint64_t in_sessions, in_bad_hellos, dropped_sessions;
    pthread_mutex_t lock; /* the list of sessions, for workers that show or kill them */
};

/* How a session's bytes go out; nothing of it calls back. */
struct nc_transport {
    const char *name; /* "netconf-ssh", as RFC 6022 has it */
    void (*write)(void *conn, const void *p, size_t n);
    size_t (*queued)(const void *conn);
    void (*pause)(void *conn, bool pause);
    void (*end)(void *conn); /* politely; the session is told by nc_session_closed */
    size_t high;             /* bytes queued above which one waits for nc_session_sent */
};

struct nc_subscription;

struct nc_session {
    struct list link;
    struct netconf *n;
    uint64_t id; /* as in `show system users` */
    struct actor who;
    char from[80];
    const struct nc_transport *transport;
    void *conn; /* NULL: closed */
    bool called_home;
    int64_t since_s, alive_ms, heard_ms;
    struct nc_framer in;
    struct buf waiting; /* bytes behind the message that is being served */
    bool greeted, base11, ending, busy;
    struct feed *feed;                            /* of the answer under way */
    struct buf held;                              /* notifications behind it */
    size_t counted;                               /* of n->bytes */
    size_t queued;                                /* at the last tick */
    struct nc_subscription *_Atomic subscription; /* the loop's; workers ask whether there is one */
    struct candidate *candidate;                  /* the shared one */
    bool lock_running, lock_candidate;
    int64_t locked_s;
    _Atomic bool killed, left;
    struct nc_counters count;
    unsigned refs; /* the connection, and what comes back to the loop */
};

/* ---- session.c: on the loop -------------------------------------------------------------------
 */

struct nc_session *nc_session_new(struct netconf *n, const struct actor *who, const char *from,
                                  const struct nc_transport *t, void *conn);
void nc_session_data(struct nc_session *s, const uint8_t *p, size_t len);
void nc_session_sent(struct nc_session *s);
void nc_session_closed(struct nc_session *s); /* the connection is gone */
void nc_session_end(struct nc_session *s);    /* end it after what is queued */
void nc_session_tick(struct nc_session *s, int64_t now_ms);
/* A notification, whole; waits when an answer is under way. */
void nc_session_event(struct nc_session *s, const void *p, size_t n);
void nc_session_release(struct nc_session *s);

/* ---- front.c: on the loop ----------------------------------------------------------------------
 */

/* What a transport hands its bytes to. */
struct nc_front;
struct nc_front *nc_front_new(struct netconf *n, const struct actor *who, const char *from,
                              const struct nc_transport *t, void *conn);
void nc_front_data(struct nc_front *f, const uint8_t *p, size_t n);
void nc_front_sent(struct nc_front *f);
void nc_front_closed(struct nc_front *f);
struct nc_session *nc_front_session(const struct nc_front *f); /* NULL: it is at the leader */
void nc_fronts_end(struct netconf *n);                         /* those that are there */

/* ---- server.c ---------------------------------------------------------------------------------
 */

/* Serve a connection that a call home has made; its link goes to nc_home_linked or, when it is
 * refused or over, `n->calling` and the home are told by nc_home_over. */
void nc_serve_ssh(struct netconf *n, int fd);
void nc_serve_tls(struct netconf *n, int fd, struct tls_ctx *tls);

/* ---- call_home.c (RFC 8071): on the loop ------------------------------------------------------
 */

struct nc_home;
/* Takes over what is configured now; once a second. */
void nc_homes_tick(struct netconf *n);
/* `end(conn)` ends the connection politely; nc_home_over follows. */
void nc_home_linked(struct nc_home *h, void *conn, void (*end)(void *conn));
void nc_home_served(struct nc_home *h); /* somebody has logged in */
void nc_home_over(struct nc_home *h);
void nc_homes_end(struct netconf *n); /* no more calls */

/* ---- rpc.c: on a worker -----------------------------------------------------------------------
 */

/* One message being served. */
struct nc_rpc {
    struct nc_session *s;
    struct netconf *n;
    struct arena *a;
    struct dom *rpc, *op;
    struct feed *out;
    struct buf head;   /* "<rpc-reply ...>", as long as nothing was sent */
    bool started;      /* something was sent: an error can't be told any more */
    bool end_session;  /* after the answer */
    struct snap *snap; /* the running configuration when it came */
    /* an error beyond what its code says; NULL: as the code says */
    const char *tag, *type;
    const char *info;                     /* XML inside <error-info> */
    struct nc_subscription *subscription; /* to begin behind the answer */
};

/* Serves a message. True: the session ends after the answer. *sub gets what begins behind it. */
bool nc_serve(struct nc_session *s, struct feed *out, const struct buf *message,
              struct nc_subscription **sub);
/* Writes to the answer; a model_write with the nc_rpc as `arg`. */
enum err_code nc_write(void *arg, const char *p, size_t n, struct err *e);
enum err_code nc_write_str(struct nc_rpc *r, const char *s, struct err *e);
/* Fails with another tag than that of the code; `info` is XML, or NULL. */
enum err_code nc_fail(struct nc_rpc *r, enum err_code code, const char *tag, const char *info,
                      const char *path, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 7, 8)));
/* "running" or "candidate" as a child of <source> or <target>, or NMDA's name of such a datastore.
 */
enum nc_store { NC_RUNNING, NC_CANDIDATE, NC_INLINE, NC_OPERATIONAL };
enum err_code nc_store_of(struct nc_rpc *r, const char *parameter, enum nc_store *out,
                          const struct dom **config, struct err *e);
enum err_code nc_missing(struct nc_rpc *r, const char *element, struct err *e);

/* The attributes of a <filter>; NULL: not there. */
void nc_filter_attributes(const struct dom *f, const char **type, const char **select);
/* Is it `xpath`, with an expression? */
enum err_code nc_xpath_select(struct nc_rpc *r, const char *type, const char *select,
                              struct err *e);

/* The datastore that an element names by its identity. */
enum err_code nc_datastore(struct nc_rpc *r, const struct dom *d, enum nc_store *out,
                           struct err *e);
/* *out is left as it is when nothing is said. */
enum err_code nc_with_defaults(struct nc_rpc *r, enum with_defaults *out, struct err *e);
/* State for a `model_state`, with the nc_rpc as `arg`. */
enum err_code nc_state_get(void *arg, const struct node *node, const char *path, const char *wanted,
                           struct buf *json, struct err *e);
struct nc_parameters { /* of an edit */
    enum nc_store target;
    enum nc_operation by_default;
    bool replace_all; /* default-operation replace: what is not given goes */
    bool test_only, test, one_by_one;
    const struct dom *config;
};
/* `by_default`: the word, or NULL. The rest of `p` is filled in. */
enum err_code nc_edit(struct nc_rpc *r, struct nc_parameters *p, const char *by_default,
                      struct err *e);

typedef enum err_code nc_op(struct nc_rpc *r, struct err *e);

/* ---- operations -------------------------------------------------------------------------------
 */

nc_op nc_op_get, nc_op_get_config, nc_op_get_schema;                             /* op_get.c */
nc_op nc_op_edit_config, nc_op_copy_config, nc_op_delete_config, nc_op_validate; /* op_edit.c */
nc_op nc_op_get_data, nc_op_edit_data;                                           /* op_nmda.c */
nc_op nc_op_commit, nc_op_cancel_commit, nc_op_discard;                          /* op_commit.c */
nc_op nc_op_lock, nc_op_unlock, nc_op_close, nc_op_kill;                         /* op_session.c */
nc_op nc_op_subscribe;                                                           /* notify.c */
void nc_unlock_all(struct nc_session *s);
enum err_code nc_take_edits_back(struct nc_rpc *r, struct err *e);

/* ---- monitor.c (RFC 6022) ---------------------------------------------------------------------
 */

/* Capability URIs as elements for <hello> (and of the state, as JSON strings). */
void nc_capabilities(bool json, struct buf *out);
/* JSON of /ietf-netconf-monitoring:netconf-state. */
void nc_monitor_state(struct netconf *n, struct buf *json);
/* JSON of /nc-notifications:netconf (RFC 5277 3.4). */
void nc_event_streams(const struct netconf *n, struct buf *json);

/* ---- notify.c ---------------------------------------------------------------------------------
 */

/* On the loop: events from now on (takes over `sub`), and no more. */
void nc_subscribe_begin(struct nc_session *s, struct nc_subscription *sub);
void nc_unsubscribe(struct nc_session *s);

#endif
