/**
 * The ack is lost on the way: the app sends the same message again, and it stays one message.
 * Rules: 5.4
 */
'use strict';

const { Device, assert, config, converse, idOf, open, scenario, step } = require('../harness');
const { FaultProxy } = require('../fault_proxy');

scenario(async () => {
  const proxy = new FaultProxy(config.address);
  const device = new Device({ address: await proxy.start() });
  const [ann, bob, tablet] = [await device.open(idOf('ann')), await open('bob'), await open('ann')];
  const conversation = await converse(ann, [bob]);
  await bob.conversation(conversation.id);
  await conversation.send(ann.text('one'));
  await bob.got('one');

  step('sent and stored, and the ack is lost');
  proxy.swallowReplies();
  const message = ann.text('two');
  const token = message.id;
  conversation.send(message).catch(() => {}); // the SDK gives up on it after 20 s
  const received = await bob.got('two');
  assert.equal(message.id, token, 'no ack has come');
  proxy.cut();
  await ann.saw('disconnect');
  await ann.back();

  step('sent again');
  const resent = await conversation.send(message);
  assert.equal(resent.id, received.id);
  assert.equal(resent.timestamp.getTime(), received.timestamp.getTime());

  step('everybody has it once');
  await conversation.send(ann.text('three'));
  await bob.got('three');
  for (const text of ['one', 'two', 'three']) await tablet.got(text);
  for (const user of [ann, bob, tablet]) {
    const history = await (await user.conversation(conversation.id)).queryMessages();
    assert.deepEqual(history.map(({ text }) => text), ['one', 'two', 'three']);
    user.sawNo('message');
  }
  const fresh = await open('bob');
  const [[waiting]] = await fresh.saw('unreadmessagescountupdate');
  assert.equal(waiting.unreadMessagesCount, 3);
});
