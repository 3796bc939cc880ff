#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
DOCUMENTATION = r'''
---
module: weft_call
short_description: Runs a command of a Weft controller
description:
  - An operation of the model, such as C(weft-apm:drain) or C(weft-system:backup).
  - Those that only show are run in check mode as well; others are not, and count as a change.
extends_documentation_fragment: weft.controller.connection
options:
  operation:
    description: Its name with its module.
    type: str
    required: true
  input:
    description: The members of its input.
    type: dict
author: The Weft project
'''

EXAMPLES = r'''
- name: A backup before the change
  weft.controller.weft_call:
    url: https://weft.example.net:8443
    token: "{{ weft_token }}"
    operation: weft-system:backup
    input:
      file: before-4711
'''

RETURN = r'''
output:
  description: The members of its output.
  type: dict
  returned: success
'''
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.weft.controller.plugins.module_utils.restconf import ARGUMENTS, LOGIN, Controller, Refused


def main():
    module = AnsibleModule(argument_spec=dict(ARGUMENTS, operation={"type": "str", "required": True},
                                              input={"type": "dict"}),
                           supports_check_mode=True, **LOGIN)
    p = module.params
    prefix, colon, name = p["operation"].partition(":")
    if not colon:
        module.fail_json(msg="write the operation with its module, such as weft-system:%s" % prefix)
    looks = name.startswith(("show-", "explain-"))
    output = {}
    if looks or not module.check_mode:
        body = {prefix + ":input": p["input"]} if p["input"] else None
        try:
            answer = Controller(p).ask("POST", "/operations/" + p["operation"], body)[1]
            output = (answer or {}).get(prefix + ":output", {})
        except Refused as e:
            module.fail_json(msg=str(e), status=e.status, errors=e.errors)
    module.exit_json(changed=not looks, output=output)


if __name__ == "__main__":
    main()
