/** Over TLS with a certificate of a private authority, and through the renewal of that certificate. */
'use strict';

const tls = require('node:tls');
const { Device, ask, assert, config, converse, idOf, open, scenario, step, within } = require('../harness');

const [host, port] = config.address.split(':');

/** The common name in the certificate that a new connection is shown. */
const shown = () =>
  new Promise((resolve, reject) => {
    const socket = tls.connect({ host, port: Number(port) }, () => {
      const { CN } = socket.getPeerCertificate().subject;
      socket.destroy();
      resolve(CN);
    });
    socket.on('error', reject);
  });

async function renewed() {
  while ((await shown()) !== 'second');
}

scenario(async () => {
  step('an opening');
  const [ann, bob] = [await open('ann'), await open('bob')];
  assert.equal(await shown(), 'first');
  const lost = [];
  for (const { device } of [ann, bob]) device.realtime.on('disconnect', () => lost.push('disconnect'));

  step('messages both ways, short and long');
  const conversation = await converse(ann, [bob]);
  await conversation.send(ann.text('hello'));
  await bob.got('hello');
  await (await bob.conversation(conversation.id)).send(bob.text('界'.repeat(1_600)));
  await ann.got('界'.repeat(1_600));

  step('a renewed certificate drops nobody');
  await ask('renew');
  await within(renewed(), () => 'new connections are still shown the first certificate');
  await conversation.send(ann.text('still here'));
  await bob.got('still here');
  assert.deepEqual(lost, []);

  step('a newcomer is shown the new one');
  const cat = await new Device().open(idOf('cat'));
  await conversation.add([cat.id]);
  await conversation.send(ann.text('welcome'));
  await bob.got('welcome');
  await cat.got('welcome');

  step('a reconnect');
  const away = bob.saw('offline');
  bob.device.pause();
  await away;
  await ann.sees(bob.id, false);
  await conversation.send(ann.text('while you were away'));
  bob.device.resume();
  await bob.back();
  await (await bob.conversation(conversation.id)).send(bob.text('back'));
  await ann.got('back');
  await cat.got('while you were away');
  await cat.got('back');
  assert.deepEqual(lost, ['disconnect']);
});
