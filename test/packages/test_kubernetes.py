# SPDX-License-Identifier: Apache-2.0
"""The manifests for Kubernetes, against the structures of its API as python3-kubernetes has them.

No cluster runs here: what is checked is that each member exists, has its type and is there when it must be, and
that what refers to something by name finds it."""
import os
import re
import subprocess

import pytest
import yaml
from kubernetes import client

from machine import TOP, run

RENDER = os.path.join(TOP, "packaging", "kubernetes", "render.py")
ETCD = "https://etcd-0:2379,https://etcd-1:2379,https://etcd-2:2379"
MODELS = {"Namespace": "V1Namespace", "ConfigMap": "V1ConfigMap", "Service": "V1Service",
          "StatefulSet": "V1StatefulSet", "PodDisruptionBudget": "V1PodDisruptionBudget"}
# The client's model of a claim in a template asks for nothing of it.
SCALARS = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": (str, int, dict)}


def wrong(value, kind, place):
    """Lines about what the structure `kind` does not have, or has with another type, or must have."""
    m = re.fullmatch(r"list\[(.*)\]", kind)
    if m:
        if not isinstance(value, list):
            return [f"{place}: no list"]
        return [w for i, v in enumerate(value) for w in wrong(v, m.group(1), f"{place}[{i}]")]
    m = re.fullmatch(r"dict\((\w+), (.*)\)", kind)
    if m:
        return [w for k, v in value.items() for w in wrong(v, m.group(2), f"{place}.{k}")]
    if kind in SCALARS:
        good = isinstance(value, SCALARS[kind]) and (kind == "bool" or not isinstance(value, bool))
        return [] if good else [f"{place}: {value!r} is no {kind}"]
    model = getattr(client, kind)
    names = {v: k for k, v in model.attribute_map.items()}
    found = [f"{place}.{k}: unknown" for k in value if k not in names]
    known = {names[k]: v for k, v in value.items() if k in names}
    try:
        model(**known)
    except ValueError as e:
        found.append(f"{place}: {e}")
    return found + [w for k, v in known.items() for w in wrong(v, model.openapi_types[k], f"{place}.{k}")]


def render(*words):
    text = run("/usr/bin/python3", RENDER, "--image", "weft:0.1.0", "--hostname", "weft.example.net", *words)
    things = list(yaml.safe_load_all(text))
    return {(t["kind"], t["metadata"]["name"]): t for t in things}


@pytest.fixture(params=["single", "cluster"])
def things(request):
    return render(*([] if request.param == "single" else ["--etcd", ETCD, "--namespace", "lab",
                                                          "--storage-class", "fast"]))


# proves: APM-133
def test_the_structure_is_that_of_the_api(things):
    for (kind, name), thing in things.items():
        assert wrong(thing, MODELS[kind], f"{kind}/{name}") == []
        group = "policy/v1" if kind == "PodDisruptionBudget" else "apps/v1" if kind == "StatefulSet" else "v1"
        assert thing["apiVersion"] == group


def test_the_check_sees_mistakes():
    things = render()
    bad = things[("StatefulSet", "weft")]
    bad["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["httpGet"]["prot"] = 1
    del bad["spec"]["selector"]
    bad["spec"]["replicas"] = "three"
    found = " ".join(wrong(bad, "V1StatefulSet", "s"))
    assert "prot: unknown" in found and "selector" in found and "'three' is no int" in found


# proves: APM-130
def test_what_refers_to_something_finds_it(things):
    names = {t["metadata"]["namespace"] for (kind, _), t in things.items() if kind != "Namespace"}
    assert names == {name for kind, name in things if kind == "Namespace"}
    stateful = things[("StatefulSet", "weft")]["spec"]
    pod = stateful["template"]
    volumes = {v["name"] for v in pod["spec"]["volumes"]} | \
        {v["metadata"]["name"] for v in stateful["volumeClaimTemplates"]}
    for c in pod["spec"]["containers"] + pod["spec"].get("initContainers", []):
        assert {m["name"] for m in c["volumeMounts"]} <= volumes
    for v in pod["spec"]["volumes"]:
        if "configMap" in v:
            assert ("ConfigMap", v["configMap"]["name"]) in things
    ports = {p["name"]: p["containerPort"] for p in pod["spec"]["containers"][0]["ports"]}
    ports.pop("relay", None)  # among the nodes: no service has it
    for kind, name in things:
        if kind == "Service":
            spec = things[(kind, name)]["spec"]
            assert spec["selector"].items() <= pod["metadata"]["labels"].items()
            assert {p["targetPort"]: p["port"] for p in spec["ports"]} == ports
    assert ("Service", stateful["serviceName"]) in things
    assert stateful["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert pod["spec"]["containers"][0][probe]["httpGet"]["port"] in ports
    conf = things[("ConfigMap", "weft")]["data"]["weftd.conf"]
    assert {int(p) for p in re.findall(r"^listen\S* :(\d+)$", conf, re.M)} == set(ports.values())


def test_the_cluster_form():
    things = render("--etcd", ETCD)
    spec = things[("StatefulSet", "weft")]["spec"]
    assert spec["replicas"] == 3
    (rule,) = spec["template"]["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule["labelSelector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert things[("PodDisruptionBudget", "weft")]["spec"]["maxUnavailable"] == 1
    conf = things[("ConfigMap", "weft")]["data"]["weftd.conf"]
    assert "store etcd:https://etcd-0:2379,etcd-1:2379,etcd-2:2379/weft?replica=/var/lib/weft/replica.db&cacert=" in conf
    (c,) = spec["template"]["spec"]["containers"]
    assert c["args"] == ["--listen-relay", "$(POD_IP):8444"]
    assert {"name": "relay", "containerPort": 8444, "protocol": "TCP"} in c["ports"]
    assert c["env"] == [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    single = render()
    assert "args" not in single[("StatefulSet", "weft")]["spec"]["template"]["spec"]["containers"][0]
    assert single[("StatefulSet", "weft")]["spec"]["replicas"] == 1 and ("PodDisruptionBudget", "weft") not in single
    assert "store " not in single[("ConfigMap", "weft")]["data"]["weftd.conf"]


# proves: APM-131
def test_what_fails_is_started_again(things):
    """By the kubelet where it was, and elsewhere half a minute after its machine was lost."""
    assert things[("StatefulSet", "weft")]["spec"]["replicas"] >= 1
    pod = things[("StatefulSet", "weft")]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Always"
    assert pod["containers"][0]["livenessProbe"]["failureThreshold"] > 1
    waits = {t["key"]: t["tolerationSeconds"] for t in pod["tolerations"]}
    assert waits == {"node.kubernetes.io/not-ready": 30, "node.kubernetes.io/unreachable": 30}


# proves: APM-132
def test_workers_run_it(things):
    rules = things[("StatefulSet", "weft")]["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    (term,) = rules["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert {(e["key"], e["operator"]) for e in term["matchExpressions"]} == {
        ("node-role.kubernetes.io/control-plane", "DoesNotExist"), ("node-role.kubernetes.io/master", "DoesNotExist")}
    chosen = render("--workers", "rack=7")[("StatefulSet", "weft")]
    assert chosen["spec"]["template"]["spec"]["nodeSelector"] == {"rack": "7"}
    assert wrong(chosen, "V1StatefulSet", "s") == []


def test_an_initial_configuration(tmp_path):
    (tmp_path / "c").write_text("system {\n}\n")
    data = render("--initial-config", str(tmp_path / "c"))[("ConfigMap", "weft")]["data"]
    assert data["initial.conf"] == "system {\n}\n" and "\ninitial-config /etc/weft/initial.conf\n" in data["weftd.conf"]
    assert "initial.conf" not in render()[("ConfigMap", "weft")]["data"]


def test_clear_text_to_etcd_is_refused():
    r = subprocess.run(["/usr/bin/python3", RENDER, "--image", "i", "--hostname", "h", "--etcd", "http://a:2379"],
                       capture_output=True, text=True, check=False)
    assert r.returncode == 2 and "https://" in r.stderr


def test_no_key_and_no_root_in_it(things):
    assert not any(kind == "Secret" for kind, _ in things)
    spec = things[("StatefulSet", "weft")]["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] and spec["automountServiceAccountToken"] is False
    for c in spec["containers"] + spec.get("initContainers", []):
        s = c["securityContext"]
        assert s["readOnlyRootFilesystem"] and s["capabilities"] == {"drop": ["ALL"]} and \
            not s["allowPrivilegeEscalation"]
