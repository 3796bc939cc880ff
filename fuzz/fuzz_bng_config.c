// SPDX-License-Identifier: Apache-2.0
/* The agent's configuration file: any bytes give a configuration or an error with a text. */
#include <stdlib.h>

#include "bng/config.h"

/* proves: A13 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bng_config c;
    struct err err = {0};
    if (bng_config_parse((const char *)data, size, "f", &c, &err) != ERR_OK &&
        err.text[0] == '\0') {
        abort();
    }
    bng_config_free(&c);
    return 0;
}
