/**
 * A lost connection is out of its chat room, and back in when it comes back; unless it had left, or somebody closed.
 * Rules: 1.10
 */
'use strict';

const { assert, open, openCuttable, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob] = [await open('ann'), await openCuttable('bob')];
  const room = await ann.client.createChatRoom({ name: 'lobby' });
  const bobs = await bob.conversation(room.id);
  await bobs.join();

  step('cut off, and back');
  await bob.loseConnection();
  await bob.back();
  await room.send(ann.text('welcome back'));
  await bob.got('welcome back');
  assert.equal(await room.count(), 2);

  step('away for a while');
  await bob.goAway(ann);
  assert.equal(await room.count(), 1);
  await room.send(ann.text('while bob is away'));
  await bob.comeBack();
  assert.equal(await room.count(), 2);
  await room.send(ann.text('go on'));
  await bob.got('go on');
  const texts = (await bobs.queryMessages()).map(({ text }) => text);
  assert.deepEqual(texts, ['welcome back', 'while bob is away', 'go on']);

  step('it had left');
  await bobs.quit();
  await bob.loseConnection();
  await bob.back();
  await room.send(ann.text('too late'));
  await bob.settled();
  bob.sawNo('message');
  assert.equal(await room.count(), 1);

  step('the room that it had entered last');
  await bobs.join();
  const kitchen = await bob.client.createChatRoom({ name: 'kitchen' });
  await bob.loseConnection();
  await bob.back();
  assert.deepEqual([await room.count(), await kitchen.count()], [1, 1]);
});
