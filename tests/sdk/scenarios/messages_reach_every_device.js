/**
 * Text, plain, JSON and binary messages, to all devices of the others and to the sender's other devices.
 * Rules: 5.1, 5.2, 12.4, 15.1
 */
'use strict';

const { assert, bytesOf, config, converse, open, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob, cat] = [await open('ann'), await open('bob'), await open('cat')];
  const [tablet, phone] = [await open('ann'), await open('bob')];
  const receivers = [tablet, bob, phone, cat];
  const conversation = await converse(ann, [bob, cat]);
  const bobs = await bob.conversation(conversation.id);

  let before = 0;
  const send = async (message, options) => {
    const sent = await conversation.send(message, options);
    assert.equal(sent.status, ann.sdk.MessageStatus.SENT);
    assert.ok(sent.timestamp.getTime() > before, 'timestamps increase');
    before = sent.timestamp.getTime();
    const received = [];
    for (const user of receivers) {
      const [got, where] = await user.saw('message');
      assert.equal(where.id, conversation.id);
      assert.equal(got.id, sent.id);
      assert.equal(got.cid, conversation.id);
      assert.equal(got.from, ann.id);
      assert.equal(got.timestamp.getTime(), sent.timestamp.getTime());
      assert.equal(got.updatedAt.getTime(), sent.timestamp.getTime(), 'never edited');
      assert.equal(where.lastMessage.id, sent.id);
      received.push(got);
    }
    return received;
  };

  step('text, with attributes');
  const heard = new Promise((resolve) => bobs.once('message', resolve));
  const attributes = { 喜: '🎉', list: [1, 2.5, null], deep: { er: true } };
  const text = '你好, wörld 👩‍👩‍👧 "quoted"\n\0end';
  for (const got of await send(ann.text(text).setAttributes(attributes))) {
    assert.equal(got.type, -1);
    assert.equal(got.text, text);
    assert.deepEqual(got.attributes, attributes);
    assert.equal(got.mentioned, false);
  }
  assert.equal((await heard).text, text);

  step('plain text');
  for (const got of await send(new ann.sdk.Message('no type, <b>just</b> text'))) {
    assert.equal(got.content, 'no type, <b>just</b> text');
  }

  step('an empty text');
  for (const got of await send(new ann.sdk.Message(''))) assert.equal(got.content, '');

  step('an object of no known type');
  for (const got of await send(new ann.sdk.Message({ any: ['thing'], _lctype: 7 }))) {
    assert.deepEqual(got.content, { any: ['thing'], _lctype: 7 });
  }

  step('binary: every byte');
  const everyByte = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  for (const got of await send(new ann.sdk.BinaryMessage(everyByte.buffer))) {
    assert.deepEqual(bytesOf(got), [...everyByte]);
  }

  step('a type of the application');
  const defineOrder = (sdk) => {
    class Order extends sdk.TypedMessage {}
    sdk.messageType(1)(Order);
    sdk.messageField(['item', 'count'])(Order);
    return Order;
  };
  for (const user of receivers) user.device.realtime.register(defineOrder(user.sdk));
  const order = Object.assign(new (defineOrder(ann.sdk))(), { item: 'tea', count: 2 });
  for (const got of await send(order)) {
    assert.equal(got.type, 1);
    assert.equal(got.item, 'tea');
    assert.equal(got.count, 2);
  }

  step('the sending session gets nothing of its own');
  await bobs.send(bob.text('your turn'));
  for (const user of [ann, tablet, phone, cat]) await user.got('your turn');
  for (const user of [ann, tablet, bob, phone, cat]) user.sawNo('message');

  step('the same in history');
  const messages = await (await (await open('cat')).conversation(conversation.id)).queryMessages();
  assert.equal(messages.length, 7);
  assert.equal(messages[0].text, text);
  assert.deepEqual(messages[0].attributes, attributes);
  assert.equal(messages[1].content, 'no type, <b>just</b> text');
  assert.equal(messages[2].content, '');
  assert.deepEqual(messages[3].content, { any: ['thing'], _lctype: 7 });
  assert.deepEqual(bytesOf(messages[4]), [...everyByte]);
  assert.deepEqual(messages[5].content, { item: 'tea', count: 2, _lctype: 1 });
  assert.equal(messages[6].from, bob.id);

  step('many at once keep their order');
  const texts = Array.from({ length: 50 }, (_, n) => `number ${n}`);
  const sent = await Promise.all(texts.map((each) => conversation.send(ann.text(each))));
  for (const user of receivers) {
    for (const message of sent) assert.equal((await user.got(message.text)).id, message.id);
  }
  const ids = sent.map(({ id }) => id);
  assert.deepEqual([...new Set(ids)].sort(), ids, 'ids are different and sort by time');
  const times = sent.map(({ timestamp }) => timestamp.getTime());
  assert.ok(times.every((time, n) => n === 0 || time > times[n - 1]), 'timestamps strictly increase');
  assert.deepEqual((await conversation.queryMessages({ limit: 50 })).map(({ id }) => id), ids);
  return { version: config.version };
});
