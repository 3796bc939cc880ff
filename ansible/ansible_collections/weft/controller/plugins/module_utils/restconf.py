# SPDX-License-Identifier: Apache-2.0
"""RESTCONF (RFC 8040, YANG Patch of RFC 8072) as the modules need it."""
import json
from urllib.error import HTTPError
from urllib.parse import quote

from ansible.module_utils.common.text.converters import to_text
from ansible.module_utils.urls import open_url

DATA = "application/yang-data+json"
PATCH = "application/yang-patch+json"
OPENAPI = "/openapi.json"

ARGUMENTS = {
    "url": {"type": "str", "required": True},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "token": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
    "timeout": {"type": "int", "default": 60},
}
LOGIN = {"required_together": [("user", "password")], "mutually_exclusive": [("user", "token")],
         "required_one_of": [("user", "token")]}


class Refused(Exception):
    """What the controller, or the way to it, has to say; `errors` as RESTCONF lists them."""

    def __init__(self, text, status=0, errors=()):
        super().__init__(text)
        self.status, self.errors = status, list(errors)


def sentence(error):
    """One of RESTCONF's errors for people: place, reason."""
    place = error.get("error-path")
    return ("%s: " % place if place else "") + error.get("error-message", error.get("error-tag", "refused"))


def errors_in(body):
    """The errors of an answer, also those in the states of the edits of a YANG Patch."""
    if isinstance(body, dict):
        for name, value in body.items():
            if name.split(":")[-1] == "error" and isinstance(value, list):
                for error in value:
                    yield error
            else:
                for error in errors_in(value):
                    yield error
    elif isinstance(body, list):
        for value in body:
            for error in errors_in(value):
                yield error


class Controller:
    def __init__(self, params):
        self.params = params

    def ask(self, method, path, body=None, media=DATA, query=None):
        """Returns (headers in lower case, decoded body or None)."""
        p = self.params
        headers = {"Accept": "application/json" if path == OPENAPI else DATA}
        if p["token"]:
            headers["Authorization"] = "Bearer " + p["token"]
        if body is not None:
            headers["Content-Type"] = media
            body = json.dumps(body)
        words = ["%s=%s" % (k, quote(str(v), safe="")) if v is not None else k for k, v in (query or {}).items()]
        root = "" if path == OPENAPI else "/restconf"
        url = p["url"].rstrip("/") + root + path + ("?" + "&".join(words) if words else "")
        try:
            r = open_url(url, data=body, headers=headers, method=method, timeout=p["timeout"], ca_path=p["ca_path"],
                         url_username=p["user"], url_password=p["password"], force_basic_auth=bool(p["user"]),
                         follow_redirects="none")
            text = to_text(r.read())
            return {k.lower(): v for k, v in r.headers.items()}, json.loads(text) if text.strip() else None
        except HTTPError as e:
            text = to_text(e.read())
            try:
                errors = list(errors_in(json.loads(text)))
            except ValueError:
                errors = []
            raise Refused("; ".join(map(sentence, errors)) or "%s %s: status %d %s" % (method, url, e.code, text[:200]),
                          e.code, errors)
        except Exception as e:  # connection, TLS, time: each has its own type in each version of Python
            raise Refused("%s can't be asked: %s" % (p["url"], to_text(e)))

    def key_names(self):
        """Path of a list, without keys -> names of its keys; from the controller's description of itself."""
        found = {}
        for path in self.ask("GET", OPENAPI)[1]["paths"]:
            if path.startswith("/restconf/data/") and path.endswith("}"):
                steps = path[len("/restconf/data/"):].split("/")
                found["/".join(s.partition("=")[0] for s in steps)] = \
                    [k.strip("{}").partition(".")[2] for k in steps[-1].partition("=")[2].split(",")]
        return found
