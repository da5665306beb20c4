/**
 * Will messages: kept back until the connection is lost, sent once, dropped by a planned close.
 * Rules: 5.20, 5.21, 5.22, 5.23, 5.24
 */
'use strict';

const { Device, assert, converse, idOf, kick, open, openCuttable, scenario, step } = require('../harness');

const WILL = { will: true };

scenario(async () => {
  const [ann, bob] = [await openCuttable('ann'), await open('bob')];
  const [chat, other] = [await converse(ann, [bob, idOf('dan')]), await converse(ann, [bob])];
  for (const { id } of [chat, other]) await bob.conversation(id);
  const before = await chat.send(ann.text('before'));
  await bob.got('before');

  step('kept back');
  const will = await chat.send(ann.text('ann has gone'), WILL);
  assert.equal(will.status, ann.sdk.MessageStatus.SENT);
  await bob.settled();
  bob.sawNo('message');

  step('sent when the connection is lost');
  await ann.loseConnection();
  const heard = await bob.got('ann has gone');
  assert.equal(heard.id, will.id);
  assert.equal(heard.from, ann.id);
  assert.equal(heard.cid, chat.id);

  step('once, and not when the next connection is lost');
  await ann.back();
  await ann.loseConnection();
  await ann.back();
  await chat.send(ann.text('back again'));
  await bob.got('back again');

  step('a newer one takes the place of an older one, in whatever conversation');
  await chat.send(ann.text('the older will'), WILL);
  await other.send(ann.text('the newer will').setMentionList([bob.id]), WILL);
  await ann.loseConnection();
  const newer = await bob.got('the newer will');
  assert.equal(newer.cid, other.id);
  assert.equal(newer.mentioned, true);
  await ann.back();

  step('a planned close drops it');
  await chat.send(ann.text('not to be sent'), WILL);
  await ann.client.close();
  await bob.sees(ann.id, false);
  await bob.settled();
  bob.sawNo('message');

  step('whoever is kicked, or loses the tag to another device, has not closed');
  const tagged = () => new Device().open(idOf('ann'), { tag: 'mobile' });
  const first = await tagged();
  await (await first.conversation(chat.id)).send(first.text('another device has the tag'), WILL);
  const second = await tagged();
  await bob.got('another device has the tag');
  await (await second.conversation(chat.id)).send(second.text('kicked'), WILL);
  await kick(second.id);
  await bob.got('kicked');

  step('not in history, not unread, not sent to those who come later');
  const history = await (await bob.conversation(chat.id)).queryMessages();
  assert.deepEqual(history.map(({ text }) => text), ['before', 'back again']);
  assert.equal(history[0].id, before.id);
  assert.deepEqual(await (await bob.conversation(other.id)).queryMessages(), []);
  for (const user of [await open('bob'), await open('dan')]) {
    const [waiting] = await user.saw('unreadmessagescountupdate');
    assert.deepEqual(waiting.map(({ id, unreadMessagesCount }) => [id, unreadMessagesCount]), [[chat.id, 2]]);
    assert.equal(waiting[0].lastMessage.text, 'back again');
    user.sawNo('message');
  }
});
