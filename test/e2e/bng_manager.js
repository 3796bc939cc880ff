// SPDX-License-Identifier: Apache-2.0
// A manager in Node: serves one gateway a prefix and an order. usage: bng_manager.js PROTO ADDRESS [CERTS]
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const fs = require('fs');

const [proto, address, certs] = process.argv.slice(2);
const api = grpc.loadPackageDefinition(loader.loadSync(proto, {longs: Number, enums: String, oneofs: true}))
  .openapmi.v1;
const thresholds = {apportion: 3, reclaim: 100, holdDownS: 1};

function session(call) {
  call.on('data', (m) => {
    const reply = {inReplyTo: m.msgId};
    switch (m.body) {
      case 'hello':
        reply.helloAck = {version: 1, statsIntervalS: 1};
        break;
      case 'domainSync':
        reply.domainSyncResult = {createFirst: m.domainSync.domain};
        break;
      case 'createDomain':
        reply.domainCreated = {domain: m.createDomain.domain, thresholds};
        break;
      case 'poolSync':
        reply.poolSyncResult = {domain: m.poolSync.domain, thresholds};
        break;
      case 'alarm':
        reply.alarmResponse = {
          alarmId: m.alarm.alarmId, result: 'ALARM_ACK', action: 'ADD_POOLS',
          add: [{name: m.alarm.domain, prefix: {af: 'IPV4', address: Buffer.from([10, 62, 0, 0]), length: 28}}],
        };
        break;
      case 'orderResult':
        reply.ack = {};
        console.log(m.orderResult.orderId === 'from-node' ? 'CONFIRMED' : 'result', JSON.stringify(m.orderResult));
        break;
      case 'ping':
        reply.pong = {};
        break;
      default:
        reply.ack = {};
    }
    call.write(reply);
    if (m.body === 'orderResult' && m.orderResult.orderId !== 'from-node') {
      call.write({order: {orderId: 'from-node', type: 'ORDER_UPDATE_THRESHOLDS', domain: 'home-default',
        thresholds: {apportion: 7, reclaim: 100}, revision: 5}});
    }
  });
  call.on('end', () => call.end());
  call.on('error', () => {});
}

const read = (name) => fs.readFileSync(`${certs}/${name}`);
const server = new grpc.Server();
server.addService(api.Apmi.service, {session});
const credentials = certs
  ? grpc.ServerCredentials.createSsl(read('ca.crt'),
    [{private_key: read('server.key'), cert_chain: read('server.crt')}], true)
  : grpc.ServerCredentials.createInsecure();
server.bindAsync(address, credentials, (err) => {
  if (err) {
    throw err;
  }
  console.log('serving', address);
});
