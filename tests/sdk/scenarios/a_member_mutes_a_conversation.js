/**
 * Do not disturb: it is stored for this client alone, and messages still arrive.
 * Rules: 11.1
 */
'use strict';

const { assert, converse, open, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob] = [await open('ann'), await open('bob')];
  const conversation = await converse(ann, [bob]);

  step('mute');
  await conversation.mute();
  assert.equal(conversation.muted, true);
  const anns = await (await open('ann')).conversation(conversation.id);
  assert.deepEqual(anns.mutedMembers, [ann.id]);
  assert.equal(anns.muted, true);
  const bobs = await bob.conversation(conversation.id);
  await bobs.fetch();
  assert.deepEqual(bobs.mutedMembers, [ann.id]);
  assert.equal(bobs.muted, false);

  step('muting twice is muting once');
  await conversation.mute();
  await bobs.mute();
  await bobs.fetch();
  assert.deepEqual([...bobs.mutedMembers].sort(), [ann.id, bob.id].sort());

  step('messages still arrive');
  await bobs.send(bob.text('psst'));
  await ann.got('psst');

  step('unmute');
  await conversation.unmute();
  await bobs.unmute();
  await conversation.fetch();
  assert.deepEqual(conversation.mutedMembers, []);
});
