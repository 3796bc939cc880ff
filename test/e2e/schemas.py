# SPDX-License-Identifier: Apache-2.0
"""Bodies of RESTCONF through yanglint: what is in no datastore too (errors, patch states, events, outputs).

yanglint judges data nodes and knows nothing of rc:yang-data. So the templates of ietf-restconf and
ietf-yang-patch become state data in copies of the modules: of the IETF's own text when it is at hand
(WEFT_SHARED), else of ours in test/restconf/yang.
"""
import html
import json
import os
import re
import subprocess
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.join(HERE, "../..")
YANG, TOY = os.path.join(TREE, "yang"), os.path.join(TREE, "test/toy")
SHARED = os.environ.get("WEFT_SHARED", os.path.join(TREE, "../shared"))
LIBYANG = "/usr/share/yang/modules/libyang"
WITH_DEFAULTS = "/usr/share/yuma/modules/ietf/ietf-netconf-with-defaults@2011-06-01.yang"
ACM = "/usr/share/yuma/modules/ietf/ietf-netconf-acm@2018-02-14.yang"
REVISIONS = {"ietf-restconf": "2017-01-26", "ietf-yang-patch": "2017-02-22",
             "ietf-restconf-monitoring": "2017-01-26"}


def ietf(name):
    """The IETF's text of a module, else ours."""
    path = os.path.join(SHARED, "yang", f"{name}@{REVISIONS[name]}.yang")
    if not os.path.exists(path):
        path = os.path.join(TREE, "yang" if name == "ietf-restconf-monitoring" else "test/restconf/yang",
                            f"{name}.yang")
    return path


def as_state(name, grouping):
    """The module's text with what the grouping holds as state data, and without its templates."""
    text = open(ietf(name), encoding="utf-8").read()
    text = re.sub(r'\n  rc:yang-data "?[a-z-]+"? \{\n.*?\n  \}\n', "\n", text, flags=re.S)
    # an error is about something that may not be there
    text = text.replace("type instance-identifier;", "type instance-identifier { require-instance false; }")
    uses = f"  uses {grouping} {{ refine {grouping} {{ config false; }} }}\n" if grouping else ""
    return re.sub(r"\n(  grouping )", "\n" + uses + r"\1", text, count=1)


def modules_for(folder, template):
    """Writes the copies into the folder. template: "errors", "restconf" or "yang-patch-status"."""
    os.makedirs(folder, exist_ok=True)
    paths = []
    for name in ("ietf-restconf", "ietf-yang-patch"):
        mine = template if (name == "ietf-yang-patch") == (template == "yang-patch-status") else None
        path = os.path.join(folder, f"{name}@{REVISIONS[name]}.yang")
        with open(path, "w", encoding="utf-8") as f:
            f.write(as_state(name, mine))
        if mine:
            paths.append(path)
    return paths


def yanglint(tmp, text, kind="get", suffix=None, modules=()):
    """Does yanglint accept this body? kind: its --type. Returns (whether, what it said)."""
    suffix = suffix or ("xml" if text.lstrip()[:1] == "<" else "json")
    path = os.path.join(str(tmp), f"body.{suffix}")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    search = [d for m in modules for d in ("-p", os.path.dirname(m))]
    cmd = ["yanglint", *search, "-p", YANG, "-p", TOY, "-p", LIBYANG, "-t", kind, "-f", suffix,
           *(["-e"] if modules else []), *modules, os.path.join(YANG, "weft-apm.yang"),
           os.path.join(YANG, "weft-system.yang"), os.path.join(YANG, "weft-admin.yang"), os.path.join(YANG, "weft-job.yang"),
           os.path.join(YANG, "weft-forward.yang"), os.path.join(YANG, "weft-onboard.yang"),
           ACM, os.path.join(YANG, "weft-nacm.yang"), os.path.join(TOY, "weft-toy.yang"), ietf("ietf-restconf-monitoring"),
           f"{LIBYANG}/ietf-yang-library@2019-01-04.yang", f"{LIBYANG}/ietf-datastores@2018-02-14.yang", path]
    r = subprocess.run(cmd, capture_output=True, text=True)
    return r.returncode == 0 and "err" not in r.stderr.lower(), r.stderr + r.stdout


# Keys of the lists that the tests look into, for what stands around a part of one; numbers are marked.
KEYS = {"toy": ["maker", "number#"], "box": ["name"], "game": ["name"], "part": ["name"], "screw": ["size#"],
        "module": ["name", "revision"], "stream": ["name"], "access": ["encoding"], "user": ["name"], "role": ["name"],
        "partition": ["name"], "pool-domain-profile": ["name"], "entity-match": ["system-id"], "entity": ["id"]}


def around(text, path):
    """The body of a data resource as yanglint wants it: from the top, with what is above the resource."""
    steps = [s.split("=") for s in path.strip("/").split("/")]
    names = {"weft-toy": "urn:weft:toy", "weft-system": "urn:weft:system", "weft-apm": "urn:weft:apm",
             "weft-job": "urn:weft:job", "weft-admin": "urn:weft:admin", "weft-forward": "urn:weft:forward",
             "weft-onboard": "urn:weft:onboard"}
    xml = text.lstrip()[:1] == "<"
    value = text.strip() if xml else json.loads(text)
    if not steps[0][0]:  # the datastore
        return re.sub(r"^<data [^>]*>(.*)</data>$", r"\1", value, flags=re.S) if xml else \
            json.dumps(value["ietf-restconf:data"])
    module = steps[0][0].split(":")[0]
    ns = names.get(module, "urn:ietf:params:xml:ns:yang:" + module)
    for name, *keys in reversed(steps[:-1]):
        local = name.split(":")[-1]
        values = [urllib.parse.unquote(k) for k in keys[0].split(",")] if keys else []
        known = list(zip(KEYS[local], values)) if keys else []
        if xml:
            leaves = "".join(f"<{n.strip('#')}>{html.escape(v)}</{n.strip('#')}>" for n, v in known)
            value = f'<{local} xmlns="{ns}">{leaves}{value}</{local}>'
        else:
            entry = {n.strip("#"): int(v) if n[-1] == "#" else v for n, v in known}
            entry.update({k.split(":")[-1]: v for k, v in value.items()})
            value = {f"{module}:{local}": [entry] if keys else entry}
    return value if xml else json.dumps(value)


def check_body(tmp, text, path=None):
    """Asserts that yanglint accepts a body of a response: data of the resource at `path` (below /restconf/data),
    errors, patch state, API, or event."""
    xml = text.lstrip()[:1] == "<"
    top = re.match(r"\s*<([\w-]+)", text).group(1) if xml else next(iter(json.loads(text))).split(":")[1]
    modules, kind = [], "get"
    if top == "yang-library-version":
        text, top = (f'<restconf xmlns="urn:ietf:params:xml:ns:yang:ietf-restconf">{text}</restconf>', "restconf") if xml \
            else (json.dumps({"ietf-restconf:restconf": {top: json.loads(text)["ietf-restconf:" + top]}}), "restconf")
    if top in ("errors", "restconf", "yang-patch-status"):
        modules = modules_for(os.path.join(str(tmp), top), top)
        kind = "get" if top == "restconf" else "data"  # parts of the API resource lack what is mandatory
    elif top == "notification" and xml:
        kind = "nc-notif"
    elif top == "notification":
        n = json.loads(text)["ietf-restconf:notification"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", n.pop("eventTime"))
        text, kind = json.dumps(n), "notif"
    elif path is not None:
        text = around(text, path)
        # RFC 6243 section 6 puts the attribute where libyang does not look for it
        text = re.sub(r' xmlns:wd="[^"]*" wd:default="true"', "", text)
        modules = [WITH_DEFAULTS] if "ietf-netconf-with-defaults:" in text else []
    ok, why = yanglint(tmp, text, kind, modules=modules)
    assert ok, f"{why}\n{text[:2000]}"


def check_output(tmp, text, rpc):
    """Asserts that yanglint accepts the output of an rpc, "module:name"; it wants the rpc's name around it."""
    module, name = rpc.split(":")
    if text.lstrip()[:1] == "<":
        text = re.sub(r"^<output", f"<{name}", text.strip())
        text = re.sub(r"</output>$", f"</{name}>", text)
    else:
        text = json.dumps({rpc: json.loads(text)[f"{module}:output"]})
    ok, why = yanglint(tmp, text, "reply")
    assert ok, f"{why}\n{text[:2000]}"
