/**
 * Two clients on one Realtime, told apart by peerId: each gets what is its own, and one can go without the other.
 * Rules: 12.5
 */
'use strict';

const { Device, assert, converse, idOf, open, sameSet, scenario, step } = require('../harness');

scenario(async () => {
  const device = new Device();
  const [ann, bob] = [await device.open(idOf('ann')), await device.open(idOf('bob'))];
  const cat = await open('cat');

  step('events reach the client that they concern');
  const pair = await converse(ann, [bob]);
  for (const user of [ann, bob]) {
    await user.saw('invited', (_, { id }) => id === pair.id);
    const [{ members }] = await user.saw('membersjoined', (_, { id }) => id === pair.id);
    sameSet(members, [ann.id, bob.id]);
  }
  const aside = await converse(bob, [cat]);
  await bob.saw('invited', (_, { id }) => id === aside.id);
  await cat.saw('invited', (_, { id }) => id === aside.id);

  step('messages from one to the other over the same socket');
  const sent = await pair.send(ann.text('same wire'));
  const received = await bob.got('same wire');
  assert.equal(received.id, sent.id);
  assert.equal(received.from, ann.id);
  await (await bob.conversation(pair.id)).send(bob.text('I hear you'));
  await ann.got('I hear you');
  ann.sawNo('message');
  ann.sawNo('invited');

  step('the second client is told what concerns it alone');
  await (await cat.conversation(aside.id)).send(cat.text('for bob'));
  await bob.got('for bob');
  await ann.settled();
  ann.sawNo('message');

  step('the first client closes and the second stays');
  await ann.client.close();
  assert.deepEqual(await cat.client.ping([idOf('ann'), idOf('bob')]), [idOf('bob')]);
  await aside.send(bob.text('still here'));
  await cat.got('still here');
  await (await cat.conversation(aside.id)).send(cat.text('good'));
  await bob.got('good');

  step('the first client opens again on the same socket');
  const back = await device.open(idOf('ann'));
  await (await bob.conversation(pair.id)).send(bob.text('you again'));
  await back.got('you again');
  await (await back.conversation(pair.id)).send(back.text('me again'));
  await bob.got('me again');

  step('both come back when their socket is lost');
  device.pause();
  device.resume();
  await Promise.all([back.back(), bob.back()]);
  await (await cat.conversation(aside.id)).send(cat.text('after the gap'));
  await bob.got('after the gap');
  await (await bob.conversation(pair.id)).send(bob.text('and to you'));
  await back.got('and to you');
  await back.settled();
  back.sawNo('message');
});
