/**
 * Owns one relay thread from the inside: makes its engine and answers calls.
 *
 *   parentPort -> Request -> Engine -> value | error -> parentPort
 */
import { parentPort, workerData } from 'node:worker_threads';
import { createEngine } from '../create.js';
import type { Engine } from '../engine.js';
import { type Call, type FromWorker, packError, type Request, type WorkerStart } from './messages.js';

if (parentPort === null) throw new Error('worker.js runs in a relay thread only');
const port = parentPort;
const { engine: choice, options } = workerData as WorkerStart;

const engine = await createEngine(choice, options, {
  log: (level, message, fields) => send({ kind: 'log', level, message, fields }),
  record: (record) => send({ kind: 'record', record }),
});

port.on('message', (request: Request) => void answer(request));
const { engine: name } = await engine.stats();
send({ kind: 'ready', engine: name });

async function answer({ id, call }: Request): Promise<void> {
  try {
    send({ kind: 'value', id, value: await perform(engine, call) });
  } catch (error) {
    send({ kind: 'error', id, error: packError(error) });
  }
  // Nothing holds the thread any more: it ends by itself.
  if (call.op === 'stop') port.close();
}

function perform(to: Engine, call: Call): Promise<unknown> {
  switch (call.op) {
    case 'open':
      return to.open(call.listener, call.backends);
    case 'update':
      return to.update(call.key, call.backends);
    case 'setAffinity':
      return to.setAffinity(call.key, call.affinityTimeoutMs);
    case 'close':
      return to.close(call.key, call.drainMs);
    case 'stats':
      return to.stats();
    case 'stop':
      return to.stop(call.drainMs);
  }
}

function send(message: FromWorker): void {
  port.postMessage(message);
}
