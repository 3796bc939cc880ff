// SPDX-License-Identifier: Apache-2.0
#include "core/passwords.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "model/kinds.h"

enum { HASH_SIZE = 400, DAY_S = 86400 };

/* Takes the first of the hashes off; false: there is none. */
static bool next_hash(const char **at, char out[HASH_SIZE]) {
    size_t n = *at != NULL ? strcspn(*at, " ") : 0;
    if (n == 0 || n >= HASH_SIZE) {
        return false;
    }
    memcpy(out, *at, n);
    out[n] = '\0';
    *at += n + ((*at)[n] == ' ');
    return true;
}

static const struct system_settings_passwords *rules_of(const struct snap *s) {
    static const struct system_settings_passwords usual = {
        .min_length = 8, .min_classes = 1, .warn_before = 14};
    const struct object *o = snap_get(s, "/weft-system:system/settings");
    return o != NULL ? &((const struct system_settings *)o->doc->data)->passwords : &usual;
}

static unsigned classes(const char *p) {
    bool lower = false, upper = false, digit = false, other = false;
    for (; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        lower |= islower(c) != 0;
        upper |= isupper(c) != 0;
        digit |= isdigit(c) != 0;
        other |= !isalnum(c);
    }
    return (unsigned)lower + upper + digit + other;
}

/* In characters: a letter of two bytes is one. */
static size_t length(const char *p) {
    size_t n = 0;
    for (; *p != '\0'; p++) {
        n += ((unsigned char)*p & 0xc0) != 0x80;
    }
    return n;
}

static const struct system_user *find_user(const struct snap *s, const char *name) {
    struct buf path = BUF_INIT;
    path_object(&system_user_kind, &name, &path);
    const struct object *o = snap_get(s, buf_cstr(&path));
    buf_free(&path);
    return o != NULL ? o->doc->data : NULL;
}

int64_t password_ends(const struct snap *s, const char *user, int64_t *warn_s) {
    const struct system_settings_passwords *r = rules_of(s);
    const struct system_user *u = find_user(s, user);
    int64_t changed = 0;
    *warn_s = (int64_t)r->warn_before * DAY_S;
    if (u == NULL || u->password_hash == NULL) {
        return INT64_MAX;
    }
    if (u->password_must_change) {
        return 0;
    }
    if (r->max_age == 0) {
        return INT64_MAX;
    }
    bool known = u->password_changed != NULL && time_parse(u->password_changed, &changed);
    return known ? changed + (int64_t)r->max_age * DAY_S : 0;
}

enum err_code password_check(const struct snap *s, const char *user, const char *password,
                             int64_t now_s, struct err *e) {
    const struct system_settings_passwords *r = rules_of(s);
    const struct system_user *u = find_user(s, user);
    if (length(password) < r->min_length) {
        return err_set(e, ERR_INVALID, "password", "a password has at least %u characters",
                       r->min_length);
    }
    if (classes(password) < r->min_classes) {
        return err_set(e, ERR_INVALID, "password",
                       "a password has characters of at least %u kinds: small letters, capital "
                       "letters, digits, others",
                       r->min_classes);
    }
    if (strcasecmp(password, user) == 0) {
        return err_set(e, ERR_INVALID, "password", "a password is not the user's name");
    }
    int64_t warn_s;
    bool due = password_ends(s, user, &warn_s) <= now_s;
    if (u == NULL || (r->former == 0 && !due)) {
        return ERR_OK;
    }
    bool again = u->password_hash != NULL && rights_hash_fits(u->password_hash, password);
    if (again && due) {
        return err_set(e, ERR_INVALID, "password", "it is the password that has ended");
    }
    const char *at = u->former_password_hashes;
    char hash[HASH_SIZE];
    for (unsigned i = 0; i < r->former && !again && next_hash(&at, hash); i++) {
        again = rights_hash_fits(hash, password);
    }
    return again ? err_set(e, ERR_INVALID, "password",
                           "it is the password at hand or one of the %u before it", r->former)
                 : ERR_OK;
}

void password_retire(const struct snap *s, void *user) {
    static const char name[] = "former-password-hashes";
    const struct system_settings_passwords *r = rules_of(s);
    const char *now = json_string_value(json_object_get(user, "password-hash"));
    const char *at = json_string_value(json_object_get(user, name));
    struct buf b = BUF_INIT;
    char hash[HASH_SIZE];
    if (now != NULL && r->former > 0) {
        buf_str(&b, now);
    }
    for (unsigned i = 1; i < r->former && next_hash(&at, hash); i++) {
        buf_printf(&b, "%s%s", b.len > 0 ? " " : "", hash);
    }
    if (b.len > 0) {
        json_object_set_new(user, name, json_string(buf_cstr(&b)));
    } else {
        json_object_del(user, name);
    }
    buf_free(&b);
}
