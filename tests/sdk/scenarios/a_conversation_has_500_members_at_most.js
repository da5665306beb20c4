/**
 * The member limit of an ordinary conversation: the request succeeds for those who still fit.
 * Rules: 1.2
 */
'use strict';

const { assert, converse, idOf, open, refused, sameSet, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob] = [await open('ann'), await open('bob')];
  const crowd = Array.from({ length: 499 }, (_, n) => `m${n}`);

  step('499 others');
  const conversation = await converse(ann, crowd.slice(0, 400));
  assert.deepEqual((await conversation.add(crowd.slice(400))).failures, []);
  assert.equal(await conversation.count(), 500);
  assert.equal((await bob.conversation(conversation.id)).members.length, 500);

  step('one more');
  const { successfulClientIds, failures } = await conversation.add([bob.id, 'm3']);
  assert.deepEqual(successfulClientIds, ['m3']);
  assert.equal(failures.length, 1);
  assert.deepEqual([failures[0].code, failures[0].name], [4304, 'CONVERSATION_FULL']);
  assert.deepEqual(failures[0].clientIds, [bob.id]);
  await refused((await bob.conversation(conversation.id)).join(), 4304, 'CONVERSATION_FULL');
  await bob.settled();
  bob.sawNo('invited');

  step('one leaves, one comes');
  assert.deepEqual((await conversation.remove('m0')).failures, []);
  await (await bob.conversation(conversation.id)).join();
  await bob.saw('invited');
  assert.equal(await conversation.count(), 500);

  step('creating one that is too large');
  const [first, second] = [crowd.slice(0, 250), crowd.slice(250)];
  await refused(converse(ann, [...first, ...second, idOf('cat')]), 4304, 'CONVERSATION_FULL');
  sameSet((await ann.client.getQuery().containsMembers([idOf('cat')]).find()).map(({ id }) => id), []);
});
