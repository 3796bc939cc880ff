// SPDX-License-Identifier: Apache-2.0
/*
 * The HTTP server: HTTP/1.1 and HTTP/2 behind one streaming request interface, on TCP, TLS (h2 or
 * http/1.1 by ALPN on one port) and unix sockets.
 *
 * The life of a request. The server's handler is called when the headers are complete. It looks at
 * the request, installs callbacks with http_req_set_ops() (or http_collect(), for bodies wanted
 * whole) and returns. It may answer at once or at any time later, from the loop's thread. `closed`
 * is the last callback and comes exactly once for every request that was given to the handler, also
 * when the peer went away: after it the pointer is dead. A worker that answers later keeps the
 * pointer in an object of its own and clears it in `closed`. No callback other than `closed` comes
 * from inside an http_* call.
 *
 * What a peer may cost is bounded by struct http_limits; every bound that is hit is counted.
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ip.h"
#include "net/loop.h"
#include "net/tls.h"

struct http_server;
struct http_req;

enum { HTTP_STREAM_WINDOW = 128 << 10 }; /* h2: bytes of one body that wait while it is paused */

/* ------------------------------------------------------------------ server */

struct http_limits {
    unsigned max_conns;          /* of the server */
    unsigned max_conns_per_peer; /* an IPv4 address, an IPv6 /64, a unix uid */
    unsigned max_greeting;       /* of a peer's connections: those still in the TLS handshake */
    size_t max_header_bytes;     /* request line or pseudo-headers and all fields */
    unsigned max_headers;
    unsigned max_streams;   /* h2: requests open at once on a connection */
    size_t conn_window;     /* h2: bytes of bodies that a connection may have on the way and with
                               paused requests; these hold up others when they have half of it */
    unsigned max_requests;  /* on one connection, then it is closed politely; 0: no bound */
    unsigned max_resets;    /* h2: streams that ended before they were answered, per 10 s */
    unsigned max_control;   /* h2: PING, SETTINGS, PRIORITY and empty frames, per 10 s */
    int64_t header_ms;      /* from accept or the first byte to complete headers, in total */
    int64_t idle_ms;        /* a connection without a request */
    int64_t body_grace_ms;  /* a body may be slower than the rate for this long */
    size_t body_min_rate;   /* bytes/s on average after the grace, while we are reading */
    int64_t write_stall_ms; /* output waits and the peer takes nothing for this long */
    size_t queue_high;      /* bytes of response queued: above it, wait for `drained` */
    size_t queue_max;       /* above it the request is cut: its producer ignores back-pressure */
    size_t max_collected; /* of http_collect, all requests together; small bodies may go over it */
};
extern const struct http_limits http_limits_default;
/* Brings what one peer may have down to less than max_conns, so that none is everybody. */
void http_limits_fit(struct http_limits *lim);

typedef void http_handler(struct http_req *r, void *arg);

/* `limits` NULL: the defaults; copied. */
struct http_server *http_server_new(struct loop *l, const struct http_limits *limits,
                                    http_handler *handler, void *arg);
enum {
    HTTP_H2C = 1, /* plaintext HTTP/2 with prior knowledge is accepted beside HTTP/1.1 */
};
/* `tls` NULL: plaintext; otherwise the server takes a reference. Port 0: any; *bound (may be NULL)
 * gets the one chosen. ERR_IO/ERR_IN_USE with address and reason. */
enum err_code http_listen_tcp(struct http_server *s, const struct ip_addr *addr, uint16_t port,
                              struct tls_ctx *tls, unsigned flags, uint16_t *bound, struct err *e);
/* Replaces a stale socket file (one nobody listens on), never another file. The path is removed by
 * http_server_free. `mode` as in chmod. */
enum err_code http_listen_unix(struct http_server *s, const char *path, mode_t mode, unsigned flags,
                               struct err *e);
/* Serves a connected socket that was accepted elsewhere, or one end of a socketpair. Takes it over.
 */
void http_server_adopt(struct http_server *s, int fd, struct tls_ctx *tls, unsigned flags);
/* Takes no new connections, lets running requests end (h2: GOAWAY), closes the rest after grace_ms,
 * then calls done (may be NULL). */
void http_server_shutdown(struct http_server *s, int64_t grace_ms, loop_fn *done, void *arg);
void http_server_free(struct http_server *s); /* cuts what is left, `closed` is called; not from a
                                                 callback of this server. NULL is allowed */

/* X(name, help): the metrics dialect prints these. Gauges are open_*. */
#define HTTP_COUNTERS(X)                                                                           \
    X(open_conns, "connections open now")                                                          \
    X(open_requests, "requests given to handlers and not closed yet")                              \
    X(accepted, "connections accepted")                                                            \
    X(requests, "requests given to handlers")                                                      \
    X(requests_h2, "of them over HTTP/2")                                                          \
    X(aborted, "requests whose peer went away before the answer was complete")                     \
    X(bytes_in, "bytes received; of TLS, its content")                                             \
    X(bytes_out, "bytes sent; of TLS, its content")                                                \
    X(tls_failed, "TLS handshakes that failed")                                                    \
    X(refused_conns, "connections over the limits of server or peer")                              \
    X(bad_requests, "requests refused as malformed")                                               \
    X(too_big, "requests whose head or body was over a bound")                                     \
    X(timeout_header, "connections cut by the header deadline")                                    \
    X(timeout_body, "requests cut by the minimum body rate")                                       \
    X(timeout_idle, "idle connections closed")                                                     \
    X(timeout_write, "connections cut because the peer stopped reading")                           \
    X(flood, "h2 connections cut for resets, control frames or endless headers")                   \
    X(events_dropped, "events replaced by a resync")
struct http_counters {
#define X(name, help) uint64_t name;
    HTTP_COUNTERS(X)
#undef X
};
/* Called instead of the built-in plain text when the server itself answers a request that a handler
 * was given (413, 408, 400 for a broken body), so that a dialect can answer in its own form: it
 * gives one whole response, with http_respond. */
typedef void http_error_writer(struct http_req *r, int status, const char *why, void *arg);
void http_server_on_error(struct http_server *s, http_error_writer *fn, void *arg);
/* Told of TLS handshakes that failed, except those that the peer only cut off: `peer->tls` is the
 * certificate that was refused, not verified; NULL: it failed by something else. Both are valid
 * during the call. */
struct http_peer;
typedef void http_turned_away(const struct http_peer *peer, const char *why, void *arg);
void http_server_on_turned_away(struct http_server *s, http_turned_away *fn, void *arg);
/* Asked at the start of each response for one field more; false: none. `value` is a place for its
 * value, of HTTP_EXTRA_MAX bytes. */
enum { HTTP_EXTRA_MAX = 64 };
struct http_field;
typedef bool http_extra(struct http_field *field, char value[HTTP_EXTRA_MAX], void *arg);
void http_server_on_response(struct http_server *s, http_extra *fn, void *arg);
const struct http_counters *http_server_counters(const struct http_server *s);
struct loop *http_server_loop(const struct http_server *s);

/* ------------------------------------------------------------------ request */

const char *http_method(const struct http_req *r);    /* "GET" */
const char *http_raw_path(const struct http_req *r);  /* as sent, without the query: "/a%2Fb" */
const char *http_path(const struct http_req *r);      /* percent-decoded: "/a/b" */
const char *http_query(const struct http_req *r);     /* as sent, without '?'; "" when none */
const char *http_authority(const struct http_req *r); /* Host or :authority; "" when none */
const char *http_scheme(const struct http_req *r);    /* "https" on TLS, else "http" */
int http_version(const struct http_req *r);           /* 10, 11 or 20 */
/* First field of that name (lower-case), NULL when absent. */
const char *http_header(const struct http_req *r, const char *name);
unsigned http_header_count(const struct http_req *r);
/* The i-th field in order of arrival; names are lower-case. */
void http_header_at(const struct http_req *r, unsigned i, const char **name, const char **value);
/* Decoded value of a query parameter in a buffer the caller frees with mem_free; NULL when absent.
 * '+' is not a space (RFC 3986). A bad escape reads as absent. */
char *http_query_get(const struct http_req *r, const char *name);
/* Announced body length; -1 when not known in advance, 0 when there is none. */
int64_t http_body_length(const struct http_req *r);

enum http_peer_kind { HTTP_PEER_TCP, HTTP_PEER_TLS, HTTP_PEER_UNIX };
struct http_peer {
    enum http_peer_kind kind;
    struct ip_addr addr; /* TCP, TLS */
    uint16_t port;
    uid_t uid; /* unix */
    gid_t gid;
    pid_t pid;
    const struct tls_peer *tls; /* TLS; NULL otherwise. See its `verified` */
    char text[80];              /* "192.0.2.1:4711", "[2001:db8::1]:4711", "unix:uid=0" */
};
const struct http_peer *http_peer(const struct http_req *r);

struct http_req_ops {
    /* A piece of the body; p is valid during the call. */
    void (*body)(struct http_req *r, const uint8_t *p, size_t n, void *arg);
    void (*body_end)(struct http_req *r, void *arg); /* the body is complete */
    void (*drained)(struct http_req *r, void *arg); /* queue was over queue_high and is low again */
    /* Last. `aborted`: the peer (or a limit) cut it before the response was complete. */
    void (*closed)(struct http_req *r, bool aborted, void *arg);
};
/* Any callback may be NULL; a body without `body` is read and dropped. `ops` is not copied. */
void http_req_set_ops(struct http_req *r, const struct http_req_ops *ops, void *arg);
/* Back-pressure upwards: while paused no more body is read (at most one window stays buffered). */
void http_req_pause(struct http_req *r, bool pause);
/* A slow reader of this response is not cut (its own keepalive watches it). */
void http_req_lazy(struct http_req *r);

/* Reads the whole body up to `cap` bytes, then calls done once with it (the buffer is the
 * request's; buf_take it to keep it). Over the cap the server answers 413 itself, over
 * max_collected 503, and done is not called. Keeps the `closed` and `drained` callbacks installed
 * by http_req_set_ops; `body` and `body_end` are not called. `done` comes after the handler
 * returns, also for empty bodies. */
typedef void http_collected(struct http_req *r, struct buf *body, void *arg);
void http_collect(struct http_req *r, size_t cap, http_collected *done, void *arg);

/* ------------------------------------------------------------------ response */

struct http_field {
    const char *name; /* lower-case */
    const char *value;
};

/* Interim and final responses are checked: a name or value that could split a response is a bug in
 * the caller and ends the request with 500. */

/* Whole answer in one call; content_type NULL: none. HEAD gets the length and no body. */
void http_respond(struct http_req *r, int status, const char *content_type, const void *body,
                  size_t n);
void http_respond_fields(struct http_req *r, int status, const struct http_field *f, size_t nf,
                         const void *body, size_t n);
/* In pieces. `length` is the body's, -1 when not known (chunked on HTTP/1.1). */
void http_start(struct http_req *r, int status, const struct http_field *f, size_t nf,
                int64_t length);
/* Copies n bytes into the queue; returns the bytes now queued for this request. Over queue_high the
 * caller should wait for `drained`; over queue_max the request is cut. */
size_t http_write(struct http_req *r, const void *p, size_t n);
void http_end(struct http_req *r);
/* Ends with trailers (h2, or chunked). Used by gRPC. */
void http_end_trailers(struct http_req *r, const struct http_field *f, size_t nf);
size_t http_queued(const struct http_req *r);
size_t http_queue_high(const struct http_req *r);
bool http_started(const struct http_req *r); /* a final status was given */
/* Cuts the request: h2 RST_STREAM with the code, h1 closes the connection. `closed` follows. */
void http_abort(struct http_req *r, uint32_t h2_code);
const char *http_status_text(int status); /* "Not Found"; "" when unknown */

/* ------------------------------------------------------------------ event streams */

/* Server-sent events. When more than max_queued bytes wait for a slow client, what follows is
 * dropped; once the queue is low again the client gets a single `event: resync`, and new events
 * after it. */
struct http_events;
/* Answers 200 text/event-stream. `closed` (may be NULL) is called once when the client has gone or
 * http_events_end was called; the handle is dead after it. Replaces the request's ops.
 * `max_queued` 0: queue_high. A comment line is sent every 15 s to find dead peers. */
struct http_events *http_events_start(struct http_req *r, const struct http_field *f, size_t nf,
                                      size_t max_queued, loop_fn *closed, void *arg);
/* id and event may be NULL; data may have several lines. False when it was dropped (a resync will
 * come in its place). */
bool http_events_send(struct http_events *ev, const char *id, const char *event, const char *data);
bool http_events_behind(const struct http_events *ev);
void http_events_end(struct http_events *ev);

/* ------------------------------------------------------------------ helpers */

/* Percent-decodes n bytes into out (room for n + 1, NUL-terminated). False on a bad escape or %00.
 */
bool http_pct_decode(const char *p, size_t n, char *out);
/* Percent-encodes everything but unreserved characters (RFC 3986 2.3). */
void http_pct_encode(struct buf *out, const char *s);

#endif
