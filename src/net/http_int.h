// SPDX-License-Identifier: Apache-2.0
/* What the parts of the HTTP server share; net/ only. */
#ifndef NET_HTTP_INT_H
#define NET_HTTP_INT_H

#include "base/list.h"
#include "base/map.h"
#include "net/http.h"
#include "net/stream.h"

enum {
    HTTP_TICK_MS = 250, /* how exact deadlines are */
    HTTP_CONN_HIGH =
        64 << 10,          /* output of a connection above which nothing more is parsed or made */
    HTTP_LINGER_MS = 2000, /* a closing connection is read this long, so that its last answer is not
                              destroyed by a reset */
    HTTP_LINGER_BYTES = 16 << 20,
    HTTP_PATH_MAX = 8192,
    HTTP_COLLECT_FREE = 64 << 10, /* so much of each body is taken whatever max_collected says */
    /* h2: heads of requests that are open. Compression makes them cheap for the peer. */
    HTTP_CONN_HEADS_MAX = 256 << 10,
    HTTP_SERVER_HEADS_MAX = 128 << 20, /* above it a connection may hold one head */
};

struct http_conn;

/* What differs between HTTP/1 and HTTP/2. None of these calls back into the dialect. */
struct http_impl {
    /* Status and fields; `end`: no body follows. f are checked. length as in http_start. */
    void (*start)(struct http_req *r, int status, const struct http_field *f, size_t nf,
                  int64_t length, bool end);
    void (*write)(struct http_req *r, const void *p, size_t n);
    void (*end)(struct http_req *r, const struct http_field *trailers, size_t n);
    void (*abort)(struct http_req *r, uint32_t code);
    void (*resume)(struct http_req *r); /* r->paused changed */
    size_t (*queued)(const struct http_req *r);
    /* Of the connection. */
    void (*data)(struct http_conn *c, const uint8_t *p, size_t n);
    void (*work)(struct http_conn *c);    /* deferred, or some output went out */
    void (*quiesce)(struct http_conn *c); /* shut down politely */
    void (*free)(struct http_conn *c);    /* protocol state; requests are gone */
};
extern const struct http_impl http_impl_h1, http_impl_h2;

struct http_server {
    struct loop *loop;
    struct http_limits lim;
    http_handler *handler;
    void *arg;
    http_error_writer *error_writer;
    void *error_arg;
    http_turned_away *turned_away;
    void *turned_away_arg;
    http_extra *extra;
    void *extra_arg;
    struct http_counters n;
    struct list conns, listeners;
    struct map peers; /* key of the peer -> struct http_peer_conns */
    size_t collected; /* bytes of bodies */
    size_t heads;     /* bytes of heads, h2 */
    struct loop_timer *tick;
    bool closing, freeing;
    int64_t close_by; /* loop time */
    loop_fn *closed;
    void *closed_arg;
    int64_t date_s;
    char date[32];
};

struct http_peer_conns {
    unsigned open, greeting;
};

struct http_conn {
    struct list link;
    struct http_server *server;
    struct stream *stream;
    struct http_peer peer;
    char peer_key[12];
    uint8_t peer_key_len;
    bool h2c, tls, unix_socket;
    bool lingering, dead, greeted;
    const struct http_impl *impl; /* NULL until the protocol is known */
    void *proto;                  /* struct h1 or h2 */
    struct buf sniff;             /* first bytes on a port that takes h2c */
    struct list reqs;             /* given to handlers */
    unsigned served;
    /* Loop times of what is being waited for; 0: not. */
    int64_t header_since, idle_since, linger_since;
    size_t linger_bytes;
    size_t partial;          /* gRPC: bytes of incomplete messages */
    size_t heads, collected; /* what its requests hold of the server's sums */
    struct loop_deferred work;
};

struct http_ref {
    uint32_t name, value; /* offsets in text; NUL-terminated */
};

struct http_req {
    struct list link; /* of its connection */
    struct http_conn *conn;
    int32_t stream_id; /* h2 */
    int version;
    bool given, paused, body_done, end_told, started, ended, head, over, closing, chunked, lazy;
    bool ending; /* h2: everything was handed to nghttp2 */
    bool too_big;
    const char *bad; /* h2: why the head is refused */
    const struct http_req_ops *ops;
    void *arg;
    http_collected *collected;
    void *collected_arg;
    size_t collect_cap;
    struct buf text; /* all strings, NUL-terminated */
    struct http_ref *refs;
    unsigned n_refs, cap_refs;
    uint32_t method, raw_path, path, query, authority; /* offsets in text */
    int64_t length;
    int64_t left; /* of the announced response body; -1: unknown */
    size_t high;
    struct buf body; /* collected */
    struct buf held; /* h2: came while paused */
    struct buf out;  /* h2: response data not framed yet */
    size_t out_at;
    int64_t body_since, sent_at, ended_at;
    size_t body_bytes, head_bytes;
    size_t collected_bytes, held_head; /* counted in the server's and the connection's sums */
    struct http_field *trailers;       /* h2: waiting for the data to go first */
    size_t n_trailers;
};

/* http.c */
struct http_req *http_req_new(struct http_conn *c, int version);
void http_req_free(struct http_req *r);
uint32_t http_req_text(struct http_req *r, const void *p, size_t n);
void http_req_add(struct http_req *r, const void *name, size_t nn, const void *value, size_t nv);
/* Splits and decodes a target ("/a?b"); false when it is malformed. */
bool http_req_target(struct http_req *r, const uint8_t *p, size_t n);
void http_req_give(struct http_req *r);                             /* to the handler */
void http_req_body(struct http_req *r, const uint8_t *p, size_t n); /* not while paused */
void http_req_body_end(struct http_req *r);
void http_req_sent(struct http_req *r);                 /* output moved: drained? */
void http_req_closed(struct http_req *r, bool aborted); /* last callback; frees r */
/* The server answers itself. */
void http_req_error(struct http_req *r, int status, const char *why);
const char *http_date(struct http_server *s);
void http_conn_work(struct http_conn *c);   /* have impl->work called at the end of the turn */
void http_conn_linger(struct http_conn *c); /* no more requests; flush, then close */
void http_conn_kill(struct http_conn *c);   /* now; requests are aborted */
void http_conn_idle(struct http_conn *c);   /* the idle clock starts now */
/* Like http_respond_fields without a body and without content-length. */
void http_respond_bare(struct http_req *r, int status, const struct http_field *f, size_t nf);

/* http_h1.c, http_h2.c */
void http_h1_start(struct http_conn *c);
void http_h2_start(struct http_conn *c);
void http_h2_tick(struct http_req *r);

#endif
