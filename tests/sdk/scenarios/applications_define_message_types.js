/**
 * Two types of an application's own, a business card and a red packet: sent, received by both versions, and filtered by
 * type.
 * Rules: 5.7, 8.4, 15.1
 */
'use strict';

const { assert, config, converse, idOf, open, scenario, step } = require('../harness');

/** What the application has in each of its clients, over whichever SDK it is built with. */
function define({ TypedMessage, messageType, messageField, MessagePriority }) {
  class BusinessCard extends TypedMessage {
    constructor(name, company, phones = []) {
      super();
      Object.assign(this, { name, company, phones });
    }

    get summary() {
      return `[card] ${this.name}`;
    }
  }
  messageType(1)(BusinessCard);
  messageField(['name', 'company', 'phones'])(BusinessCard);

  class RedPacket extends TypedMessage {
    static of(cents, wishes) {
      return Object.assign(new RedPacket(), { cents, text: wishes });
    }

    get yuan() {
      return this.cents / 100;
    }
  }
  messageType(2)(RedPacket);
  messageField('cents')(RedPacket);
  RedPacket.sendOptions = { priority: MessagePriority.HIGH, pushData: { alert: 'You have a red packet' } };
  return { BusinessCard, RedPacket };
}

scenario(async () => {
  const devices = [];
  const openApp = async (name, options) => {
    const user = await open(name, options);
    user.types = define(user.sdk);
    user.device.realtime.register(Object.values(user.types));
    devices.push(user);
    return user;
  };
  const ann = await openApp('ann');
  const bob = await openApp('bob');
  const other = await openApp('bob', { major: config.major === 5 ? 4 : 5, noBinary: config.mode === 'binary' });
  const plain = await open('bob');
  const conversation = await converse(ann, [bob, idOf('cat')]);

  step('a business card');
  const card = new ann.types.BusinessCard('Ann 安', '上海', ['+86 21 0000', '007']);
  await conversation.send(card.setAttributes({ from: 'address book' }).setMentionList([bob.id]));
  for (const user of [bob, other]) {
    const [got] = await user.saw('message');
    assert.ok(got instanceof user.types.BusinessCard);
    assert.equal(got.id, card.id);
    assert.equal(got.type, 1);
    assert.deepEqual([got.name, got.company, got.phones], ['Ann 安', '上海', ['+86 21 0000', '007']]);
    assert.deepEqual(got.attributes, { from: 'address book' });
    assert.equal(got.summary, '[card] Ann 安');
    assert.equal(got.mentioned, true);
  }

  step('to an app that does not know it');
  const [unknown] = await plain.saw('message');
  assert.equal(unknown.content._lctype, 1);
  assert.equal(unknown.content.name, 'Ann 安');

  step('a red packet, from the other version');
  await (await other.conversation(conversation.id)).send(other.types.RedPacket.of(888, '恭喜发财'));
  for (const user of [ann, bob]) {
    const [got] = await user.saw('message');
    assert.ok(got instanceof user.types.RedPacket);
    assert.deepEqual([got.cents, got.yuan, got.text], [888, 8.88, '恭喜发财']);
  }

  step('changed and recalled like any other');
  const better = new ann.types.BusinessCard('Ann 安', '北京');
  await conversation.update(card, better);
  for (const user of [bob, other]) {
    const [got] = await user.saw('messageupdate');
    assert.ok(got instanceof user.types.BusinessCard);
    assert.deepEqual([got.company, got.phones], ['北京', []]);
  }
  const regretted = await conversation.send(ann.types.RedPacket.of(1, 'by mistake'));
  await conversation.recall(regretted);
  await bob.saw('messagerecall', ({ id }) => id === regretted.id);

  step('history, filtered by type');
  await conversation.send(ann.text('just text'));
  for (const user of [bob, other]) {
    const copy = await user.conversation(conversation.id);
    const ofType = async (type) => copy.queryMessages({ type });
    const cards = await ofType(user.types.BusinessCard.TYPE);
    assert.deepEqual(cards.map(({ company }) => company), ['北京']);
    assert.ok(cards[0] instanceof user.types.BusinessCard);
    const packets = await ofType(user.types.RedPacket.TYPE);
    assert.deepEqual(packets.map(({ cents }) => cents), [888]);
    assert.deepEqual((await ofType(-1)).map(({ text }) => text), ['just text']);
    assert.deepEqual((await copy.queryMessages()).map(({ type }) => type), [1, 2, -127, -1]);
  }

  step('as the last message');
  await conversation.send(ann.types.RedPacket.of(200, 'to whom it may concern'));
  const cat = await openApp('cat');
  const [[waiting]] = await cat.saw('unreadmessagescountupdate');
  assert.ok(waiting.lastMessage instanceof cat.types.RedPacket);
  assert.equal(waiting.lastMessage.cents, 200);
});
