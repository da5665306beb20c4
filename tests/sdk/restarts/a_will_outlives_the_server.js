/**
 * A will that was acked is kept while the server is gone, belongs to its session when that is back, and is sent once.
 * Rules: 5.20, 5.21, 5.22
 */
'use strict';

const { ask, assert, config, converse, open, openCuttable, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob] = [await openCuttable('ann'), await open('bob')];
  const conversation = await converse(ann, [bob]);
  await bob.conversation(conversation.id);
  await conversation.send(ann.text('an older will'), { will: true });
  const will = await conversation.send(ann.text('ann has gone'), { will: true });

  await ask(config.how);
  await Promise.all([ann.back(), bob.back()]);

  step('still kept back');
  await conversation.send(ann.text('here I am'));
  await bob.got('here I am');
  bob.sawNo('message');

  step('sent when the connection is lost');
  await ann.loseConnection();
  assert.equal((await bob.got('ann has gone')).id, will.id);
  await ann.back();

  step('once');
  await ann.loseConnection();
  await ann.back();
  await conversation.send(ann.text('back again'));
  await bob.got('back again');
  const history = await conversation.queryMessages();
  assert.deepEqual(history.map(({ text }) => text), ['here I am', 'back again']);
});
