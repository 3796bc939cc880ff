// SPDX-License-Identifier: Apache-2.0
/* What anybody may write after "Authorization: Basic", and what a node says of who asks: that reads
 * as it was written. Sizes of the fields are the callers'. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/http_auth.h"
#include "core/rights.h"

/* proves: A13 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char user[HTTP_AUTH_USER_MAX], password[RIGHTS_PASSWORD_MAX];
    char *text = mem_strndup((const char *)data, size);
    if (http_auth_basic(text, user, password) &&
        (user[0] == '\0' || strchr(user, ':') != NULL || strlen(user) >= sizeof user ||
         strlen(password) >= sizeof password)) {
        abort();
    }
    struct actor who, again;
    if (http_auth_actor_parse(text, &who)) {
        struct buf out = BUF_INIT;
        http_auth_actor_print(&who, &out);
        if (!http_auth_actor_parse(buf_cstr(&out), &again) || strcmp(who.user, again.user) != 0 ||
            strcmp(who.source, again.source) != 0 || strcmp(who.token, again.token) != 0 ||
            who.superuser != again.superuser) {
            abort();
        }
        buf_free(&out);
    }
    mem_free(text);
    return 0;
}
