#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
DOCUMENTATION = r'''
---
module: weft_info
short_description: Reads configuration and state of a Weft controller
description: Changes nothing.
extends_documentation_fragment: weft.controller.connection
options:
  path:
    description: RESTCONF path below C(/restconf/data); without it everything.
    type: str
    default: ""
  content:
    description: Configuration, state, or both.
    type: str
    choices: [all, config, nonconfig]
    default: all
  fields:
    description: Only these, as RFC 8040 section 4.8.3 writes them.
    type: str
  depth:
    description: Only so many levels.
    type: int
author: The Weft project
'''

EXAMPLES = r'''
- name: How are the gateways?
  weft.controller.weft_info:
    url: https://weft.example.net:8443
    token: "{{ weft_token }}"
    path: /weft-apm:apm/state
  register: apm
'''

RETURN = r'''
data:
  description: What is there, as RESTCONF has it; C(null) when nothing is.
  type: dict
  returned: success
exists:
  description: Whether something is there.
  type: bool
  returned: success
'''
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.weft.controller.plugins.module_utils.restconf import ARGUMENTS, LOGIN, Controller, Refused


def main():
    module = AnsibleModule(
        argument_spec=dict(ARGUMENTS, path={"type": "str", "default": ""},
                           content={"type": "str", "choices": ["all", "config", "nonconfig"], "default": "all"},
                           fields={"type": "str"}, depth={"type": "int"}),
        supports_check_mode=True, **LOGIN)
    p = module.params
    query = {"content": p["content"]}
    query.update({k: p[k] for k in ("fields", "depth") if p[k] is not None})
    path = "/data" + ("/" + p["path"].strip("/") if p["path"].strip("/") else "")
    data = None
    try:
        data = Controller(p).ask("GET", path, query=query)[1]
    except Refused as e:
        # What is not there is an answer; what can't be is a mistake.
        if e.status != 404 or not any(x.get("error-tag") == "invalid-value" for x in e.errors) or \
                any("unknown" in x.get("error-message", "") for x in e.errors):
            module.fail_json(msg=str(e), status=e.status, errors=e.errors)
    module.exit_json(changed=False, data=data, exists=data is not None)


if __name__ == "__main__":
    main()
