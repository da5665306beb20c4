/**
 * Heartbeats, session tokens renewed and forged, and coming back after the connection was lost.
 * Rules: 12.6, 13.1
 */
'use strict';

const { once } = require('node:events');
const { Device, assert, config, converse, idOf, open, scenario, step, within } = require('../harness');
const { FaultProxy } = require('../fault_proxy');

scenario(async () => {
  const proxy = new FaultProxy(config.address);
  const device = new Device({ address: await proxy.start() });
  const [ann, bob] = [await device.open(idOf('ann')), await open('bob')];
  const conversation = await converse(ann, [bob]);
  await bob.conversation(conversation.id);
  const talk = async (text) => {
    await conversation.send(ann.text(text));
    await bob.got(text);
    await (await bob.conversation(conversation.id)).send(bob.text(`${text}, too`));
    await ann.got(`${text}, too`);
  };

  step('the heartbeat that the SDK sends every three minutes');
  const connection = ann.client._connection;
  const echo = await connection.ping();
  assert.equal(echo.cmd, 14);
  assert.equal(typeof echo.i, 'number');

  step('the WebSocket ping');
  const pong = once(connection._ws, 'pong');
  connection._ws.ping('anybody there?');
  assert.equal(String((await within(pong, () => 'no pong'))[0]), 'anybody there?');

  step('a session token is renewed');
  const tokens = ann.client._sessionManager;
  const token = await tokens.getSessionToken();
  assert.equal(typeof token, 'string');
  tokens.revoke();
  await tokens.refresh(tokens, token); // what getSessionToken starts here; both versions trip over its outcome
  const renewed = await tokens.getSessionToken();
  assert.ok(typeof renewed === 'string' && renewed.length > 0, String(renewed));

  step('back with the token after the connection was cut');
  proxy.cut();
  await ann.saw('disconnect');
  await ann.back();
  await talk('after the cut');

  step('back with a token that the server never gave');
  tokens.setSessionToken('forged', 3_600);
  proxy.cut();
  await ann.saw('disconnect');
  await ann.back();
  assert.notEqual(await tokens.getSessionToken(), 'forged');
  await talk('after the forgery');

  step('back without a token');
  tokens.revoke();
  proxy.cut();
  await ann.saw('disconnect');
  await ann.back();
  await talk('after forgetting');

  step('offline while it is away, and told at its return what it missed');
  device.pause();
  await bob.sees(ann.id, false);
  const missed = [];
  for (const text of ['m1', 'm2', 'm3']) {
    missed.push((await (await bob.conversation(conversation.id)).send(bob.text(text))).id);
  }
  ann.forget();
  const counted = conversation.unreadMessagesCount;
  device.resume();
  await ann.back();
  await ann.saw('unreadmessagescountupdate', ([{ id }]) => id === conversation.id);
  assert.equal(conversation.unreadMessagesCount, counted + 3);
  assert.equal(conversation.lastMessage.text, 'm3');
  assert.deepEqual((await conversation.queryMessages({ limit: 3 })).map(({ id }) => id), missed);
  ann.sawNo('message');
  await talk('all is well');
});
