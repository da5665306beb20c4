/**
 * read() on one device lowers the count of the client on all of them, now and at the next login.
 * Rules: 7.5
 */
'use strict';

const { assert, converse, open, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob, tablet] = [await open('ann'), await open('bob'), await open('bob')];
  const [chat, other] = [await converse(ann, [bob]), await converse(ann, [bob])];
  const bobs = await bob.conversation(chat.id);
  const tablets = await tablet.conversation(chat.id);
  const count = (user, conversation, expected) =>
    user.saw('unreadmessagescountupdate', (list) =>
      list.some(({ id, unreadMessagesCount }) => id === conversation.id && unreadMessagesCount === expected));

  step('both devices count');
  await chat.send(ann.text('one').setMentionList([bob.id]));
  await chat.send(ann.text('two'));
  await other.send(ann.text('elsewhere'));
  for (const user of [bob, tablet]) {
    for (const text of ['one', 'two', 'elsewhere']) await user.got(text);
  }
  assert.equal(tablets.unreadMessagesCount, 2);
  assert.equal(tablets.unreadMessagesMentioned, true);
  tablet.forget();

  step('one reads, the other is told');
  await bobs.read();
  assert.equal(bobs.unreadMessagesCount, 0);
  await count(tablet, chat, 0);
  assert.equal(tablets.unreadMessagesCount, 0);
  assert.equal(tablets.unreadMessagesMentioned, false);
  assert.equal((await tablet.conversation(other.id)).unreadMessagesCount, 1);
  await bob.settled();
  assert.equal(bobs.unreadMessagesCount, 0, 'its own read comes back to it');

  step('a login afterwards');
  const phone = await open('bob');
  await count(phone, other, 1);
  assert.equal((await phone.conversation(chat.id)).unreadMessagesCount, 0);

  step('what comes after counts from one again');
  await chat.send(ann.text('three'));
  for (const user of [bob, tablet, phone]) {
    await user.got('three');
    assert.equal((await user.conversation(chat.id)).unreadMessagesCount, 1);
    assert.ok(!(await user.conversation(chat.id)).unreadMessagesMentioned);
  }

  step('reading on another device');
  bob.forget();
  await (await phone.conversation(chat.id)).read();
  await count(bob, chat, 0);
  await (await phone.conversation(other.id)).read();
  await count(bob, other, 0);

  step('nothing is left to tell');
  const last = await open('bob');
  await last.settled();
  last.sawNo('unreadmessagescountupdate');

  step('it is the reader alone whose count goes down');
  await bobs.send(bob.text('answer'));
  await ann.got('answer');
  assert.equal(chat.unreadMessagesCount, 1);
  const anns = await open('ann');
  await count(anns, chat, 1);
});
