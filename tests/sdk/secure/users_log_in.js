/** Users who logged in elsewhere: the server has their session tokens checked there, and signs for them. */
'use strict';

const { Device, assert, converse, idOf, refused, scenario, signer, step } = require('../harness');

const { conversationSignatureFactory } = signer();
const OPTIONS = { conversationSignatureFactory };

/** A user as storage SDKs have it after a login. */
const user = (name, token = `token-of-${idOf(name)}`) => ({ id: idOf(name), getSessionToken: () => token });
const open = (name, token) => new Device().open(user(name, token), OPTIONS);

scenario(async () => {
  step('logins');
  const [ann, bob] = [await open('ann'), await open('bob')];
  assert.equal(ann.id, idOf('ann'));
  const conversation = await converse(ann, [bob]);
  await conversation.send(ann.text('hello'));
  assert.equal((await bob.got('hello')).from, ann.id);

  step('a token that belongs to nobody');
  await assert.rejects(open('cat', 'forged'), { code: 4103 });

  step('the token of another user');
  await refused(open('cat', `token-of-${idOf('bob')}`), 4102, 'SIGNATURE_FAILED');

  step('no user and no signature');
  await refused(new Device().open(idOf('cat'), OPTIONS), 4102, 'SIGNATURE_FAILED');
  assert.deepEqual(await ann.client.ping([idOf('cat'), bob.id]), [bob.id]);

  step('back after the connection was lost');
  await bob.goAway(ann);
  await conversation.send(ann.text('missed'));
  await bob.comeBack();
  await conversation.send(ann.text('welcome back'));
  await bob.got('welcome back');
});
