/**
 * Service conversations: made by the application, subscribed to by clients, and heard by those who are meant.
 * Rules: 1.13, 1.14, 1.15, 1.16, 1.17, 7.8
 */
'use strict';

const { assert, converse, idOf, open, rest, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob, cat] = [await open('ann'), await open('bob'), await open('cat')];
  const name = `news ${ann.id}`;
  const { objectId: id } = await rest('POST', 'service-conversations', { name });
  const subscribers = () => rest('GET', `service-conversations/${id}/subscribers/count`);
  const broadcast = (message) =>
    rest('POST', `service-conversations/${id}/broadcasts`, { from_client: 'editor', message: JSON.stringify(message) });
  const text = (_lctext) => ({ _lctype: -1, _lctext });
  const quiet = async (...users) => {
    for (const user of users) {
      await user.settled();
      user.sawNo('message');
    }
  };

  step('found');
  const [anns] = await ann.client.getServiceConversationQuery().equalTo('name', name).find();
  assert.ok(anns instanceof ann.sdk.ServiceConversation);
  assert.equal(anns.id, id);
  assert.equal(anns.system, true);
  assert.equal(anns.get('joined'), false);

  step('clients cannot make one');
  const pretender = await converse(ann, [bob], { sys: true });
  assert.ok(!(await cat.conversation(pretender.id)).system);

  step('subscribed to');
  await anns.subscribe();
  const bobs = await bob.conversation(id);
  await bobs.subscribe();
  assert.deepEqual(await subscribers(), { count: 2 });
  const fresh = await (await open('bob')).conversation(id);
  assert.equal(fresh.get('joined'), true);
  assert.ok(Math.abs(fresh.get('joinedAt') - Date.now()) < 60_000, String(fresh.get('joinedAt')));
  assert.equal(fresh.muted, false);
  for (const user of [ann, bob]) {
    await user.settled();
    user.sawNo('membersjoined', (_, where) => where.id === id);
    user.sawNo('invited', (_, where) => where.id === id);
  }

  step('to all subscribers');
  const sent = await broadcast(text('extra, extra'));
  for (const user of [ann, bob]) {
    const got = await user.got('extra, extra');
    assert.equal(got.id, sent['msg-id']);
    assert.equal(got.timestamp.getTime(), sent.timestamp);
    assert.equal(got.from, 'editor');
    assert.equal(got.cid, id);
  }
  await quiet(cat);

  step('to one of them');
  await rest('POST', `service-conversations/${id}/messages`, {
    from_client: 'editor',
    to_clients: [bob.id],
    message: JSON.stringify(text('for bob')),
  });
  await bob.got('for bob');
  await quiet(ann, cat);

  step('each has a history of its own');
  assert.deepEqual((await anns.queryMessages()).map((message) => message.text), ['extra, extra']);
  assert.deepEqual((await bobs.queryMessages()).map((message) => message.text), ['extra, extra', 'for bob']);

  step('an answer goes to the service, to one\'s own devices, and to nobody else');
  const tablet = await open('bob');
  const answer = await bobs.send(bob.text('thanks'));
  assert.equal((await tablet.got('thanks')).id, answer.id);
  await quiet(ann, cat);
  assert.ok((await anns.queryMessages()).every((message) => message.text !== 'thanks'));

  step('unread for those who are away');
  const dan = await open('dan');
  await (await dan.conversation(id)).subscribe();
  await dan.client.close();
  await broadcast(text('while you were out'));
  for (const user of [ann, bob]) await user.got('while you were out');
  const back = await open('dan');
  const [[waiting]] = await back.saw('unreadmessagescountupdate');
  assert.equal(waiting.id, id);
  assert.equal(waiting.unreadMessagesCount, 1);
  assert.equal(waiting.lastMessage.text, 'while you were out');
  await tablet.got('while you were out');

  step('muted and unmuted');
  await anns.mute();
  assert.equal(anns.muted, true);
  assert.equal((await (await open('ann')).conversation(id)).muted, true);
  await anns.unmute();

  step('no longer subscribed');
  await bobs.unsubscribe();
  assert.deepEqual(await subscribers(), { count: 2 });
  await broadcast(text('without bob'));
  await ann.got('without bob');
  await quiet(bob);
  assert.equal((await (await open('bob')).conversation(id)).get('joined'), false);

  step('subscribed by the application');
  await rest('POST', `service-conversations/${id}/subscribers`, { client_id: cat.id });
  await broadcast(text('with cat'));
  for (const user of [ann, cat]) await user.got('with cat');
  await rest('DELETE', `service-conversations/${id}/subscribers/${encodeURIComponent(cat.id)}`);
  await broadcast(text('without cat'));
  await ann.got('without cat');
  await quiet(cat);
});
