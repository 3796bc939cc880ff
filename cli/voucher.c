// SPDX-License-Identifier: Apache-2.0
#include "voucher.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "client.h"
#include "net/pki.h"
#include "sztp/trust.h"

enum { DAY_S = 86400, AUTHORITY_DAYS = 7300, SIGNER_DAYS = 3650 };

static const char usage[] =
    "Usage: weft voucher COMMAND [OPTION]...\n"
    "Ownership vouchers (RFC 8366) for devices that you make yourself. Needs no daemon.\n"
    "\n"
    "  init FOLDER             make an authority there: anchor.pem goes into devices, masa.pem "
    "and\n"
    "                          masa.key sign vouchers, anchor.key is kept elsewhere\n"
    "      --name NAME         of the authority (weft MASA)\n"
    "  issue                   sign a voucher\n"
    "      --masa FOLDER       the authority\n"
    "      --serial NUMBER     the device's serial number\n"
    "      --pinned FILE       the owner's certificate that the device is to believe (PEM)\n"
    "      --assertion WORD    verified (default), logged or proximity\n"
    "      --days N            good for N days, or ...\n"
    "      --expires TIME      ... until then (2027-01-31T00:00:00Z), or ...\n"
    "      --nonce BASE64      ... for the one request that had this nonce, or ...\n"
    "      --unlimited         ... for ever\n"
    "      --idevid FILE       the device's certificate: the voucher is for its issuer's devices "
    "alone\n"
    "      --revocation        the device is to look at revocation lists\n"
    "      --renew-until TIME  it may be renewed until then\n"
    "      --out FILE          NUMBER.vcj when not given; - is the standard output\n"
    "  renew FILE              sign it anew, for as long as before or as --days or --expires say\n"
    "      --masa FOLDER, --days N, --expires TIME, --out FILE (FILE itself)\n"
    "  show FILE               what it says\n"
    "  verify FILE             what a device would say of it\n"
    "      --anchor FILE       whose vouchers the device believes (PEM)\n"
    "      --serial NUMBER     the device's; that of the voucher when not given\n"
    "      --idevid FILE       the device's certificate\n"
    "      --nonce BASE64      that the device sent\n"
    "      --at TIME           the device's clock; now when not given\n"
    "      --owner FILE --conveyed FILE\n"
    "                          an owner certificate and conveyed information that go with it\n";

struct args {
    const char *name, *masa, *serial, *pinned, *assertion, *days, *expires, *nonce, *idevid, *until,
        *out, *anchor, *at, *owner, *conveyed;
    bool unlimited, revocation;
    const char *file; /* or folder */
};

/* ---- files --------------------------------------------------------------------------------------
 */

static enum err_code read_file(const char *path, struct buf *out, struct err *e) {
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (f == NULL) {
        return err_errno(e, errno, path, "the file can't be read");
    }
    size_t n = 1;
    while (n > 0 && out->len <= CMS_DER_MAX) {
        n = fread(buf_extend(out, 65536), 1, 65536, f);
        out->len -= 65536 - n;
    }
    bool bad = ferror(f) != 0;
    if (f != stdin) {
        fclose(f);
    }
    return bad ? err_errno(e, EIO, path, "the file can't be read")
           : out->len > CMS_DER_MAX
               ? err_set(e, ERR_TOO_BIG, path, "is larger than %d bytes", CMS_DER_MAX)
               : ERR_OK;
}

/* DER, or the Base64 of it as other tools write it. */
static enum err_code read_der(const char *path, struct buf *out, struct err *e) {
    struct buf text = BUF_INIT;
    enum err_code rc = read_file(path, &text, e);
    if (rc == ERR_OK && text.len > 0 && text.data[0] != 0x30 &&
        cms_unbase64((const char *)text.data, text.len, out, e) == ERR_OK) {
        buf_free(&text);
        return ERR_OK;
    }
    if (rc == ERR_OK) {
        buf_add(out, text.data, text.len);
    }
    buf_free(&text);
    return rc;
}

/* The first certificate of a PEM file. */
static enum err_code read_cert(const char *path, struct buf *der, struct err *e) {
    struct cms_certs *c = cms_certs_new();
    enum err_code rc = cms_certs_add_file(c, path, e);
    if (rc == ERR_OK && cms_certs_count(c) == 0) {
        rc = err_set(e, ERR_INVALID, path, "holds no certificate");
    } else if (rc == ERR_OK) {
        cms_certs_der(c, 0, der);
    }
    cms_certs_free(c);
    return rc;
}

static enum err_code write_out(const char *path, const struct buf *b, struct err *e) {
    if (strcmp(path, "-") != 0) {
        return file_write(path, b->data, b->len, 0644, e);
    }
    return fwrite(b->data, 1, b->len, stdout) == b->len && fflush(stdout) == 0
               ? ERR_OK
               : err_errno(e, errno, NULL, "the standard output can't be written");
}

static void path_in(char *out, size_t size, const char *folder, const char *name) {
    snprintf(out, size, "%s/%s", folder, name);
}

/* ---- values -------------------------------------------------------------------------------------
 */

static enum err_code take_time(const char *option, const char *text, int64_t *out, struct err *e) {
    if (text != NULL && (!time_parse(text, out) || *out <= 0)) {
        return err_set(e, ERR_INVALID, option, "\"%s\" is no time such as 2027-01-31T00:00:00Z",
                       text);
    }
    return ERR_OK;
}

static enum err_code take_days(const char *text, int64_t *out, struct err *e) {
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || n < 1 || n > PKI_DAYS_MAX) {
        return err_set(e, ERR_INVALID, "--days", "is a number from 1 to %d", PKI_DAYS_MAX);
    }
    *out = (int64_t)n * DAY_S;
    return ERR_OK;
}

static enum err_code take_nonce(const char *text, uint8_t out[VOUCHER_NONCE_MAX], size_t *len,
                                struct err *e) {
    struct buf b = BUF_INIT;
    enum err_code rc = cms_unbase64(text, strlen(text), &b, e);
    if (rc != ERR_OK || b.len < VOUCHER_NONCE_MIN || b.len > VOUCHER_NONCE_MAX) {
        rc = err_set(e, ERR_INVALID, "--nonce", "is the Base64 of %d to %d octets",
                     VOUCHER_NONCE_MIN, VOUCHER_NONCE_MAX);
    } else {
        memcpy(out, b.data, b.len);
        *len = b.len;
    }
    buf_free(&b);
    return rc;
}

static enum err_code take_akid(const char *path, uint8_t out[CMS_AKID_MAX], size_t *len,
                               struct err *e) {
    struct buf der = BUF_INIT;
    enum err_code rc = read_cert(path, &der, e);
    rc = rc == ERR_OK ? cms_akid_of(der.data, der.len, out, len, e) : rc;
    if (rc == ERR_ABSENT) {
        err_prefix_path(e, path);
    }
    buf_free(&der);
    return rc;
}

/* ---- init ---------------------------------------------------------------------------------------
 */

static enum err_code init(const struct args *a, struct err *e) {
    static const char *const names[] = {"anchor.pem", "anchor.key", "masa.pem", "masa.key"};
    char path[4][4096], signer[80];
    const char *name = a->name != NULL ? a->name : "weft MASA";
    ERR_TRY(file_make_folder(a->file, 0700, e));
    for (int i = 0; i < 4; i++) {
        path_in(path[i], sizeof path[i], a->file, names[i]);
        if (access(path[i], F_OK) == 0) {
            return err_set(e, ERR_EXISTS, path[i],
                           "is there already; vouchers that it signed would be worth nothing");
        }
    }
    if (strlen(name) > 57) {
        return err_set(e, ERR_INVALID, "--name", "has 57 bytes at most");
    }
    snprintf(signer, sizeof signer, "%s signer", name);
    ERR_TRY(pki_make_ca(name, AUTHORITY_DAYS, path[0], path[1], e));
    const struct pki_request r = {.common_name = signer, .use = PKI_SIGNER, .days = SIGNER_DAYS};
    ERR_TRY(pki_issue(path[0], path[1], &r, path[2], path[3], e));
    printf("made %s: put %s into devices, keep %s elsewhere\n", a->file, path[0], path[1]);
    return ERR_OK;
}

static enum err_code load_masa(const char *folder, struct cms_key **masa, struct err *e) {
    char cert[4096], key[4096];
    path_in(cert, sizeof cert, folder, "masa.pem");
    path_in(key, sizeof key, folder, "masa.key");
    return cms_key_load(cert, key, masa, e);
}

/* ---- issue, renew -------------------------------------------------------------------------------
 */

static enum err_code limits(const struct args *a, struct voucher *v, struct err *e) {
    int said = (a->days != NULL) + (a->expires != NULL) + (a->nonce != NULL) + a->unlimited;
    int64_t length = 0;
    if (said != 1) {
        return err_set(e, ERR_MISSING, NULL,
                       "say for how long it is good: --days, --expires, --nonce or --unlimited");
    }
    ERR_TRY(take_time("--expires", a->expires, &v->expires_on, e));
    ERR_TRY(take_time("--renew-until", a->until, &v->last_renewal, e));
    if (a->days != NULL) {
        ERR_TRY(take_days(a->days, &length, e));
        v->expires_on = v->created_on + length;
    }
    return a->nonce != NULL ? take_nonce(a->nonce, v->nonce, &v->nonce_len, e) : ERR_OK;
}

static enum err_code sign(const char *folder, const struct voucher *v, const char *out,
                          struct err *e) {
    struct cms_key *masa;
    struct buf vcj = BUF_INIT;
    ERR_TRY(load_masa(folder, &masa, e));
    enum err_code rc = voucher_issue(v, masa, &vcj, e);
    rc = rc == ERR_OK ? write_out(out, &vcj, e) : rc;
    if (rc == ERR_OK && strcmp(out, "-") != 0) {
        printf("%s: voucher for %s\n", out, v->serial);
    }
    buf_free(&vcj);
    cms_key_free(masa);
    return rc;
}

static enum err_code issue(const struct args *a, struct err *e) {
    struct voucher v = {.created_on = clock_wall_s(&clock_real),
                        .assertion = VOUCHER_VERIFIED,
                        .check_revocation = a->revocation};
    char name[CMS_SERIAL_MAX + 8];
    enum err_code rc = ERR_OK;
    if (a->masa == NULL || a->serial == NULL || a->pinned == NULL) {
        return err_set(e, ERR_MISSING, NULL, "--masa, --serial and --pinned are needed");
    }
    if (a->serial[0] == '\0' || strlen(a->serial) > CMS_SERIAL_MAX) {
        return err_set(e, ERR_INVALID, "--serial", "has 1 to %d bytes", CMS_SERIAL_MAX);
    }
    if (a->assertion != NULL && !voucher_assertion_parse(a->assertion, &v.assertion)) {
        return err_set(e, ERR_INVALID, "--assertion", "is verified, logged or proximity");
    }
    snprintf(v.serial, sizeof v.serial, "%s", a->serial);
    snprintf(name, sizeof name, "%s.vcj", a->serial);
    if (a->out == NULL && strchr(name, '/') != NULL) {
        return err_set(e, ERR_MISSING, "--out", "this serial number is no name of a file");
    }
    ERR_GOTO(rc, limits(a, &v, e), out);
    ERR_GOTO(rc, read_cert(a->pinned, &v.pinned, e), out);
    if (a->idevid != NULL) {
        ERR_GOTO(rc, take_akid(a->idevid, v.issuer, &v.issuer_len, e), out);
    }
    rc = sign(a->masa, &v, a->out != NULL ? a->out : name, e);
out:
    voucher_free(&v);
    return rc;
}

/* Only what this authority has signed; else whoever writes a file would get what he likes. */
static enum err_code read_own(const struct args *a, struct voucher *v, struct err *e) {
    char anchor[4096];
    struct cms_certs *anchors = cms_certs_new();
    struct cms_content c = {.type = CMS_DATA};
    struct buf der = BUF_INIT;
    struct voucher unread = {.created_on = 0};
    enum trust_clause clause;
    enum err_code rc;
    path_in(anchor, sizeof anchor, a->masa, "anchor.pem");
    ERR_GOTO(rc, cms_certs_add_file(anchors, anchor, e), out);
    ERR_GOTO(rc, read_der(a->file, &der, e), out);
    ERR_GOTO(rc, cms_open(der.data, der.len, CMS_VOUCHER_JSON, NULL, &c, e), named);
    ERR_GOTO(rc, voucher_parse(c.bytes.data, c.bytes.len, &unread, e), named);
    const struct trust_device d = {.serial = unread.serial,
                                   .voucher_anchors = anchors,
                                   .idevid_akid = unread.issuer,
                                   .idevid_akid_len = unread.issuer_len,
                                   .nonce = unread.nonce,
                                   .nonce_len = unread.nonce_len};
    rc = trust_voucher(&d, der.data, der.len, v, &clause, e);
    goto out;
named:
    if (rc != ERR_OK) {
        err_prefix_path(e, a->file);
    }
out:
    voucher_free(&unread);
    cms_content_free(&c);
    cms_certs_free(anchors);
    buf_free(&der);
    return rc;
}

static enum err_code renew(const struct args *a, struct err *e) {
    struct voucher v = {.created_on = 0};
    int64_t now = clock_wall_s(&clock_real), length = 0;
    char at[TIME_TEXT_MAX];
    if (a->masa == NULL || (a->days != NULL && a->expires != NULL)) {
        return err_set(e, ERR_MISSING, NULL,
                       "--masa is needed, and --days and --expires exclude each other");
    }
    ERR_TRY(read_own(a, &v, e));
    enum err_code rc = ERR_OK;
    if (v.nonce_len > 0 || v.expires_on == 0) {
        rc = err_set(e, ERR_REFUSED, a->file, "%s: there is nothing to renew",
                     v.nonce_len > 0 ? "it is for one request" : "it never ends");
    } else if (v.last_renewal != 0 && v.last_renewal < now) {
        rc = err_set(e, ERR_REFUSED, a->file, "it may not be renewed since %s",
                     time_format(v.last_renewal, 0, at));
    } else {
        length = v.expires_on - v.created_on;
        rc = a->days != NULL ? take_days(a->days, &length, e) : ERR_OK;
        v.created_on = now;
        v.expires_on = now + length;
        rc = rc == ERR_OK ? take_time("--expires", a->expires, &v.expires_on, e) : rc;
        rc = rc == ERR_OK ? sign(a->masa, &v, a->out != NULL ? a->out : a->file, e) : rc;
    }
    voucher_free(&v);
    return rc;
}

/* ---- show, verify -------------------------------------------------------------------------------
 */

static void show_octets(const char *what, const uint8_t *p, size_t n) {
    if (n > 0) {
        printf("%-30s", what);
        for (size_t i = 0; i < n; i++) {
            printf("%s%02x", i > 0 ? ":" : "", p[i]);
        }
        putchar('\n');
    }
}

static void show_time(const char *what, int64_t t) {
    char text[TIME_TEXT_MAX];
    if (t != 0) {
        printf("%-30s%s\n", what, time_format(t, 0, text));
    }
}

/* Certificates as people know them: subject and fingerprint. */
static void show_certs(const char *what, const struct cms_certs *c) {
    for (size_t i = 0; i < cms_certs_count(c); i++) {
        struct buf der = BUF_INIT;
        struct pki_info info;
        struct err e;
        cms_certs_der(c, i, &der);
        if (pki_describe_der(der.data, der.len, &info, &e) == ERR_OK) {
            printf("%-30s%s\n%-30sSHA-256 %s\n", what, info.subject, "", info.fingerprint);
        }
        buf_free(&der);
    }
}

static enum err_code show(const struct args *a, struct err *e) {
    struct buf der = BUF_INIT;
    struct cms_content c = {.type = CMS_DATA};
    struct cms_certs *by = NULL, *pinned = cms_certs_new();
    struct voucher v = {.created_on = 0};
    struct err why;
    enum err_code rc;
    ERR_GOTO(rc, read_der(a->file, &der, e), out);
    ERR_GOTO(rc, cms_open(der.data, der.len, CMS_VOUCHER_JSON | CMS_DATA, NULL, &c, e), named);
    ERR_GOTO(rc, voucher_parse(c.bytes.data, c.bytes.len, &v, e), named);
    char *serial = mem_alloc(sizeof v.serial);
    text_line(serial, sizeof v.serial, v.serial);
    printf("%-30s%s\n", "serial-number", serial);
    mem_free(serial);
    printf("%-30s%s\n", "assertion", voucher_assertion_name(v.assertion));
    show_time("created-on", v.created_on);
    show_time("expires-on", v.expires_on);
    show_time("last-renewal-date", v.last_renewal);
    show_octets("nonce", v.nonce, v.nonce_len);
    show_octets("idevid-issuer", v.issuer, v.issuer_len);
    printf("%-30s%s\n", "domain-cert-revocation-checks", v.check_revocation ? "true" : "false");
    if (cms_certs_add_der(pinned, v.pinned.data, v.pinned.len, &why) == ERR_OK) {
        show_certs("pinned-domain-cert", pinned);
    } else {
        printf("%-30s%s\n", "pinned-domain-cert", why.text);
    }
    printf("%-30s%s\n", "signature", c.is_signed ? "not looked at (weft voucher verify)" : "none");
    if (cms_certs_parse(der.data, der.len, NULL, &by, &why) == ERR_OK) {
        show_certs("came with", by);
    }
named:
    if (rc != ERR_OK) {
        err_prefix_path(e, a->file);
    }
out:
    voucher_free(&v);
    cms_content_free(&c);
    cms_certs_free(by);
    cms_certs_free(pinned);
    buf_free(&der);
    return rc;
}

/* The serial number that the voucher claims, when the caller names none. */
static void claimed(const struct buf *der, char out[CMS_SERIAL_MAX + 1]) {
    struct cms_content c;
    struct voucher v;
    struct err e;
    out[0] = '\0';
    if (cms_open(der->data, der->len, CMS_VOUCHER_JSON | CMS_DATA, NULL, &c, &e) == ERR_OK &&
        voucher_parse(c.bytes.data, c.bytes.len, &v, &e) == ERR_OK) {
        memcpy(out, v.serial, sizeof v.serial);
        voucher_free(&v);
    }
    cms_content_free(&c);
}

static enum err_code judge(const struct args *a, const struct trust_device *d,
                           const struct buf *der, struct err *e) {
    struct buf owner = BUF_INIT, ci = BUF_INIT;
    struct cms_content c = {.type = CMS_DATA};
    struct voucher v = {.created_on = 0};
    enum trust_clause clause = TRUST_OK;
    enum err_code rc;
    if (a->owner == NULL) {
        rc = trust_voucher(d, der->data, der->len, &v, &clause, e);
    } else {
        ERR_GOTO(rc, read_der(a->owner, &owner, e), out);
        ERR_GOTO(rc, read_der(a->conveyed, &ci, e), out);
        const struct trust_data t = {der->data, owner.data, ci.data, der->len, owner.len, ci.len};
        rc = trust_signed_data(d, &t, &c, &clause, e);
    }
    if (rc == ERR_OK) {
        printf("%s: ok, for %s\n", a->file, d->serial);
    }
out:
    voucher_free(&v);
    cms_content_free(&c);
    buf_free(&owner);
    buf_free(&ci);
    return rc;
}

static enum err_code verify(const struct args *a, struct err *e) {
    uint8_t akid[CMS_AKID_MAX], nonce[VOUCHER_NONCE_MAX];
    char serial[CMS_SERIAL_MAX + 1];
    struct cms_certs *anchors = cms_certs_new();
    struct buf der = BUF_INIT;
    struct trust_device d = {.voucher_anchors = anchors,
                             .idevid_akid = akid,
                             .nonce = nonce,
                             .now_s = clock_wall_s(&clock_real),
                             .clock_ok = true};
    enum err_code rc = ERR_OK;
    if (a->anchor == NULL || (a->owner != NULL) != (a->conveyed != NULL)) {
        rc = err_set(e, ERR_MISSING, NULL,
                     "--anchor is needed, and --owner and --conveyed go together");
        goto out;
    }
    ERR_GOTO(rc, cms_certs_add_file(anchors, a->anchor, e), out);
    ERR_GOTO(rc, read_der(a->file, &der, e), out);
    ERR_GOTO(rc, take_time("--at", a->at, &d.now_s, e), out);
    if (a->nonce != NULL) {
        ERR_GOTO(rc, take_nonce(a->nonce, nonce, &d.nonce_len, e), out);
    }
    if (a->idevid != NULL) {
        ERR_GOTO(rc, take_akid(a->idevid, akid, &d.idevid_akid_len, e), out);
    }
    claimed(&der, serial);
    d.serial = a->serial != NULL ? a->serial : serial;
    rc = judge(a, &d, &der, e);
out:
    cms_certs_free(anchors);
    buf_free(&der);
    return rc;
}

/* ---- the command line ---------------------------------------------------------------------------
 */

static const struct option options[] = {{"name", required_argument, NULL, 'n'},
                                        {"masa", required_argument, NULL, 'm'},
                                        {"serial", required_argument, NULL, 's'},
                                        {"pinned", required_argument, NULL, 'p'},
                                        {"assertion", required_argument, NULL, 'a'},
                                        {"days", required_argument, NULL, 'd'},
                                        {"expires", required_argument, NULL, 'e'},
                                        {"nonce", required_argument, NULL, 'N'},
                                        {"unlimited", no_argument, NULL, 'u'},
                                        {"idevid", required_argument, NULL, 'i'},
                                        {"revocation", no_argument, NULL, 'r'},
                                        {"renew-until", required_argument, NULL, 'R'},
                                        {"out", required_argument, NULL, 'o'},
                                        {"anchor", required_argument, NULL, 'A'},
                                        {"at", required_argument, NULL, 't'},
                                        {"owner", required_argument, NULL, 'O'},
                                        {"conveyed", required_argument, NULL, 'C'},
                                        {"help", no_argument, NULL, 'h'},
                                        {0}};

static const struct command {
    const char *name, *takes; /* which of the options */
    bool file;
    enum err_code (*run)(const struct args *a, struct err *e);
} commands[] = {{"init", "n", true, init},
                {"issue", "mspadeNuirRo", false, issue},
                {"renew", "mdeo", true, renew},
                {"show", "", true, show},
                {"verify", "AsiNtOC", true, verify}};

static const char **place_of(struct args *a, int c) {
    switch (c) {
    case 'n':
        return &a->name;
    case 'm':
        return &a->masa;
    case 's':
        return &a->serial;
    case 'p':
        return &a->pinned;
    case 'a':
        return &a->assertion;
    case 'd':
        return &a->days;
    case 'e':
        return &a->expires;
    case 'N':
        return &a->nonce;
    case 'i':
        return &a->idevid;
    case 'R':
        return &a->until;
    case 'o':
        return &a->out;
    case 'A':
        return &a->anchor;
    case 't':
        return &a->at;
    case 'O':
        return &a->owner;
    default:
        return &a->conveyed;
    }
}

static int bad_usage(const char *why) {
    fprintf(stderr, "weft voucher: %s\nTry: weft voucher --help\n", why);
    return WEFT_SYNTAX;
}

static int read_args(const struct command *c, int argc, char **argv, struct args *a) {
    int o;
    optind = 1;
    while ((o = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (o == 'h') {
            fputs(usage, stdout);
            exit(WEFT_OK);
        }
        if (o == '?' || strchr(c->takes, o) == NULL) {
            return bad_usage(o == '?' ? "not understood" : "the command has no such option");
        }
        if (o == 'u' || o == 'r') {
            *(o == 'u' ? &a->unlimited : &a->revocation) = true;
        } else {
            *place_of(a, o) = optarg;
        }
    }
    if (argc - optind != (c->file ? 1 : 0)) {
        return bad_usage(c->file ? "one file or folder is needed" : "there is a word too many");
    }
    a->file = c->file ? argv[optind] : NULL;
    return WEFT_OK;
}

int voucher_main(int argc, char **argv) {
    struct args a = {.name = NULL};
    struct err e = {.code = ERR_OK};
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return WEFT_OK;
    }
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, argv[1]) != 0) {
            continue;
        }
        int status = read_args(&commands[i], argc - 1, argv + 1, &a);
        if (status != WEFT_OK || commands[i].run(&a, &e) == ERR_OK) {
            return status;
        }
        fprintf(stderr, "weft: %s%s%s\n", e.path, e.path[0] != '\0' ? ": " : "", e.text);
        return e.code == ERR_MISSING && e.path[0] == '\0' ? WEFT_SYNTAX : WEFT_FAILED;
    }
    return bad_usage(argc > 1 ? "no such command" : "a command is needed");
}
