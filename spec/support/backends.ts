/** Owns the backends of a spec: real servers on port 0 that are gone when it ends. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import type { Backend } from '../../lib/model/backend.js';
import { Peer } from './peer.js';
import { until } from './until.js';

export interface TcpBackend extends Backend {
  /** Connections accepted so far. */
  readonly accepted: readonly Peer[];
  /** Waits for connection number `index`. */
  connection(index?: number): Promise<Peer>;
  /** Stops listening and resets what is open. */
  close(): Promise<void>;
}

export interface TcpBackendOptions {
  readonly host?: string;
  readonly port?: number;
  /** Called for every connection, before anything was read. */
  readonly serve?: (peer: Peer) => void;
  /** False: only hashes of what comes are kept. */
  readonly keep?: boolean;
}

export async function startTcpBackend({
  host = '127.0.0.1',
  port = 0,
  serve,
  keep,
}: TcpBackendOptions = {}): Promise<TcpBackend> {
  const accepted: Peer[] = [];
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const peer = new Peer(socket, keep);
    accepted.push(peer);
    serve?.(peer);
  });
  server.listen(port, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
  return {
    host,
    port: address.port,
    accepted,
    connection: (index = 0) => until(`connection ${index} at the backend`, () => accepted[index]),
    close: async () => {
      for (const peer of accepted) peer.rst();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Runs with a backend that is closed afterwards, whatever happens. */
export async function withTcpBackend(
  options: TcpBackendOptions,
  run: (backend: TcpBackend) => Promise<void>,
): Promise<void> {
  const backend = await startTcpBackend(options);
  try {
    await run(backend);
  } finally {
    await backend.close();
  }
}

/** Sends back what comes, and FIN after FIN. */
export function echo({ socket }: Peer): void {
  socket.pipe(socket);
}

/** Says who it is and closes. */
export function sayAndClose(name: string): (peer: Peer) => void {
  return (peer) => peer.fin(name);
}

/** Port 1 (tcpmux) of a loopback address: nobody listens there, the kernel refuses at once. */
export function refusing(last = 1): Backend {
  return { host: `127.0.0.${last}`, port: 1 };
}

export interface BlackHole extends Backend {
  close(): Promise<void>;
}

/** Listens and never accepts: its queue is full, so the kernel drops every further SYN and a dial times out. */
export async function startBlackHole(host = '127.0.0.1'): Promise<BlackHole> {
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads');
     const server = require('node:net').createServer();
     server.listen({ host: workerData, port: 0, backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
     });`,
    { eval: true, workerData: host },
  );
  const [port] = (await once(worker, 'message')) as [number];
  const fillers: Socket[] = [];
  for (let full = false; !full; ) {
    const filler = connect(port, host);
    filler.on('error', () => undefined);
    fillers.push(filler);
    full = await Promise.race([
      once(filler, 'connect').then(() => false),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 200)),
    ]);
  }
  return {
    host,
    port,
    close: async () => {
      for (const filler of fillers) filler.destroy();
      await worker.terminate();
    },
  };
}
