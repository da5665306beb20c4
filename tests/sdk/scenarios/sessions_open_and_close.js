/**
 * Client ids given, made up and refused; who is online; one Realtime for one client after another.
 * Rules: 2.1, 12.1, 13.1, 13.2
 */
'use strict';

const { Device, assert, converse, idOf, open, refused, sameSet, scenario, step } = require('../harness');

scenario(async () => {
  step('an id that the server makes up');
  const nameless = await new Device().open();
  const another = await new Device().open('');
  assert.equal(typeof nameless.id, 'string');
  assert.ok(nameless.id.length >= 1 && nameless.id.length <= 64, nameless.id);
  assert.notEqual(nameless.id, another.id);
  const talk = await converse(nameless, [another]);
  await talk.send(nameless.text('who are you?'));
  assert.equal((await another.got('who are you?')).from, nameless.id);

  step('the longest ids');
  const long = idOf('l').padEnd(64, 'o');
  assert.equal((await new Device().open(long)).id, long);
  const wide = idOf('宽').padEnd(64, '宽');
  assert.equal((await new Device().open(wide)).id, wide);

  step('an id of 65 characters');
  await refused(new Device().open(idOf('l').padEnd(65, 'o')), 4103, 'INVALID_LOGIN');

  step('an application that does not exist');
  const stray = new Device({ appId: 'no-such-application' });
  await assert.rejects(stray.open(idOf('stray')), { code: 4100 });

  step('a refused client does not spoil its Realtime');
  const device = new Device();
  await refused(device.open('x'.repeat(65)), 4103, 'INVALID_LOGIN');
  const ann = await device.open(idOf('ann'));

  step('the same client again gives the same object');
  assert.equal((await device.open(idOf('ann'))).client, ann.client);

  step('who is online');
  const bob = await open('bob');
  const asked = [idOf('ann'), idOf('bob'), idOf('nobody')];
  sameSet(await bob.client.ping(asked), [idOf('ann'), idOf('bob')]);
  assert.deepEqual(await bob.client.ping([idOf('nobody')]), []);

  step('twenty are looked up at once');
  const crowd = Array.from({ length: 19 }, (_, n) => idOf(`m${n}`));
  assert.deepEqual(await bob.client.ping([...crowd, bob.id]), [bob.id]);

  step('a closed client is offline');
  const chat = await converse(ann, [bob]);
  await ann.client.close();
  sameSet(await bob.client.ping(asked), [idOf('bob')]);
  await assert.rejects(chat.send(ann.text('too late')));

  step('another client on the Realtime of a closed one');
  const cat = await device.open(idOf('cat'));
  const meeting = await converse(bob, [cat]);
  await cat.saw('invited', ({ invitedBy }, { id }) => invitedBy === bob.id && id === meeting.id);
  await meeting.send(bob.text('hello, cat'));
  assert.equal((await cat.got('hello, cat')).cid, meeting.id);

  step('a client that comes back after closing');
  await cat.client.close();
  const again = await device.open(idOf('ann'));
  await (await bob.conversation(chat.id)).send(bob.text('welcome back'));
  await again.got('welcome back');
  again.sawNo('message');

  step('a client is online while one of its devices is');
  const phone = await open('bob');
  await phone.client.close();
  assert.deepEqual(await again.client.ping([idOf('bob')]), [idOf('bob')]);
  await bob.client.close();
  assert.deepEqual(await again.client.ping([idOf('bob')]), []);
});
