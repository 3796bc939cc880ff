// SPDX-License-Identifier: Apache-2.0
#include "phone-home/platform_lint.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"

enum { LINT_LINES_MAX = 20 };

void platform_lint(const char *const *words, size_t n_words, const void *config, size_t n,
                   struct buf *out) {
    const char *at = config, *stop = at + n;
    unsigned number = 1, said = 0;
    for (; at < stop && said < LINT_LINES_MAX; number++) {
        const char *nl = memchr(at, '\n', (size_t)(stop - at)), *next = nl != NULL ? nl : stop;
        char raw[200], line[200];
        size_t len = (size_t)(next - at) < sizeof raw - 1 ? (size_t)(next - at) : sizeof raw - 1;
        memcpy(raw, at, len);
        raw[len] = '\0';
        for (size_t i = 0; i < n_words; i++) {
            if (strcasestr(raw, words[i]) != NULL) {
                text_line(line, sizeof line, raw);
                buf_printf(out, "line %u may change roles of members: %s\n", number, line);
                said++;
                break;
            }
        }
        at = nl != NULL ? nl + 1 : stop;
    }
}
