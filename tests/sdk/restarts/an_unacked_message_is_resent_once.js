/**
 * The ack is lost and the server goes down: sent again afterwards, the message is still the same one.
 * Rules: 5.4
 */
'use strict';

const { Device, ask, assert, config, converse, idOf, open, scenario, step } = require('../harness');
const { FaultProxy } = require('../fault_proxy');

scenario(async () => {
  const proxy = new FaultProxy(config.address);
  const device = new Device({ address: await proxy.start() });
  const [ann, bob] = [await device.open(idOf('ann')), await open('bob')];
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
  await ask(config.how);
  await Promise.all([ann.back(), bob.back()]);

  step('sent again');
  const resent = await conversation.send(message);
  assert.equal(resent.id, received.id);
  assert.equal(resent.timestamp.getTime(), received.timestamp.getTime());
  await conversation.send(ann.text('three'));
  await bob.got('three');

  step('everybody has it once');
  for (const user of [ann, bob, await open('bob')]) {
    const history = await (await user.conversation(conversation.id)).queryMessages();
    assert.deepEqual(history.map(({ text }) => text), ['one', 'two', 'three']);
    user.sawNo('message');
  }
});
