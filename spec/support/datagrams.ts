/** Owns UDP in specs: a client whose socket is connected, so that only answers from the address it dialled reach it, and a server. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import type { Backend } from '../../lib/model/backend.js';
import { until } from './until.js';

export class UdpClient {
  readonly received: Buffer[] = [];
  /** errno names: ECONNREFUSED where the kernel said port unreachable. */
  readonly errors: string[] = [];
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (datagram) => this.received.push(datagram));
    socket.on('error', (error) => this.errors.push((error as NodeJS.ErrnoException).code ?? error.message));
  }

  static async dial(host: string, port: number, localAddress?: string): Promise<UdpClient> {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    const client = new UdpClient(socket);
    if (localAddress !== undefined) {
      socket.bind(0, localAddress);
      await once(socket, 'listening');
    }
    socket.connect(port, host);
    await once(socket, 'connect');
    socket.setRecvBufferSize(1024 * 1024);
    return client;
  }

  get texts(): readonly string[] {
    return this.received.map(String);
  }

  send(datagram: string | Buffer): void {
    this.#socket.send(datagram, (error) => {
      if (error) this.errors.push((error as NodeJS.ErrnoException).code ?? error.message);
    });
  }

  /** Sends in this order; resolves when the kernel has them all, and over loopback they have arrived. */
  async deliver(...datagrams: readonly string[]): Promise<void> {
    for (const datagram of datagrams)
      await new Promise<void>((resolve) => this.#socket.send(datagram, () => resolve()));
  }

  /** Sends and waits for one more answer. */
  async ask(datagram: string | Buffer, withinMs?: number): Promise<Buffer> {
    const before = this.received.length;
    this.send(datagram);
    return until(`an answer to ${datagram.length} bytes`, () => this.received[before], withinMs);
  }

  async got(count: number, withinMs?: number): Promise<void> {
    await until(`${count} datagrams`, () => this.received.length >= count, withinMs);
  }

  close(): void {
    this.#socket.close();
  }
}

export interface UdpBackend extends Backend {
  /** In the order of arrival, each with the port it came from. */
  readonly received: readonly { readonly datagram: Buffer; readonly port: number; readonly atMs: number }[];
  /** Different source ports seen: the flows. */
  readonly flows: ReadonlySet<number>;
  send(datagram: string | Buffer, port: number): void;
  close(): Promise<void>;
}

export interface UdpBackendOptions {
  readonly host?: string;
  readonly port?: number;
  /** What to answer; absent: the datagram itself; undefined: nothing. */
  readonly answer?: (datagram: Buffer) => string | Buffer | undefined;
}

export async function startUdpBackend(options: UdpBackendOptions = {}): Promise<UdpBackend> {
  const { host = '127.0.0.1', port = 0, answer = (datagram: Buffer) => datagram } = options;
  const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4', recvBufferSize: 4 * 1024 * 1024 });
  const received: { datagram: Buffer; port: number; atMs: number }[] = [];
  const flows = new Set<number>();
  socket.on('message', (datagram: Buffer, from: RemoteInfo) => {
    received.push({ datagram, port: from.port, atMs: performance.now() });
    flows.add(from.port);
    const reply = answer(datagram);
    if (reply !== undefined) socket.send(reply, from.port, from.address, () => undefined);
  });
  socket.on('error', () => undefined);
  socket.bind(port, host);
  await once(socket, 'listening');
  let open = true;
  return {
    host,
    port: socket.address().port,
    received,
    flows,
    send: (datagram, to) => socket.send(datagram, to, host),
    close: async () => {
      if (!open) return;
      open = false;
      await new Promise<void>((resolve) => socket.close(() => resolve()));
    },
  };
}
