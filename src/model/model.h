// SPDX-License-Identifier: Apache-2.0
/*
 * The model: kinds and objects, from the YANG modules in yang/.
 *
 * A *kind* is a list or presence container that carries the extension weft:kind; an entry of it is
 * an *object*, named by its canonical path: the RESTCONF instance path (RFC 8040 section 3.5.3)
 * without the API root, "/weft-apm:apm/inet-pool/partition=a". A module name stands at the first
 * node and wherever it changes; in key values everything but [A-Za-z0-9._~-] is percent-encoded
 * (upper-case hex), so equal objects have equal paths, byte for byte.
 *
 * `struct doc` is one object in one version: immutable, atomically reference-counted, with its
 * JSON (RFC 7951, defaults not filled in) and its packed C struct (defaults filled in; the structs
 * are generated into "model/kinds.h"). Everything here may be called from several threads at once.
 *
 * Errors: `path` is an instance path, `text` one sentence.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

/* Bounds of what is taken from outside. */
enum {
    MODEL_DEPTH_MAX = 64,       /* nesting of a JSON or XML body */
    MODEL_OBJECT_MAX = 4 << 20, /* bytes of one object's JSON */
    MODEL_BODY_MAX = 256 << 20, /* bytes of one edit's body */
    MODEL_PATH_MAX = 4096,      /* bytes of an instance path */
    MODEL_FILTER_MAX = 1024,    /* bytes of a filter of notifications */
    MODEL_XPATH_MAX = 4096,     /* bytes of one of configuration and state */
    MODEL_KEYS_MAX = 8          /* keys of one list */
};

/* ---- the schema: static, generated, never changes -------------------------------------------- */

enum node_type {
    NODE_ROOT, /* the datastore; its children are the top-level nodes of all modules */
    NODE_CONTAINER,
    NODE_LIST,
    NODE_LEAF,
    NODE_LEAF_LIST,
    NODE_ANYDATA,
    NODE_RPC,
    NODE_INPUT,
    NODE_OUTPUT,
    NODE_NOTIFICATION
};

enum base_type {
    BASE_NONE, /* not a leaf or leaf-list */
    BASE_INT8,
    BASE_INT16,
    BASE_INT32,
    BASE_INT64,
    BASE_UINT8,
    BASE_UINT16,
    BASE_UINT32,
    BASE_UINT64,
    BASE_DECIMAL64,
    BASE_BOOL,
    BASE_EMPTY,
    BASE_ENUM,
    BASE_BITS,
    BASE_STRING,
    BASE_BINARY,
    BASE_IDENTITY,
    BASE_INSTANCE_ID,
    BASE_UNION,
    /* strings of weft-types that are parsed into structs of base/ip.h */
    BASE_IP_ADDR,
    BASE_IP_PREFIX
};

struct node_enum {
    const char *name;        /* of an enum, a bit or an identity ("module:name") */
    const char *description; /* may be NULL */
    int64_t value;           /* enum value, bit position; 0 for identities */
};

/* Choices and cases are no data nodes: they are flattened away and each member knows its own. */
struct choice {
    const char *name;
    const char *description;
    bool mandatory;
    const struct choice *outer; /* a choice inside a case: the choice around it */
    const char *outer_case;
    const char *default_case; /* NULL: none */
};

struct kind;
struct command;

struct node {
    uint32_t id; /* index in model_nodes() */
    enum node_type type;
    const char *name;
    const char *module;
    const char *description; /* never NULL */
    const char *reference;   /* may be NULL */
    const struct node *parent;
    const struct node *const *children; /* schema order, keys first */
    size_t n_children;
    const struct choice *choice; /* NULL: in no choice */
    const char *case_name;
    const struct kind *kind;  /* this list or container is a kind */
    const struct kind *owner; /* the kind whose documents this node is in; NULL: above all kinds */
    bool config, mandatory, presence, is_key, user_ordered;
    bool secret, index;     /* weft:secret, weft:index */
    bool no_history;        /* weft:no-history */
    bool xpath;             /* its text is XPath: names in it have modules as their prefixes */
    const char *returns_as; /* weft:returns-as; NULL: not given */
    bool terminal;          /* weft:terminal: an answer laid out for a terminal */
    uint32_t min_elements, max_elements;   /* lists, leaf-lists; 0 max: unbounded */
    const char *if_feature;                /* may be NULL */
    const char *deprecated_since, *status; /* NULL: current */
    const char *default_value;             /* leaf; NULL: none */
    const char *const *default_values;     /* leaf-list */
    size_t n_default_values;
    /* leaf, leaf-list */
    enum base_type base;
    const char *type_name; /* the outermost typedef, or the built-in type */
    const char *units;
    const char *range; /* range or length as text: "1..32 | 64"; NULL: the type's own */
    const char *const *patterns;
    size_t n_patterns;
    const struct node_enum *enums; /* enum, bits, identityref */
    size_t n_enums;
    uint8_t fraction_digits;
    const struct node *ref;      /* leafref: the leaf it points to */
    const struct kind *ref_kind; /* ... when that is a key of another kind: objects of it */
    bool ref_required;           /* require-instance true (only inside one object) */
    /* list */
    const struct node *const *keys;
    size_t n_keys;
    const char *const *uniques; /* "a b/c": relative paths separated by blanks */
    size_t n_uniques;
    /* rpc */
    const struct command *command; /* NULL: not a CLI command */
    /* place in the packed struct of the surrounding kind, list entry, rpc input or output */
    uint32_t offset, has_offset, count_offset; /* has, count: UINT32_MAX when there is none */
    uint32_t struct_size;                      /* list, container, kind, input, output */
    uint32_t elem_size;                        /* leaf-list: one value */
};

/* How an rpc is typed in operational mode: words, and input leaves as arguments. */
struct command_arg {
    const char *word;        /* the literal word before the value; NULL: the value comes bare */
    const struct node *leaf; /* of the rpc's input; an `empty` leaf is the word alone */
    bool optional;
    int within; /* index of the argument that must come first, -1: none */
};
struct command {
    const struct node *rpc;
    const char *const *words; /* "show", "apm", "entity" */
    size_t n_words;
    const struct command_arg *args; /* in the order they are documented; typed in any order */
    size_t n_args;
    const char *right;   /* "read", "write", "exec" needed for it */
    const char *confirm; /* question asked first; {leaf} is an argument's value; NULL: none */
};

struct kind {
    uint32_t id;            /* index in model_kinds(): schema order; not stable between builds */
    const char *name;       /* "weft-apm:partition": stable, what records carry */
    const char *module;     /* "weft-apm" */
    const char *short_name; /* "partition" */
    uint32_t version;       /* of its documents, 1.. */
    const struct node *node;
    const char *prefix;             /* path without keys: "/weft-apm:apm/inet-pool/partition" */
    const struct node *const *keys; /* none: a presence container, at most one object */
    size_t n_keys;
    size_t struct_size;
    bool has_secret;                /* some leaf is weft:secret */
    bool no_history;                /* it or some node of it is weft:no-history */
    bool has_xpath;                 /* must or when inside */
    bool has_state;                 /* config false nodes inside */
    const struct node *const *refs; /* leaves that refer to other objects */
    size_t n_refs;
};

struct module_info {
    const char *name, *revision, *ns, *prefix;
    const char *const *features; /* enabled ones */
    size_t n_features;
    const char *const *deviations; /* modules that deviate from this one */
    size_t n_deviations;
    bool implemented; /* false: import only */
    const char *text; /* YANG source */
};

const struct kind *const *model_kinds(size_t *n);
const struct node *const *model_nodes(size_t *n);
const struct node *model_root(void); /* NODE_ROOT: configuration and state */
const struct node *const *model_rpcs(size_t *n);
const struct node *const *model_notifications(size_t *n);
const struct command *const *model_commands(size_t *n);
const struct module_info *model_modules(size_t *n); /* sorted by name */
const char *model_content_id(void);                 /* yang-library (RFC 8525): changes with it */

const struct kind *model_kind(const char *name); /* "weft-apm:partition"; NULL: none */
const struct node *model_rpc(const char *name);  /* "weft-apm:drain"; NULL: none */
const struct node *model_notification(const char *name);
const struct module_info *model_module(const char *name);

/* Child by name; `name` is "name" or "module:name", `n` bytes. At the root a bare name is found
 * when it is unambiguous. NULL: none. */
const struct node *node_child(const struct node *parent, const char *name, size_t n);
const char *base_type_name(enum base_type t); /* "uint8", "ip-prefix" ... */
/* "a number from 20 to 30", "one of always, window": what may be written there. */
void node_type_text(const struct node *leaf, struct buf *out);
/* "/weft-apm:apm/inet-pool/partition/name": without keys. */
void node_path(const struct node *n, struct buf *out);

/* ---- the process's model ----------------------------------------------------------------------
 */

struct model;
/* Loads the embedded modules. One per process is enough; safe for many threads once loaded. */
enum err_code model_load(struct model **out, struct err *e);
void model_free(struct model *m);

/* ---- paths ------------------------------------------------------------------------------------
 */

/* What a path names. Everything is in the arena it was parsed into, `node`... are static. */
struct target {
    const struct node *node;
    const struct kind *kind; /* the object it is in, or NULL: above objects */
    const char *object; /* canonical path of that object; NULL: above, or a list without keys */
    const char *path;   /* canonical path of the whole */
    bool is_object;     /* exactly one object */
    bool entry;         /* a list with its keys, or a leaf-list with a value */
    size_t n_keys;      /* keys given in all steps, outermost first */
    const char *const *keys;
};

/* `path` absolute ("/" or "" is the root), percent-encoded as in RFC 8040; key values may be given
 * in any lexical form of their type and come back canonical. Leaves, list entries (all keys),
 * leaf-list entries, lists without keys, config and state are all possible targets. */
enum err_code path_parse(const struct model *m, const char *path, struct arena *a,
                         struct target *out, struct err *e);
/* Canonical path of an object from its canonical key values. */
void path_object(const struct kind *k, const char *const *keys, struct buf *out);
/* Key values out of a canonical object path; false: not a path of that kind. */
bool path_keys(const struct kind *k, const char *path, struct arena *a, const char *keys[]);
/* Kind of a canonical object path; NULL: none. */
const struct kind *path_kind(const char *path);
/* For building a path step by step: "/module:name" or "/name", then "=k1,k2". */
void path_add_node(struct buf *out, const struct node *n);
void path_add_key(struct buf *out, bool first, const char *value);
/* Orders two object paths: schema order of kinds, then keys by type (numbers as numbers, addresses
 * as addresses, text by bytes). */
int path_cmp(const struct kind *ka, const char *a, const struct kind *kb, const char *b);
/* Is the object at `path` at or below `prefix` (whole steps; "" and "/" hold all)? */
bool path_below(const char *path, const char *prefix);

/* ---- values -----------------------------------------------------------------------------------
 */

/* Checks one lexical value (no JSON quoting) and gives its canonical form. */
enum err_code value_check(const struct model *m, const struct node *leaf, const char *value,
                          size_t n, struct buf *canonical, struct err *e);

/* ---- documents --------------------------------------------------------------------------------
 */

struct doc_ref {
    const char *target; /* canonical path of the object referred to */
    const char *at;     /* where in this document: canonical path of the leaf */
    const struct node *leaf;
};

struct doc {
    const struct kind *kind;
    const char *path; /* canonical */
    size_t path_len;
    const char *json; /* canonical: schema order, no blanks, keys included, NUL-terminated */
    size_t json_len;
    const void *data;        /* the kind's struct of "model/kinds.h", defaults filled in */
    const char *const *keys; /* canonical key values, kind->n_keys of them */
    const struct doc_ref *refs;
    size_t n_refs;
    uint64_t hash; /* of path and json; the same in every process: for ETags and digests */
    size_t mem;    /* bytes this document takes */
    _Atomic uint32_t count;
};

struct doc *doc_hold(const struct doc *d); /* one more reference */
void doc_drop(struct doc *d);              /* NULL is allowed */
bool doc_equal(const struct doc *a, const struct doc *b);

/* Parses and validates one object: `json` is the object itself, {"name":"a",...}; member names may
 * carry their module. Everything but references to other objects is checked. */
enum err_code doc_parse(const struct model *m, const struct kind *k, const char *json, size_t len,
                        struct doc **out, struct err *e);
/* A record from a store: as above after the converters from `version` to the kind's. */
enum err_code doc_parse_stored(const struct model *m, const char *kind_name, uint32_t version,
                               const char *json, size_t len, struct doc **out, struct err *e);
/* One leaf or leaf-list by its path inside the object ("min-prefix-len", "prefix=10.0.0.0%2F24/x"),
 * as lexical text (leaf-list: first value); default when unset and it has one; NULL: unset. */
const char *doc_value(const struct model *m, const struct doc *d, const char *path,
                      struct arena *a);
/* `then`, a former version of an object, as going back to it makes it: what is weft:no-history is
 * as in `now`, or, when the object comes back (`now` NULL), as weft:returns-as has it or not there.
 * For kinds that are not weft:no-history as a whole. */
enum err_code doc_go_back(const struct model *m, const struct doc *then, const struct doc *now,
                          struct doc **out, struct err *e);
/* Converters between versions of a kind, for records written by older releases. `object` is a
 * jansson object (json_t *), changed in place. */
typedef enum err_code (*doc_converter)(void *object, struct err *e);
/* Registers one step, from `from` to `from + 1`. Not thread-safe: at start, or in convert.c. */
void doc_add_converter(const char *kind_name, uint32_t from, doc_converter f);

/* ---- views: how edits and prints see the objects ----------------------------------------------
 */

struct model_view {
    /* The object at a canonical path, with a reference for the caller; NULL: none. */
    struct doc *(*get)(void *arg, const char *path);
    /* The first object of the kind (`after` NULL) or the one following `after`, in path_cmp order;
     * with a reference for the caller; NULL: no more. */
    struct doc *(*next)(void *arg, const struct kind *k, const struct doc *after);
    void *arg;
};

/* `config false` data comes from here. */
struct model_state {
    /* Writes the JSON value of `node` at `path` (an object for containers and list entries, an
     * array for lists without keys, a JSON scalar for leaves), member names with or without
     * module. `node` is the highest config-false node on the way to what was asked for; `wanted`
     * is the canonical path that was asked for, at or below `path`, so a provider may leave out
     * what is not on the way there. ERR_ABSENT: there is nothing. */
    enum err_code (*get)(void *arg, const struct node *node, const char *path, const char *wanted,
                         struct buf *json, struct err *e);
    void *arg;
};

/* ---- edits ------------------------------------------------------------------------------------
 */

enum model_format {
    FORMAT_JSON, /* RFC 7951 */
    FORMAT_XML,  /* RFC 7950 */
    FORMAT_SET,  /* "set apm inet-pool partition a min-prefix-len 20" lines */
    FORMAT_TEXT, /* curly braces: "min-prefix-len 20;" */
    FORMAT_VALUE /* edits only: the body is a leaf's lexical value; empty for anything else */
};

enum edit_op {
    EDIT_MERGE,   /* what is given replaces or joins what is there; makes what is missing */
    EDIT_REPLACE, /* the target is exactly what is given; all objects below it that are not go */
    EDIT_CREATE,  /* ERR_EXISTS when the target is there */
    EDIT_DELETE,  /* ERR_ABSENT when it is not */
    EDIT_REMOVE,  /* delete, if there */
    EDIT_MOVE     /* an entry of a list or leaf-list ordered by the user goes where `insert` says;
                     ERR_ABSENT when it is not there; no body */
};

enum edit_insert { INSERT_NONE, INSERT_FIRST, INSERT_LAST, INSERT_BEFORE, INSERT_AFTER };

struct model_edit {
    enum edit_op op;
    /* Instance path: an object, a place inside one, a plain container above objects, or the root
     * ("/"). The body is the target itself, as RFC 8040 PUT and PATCH have it:
     * {"weft-apm:partition":[{...}]} for .../partition=a; for the root the top-level members. A
     * list without keys and op REPLACE/DELETE/REMOVE means all of its entries. */
    const char *target;
    /* POST: `target` is the parent, the body one child of it. */
    bool child;
    const char *body; /* NULL for delete and remove */
    size_t len;
    enum model_format format; /* JSON, XML, VALUE */
    /* ordered-by user lists and leaf-lists inside an object; `point` is an instance path */
    enum edit_insert insert;
    const char *point;
    /* For candidates, which are edited line by line: names and types are checked, but mandatory,
     * must, unique and the numbers of elements are not. Such a document goes through doc_parse()
     * again before anybody relies on its `data`. */
    bool draft;
};

struct edit_result {
    bool created;     /* the target was not there before */
    const char *path; /* canonical path of what was created or changed, in the caller's arena */
    size_t n_objects; /* how many were emitted */
};

/* Called once for each object that the edit touches, in no particular order; `old` NULL: created,
 * `new_doc` NULL: deleted. Both are the caller's only until it returns (doc_hold to keep). An
 * object whose document stays the same is not emitted. An error ends the edit. */
typedef enum err_code (*model_emit)(void *arg, struct doc *old, struct doc *new_doc, struct err *e);

enum err_code model_edit(const struct model *m, const struct model_view *view,
                         const struct model_edit *edit, struct arena *a, model_emit emit, void *arg,
                         struct edit_result *result, struct err *e);

/* An instance path as instance-identifier: in JSON as RFC 7951 6.11 writes it, in XML with a prefix
 * on each step, whose declarations (" xmlns:p=\"...\"") go to `ns` (NULL for JSON). A place that is
 * no single instance, such as a list without keys, is named by what is around it (`*exact` false).
 * Steps into an rpc's input follow the rpc's name, as YANG has them. False: it is no path of data.
 */
bool path_instance_id(const char *path, enum model_format format, struct buf *out, struct buf *ns,
                      bool *exact);

/* ---- printing ---------------------------------------------------------------------------------
 */

enum with_defaults { WD_EXPLICIT, WD_TRIM, WD_REPORT_ALL, WD_REPORT_ALL_TAGGED };
enum model_content { CONTENT_CONFIG, CONTENT_NONCONFIG, CONTENT_ALL };

/* What secrets are shown as; never taken as a value. */
#define MODEL_SECRET_MASK "********"

struct print_options {
    enum model_format format;
    enum with_defaults defaults;
    enum model_content content; /* other than CONFIG needs a `model_state` */
    unsigned depth;             /* RFC 8040 4.8.2; 0: unbounded */
    const char *fields;         /* RFC 8040 4.8.3; NULL: all */
    bool secrets;               /* in clear */
    bool in_use;   /* a leaf that is the target is shown with the default that is in use
                      for it, whatever `defaults` says (RFC 8040 3.5.4) */
    bool terminal; /* with the weft:terminal leaves of an output */
    bool pretty;   /* JSON, XML: indented */
    /* The element around it all, "ietf-restconf:data" or the like; its namespace for XML. NULL:
     * JSON {"module:name": ...}, XML the bare element(s). */
    const char *wrap, *wrap_ns;
};

typedef enum err_code (*model_write)(void *arg, const char *p, size_t n, struct err *e);

/* Prints what `target` names: an object, a place inside one, a container above objects, a list
 * without keys, or the root. One object at a time is in memory. ERR_ABSENT when it does not exist
 * (a plain container above objects always does). */
enum err_code model_print(const struct model *m, const struct model_view *view,
                          const struct model_state *state, const char *target,
                          const struct print_options *o, model_write write, void *arg,
                          struct err *e);
/* One object, without its surroundings above for JSON ({...}) and XML (the element). */
enum err_code doc_print(const struct model *m, const struct doc *d, const struct print_options *o,
                        struct buf *out, struct err *e);
/* For `write`: adds to the `struct buf *` that is `arg`. */
enum err_code model_write_buf(void *arg, const char *p, size_t n, struct err *e);

/* ---- XPath filters ----------------------------------------------------------------------------
 */

/* Is this an XPath 1.0 expression that selects nodes? Module names are the prefixes; a name without
 * one is of any module. ERR_INVALID: it is none, or has more than MODEL_XPATH_MAX bytes. */
enum err_code model_xpath_check(const char *expr, struct err *e);
/* `xml`: one element at `depth` below the root, alone in its ancestors. Adds to `out` what the
 * expression selects of that element: nodes, all below them, and the way there with keys; nothing
 * when it selects nothing. The expression sees this one object only, so position() and count() over
 * objects count to one. ERR_TOO_BIG: it takes too long. */
enum err_code model_xpath(const struct model *m, const char *expr, const char *xml, unsigned depth,
                          struct buf *out, struct err *e);

/* ---- differences ------------------------------------------------------------------------------
 */

enum diff_op { DIFF_CREATE, DIFF_DELETE, DIFF_CHANGE, DIFF_MOVE };

struct diff {
    enum diff_op op;
    const struct node *node;
    const char *path;      /* canonical instance path */
    const char *old_value; /* leaves: lexical; list entries and containers: NULL */
    const char *new_value; /* secrets masked */
};

/* Calls `f` for each difference of two versions of an object (either may be NULL), in schema
 * order: whole entries that come or go are reported as such and then leaf by leaf. */
enum err_code doc_diff(const struct model *m, const struct doc *old, const struct doc *new_doc,
                       void (*f)(void *arg, const struct diff *d), void *arg, struct err *e);
/* The same as text: FORMAT_SET (set and delete lines), or FORMAT_TEXT as `show | compare` has it:
 * "[edit apm inet-pool partition a]" and lines with + and -. */
enum err_code doc_diff_text(const struct model *m, const struct doc *old, const struct doc *new_doc,
                            enum model_format format, struct buf *out, struct err *e);

/* ---- rpcs and notifications -------------------------------------------------------------------
 */

struct rpc_input {
    const struct node *rpc;
    const char *json;           /* canonical, {"entity":"x"} */
    const void *data;           /* the generated struct of "model/kinds.h", defaults filled in */
    const struct doc_ref *refs; /* objects it names */
    size_t n_refs;
};

/* `body`: {"weft-apm:input":{...}}, {"entity":...} bare, or <input xmlns=...>; len 0: no input.
 * Lives in the arena. */
enum err_code rpc_input_parse(const struct model *m, const struct node *rpc, const char *body,
                              size_t len, enum model_format format, struct arena *a,
                              struct rpc_input *out, struct err *e);
/* From words: pairs of leaf name and lexical value, as the CLI has them. */
enum err_code rpc_input_words(const struct model *m, const struct node *rpc,
                              const char *const *names, const char *const *values, size_t n,
                              struct arena *a, struct rpc_input *out, struct err *e);
/* One input leaf as text; its default, or NULL. An `empty` leaf that is given: "". */
const char *rpc_input_value(const struct rpc_input *in, const char *leaf, struct arena *a);

/* `json`: the output's members, {"status":"ok"}. Checked against the model (an error is our own
 * bug: ERR_INTERNAL) and printed as {"weft-apm:output":{...}} or <output>; an rpc without output
 * prints nothing. */
enum err_code rpc_output_print(const struct model *m, const struct node *rpc, const char *json,
                               size_t len, const struct print_options *o, struct buf *out,
                               struct err *e);
/* {"ietf-restconf:notification":{"eventTime":..., "weft-apm:alarm-raised":{...}}} or the XML of
 * RFC 5277. `json`: the notification's members; `unix_ns` UTC. */
enum err_code notification_print(const struct model *m, const struct node *notification,
                                 const char *json, size_t len, int64_t unix_ns,
                                 const struct print_options *o, struct buf *out, struct err *e);

/* An XPath 1.0 expression over "the notification document" (RFC 8040 4.8.4): the context is the
 * root, whose only child is the notification; prefixes are module names. ERR_INVALID: it is none,
 * or has more than MODEL_FILTER_MAX bytes. The caller frees it. */
struct model_filter;
enum err_code model_filter_new(const char *xpath, struct model_filter **out, struct err *e);
void model_filter_free(struct model_filter *f); /* NULL is allowed */
/* Is it true of this notification (`json` as for printing)? What takes too long to say is false. */
bool model_filter_matches(const struct model *m, const struct model_filter *f,
                          const struct node *notification, const char *json, size_t len);

/* ---- yang-library (RFC 8525) ------------------------------------------------------------------
 */

/* JSON value of ietf-yang-library:yang-library (`old` false) or of modules-state (true). */
void model_yang_library(bool old, struct buf *json);

#endif
