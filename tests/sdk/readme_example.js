const { Event, Realtime, TextMessage } = require('leancloud-realtime');

async function main({ APP_ID, APP_KEY, SERVER = 'http://127.0.0.1:4568' }) {
  const realtime = new Realtime({ server: SERVER, appId: APP_ID, appKey: APP_KEY });
  const tom = await realtime.createIMClient('Tom');
  const jerry = await realtime.createIMClient('Jerry');

  jerry.on(Event.MESSAGE, (message, conversation) => {
    console.log(`Jerry reads: ${message.text}`);
    conversation.send(new TextMessage('Catch me!'));
  });
  const answer = new Promise((resolve) => tom.on(Event.MESSAGE, resolve));

  const conversation = await tom.createConversation({ members: ['Jerry'], name: 'Tom & Jerry' });
  await conversation.send(new TextMessage('Where are you?'));
  console.log(`Tom reads: ${(await answer).text}`);
  await Promise.all([tom.close(), jerry.close()]);
}

main(process.env);
