// SPDX-License-Identifier: Apache-2.0
/* What the two ends of gRPC share; net/ only. */
#ifndef NET_GRPC_INT_H
#define NET_GRPC_INT_H

#include "base/list.h"
#include "net/grpc.h"
#include "net/grpc_frame.h"
#include "net/http_int.h"

enum { GRPC_HIGH = 256 << 10, GRPC_METADATA_MAX = 16 << 10 };

struct grpc_call {
    struct loop *loop;
    const struct grpc_call_ops *ops;
    void *arg;
    struct grpc_frames in;
    struct buf rest; /* came while paused */
    bool paused;
    bool in_done;  /* the peer sends no more; told after `rest` */
    bool out_done; /* grpc_finish, grpc_send_end */
    bool over;     /* the client's queue was over the high mark */
    bool ended;    /* `status` is known; no callback but `closed` */
    enum grpc_code status;
    char *message;    /* of the status; may be NULL */
    int64_t deadline; /* loop time; 0: none */
    struct loop_timer *timer;
    struct loop_deferred work;
    /* server */
    struct http_req *r;
    struct grpc_server *server;
    size_t counted; /* of r's connection's partial messages */
    /* client */
    struct list link;
    struct grpc_channel *ch;
    int32_t stream_id; /* 0: gone */
    int http_status;
    bool trailers_seen;
    struct buf metadata; /* name NUL value NUL ... */
    struct buf out;
    size_t out_at;
};

/* Feeds bytes; messages go to the dialect until it pauses or the call ends. What is left over waits
 * in c->rest. On a framing error c->status and c->message are set and false is returned. */
bool grpc_call_feed(struct grpc_call *c, const uint8_t *p, size_t n);
void grpc_call_free(struct grpc_call *c);
void grpc_call_set_status(struct grpc_call *c, enum grpc_code status, const char *message);
/* grpc-message is percent-encoded. */
void grpc_message_encode(struct buf *out, const char *s);
char *grpc_message_decode(const char *s, size_t n); /* mem_free */
/* "100m" to milliseconds, rounded up; -1 when malformed. */
int64_t grpc_timeout_parse(const char *s);
void grpc_timeout_format(char out[16], int64_t ms);

/* grpc_client.c */
size_t grpc_client_send(struct grpc_call *c, const void *p, size_t n);
void grpc_client_resume(struct grpc_call *c);

#endif
