// SPDX-License-Identifier: Apache-2.0
/* Bodies of edits and inputs in JSON. */
#include "model_fuzz.h"

/* proves: A13 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_body(data, size, FORMAT_JSON);
    return 0;
}
