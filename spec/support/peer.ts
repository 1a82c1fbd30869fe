/** Owns one end of a TCP connection in a spec: what it got, and whether the other end said FIN or RST. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { until, within } from './until.js';

export type Ending = 'fin' | 'rst';

export class Peer {
  /** Bytes received. */
  bytes = 0;
  /** Its own, kept for when the socket is closed. */
  port = 0;
  /** Settles with how the other end stopped sending. */
  readonly ending: Promise<Ending>;
  readonly #chunks: Buffer[] = [];
  readonly #hash = createHash('sha256');

  /** The socket must allow half-open. `keep` false: only the hash of what comes is kept. */
  constructor(
    readonly socket: Socket,
    keep = true,
  ) {
    socket.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length;
      this.#hash.update(chunk);
      if (keep) this.#chunks.push(chunk);
    });
    this.ending = new Promise((resolve) => {
      socket.on('error', () => resolve('rst'));
      socket.on('end', () => {
        // libuv reports an RST that comes together with data as an end; a write that does not have to wait then finds it.
        if (!socket.writable || socket.writableLength > 0) resolve('fin');
        else socket.write('', (error) => resolve(error ? 'rst' : 'fin'));
      });
    });
  }

  static async dial(
    host: string,
    port: number,
    options: { readonly localAddress?: string; readonly keep?: boolean } = {},
  ): Promise<Peer> {
    const { localAddress, keep } = options;
    const socket = connect({
      host,
      port,
      allowHalfOpen: true,
      ...(localAddress === undefined ? {} : { localAddress }),
    });
    const peer = new Peer(socket, keep);
    await once(socket, 'connect').catch((error: NodeJS.ErrnoException) => {
      // Accepted and reset before we heard of it: a connection all the same.
      if (error.code !== 'ECONNRESET') throw error;
    });
    peer.port = socket.localPort ?? 0;
    return peer;
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString();
  }

  /** Of all that has come; ends the counting. */
  get sha256(): string {
    return this.#hash.digest('hex');
  }

  send(data: string | Buffer): void {
    this.socket.write(data);
  }

  /** Sends FIN; goes on receiving. */
  fin(data?: string | Buffer): void {
    if (data === undefined) this.socket.end();
    else this.socket.end(data);
  }

  rst(): void {
    const { socket } = this;
    // libuv refuses to reset while a FIN is queued behind bytes, and Node then leaks the handle and hangs at its end.
    if (socket.writableEnded && !socket.writableFinished) socket.destroy();
    else socket.resetAndDestroy();
  }

  /** Waits for text to have come. */
  async got(text: string, withinMs?: number): Promise<void> {
    await until(`"${text}" from the other end`, () => this.text.includes(text), withinMs);
  }

  async gotBytes(count: number, withinMs = 10_000): Promise<void> {
    await until(`${count} bytes from the other end`, () => this.bytes >= count, withinMs);
  }

  async ended(withinMs = 5_000): Promise<Ending> {
    return within('the end of the stream', this.ending, withinMs);
  }
}

/** The errno name with which a dial fails. */
export async function dialError(host: string, port: number): Promise<string> {
  try {
    (await Peer.dial(host, port)).rst();
    return 'connected';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}
