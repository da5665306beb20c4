/**
 * Whoever was in a chat room is in it again when the server is; a temporary conversation lives until its time is over.
 * Rules: 1.10, 1.19, 1.20
 */
'use strict';

const { setTimeout: passed } = require('node:timers/promises');
const { ask, assert, config, idOf, open, refused, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob, cat] = [await open('ann'), await open('bob'), await open('cat')];
  const room = await ann.client.createChatRoom({ name: 'lobby' });
  const bobs = await bob.conversation(room.id);
  await bobs.join();
  const cats = await cat.conversation(room.id);
  await cats.join();
  await cats.quit();
  await room.send(ann.text('before'));
  await bob.got('before');
  const temporary = (others, ttl) => ann.client.createTemporaryConversation({ members: others, ttl });
  const lasting = await temporary([bob.id], 3_600);
  const brief = await temporary([bob.id, idOf('dan')], 1);
  await lasting.send(ann.text('hello'));
  await bob.got('hello');

  await ask(config.how);
  await Promise.all([ann.back(), bob.back(), cat.back()]);

  step('in the room again, but for the one who had left');
  assert.equal(await room.count(), 2);
  await room.send(ann.text('after'));
  await bob.got('after');
  await cat.settled();
  cat.sawNo('message');
  assert.deepEqual((await bobs.queryMessages()).map(({ text }) => text), ['before', 'after']);

  step('the temporary conversation');
  const found = await (await open('bob')).conversation(lasting.id);
  assert.deepEqual((await found.queryMessages()).map(({ text }) => text), ['hello']);
  assert.equal((await temporary([bob.id])).id, lasting.id);
  await lasting.send(ann.text('still here'));
  await bob.got('still here');

  step('the one whose time is over');
  await passed(Math.max(0, brief.expiredAt - Date.now()) + 1);
  brief.expiredAt = Date.now() + 60_000; // or the SDK would not even ask
  await refused(brief.send(ann.text('anybody?')), 4323, 'TEMPORARY_CONVERSATION_EXPIRED');
  assert.notEqual((await temporary([bob.id, idOf('dan')])).id, brief.id);
});
