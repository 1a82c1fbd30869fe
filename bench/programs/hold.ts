/**
 * Owns a client that holds connections and says nothing.
 *
 *   hold <host> <port> <count>: connects, prints `holding`, ends when its stdin does
 */
import { createConnection, type Socket } from 'node:net';

const [, , host = '', port = '', count = ''] = process.argv;
/** Dialled at once; more would only overflow the listen queue. */
const AT_ONCE = 100;

const sockets: Socket[] = [];
let left = Number(count);

async function dial(): Promise<void> {
  while (left-- > 0) {
    await new Promise<void>((resolve, reject) => {
      const socket = createConnection({ host, port: Number(port) }, resolve);
      socket.on('error', reject);
      socket.on('close', () => reject(new Error('a connection was closed')));
      sockets.push(socket);
    });
  }
}

await Promise.all(Array.from({ length: AT_ONCE }, dial));
for (const socket of sockets) {
  socket.removeAllListeners().on('close', () => {
    process.stderr.write('a connection was closed\n');
    process.exit(1);
  });
}
process.stdout.write('holding\n');
process.stdin.resume().on('end', () => process.exit(0));
