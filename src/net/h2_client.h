// SPDX-License-Identifier: Apache-2.0
/* What our two HTTP/2 clients, http_client.c and grpc_client.c, share of a connection; net/ only.
 */
#ifndef NET_H2_CLIENT_H
#define NET_H2_CLIENT_H

#include <nghttp2/nghttp2.h>

#include "net/stream.h"

struct h2_client {
    nghttp2_on_header_callback on_header;
    nghttp2_on_frame_recv_callback on_frame;
    nghttp2_on_frame_send_callback on_sent_frame; /* may be NULL */
    nghttp2_on_data_chunk_recv_callback on_chunk;
    nghttp2_on_stream_close_callback on_stream_close;
    nghttp2_on_frame_not_send_callback on_not_sent;
    uint32_t stream_window; /* bytes of an answer that may wait for credit */
    int32_t conn_window;    /* of all of them; credit is given when half of it is used */
    uint32_t head_max;      /* bytes of an answer's fields, as the server is told */
};
/* Without push; credit is given by nghttp2_session_consume alone. Never NULL; nghttp2_session_del.
 */
nghttp2_session *h2_client_session(const struct h2_client *h, void *arg);

/* Frames as much as the server takes. Reading goes on while it takes nothing: it stops reading when
 * we do not, so if we did the same both could wait for ever. What we hold is bounded by the credit
 * that it has, and its control frames by nghttp2. Callbacks may end the connection: *s is NULL
 * then. Returns why the connection is over; NULL: it goes on, or ended in a callback. */
const char *h2_client_pump(nghttp2_session *ng, struct stream *const *s);

#endif
