// SPDX-License-Identifier: Apache-2.0
#include "net/h2_client.h"

#include <stdlib.h>

#include "net/http_int.h"

nghttp2_session *h2_client_session(const struct h2_client *h, void *arg) {
    nghttp2_session_callbacks *cb;
    nghttp2_option *opt;
    nghttp2_session *ng;
    if (nghttp2_session_callbacks_new(&cb) != 0 || nghttp2_option_new(&opt) != 0) {
        abort(); /* memory ran out: see base/mem.h */
    }
    nghttp2_session_callbacks_set_on_header_callback(cb, h->on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h->on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, h->on_sent_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h->on_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, h->on_stream_close);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, h->on_not_sent);
    nghttp2_option_set_no_auto_window_update(opt, 1);
    nghttp2_option_set_no_closed_streams(opt, 1);
    if (nghttp2_session_client_new2(&ng, cb, arg, opt) != 0) {
        abort();
    }
    nghttp2_option_del(opt);
    nghttp2_session_callbacks_del(cb);
    nghttp2_settings_entry iv[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, h->stream_window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, h->head_max},
    };
    nghttp2_submit_settings(ng, NGHTTP2_FLAG_NONE, iv, sizeof iv / sizeof iv[0]);
    nghttp2_session_set_local_window_size(ng, NGHTTP2_FLAG_NONE, 0, h->conn_window);
    return ng;
}

const char *h2_client_pump(nghttp2_session *ng, struct stream *const *s) {
    while (*s != NULL && stream_queued(*s) < HTTP_CONN_HIGH) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(ng, &p);
        if (n < 0) {
            return nghttp2_strerror((int)n);
        }
        if (n == 0) {
            break;
        }
        if (*s != NULL) { /* who was told that there is room has closed it, perhaps */
            stream_write(*s, p, (size_t)n);
        }
    }
    bool over = !nghttp2_session_want_read(ng) && !nghttp2_session_want_write(ng);
    return *s != NULL && over ? "closed by the server" : NULL;
}
