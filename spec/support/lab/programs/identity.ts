/**
 * Owns a server that tells who it is and whom it saw. Runs inside a namespace; prints `ready` when it listens.
 *
 *   TCP connect  -> one line of JSON {name, client, clientPort}, then an echo of everything until the client's FIN
 *   UDP datagram -> the same line, with the length of the datagram that it answers
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** What a server of this kind answers. */
export interface Identity {
  readonly name: string;
  readonly client: string;
  readonly clientPort: number;
  /** Bytes of the datagram answered; 0 for TCP. */
  readonly bytes: number;
}

interface Settings {
  readonly name: string;
  readonly port: number;
  readonly protocols: readonly string[];
  readonly hosts: readonly string[];
}

const settings = JSON.parse(process.argv[2] ?? '') as Settings;

function answer(client: string | undefined, clientPort: number | undefined, bytes: number): string {
  return `${JSON.stringify({ name: settings.name, client, clientPort, bytes })}\n`;
}

async function serveTcp(host: string): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.write(answer(socket.remoteAddress, socket.remotePort, 0));
    socket.pipe(socket);
  });
  server.listen({ host, port: settings.port, ipv6Only: host.includes(':') });
  await once(server, 'listening');
}

async function serveUdp(host: string): Promise<void> {
  const type = host.includes(':') ? 'udp6' : 'udp4';
  const socket = createSocket({ type, ipv6Only: type === 'udp6' });
  // A client that has gone answers with ICMP: no matter to the others.
  socket.on('error', () => undefined);
  socket.on('message', (message, peer) => {
    socket.send(answer(peer.address, peer.port, message.length), peer.port, peer.address);
  });
  socket.bind({ address: host, port: settings.port });
  await once(socket, 'listening');
}

for (const host of settings.hosts) {
  if (settings.protocols.includes('TCP')) await serveTcp(host);
  if (settings.protocols.includes('UDP')) await serveUdp(host);
}
process.stdout.write('ready\n');
