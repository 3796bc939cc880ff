// SPDX-License-Identifier: Apache-2.0
// A gateway made with grpc-js from our .proto: the whole conversation, and what is answered to mistakes.
//   node entity.js PROTO TARGET SYSTEM_ID [CERTIFICATES]      prints what happened as JSON
'use strict';
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const fs = require('fs');
const crypto = require('crypto');

const [proto, target, systemId, certs] = process.argv.slice(2);
const options = {longs: Number, enums: String, oneofs: true, defaults: true};
const api = grpc.loadPackageDefinition(loader.loadSync(proto, options)).openapmi.v1;
const read = (name) => fs.readFileSync(`${certs}/${name}`);
const credentials = certs
  ? grpc.credentials.createSsl(read('ca.pem'), read('key.pem'), read('cert.pem'))
  : grpc.credentials.createInsecure();
const told = {security: 'as asked'};
setTimeout(() => { console.error('late', JSON.stringify(told)); process.exit(1); }, 60000).unref();

class Session {
  constructor() {
    this.client = new api.Apmi(target, credentials, {'grpc.max_send_message_length': -1});
    this.call = this.client.session();
    this.waiting = new Map();
    this.orders = [];
    this.id = 0;
    this.ended = new Promise((done) => {
      this.call.on('status', (s) => {
        for (const w of this.waiting.values()) {
          w.reject(new Error(`${s.code} ${s.details}`));
        }
        done(s);
      });
    });
    this.call.on('error', () => {});
    this.call.on('data', (m) => {
      if (m.inReplyTo === 0) {
        this.orders.push(m.order);
      } else {
        this.waiting.get(m.inReplyTo).resolve(m[m.body]);
        this.waiting.delete(m.inReplyTo);
      }
    });
  }
  send(kind, fields, id) {
    this.id = id || this.id + 1;
    this.call.write({msgId: this.id, [kind]: fields});
    return this.id;
  }
  ask(kind, fields) {
    const id = this.send(kind, fields);
    return new Promise((resolve, reject) => this.waiting.set(id, {resolve, reject}));
  }
  async hello(epoch, id) {
    const ack = await this.ask('hello', {systemId: id || systemId, minVersion: 1, maxVersion: 1, kind: 'BNG',
      software: 'node', bootEpoch: epoch});
    return ack.status.code;
  }
  close() {
    this.call.end();
    this.client.close();
  }
}

const check = (ok, what) => { if (!ok) { throw new Error(what); } };
const text = (p) => `${Array.from(p.address).join('.')}/${p.length}`;

async function life() {
  const s = new Session();
  check(await s.hello(1) === 0, 'hello');
  await s.ask('domainSync', {domain: [], epoch: 1});
  check((await s.ask('syncDone', {epoch: 1})).status.code === 0, 'sync');
  const created = await s.ask('createDomain', {domain: 'js', domainProfile: 'js', partition: 'metro', af: 'IPV4',
    preferredLength: 25});
  check(created.status.code === 0 && created.thresholds.apportion === 10, JSON.stringify(created));
  const alarm = {alarmId: 'n1', type: 'APPORTION', domain: 'js', wantedPrefixes: 2, preferredLength: 25, attempt: 1};
  const given = await s.ask('alarm', alarm);
  check(given.result === 'ALARM_ACK' && given.action === 'ADD_POOLS', JSON.stringify(given));
  told.given = given.add.map((p) => text(p.prefix));
  told.duplicate = JSON.stringify(await s.ask('alarm', alarm)) === JSON.stringify(given);
  check((await s.ask('orderResult', {orderId: 'n1', status: {code: 0}})).status.code === 0, 'confirm');
  // Back with the second.
  const pool = given.add[1];
  const drain = await s.ask('alarm', {alarmId: 'n2', type: 'RECLAIM', domain: 'js', freeAddresses: 252,
    totalAddresses: 252, candidatePool: [pool.name], candidateTotal: 126, attempt: 1});
  check(drain.action === 'SET_DRAIN', JSON.stringify(drain));
  await s.ask('orderResult', {orderId: 'n2', status: {code: 0}, pool: {...pool, state: 'DRAINING'}});
  const remove = await s.ask('alarm', {alarmId: 'n3', type: 'POOL_DRAINED', domain: 'js', candidatePool: [pool.name],
    attempt: 1});
  check(remove.action === 'REMOVE_POOL', JSON.stringify(remove));
  told.drained = remove.pool;
  await s.ask('orderResult', {orderId: 'n3', status: {code: 0}, pool});
  s.close();
  await s.ended;
  return given.add[0];
}

async function again(pool) {
  const s = new Session();
  check(await s.hello(2) === 0, 'hello again');
  const r = await s.ask('domainSync', {domain: ['js'], epoch: 2});
  check(r.keep[0] === 'js' && r.createFirst.length === 0, JSON.stringify(r));
  const digest = crypto.createHash('sha256').update(`${pool.name} ${text(pool.prefix)}\n`).digest();
  const p = await s.ask('poolSync', {domain: 'js', digest});
  check(p.status.code === 0, 'the digest: ' + JSON.stringify(p));
  check((await s.ask('syncDone', {epoch: 2})).status.code === 0, 'sync again');
  s.send('ping', {}, 1);
  told.outOfOrder = (await s.ended).code;
}

async function main() {
  const pool = await life();
  await again(pool);
  const big = new Session();
  check(await big.hello(3) === 0, 'hello for the third time');
  big.send('domainSync', {domain: new Array(20000).fill('d'.repeat(60))});
  told.tooBig = (await big.ended).code;
  const stranger = new Session();
  check(await stranger.hello(1, 'nobody') === 7, 'a stranger');
  told.refused = (await stranger.ended).code;
  console.log(JSON.stringify(told));
  process.exit(0);
}

main().catch((e) => { console.error(e, JSON.stringify(told)); process.exit(1); });
