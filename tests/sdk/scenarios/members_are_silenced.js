/**
 * Silence: for good by whoever may, or for a time by the application; the silenced hears, and may not speak.
 * Rules: 4.3, 4.8, 4.9, 4.14
 */
'use strict';

const { setTimeout: passed } = require('node:timers/promises');
const { assert, converse, idOf, open, refused, rest, sameSet, scenario, step } = require('../harness');

const SILENCED = [4563, 'SILIENCED'];

scenario(async () => {
  const [ann, bob, cat] = [await open('ann'), await open('bob'), await open('cat')];
  const crowd = Array.from({ length: 12 }, (_, n) => idOf(`m${n}`));
  const conversation = await converse(ann, [bob, cat, ...crowd]);
  const bobs = await bob.conversation(conversation.id);
  const told = async (users, event, by, members) => {
    for (const user of users) {
      const [payload, where] = await user.saw(event);
      assert.equal(where.id, conversation.id);
      assert.equal(payload[event.endsWith('unmuted') ? 'unmutedBy' : 'mutedBy'], by.id);
      if (members) sameSet(payload.members, members);
    }
  };

  step('silenced: all are told, the silenced more than that');
  assert.deepEqual(await conversation.muteMembers([bob.id]), { successfulClientIds: [bob.id], failures: [] });
  await told([bob], 'muted', ann);
  await told([ann, bob, cat], 'membersmuted', ann, [bob.id]);
  for (const user of [ann, cat]) user.sawNo('muted');

  step('it may not speak');
  await refused(bobs.send(bob.text('mmh')), ...SILENCED);
  await refused(bobs.send(bob.text('mmh'), { transient: true }), ...SILENCED);
  await cat.settled();
  cat.sawNo('message');

  step('it hears');
  await conversation.send(ann.text('listen'));
  for (const user of [bob, cat]) await user.got('listen');
  assert.equal((await bobs.queryMessages())[0].text, 'listen');

  step('elsewhere it may');
  const elsewhere = await converse(bob, [cat]);
  await elsewhere.send(bob.text('here I may'));
  await cat.got('here I may');

  step('whoever is no more than a member silences nobody, and may look');
  const cats = await cat.conversation(conversation.id);
  await refused(cats.muteMembers([ann.id]), 4320, 'CONVERSATION_OPERATION_UNAUTHORIZED');
  await refused(bobs.unmuteMembers([bob.id]), 4320, 'CONVERSATION_OPERATION_UNAUTHORIZED');
  assert.deepEqual((await cats.queryMutedMembers()).results, [bob.id]);

  step('the list, page by page');
  await conversation.muteMembers(crowd);
  await told([bob, cat], 'membersmuted', ann, crowd);
  const first = await cats.queryMutedMembers();
  assert.equal(first.results.length, 10);
  assert.ok(first.next);
  const second = await cats.queryMutedMembers({ next: first.next });
  assert.ok(!second.next, second.next);
  sameSet([...first.results, ...second.results], [bob.id, ...crowd]);
  assert.equal((await cats.queryMutedMembers({ limit: 3 })).results.length, 3);

  step('no longer silenced');
  assert.deepEqual((await conversation.unmuteMembers(bob.id)).successfulClientIds, [bob.id]);
  await told([bob], 'unmuted', ann);
  await told([ann, bob, cat], 'membersunmuted', ann, [bob.id]);
  await bobs.send(bob.text('at last'));
  await cat.got('at last');

  step('for a second, by the application');
  const silences = `conversations/${conversation.id}/temporary-silenceds`;
  await rest('POST', silences, { client_id: bob.id, ttl: 1 });
  const over = Date.now() + 1_000;
  await assert.rejects(bobs.send(bob.text('mmh')), { code: 4315 });
  await rest('POST', silences, { client_id: cat.id, ttl: 3_600 });
  await assert.rejects(cats.send(cat.text('mmh')), { code: 4315 });
  await rest('DELETE', `${silences}?client_id=${encodeURIComponent(cat.id)}`);
  await cats.send(cat.text('already'));
  await passed(Math.max(0, over - Date.now()) + 1);
  await bobs.send(bob.text('now I may'));
});
