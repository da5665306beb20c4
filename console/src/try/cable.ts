/**
 * A cable that can be pulled. The SDK is what npm has; it takes the socket that the page has, and this one can be cut as
 * a network is: without a word of the SDK's to the server. It has to be imported before the SDK, which looks once.
 */

import "./scope";

const cut = new Set<string>();
const sockets = new Map<string, Set<Cable>>();

class Cable extends WebSocket {
  constructor(url: string | URL, protocols?: string | string[]) {
    super(url, protocols);
    const wire = new URL(url, location.href).searchParams.get("wire");
    if (!wire) return;
    const mine = sockets.get(wire) ?? new Set();
    sockets.set(wire, mine.add(this));
    this.addEventListener("close", () => mine.delete(this));
    if (cut.has(wire)) this.close();
  }
}

/** Cut what is connected by that wire, and whatever tries to be until it is mended. */
export function pull(wire: string): void {
  cut.add(wire);
  for (const socket of sockets.get(wire) ?? []) socket.close();
}

export function mend(wire: string): void {
  cut.delete(wire);
}

window.WebSocket = Cable;
