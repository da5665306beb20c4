/**
 * Changing a message: what the others and the author's own devices are told, what is found later, and who may not.
 * Rules: 5.7, 8.2, 8.4
 */
'use strict';

const { assert, bytes, bytesOf, converse, idOf, open, refused, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, tablet, bob] = [await open('ann'), await open('ann'), await open('bob')];
  const conversation = await converse(ann, [bob, idOf('dan')]);
  const bobs = await bob.conversation(conversation.id);
  const first = await conversation.send(ann.text('Where are yuo?'));
  const second = await conversation.send(ann.text('second'));
  for (const user of [bob, tablet]) {
    await user.got('Where are yuo?');
    await user.got('second');
  }
  /** What everybody concerned is told of the change; they agree about all but the body. */
  const told = async (original) => {
    const heard = [];
    for (const user of [bob, tablet]) {
      const [message, where, reason] = await user.saw('messageupdate');
      assert.equal(message.id, original.id);
      assert.equal(message.cid, conversation.id);
      assert.equal(message.from, ann.id);
      assert.equal(message.timestamp.getTime(), original.timestamp.getTime());
      assert.ok(message.updatedAt > message.timestamp);
      assert.equal(where.id, conversation.id);
      assert.equal(reason, undefined, 'the author did it');
      heard.push(message);
    }
    return heard;
  };

  step('another text, and now bob is mentioned');
  const changed = await conversation.update(first, ann.text('Where are you?').setMentionList([bob.id]));
  assert.equal(changed.id, first.id);
  const [toBob, toTablet] = await told(first);
  for (const message of [toBob, toTablet]) {
    assert.equal(message.text, 'Where are you?');
    assert.deepEqual(message.mentionList, [bob.id]);
  }
  assert.equal(toBob.mentioned, true);
  assert.equal(toTablet.mentioned, false);
  assert.equal(bobs.lastMessage.text, 'second');
  await ann.settled();
  ann.sawNo('messageupdate');

  step('again: the newest counts');
  await conversation.update(changed, ann.text('Where are you now?').mentionAll());
  const [again] = await told(first);
  assert.equal(again.text, 'Where are you now?');
  assert.equal(again.mentionedAll, true);
  assert.deepEqual(again.mentionList, []);
  assert.ok(again.updatedAt > toBob.updatedAt);

  step('the last message becomes binary, and text again');
  const raw = await conversation.update(second, new ann.sdk.BinaryMessage(bytes(0, 128, 255)));
  for (const { content } of await told(second)) {
    // Both versions forget here to make a BinaryMessage of the bytes.
    assert.deepEqual(bytesOf({ buffer: content.toArrayBuffer() }), [0, 128, 255]);
  }
  assert.deepEqual(bytesOf((await bobs.queryMessages({ limit: 1 }))[0]), [0, 128, 255]);
  await conversation.update(raw, ann.text('second thoughts'));
  for (const message of await told(second)) assert.equal(message.text, 'second thoughts');
  assert.equal(bobs.lastMessage.text, 'second thoughts');

  step('what is in history');
  for (const user of [ann, bob, await open('bob')]) {
    const history = await (await user.conversation(conversation.id)).queryMessages();
    assert.deepEqual(history.map(({ id }) => id), [first.id, second.id], 'in the order in which they were sent');
    assert.deepEqual(history.map(({ text }) => text), ['Where are you now?', 'second thoughts']);
    assert.deepEqual(history.map(({ mentionedAll }) => Boolean(mentionedAll)), [true, false]);
    for (const message of history) assert.ok(message.updatedAt > message.timestamp);
  }

  step('what waits for somebody who was away');
  const dan = await open('dan');
  const [[waiting]] = await dan.saw('unreadmessagescountupdate');
  assert.equal(waiting.unreadMessagesCount, 2);
  assert.equal(waiting.lastMessage.text, 'second thoughts');
  assert.equal(waiting.lastMessage.id, second.id);

  step('somebody else may not');
  const named = { id: first.id, timestamp: first.timestamp };
  await refused(bobs.update(named, bob.text('hacked')), 4403, 'MESSAGE_OWNERSHIP_REQUIRED');

  step('what is not there, and what is too long');
  await refused(conversation.update({ ...named, id: 'A'.repeat(22) }, ann.text('?')), 4404, 'MESSAGE_NOT_FOUND');
  await refused(conversation.update(named, ann.text('x'.repeat(5_500))), 4109, 'FRAME_TOO_LONG');
  assert.equal((await bobs.queryMessages({ limit: 2 }))[0].text, 'Where are you now?');
  await bob.settled();
  for (const user of [ann, tablet, bob]) user.sawNo('messageupdate');
});
