// SPDX-License-Identifier: Apache-2.0
#include "phone-home/record.h"

#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rng.h"

/* Stored: magic u32, version u16, checksum u32 over all that follows, then the fields in the order
 * of the struct. */
enum { MAGIC = 0x57504852, HEAD = 10 };

const char *record_step_name(enum record_step s) {
    static const char *const names[STEP_COUNT] = {"new",    "same", "install", "installed",
                                                  "reboot", "up",   "failed"};
    return names[s];
}

const char *record_result_name(enum record_result r) {
    static const char *const names[RESULT_COUNT] = {"none",   "ok",      "install-failed",
                                                    "absent", "version", "unsafe"};
    return names[r];
}

void record_init(struct record *r) {
    memset(r, 0, sizeof *r);
    r->wait_ms = -1;
}

void record_free(struct record *r) {
    buf_free(&r->anchor);
    buf_free(&r->body);
    if (r->csr_key.data != NULL) {
        mem_wipe(r->csr_key.data, r->csr_key.cap);
    }
    buf_free(&r->csr_key);
    record_init(r);
}

void record_end_run(struct record *r) {
    struct record *old = mem_dup(r, sizeof *r);
    memset(&r->csr_key, 0, sizeof r->csr_key);
    record_free(r);
    r->seq = old->seq;
    r->n_avoid = old->n_avoid;
    memcpy(r->avoid, old->avoid, sizeof r->avoid);
    memcpy(r->tried, old->tried, sizeof r->tried);
    r->tries = old->tries;
    r->csr_key = old->csr_key;
    mem_free(old);
}

/* ---------------------------------------------------------------- writing */

static void print_member(struct buf *b, const struct record_member *m) {
    buf_u8(b, (uint8_t)m->id);
    buf_blob_str(b, m->serial);
    buf_u8(b, (uint8_t)m->role);
    buf_u8(b, (uint8_t)m->stage);
    buf_u8(b, (uint8_t)m->step);
    buf_u8(b, (uint8_t)m->result);
    buf_var(b, m->tries);
    buf_u8(b, m->seen_down);
    buf_blob_str(b, m->before);
}

static void print_report(struct buf *b, const struct record_report *r) {
    buf_var(b, r->seq);
    buf_u8(b, (uint8_t)r->progress);
    buf_u8(b, (uint8_t)r->notification);
    buf_u8(b, r->must);
    buf_u8(b, (uint8_t)(r->member + 1));
    buf_blob_str(b, r->serial);
    buf_u8(b, (uint8_t)r->role);
    buf_blob_str(b, r->text);
}

static void seal(uint8_t *p, size_t n) {
    uint32_t sum = crc32c(0, p + HEAD, n - HEAD);
    for (size_t i = 0; i < 4; i++) {
        p[6 + i] = (uint8_t)(sum >> (24 - 8 * i));
    }
}

void record_print(const struct record *r, struct buf *out) {
    size_t start = out->len;
    buf_u32(out, MAGIC);
    buf_u16(out, RECORD_VERSION);
    buf_u32(out, 0);
    buf_u64(out, r->run);
    buf_u64(out, (uint64_t)r->saved_s);
    buf_u8(out, (uint8_t)r->state);
    buf_u8(out, (uint8_t)(r->frozen | r->applied << 1 | r->chassis << 2 | r->strict << 3));
    buf_u64(out, (uint64_t)r->wait_ms);
    buf_var(out, r->seq);
    buf_u8(out, (uint8_t)r->source);
    buf_u8(out, (uint8_t)r->dialect);
    buf_blob_str(out, r->place);
    buf_blob_str(out, r->host);
    buf_u16(out, r->port);
    buf_u8(out, (uint8_t)r->verify);
    buf_blob(out, r->anchor.data, r->anchor.len);
    buf_u8(out, (uint8_t)r->form);
    buf_u8(out, (uint8_t)r->level);
    buf_u8(out, (uint8_t)r->body_form);
    buf_blob(out, r->body.data, r->body.len);
    buf_add(out, r->digest, sizeof r->digest);
    buf_var(out, r->n_members);
    for (size_t i = 0; i < r->n_members; i++) {
        print_member(out, &r->members[i]);
    }
    buf_var(out, r->n_reports);
    for (size_t i = 0; i < r->n_reports; i++) {
        print_report(out, &r->reports[i]);
    }
    buf_var(out, r->n_avoid);
    for (size_t i = 0; i < r->n_avoid; i++) {
        buf_blob_str(out, r->avoid[i]);
    }
    buf_blob_str(out, r->tried);
    buf_var(out, r->tries);
    buf_blob(out, r->csr_key.data, r->csr_key.len);
    seal(out->data + start, out->len - start);
}

void record_reseal(struct buf *b) {
    if (b->len >= HEAD) {
        seal(b->data, b->len);
    }
}

/* ---------------------------------------------------------------- reading */

/* A number below `n`; anything else makes the cursor bad. */
static unsigned choice(struct cur *c, unsigned n) {
    unsigned v = cur_u8(c);
    if (v >= n) {
        c->bad = true;
        return 0;
    }
    return v;
}

static uint64_t count(struct cur *c, uint64_t max) {
    uint64_t v = cur_var(c);
    if (v > max) {
        c->bad = true;
        return 0;
    }
    return v;
}

/* A text of at most size - 1 bytes without NUL. */
static void text(struct cur *c, char *out, size_t size) {
    struct cur t = cur_blob(c);
    size_t n = cur_left(&t);
    if (n >= size || (n > 0 && memchr(t.p, 0, n) != NULL)) {
        c->bad = true;
        n = 0;
    }
    if (n > 0) {
        memcpy(out, t.p, n);
    }
    out[n] = '\0';
}

static void bytes(struct cur *c, struct buf *out) {
    struct cur t = cur_blob(c);
    if (!c->bad && cur_left(&t) > 0) {
        buf_add(out, t.p, cur_left(&t));
    }
}

static void parse_member(struct cur *c, struct record_member *m) {
    m->id = (int)choice(c, SZTP_MEMBERS_MAX);
    text(c, m->serial, sizeof m->serial);
    m->role = choice(c, SZTP_LINECARD + 1);
    m->stage = choice(c, STAGE_COUNT);
    m->step = choice(c, STEP_COUNT);
    m->result = choice(c, RESULT_COUNT);
    m->tries = (unsigned)count(c, UINT16_MAX);
    m->seen_down = choice(c, 2);
    text(c, m->before, sizeof m->before);
}

static void parse_report(struct cur *c, struct record_report *r) {
    r->seq = cur_var(c);
    r->progress = choice(c, SZTP_PROGRESS_COUNT);
    r->notification = choice(c, SZTP_NOTIFICATION_COUNT + 1);
    r->must = choice(c, 2);
    r->member = (int)choice(c, SZTP_MEMBERS_MAX + 1) - 1;
    text(c, r->serial, sizeof r->serial);
    r->role = choice(c, SZTP_LINECARD + 1);
    text(c, r->text, sizeof r->text);
}

static void parse_origin(struct cur *c, struct record *r) {
    r->source = choice(c, PHC_SOURCES);
    r->dialect = choice(c, PHC_PRERFC + 1);
    text(c, r->place, sizeof r->place);
    text(c, r->host, sizeof r->host);
    r->port = cur_u16(c);
    r->verify = choice(c, PHC_ANCHOR + 1);
    bytes(c, &r->anchor);
    r->form = choice(c, SZTP_XML + 1);
    r->level = choice(c, SZTP_VERBOSE + 1);
    r->body_form = choice(c, SZTP_XML + 1);
    bytes(c, &r->body);
    const uint8_t *digest = cur_bytes(c, sizeof r->digest);
    if (digest != NULL) {
        memcpy(r->digest, digest, sizeof r->digest);
    }
}

static void parse_fields(struct cur *c, struct record *r) {
    r->run = cur_u64(c);
    r->saved_s = (int64_t)cur_u64(c);
    r->state = choice(c, PHC_ST_FAIL + 1);
    unsigned flags = choice(c, 16);
    r->frozen = flags & 1;
    r->applied = flags & 2;
    r->chassis = flags & 4;
    r->strict = flags & 8;
    r->wait_ms = (int64_t)cur_u64(c);
    if (r->wait_ms < -1) {
        c->bad = true;
    }
    r->seq = cur_var(c);
    parse_origin(c, r);
    r->n_members = count(c, SZTP_MEMBERS_MAX);
    for (size_t i = 0; i < r->n_members && !c->bad; i++) {
        parse_member(c, &r->members[i]);
    }
    r->n_reports = count(c, RECORD_REPORTS_MAX);
    for (size_t i = 0; i < r->n_reports && !c->bad; i++) {
        parse_report(c, &r->reports[i]);
    }
    r->n_avoid = count(c, RECORD_AVOID_MAX);
    for (size_t i = 0; i < r->n_avoid && !c->bad; i++) {
        text(c, r->avoid[i], sizeof r->avoid[i]);
    }
    text(c, r->tried, sizeof r->tried);
    r->tries = (unsigned)count(c, UINT16_MAX);
    bytes(c, &r->csr_key);
}

enum err_code record_parse(const void *p, size_t n, struct record *out, struct err *e) {
    record_init(out);
    struct cur c = cur_of(p, n);
    if (n < HEAD || n > RECORD_MAX || cur_u32(&c) != MAGIC) {
        return err_set(e, ERR_MALFORMED, NULL, "%zu bytes are no record of a bootstrap run", n);
    }
    unsigned version = cur_u16(&c);
    uint32_t sum = cur_u32(&c);
    if (version != RECORD_VERSION) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "the record of the bootstrap run has version %u",
                       version);
    }
    if (crc32c(0, c.p, cur_left(&c)) != sum) {
        return err_set(e, ERR_MALFORMED, NULL, "the record of the bootstrap run is damaged");
    }
    parse_fields(&c, out);
    if (c.bad || cur_left(&c) > 0) {
        record_free(out);
        return err_set(e, ERR_MALFORMED, NULL,
                       "the record of the bootstrap run says what none says");
    }
    return ERR_OK;
}

enum err_code record_check_age(const struct record *r, int64_t wall_s, int64_t max_age_ms,
                               struct err *e) {
    int64_t age_s;
    if (__builtin_sub_overflow(wall_s, r->saved_s, &age_s) || age_s > max_age_ms / 1000) {
        return err_set(e, ERR_REFUSED, NULL,
                       "the record of the bootstrap run was saved more than %lld s ago",
                       (long long)(max_age_ms / 1000));
    }
    return ERR_OK;
}

/* ---------------------------------------------------------------- its lists */

struct record_member *record_member_of(struct record *r, const char *serial) {
    for (size_t i = 0; i < r->n_members; i++) {
        if (strcmp(r->members[i].serial, serial) == 0) {
            return &r->members[i];
        }
    }
    return NULL;
}

bool record_avoids(const struct record *r, const char *place) {
    for (size_t i = 0; i < r->n_avoid; i++) {
        if (strncmp(r->avoid[i], place, RECORD_PLACE_MAX) == 0) {
            return true;
        }
    }
    return false;
}

void record_avoid(struct record *r, const char *place) {
    if (record_avoids(r, place)) {
        return;
    }
    if (r->n_avoid == RECORD_AVOID_MAX) {
        memmove(r->avoid[0], r->avoid[1], sizeof r->avoid - sizeof r->avoid[0]);
        r->n_avoid--;
    }
    snprintf(r->avoid[r->n_avoid++], sizeof r->avoid[0], "%s", place);
}
