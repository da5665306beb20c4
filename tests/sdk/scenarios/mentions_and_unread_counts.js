/**
 * Who is mentioned, live and in history; what waits for a client that was away; counting while it is there.
 * Rules: 2.7, 5.7, 7.2, 7.3, 7.4, 7.6
 */
'use strict';

const { assert, converse, idOf, open, scenario, step } = require('../harness');

scenario(async () => {
  const ann = await open('ann');
  const bob = await open('bob');
  const cat = await open('cat');
  const group = await converse(ann, [bob, cat, idOf('dan')]);
  const pair = await converse(ann, [bob]);
  const bobs = await bob.conversation(group.id);
  const cats = await cat.conversation(group.id);

  step('one is mentioned');
  await group.send(ann.text('bob?').setMentionList([bob.id, 'somebody-else']));
  const [toBob, toCat] = [await bob.got('bob?'), await cat.got('bob?')];
  assert.deepEqual(toBob.mentionList, [bob.id, 'somebody-else']);
  assert.equal(toBob.mentioned, true);
  assert.ok(!toBob.mentionedAll);
  assert.deepEqual(toCat.mentionList, [bob.id, 'somebody-else']);
  assert.equal(toCat.mentioned, false);
  assert.equal(bobs.unreadMessagesCount, 1);
  assert.equal(bobs.unreadMessagesMentioned, true);
  assert.equal(cats.unreadMessagesCount, 1);
  assert.ok(!cats.unreadMessagesMentioned);

  step('all are mentioned');
  await group.send(ann.text('all!').mentionAll());
  for (const user of [bob, cat]) {
    const got = await user.got('all!');
    assert.equal(got.mentionedAll, true);
    assert.equal(got.mentioned, true);
  }
  const [first, second] = await cats.queryMessages();
  assert.deepEqual([first.mentionList, Boolean(first.mentionedAll)], [[bob.id, 'somebody-else'], false]);
  assert.deepEqual([second.mentionList, second.mentionedAll, second.mentioned], [[], true, true]);

  step('somebody who was never online finds all of it unread at login');
  const unread = async (user, id) => {
    const [conversations] = await user.saw('unreadmessagescountupdate', (list) => list.some((one) => one.id === id));
    return conversations.find((one) => one.id === id);
  };
  const last = await group.send(ann.text('last'));
  for (const user of [bob, cat]) await user.got('last');
  const dan = await open('dan');
  const dans = await unread(dan, group.id);
  assert.equal(dans.unreadMessagesCount, 3);
  assert.equal(dans.unreadMessagesMentioned, true);
  assert.equal(dans.lastMessage.text, 'last');
  assert.equal(dans.lastMessage.id, last.id);
  assert.equal(dans.lastMessage.from, ann.id);
  assert.equal(dans.lastMessageAt.getTime(), last.timestamp.getTime());
  dan.sawNo('message');

  step('being online, receiving and reading history are not reading');
  const phone = await open('bob');
  assert.equal((await unread(phone, group.id)).unreadMessagesCount, 3);
  await (await phone.conversation(group.id)).queryMessages();
  const phoneAgain = await open('bob');
  assert.equal((await unread(phoneAgain, group.id)).unreadMessagesCount, 3);

  step('a conversation without news is not listed');
  await phone.settled();
  assert.equal((await phone.conversation(pair.id)).unreadMessagesCount, 0);

  step('counted on while online, mentioned only from now on');
  await pair.send(ann.text('one'));
  await bob.got('one');
  assert.equal((await unread(bob, pair.id)).unreadMessagesCount, 1);
  assert.ok(!(await bob.conversation(pair.id)).unreadMessagesMentioned);

  step('without a mention');
  const later = await open('bob');
  const waiting = await unread(later, pair.id);
  assert.equal(waiting.unreadMessagesCount, 1);
  assert.equal(waiting.unreadMessagesMentioned, false);

  step('own messages never count, on no device');
  await cats.send(cat.text('mine').mentionAll());
  await bob.got('mine');
  const catsTablet = await open('cat');
  const own = await unread(catsTablet, group.id);
  assert.equal(own.unreadMessagesCount, 3);
  assert.equal(own.lastMessage.text, 'mine');

  step('a binary message as the last one');
  const eve = idOf('eve');
  const binary = await converse(ann, [eve]);
  await binary.send(new ann.sdk.BinaryMessage(Uint8Array.from([1, 0, 255]).buffer));
  const eves = await unread(await open('eve'), binary.id);
  assert.equal(eves.unreadMessagesCount, 1);

  step('the server of this test counts to a hundred');
  for (let n = 0; n < 5; n += 1) {
    await Promise.all(Array.from({ length: 21 }, () => binary.send(ann.text('more'))));
  }
  assert.equal((await unread(await open('eve'), binary.id)).unreadMessagesCount, 100);
});
