/**
 * The older delivery mode of version 4 (`pushOfflineMessages`): what waited comes as messages, batch by batch.
 * Rules: 7.1, 7.9
 */
'use strict';

const { Device, assert, converse, idOf, next, open, scenario, step } = require('../harness');

scenario(async () => {
  const ann = await open('ann');
  const conversation = await converse(ann, [idOf('bob')]);
  const openBob = () => new Device({ pushOfflineMessages: true }).open(idOf('bob'));

  step('live');
  const bob = await openBob();
  await conversation.send(ann.text('live'));
  await bob.got('live');
  await (await bob.conversation(conversation.id)).send(bob.text('thanks'));
  await ann.got('thanks');
  await (await bob.conversation(conversation.id)).read();
  await bob.client.close();

  step('more than one batch waits, in more than one conversation');
  const other = await converse(ann, [idOf('bob')]);
  const sent = [];
  for (let n = 0; n < 25; n += 1) sent.push((await conversation.send(ann.text(`while you were out ${n}`))).id);
  const aside = await other.send(ann.text('aside').setMentionList([idOf('bob')]));
  const back = await openBob();
  const got = [];
  while (got.length < sent.length) {
    const [message] = await back.saw('message', ({ cid }) => cid === conversation.id);
    assert.equal(message.text, `while you were out ${got.length}`);
    got.push(message.id);
  }
  assert.deepEqual(got, sent);
  const [message] = await back.saw('message');
  assert.deepEqual([message.id, message.cid, message.mentioned], [aside.id, other.id, true]);

  step('then come the live ones');
  const live = await conversation.send(ann.text('live again'), { receipt: true });
  await back.got('live again');
  while (live.status !== ann.sdk.MessageStatus.DELIVERED) await next(conversation, 'lastdeliveredatupdate');
  back.sawNo('message');

  step('what was acked is not pushed again');
  await back.client.close();
  await conversation.send(ann.text('only this'));
  const again = await openBob();
  await again.got('only this');
  await again.settled();
  again.sawNo('message');
});
