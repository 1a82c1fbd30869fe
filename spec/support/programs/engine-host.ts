/** Owns an engine in a process of its own, driven over IPC: what `EngineProcess` starts. */
import { keepHeapsSmall } from '../../../lib/config/heap.js';
import { RelayThreads } from '../../../lib/relay/thread/relay-threads.js';
import type { HostMessage, HostStart } from '../engine-process.js';

// As the program does: what is measured here is what it would use.
keepHeapsSmall();
const send = (message: HostMessage): void => void process.send?.(message);
const { engine, threads, options }: HostStart = JSON.parse(process.argv[2] ?? '{}');
const relay = new RelayThreads({
  threads,
  engine,
  options,
  events: {
    log: (level, message, fields) => send({ kind: 'log', level, message, fields }),
    record: (record) => send({ kind: 'record', record }),
  },
});
await relay.start().catch((error: Error) => {
  process.send?.({ kind: 'failure', id: 0, message: error.message } satisfies HostMessage, () => process.exit(1));
  return new Promise(() => undefined);
});

process.on(
  'message',
  async ({ id, method, args }: { id: number; method: 'open'; args: Parameters<typeof relay.open> }) => {
    try {
      send({ kind: 'result', id, value: await relay[method](...args) });
    } catch (error) {
      send({ kind: 'failure', id, message: String(error) });
    }
    if ((method as string) === 'stop') process.disconnect();
  },
);
send({ kind: 'ready' });
