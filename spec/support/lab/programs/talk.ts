/**
 * Owns one TCP connection to talk over by hand: stdin goes to the peer, the end of stdin half-closes, stdout is what came.
 *
 *   stdin -> socket -> stdout; stderr: connected, eof, or the error code
 */
import { createConnection } from 'node:net';

const [, , host = '', port = ''] = process.argv;
const socket = createConnection({ host, port: Number(port), allowHalfOpen: true });
socket.on('connect', () => process.stderr.write('connected\n'));
socket.on('end', () => process.stderr.write('eof\n'));
socket.on('error', (error: NodeJS.ErrnoException) => {
  process.stderr.write(`${error.code ?? error.message}\n`);
  process.exit(1);
});
process.stdin.pipe(socket).pipe(process.stdout);
