# SPDX-License-Identifier: Apache-2.0
class ModuleDocFragment:
    DOCUMENTATION = r'''
options:
  url:
    description: Where the controller's RESTCONF is, without a path, such as C(https://weft.example.net:8443).
    type: str
    required: true
  user:
    description: User, for a login by password.
    type: str
  password:
    description: The user's password.
    type: str
  token:
    description: API token, instead of user and password.
    type: str
  ca_path:
    description: PEM file with the controller's authority (C(pki/ca.pem) of its data folder); without it the system's.
    type: path
  timeout:
    description: Seconds to wait for an answer.
    type: int
    default: 60
'''
