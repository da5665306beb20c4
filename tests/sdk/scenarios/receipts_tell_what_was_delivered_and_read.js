/**
 * Receipts in a conversation of two: delivered, read, fetched later; none where nobody asked or more than two are in.
 * Rules: 6.1, 6.2, 6.3a, 6.4, 6.6
 */
'use strict';

const { assert, converse, idOf, next, open, scenario, step } = require('../harness');

const RECEIPT = { receipt: true };

scenario(async () => {
  const [ann, tablet, bob] = [await open('ann'), await open('ann'), await open('bob')];
  const { DELIVERED, SENT } = ann.sdk.MessageStatus;
  const [pair, group] = [await converse(ann, [bob]), await converse(ann, [bob, idOf('cat')])];
  const [bobs, tablets] = [await bob.conversation(pair.id), await tablet.conversation(pair.id)];
  const bobsGroup = await bob.conversation(group.id);

  step('delivered, at all devices of the sender');
  const told = [pair, tablets].map((copy) => next(copy, 'lastdeliveredatupdate'));
  const message = await pair.send(ann.text('one'), RECEIPT);
  await bob.got('one');
  await Promise.all(told);
  assert.equal(message.status, DELIVERED);
  assert.ok(message.deliveredAt >= message.timestamp, `${message.deliveredAt} is later than ${message.timestamp}`);
  for (const copy of [pair, tablets]) {
    assert.equal(copy.lastDeliveredAt.getTime(), message.deliveredAt.getTime());
    assert.ok(!copy.lastReadAt);
  }

  step('an ack of several at once, some of which asked, and one in a group');
  const inGroup = await group.send(ann.text('to all'), RECEIPT);
  const several = [];
  for (const [text, options] of [['two', RECEIPT], ['three', {}], ['four', RECEIPT]]) {
    several.push(await pair.send(ann.text(text), options));
  }
  for (const text of ['to all', 'two', 'three', 'four']) await bob.got(text);
  const [two, three, four] = several;
  while (four.status !== DELIVERED) await next(pair, 'lastdeliveredatupdate');
  assert.deepEqual([two, three, inGroup].map(({ status }) => status), [DELIVERED, SENT, SENT]);
  assert.ok(pair.lastDeliveredAt > message.deliveredAt);

  step('read');
  const read = [pair, tablets].map((copy) => next(copy, 'lastreadatupdate'));
  await bobsGroup.read();
  await bobs.read();
  await Promise.all(read);
  assert.ok(pair.lastReadAt >= four.timestamp);
  assert.equal(tablets.lastReadAt.getTime(), pair.lastReadAt.getTime());

  step('fetched by a device that heard nothing of it');
  const fresh = await (await open('ann')).conversation(pair.id);
  await fresh.fetchReceiptTimestamps();
  assert.equal(fresh.lastReadAt.getTime(), pair.lastReadAt.getTime());
  assert.ok(fresh.lastDeliveredAt >= pair.lastReadAt, 'what was read was delivered');

  step('for each member of a group');
  const all = await group._fetchAllReceiptTimestamps();
  assert.deepEqual(all.map(({ pid }) => pid), [bob.id], 'cat has read nothing');
  assert.ok(all[0].lastReadAt >= inGroup.timestamp);
  assert.ok(all[0].lastDeliveredAt >= all[0].lastReadAt);

  step('in history');
  const reader = await open('ann');
  const history = await (await reader.conversation(pair.id)).queryMessages();
  assert.equal(history.length, 4);
  for (const one of history) {
    assert.equal(one.status, reader.sdk.MessageStatus.DELIVERED);
    assert.ok(one.deliveredAt >= one.timestamp);
  }

  step('what is received oneself brings oneself no receipt');
  await bobs.send(bob.text('five'), {});
  await ann.got('five');
  await bob.settled();
  assert.ok(!bobs.lastDeliveredAt);
});
