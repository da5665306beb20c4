/**
 * A login takes a tag from another device, which is told and stays away; an automatic reconnect takes nothing.
 * Rules: 12.2, 12.3
 */
'use strict';

const { Device, assert, converse, idOf, open, scenario, step } = require('../harness');

const TAG = { tag: 'mobile' };

async function drop(user) {
  const away = user.saw('offline');
  user.device.pause();
  await away;
  user.device.resume();
}

scenario(async () => {
  const bob = await open('bob');

  step('a login on another device takes the tag');
  const first = await new Device().open(idOf('ann'), TAG);
  const conversation = await converse(bob, [first]);
  await first.saw('invited');
  const second = await new Device().open(idOf('ann'), TAG);
  const [told] = await first.saw('conflict');
  assert.equal(told.reason, 'SESSION_CONFLICT');
  first.forget();

  step('only the newcomer is there');
  await conversation.send(bob.text('to the second'));
  await second.got('to the second');
  await assert.rejects(first.client.ping([bob.id]));

  step('other tags, and none, are no conflict');
  const tablet = await new Device().open(idOf('ann'), { tag: 'tablet' });
  const untagged = await new Device().open(idOf('ann'));
  await conversation.send(bob.text('to all'));
  for (const device of [second, tablet, untagged]) await device.got('to all');
  for (const device of [second, tablet, untagged]) device.sawNo('conflict');

  step('the holder comes back to its own tag');
  await drop(second);
  await second.back();
  await conversation.send(bob.text('to the holder'));
  await second.got('to the holder');
  second.sawNo('conflict');

  step('a device that lost its tag cannot take it back by reconnecting');
  const shared = new Device();
  const [fourth, cat] = [await shared.open(idOf('ann'), TAG), await shared.open(idOf('cat'))];
  await second.saw('conflict');
  const fifth = await new Device().open(idOf('ann'), TAG);
  await fourth.saw('conflict');
  await drop(cat);
  const patient = shared.hurry();
  const [error] = await fourth.saw('reconnecterror');
  patient();
  assert.equal(error.code, 4111, String(error));
  await cat.saw('reconnect');
  await conversation.send(bob.text('to the fifth'));
  await fifth.got('to the fifth');
  fifth.sawNo('conflict');
  await cat.settled();

  step('whoever lost the tag heard and did nothing more');
  for (const device of [first, second, fourth]) {
    device.sawNo('message');
    device.sawNo('conflict');
    device.sawNo('close');
    device.sawNo('reconnect');
  }
  for (const device of [tablet, untagged, fifth]) await device.client.close();
  assert.deepEqual(await bob.client.ping([idOf('ann')]), []);
});
