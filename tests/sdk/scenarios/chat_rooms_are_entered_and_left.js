/**
 * Chat rooms: created, found, entered and left; who hears what is said there, who is counted, and what is not told.
 * Rules: 1.7, 1.8, 1.9, 1.11, 1.12, 5.30, 11.3
 */
'use strict';

const { assert, converse, idOf, open, sameSet, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob, cat] = [await open('ann'), await open('bob'), await open('cat')];
  const { HIGH, NORMAL, LOW } = ann.sdk.MessagePriority;
  const quiet = async (...users) => {
    for (const user of users) {
      await user.settled();
      for (const event of ['message', 'invited', 'kicked', 'membersjoined', 'membersleft']) user.sawNo(event);
    }
  };

  step('created: whoever creates it is in it');
  const room = await ann.client.createChatRoom({ name: `lobby ${ann.id}`, topic: 'cats' });
  assert.ok(room instanceof ann.sdk.ChatRoom);
  assert.equal(room.transient, true);
  assert.equal(await room.count(), 1);

  step('found');
  const [bobs] = await bob.client.getChatRoomQuery().equalTo('name', room.name).find();
  assert.ok(bobs instanceof bob.sdk.ChatRoom);
  assert.equal(bobs.id, room.id);
  assert.equal(bobs.get('topic'), 'cats');
  assert.equal(bobs.creator, ann.id);
  assert.deepEqual(bobs.members, []);
  await converse(ann, [], { name: room.name });
  const rooms = await bob.client.getChatRoomQuery().equalTo('name', room.name).find();
  assert.deepEqual(rooms.map(({ id }) => id), [room.id]);
  await ann.saw('membersjoined');
  ann.forget();

  step('whoever is outside hears nothing');
  await room.send(ann.text('nobody here?'));
  await quiet(bob);

  step('entered, without a word to the others');
  await bobs.join();
  assert.equal(await room.count(), 2);
  await bobs.join();
  assert.equal(await bobs.count(), 2);
  await quiet(ann, bob);

  step('messages of every priority, in the order in which they were sent');
  const sent = [];
  for (const priority of [LOW, HIGH, NORMAL, undefined]) {
    sent.push(await room.send(ann.text(`priority ${priority}`), { priority, receipt: true }));
  }
  for (const { id, text } of sent) assert.equal((await bob.got(text)).id, id);
  await bobs.send(bob.text('hello'));
  await ann.got('hello');
  await quiet(ann, bob);

  step('sent to those inside by somebody who is not');
  const cats = await cat.conversation(room.id);
  await cats.send(cat.text('may I come in?'));
  for (const user of [ann, bob]) await user.got('may I come in?');
  assert.equal(await room.count(), 2);

  step('history, for anybody');
  const texts = ['nobody here?', ...sent.map(({ text }) => text), 'hello', 'may I come in?'];
  for (const copy of [room, bobs, cats]) {
    assert.deepEqual((await copy.queryMessages()).map(({ text }) => text), texts);
  }

  step('recalled and changed like elsewhere');
  await room.recall(sent[0]);
  const [recalled] = await bob.saw('messagerecall');
  assert.equal(recalled.id, sent[0].id);
  await room.update(sent[1], ann.text('changed'));
  const [changed] = await bob.saw('messageupdate');
  assert.equal(changed.text, 'changed');
  assert.deepEqual((await cats.queryMessages()).slice(1, 3).map(({ type }) => type), [-127, -1]);

  step('transient there');
  await bobs.send(bob.text('typing'), { transient: true });
  await ann.got('typing');
  assert.equal((await cats.queryMessages()).length, texts.length);

  step('nothing is unread and nobody gets a receipt');
  await bobs.read();
  const phone = await open('bob');
  await phone.settled();
  phone.sawNo('unreadmessagescountupdate');
  await ann.settled();
  for (const { status } of sent.slice(1)) assert.notEqual(status, ann.sdk.MessageStatus.DELIVERED);

  step('each device enters for itself');
  await room.send(ann.text('to one device'));
  await bob.got('to one device');
  await quiet(phone);
  await (await phone.conversation(room.id)).join();
  assert.equal(await room.count(), 2, 'clients are counted, not devices');
  await room.send(ann.text('to both'));
  for (const user of [bob, phone]) await user.got('to both');

  step('entering another one leaves the first');
  const next = await ann.client.createChatRoom({ name: `kitchen ${ann.id}` });
  assert.equal(await room.count(), 1);
  await bobs.send(bob.text('ann?'));
  await phone.got('ann?');
  await quiet(ann);
  await (await phone.conversation(next.id)).join();
  assert.equal(await next.count(), 2);
  await (await phone.conversation(next.id)).send(phone.text('here'));
  await ann.got('here');
  await quiet(bob);

  step('left');
  await bobs.quit();
  assert.equal(await bobs.count(), 0);
  await room.send(ann.text('echo'));
  await quiet(ann, bob, phone);

  step('somebody else is brought in, if there');
  await room.join();
  const { successfulClientIds, failures } = await room.add([cat.id, idOf('nobody')]);
  assert.deepEqual(successfulClientIds, [cat.id]);
  assert.deepEqual(failures.map(({ code, clientIds }) => [code, clientIds]), [[4308, [idOf('nobody')]]]);
  await room.send(ann.text('welcome, cat'));
  await cat.got('welcome, cat');
  await quiet(ann, cat);

  step('who is inside: asked for as other SDKs do');
  const { GenericCommand, ConvCommand } = ann.sdk.Protocals;
  const asked = new GenericCommand({ op: 'members', convMessage: new ConvCommand({ limit: 50 }) });
  sameSet((await room._send(asked)).convMessage.m, [ann.id, cat.id]);

  step('muting it changes nothing');
  await bobs.mute();
  await bobs.unmute();
  sameSet((await cat.client.getConversation(room.id, true)).mutedMembers, []);

  step('whoever closes is out');
  assert.equal(await next.count(), 1);
  await phone.client.close();
  assert.equal(await next.count(), 0);
});
