// SPDX-License-Identifier: Apache-2.0
#include "phone-home/stack/wire.h"

#include <string.h>

enum { MAGIC = 0x5753544b, VERSION = 1 };

bool stack_text_ok(const char *s, size_t max) {
    size_t n = strlen(s);
    if (n == 0 || n > max || s[0] == ' ' || s[n - 1] == ' ') {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (s[i] < ' ' || s[i] > '~') {
            return false;
        }
    }
    return true;
}

/* Text of at most `max` bytes into `out`, which has room for one more. */
static void get_text(struct cur *in, char *out, size_t max) {
    struct cur b = cur_blob(in);
    size_t n = cur_left(&b);
    out[0] = '\0';
    if (in->bad || n > max) {
        in->bad = true;
        return;
    }
    memcpy(out, b.p, n);
    out[n] = '\0';
    if (n > 0 && (strlen(out) != n || !stack_text_ok(out, max))) {
        in->bad = true;
    }
}

static void get_serial(struct cur *in, stack_serial out, bool may_be_empty) {
    get_text(in, out, STACK_SERIAL_MAX);
    if (out[0] == '\0' && !may_be_empty) {
        in->bad = true;
    }
}

/* ---------------------------------------------------------------- hello */

static void put_hello(const struct stack_hello *h, struct buf *out) {
    buf_blob_str(out, h->serial);
    buf_blob_str(out, h->port);
    buf_u64(out, h->incarnation);
    buf_blob_str(out, h->heard);
    buf_u64(out, h->heard_incarnation);
    buf_u64(out, h->digest);
}

static void get_hello(struct cur *in, struct stack_hello *h) {
    get_serial(in, h->serial, false);
    get_text(in, h->port, STACK_PORT_MAX);
    h->incarnation = cur_u64(in);
    get_serial(in, h->heard, true);
    h->heard_incarnation = cur_u64(in);
    h->digest = cur_u64(in);
}

/* ---------------------------------------------------------------- chassis */

void stack_chassis_write(const struct stack_chassis *c, struct buf *out) {
    buf_u64(out, c->term);
    buf_u32(out, c->version);
    buf_blob_str(out, c->owner);
    buf_blob_str(out, c->backup);
    buf_u8(out, c->frozen);
    buf_blob_str(out, c->frozen_primary);
    buf_u8(out, (uint8_t)c->n);
    for (size_t i = 0; i < c->n; i++) {
        buf_blob_str(out, c->ids[i].serial);
        buf_u8(out, c->ids[i].id);
    }
}

bool stack_chassis_read(struct cur *in, struct stack_chassis *c) {
    *c = (struct stack_chassis){.term = cur_u64(in)};
    unsigned taken = 0;
    c->version = cur_u32(in);
    get_serial(in, c->owner, c->term == 0);
    get_serial(in, c->backup, true);
    c->frozen = cur_u8(in) != 0;
    get_serial(in, c->frozen_primary, !c->frozen);
    c->n = cur_u8(in);
    if (c->n > STACK_MEMBERS_MAX) {
        in->bad = true;
        c->n = 0;
    }
    for (size_t i = 0; i < c->n && !in->bad; i++) {
        get_serial(in, c->ids[i].serial, false);
        c->ids[i].id = cur_u8(in);
        if (c->ids[i].id >= STACK_MEMBERS_MAX || (taken & 1U << c->ids[i].id) != 0) {
            in->bad = true;
            break;
        }
        taken |= 1U << c->ids[i].id;
        for (size_t j = 0; j < i; j++) {
            in->bad = in->bad || strcmp(c->ids[j].serial, c->ids[i].serial) == 0;
        }
    }
    return !in->bad;
}

/* ---------------------------------------------------------------- link state */

static void put_lsa(const struct stack_lsa *l, struct buf *out) {
    buf_blob_str(out, l->serial);
    buf_u64(out, l->incarnation);
    buf_u32(out, l->seq);
    buf_u8(out, l->flags);
    buf_u8(out, l->priority);
    buf_u8(out, l->id);
    buf_blob_str(out, l->model);
    buf_blob_str(out, l->os_name);
    buf_blob_str(out, l->os_version);
    buf_u64(out, l->since);
    buf_u64(out, l->seen_term);
    buf_u32(out, l->seen_version);
    buf_blob_str(out, l->seen_owner);
    buf_u8(out, (uint8_t)l->n_neighbours);
    for (size_t i = 0; i < l->n_neighbours; i++) {
        buf_blob_str(out, l->neighbours[i].serial);
        buf_u64(out, l->neighbours[i].incarnation);
        buf_blob_str(out, l->neighbours[i].port);
    }
    if (l->flags & STACK_CLAIM) {
        stack_chassis_write(&l->chassis, out);
    }
}

static void get_lsa(struct cur *in, struct stack_lsa *l) {
    get_serial(in, l->serial, false);
    l->incarnation = cur_u64(in);
    l->seq = cur_u32(in);
    l->flags = cur_u8(in);
    l->priority = cur_u8(in);
    l->id = cur_u8(in);
    if (l->id >= STACK_MEMBERS_MAX && l->id != STACK_ID_NONE) {
        in->bad = true;
    }
    get_text(in, l->model, STACK_TEXT_MAX);
    get_text(in, l->os_name, STACK_TEXT_MAX);
    get_text(in, l->os_version, STACK_TEXT_MAX);
    l->since = cur_u64(in);
    l->seen_term = cur_u64(in);
    l->seen_version = cur_u32(in);
    get_serial(in, l->seen_owner, true);
    l->n_neighbours = cur_u8(in);
    if (l->n_neighbours > STACK_LINKS_MAX) {
        in->bad = true;
        l->n_neighbours = 0;
    }
    for (size_t i = 0; i < l->n_neighbours && !in->bad; i++) {
        get_serial(in, l->neighbours[i].serial, false);
        l->neighbours[i].incarnation = cur_u64(in);
        get_text(in, l->neighbours[i].port, STACK_PORT_MAX);
    }
    if (l->flags & STACK_CLAIM) {
        stack_chassis_read(in, &l->chassis);
        if (strcmp(l->chassis.owner, l->serial) != 0 || l->chassis.term == 0) {
            in->bad = true;
        }
    }
}

/* ---------------------------------------------------------------- messages */

static void put_message(const struct stack_message *m, struct buf *out) {
    buf_u8(out, m->ttl);
    buf_blob_str(out, m->from);
    buf_blob_str(out, m->to);
    buf_u8(out, (uint8_t)m->kind);
    buf_u64(out, m->id);
    switch (m->kind) {
    case STACK_OFFER:
        buf_u8(out, (uint8_t)m->file);
        buf_u64(out, m->size);
        buf_add(out, m->digest, STACK_DIGEST);
        buf_blob_str(out, m->text);
        break;
    case STACK_HAVE:
    case STACK_ACK:
        buf_u64(out, m->offset);
        break;
    case STACK_DATA:
        buf_u64(out, m->offset);
        buf_blob(out, m->bytes, m->n);
        break;
    case STACK_DONE:
        buf_u8(out, (uint8_t)m->code);
        buf_blob_str(out, m->text);
        break;
    case STACK_REBOOT:
        buf_u64(out, m->incarnation);
        buf_u8(out, m->zeroize);
        break;
    case STACK_REBOOTED:
        break;
    }
}

static void get_data(struct cur *in, struct stack_message *m) {
    m->offset = cur_u64(in);
    struct cur b = cur_blob(in);
    m->bytes = b.p;
    m->n = cur_left(&b);
    if (m->n > STACK_CHUNK) {
        in->bad = true;
    }
}

static void get_message(struct cur *in, struct stack_message *m) {
    m->ttl = cur_u8(in);
    get_serial(in, m->from, false);
    get_serial(in, m->to, false);
    m->kind = (enum stack_kind)cur_u8(in);
    m->id = cur_u64(in);
    switch (m->kind) {
    case STACK_OFFER:
        m->file = (enum stack_file)cur_u8(in);
        if (m->file < STACK_FILE_RECORD || m->file > STACK_FILE_CONFIG) {
            in->bad = true;
        }
        m->size = cur_u64(in);
        const uint8_t *d = cur_bytes(in, STACK_DIGEST);
        if (d != NULL) {
            memcpy(m->digest, d, STACK_DIGEST);
        }
        get_text(in, m->text, sizeof m->text - 1);
        break;
    case STACK_HAVE:
    case STACK_ACK:
        m->offset = cur_u64(in);
        break;
    case STACK_DATA:
        get_data(in, m);
        break;
    case STACK_DONE:
        m->code = (enum err_code)cur_u8(in);
        if (m->code > ERR_INTERNAL) {
            in->bad = true;
        }
        get_text(in, m->text, sizeof m->text - 1);
        break;
    case STACK_REBOOT:
        m->incarnation = cur_u64(in);
        m->zeroize = cur_u8(in) != 0;
        break;
    case STACK_REBOOTED:
        break;
    default:
        in->bad = true;
    }
}

/* ---------------------------------------------------------------- frames */

void stack_frame_write(const struct stack_frame *f, struct buf *out) {
    buf_u32(out, MAGIC);
    buf_u8(out, VERSION);
    buf_u8(out, (uint8_t)f->type);
    switch (f->type) {
    case STACK_HELLO:
        put_hello(&f->u.hello, out);
        break;
    case STACK_LSA:
        put_lsa(&f->u.lsa, out);
        break;
    case STACK_MESSAGE:
        put_message(&f->u.message, out);
        break;
    }
}

enum err_code stack_frame_read(const void *p, size_t n, struct stack_frame *out, struct err *e) {
    struct cur in = cur_of(p, n);
    memset(out, 0, sizeof *out);
    uint32_t magic = cur_u32(&in);
    uint8_t version = cur_u8(&in);
    uint8_t type = cur_u8(&in);
    if (in.bad || n > STACK_FRAME_MAX || magic != MAGIC) {
        return err_set(e, ERR_MALFORMED, "frame", "is none of a stack's");
    }
    if (version != VERSION) {
        return err_set(e, ERR_UNSUPPORTED, "frame", "is of version %u, not %u", version, VERSION);
    }
    const char *what = "frame";
    out->type = (enum stack_type)type;
    switch (out->type) {
    case STACK_HELLO:
        what = "hello";
        get_hello(&in, &out->u.hello);
        break;
    case STACK_LSA:
        what = "link state";
        get_lsa(&in, &out->u.lsa);
        break;
    case STACK_MESSAGE:
        what = "message";
        get_message(&in, &out->u.message);
        break;
    default:
        in.bad = true;
    }
    /* Ethernet pads short frames with zeroes: what follows is not looked at. */
    return in.bad ? err_set(e, ERR_MALFORMED, what, "is cut short or has a field out of range")
                  : ERR_OK;
}
