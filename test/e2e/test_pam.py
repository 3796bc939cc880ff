# SPDX-License-Identifier: Apache-2.0
"""Logins that PAM decides, in a folder of services of their own: rights, groups, what is slow, and what is refused."""
import os
import subprocess
import time

import pytest
from ncclient import manager
from ncclient.transport.errors import AuthenticationError, SessionCloseError, SSHError, TransportError

from weftd import BUILD, Weftd

SETTINGS = "/data/weft-system:system/settings"
WEFT = os.path.join(BUILD, "cli", "weft")
WORD = "known to the directory"


@pytest.fixture(scope="module")
def pam(tmp_path_factory):
    """A service whose module is a script: who knows WORD is let in, but for those it plays tricks on."""
    d = tmp_path_factory.mktemp("pam.d")
    check, account = d / "check", d / "account"
    check.write_text(f"""#!/bin/sh
password=$(tr -d '\\0')
case $PAM_USER in slow) sleep 300 ;; crash) kill -9 $PPID ;; esac
echo "$PAM_USER $PAM_RHOST $PAM_TTY" >> {d}/asked
[ "$password" = "{WORD}" ]
""")
    account.write_text("#!/bin/sh\n[ \"$PAM_USER\" != expired ]\n")
    for f in (check, account):
        f.chmod(0o755)
    for service in ("weft", "other"):
        (d / service).write_text(f"auth required pam_exec.so quiet expose_authtok {check}\n"
                                 f"account required pam_exec.so quiet {account}\n")
    (d / "closed").write_text("auth required pam_deny.so\naccount required pam_deny.so\n")
    return d


@pytest.fixture(scope="module")
def w(tmp_path_factory, pam):
    os.environ["WEFT_PAM_CONFDIR"] = str(pam)
    d = Weftd(tmp_path_factory.mktemp("weftd"), toy=False, args=["--listen-netconf", "127.0.0.1:0"])
    del os.environ["WEFT_PAM_CONFDIR"]
    for role, access in (("look", "read"), ("all", "read write exec")):
        d.put(f"/data/weft-system:system/role={role}",
              {"weft-system:role": [{"name": role, "right": [{"path": "/", "access": access}]}]})
    for user, role in (("guests", "look"), ("operators", "all"), ("olga", "all")):
        d.put(f"/data/weft-system:system/user={user}", {"weft-system:user": [{"name": user, "role": [role]}]})
    yield d
    d.stop()


@pytest.fixture(autouse=True)
def settings_go(w):
    yield
    assert w.delete(SETTINGS).status_code in (204, 404)


def authentication(w, order="local-then-pam", **more):
    r = w.put(SETTINGS, {"weft-system:settings": {"authentication": {"order": order, **more}}})
    assert r.status_code in (201, 204), r.text



def reads(w, user, word=WORD):
    r = w.get("/data/weft-system:system", session=w.session(user, word))
    return r.status_code == 200


def writes(w, user):
    r = w.put("/data/weft-apm:apm/pool-domain-profile=p", {"weft-apm:pool-domain-profile": [
        {"name": "p", "apportion-threshold": 10, "reclaim-threshold": 900}]}, session=w.session(user, WORD))
    assert r.status_code in (201, 204, 401, 403), r.text
    return r.status_code in (201, 204)


def audit(w):
    return w.post("/operations/weft-system:show-audit", {"weft-system:input": {"lines": 40}}).text


def test_nobody_is_asked_unless_configured(w, pam):
    assert not reads(w, "olga") and not reads(w, "paula")
    assert not (pam / "asked").exists()


def test_a_user_here_has_his_own_roles(w, pam):
    authentication(w)
    assert writes(w, "olga")
    assert not reads(w, "olga", "something else")
    assert "olga 127.0.0.1 weft" in (pam / "asked").read_text()
    assert not reads(w, "paula")  # PAM would let her in, but as whom?
    assert "PAM lets in who has no user and no template here" in audit(w)
    r = w.patch("/data/weft-system:system/user=olga", {"weft-system:user": [{"name": "olga", "disabled": True}]})
    assert r.status_code == 204, r.text
    assert not reads(w, "olga")
    w.patch("/data/weft-system:system/user=olga", {"weft-system:user": [{"name": "olga", "disabled": False}]})
    assert reads(w, "olga")


def test_groups_and_template(w):
    authentication(w, **{"template-user": "guests", "pam-group": [{"name": "no-such-group", "user": "guests"},
                                                                  {"name": "daemon", "user": "operators"}]})
    assert reads(w, "paula") and not writes(w, "paula")
    assert writes(w, "daemon")  # the machine's user daemon is in the group daemon
    assert not reads(w, "expired") and not reads(w, "paula", "guess")
    assert not reads(w, "bng:paula") and not reads(w, "system")
    text = audit(w)
    assert "PAM did not let the user in" in text
    # The template's user can't go, and when he may not log in, neither may they.
    assert w.delete("/data/weft-system:system/user=guests").status_code == 409
    w.patch("/data/weft-system:system/user=guests", {"weft-system:user": [{"name": "guests", "disabled": True}]})
    assert not reads(w, "paula") and reads(w, "daemon")
    w.patch("/data/weft-system:system/user=guests", {"weft-system:user": [{"name": "guests", "disabled": False}]})
    authentication(w, **{"pam-service": "closed", "template-user": "guests"})
    assert not reads(w, "paula") and not reads(w, "daemon")
    authentication(w, **{"pam-service": "other", "template-user": "guests"})
    assert reads(w, "paula")


def test_the_order(w):
    authentication(w, order="pam")
    assert w.get("/data").status_code == 401  # admin's password is the controller's own
    session = w.session("olga", WORD)
    body = {"weft-system:settings": {"authentication": {"order": "pam-then-local"}}}
    assert w.put(SETTINGS, body, session=session).status_code == 204
    assert w.get("/data").status_code == 200 and reads(w, "olga")


def test_slow_and_crashing_modules(w):
    authentication(w, order="pam-then-local", **{"pam-timeout": 1, "template-user": "guests"})
    slow = [subprocess.Popen(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", w.ca, "-u",
                              f"slow:{WORD}{i}", w.base + "/restconf/data"], stdout=subprocess.PIPE, text=True)
            for i in range(8)]
    assert w.get("/data").status_code == 200  # the controller's own passwords go on meanwhile
    assert [p.communicate(timeout=60)[0] for p in slow] == ["401"] * 8
    assert not reads(w, "crash")
    assert "PAM could not be asked" in audit(w)
    assert reads(w, "paula") and w.alive()
    left = subprocess.run(["pgrep", "-P", str(w.p.pid)], capture_output=True, text=True, check=False).stdout
    assert left == "", left


def connect(w, user, word=WORD):
    return manager.connect(host="127.0.0.1", port=w.ports["netconf"], username=user, password=word,
                           hostkey_verify=False, allow_agent=False, look_for_keys=False, timeout=60)


def test_netconf_and_the_command_line(w, tmp_path):
    authentication(w, **{"template-user": "guests"})
    with pytest.raises(AuthenticationError):
        connect(w, "paula", "guess")
    m = connect(w, "paula")
    assert "guests" in m.get_config("running").data_xml
    with pytest.raises(Exception, match="right"):
        m.edit_config(target="running", config="""<config
            xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><system xmlns="urn:weft:system"><settings>
            <location>here</location></settings></system></config>""")
    word = tmp_path / "word"
    word.write_text(WORD + "\n")
    r = subprocess.run([WEFT, "-H", f"localhost:{w.port}", "--ca", w.ca, "-u", "paula", "--password-file", str(word),
                        "show", "system", "users"], env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}, capture_output=True, text=True, timeout=60, check=False)
    assert r.returncode == 0 and "paula" in r.stdout, r.stdout + r.stderr
    # Whose template may not log in any more is out.
    w.patch("/data/weft-system:system/user=guests", {"weft-system:user": [{"name": "guests", "disabled": True}]})
    until = time.monotonic() + 60
    while m.connected and time.monotonic() < until:
        try:
            m.get_config("running")
        except (SessionCloseError, SSHError, TransportError, OSError):
            break
        time.sleep(0.1)
    assert not m.connected or time.monotonic() < until
    w.patch("/data/weft-system:system/user=guests", {"weft-system:user": [{"name": "guests", "disabled": False}]})
