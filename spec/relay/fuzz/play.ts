/**
 * Owns playing a script on an engine, and what was seen of it.
 *
 *   Script -> listener, server, client -> Seen (by the client, by the backend, by the engine)
 */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { Engine } from '../../../lib/relay/engine.js';
import { refusing } from '../../support/backends.js';
import { Random } from '../../support/random.js';
import { until, within } from '../../support/until.js';
import type { Part, Script } from './script.js';

const LONG_MS = 20_000;

export interface SeenBySide {
  /** What came is what the other side sent, as far as it came. */
  readonly true: boolean;
  readonly whole: boolean;
  readonly ending: 'fin' | 'rst';
}

export interface Seen {
  readonly client: SeenBySide;
  /** undefined: it was never reached. */
  readonly backend: SeenBySide | undefined;
  readonly outcomes: Readonly<Record<string, number>>;
}

/** One side: sends what its part says, and checks what comes against what the other side's part says. */
class Side {
  #received = 0;
  #true = true;
  readonly #expected: Buffer;
  readonly #ended: Promise<'fin' | 'rst'>;

  /** The seeds are those of the bytes that each side sends. */
  constructor(
    private readonly socket: Socket,
    private readonly own: Part,
    other: Part,
    private readonly ownSeed: number,
    otherSeed: number,
  ) {
    const random = new Random(otherSeed);
    this.#expected = Buffer.concat(other.steps.map((step) => random.bytes(step.do === 'send' ? step.bytes : 0)));
    socket.on('data', (chunk: Buffer) => {
      this.#true &&= this.#expected.subarray(this.#received, this.#received + chunk.length).equals(chunk);
      this.#received += chunk.length;
    });
    this.#ended = new Promise((resolve) => {
      socket.on('error', () => resolve('rst'));
      // libuv reports an RST that comes together with data as an end; a write, where one is still possible, then finds it.
      socket.on('end', () => {
        if (!socket.writable || socket.writableLength > 0) resolve('fin');
        else socket.write('', (error) => resolve(error ? 'rst' : 'fin'));
      });
    });
  }

  async play(): Promise<SeenBySide> {
    const random = new Random(this.ownSeed);
    for (const step of this.own.steps) {
      if (this.socket.destroyed) break;
      const bytes = random.bytes(step.do === 'send' ? step.bytes : 0);
      if (step.do === 'send') await this.#send(bytes);
      else if (step.do === 'wait') await pause(step.ms);
      else if (step.do === 'deaf') await this.#deaf(step.ms);
      else await until(`${step.bytes} bytes`, () => this.#received >= step.bytes || this.socket.destroyed, LONG_MS);
    }
    if (this.own.end === 'fin') this.socket.end();
    else this.socket.resetAndDestroy();
    // After its own RST a socket says nothing more; what counts is what the other side sees.
    const ending = this.own.end === 'rst' ? 'rst' : await within('the end of the other side', this.#ended, LONG_MS);
    return { true: this.#true, whole: this.#received === this.#expected.length, ending };
  }

  /** Goes on when the kernel has taken it, or the connection is gone. */
  async #send(bytes: Buffer): Promise<void> {
    if (this.socket.write(bytes)) return;
    await new Promise<void>((resolve) => {
      this.socket.once('drain', resolve);
      this.socket.once('close', resolve);
    });
  }

  async #deaf(ms: number): Promise<void> {
    this.socket.pause();
    await pause(ms);
    this.socket.resume();
  }
}

export async function play(engine: Engine, key: string, script: Script, seed: number): Promise<Seen> {
  const sides: Promise<SeenBySide>[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sides.push(new Side(socket, script.backend, script.client, seed + 1, seed).play());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
  const bad = Array.from({ length: script.refusing }, (_, i) => plain(refusing(i + 1)));
  const good = script.unreachable ? [] : [{ host: '127.0.0.1', port: address.port }];
  const backends = [...bad, ...good, ...(bad.length + good.length === 0 ? [plain(refusing(9))] : [])];
  const servicePort = { namespace: 'fuzz', service: key, port: '', protocol: 'TCP' as const };
  const spec = { key, servicePort, host: '127.0.0.1', port: 0, affinityTimeoutMs: undefined };
  const { port } = await engine.open(spec, backends);
  try {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const client = new Side(socket, script.client, script.backend, seed, seed + 1);
    // Reset before it is told that it is connected, it is connected all the same.
    await Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(() => undefined);
    const changed = change(engine, key, script, backends);
    const seen = await client.play();
    await changed;
    const outcomes = await until('the end of the connection', () => outcomesOf(engine, key), LONG_MS);
    return { client: seen, backend: await sides[0], outcomes };
  } finally {
    await engine.close(key, 0);
    server.close();
  }
}

async function change(
  engine: Engine,
  key: string,
  script: Script,
  backends: readonly { host: string; port: number }[],
) {
  if (script.change === undefined) return;
  await pause(script.change.afterMs);
  await engine.update(key, script.change.to === 'none' ? [] : [...backends, plain(refusing(5))]);
}

async function outcomesOf(engine: Engine, key: string): Promise<Readonly<Record<string, number>> | undefined> {
  const { listeners } = await engine.stats();
  const stats = listeners.find((one) => one.key === key);
  return stats !== undefined && stats.active === 0 && stats.total > 0 ? stats.outcomes : undefined;
}

function plain({ host, port }: { readonly host: string; readonly port: number }) {
  return { host, port };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
