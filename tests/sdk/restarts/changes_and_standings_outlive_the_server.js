/**
 * What was recalled and modified, delivered and read, who is silenced and blocked: known after the server was gone.
 * Rules: 4.8, 4.10, 6.6, 8.4, 8.5
 */
'use strict';

const { ask, assert, config, converse, next, open, refused, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob, cat] = [await open('ann'), await open('bob'), await open('cat')];
  const pair = await converse(ann, [bob]);
  const group = await converse(ann, [bob, cat]);
  const bobs = await bob.conversation(pair.id);
  const told = next(pair, 'lastdeliveredatupdate');
  const kept = await pair.send(ann.text('tpyo'), { receipt: true });
  const slip = await pair.send(ann.text('a slip'));
  for (const text of ['tpyo', 'a slip']) await bob.got(text);
  await told;
  const read = next(pair, 'lastreadatupdate');
  await bobs.read();
  await read;
  await pair.recall(slip);
  await pair.update(kept, ann.text('typo'));
  await bob.saw('messageupdate');
  await group.muteMembers([bob.id]);
  await group.blockMembers([cat.id]);

  await ask(config.how);
  await Promise.all([ann.back(), bob.back(), cat.back()]);

  step('messages');
  for (const user of [ann, bob, await open('bob')]) {
    const history = await (await user.conversation(pair.id)).queryMessages();
    assert.deepEqual(history.map(({ id, type }) => [id, type]), [[kept.id, -1], [slip.id, -127]]);
    assert.equal(history[0].text, 'typo');
    for (const message of history) assert.ok(message.updatedAt > message.timestamp);
  }
  await pair.recall(kept);
  await bob.saw('messagerecall', ({ id }) => id === kept.id);

  step('receipts');
  const fresh = await (await open('ann')).conversation(pair.id);
  await fresh.fetchReceiptTimestamps();
  assert.equal(fresh.lastReadAt.getTime(), pair.lastReadAt.getTime());
  assert.ok(fresh.lastDeliveredAt >= fresh.lastReadAt);

  step('the silenced and the blocked');
  const bobsGroup = await bob.conversation(group.id);
  await refused(bobsGroup.send(bob.text('mmh')), 4563, 'SILIENCED');
  assert.deepEqual((await group.queryMutedMembers()).results, [bob.id]);
  await refused((await cat.conversation(group.id)).join(), 4548, 'BLOCKED_BY_CONV');
  assert.deepEqual((await group.queryBlockedMembers()).results, [cat.id]);
  await group.unmuteMembers([bob.id]);
  await bobsGroup.send(bob.text('at last'));
  await ann.got('at last');
});
