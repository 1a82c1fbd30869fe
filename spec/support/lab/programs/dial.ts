/**
 * Owns a client that dials many addresses in one process and tells who answered, or why nobody did.
 *
 *   stdin: JSON Dial[] -> TCP connections, UDP queries -> stdout: JSON Answer[][]
 */
import { createSocket, type Socket } from 'node:dgram';
import { createConnection } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Identity } from './identity.js';

export interface Dial {
  readonly host: string;
  readonly port: number;
  /** TCP where there is none. */
  readonly protocol?: 'TCP' | 'UDP';
  /** One after the other; 1 where there is none. */
  readonly count?: number;
  /** Of each; 2 s where there is none. */
  readonly timeoutMs?: number;
  /** Source address. */
  readonly from?: string;
  /** UDP: send all from one socket, so that they are one flow. */
  readonly oneFlow?: boolean;
  /** UDP: length of the datagram; 4 where there is none. */
  readonly bytes?: number;
}

export interface Answer {
  /** The name of the identity server that answered. */
  readonly by?: string;
  /** The client address and port that it saw. */
  readonly client?: string;
  readonly clientPort?: number;
  /** UDP: bytes that it received. */
  readonly bytes?: number;
  /** `ECONNREFUSED` and its like; `TIMEOUT`: nothing came; `EOF`: accepted, then closed without an answer. */
  readonly error?: string;
  readonly elapsedMs: number;
}

async function dialAll(dial: Dial): Promise<Answer[]> {
  const answers: Answer[] = [];
  const shared = dial.oneFlow === true ? await openUdp(dial) : undefined;
  for (let n = 0; n < (dial.count ?? 1); n++) {
    const startedAt = performance.now();
    const reply = await (dial.protocol === 'UDP' ? queryUdp(dial, shared) : dialTcp(dial)).then(identified, failed);
    answers.push({ ...reply, elapsedMs: performance.now() - startedAt });
  }
  shared?.close();
  return answers;
}

function identified(line: string): Omit<Answer, 'elapsedMs'> {
  const { name, client, clientPort, bytes } = JSON.parse(line) as Identity;
  return { by: name, client, clientPort, bytes };
}

function failed(error: NodeJS.ErrnoException): Omit<Answer, 'elapsedMs'> {
  return { error: error.code ?? error.message };
}

/** Resolves with the first line. */
function dialTcp(dial: Dial): Promise<string> {
  return new Promise((resolve, reject) => {
    const { host, port, from } = dial;
    const socket = createConnection({ host, port, ...(from === undefined ? {} : { localAddress: from }) });
    const timer = setTimeout(() => fail(new Error('TIMEOUT')), dial.timeoutMs ?? 2_000);
    const fail = (error: Error) => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    let received = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      received += chunk;
      if (!received.includes('\n')) return;
      clearTimeout(timer);
      socket.end();
      resolve(received);
    });
    // After the answer this rejects a promise that is settled: nothing.
    socket.on('end', () => fail(new Error('EOF')));
    socket.on('error', fail);
  });
}

/** A connected socket: the kernel reports a refusal to it, and drops an answer that comes from another address. */
async function openUdp(dial: Dial): Promise<Socket> {
  const socket = createSocket(dial.host.includes(':') ? 'udp6' : 'udp4');
  if (dial.from !== undefined) await new Promise<void>((done) => socket.bind({ address: dial.from }, done));
  await new Promise<void>((done, fail) => {
    socket.once('error', fail);
    socket.connect(dial.port, dial.host, () => done());
  });
  return socket;
}

async function queryUdp(dial: Dial, shared: Socket | undefined): Promise<string> {
  const socket = shared ?? (await openUdp(dial));
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<string>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error('TIMEOUT')), dial.timeoutMs ?? 2_000);
      socket.removeAllListeners('error').on('error', reject);
      socket.removeAllListeners('message').on('message', (message) => resolve(message.toString()));
      socket.send(Buffer.alloc(dial.bytes ?? 4, 'x'), (error) => error !== null && reject(error));
    });
  } finally {
    clearTimeout(timer);
    if (shared === undefined) socket.close();
  }
}

const dials = JSON.parse(await text(process.stdin)) as Dial[];
process.stdout.write(JSON.stringify(await Promise.all(dials.map(dialAll))));
