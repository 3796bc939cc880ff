// SPDX-License-Identifier: Apache-2.0
#include <openssl/evp.h>
#include <string.h>

#include "sztp/cms.h"

void cms_base64(const void *p, size_t n, struct buf *out) {
    const uint8_t *at = p;
    while (n > 0) { /* in pieces: OpenSSL counts in int, and writes a NUL behind each */
        size_t piece = n < 3 << 20 ? n : 3 << 20;
        size_t want = (piece + 2) / 3 * 4;
        uint8_t *to = buf_extend(out, want + 1);
        EVP_EncodeBlock(to, at, (int)piece);
        out->len--;
        at += piece;
        n -= piece;
    }
}

static int value_of(char c) {
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Bits behind the last octet are not looked at: examples of standards have them set. */
enum err_code cms_unbase64(const char *s, size_t n, struct buf *out, struct err *e) {
    size_t before = out->len, digits = 0, pads = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == ' ' || s[i] == '\t' || s[i] == '\r' || s[i] == '\n') {
            continue;
        }
        int v = value_of(s[i]);
        if (s[i] == '=' && digits % 4 >= 2 && pads < 2) {
            pads++;
            continue;
        }
        if (v < 0 || pads > 0) {
            out->len = before;
            return err_set(e, ERR_INVALID, NULL, "no Base64: character %zu", i + 1);
        }
        bits = bits << 6 | (uint32_t)v;
        if (++digits % 4 == 0) {
            buf_u8(out, (uint8_t)(bits >> 16));
            buf_u16(out, (uint16_t)bits);
        }
    }
    if ((digits + pads) % 4 != 0 || (pads > 0 && digits % 4 < 2)) {
        out->len = before;
        return err_set(e, ERR_INVALID, NULL, "no Base64: %zu digits", digits);
    }
    if (digits % 4 == 3) {
        buf_u16(out, (uint16_t)(bits >> 2));
    } else if (digits % 4 == 2) {
        buf_u8(out, (uint8_t)(bits >> 4));
    }
    return ERR_OK;
}
