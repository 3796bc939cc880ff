// SPDX-License-Identifier: Apache-2.0
#include "core/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"

enum { KEY_BYTES = 32, NONCE_BYTES = 12, TAG_BYTES = 16 };

static uint8_t secret_key[KEY_BYTES];
static bool have_key;

static enum err_code make_key(const char *file, struct err *e) {
    uint8_t key[KEY_BYTES];
    rng_secure(key, sizeof key);
    enum err_code rc = file_write(file, key, sizeof key, 0600, e);
    mem_wipe(key, sizeof key);
    return rc;
}

enum err_code secrets_load(const char *file, bool create, struct err *e) {
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && create) {
        ERR_TRY(make_key(file, e));
        fd = open(file, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) {
        return err_errno(e, errno, file, "the key for secrets can't be read");
    }
    uint8_t key[KEY_BYTES + 1];
    ssize_t n = read(fd, key, sizeof key);
    close(fd);
    if (n != KEY_BYTES) {
        return err_set(e, ERR_MALFORMED, file, "is not a key of %d bytes", (int)KEY_BYTES);
    }
    memcpy(secret_key, key, KEY_BYTES);
    mem_wipe(key, sizeof key);
    have_key = true;
    return ERR_OK;
}

bool secrets_ready(void) {
    return have_key;
}

/* OpenSSL fails here only for want of memory or by misuse. */
static void must(int ok) {
    if (ok != 1) {
        fputs("secrets: OpenSSL failed\n", stderr);
        abort();
    }
}

void secrets_seal(const char *context, const void *p, size_t n, struct buf *out) {
    uint8_t nonce[NONCE_BYTES];
    int len;
    rng_secure(nonce, sizeof nonce);
    buf_add(out, nonce, sizeof nonce);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    must(EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, secret_key, nonce));
    must(EVP_EncryptUpdate(c, NULL, &len, (const uint8_t *)context, (int)strlen(context)));
    must(EVP_EncryptUpdate(c, buf_extend(out, n), &len, p, (int)n));
    uint8_t none[TAG_BYTES];
    must(EVP_EncryptFinal_ex(c, none, &len));
    must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, buf_extend(out, TAG_BYTES)));
    EVP_CIPHER_CTX_free(c);
}

enum err_code secrets_open(const char *context, struct cur sealed, struct buf *out, struct err *e) {
    if (!have_key) {
        return err_set(e, ERR_UNAVAILABLE, context,
                       "holds a secret, and the key for secrets was not loaded");
    }
    size_t all = cur_left(&sealed);
    const uint8_t *nonce = cur_bytes(&sealed, NONCE_BYTES);
    size_t n = all >= NONCE_BYTES + TAG_BYTES ? all - NONCE_BYTES - TAG_BYTES : 0;
    const uint8_t *text = cur_bytes(&sealed, n), *tag = cur_bytes(&sealed, TAG_BYTES);
    if (sealed.bad) {
        return err_set(e, ERR_MALFORMED, context, "the sealed record is damaged");
    }
    uint8_t expected[TAG_BYTES], none[TAG_BYTES];
    int len;
    memcpy(expected, tag, TAG_BYTES);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    must(EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, secret_key, nonce));
    must(EVP_DecryptUpdate(c, NULL, &len, (const uint8_t *)context, (int)strlen(context)));
    must(EVP_DecryptUpdate(c, buf_extend(out, n), &len, text, (int)n));
    must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, expected));
    int good = EVP_DecryptFinal_ex(c, none, &len);
    EVP_CIPHER_CTX_free(c);
    if (good != 1) {
        buf_clear(out);
        return err_set(e, ERR_MALFORMED, context,
                       "does not open with this key for secrets: it is another store's, or the "
                       "record is damaged");
    }
    return ERR_OK;
}
