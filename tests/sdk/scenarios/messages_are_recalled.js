/**
 * Recall: what the others and the author's own devices are told, what is found later, and who may not.
 * Rules: 8.2, 8.4
 */
'use strict';

const { assert, bytes, converse, idOf, open, refused, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, tablet, bob, cat] = [await open('ann'), await open('ann'), await open('bob'), await open('cat')];
  const conversation = await converse(ann, [bob, idOf('dan')]);
  const bobs = await bob.conversation(conversation.id);
  const send = async (message) => {
    const sent = await conversation.send(message);
    for (const user of [bob, tablet]) await user.saw('message', ({ id }) => id === sent.id);
    return sent;
  };
  const isRecalled = (user, message, original) => {
    assert.ok(message instanceof user.sdk.RecalledMessage, JSON.stringify(message.content));
    assert.equal(message.type, -127);
    assert.equal(message.id, original.id);
    assert.equal(message.from, ann.id);
    assert.equal(message.timestamp.getTime(), original.timestamp.getTime());
    assert.ok(message.updatedAt > message.timestamp, `${message.updatedAt} is later than ${message.timestamp}`);
  };
  const told = async (original) => {
    for (const user of [bob, tablet]) {
      const [message, where, reason] = await user.saw('messagerecall', ({ id }) => id === original.id);
      isRecalled(user, message, original);
      assert.equal(message.cid, conversation.id);
      assert.equal(where.id, conversation.id);
      assert.equal(reason, undefined, 'the author did it');
    }
  };

  step('a message that is not the last one');
  const raw = await send(new ann.sdk.BinaryMessage(bytes(1, 2, 3)));
  const slip = await send(ann.text('a slip of the tongue').setMentionList([bob.id]));
  await conversation.recall(raw);
  await told(raw);
  assert.equal(bobs.lastMessage.id, slip.id);

  step('the last one');
  const recalled = await conversation.recall(slip);
  isRecalled(ann, Object.assign(recalled, { updatedAt: Date.now() + 1 }), slip);
  await told(slip);
  for (const copy of [bobs, await tablet.conversation(conversation.id)]) assert.equal(copy.lastMessage.type, -127);
  await ann.settled();
  ann.sawNo('messagerecall');

  step('what is in history');
  const kept = await send(ann.text('as I was saying'));
  for (const user of [ann, bob, await open('bob')]) {
    const history = await (await user.conversation(conversation.id)).queryMessages();
    assert.deepEqual(history.map(({ id }) => id), [raw.id, slip.id, kept.id]);
    isRecalled(user, history[0], raw);
    isRecalled(user, history[1], slip);
    assert.equal(history[2].text, 'as I was saying');
  }
  const ofType = async (type) => (await bobs.queryMessages({ type })).map(({ id }) => id);
  assert.deepEqual(await ofType(-127), [raw.id, slip.id]);
  assert.deepEqual(await ofType(ann.sdk.TextMessage.TYPE), [kept.id]);

  step('what waits for somebody who was away');
  await conversation.recall(kept);
  await told(kept);
  const dan = await open('dan');
  const [[waiting]] = await dan.saw('unreadmessagescountupdate');
  isRecalled(dan, Object.assign(waiting.lastMessage, { updatedAt: Date.now() + 1 }), kept);
  const query = (await open('dan')).client.getQuery().equalTo('objectId', conversation.id);
  const [{ lastMessage }] = await query.withLastMessagesRefreshed().find();
  assert.equal(lastMessage.type, -127);
  assert.equal(lastMessage.id, kept.id);

  step('twice is once');
  await conversation.recall(slip);
  assert.deepEqual(await ofType(-127), [raw.id, slip.id, kept.id]);

  step('somebody else may not');
  const mine = await send(ann.text('mine'));
  const named = { id: mine.id, timestamp: mine.timestamp };
  await refused(bobs.recall(named), 4403, 'MESSAGE_OWNERSHIP_REQUIRED');
  await assert.rejects((await cat.conversation(conversation.id)).recall(named), ({ code }) => code >= 4300);
  assert.equal((await bobs.queryMessages({ limit: 1 }))[0].text, 'mine');

  step('what is not there');
  await refused(conversation.recall({ ...named, id: 'A'.repeat(22) }), 4404, 'MESSAGE_NOT_FOUND');
  await ann.settled();
  for (const user of [ann, tablet, bob, dan]) user.sawNo('messageupdate');
});
