// SPDX-License-Identifier: Apache-2.0
/*
 * A connection: bytes in order both ways over TCP, a unix socket, or TLS on either. Non-blocking,
 * on one loop. Output is queued and written at the end of the loop's turn, so many small writes
 * make one system call and one TLS record. net/ only; dialects use http.h and grpc.h.
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/loop.h"
#include "net/tls.h"

struct stream;

/* How `why` begins when the peer's certificate ended the handshake. In `closed` of a server
 * stream_tls_peer() is that certificate then, not verified. */
#define STREAM_BAD_CERTIFICATE "TLS: the peer's certificate: "

struct stream_ops {
    /* Usable: connected, and the TLS handshake is over. From the loop, not from stream_*(). */
    void (*ready)(struct stream *s, void *arg);
    void (*data)(struct stream *s, const uint8_t *p, size_t n, void *arg); /* takes all of it */
    void (*sent)(struct stream *s, void *arg); /* some queued output went out */
    /* The peer closed (why: "closed by the peer") or the connection failed. The owner then calls
     * stream_free. No further callback comes. */
    void (*closed)(struct stream *s, const char *why, void *arg);
};

/* Takes over a connected descriptor (made non-blocking). tls NULL: plain. */
struct stream *stream_accepted(struct loop *l, int fd, struct tls_ctx *tls,
                               const struct stream_ops *ops, void *arg);

struct stream_target {
    const char *host; /* name or literal address; with port */
    uint16_t port;
    const char *unix_path;   /* instead */
    struct tls_ctx *tls;     /* NULL: plain */
    const char *verify_name; /* NULL: host */
};
/* Never NULL: failures come through `closed`. The addresses of a name are tried in turn. The caller
 * keeps the time. Strings are copied. */
struct stream *stream_connect(struct loop *l, const struct stream_target *t,
                              const struct stream_ops *ops, void *arg);

void stream_write(struct stream *s, const void *p, size_t n); /* copies */
size_t stream_queued(const struct stream *s);
void stream_pause(struct stream *s, bool pause); /* stop or resume reading; a peer that goes away is
                                                    still noticed */
void stream_set_ops(struct stream *s, const struct stream_ops *ops, void *arg);
void stream_shutdown(struct stream *s); /* no more output after what is queued; reading goes on */
void stream_free(struct stream *s);     /* closes at once; allowed in callbacks. NULL is allowed */

bool stream_is_ready(const struct stream *s);
const struct tls_peer *stream_tls_peer(const struct stream *s); /* NULL: no TLS or not ready */
bool stream_alpn_is(const struct stream *s, const char *protocol);
int stream_fd(const struct stream *s);
/* Byte counters of the owner that the stream adds to; may be NULL. */
void stream_count(struct stream *s, uint64_t *in, uint64_t *out);
int64_t stream_last_sent(const struct stream *s); /* loop time of the last progress in writing */

#endif
