/** The server wants signatures, and the SDKs' factories make them. */
'use strict';

const { Device, assert, converse, idOf, kick, refused, scenario, signer, step, turn } = require('../harness');

const CONVERSATION = [4302, 'CONVERSATION_SIGNATURE_FAILED'];
const BLACKLIST = [4546, 'BLACKLIST_SIGNATURE_FAILED'];
const LOGIN = [4102, 'SIGNATURE_FAILED'];
const good = signer();
const bad = signer('no-such-key');

const open = (name, options = good) => new Device().open(idOf(name), options);

scenario(async () => {
  step('logins with a signature that counts');
  let signed = 0;
  const counted = (id) => {
    signed += 1;
    return good.signatureFactory(id);
  };
  const ann = await open('ann', { ...good, signatureFactory: counted });
  const bob = await open('bob');
  const cat = await open('cat', { signatureFactory: good.signatureFactory });

  step('logins with one that does not');
  await refused(open('dan', {}), ...LOGIN);
  await refused(open('dan', bad), ...LOGIN);
  await refused(open('dan', { signatureFactory: () => good.signatureFactory(idOf('ann')) }), ...LOGIN);
  assert.deepEqual(await ann.client.ping([idOf('dan')]), []);

  step('one that was used before');
  const once = good.signatureFactory(idOf('eve'));
  const eve = await open('eve', { signatureFactory: () => once });
  await refused(open('eve', { signatureFactory: () => once }), ...LOGIN);

  step('a conversation is created, and members come and go');
  const conversation = await converse(ann, [bob]);
  await conversation.add([cat.id, eve.id]);
  await conversation.send(ann.text('hello'));
  for (const user of [bob, cat, eve]) await user.got('hello');
  await conversation.remove([eve.id]);
  await eve.saw('kicked');

  step('nobody needs leave to go');
  const cats = await cat.conversation(conversation.id);
  await cats.quit();

  step('the same without a signature');
  await refused(converse(cat, [bob]), ...CONVERSATION);
  await refused(cats.join(), ...CONVERSATION);
  await refused(cats.add([eve.id]), ...CONVERSATION);

  step('the same with the wrong key');
  const fay = await open('fay', { ...bad, signatureFactory: good.signatureFactory });
  await conversation.add([fay.id]);
  const fays = await fay.conversation(conversation.id);
  await refused(converse(fay, [bob]), ...CONVERSATION);
  await refused(fays.add([eve.id]), ...CONVERSATION);
  await refused(fays.remove([bob.id]), ...CONVERSATION);

  step('the same with what was signed for something else');
  const swapped = (id, client, members, action) =>
    good.conversationSignatureFactory(id, client, members, ['add', 'invite'].includes(action) ? 'kick' : 'invite');
  const gus = await open('gus', { ...good, conversationSignatureFactory: swapped });
  await conversation.add([gus.id]);
  const guss = await gus.conversation(conversation.id);
  await refused(guss.add([eve.id]), ...CONVERSATION);
  await refused(guss.remove([bob.id]), ...CONVERSATION);

  step('clients are blocked and unblocked with one, and not without, nor with the wrong key');
  await conversation.blockMembers([eve.id]);
  await eve.saw('blocked');
  await conversation.unblockMembers([eve.id]);
  await eve.saw('unblocked');
  for (const [name, options] of [['ida', {}], ['jim', bad]]) {
    const { blacklistSignatureFactory } = options;
    const owner = await open(name, { ...good, blacklistSignatureFactory });
    const own = await converse(owner, [bob]);
    await refused(own.blockMembers([bob.id]), ...BLACKLIST);
    await refused(own.unblockMembers([bob.id]), ...BLACKLIST);
  }

  step('nothing came of what was refused');
  const members = [ann, bob, fay, gus].map(({ id }) => id).sort();
  assert.deepEqual([...(await (await bob.conversation(conversation.id)).fetch()).members].sort(), members);

  step('a reconnect with the token needs none');
  const away = ann.saw('offline');
  ann.device.pause();
  await away;
  ann.device.resume();
  await ann.back();
  assert.equal(signed, 1);
  await conversation.send(ann.text('back'));
  await bob.got('back');

  step('a kick makes void what was signed before');
  const unused = good.signatureFactory(bob.id);
  const hal = await bob.device.open(idOf('hal'), good);
  await kick(bob.id, 'enough');
  assert.equal((await bob.saw('close'))[0].code, 4115);
  await refused(open('bob', { signatureFactory: () => unused }), ...LOGIN);

  step('nor does the kicked come back with the socket, which it shares');
  const gone = hal.saw('offline');
  hal.device.pause();
  await gone;
  hal.device.resume();
  await hal.back();
  const [error] = await bob.saw('reconnecterror');
  assert.equal(error.code, 4102, String(error));
  assert.deepEqual(await hal.client.ping([bob.id]), []);

  step('but a new signature counts');
  const kickedBy = Date.now();
  while (Date.now() <= kickedBy) await turn();
  const again = await open('bob');
  await conversation.send(ann.text('welcome back'));
  await again.got('welcome back');
});
