/**
 * What a service says to everybody is heard by all who are there and by newcomers, also after the server was gone.
 * Rules: 1.15, 7.10
 */
'use strict';

const { ask, assert, config, idOf, open, rest, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob] = [await open('ann'), await open('bob')];
  const { objectId: id } = await rest('POST', 'service-conversations', { name: 'news' });
  await (await ann.conversation(id)).subscribe();
  const message = JSON.stringify({ _lctype: -1, _lctext: 'to everybody' });

  step('subscriber or not');
  const sent = await rest('POST', 'broadcasts', { from_client: 'editor', conv_id: id, message });
  for (const user of [ann, bob]) {
    const got = await user.got('to everybody');
    assert.deepEqual([got.id, got.from, got.cid], [sent['msg-id'], 'editor', id]);
  }

  await ask(config.how);
  await Promise.all([ann.back(), bob.back()]);

  step('a newcomer');
  const dan = await open('dan');
  const [[waiting]] = await dan.saw('unreadmessagescountupdate');
  assert.equal(waiting.id, id);
  assert.equal(waiting.lastMessage.text, 'to everybody');
  assert.equal(waiting.unreadMessagesCount, 1);

  step('withdrawn');
  const { results = [], ...listed } = await rest('GET', `broadcasts?conv_id=${id}`);
  assert.ok(JSON.stringify(listed).includes(sent['msg-id']) || results.length === 1);
  await rest('DELETE', `broadcasts/${sent['msg-id']}`);
  const eve = await open('eve');
  await eve.settled();
  eve.sawNo('unreadmessagescountupdate');
  for (const user of [ann, bob]) user.sawNo('message');
  assert.equal((await dan.client.ping([idOf('eve')])).length, 1);
});
