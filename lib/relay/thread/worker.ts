/**
 * Owns one relay thread from inside: makes the engine, answers the calls of the host.
 *
 *   Call -> engine -> Answer
 *   events.log, events.record -> host
 */
import { parentPort, workerData } from 'node:worker_threads';
import { errorText } from '../../config/error-text.js';
import { ConnectionBudget } from '../budget.js';
import type { Engine, EngineEvents } from '../engine.js';
import { type Call, type FromThread, failureOf, type Halt, type ThreadData } from './messages.js';
import { loadEngine } from './thread-engine.js';

const host = parentPort;
if (host === null) throw new Error('a relay thread is started by RelayThreads');
const post = (message: FromThread): void => host.postMessage(message);

const events: EngineEvents = {
  log: (level, message, fields) => post({ kind: 'log', line: [level, message, plain(fields)] }),
  record: (record) => post({ kind: 'record', record }),
};

const { engine: name, options, budget } = workerData as ThreadData;
try {
  const create = await loadEngine(name);
  const engine = await create(options, events, { budget: new ConnectionBudget(budget) });
  host.on('message', (message: Call | Halt) => {
    if (message.method === 'halt') process.exit();
    else void answer(engine, message);
  });
  engine.start?.();
  post({ kind: 'ready', wakeFd: engine.wakeFd });
} catch (error) {
  post({ kind: 'unavailable', message: errorText(error) });
}

async function answer(engine: Engine, call: Call): Promise<void> {
  try {
    post({ kind: 'result', id: call.id, value: await run(engine, call) });
  } catch (error) {
    post({ kind: 'failure', id: call.id, failure: failureOf(error) });
  }
  // Nothing else keeps the thread alive: it ends by itself.
  if (call.method === 'stop') host?.close();
}

function run(engine: Engine, call: Call): Promise<unknown> {
  switch (call.method) {
    case 'open':
      return engine.open(...call.args);
    case 'update':
      return engine.update(...call.args);
    case 'setAffinity':
      return engine.setAffinity(...call.args);
    case 'close':
      return engine.close(...call.args);
    case 'stats':
      return engine.stats();
    case 'stop':
      return engine.stop(...call.args);
  }
}

/** An error crosses as its text: cloning would drop its code and causes, and may throw. */
function plain(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, value instanceof Error ? errorText(value) : value]),
  );
}
