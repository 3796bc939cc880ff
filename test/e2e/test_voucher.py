# SPDX-License-Identifier: Apache-2.0
"""`weft voucher`: what it signs openssl reads and believes, what openssl signs it reads; what a device would
refuse it names. And artifacts of openssl and those of ours in the other's hands."""
import base64
import json
import os
import subprocess
import time

import pytest

from cli_daemon import WEFT


def run(*command, cwd, ok=True, stdin=None):
    r = subprocess.run(command, cwd=cwd, capture_output=True, input=stdin)
    out, err = r.stdout.decode(errors='replace'), r.stderr.decode(errors='replace')
    assert (r.returncode == 0) == ok, (command, r.returncode, out, err)
    return out if ok else (r.returncode, err)


def voucher(cwd, *args, ok=True):
    return run(WEFT, 'voucher', *args, cwd=cwd, ok=ok)


def openssl(cwd, *args, ok=True, stdin=None):
    return run('openssl', *args, cwd=cwd, ok=ok, stdin=stdin)


def stamp(days):
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() + days * 86400))


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """An authority, an owner with a certificate below the pinned one, a device."""
    d = tmp_path_factory.mktemp('voucher')
    out = voucher(d, 'init', 'masa', '--name', 'maker of devices')
    assert 'anchor.pem' in out
    curve = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes')
    for who in ('owner-ca', 'device-ca'):
        openssl(d, 'req', '-x509', *curve, '-keyout', who + '.key', '-out', who + '.pem', '-subj', '/CN=' + who,
                '-days', '400')
    for who, ca, subject in (('owner', 'owner-ca', '/CN=owner'), ('device', 'device-ca', '/CN=d/serialNumber=S-1')):
        openssl(d, 'req', *curve, '-keyout', who + '.key', '-out', who + '.csr', '-subj', subject)
        (d / 'ext').write_text('keyUsage=critical,digitalSignature\nauthorityKeyIdentifier=keyid\n')
        openssl(d, 'x509', '-req', '-in', who + '.csr', '-CA', ca + '.pem', '-CAkey', ca + '.key', '-CAcreateserial',
                '-out', who + '.pem', '-days', '300', '-extfile', 'ext')
    return d


ISSUE = ('issue', '--masa', 'masa', '--serial', 'S-1', '--pinned', 'owner-ca.pem')


# proves: PH-130
def test_openssl_believes_what_we_sign(place):
    out = voucher(place, *ISSUE, '--days', '30', '--idevid', 'device.pem', '--revocation')
    assert out == 'S-1.vcj: voucher for S-1\n'
    openssl(place, 'cms', '-verify', '-inform', 'DER', '-in', 'S-1.vcj', '-CAfile', 'masa/anchor.pem',
            '-purpose', 'any', '-out', 'content')
    v = json.loads((place / 'content').read_text())['ietf-voucher:voucher']
    assert v['serial-number'] == 'S-1' and v['assertion'] == 'verified'
    assert v['domain-cert-revocation-checks'] is True
    pinned = base64.b64decode(v['pinned-domain-cert'])
    assert pinned == subprocess.run(['openssl', 'x509', '-in', 'owner-ca.pem', '-outform', 'DER'], cwd=place,
                                    capture_output=True).stdout
    akid = openssl(place, 'x509', '-in', 'device.pem', '-noout', '-ext', 'authorityKeyIdentifier').split()[-1]
    assert base64.b64decode(v['idevid-issuer']).hex() == akid.replace('keyid:', '').replace(':', '').lower()
    out = openssl(place, 'cms', '-cmsout', '-print', '-inform', 'DER', '-in', 'S-1.vcj')
    assert '1.2.840.113549.1.9.16.1.40' in out
    out = voucher(place, 'verify', 'S-1.vcj', '--anchor', 'masa/anchor.pem', '--serial', 'S-1', '--idevid', 'device.pem')
    assert out == 'S-1.vcj: ok, for S-1\n'


def test_show(place):
    voucher(place, *ISSUE, '--nonce', base64.b64encode(b'0123456789abcdef').decode(), '--assertion', 'logged',
            '--out', 'nonce.vcj')
    out = voucher(place, 'show', 'nonce.vcj')
    for line in ('serial-number                 S-1', 'assertion                     logged',
                 'nonce                         30:31:32:33:34:35:36:37:38:39:61:62:63:64:65:66',
                 'pinned-domain-cert            CN=owner-ca', 'came with                     CN=maker of devices signer'):
        assert line in out.splitlines(), out
    assert 'expires-on' not in out
    # the same as other tools write it down
    (place / 'text').write_bytes(base64.encodebytes((place / 'nonce.vcj').read_bytes()))
    assert voucher(place, 'show', 'text') == out
    status, err = voucher(place, 'show', 'owner.pem', ok=False)
    assert status == 1 and 'no CMS' in err


# proves: PH-142
@pytest.mark.parametrize('issue,verify,clause', [
    (['--days', '1'], [], None),
    (['--days', '1'], ['--serial', 'S-2'], 'voucher-serial-number'),
    (['--days', '1'], ['--at', 3], 'voucher-expires-on'),
    (['--days', '1'], ['--at', -0.001], 'voucher-created-on'),
    (['--unlimited'], ['--at', 100], None),
    (['--days', '1'], ['--anchor', 'owner-ca.pem'], 'voucher-signature'),
    (['--nonce', 'MDEyMzQ1Njc4OWFiY2RlZg=='], ['--nonce', 'MDEyMzQ1Njc4OWFiY2RlZg=='], None),
    (['--nonce', 'MDEyMzQ1Njc4OWFiY2RlZg=='], ['--nonce', 'MTEyMzQ1Njc4OWFiY2RlZg=='], 'voucher-nonce'),
    (['--nonce', 'MDEyMzQ1Njc4OWFiY2RlZg=='], [], 'voucher-nonce'),
    (['--days', '1', '--idevid', 'device.pem'], ['--idevid', 'device.pem'], None),
    (['--days', '1', '--idevid', 'device.pem'], ['--idevid', 'owner.pem'], 'voucher-idevid-issuer'),
])
def test_what_a_device_would_say(place, issue, verify, clause):
    voucher(place, *ISSUE, *issue, '--out', 'v.vcj')
    verify = [v if isinstance(v, str) else stamp(v) for v in verify]  # days from now
    anchor = [] if '--anchor' in verify else ['--anchor', 'masa/anchor.pem']
    r = voucher(place, 'verify', 'v.vcj', *anchor, *verify, ok=clause is None)
    if clause is not None:
        assert r[0] == 1 and r[1].startswith('weft: %s: ' % clause), r


def test_renew(place):
    voucher(place, *ISSUE, '--expires', stamp(20), '--renew-until', stamp(50), '--out', 'r.vcj')
    before = voucher(place, 'show', 'r.vcj')
    voucher(place, 'renew', 'r.vcj', '--masa', 'masa', '--days', '40', '--out', 'r2.vcj')
    after = voucher(place, 'show', 'r2.vcj')
    keep = ('serial-number', 'assertion', 'last-renewal-date', 'pinned-domain-cert')
    for line in before.splitlines():
        if line.startswith(keep):
            assert line in after.splitlines()
    assert stamp(40)[:10] in after or stamp(39.999)[:10] in after
    # what another authority has signed is not renewed, nor what is for one request or for ever
    voucher(place, 'init', 'other')
    status, err = voucher(place, 'renew', 'r.vcj', '--masa', 'other', ok=False)
    assert status == 1 and 'voucher-signature' in err
    for how, why in ((['--unlimited'], 'never ends'), (['--nonce', 'MDEyMzQ1Njc4OWFiY2RlZg=='], 'one request')):
        voucher(place, *ISSUE, *how, '--out', 'n.vcj')
        was = (place / 'n.vcj').read_bytes()
        status, err = voucher(place, 'renew', 'n.vcj', '--masa', 'masa', ok=False)
        assert status == 1 and why in err and (place / 'n.vcj').read_bytes() == was


# proves: PH-130 PH-142
def test_signed_data_of_openssl(place):
    """The three artifacts, two of them made by openssl, as a device judges them."""
    voucher(place, *ISSUE, '--days', '10', '--out', 'o.vcj')
    (place / 'ci').write_text('{"ietf-sztp-conveyed-info:onboarding-information":{}}')
    openssl(place, 'crl2pkcs7', '-nocrl', '-certfile', 'owner.pem', '-outform', 'DER', '-out', 'oc.cms')
    for extra in ([], ['-stream', '-indef'], ['-md', 'sha512']):
        openssl(place, 'cms', '-sign', '-nodetach', '-binary', '-in', 'ci', '-signer', 'owner.pem', '-inkey', 'owner.key',
                '-econtent_type', '1.2.840.113549.1.9.16.1.43', '-outform', 'DER', '-out', 'ci.cms', *extra)
        both = ('--owner', 'oc.cms', '--conveyed', 'ci.cms')
        voucher(place, 'verify', 'o.vcj', '--anchor', 'masa/anchor.pem', *both)
    openssl(place, 'cms', '-sign', '-nodetach', '-binary', '-in', 'ci', '-signer', 'device.pem', '-inkey', 'device.key',
            '-outform', 'DER', '-out', 'ci.cms')
    status, err = voucher(place, 'verify', 'o.vcj', '--anchor', 'masa/anchor.pem', *both, ok=False)
    assert status == 1 and err.startswith('weft: conveyed-information-signature: ')
    openssl(place, 'crl2pkcs7', '-nocrl', '-certfile', 'device.pem', '-outform', 'DER', '-out', 'oc.cms')
    status, err = voucher(place, 'verify', 'o.vcj', '--anchor', 'masa/anchor.pem', *both, ok=False)
    assert status == 1 and err.startswith('weft: owner-certificate-chain: ')


# proves: PH-142
def test_revocation_lists_of_openssl(place):
    voucher(place, *ISSUE, '--days', '10', '--revocation', '--out', 'c.vcj')
    (place / 'ci').write_text('{}')
    openssl(place, 'cms', '-sign', '-nodetach', '-binary', '-in', 'ci', '-signer', 'owner.pem', '-inkey', 'owner.key',
            '-outform', 'DER', '-out', 'ci2.cms')
    (place / 'ca.cnf').write_text('[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\n'
                                  'default_crl_days=7\n')
    (place / 'index.txt').write_text('')
    (place / 'number').write_text('01\n')
    verify = ('verify', 'c.vcj', '--anchor', 'masa/anchor.pem', '--owner', 'oc2.cms', '--conveyed', 'ci2.cms')
    ca = ('ca', '-config', 'ca.cnf', '-cert', 'owner-ca.pem', '-keyfile', 'owner-ca.key')
    openssl(place, 'crl2pkcs7', '-nocrl', '-certfile', 'owner.pem', '-outform', 'DER', '-out', 'oc2.cms')
    status, err = voucher(place, *verify, ok=False)
    assert err.startswith('weft: owner-certificate-revocation-unknown: ')
    for revoked in (False, True):
        if revoked:
            openssl(place, *ca, '-revoke', 'owner.pem')
        openssl(place, *ca, '-gencrl', '-out', 'list.pem')
        openssl(place, 'crl2pkcs7', '-in', 'list.pem', '-certfile', 'owner.pem', '-outform', 'DER', '-out', 'oc2.cms')
        r = voucher(place, *verify, ok=not revoked)
        assert not revoked or r[1].startswith('weft: owner-certificate-revoked: ')


@pytest.mark.parametrize('args,status,text', [
    ([], 2, 'a command is needed'),
    (['sign'], 2, 'no such command'),
    (['show'], 2, 'one file'),
    (['show', 'a', 'b'], 2, 'one file'),
    (['show', '--days', '3', 'a'], 2, 'no such option'),
    (['issue', '--masa', 'masa'], 2, '--serial and --pinned'),
    ([*ISSUE], 2, 'for how long'),
    ([*ISSUE, '--days', '1', '--unlimited'], 2, 'for how long'),
    ([*ISSUE, '--days', '0'], 1, '--days: is a number'),
    ([*ISSUE, '--days', '4000'], 1, 'expires-on: lies behind the end of the pinned certificate'),
    ([*ISSUE, '--expires', 'soon'], 1, '--expires: "soon" is no time'),
    ([*ISSUE, '--expires', '2020-01-01T00:00:00Z'], 1, 'expires-on: lies before'),
    ([*ISSUE, '--nonce', 'AA=='], 1, '--nonce: is the Base64 of 8 to 32'),
    ([*ISSUE, '--days', '1', '--assertion', 'sure'], 1, '--assertion: is verified'),
    ([*ISSUE, '--days', '1', '--masa', 'nowhere'], 1, 'nowhere/masa.pem'),
    ([*ISSUE, '--days', '1', '--pinned', 'owner.key'], 1, 'owner.key'),
    (['init', 'masa'], 1, 'masa/anchor.pem: is there already'),
    (['verify', 'S-1.vcj'], 2, '--anchor is needed'),
    (['verify', 'nothing.vcj', '--anchor', 'masa/anchor.pem'], 1, 'nothing.vcj'),
])
def test_bad_usage(place, args, status, text):
    before = sorted(os.listdir(place))
    got, err = voucher(place, *args, ok=False)
    assert got == status and text in err, (got, err)
    assert sorted(os.listdir(place)) == before
