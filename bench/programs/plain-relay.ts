/**
 * Owns the relay that anyone would write first in Node: `a.pipe(b)` for TCP, one dgram socket per client for UDP. No retry,
 * no limits, no metrics: the least that Node's stock sockets can cost.
 *
 *   plain-relay <JSON Route[]>: client -> net or dgram -> next backend in turn
 */
import { createSocket, type Socket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import type { Route } from '../stage.js';

/** A flow without a datagram in this time ends. */
const FLOW_TIMEOUT_MS = 10_000;

function relayTcp(route: Route): void {
  let turn = 0;
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (client) => {
    const backend = route.backends[turn++ % route.backends.length];
    if (backend === undefined) return client.destroy();
    const upstream = connect({ ...backend, allowHalfOpen: true, noDelay: true });
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
    client.pipe(upstream);
    upstream.pipe(client);
    return client;
  });
  server.listen({ host: '0.0.0.0', port: route.port, backlog: 16_384 });
}

function relayUdp(route: Route): void {
  const listener = createSocket('udp4');
  const flows = new Map<string, { socket: Socket; timer: NodeJS.Timeout }>();
  let turn = 0;
  listener.on('message', (message, client) => {
    const key = `${client.address}:${client.port}`;
    let flow = flows.get(key);
    if (flow === undefined) {
      const backend = route.backends[turn++ % route.backends.length];
      if (backend === undefined) return;
      const socket = createSocket('udp4');
      const end = () => {
        flows.delete(key);
        socket.close();
      };
      socket.on('message', (reply) => listener.send(reply, client.port, client.address));
      socket.on('error', () => undefined);
      flow = { socket, timer: setTimeout(end, FLOW_TIMEOUT_MS) };
      flows.set(key, flow);
      socket.connect(backend.port, backend.host, () => socket.send(message));
      return;
    }
    flow.timer.refresh();
    try {
      flow.socket.send(message);
    } catch {
      // Not connected yet: a datagram may be lost.
    }
  });
  listener.on('error', () => undefined);
  listener.bind(route.port, '0.0.0.0');
}

for (const route of JSON.parse(process.argv[2] ?? '[]') as Route[]) {
  if (route.protocol === 'UDP') relayUdp(route);
  else relayTcp(route);
}
