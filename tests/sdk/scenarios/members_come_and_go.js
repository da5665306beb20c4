/**
 * Add, remove, join, quit and count, with the events that everybody concerned gets on every device.
 * Rules: 1.3, 1.24, 3.1, 3.2, 3.3, 3.4, 3.5, 3.8, 3.9
 */
'use strict';

const { assert, converse, idOf, open, refused, sameSet, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob, cat] = [await open('ann'), await open('bob'), await open('cat')];
  const tablet = await open('ann');

  const told = async (users, event, conversation, by, members) => {
    for (const user of users) {
      const [payload, where] = await user.saw(event, (_, { id }) => id === conversation.id);
      assert.equal(payload[event === 'membersleft' || event === 'kicked' ? 'kickedBy' : 'invitedBy'], by.id);
      if (members) sameSet(payload.members, members);
      assert.equal(where.id, conversation.id);
    }
  };
  const quiet = async (...users) => {
    for (const user of users) {
      await user.settled();
      for (const event of ['invited', 'kicked', 'membersjoined', 'membersleft']) user.sawNo(event);
    }
  };

  step('create: everybody joins, the creator too');
  const team = await converse(ann, [bob]);
  await told([ann, tablet, bob], 'invited', team, ann);
  await told([ann, tablet, bob], 'membersjoined', team, ann, [ann.id, bob.id]);
  assert.equal(await team.count(), 2);
  const bobs = await bob.conversation(team.id);
  const cats = await cat.conversation(team.id);

  step('add: the added, the others and the one who did it');
  assert.deepEqual(await team.add(cat.id), { successfulClientIds: [cat.id], failures: [] });
  await told([cat], 'invited', team, ann);
  await told([ann, tablet, bob, cat], 'membersjoined', team, ann, [cat.id]);
  for (const copy of [team, bobs, cats]) sameSet(copy.members, [ann.id, bob.id, cat.id]);
  assert.equal(await bobs.count(), 3);
  await quiet(ann, tablet, bob, cat);

  step('add somebody who is in already, and somebody who is not');
  const added = await bobs.add([cat.id, idOf('dan')]);
  sameSet(added.successfulClientIds, [cat.id, idOf('dan')]);
  assert.deepEqual(added.failures, []);
  await told([ann, tablet, bob, cat], 'membersjoined', team, bob, [idOf('dan')]);
  assert.equal(await team.count(), 4);
  await quiet(ann, tablet, bob, cat);

  step('remove: the removed is told apart from those who stay');
  const onConversation = new Promise((resolve) => cats.once('kicked', resolve));
  assert.deepEqual(await bobs.remove([cat.id]), { successfulClientIds: [cat.id], failures: [] });
  await told([cat], 'kicked', team, bob);
  assert.equal((await onConversation).kickedBy, bob.id);
  await told([ann, tablet, bob], 'membersleft', team, bob, [cat.id]);
  await quiet(ann, tablet, bob, cat);
  assert.equal(await team.count(), 3);
  sameSet((await cat.client.getConversation(team.id, true)).members, [ann.id, bob.id, idOf('dan')]);

  step('who was removed hears and sends nothing more');
  await team.send(ann.text('cat is gone'));
  await bob.got('cat is gone');
  await refused(cats.send(cat.text('let me in')), 4401, 'INVALID_MESSAGING_TARGET');
  await refused(cats.queryMessages(), 4312, 'CONVERSATION_LOG_REJECTED');
  await cat.settled();
  cat.sawNo('message');

  step('join: back in, with what was said meanwhile');
  await cats.join();
  await told([cat], 'invited', team, cat);
  await told([ann, tablet, bob, cat], 'membersjoined', team, cat, [cat.id]);
  const [missed] = (await cats.queryMessages()).slice(-1);
  assert.equal(missed.text, 'cat is gone');
  await team.send(ann.text('hello again'));
  await cat.got('hello again');

  step('quit: the leaver is told that it left');
  await cats.quit();
  await told([cat], 'kicked', team, cat);
  await told([ann, tablet, bob], 'membersleft', team, cat, [cat.id]);
  await quiet(ann, tablet, bob, cat);
  assert.equal(await team.count(), 3);

  step('remove somebody who is not in');
  const removed = await team.remove([cat.id]);
  assert.deepEqual(removed.failures, []);
  await quiet(ann, tablet, bob, cat);

  step('the creator may quit an ordinary conversation');
  await team.quit();
  await told([ann, tablet], 'kicked', team, ann);
  await told([bob], 'membersleft', team, ann, [ann.id]);
  assert.equal(await bobs.count(), 2);

  step('a conversation that does not exist');
  const ghost = await ann.client.parseConversation({ id: 'f'.repeat(24), members: [] });
  await refused(ghost.join(), 4303, 'CONVERSATION_NOT_FOUND');
  await refused(ghost.count(), 4303, 'CONVERSATION_NOT_FOUND');
});
