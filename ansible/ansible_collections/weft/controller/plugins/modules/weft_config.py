#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
DOCUMENTATION = r'''
---
module: weft_config
short_description: Changes the configuration of a Weft controller
description:
  - All edits together are one commit; it is made whole or not at all.
  - What would change is asked of the controller first, so check mode and diff show what it would do, and nothing is
    committed when nothing differs.
extends_documentation_fragment: weft.controller.connection
options:
  edits:
    description: The edits, in order.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: RESTCONF path below C(/restconf/data), such as C(/weft-apm:apm/pool-domain-profile=gold).
        type: str
        required: true
      operation:
        description: C(merge) keeps what is not named, C(replace) does not, C(remove) and C(create) as they say.
        type: str
        choices: [merge, replace, remove, create]
        default: merge
      value:
        description:
          - What stands there, as RESTCONF has it. The outer member and the list around it may be left out, so that the
            members of the object alone are written.
        type: dict
  comment:
    description: Kept with the commit.
    type: str
  confirmed:
    description: Seconds after which the commit is taken back unless a later one confirms it.
    type: int
  confirmed_applied:
    description: Seconds after which it is taken back unless all its targets have applied it.
    type: int
  wait:
    description: Seconds to wait until the targets have applied it; a refusal makes the task fail.
    type: int
  force:
    description: Goes past guard rails.
    type: bool
    default: false
author: The Weft project
'''

EXAMPLES = r'''
- name: A profile and a root prefix, in one commit
  weft.controller.weft_config:
    url: https://weft.example.net:8443
    token: "{{ weft_token }}"
    ca_path: files/weft-ca.pem
    comment: "change 4711"
    edits:
      - path: /weft-apm:apm/pool-domain-profile=gold
        value:
          apportion-threshold: 100
          reclaim-threshold: 300
      - path: /weft-apm:apm/inet-pool/partition=metro
        operation: replace
        value:
          min-prefix-len: 20
          max-prefix-len: 28
          prefix:
            - prefix: 100.64.0.0/23
      - path: /weft-apm:apm/pool-domain-profile=old
        operation: remove
'''

RETURN = r'''
difference:
  description: What differs, as lines of configuration mode.
  type: list
  elements: str
  returned: always
commit:
  description: Number of the commit.
  type: int
  returned: when one was made
commit_status:
  description: C(applied), C(pending), C(refused) or C(taken-back).
  type: str
  returned: with wait
warnings:
  description: What the controller warns of.
  type: list
  returned: when there are any
errors:
  description: The controller's reasons, as RESTCONF lists them.
  type: list
  returned: on failure
'''
from urllib.parse import unquote

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.weft.controller.plugins.module_utils.restconf import ARGUMENTS, LOGIN, PATCH, Controller, Refused

EDIT = {"path": {"type": "str", "required": True},
        "operation": {"type": "str", "choices": ["merge", "replace", "remove", "create"], "default": "merge"},
        "value": {"type": "dict"}}


def whole(path, value, key_names):
    """`value` with its outer member, and for an entry of a list its keys, which the path has already."""
    steps = path.strip("/").split("/")
    module = [s.split(":")[0] for s in steps if ":" in s.split("=")[0]][-1]
    name, has_keys, keys = steps[-1].partition("=")
    outer = name if ":" in name else "%s:%s" % (module, name)
    if list(value) == [outer]:
        return value
    if not has_keys:
        return {outer: value}
    entry = dict(value)
    for key, text in zip(key_names, map(unquote, keys.split(","))):
        entry.setdefault(key, text)
    return {outer: [entry]}


def key_names(controller, path, seen):
    """Names of the keys of the list at `path`: OpenAPI's description of the controller has them."""
    if "paths" not in seen:
        seen["paths"] = controller.key_names()
    plain = "/".join(s.partition("=")[0] for s in path.strip("/").split("/"))
    return seen["paths"].get(plain, [])


def main():
    module = AnsibleModule(
        argument_spec=dict(ARGUMENTS, edits={"type": "list", "elements": "dict", "required": True, "options": EDIT},
                           comment={"type": "str"}, confirmed={"type": "int"}, confirmed_applied={"type": "int"},
                           wait={"type": "int"}, force={"type": "bool", "default": False}),
        supports_check_mode=True, required_one_of=LOGIN["required_one_of"],
        required_together=LOGIN["required_together"],
        mutually_exclusive=LOGIN["mutually_exclusive"] + [("confirmed", "confirmed_applied")])
    p = module.params
    controller, seen, edits = Controller(p), {}, []
    result = {"changed": False}
    try:
        for i, e in enumerate(p["edits"]):
            edit = {"edit-id": str(i + 1), "operation": e["operation"], "target": "/" + e["path"].strip("/")}
            if e["operation"] != "remove":
                if e["value"] is None:
                    module.fail_json(msg="edit %d (%s) needs a value" % (i + 1, e["path"]))
                names = key_names(controller, e["path"], seen) if "=" in e["path"].rsplit("/", 1)[-1] else []
                edit["value"] = whole(e["path"], e["value"], names)
            edits.append(edit)
        patch = {"ietf-yang-patch:yang-patch": {"patch-id": "ansible", "edit": edits}}
        force = {"commit-force": None} if p["force"] else {}
        dry = controller.ask("PATCH", "/data", patch, PATCH, dict({"commit-dry-run": None}, **force))[1]
        result.update(difference=dry["difference"], changed=bool(dry["difference"]))
        if dry.get("warnings"):
            result["warnings"] = dry["warnings"]
        if module._diff:
            result["diff"] = {"prepared": "".join(line + "\n" for line in dry["difference"])}
        if result["changed"] and not module.check_mode:
            query = dict(force)
            for name, option in (("commit-comment", "comment"), ("commit-confirmed", "confirmed"),
                                 ("commit-confirmed-applied", "confirmed_applied"), ("commit-wait", "wait")):
                if p[option] is not None:
                    query[name] = p[option]
            headers = controller.ask("PATCH", "/data", patch, PATCH, query)[0]
            result["commit"] = int(headers["weft-commit"])
            if "weft-commit-status" in headers:
                result["commit_status"] = headers["weft-commit-status"]
                if result["commit_status"] in ("refused", "taken-back"):
                    module.fail_json(msg="commit %d was %s: %s" % (result["commit"], result["commit_status"],
                                     headers.get("weft-commit-detail", "")), **result)
    except Refused as e:
        module.fail_json(msg=str(e), status=e.status, errors=e.errors)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
