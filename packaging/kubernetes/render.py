#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the manifests of Weft on Kubernetes to standard output, for `kubectl apply -f -`.

  render.py --image IMAGE --hostname NAME[,NAME...] [--namespace weft] [--storage 10Gi] [--storage-class NAME]
            [--etcd https://a:2379,https://b:2379,https://c:2379 [--replicas 3]] [--workers LABEL] [--initial-config FILE]

Without --etcd: one controller with its store on a claim. With it: the cluster form, nodes on different machines,
the store in etcd. Keys are not in here: README and docs/install.md say how the secrets are made.
"""
import argparse
import sys

import yaml

USER = 10001  # any but root; files of the claim are given to it
RELAY = 8444  # between the nodes
PORTS = {"restconf": 8443, "gateways": 20557, "netconf": 830, "netconf-tls": 6513}


def labels():
    return {"app.kubernetes.io/name": "weft", "app.kubernetes.io/component": "controller"}


def thing(api, kind, name, o, **body):
    metadata = {"name": name, "labels": labels()}
    if kind != "Namespace":
        metadata["namespace"] = o.namespace
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **body}


def configuration(o):
    lines = ["# weftd(8); where it keeps its things is in the pod's command.", f"hostname {o.hostname}",
             f"listen :{PORTS['restconf']}", f"listen-apmi :{PORTS['gateways']}",
             f"listen-netconf :{PORTS['netconf']}", f"listen-netconf-tls :{PORTS['netconf-tls']}"]
    if o.etcd:
        members = ",".join(m.split("://")[-1].rstrip("/") for m in o.etcd.split(","))
        lines.append(f"store etcd:https://{members}/weft?replica=/var/lib/weft/replica.db"
                     "&cacert=/etc/weft-etcd/ca.crt&cert=/etc/weft-etcd/tls.crt&key=/etc/weft-etcd/tls.key")
    if o.initial_config:
        lines.append("initial-config /etc/weft/initial.conf")
    return "\n".join(lines) + "\n"


def service(o, name, spec):
    ports = [{"name": n, "port": p, "targetPort": n, "protocol": "TCP"} for n, p in PORTS.items()]
    return thing("v1", "Service", name, o, spec={"selector": labels(), "ports": ports, **spec})


def probe(path, **times):
    return {"httpGet": {"path": path, "port": "restconf", "scheme": "HTTPS"}, "timeoutSeconds": 5, **times}


def container(o):
    mounts = [{"name": "data", "mountPath": "/var/lib/weft"}, {"name": "run", "mountPath": "/run/weft"},
              {"name": "tmp", "mountPath": "/tmp"}, {"name": "configuration", "mountPath": "/etc/weft", "readOnly": True}]
    if o.etcd:
        mounts.append({"name": "etcd", "mountPath": "/etc/weft-etcd", "readOnly": True})
    ports = dict(PORTS, **({"relay": RELAY} if o.etcd else {}))
    among_nodes = {  # what only the leader can do is passed on to it
        "args": ["--listen-relay", f"$(POD_IP):{RELAY}"],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}
    return {
        "name": "weftd", "image": o.image, "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": n, "containerPort": p, "protocol": "TCP"} for n, p in ports.items()],
        **(among_nodes if o.etcd else {}),
        "volumeMounts": mounts,
        # A large store is read at the start.
        "startupProbe": probe("/healthz", periodSeconds=5, failureThreshold=120),
        "livenessProbe": probe("/healthz", periodSeconds=10, failureThreshold=3),
        "readinessProbe": probe("/readyz", periodSeconds=5, failureThreshold=2),
        "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "4Gi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]}},
    }


def prepare(o):
    """The keys that nodes share go where weftd looks for its own, at the first start of each node."""
    script = ("mkdir -p -m 700 /var/lib/weft/pki && for f in ca.pem ca.key secrets.key; do "
              "[ -e /var/lib/weft/pki/$f ] || install -m 600 /etc/weft-keys/$f /var/lib/weft/pki/$f; done")
    return {"name": "keys", "image": o.image, "imagePullPolicy": "IfNotPresent", "command": ["/bin/sh", "-ec", script],
            "volumeMounts": [{"name": "data", "mountPath": "/var/lib/weft"},
                             {"name": "keys", "mountPath": "/etc/weft-keys", "readOnly": True}],
            "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]}}}


def pod(o):
    volumes = [{"name": "run", "emptyDir": {"medium": "Memory"}}, {"name": "tmp", "emptyDir": {}},
               {"name": "configuration", "configMap": {"name": "weft"}}]
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 30,
        "restartPolicy": "Always",
        # What runs on a machine that is lost is needed elsewhere soon.
        "tolerations": [{"key": "node.kubernetes.io/" + key, "operator": "Exists", "effect": "NoExecute",
                         "tolerationSeconds": 30} for key in ("not-ready", "unreachable")],
        # The control plane keeps the cluster, workers run pods.
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "node-role.kubernetes.io/" + key, "operator": "DoesNotExist"}
                                  for key in ("control-plane", "master")]}]}}},
        # Port 830 is for everybody inside the pod, so that no capability is needed.
        "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
                            "seccompProfile": {"type": "RuntimeDefault"},
                            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]},
        "containers": [container(o)],
    }
    if o.etcd:
        volumes += [{"name": "etcd", "secret": {"secretName": "weft-etcd", "defaultMode": 0o440}},
                    {"name": "keys", "secret": {"secretName": "weft-keys", "defaultMode": 0o440}}]
        spec["initContainers"] = [prepare(o)]
        spec["affinity"]["podAntiAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": labels()}, "topologyKey": "kubernetes.io/hostname"}]}
    if o.workers:
        key, _, value = o.workers.partition("=")
        spec["nodeSelector"] = {key: value}
    spec["volumes"] = volumes
    return {"metadata": {"labels": labels()}, "spec": spec}


def manifests(o):
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": o.storage}}}
    if o.storage_class:
        claim["storageClassName"] = o.storage_class
    yield thing("v1", "Namespace", o.namespace, o)
    files = {"weftd.conf": configuration(o)}
    if o.initial_config:
        with open(o.initial_config, encoding="utf-8") as f:
            files["initial.conf"] = f.read()
    yield thing("v1", "ConfigMap", "weft", o, data=files)
    # Clients and gateways come from outside; which node they come to is all the same.
    yield service(o, "weft", {"type": "LoadBalancer", "externalTrafficPolicy": "Local"})
    # The nodes' own names, also before they are ready.
    yield service(o, "weft-nodes", {"clusterIP": "None", "publishNotReadyAddresses": True})
    yield thing("apps/v1", "StatefulSet", "weft", o, spec={
        "serviceName": "weft-nodes", "replicas": o.replicas if o.etcd else 1, "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": labels()}, "template": pod(o),
        "volumeClaimTemplates": [{"metadata": {"name": "data", "labels": labels()}, "spec": claim}]})
    if o.etcd:  # two of three go on
        yield thing("policy/v1", "PodDisruptionBudget", "weft", o,
                    spec={"maxUnavailable": 1, "selector": {"matchLabels": labels()}})


def main():
    p = argparse.ArgumentParser(description="manifests of Weft on Kubernetes")
    p.add_argument("--image", required=True)
    p.add_argument("--hostname", required=True, help="names and addresses that clients use, for the certificate")
    p.add_argument("--namespace", default="weft")
    p.add_argument("--storage", default="10Gi")
    p.add_argument("--storage-class")
    p.add_argument("--etcd", help="the members' client URLs, commas between")
    p.add_argument("--replicas", type=int, default=3)
    p.add_argument("--workers", help="only on machines with this label, KEY=VALUE")
    p.add_argument("--initial-config", help="what a new store begins with, as save-config writes it")
    o = p.parse_args()
    if o.etcd and any(not m.startswith("https://") for m in o.etcd.split(",")):
        p.error("etcd's members are spoken to over TLS: write https://HOST:PORT")
    yaml.SafeDumper.add_representer(str, lambda d, text: d.represent_scalar(  # several lines as they are
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None))
    yaml.SafeDumper.ignore_aliases = lambda *_: True
    yaml.safe_dump_all(manifests(o), sys.stdout, sort_keys=False)


if __name__ == "__main__":
    main()
