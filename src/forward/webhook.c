// SPDX-License-Identifier: Apache-2.0
/* A POST for each batch; 2xx says that the receiver has it. */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "forward/internal.h"

enum { CONNECT_S = 5 };

static size_t nothing(char *p, size_t size, size_t n, void *arg) {
    return size * n; /* what the receiver says beyond its status is of no use */
}

static int told_to_stop(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    return atomic_load((const atomic_bool *)arg) ? 1 : 0;
}

static struct curl_slist *header(struct curl_slist *l, const char *name, const char *value) {
    char *line = mem_printf("%s: %s", name, value);
    struct curl_slist *more = curl_slist_append(l, line);
    mem_wipe(line, strlen(line)); /* may be the token */
    mem_free(line);
    return more;
}

static void set_up(CURL *c, struct sender *s, const struct forward_target_webhook *w) {
    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, w->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, w->clear_text ? "http,https" : "https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)SENDER_S);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, nothing);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, told_to_stop);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, (void *)(uintptr_t)s->stop);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "weft/" WEFT_VERSION);
    if (w->ca_file != NULL) {
        curl_easy_setopt(c, CURLOPT_CAINFO, w->ca_file);
    }
}

size_t webhook_send(struct sender *s, const struct forward_target *t, const struct message *m,
                    size_t n, struct err *e) {
    const struct forward_target_webhook *w = &t->webhook;
    struct buf body = BUF_INIT;
    char why[CURL_ERROR_SIZE] = "", timestamp[24], signature[72];
    if (s->curl == NULL) {
        s->curl = curl_easy_init();
    }
    CURL *c = s->curl;
    message_json(s->controller, m, n, &body);
    set_up(c, s, w);
    struct curl_slist *headers = header(NULL, "Content-Type", "application/json");
    headers = header(headers, "Expect", "");
    if (w->secret != NULL) {
        snprintf(timestamp, sizeof timestamp, "%lld", (long long)clock_wall_s(&clock_real));
        message_sign(w->secret, timestamp, buf_cstr(&body), body.len, signature);
        headers = header(headers, "Weft-Timestamp", timestamp);
        headers = header(headers, "Weft-Signature", signature);
    }
    if (w->bearer_token != NULL) {
        char *token = mem_printf("Bearer %s", w->bearer_token);
        headers = header(headers, "Authorization", token);
        mem_wipe(token, strlen(token));
        mem_free(token);
    }
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, buf_cstr(&body));
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    CURLcode rc = curl_easy_perform(c);
    long status = 0;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    bool good = rc == CURLE_OK && status >= 200 && status < 300;
    if (rc != CURLE_OK) {
        err_set(e, ERR_IO, NULL, "%s", why[0] != '\0' ? why : curl_easy_strerror(rc));
    } else if (!good) {
        err_set(e, ERR_REFUSED, NULL, "the server answers with status %ld", status);
    }
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    buf_free(&body);
    return good ? n : 0;
}

void webhook_close(struct sender *s) {
    if (s->curl != NULL) {
        curl_easy_cleanup(s->curl);
        s->curl = NULL;
    }
}
