/**
 * The application's server kicks a client: every device is told and stays away, until somebody logs in anew. Returns
 * tokens from before the kick, of the client and of another.
 */
'use strict';

const { Device, assert, converse, idOf, kick, open, scenario, step } = require('../harness');

const tokenOf = (user) => user.client._sessionManager.getSessionToken({ autoRefresh: false });

scenario(async () => {
  const bob = await open('bob');
  const phone = await open('ann');
  const tablet = await new Device().open(idOf('ann'), { tag: 'tablet' });
  const devices = [phone, tablet];
  const conversation = await converse(bob, [phone]);
  for (const device of devices) await device.saw('invited');
  const kicked = { id: phone.id, tokens: [await tokenOf(phone), await tokenOf(tablet)] };
  const spared = { id: bob.id, tokens: [await tokenOf(bob)] };

  step('a kick with a reason');
  await kick(phone.id, 'be nicer');
  for (const device of devices) {
    assert.deepEqual((await device.saw('close'))[0], { code: 4115, reason: 'be nicer' });
    device.forget();
  }
  assert.deepEqual(await bob.client.ping([phone.id]), []);

  step('nothing reaches the kicked');
  await conversation.send(bob.text('is anybody there?'));
  for (const device of devices) await assert.rejects(device.client.ping([bob.id]));
  assert.deepEqual(await bob.client.ping([phone.id, bob.id]), [bob.id]);
  for (const device of devices) assert.deepEqual(device.events, []);

  step('a login after the kick');
  // On the same Realtime the SDKs would give back the client that was kicked.
  const anew = await new Device().open(idOf('ann'), { tag: 'tablet' });
  await conversation.send(bob.text('welcome back'));
  await anew.got('welcome back');
  const away = anew.saw('offline');
  anew.device.pause();
  await away;
  anew.device.resume();
  await anew.back();
  await conversation.send(bob.text('and again'));
  await anew.got('and again');
  anew.sawNo('close');
  tablet.sawNo('message');

  step('a kick without a reason, of one of two clients on a socket');
  const cat = await anew.device.open(idOf('cat'));
  await kick(anew.id);
  assert.deepEqual((await anew.saw('close'))[0], { code: 4115, reason: 'KICKED_BY_APP' });
  await cat.settled();
  cat.sawNo('close');
  cat.sawNo('disconnect');
  bob.sawNo('close');
  return { kicked, spared };
});
