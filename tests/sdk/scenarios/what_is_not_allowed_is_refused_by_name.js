/**
 * Refusals carry LeanCloud's codes and names, and the session goes on.
 * Rules: 1.3, 2.2
 */
'use strict';

const { assert, converse, idOf, open, refused, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob, cat] = [await open('ann'), await open('bob'), await open('cat')];
  const conversation = await converse(ann, [bob]);
  const ghost = await ann.client.parseConversation({ id: 'f'.repeat(24), members: [ann.id] });
  const cats = await cat.conversation(conversation.id);

  step('sending where one is not');
  const message = cat.text('intruder');
  await refused(cats.send(message), 4401, 'INVALID_MESSAGING_TARGET');
  assert.equal(message.status, cat.sdk.MessageStatus.FAILED);
  await refused(ghost.send(ann.text('hello?')), 4401, 'INVALID_MESSAGING_TARGET');

  step('history of others');
  await refused(cats.queryMessages(), 4312, 'CONVERSATION_LOG_REJECTED');
  await assert.rejects(ghost.queryMessages(), ({ code }) => code === 4312 || code === 4303);

  step('a message of more than 5 KB');
  await refused(conversation.send(ann.text('x'.repeat(5_500))), 4109, 'FRAME_TOO_LONG');
  await refused(conversation.send(new ann.sdk.BinaryMessage(new ArrayBuffer(5_500))), 4109, 'FRAME_TOO_LONG');
  const pushed = { pushData: { alert: 'y'.repeat(2_500) } };
  await refused(conversation.send(ann.text('x'.repeat(3_000)), pushed), 4109, 'FRAME_TOO_LONG');

  step('one that just fits');
  await conversation.send(ann.text('x'.repeat(5_000)));
  await bob.got('x'.repeat(5_000));
  await conversation.send(new ann.sdk.Message('界'.repeat(1_666)));
  await bob.got('界'.repeat(1_666));

  step('a hundred times too much ends the connection, and the client comes back');
  const huge = conversation.send(ann.text('x'.repeat(500_000)));
  const outcome = await Promise.race([
    huge.then(() => 'accepted', ({ code }) => `refused ${code}`),
    ann.saw('disconnect').then(() => 'disconnected'),
  ]);
  assert.ok(['disconnected', 'refused 4109'].includes(outcome), outcome);
  if (outcome === 'disconnected') await ann.back();
  await conversation.send(ann.text('sorry'));
  await bob.got('sorry');
  bob.sawNo('message');

  step('a command of another client is not mixed up with the refusals');
  assert.deepEqual(await cat.client.ping([bob.id, idOf('nobody')]), [bob.id]);
});
