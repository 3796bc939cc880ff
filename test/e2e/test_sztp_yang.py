# SPDX-License-Identifier: Apache-2.0
"""Every body of bootstrapping that we print is judged by yanglint with the modules as they were published
(../shared/yang; skipped where they are not there). What a module says in a way that yanglint can't validate,
yang-data, structures and the output of RPCs, becomes a container in a copy of the module."""
import glob
import json
import os
import re
import shutil
import subprocess

import pytest

from cli_daemon import BUILD, ROOT

YANG = os.path.join(ROOT, '..', 'shared', 'yang')
SERVER = 'ietf-sztp-bootstrap-server'
CONVEYED = 'ietf-sztp-conveyed-info'
CSR = 'ietf-sztp-csr'
FOR = 'urn:ietf:params:xml:ns:yang:'

# What our JSON and XML add to onboarding information, and to reports.
OURS = '''module weft-onboard {
  yang-version 1.1; namespace "urn:weft:onboard"; prefix w;
  import ietf-sztp-conveyed-info { prefix ci; }
  import ietf-sztp-bootstrap-server { prefix bs; }
  grouping member {
    leaf serial-id { type string { length "1..64"; } }
    leaf member-id { type uint8 { range "0..9"; } }
    leaf role { type enumeration { enum master; enum backup; enum linecard; } }
  }
  augment "/bs:report-progress/bs:input" {
    container virtual-chassis-member {
      presence "The report is about that member.";
      uses member { refine serial-id { mandatory true; } }
    }
  }
%s}
'''
CHASSIS = '''  augment "/ci:conveyed-information/ci:information-type/ci:onboarding-information/ci:onboarding-information" {
    container virtual-chassis {
      presence "The device is part of a chassis.";
      leaf strict-provisioning { type boolean; default false; }
      leaf exact-match { type boolean; default false; }
      list member {
        key serial-id;
        uses member;
      }
    }
  }
'''


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    if not os.path.isdir(YANG):
        pytest.skip('../shared/yang is not there: bodies are not judged by published modules')
    if shutil.which('yanglint') is None:
        pytest.skip('yanglint is not installed')
    d = tmp_path_factory.mktemp('yang')
    (d / 'as-is').mkdir()
    (d / 'data').mkdir()
    (d / 'bodies').mkdir()
    for f in glob.glob(os.path.join(YANG, '*.yang')):
        name = os.path.basename(f).split('@')[0] + '.yang'
        text = open(f, encoding='utf-8').read()
        (d / 'as-is' / name).write_text(text)
        # Its lists have no keys.
        state = ' config false;' if name.startswith('ietf-restconf.') else ''
        text = re.sub(r'rc:yang-data "?([\w-]+)"? {', r'container \1 { presence "x";' + state, text)
        text = re.sub(r'sx:structure "?([\w-]+)"? {', r'container \1 { presence "x";', text)
        if name.startswith(SERVER):
            text = re.sub(r'\n( *)rpc ([\w-]+) {', r'\n\1container \2 { presence "x"; config false;', text)
            text = re.sub(r'\n( *)(input|output) {', r'\n\1container \2 { presence "x";', text)
        (d / 'data' / name).write_text(text)
    (d / 'data' / 'weft-onboard.yang').write_text(OURS % CHASSIS)
    (d / 'as-is' / 'weft-onboard.yang').write_text(OURS % '')
    subprocess.run([os.path.join(BUILD, 'src', 'sztp', 'sztp-bodies'), str(d / 'bodies')], check=True)
    return d


def bodies(place, kind):
    found = sorted(glob.glob(str(place / 'bodies' / ('*.%s.*' % kind))))
    assert found
    for f in found:
        yield os.path.basename(f), open(f, encoding='utf-8').read()


def lint(place, which, modules, name, text, *options, ok=True):
    f = place / name
    f.write_text(text)
    files = [str(place / which / (m + '.yang')) for m in modules]
    r = subprocess.run(['yanglint', '-p', str(place / which), *options, *files, str(f)], capture_output=True, text=True)
    assert (r.returncode == 0) == ok, (name, text, r.stdout, r.stderr)


def wrap(name, text, module, *containers):
    """`text`, one top element, inside containers of that module."""
    if name.endswith('.json'):
        top, value = next(iter(json.loads(text).items()))
        out = {top if not top.startswith(module + ':') else top.split(':')[1]: value}
        for c in reversed(containers):
            out = {c: out}
        (outer, value), = out.items()
        return json.dumps({'%s:%s' % (module, outer): value})
    ns = FOR + module
    return ''.join('<%s xmlns="%s">' % (c, ns) for c in containers) + text + ''.join(
        '</%s>' % c for c in reversed(containers))


# proves: PH-120 PH-122
def test_inputs_as_rpcs(place):
    for kind, rpc in (('input', 'get-bootstrapping-data'), ('report', 'report-progress')):
        for name, text in bodies(place, kind):
            if name.endswith('.json'):
                text = json.dumps({'%s:%s' % (SERVER, rpc): json.loads(text)[SERVER + ':input']})
            else:
                inner = re.match(r'<input xmlns="[^"]*">(.*)</input>$', text, re.S).group(1)
                text = '<%s xmlns="%s">%s</%s>' % (rpc, FOR + SERVER, inner, rpc)
            lint(place, 'as-is', [SERVER, CSR, 'ietf-ztp-types', 'weft-onboard'], name, text, '-t', 'rpc')


def test_inputs_and_outputs(place):
    for kind, rpc in (('input', 'get-bootstrapping-data'), ('output', 'get-bootstrapping-data'),
                      ('report', 'report-progress')):
        for name, text in bodies(place, kind):
            lint(place, 'data', [SERVER, CSR, 'ietf-ztp-types', 'weft-onboard'], name, wrap(name, text, SERVER, rpc))


# proves: PH-020 PH-021 PH-022 PH-023
def test_conveyed_information(place):
    for name, text in bodies(place, 'conveyed'):
        lint(place, 'data', [CONVEYED, 'weft-onboard'], name, wrap(name, text, CONVEYED, 'conveyed-information'))


def test_vouchers(place):
    for name, text in bodies(place, 'voucher'):
        lint(place, 'data', ['ietf-voucher'], name, wrap(name, text, 'ietf-voucher', 'voucher-artifact'))


def test_errors(place):
    for name, text in bodies(place, 'errors'):
        lint(place, 'data', ['ietf-restconf'], name, wrap(name, text, 'ietf-restconf', 'yang-errors'))
        if 'csr' in name:
            if name.endswith('.json'):
                info = json.loads(text)['ietf-restconf:errors']['error'][0]['error-info']
                text = json.dumps(info)
            else:
                text = re.search(r'<error-info>(.*)</error-info>', text).group(1)
            lint(place, 'data', [SERVER, CSR, 'ietf-ztp-types'], name, text)


def test_yanglint_does_refuse(place):
    """So that what it accepted means something."""
    bad = {SERVER + ':get-bootstrapping-data': {'output': {'reporting-level': 'some'}}}
    lint(place, 'data', [SERVER], 'bad.json', json.dumps(bad), ok=False)
    bad = {SERVER + ':report-progress': {'progress-type': 'informational', 'weft-onboard:virtual-chassis-member': {}}}
    lint(place, 'as-is', [SERVER, 'weft-onboard'], 'bad.json', json.dumps(bad), '-t', 'rpc', ok=False)
    bad = {CONVEYED + ':conveyed-information': {'onboarding-information': {'configuration': 'AAAA'}}}
    lint(place, 'data', [CONVEYED], 'bad.json', json.dumps(bad), ok=False)
