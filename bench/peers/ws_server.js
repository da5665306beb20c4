// A broadcast by ws, as its documentation has it: whatever comes to /publish goes to everybody else. Argument: the port.
'use strict';

const { WebSocketServer, WebSocket } = require('ws');

const port = Number(process.argv[2]);
const readers = new Set();
const server = new WebSocketServer({ host: '127.0.0.1', port, backlog: 1024, perMessageDeflate: false });

server.on('connection', (socket, request) => {
  if (request.url !== '/publish') {
    readers.add(socket);
    socket.on('close', () => readers.delete(socket));
    return;
  }
  socket.on('message', (message) => {
    for (const reader of readers) {
      if (reader.readyState === WebSocket.OPEN) reader.send(message, { binary: true });
    }
  });
});
