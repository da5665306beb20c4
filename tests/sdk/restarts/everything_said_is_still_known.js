/**
 * Conversations, members, attributes, mutes, read positions and unread counts outlive the process.
 * Rules: 1.4, 7.2, 11.1
 */
'use strict';

const { ask, assert, config, converse, idOf, open, refused, sameSet, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob, phone] = [await open('ann'), await open('bob'), await open('bob')];
  const columns = { name: '计划', attr: { level: 3 }, colour: 'red', unique: true };
  const conversation = await converse(ann, [bob, idOf('cat')], columns);
  await bob.saw('invited');
  await conversation.add([idOf('dan')]);
  await conversation.remove([idOf('cat')]);
  conversation.set('attr.level', 4);
  await conversation.save();
  await (await bob.conversation(conversation.id)).mute();
  const chat = await converse(ann, [bob]);
  await chat.send(ann.text('read already'));
  await bob.got('read already');
  const unread = (count) =>
    phone.saw('unreadmessagescountupdate', ([one]) => one.id === chat.id && one.unreadMessagesCount === count);
  await unread(1);
  await (await bob.conversation(chat.id)).read();
  await unread(0);
  const hello = await conversation.send(ann.text('hello').setMentionList([bob.id]));
  await bob.got('hello');

  await ask(config.how);

  step('sessions come back');
  await Promise.all([ann.back(), bob.back()]);
  await conversation.send(ann.text('after'));
  await bob.got('after');
  sameSet(await bob.client.ping([ann.id, bob.id, idOf('cat')]), [ann.id, bob.id]);

  step('what a new device finds');
  const fresh = await open('bob');
  const [waiting] = await fresh.saw('unreadmessagescountupdate');
  assert.deepEqual(waiting.map(({ id }) => id), [conversation.id], 'the other one was read');
  assert.equal(waiting[0].unreadMessagesCount, 2);
  assert.equal(waiting[0].unreadMessagesMentioned, true);
  const found = await fresh.client.getConversation(conversation.id, true);
  assert.equal(found.name, '计划');
  assert.deepEqual(found.get('attr'), { level: 4 });
  assert.equal(found.get('colour'), 'red');
  assert.equal(found.creator, ann.id);
  assert.equal(found.createdAt.getTime(), conversation.createdAt.getTime());
  sameSet(found.members, [ann.id, bob.id, idOf('dan')]);
  assert.deepEqual(found.mutedMembers, [bob.id]);
  const history = await found.queryMessages();
  assert.deepEqual(history.map(({ text }) => text), ['hello', 'after']);
  assert.equal(history[0].id, hello.id);
  assert.deepEqual(history[0].mentionList, [bob.id]);

  step('who is out is still out');
  const cat = await open('cat');
  await refused((await cat.conversation(conversation.id)).queryMessages(), 4312, 'CONVERSATION_LOG_REJECTED');

  step('a unique conversation is still the same one');
  assert.equal((await converse(bob, [ann, idOf('cat')], { unique: true })).id, conversation.id);
});
