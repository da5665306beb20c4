/**
 * What the application's own server does over REST reaches clients like what clients do.
 * Rules: 5.6, 5.7, 8.8, 13.1, 13.2
 */
'use strict';

const { assert, converse, idOf, open, rest, sameSet, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob, cat] = [await open('ann'), await open('bob'), await open('cat')];
  const body = (text) => JSON.stringify({ _lctype: -1, _lctext: text });

  step('a conversation');
  const { objectId: id } = await rest('POST', 'conversations', { name: 'from REST', m: [ann.id, bob.id] });
  const [anns, bobs] = [await ann.conversation(id), await bob.conversation(id)];
  assert.equal(anns.name, 'from REST');
  sameSet(anns.members, [ann.id, bob.id]);

  step('a message in the name of a member, to all devices but where it does not want them');
  const sent = await rest('POST', `conversations/${id}/messages`, {
    from_client: ann.id,
    message: body('signed, ann'),
    mention_client_ids: [bob.id],
  });
  for (const user of [ann, bob]) {
    const got = await user.got('signed, ann');
    assert.equal(got.id, sent['msg-id']);
    assert.equal(got.timestamp.getTime(), sent.timestamp);
    assert.equal(got.from, ann.id);
    assert.deepEqual(got.mentionList, [bob.id]);
  }
  const unsynced = { from_client: ann.id, message: body('not to her'), no_sync: true };
  await rest('POST', `conversations/${id}/messages`, unsynced);
  await bob.got('not to her');
  await rest('POST', `conversations/${id}/messages`, { from_client: 'robot', message: body('beep'), transient: true });
  for (const user of [ann, bob]) await user.got('beep');
  ann.sawNo('message');
  assert.deepEqual((await bobs.queryMessages()).map(({ text }) => text), ['signed, ann', 'not to her']);

  step('changed and recalled: its author is told, too');
  const named = { from_client: ann.id, timestamp: sent.timestamp };
  await rest('PUT', `conversations/${id}/messages/${sent['msg-id']}`, { ...named, message: body('changed') });
  for (const user of [ann, bob]) {
    const [message] = await user.saw('messageupdate');
    assert.deepEqual([message.id, message.text], [sent['msg-id'], 'changed']);
  }
  await rest('PUT', `conversations/${id}/messages/${sent['msg-id']}/recall`, named);
  for (const user of [ann, bob]) assert.equal((await user.saw('messagerecall'))[0].id, sent['msg-id']);

  step('deleted: gone from history, and nobody is told');
  const query = new URLSearchParams({ from_client: ann.id, timestamp: sent.timestamp });
  await rest('DELETE', `conversations/${id}/messages/${sent['msg-id']}?${query}`);
  assert.deepEqual((await bobs.queryMessages()).map(({ text }) => text), ['not to her']);
  for (const user of [ann, bob]) {
    await user.settled();
    for (const event of ['message', 'messageupdate', 'messagerecall']) user.sawNo(event);
    user.forget();
  }

  step('members come and go');
  await rest('POST', `conversations/${id}/members`, { client_ids: [cat.id] });
  await cat.saw('invited', (_, where) => where.id === id);
  for (const user of [ann, bob]) {
    const [{ members }] = await user.saw('membersjoined', (_, where) => where.id === id);
    assert.deepEqual(members, [cat.id]);
  }
  await rest('DELETE', `conversations/${id}/members`, { client_ids: [bob.id] });
  await bob.saw('kicked', (_, where) => where.id === id);
  for (const user of [ann, cat]) {
    const [{ members }] = await user.saw('membersleft', (_, where) => where.id === id);
    assert.deepEqual(members, [bob.id]);
  }

  step('attributes');
  await rest('PUT', `conversations/${id}`, { name: 'renamed', colour: 'red' });
  const [{ attributes }, where] = await ann.saw('conversationinfoupdated');
  assert.deepEqual(attributes, { name: 'renamed', colour: 'red' });
  assert.equal(where.name, 'renamed');

  step('a chat room');
  const { objectId: room } = await rest('POST', 'chatrooms', { name: 'lobby' });
  await (await bob.conversation(room)).join();
  assert.deepEqual(await rest('GET', `chatrooms/${room}/members/online-count`), { result: 1 });
  const said = { from_client: bob.id, message: body('in the room'), priority: 'high' };
  await (await ann.conversation(room)).join();
  await rest('POST', `chatrooms/${room}/messages`, said);
  await ann.got('in the room');
  await bob.settled();
  bob.sawNo('message');

  step('what clients did is seen there');
  const chat = await converse(ann, [cat]);
  const hello = await chat.send(ann.text('hello'));
  const [record] = await rest('GET', `conversations/${chat.id}/messages`);
  assert.equal(record['msg-id'], hello.id);
  assert.equal(record.from, ann.id);
  assert.equal(JSON.parse(record.data)._lctext, 'hello');
  const { results } = await rest('POST', 'clients/check-online', { client_ids: [ann.id, idOf('nobody')] });
  assert.deepEqual(results, [ann.id]);
});
