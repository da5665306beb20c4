/**
 * Temporary conversations: one for each set of members, with all that a conversation has, until its time is over.
 * Rules: 1.18, 1.19, 1.20, 1.21
 */
'use strict';

const { setTimeout: passed } = require('node:timers/promises');
const { assert, bytes, bytesOf, idOf, next, open, refused, sameSet, scenario, step } = require('../harness');

const create = (user, others, options) =>
  user.client.createTemporaryConversation({ members: others.map((other) => other.id ?? other), ...options });

scenario(async () => {
  const [ann, bob] = [await open('ann'), await open('bob')];
  const brief = await create(ann, [bob, idOf('eve')], { ttl: 1 });

  step('created, and told to its members');
  const before = Date.now();
  const chat = await create(ann, [bob], { ttl: 3_600 });
  assert.ok(chat instanceof ann.sdk.TemporaryConversation);
  assert.match(chat.id, /^_tmp:/);
  assert.ok(Math.abs(chat.expiredAt - before - 3_600_000) < 10_000, String(chat.expiredAt));
  assert.equal(chat.expired, false);
  for (const user of [ann, bob]) {
    const [{ invitedBy }, where] = await user.saw('invited', (_, { id }) => id === chat.id);
    assert.equal(invitedBy, ann.id);
    assert.equal(where.id, chat.id);
    const [{ members }] = await user.saw('membersjoined', (_, { id }) => id === chat.id);
    sameSet(members, [ann.id, bob.id]);
  }
  const bobs = await bob.conversation(chat.id);
  assert.ok(bobs instanceof bob.sdk.TemporaryConversation);
  sameSet(bobs.members, [ann.id, bob.id]);
  assert.ok(Math.abs(bobs.expiredAt - chat.expiredAt) < 10_000, String(bobs.expiredAt));

  step('a day, unless it is said otherwise, and thirty at most');
  const day = await create(ann, [idOf('cat')]);
  assert.ok(Math.abs(day.expiredAt - Date.now() - 86_400_000) < 10_000, String(day.expiredAt));
  const long = await create(ann, [idOf('dan')], { ttl: 31 * 86_400 });
  assert.ok(Math.abs(long.expiredAt - Date.now() - 30 * 86_400_000) < 10_000, String(long.expiredAt));

  step('the same members, the same conversation');
  const again = await create(bob, [ann], { ttl: 60 });
  assert.equal(again.id, chat.id);
  assert.ok(again.expiredAt - Date.now() > 3_000_000, 'its time is that of the first creation');
  assert.equal((await create(await open('ann'), [bob, bob])).id, chat.id);
  assert.notEqual((await create(ann, [bob, idOf('cat')])).id, chat.id);
  const ordinary = await ann.client.createConversation({ members: [bob.id], unique: true });
  assert.doesNotMatch(ordinary.id, /^_tmp:/);
  await bob.saw('invited', (_, { id }) => id === ordinary.id);

  step('messages, history, count, receipts, changes');
  const told = next(chat, 'lastdeliveredatupdate');
  const hello = await chat.send(ann.text('hello'), { receipt: true });
  const got = await bob.got('hello');
  assert.equal(got.cid, chat.id);
  await told;
  assert.equal(hello.status, ann.sdk.MessageStatus.DELIVERED);
  await chat.send(new ann.sdk.BinaryMessage(bytes(1, 255)));
  assert.deepEqual(bytesOf((await bob.saw('message'))[0]), [1, 255]);
  const slip = await chat.send(ann.text('slip'));
  await chat.recall(slip);
  await bob.saw('messagerecall');
  await chat.update(hello, ann.text('hello, bob'));
  await bob.saw('messageupdate');
  const history = await bobs.queryMessages();
  assert.deepEqual(history.map(({ type, text }) => [type, type === -1 ? text : null]), [
    [-1, 'hello, bob'],
    [undefined, null],
    [-127, null],
  ]);
  assert.equal(await bobs.count(), 2);

  step('unread, until it is read');
  const phone = await open('bob');
  const [[waiting]] = await phone.saw('unreadmessagescountupdate');
  assert.equal(waiting.id, chat.id);
  assert.ok(waiting instanceof phone.sdk.TemporaryConversation);
  assert.ok(waiting.unreadMessagesCount >= 2, String(waiting.unreadMessagesCount));
  await waiting.read();
  await bob.saw('unreadmessagescountupdate', ([{ id, unreadMessagesCount }]) => id === chat.id && !unreadMessagesCount);

  step('ten members at most');
  const many = Array.from({ length: 10 }, (_, n) => idOf(`m${n}`));
  await create(ann, many.slice(1));
  await refused(create(ann, many), 4304, 'CONVERSATION_FULL');

  step('not for others');
  const cat = await open('cat');
  const cats = await cat.conversation(chat.id);
  await refused(cats.send(cat.text('intruder')), 4401, 'INVALID_MESSAGING_TARGET');

  step('its time is over');
  const others = await bob.client.parseConversation({ id: brief.id, members: [ann.id, bob.id, idOf('eve')] });
  await passed(Math.max(0, brief.expiredAt - Date.now()) + 1);
  assert.equal(brief.expired, true);
  for (const [user, copy] of [[ann, brief], [bob, others]]) {
    copy.expiredAt = Date.now() + 60_000; // or the SDK would not even ask
    const over = [4323, 'TEMPORARY_CONVERSATION_EXPIRED'];
    await refused(copy.send(user.text('anybody?')), ...over);
    await refused(copy.queryMessages(), ...over);
    await refused(copy.count(), ...over);
    await refused(copy.recall({ id: hello.id, timestamp: hello.timestamp }), ...over);
    assert.equal(await user.client.getConversation(brief.id, true), null);
  }
  assert.notEqual((await create(ann, [bob, idOf('eve')])).id, brief.id);
});
