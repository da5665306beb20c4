/** A TCP relay in front of the server that can lose what the server says, and cut every connection. */
'use strict';

const net = require('node:net');

class FaultProxy {
  constructor(target) {
    const [host, port] = target.split(':');
    this.pairs = new Set();
    this.swallowing = false;
    this.listener = net.createServer((client) => {
      const server = net.connect({ host, port: Number(port) });
      const pair = [client, server];
      this.pairs.add(pair);
      client.on('data', (data) => server.write(data));
      server.on('data', (data) => this.swallowing || client.write(data));
      for (const end of pair) {
        end.on('error', () => {});
        end.on('close', () => {
          this.pairs.delete(pair);
          for (const other of pair) other.destroy();
        });
      }
    });
  }

  /** Starts listening and gives the address to use instead of the server's. */
  async start() {
    await new Promise((resolve, reject) => {
      this.listener.once('error', reject);
      this.listener.listen(0, '127.0.0.1', resolve);
    });
    return `127.0.0.1:${this.listener.address().port}`;
  }

  /** From now on the server hears its clients and they do not hear the server. */
  swallowReplies() {
    this.swallowing = true;
  }

  /** Cuts all connections; new ones work again. */
  cut() {
    this.swallowing = false;
    for (const pair of [...this.pairs]) for (const end of pair) end.destroy();
  }
}

module.exports = { FaultProxy };
