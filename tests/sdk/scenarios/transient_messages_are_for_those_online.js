/**
 * Transient messages: heard by the devices that are there, and nowhere to be found afterwards.
 * Rules: 5.5, 5.10, 5.11, 5.12, 12.4
 */
'use strict';

const { assert, converse, idOf, next, open, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, tablet, bob] = [await open('ann'), await open('ann'), await open('bob')];
  const conversation = await converse(ann, [bob]);
  const before = await conversation.send(ann.text('before'), { receipt: true });
  for (const user of [tablet, bob]) await user.got('before');

  step('heard by those who are there');
  const typing = await conversation.send(ann.text('is typing'), { transient: true, receipt: true });
  assert.equal(typing.status, ann.sdk.MessageStatus.SENT);
  assert.equal(typeof typing.id, 'string');
  assert.ok(typing.timestamp > before.timestamp, `${typing.timestamp} is later than ${before.timestamp}`);
  for (const user of [tablet, bob]) {
    const heard = await user.got('is typing');
    assert.equal(heard.id, typing.id);
    assert.equal(heard.from, ann.id);
    assert.equal(heard.timestamp.getTime(), typing.timestamp.getTime());
  }
  ann.sawNo('message');
  assert.equal(conversation.lastMessage.id, before.id);

  step('not stored');
  const after = await conversation.send(ann.text('after'), { receipt: true });
  for (const user of [tablet, bob]) await user.got('after');
  const ids = (await conversation.queryMessages()).map(({ id }) => id);
  assert.deepEqual(ids, [before.id, after.id]);
  await conversation.send(ann.text('gone at once').setMentionList([bob.id]), { transient: true });
  const query = (await open('ann')).client.getQuery().equalTo('objectId', conversation.id);
  const [found] = await query.withLastMessagesRefreshed().find();
  assert.equal(found.lastMessage.id, after.id);
  assert.equal(found.lastMessageAt.getTime(), after.timestamp.getTime());

  step('not unread');
  const phone = await open('bob');
  const [[waiting]] = await phone.saw('unreadmessagescountupdate');
  assert.equal(waiting.unreadMessagesCount, 2);
  assert.equal(waiting.unreadMessagesMentioned, false);
  assert.equal(waiting.lastMessage.id, after.id);
  phone.sawNo('message');

  step('nor for somebody who is not there');
  const alone = await converse(ann, [idOf('dan')]);
  await alone.send(ann.text('knock, knock'), { transient: true });
  const dan = await open('dan');
  await dan.settled();
  dan.sawNo('message');
  dan.sawNo('unreadmessagescountupdate');
  assert.deepEqual(await (await dan.conversation(alone.id)).queryMessages(), []);

  step('no receipt, though those around it have theirs');
  while (after.status !== ann.sdk.MessageStatus.DELIVERED) await next(conversation, 'lastdeliveredatupdate');
  assert.equal(before.status, ann.sdk.MessageStatus.DELIVERED);
  assert.equal(typing.status, ann.sdk.MessageStatus.SENT);
});
