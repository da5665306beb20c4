/**
 * Blacklists of a conversation: the blocked are out and stay out until they are unblocked.
 * Rules: 4.3, 4.10, 4.12, 4.14
 */
'use strict';

const { assert, converse, idOf, open, refused, sameSet, scenario, step } = require('../harness');

const BLOCKED = [4548, 'BLOCKED_BY_CONV'];

scenario(async () => {
  const [ann, bob, cat] = [await open('ann'), await open('bob'), await open('cat')];
  const conversation = await converse(ann, [bob, cat]);
  const [bobs, cats] = [await bob.conversation(conversation.id), await cat.conversation(conversation.id)];
  const told = async (users, event, key, by, members) => {
    for (const user of users) {
      const [payload, where] = await user.saw(event, (_, { id }) => id === conversation.id);
      assert.equal(payload[key], by.id);
      if (members) sameSet(payload.members, members);
      assert.equal(where.id, conversation.id);
    }
  };

  step('whoever is no more than a member blocks nobody');
  await refused(bobs.blockMembers([cat.id]), 4320, 'CONVERSATION_OPERATION_UNAUTHORIZED');

  step('blocked: out, and all are told');
  assert.deepEqual(await conversation.blockMembers([bob.id]), { successfulClientIds: [bob.id], failures: [] });
  await told([bob], 'blocked', 'blockedBy', ann);
  await told([bob], 'kicked', 'kickedBy', ann);
  await told([ann, cat], 'membersblocked', 'blockedBy', ann, [bob.id]);
  await told([ann, cat], 'membersleft', 'kickedBy', ann, [bob.id]);
  bob.sawNo('membersblocked');
  sameSet((await cat.client.getConversation(conversation.id, true)).members, [ann.id, cat.id]);
  await conversation.send(ann.text('without bob'));
  await cat.got('without bob');
  await bob.settled();
  bob.sawNo('message');

  step('it cannot come back, nor be brought back');
  await refused(bobs.join(), ...BLOCKED);
  await assert.rejects(bobs.send(bob.text('let me in')), ({ code }) => code === 4401 || code === 4548);
  for (const copy of [conversation, cats]) {
    const { successfulClientIds, failures } = await copy.add([bob.id, idOf('dan')]);
    assert.deepEqual(successfulClientIds, [idOf('dan')]);
    assert.deepEqual(failures.map(({ code, name, clientIds }) => [code, name, clientIds]), [[...BLOCKED, [bob.id]]]);
  }
  await refused(bobs.unblockMembers([bob.id]), 4320, 'CONVERSATION_OPERATION_UNAUTHORIZED');

  step('somebody who is not in can be kept out');
  const eve = await open('eve');
  const eves = await eve.conversation(conversation.id);
  await conversation.blockMembers(eve.id);
  await told([eve], 'blocked', 'blockedBy', ann);
  await told([cat], 'membersblocked', 'blockedBy', ann, [eve.id]);
  eve.sawNo('kicked');
  await refused(eves.join(), ...BLOCKED);

  step('the list, page by page');
  const crowd = Array.from({ length: 10 }, (_, n) => idOf(`m${n}`));
  await conversation.blockMembers(crowd);
  const first = await cats.queryBlockedMembers();
  assert.equal(first.results.length, 10);
  assert.ok(first.next);
  const second = await cats.queryBlockedMembers({ next: first.next });
  assert.ok(!second.next, second.next);
  sameSet([...first.results, ...second.results], [bob.id, eve.id, ...crowd]);

  step('unblocked: told, and free to come back');
  cat.forget();
  assert.deepEqual((await conversation.unblockMembers([bob.id])).successfulClientIds, [bob.id]);
  await told([bob], 'unblocked', 'unblockedBy', ann);
  await told([ann, cat], 'membersunblocked', 'unblockedBy', ann, [bob.id]);
  await bobs.join();
  await told([cat], 'membersjoined', 'invitedBy', bob, [bob.id]);
  await bobs.send(bob.text('back'));
  await cat.got('back');
});
