// SPDX-License-Identifier: Apache-2.0
/* POST on an operation: an rpc of the model, run by its service. RFC 8040 3.6, 4.4.2. */
#include <string.h>

#include "north/restconf/internal.h"

static void send(struct request *q);

static void answer_output(struct request *q) {
    struct buf out = BUF_INIT;
    struct err e;
    struct print_options o = {.format = rc_media_format(q->accept)};
    char *json = q->output != NULL ? json_dumps(q->output, JSON_COMPACT) : NULL;
    const char *text = json != NULL ? json : buf_cstr(&q->call->json);
    size_t n = json != NULL ? strlen(json) : q->call->json.len;
    if (rpc_output_print(q->rc->model, q->call->in.rpc, text, n, &o, &out, &e) != ERR_OK) {
        answer_error(q, &e);
    } else if (out.len == 0) {
        answer(q, 204, NULL, NULL, NULL, 0);
    } else {
        answer(q, 200, NULL, rc_media_name(q->accept), out.data, out.len);
    }
    free(json);
    buf_free(&out);
}

/* Long outputs come in parts: lists go on, the rest is said once. */
static bool join_part(struct request *q, struct err *e) {
    json_t *part = q->call->json.len > 0
                       ? json_loadb((char *)q->call->json.data, q->call->json.len, 0, NULL)
                       : json_object();
    const char *name;
    json_t *v;
    if (part == NULL) {
        err_set(e, ERR_INTERNAL, NULL, "the operation's output can't be read");
        return false;
    }
    if (q->output == NULL) {
        q->output = part;
        return true;
    }
    json_object_foreach(part, name, v) {
        json_t *have = json_object_get(q->output, name);
        if (json_is_array(have) && json_is_array(v)) {
            json_array_extend(have, v);
        } else {
            json_object_set(q->output, name, v);
        }
    }
    json_decref(part);
    return true;
}

static void call_back(void *arg) {
    struct request *q = arg;
    struct call *cl = q->call;
    struct err e;
    if (!request_back(q)) {
        return;
    }
    if (cl->err.code != ERR_OK) {
        answer_error(q, &cl->err);
        return;
    }
    q->output_bytes += cl->json.len;
    if (q->output_bytes > RESTCONF_OUTPUT_MAX) {
        /* Section 7: too-big with 400 is about the answer. */
        answer_status(q, 400, "too-big", "the output has more than 32 MiB; ask for less of it");
        return;
    }
    bool more = cl->cursor != NULL;
    if ((more || q->output != NULL) && !join_part(q, &e)) {
        answer_error(q, &e);
        return;
    }
    if (!more) {
        answer_output(q);
        return;
    }
    buf_clear(&cl->json);
    buf_clear(&cl->text);
    send(q);
}

static void called(struct call *cl, void *arg) {
    struct request *q = arg;
    (void)cl;
    loop_post(q->rc->cfg.loop, call_back, q);
}

static void send(struct request *q) {
    q->pending++;
    core_call(q->rc->cfg.core, q->call, called, q);
}

void run_operation(struct request *q) {
    const struct node *rpc = model_rpc(q->uri.path);
    struct err e;
    if (rpc == NULL) {
        answer_status(q, 404, "invalid-value", "there is no operation %.128s", q->uri.path);
        return;
    }
    if (q->body.len > RC_INPUT_MAX) {
        answer_status(q, 413, "too-big", "an operation's input has at most 1 MiB");
        return;
    }
    q->call = call_new(&q->who);
    q->call->force = q->uri.query.force;
    if (rpc_input_parse(q->rc->model, rpc, buf_cstr(&q->body), q->body.len,
                        rc_media_format(q->media), q->call->arena, &q->call->in, &e) != ERR_OK) {
        answer_error(q, &e);
        return;
    }
    send(q);
}
