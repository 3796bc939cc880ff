// SPDX-License-Identifier: Apache-2.0
/* The first byte chooses target and operation, the rest is the body of an edit in XML. */
#include "model_fuzz.h"

static const char *const targets[] = {
    "/",
    "/weft-toy:toys",
    "/weft-toy:toys/toy=m,1",
    "/weft-toy:toys/toy=m,1/part=w",
    "/weft-toy:toys/toy=m,1/part",
    "/weft-toy:toys/box=b",
    "/weft-toy:toys/toy=m,1/tag",
    "/weft-apm:apm/inet-pool/partition",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_load();
    if (size < 1) {
        return 0;
    }
    char *body = mem_alloc(size);
    memcpy(body, data + 1, size - 1);
    struct model_edit edit = {.op = (enum edit_op)((data[0] >> 3) % 3),
                              .target = targets[data[0] & 7],
                              .child = (data[0] & 0x80) != 0,
                              .body = body,
                              .len = size - 1,
                              .format = FORMAT_XML};
    fuzz_edit(&edit);
    struct arena *a = arena_new();
    struct rpc_input in;
    struct err e;
    rpc_input_parse(fuzz_model, model_rpc("weft-toy:show-toys"), body, size - 1, FORMAT_XML, a, &in,
                    &e);
    arena_free(a);
    mem_free(body);
    return 0;
}
