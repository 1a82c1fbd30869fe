/**
 * Owns one backend of the demo: a process of its own, so that it can be killed.
 *
 *   node demo-backend.js http|udp <name> -> listens on a free port of 127.0.0.1 -> tells its parent the port
 */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';

const [kind, name = 'backend'] = process.argv.slice(2);
const HOST = '127.0.0.1';
/** A request that is being answered when the backend is told to end gets this long. */
const GRACE_MS = 500;

process.title = name;
// Ctrl-C reaches the whole group of processes of a terminal: the demo ends first, and its going ends this.
process.on('SIGINT', () => undefined);
process.on('disconnect', () => process.exit(0));

if (kind === 'http') {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/plain', Connection: 'close' }).end(`hello from ${name}\n`);
  });
  server.listen(0, HOST, () => tell(server.address()));
  // As a pod should: a process that simply dies goes on to accept for some milliseconds, and resets whom it accepted.
  process.on('SIGTERM', () => {
    server.close(() => process.exit(0));
    setTimeout(() => process.exit(0), GRACE_MS);
  });
} else {
  const socket = createSocket('udp4', (message, from) => {
    socket.send(`${name} heard: ${message.toString('utf8').trim()}\n`, from.port, from.address);
  });
  socket.bind(0, HOST, () => tell(socket.address()));
}

function tell(address: string | { readonly port: number } | null): void {
  if (address !== null && typeof address === 'object') process.send?.({ port: address.port });
}
